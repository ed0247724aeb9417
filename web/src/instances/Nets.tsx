/* web/src/instances/Nets.tsx: its network cards. */
import { Button, EmptyState, FormGroup, FormSelect, FormSelectOption, TextInput } from "@patternfly/react-core";
import { useState } from "react";
import { useSession } from "@/core/session";
import { t } from "@/core/text";
import { useNetworks } from "@/core/use";
import { Ask, Confirm } from "@/parts/Dialogs";
import { PlainTable } from "@/parts/PlainTable";
import { isAlive } from "./actions";
import type { Of } from "./DetailsPage";
import { editCall, setCommand, useEdit } from "./edit";

export function Nets(of: Of) {
  const nets = of.instance.nets ?? [];
  const { self } = useSession();
  const [adding, setAdding] = useState(false);
  const [removing, setRemoving] = useState<number>();
  const edit = useEdit(of);
  const name = of.instance.name ?? "";
  const alive = isAlive(of.instance.status.state);
  const rest = { nets: nets.filter((_, i) => i !== removing) };

  return (
    <>
      <div className="tab-tools">
        <Button variant="secondary" isDisabled={!self.admin || alive} onClick={() => setAdding(true)}>
          {t("nets.add")}
        </Button>
        {alive && <span className="hint">{t("nets.off")}</span>}
      </div>
      {nets.length === 0 && <EmptyState titleText={t("nets.none")} headingLevel="h2" variant="sm" />}
      {nets.length > 0 && (
        <PlainTable
          label={t("tab.network")}
          head={[t("nets.on"), t("nets.address"), t("nets.mac"), t("nets.forwards"), ""]}
          rows={nets.map((n, i) => ({
            key: `${i} ${n.mac}`,
            cells: [
              n.network ?? (n.kind === "tap" ? `tap ${n.tap ?? ""}` : (n.kind ?? "user")),
              n.address ?? "–",
              n.mac ? <code>{n.mac}</code> : "–",
              n.forward?.map((f) => f.rule).join(", ") || "–",
              <Button variant="link" isInline isDanger isDisabled={!self.admin || alive} onClick={() => setRemoving(i)} aria-label={t("nets.remove_one", { n: i + 1 })}>
                {t("remove")}
              </Button>,
            ],
          }))}
        />
      )}
      {adding && <AddNet of={of} onClose={() => setAdding(false)} />}
      {removing !== undefined && (
        <Confirm
          title={t("nets.remove_title", { n: removing + 1, name })}
          lost={[t("nets.remove_lost")]}
          verb={t("remove")}
          call={editCall(of, rest)}
          command={setCommand(name, rest)}
          onConfirm={() => edit(rest)}
          onClose={() => setRemoving(undefined)}
        />
      )}
    </>
  );
}

/* "tcp:8080:80 udp:53:53" */
export function forwardsOf(text: string): { rule: string }[] {
  return text.split(/[\s,]+/).filter(Boolean).map((rule) => ({ rule }));
}

function AddNet({ of, onClose }: { of: Of; onClose: () => void }) {
  const networks = useNetworks().data ?? [];
  const [on, setOn] = useState("");
  const [forwards, setForwards] = useState("");
  const edit = useEdit(of);
  const name = of.instance.name ?? "";
  const forward = forwardsOf(forwards);
  const card = { ...(on ? { network: on } : { kind: "user" as const }), ...(forward.length ? { forward } : {}) };
  const body = { nets: [...(of.instance.nets ?? []), card] };

  return (
    <Ask title={t("nets.add")} verb={t("nets.add")} ready call={editCall(of, body)} command={setCommand(name, body)} onDone={() => edit(body)} onClose={onClose}>
      <FormGroup label={t("nets.on")} fieldId="net-on">
        <FormSelect id="net-on" value={on} onChange={(_, v) => setOn(v)}>
          <FormSelectOption value="" label={t("nets.user")} />
          {networks.map((n) => (
            <FormSelectOption key={n.name} value={n.name} label={n.name} />
          ))}
        </FormSelect>
      </FormGroup>
      <FormGroup label={t("nets.forwards")} fieldId="net-forwards">
        <TextInput id="net-forwards" value={forwards} onChange={(_, v) => setForwards(v)} placeholder="tcp:8080:80" autoComplete="off" />
      </FormGroup>
    </Ask>
  );
}
