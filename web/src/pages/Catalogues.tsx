/* web/src/pages/Catalogues.tsx: lists of images that somebody signed, and the images of them, which can be had. */
import { Button, FormGroup, FormHelperText, HelperText, HelperTextItem, TextArea, TextInput } from "@patternfly/react-core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { ask, list, type Call } from "@/core/api";
import { bytes, shellWord, when } from "@/core/format";
import { fingerprintOf } from "@/core/key";
import { useSession } from "@/core/session";
import { t } from "@/core/text";
import type { Catalogue } from "@/core/types";
import { Ask, Confirm } from "@/parts/Dialogs";
import { PlainTable } from "@/parts/PlainTable";
import { ListShell } from "./ListShell";

type Open = { what: "add" } | { what: "remove"; of: Catalogue } | { what: "take"; of: Catalogue; image: string };

function Fingerprint({ of }: { of: string }) {
  const { data } = useQuery({ queryKey: ["fingerprint", of], queryFn: () => fingerprintOf(of), staleTime: Infinity });

  return <code className="fingerprint">{data}</code>;
}

export default function CataloguesPage() {
  const catalogues = useQuery({ queryKey: ["catalogues"], queryFn: () => list<Catalogue>("/1.0/catalogues") });
  const queries = useQueryClient();
  const { self } = useSession();
  const [open, setOpen] = useState<Open>();
  const [failed, setFailed] = useState<unknown>();
  const close = () => setOpen(undefined);
  const again = () => queries.invalidateQueries({ queryKey: ["catalogues"] });
  /* A task says how it went; that there is none is said here. */
  const update = (name: string) =>
    ask({ method: "POST", path: "/1.0/catalogues/{name}/update", names: [name] }).then(() => setFailed(undefined), setFailed);

  return (
    <ListShell
      title={t("nav.catalogues")}
      tools={self.admin && <Button onClick={() => setOpen({ what: "add" })}>{t("catalogues.add")}</Button>}
      error={catalogues.error ?? failed}
      none={t("catalogues.none")}
      head={[t("catalogues.name"), t("catalogues.where"), t("catalogues.key"), t("catalogues.version"), ""]}
      rows={catalogues.data?.map((c) => ({
        key: c.name,
        cells: [
          c.name,
          c.url ? <code>{c.url}</code> : t("catalogues.sent"),
          <Fingerprint of={c.key ?? ""} />,
          c.why ? <span className="bad">{c.why}</span> : `${c.version ?? "–"} (${when(c.fetched ?? 0)})`,
          self.admin && (
            <span className="labels">
              {c.url && (
                <Button variant="link" isInline onClick={() => void update(c.name)} aria-label={t("catalogues.update_one", { name: c.name })}>
                  {t("catalogues.update")}
                </Button>
              )}
              <Button variant="link" isInline isDanger onClick={() => setOpen({ what: "remove", of: c })} aria-label={t("catalogues.remove_one", { name: c.name })}>
                {t("remove")}
              </Button>
            </span>
          ),
        ],
      }))}
    >
      {catalogues.data?.map((c) => (
        <section key={c.name} className="exports">
          <h2>{t("catalogues.images", { name: c.name })}</h2>
          <PlainTable
            label={t("catalogues.images", { name: c.name })}
            head={[t("images.name"), t("catalogues.about"), t("images.has"), t("exports.size"), ""]}
            rows={(c.images ?? []).map((i) => ({
              key: i.name,
              cells: [
                i.name,
                [i.description, i.version].filter(Boolean).join(", ") || "–",
                i.part,
                i.size ? bytes(i.size) : "–",
                self.admin && (
                  <Button variant="link" isInline onClick={() => setOpen({ what: "take", of: c, image: i.name })} aria-label={t("catalogues.take_one", { name: i.name })}>
                    {t("catalogues.take")}
                  </Button>
                ),
              ],
            }))}
          />
        </section>
      ))}
      {open?.what === "add" && <Add onDone={again} onClose={close} />}
      {open?.what === "take" && <Take catalogue={open.of.name} image={open.image} onClose={close} />}
      {open?.what === "remove" && <Remove name={open.of.name} onDone={again} onClose={close} />}
    </ListShell>
  );
}

