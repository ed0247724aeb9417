/* web/src/pages/Images.tsx: the pool of images that instances are made of. */
import { Button, FormGroup, TextInput } from "@patternfly/react-core";
import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Link } from "react-router-dom";
import { ask, type Call } from "@/core/api";
import { shellWord, when } from "@/core/format";
import { useSession } from "@/core/session";
import { t } from "@/core/text";
import { useImages } from "@/core/use";
import { Ask, Confirm } from "@/parts/Dialogs";
import { ListShell } from "./ListShell";

export default function ImagesPage() {
  const images = useImages();
  const queries = useQueryClient();
  const { self } = useSession();
  const [adding, setAdding] = useState(false);
  const [deleting, setDeleting] = useState<string>();
  const call: Call = { method: "DELETE", path: "/1.0/images/{name}", names: [deleting ?? ""] };

  return (
    <ListShell
      title={t("nav.images")}
      tools={self.admin && <Button onClick={() => setAdding(true)}>{t("images.import")}</Button>}
      error={images.error}
      none={t("images.none")}
      head={[t("images.name"), t("images.has"), t("images.append"), t("images.origin"), t("created"), ""]}
      rows={images.data?.map((i) => ({
        key: i.name,
        cells: [
          i.name,
          [t("overview.kernel"), i.initrd && "initrd", i.disk && t("images.disk")].filter(Boolean).join(", "),
          i.append ? <code>{i.append}</code> : "–",
          i.origin ? <code>{i.origin}</code> : "–",
          when(i.created ?? 0),
          self.admin && (
            <span className="labels">
              <Link to={`/create?image=${encodeURIComponent(i.name)}`}>{t("images.use")}</Link>
              <Button variant="link" isInline isDanger onClick={() => setDeleting(i.name)} aria-label={t("delete.one", { name: i.name })}>
                {t("delete.verb")}
              </Button>
            </span>
          ),
        ],
      }))}
    >
      {adding && <Import onClose={() => setAdding(false)} />}
      {deleting && (
        <Confirm
          title={t("delete.title", { name: deleting })}
          lost={[t("images.delete_lost")]}
          name={deleting}
          verb={t("delete.verb")}
          call={call}
          command={`socle pool delete ${deleting}`}
          onConfirm={async () => {
            await ask(call);
            await queries.invalidateQueries({ queryKey: ["images"] });
          }}
          onClose={() => setDeleting(undefined)}
        />
      )}
    </ListShell>
  );
}

const FILES = ["kernel", "initrd", "disk", "append"] as const;

function Import({ onClose }: { onClose: () => void }) {
  const [name, setName] = useState("");
  const [source, setSource] = useState<Record<string, string>>({});
  const given = Object.fromEntries(Object.entries(source).filter(([, v]) => v));
  const call: Call = { method: "POST", path: "/1.0/images", body: { name, source: given } };

  return (
    <Ask
      title={t("images.import")}
      verb={t("images.import")}
      ready={!!name && !!(source.kernel || source.disk)}
      call={call}
      command={["socle pool import", shellWord(name), ...Object.entries(given).map(([k, v]) => `--${k} ${shellWord(v)}`)].join(" ")}
      onDone={() => ask(call)}
      onClose={onClose}
    >
      <FormGroup label={t("images.name")} fieldId="image-name">
        <TextInput id="image-name" value={name} onChange={(_, v) => setName(v)} autoFocus autoComplete="off" />
      </FormGroup>
      {FILES.map((f) => (
        <FormGroup key={f} label={t(`images.${f}`)} fieldId={`image-${f}`}>
          <TextInput
            id={`image-${f}`}
            value={source[f] ?? ""}
            onChange={(_, v) => setSource((s) => ({ ...s, [f]: v }))}
            placeholder={f === "append" ? "console=ttyS0" : "/srv/images/…"}
            autoComplete="off"
          />
        </FormGroup>
      ))}
    </Ask>
  );
}
