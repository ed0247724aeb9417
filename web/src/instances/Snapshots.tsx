/* web/src/instances/Snapshots.tsx: what was kept of an instance, as the tree that it is. */
import { Button, Checkbox, EmptyState, EmptyStateBody, FormGroup, Label, Spinner, TextInput } from "@patternfly/react-core";
import { useState } from "react";
import { ask, type Call } from "@/core/api";
import { when } from "@/core/format";
import { t } from "@/core/text";
import type { Snapshot } from "@/core/types";
import { useSnapshots } from "@/core/use";
import { Ask, Confirm } from "@/parts/Dialogs";
import { ErrorAlert } from "@/parts/ErrorAlert";
import { CloneDialog, useSubject, WhyButton } from "./Actions";
import { isAlive, whyNot } from "./actions";
import type { Of } from "./DetailsPage";
import { place, type Placed } from "./tree";

const ROW_PX = 56;
const COLUMN_PX = 22;
const DOT_PX = 6;

const x = (column: number) => 14 + column * COLUMN_PX;
const y = (row: number) => ROW_PX / 2 + row * ROW_PX;

/* Not before its instant: what is done while it is being taken may still be in it. */
const isCurrent = (s: Snapshot) => s.current && s.complete !== false;

/* Lines go down from a parent, and across where a branch begins. */
function Lines({ placed }: { placed: Placed[] }) {
  const columns = Math.max(...placed.map((p) => p.column)) + 1;
  const here = placed.find((p) => isCurrent(p.snapshot));
  const end = here && { x: x(here.column), y: y(here.row) };

  return (
    <svg className="tree" width={x(columns)} height={placed.length * ROW_PX} aria-hidden="true">
      {placed.map(
        (p) =>
          p.parentRow !== undefined &&
          p.parentColumn !== undefined && (
            <path
              key={p.snapshot.name}
              d={`M${x(p.parentColumn)} ${y(p.parentRow)} ${p.parentColumn === p.column ? "" : `C${x(p.parentColumn)} ${y(p.parentRow) + ROW_PX / 2} ${x(p.column)} ${y(p.parentRow)} ${x(p.column)} ${y(p.parentRow) + ROW_PX / 2}`} L${x(p.column)} ${y(p.row)}`}
            />
          ),
      )}
      {placed.map((p) => (
        <circle key={p.snapshot.name} cx={x(p.column)} cy={y(p.row)} r={DOT_PX} className={p.snapshot.memory ? "with-memory" : ""} />
      ))}
      {end && <circle cx={end.x} cy={end.y} r={DOT_PX + 4} className="current" />}
    </svg>
  );
}

type Open = { what: "take" } | { what: "restore" | "delete" | "clone"; name: string };

