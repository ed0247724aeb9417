/* web/src/instances/Disks.tsx: its disks: files and block devices of the host. */
import { Button, Checkbox, EmptyState, FormGroup, FormSelect, FormSelectOption, TextInput } from "@patternfly/react-core";
import { useState } from "react";
import { useSession } from "@/core/session";
import { t } from "@/core/text";
import { Ask, Confirm } from "@/parts/Dialogs";
import { PlainTable } from "@/parts/PlainTable";
import { isAlive } from "./actions";
import type { Of } from "./DetailsPage";
import { editCall, setCommand, useEdit } from "./edit";
import { Exports } from "./Exports";

const CACHES = ["writeback", "direct", "unsafe"] as const;

export function Disks(of: Of) {
  const disks = of.instance.disks ?? [];
  const { self } = useSession();
  const [adding, setAdding] = useState(false);
  const [removing, setRemoving] = useState<number>();
  const edit = useEdit(of);
  const name = of.instance.name ?? "";
  const removed = removing === undefined ? undefined : disks[removing];
  const rest = { disks: disks.filter((_, i) => i !== removing) };

  return (
    <>
      <div className="tab-tools">
        <Button variant="secondary" isDisabled={!self.admin} onClick={() => setAdding(true)}>
          {t("disks.add")}
        </Button>
        {isAlive(of.instance.status.state) && <span className="hint">{t("hardware.later")}</span>}
      </div>
      {of.instance.image && <p className="hint gap">{t("disks.of_image", { image: of.instance.image })}</p>}
      {disks.length === 0 && !of.instance.image && <EmptyState titleText={t("disks.none")} headingLevel="h2" variant="sm" />}
      {disks.length > 0 && (
        <PlainTable
          label={t("tab.disks")}
          head={[t("disks.file"), t("disks.mode"), t("disks.cache"), t("disks.format"), t("disks.serial"), ""]}
          rows={disks.map((d, i) => ({
            key: `${i} ${d.file}`,
            cells: [
              <code>{d.file}</code>,
              t(d.readonly ? "disks.readonly" : "disks.readwrite"),
              d.cache ?? "writeback",
              d.format ?? "auto",
              d.serial ?? "–",
              <Button variant="link" isInline isDanger isDisabled={!self.admin} onClick={() => setRemoving(i)} aria-label={t("disks.remove_one", { file: d.file })}>
                {t("remove")}
              </Button>,
            ],
          }))}
        />
      )}
      <Exports {...of} />
      {adding && <AddDisk of={of} onClose={() => setAdding(false)} />}
      {removed && (
        <Confirm
          title={t("disks.remove_title", { name })}
          lost={[t("disks.remove_lost", { file: removed.file })]}
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

function AddDisk({ of, onClose }: { of: Of; onClose: () => void }) {
  const [file, setFile] = useState("");
  const [readonly, setReadonly] = useState(false);
  const [cache, setCache] = useState<(typeof CACHES)[number]>("writeback");
  const edit = useEdit(of);
  const name = of.instance.name ?? "";
  const body = {
    disks: [...(of.instance.disks ?? []), { file, ...(readonly ? { readonly } : {}), ...(cache === "writeback" ? {} : { cache }) }],
  };

  return (
    <Ask title={t("disks.add")} verb={t("disks.add")} ready={!!file} call={editCall(of, body)} command={setCommand(name, body)} onDone={() => edit(body)} onClose={onClose}>
      <FormGroup label={t("disks.file")} fieldId="disk-file">
        <TextInput id="disk-file" value={file} onChange={(_, v) => setFile(v)} placeholder="/srv/images/data.qcow2" autoFocus autoComplete="off" />
      </FormGroup>
      <FormGroup label={t("disks.cache")} fieldId="disk-cache">
        <FormSelect id="disk-cache" value={cache} onChange={(_, v) => setCache(v as typeof cache)}>
          {CACHES.map((c) => (
            <FormSelectOption key={c} value={c} label={t(`cache.${c}`)} />
          ))}
        </FormSelect>
      </FormGroup>
      <Checkbox id="disk-readonly" label={t("disks.readonly")} isChecked={readonly} onChange={(_, v) => setReadonly(v)} />
    </Ask>
  );
}