function Remove({ name, onDone, onClose }: { name: string; onDone: () => Promise<unknown>; onClose: () => void }) {
  const call: Call = { method: "DELETE", path: "/1.0/catalogues/{name}", names: [name] };

  return (
    <Confirm
      title={t("catalogues.remove_title", { name })}
      lost={[t("catalogues.remove_lost")]}
      verb={t("remove")}
      call={call}
      command={`socle catalogue remove ${shellWord(name)}`}
      onConfirm={async () => {
        await ask(call);
        await onDone();
      }}
      onClose={onClose}
    />
  );
}

/* By its address, or as a text with its signature; the key is what is trusted, and its fingerprint what is compared. */
function Add({ onDone, onClose }: { onDone: () => Promise<unknown>; onClose: () => void }) {
  const [name, setName] = useState("");
  const [url, setUrl] = useState("");
  const [key, setKey] = useState("");
  const [sent, setSent] = useState({ text: "", signature: "" });
  const print = useQuery({ queryKey: ["fingerprint", key.trim()], queryFn: () => fingerprintOf(key.trim()), enabled: !!key.trim(), retry: false });
  const bySending = !url.trim() && !!sent.text;
  const call: Call = bySending
    ? { method: "PUT", path: "/1.0/catalogues/{name}", names: [name], body: { key: key.trim(), text: sent.text, signature: sent.signature.trim() } }
    : { method: "POST", path: "/1.0/catalogues", body: { name, url: url.trim(), key: key.trim() } };
  const where = bySending ? "catalogue.json" : url.trim();

  return (
    <Ask
      title={t("catalogues.add")}
      verb={t("catalogues.add")}
      ready={!!name && !!print.data && (bySending ? !!sent.signature : !!url.trim())}
      call={call}
      command={`socle catalogue add ${shellWord(name)} ${shellWord(where)} --key ${shellWord(key.trim())}`}
      onDone={async () => {
        await ask(call);
        await onDone();
      }}
      onClose={onClose}
    >
      <FormGroup label={t("catalogues.name")} fieldId="catalogue-name">
        <TextInput id="catalogue-name" value={name} onChange={(_, v) => setName(v)} autoFocus autoComplete="off" />
      </FormGroup>
      <FormGroup label={t("catalogues.key")} fieldId="catalogue-key">
        <TextInput id="catalogue-key" value={key} onChange={(_, v) => setKey(v)} autoComplete="off" placeholder="base64" />
        <FormHelperText>
          <HelperText>
            <HelperTextItem variant={key.trim() && print.error ? "error" : "default"}>
              {print.data ? t("catalogues.fingerprint", { print: print.data }) : t(key.trim() && print.error ? "catalogues.no_key" : "catalogues.key_hint")}
            </HelperTextItem>
          </HelperText>
        </FormHelperText>
      </FormGroup>
      <FormGroup label={t("catalogues.where")} fieldId="catalogue-url">
        <TextInput id="catalogue-url" value={url} onChange={(_, v) => setUrl(v)} autoComplete="off" placeholder="https://…/catalogue.json" />
      </FormGroup>
      {!url.trim() && (
        <>
          <FormGroup label={t("catalogues.text")} fieldId="catalogue-text">
            <TextArea id="catalogue-text" className="raw" rows={4} value={sent.text} onChange={(_, text) => setSent((s) => ({ ...s, text }))} spellCheck={false} />
          </FormGroup>
          <FormGroup label={t("catalogues.signature")} fieldId="catalogue-signature">
            <TextInput id="catalogue-signature" value={sent.signature} onChange={(_, signature) => setSent((s) => ({ ...s, signature }))} autoComplete="off" placeholder="base64" />
          </FormGroup>
        </>
      )}
    </Ask>
  );
}

function Take({ catalogue, image, onClose }: { catalogue: string; image: string; onClose: () => void }) {
  const [name, setName] = useState(image);
  const from = `${catalogue}:${image}`;
  const call: Call = { method: "POST", path: "/1.0/images", body: { name, source: { from } } };

  return (
    <Ask
      title={t("images.import")}
      verb={t("images.import")}
      ready={!!name}
      call={call}
      command={`socle pool import ${shellWord(name)} --from ${shellWord(from)}`}
      onDone={() => ask(call)}
      onClose={onClose}
    >
      <FormGroup label={t("images.name")} fieldId="image-name">
        <TextInput id="image-name" value={name} onChange={(_, v) => setName(v)} autoFocus autoComplete="off" />
      </FormGroup>
    </Ask>
  );
}