export function Snapshots(of: Of) {
  const name = of.instance.name ?? "";
  const { data, error } = useSnapshots(name);
  const subject = useSubject(of);
  const [open, setOpen] = useState<Open>();
  const close = () => setOpen(undefined);

  if (error) return <ErrorAlert error={error} />;
  if (!data) return <Spinner aria-label={t("loading")} />;
  const placed = place(data);
  return (
    <>
      <div className="tab-tools">
        <WhyButton primary why={whyNot("snapshot", subject)} text={t("snapshots.take")} onClick={() => setOpen({ what: "take" })} />
      </div>
      {placed.length === 0 && (
        <EmptyState titleText={t("snapshots.none")} headingLevel="h2" variant="sm">
          <EmptyStateBody>{t("snapshots.none_hint")}</EmptyStateBody>
        </EmptyState>
      )}
      {placed.length > 0 && (
        <div className="snapshots">
          <Lines placed={placed} />
          <ul aria-label={t("tab.snapshots")}>
            {placed.map(({ snapshot: s }) => (
              <li key={s.name}>
                <div className="snapshot-what">
                  <span className="snapshot-name">{s.name}</span>
                  <span className="hint">{when(s.created)}</span>
                  <span className="labels">
                    {isCurrent(s) && (
                      <Label isCompact color="green">
                        {t("snapshots.current")}
                      </Label>
                    )}
                    {s.memory && (
                      <Label isCompact color="blue">
                        {t("snapshots.memory")}
                      </Label>
                    )}
                    {s.complete === false && (
                      <Label isCompact color="orange">
                        {t("snapshots.incomplete")}
                      </Label>
                    )}
                  </span>
                </div>
                <div className="snapshot-do">
                  <WhyButton
                    why={s.complete === false ? t("snapshots.incomplete_why") : whyNot("restore", subject)}
                    text={t("snapshots.restore")}
                    onClick={() => setOpen({ what: "restore", name: s.name })}
                  />
                  <Button variant="link" isDisabled={!subject.mayAdmin || s.complete === false} onClick={() => setOpen({ what: "clone", name: s.name })}>
                    {t("snapshots.clone")}
                  </Button>
                  <Button variant="link" isDanger isDisabled={!!whyNot("delete-snapshot", subject)} onClick={() => setOpen({ what: "delete", name: s.name })}>
                    {t("delete.verb")}
                  </Button>
                </div>
              </li>
            ))}
          </ul>
        </div>
      )}
      {open?.what === "take" && <Take name={name} alive={isAlive(subject.state)} onClose={close} />}
      {open?.what === "restore" && <Restore name={name} snapshot={open.name} onClose={close} />}
      {open?.what === "delete" && <Delete name={name} snapshot={open.name} onClose={close} />}
      {open?.what === "clone" && <CloneDialog of={of} snapshot={open.name} onClose={close} />}
    </>
  );
}

function Take({ name, alive, onClose }: { name: string; alive: boolean; onClose: () => void }) {
  const [snapshot, setSnapshot] = useState("");
  const [memory, setMemory] = useState(alive);
  const body = { ...(snapshot ? { name: snapshot } : {}), memory };
  const call: Call = { method: "POST", path: "/1.0/instances/{name}/snapshots", names: [name], body };

  return (
    <Ask
      title={t("snapshots.take_of", { name })}
      verb={t("snapshots.take")}
      ready
      call={call}
      command={["socle snapshot", name, ...(snapshot ? [snapshot] : []), ...(alive && !memory ? ["--disks"] : [])].join(" ")}
      onDone={() => ask(call)}
      onClose={onClose}
    >
      <FormGroup label={t("snapshots.name")} fieldId="snapshot-name">
        <TextInput id="snapshot-name" value={snapshot} onChange={(_, v) => setSnapshot(v)} placeholder={t("snapshots.name_hint")} autoFocus autoComplete="off" />
      </FormGroup>
      {alive && (
        <Checkbox
          id="snapshot-memory"
          label={t("snapshots.with_memory")}
          description={t(memory ? "snapshots.memory_on" : "snapshots.memory_off")}
          isChecked={memory}
          onChange={(_, v) => setMemory(v)}
        />
      )}
    </Ask>
  );
}

function Restore({ name, snapshot, onClose }: { name: string; snapshot: string; onClose: () => void }) {
  const call: Call = { method: "POST", path: "/1.0/instances/{name}/restore", names: [name], body: { snapshot } };

  return (
    <Confirm
      title={t("snapshots.restore_title", { name, snapshot })}
      lost={[t("snapshots.restore_lost")]}
      name={name}
      verb={t("snapshots.restore")}
      call={call}
      command={`socle restore ${name} ${snapshot}`}
      onConfirm={() => ask(call)}
      onClose={onClose}
    />
  );
}

function Delete({ name, snapshot, onClose }: { name: string; snapshot: string; onClose: () => void }) {
  const call: Call = { method: "DELETE", path: "/1.0/instances/{name}/snapshots/{snapshot}", names: [name, snapshot] };

  return (
    <Confirm
      title={t("snapshots.delete_title", { name, snapshot })}
      lost={[t("snapshots.delete_lost")]}
      name={snapshot}
      verb={t("delete.verb")}
      call={call}
      command={`socle snapshot delete ${name} ${snapshot}`}
      onConfirm={() => ask(call)}
      onClose={onClose}
    />
  );
}
