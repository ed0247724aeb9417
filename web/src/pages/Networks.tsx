/* web/src/pages/Networks.tsx: networks that cards are on. */
import { Button, FormGroup, FormSelect, FormSelectOption, TextInput } from "@patternfly/react-core";
import { useState } from "react";
import { ask, type Call } from "@/core/api";
import { useSession } from "@/core/session";
import { t } from "@/core/text";
import { useNetworks } from "@/core/use";
import { Ask, Confirm } from "@/parts/Dialogs";
import { StateLabel } from "@/parts/StateLabel";
import { ListShell } from "./ListShell";

export default function NetworksPage() {
  const networks = useNetworks();
  const { self } = useSession();
  const [adding, setAdding] = useState(false);
  const [deleting, setDeleting] = useState<string>();
  const call: Call = { method: "DELETE", path: "/1.0/networks/{name}", names: [deleting ?? ""] };

  return (
    <ListShell
      title={t("nav.networks")}
      tools={self.admin && <Button onClick={() => setAdding(true)}>{t("networks.create")}</Button>}
      error={networks.error}
      none={t("networks.none")}
      head={[t("networks.name"), t("networks.kind"), t("instances.state"), "IPv4", "IPv6", t("networks.bridge"), ""]}
      rows={networks.data?.map((n) => ({
        key: n.name,
        cells: [
          n.name,
          t(`network.${n.kind ?? "nat"}`),
          <span title={n.status?.why}>
            <StateLabel state={n.status?.state ?? ""} />
          </span>,
          n.ipv4 ?? "–",
          n.ipv6 ?? "–",
          n.status?.bridge ?? "–",
          self.admin && (
            <Button variant="link" isInline isDanger onClick={() => setDeleting(n.name)} aria-label={t("delete.one", { name: n.name })}>
              {t("delete.verb")}
            </Button>
          ),
        ],
      }))}
    >
      {adding && <Create onClose={() => setAdding(false)} />}
      {deleting && (
        <Confirm
          title={t("delete.title", { name: deleting })}
          lost={[t("networks.delete_lost")]}
          name={deleting}
          verb={t("delete.verb")}
          call={call}
          command={`socle network delete ${deleting}`}
          onConfirm={() => ask(call)}
          onClose={() => setDeleting(undefined)}
        />
      )}
    </ListShell>
  );
}

const KINDS = ["nat", "isolated", "bridged", "user"] as const;

function Create({ onClose }: { onClose: () => void }) {
  const [name, setName] = useState("");
  const [kind, setKind] = useState<(typeof KINDS)[number]>("nat");
  const [ipv4, setIpv4] = useState("");
  const [link, setLink] = useState("");
  const body = { name, kind, ...(ipv4 ? { ipv4 } : {}), ...(link ? { interface: link } : {}) };
  const call: Call = { method: "POST", path: "/1.0/networks", body };
  const ranged = kind === "nat" || kind === "isolated";

  return (
    <Ask
      title={t("networks.create")}
      verb={t("networks.create")}
      ready={!!name && (kind !== "bridged" || !!link)}
      call={call}
      command={["socle network create", name, `--kind ${kind}`, ...(ipv4 ? [`--ipv4 ${ipv4}`] : []), ...(link ? [`--interface ${link}`] : [])].join(" ")}
      onDone={() => ask(call)}
      onClose={onClose}
    >
      <FormGroup label={t("networks.name")} fieldId="network-name">
        <TextInput id="network-name" value={name} onChange={(_, v) => setName(v)} autoFocus autoComplete="off" />
      </FormGroup>
      <FormGroup label={t("networks.kind")} fieldId="network-kind">
        <FormSelect id="network-kind" value={kind} onChange={(_, v) => setKind(v as typeof kind)}>
          {KINDS.map((k) => (
            <FormSelectOption key={k} value={k} label={t(`network.${k}`)} />
          ))}
        </FormSelect>
      </FormGroup>
      {ranged && (
        <FormGroup label="IPv4" fieldId="network-ipv4">
          <TextInput id="network-ipv4" value={ipv4} onChange={(_, v) => setIpv4(v)} placeholder={t("networks.chosen")} autoComplete="off" />
        </FormGroup>
      )}
      {kind === "bridged" && (
        <FormGroup label={t("networks.interface")} fieldId="network-link">
          <TextInput id="network-link" value={link} onChange={(_, v) => setLink(v)} placeholder="eno1" autoComplete="off" />
        </FormGroup>
      )}
    </Ask>
  );
}
