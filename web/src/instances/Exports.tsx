/* web/src/instances/Exports.tsx: its disks as files: one is made by a task, and then downloaded by the browser itself. */
import { Button, Checkbox, FormGroup, FormSelect, FormSelectOption, Title } from "@patternfly/react-core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { ask, list, urlOf, type Call } from "@/core/api";
import { bytes, when } from "@/core/format";
import { useSession } from "@/core/session";
import { t } from "@/core/text";
import type { Export, Instance } from "@/core/types";
import { useSnapshots } from "@/core/use";
import { Ask, Confirm } from "@/parts/Dialogs";
import { ErrorAlert } from "@/parts/ErrorAlert";
import { PlainTable } from "@/parts/PlainTable";
import type { Of } from "./DetailsPage";
import { exportable, exportCall, exportCommand, FORMATS, type ExportWish, type Format } from "./export";

const contentOf = (name: string, number: number) => urlOf({ path: "/1.0/instances/{name}/exports/{export}/content", names: [name, String(number)] });

export function Exports({ instance }: Of) {
  const name = instance.name ?? "";
  const { self } = useSession();
  const [making, setMaking] = useState(false);
  const [removing, setRemoving] = useState<Export>();
  const { data, error, refetch } = useQuery({
    queryKey: ["exports", name],
    queryFn: () => list<Export>("/1.0/instances/{name}/exports", [name]),
    enabled: self.admin,
  });
  const disks = exportable(instance);
  const call: Call = { method: "DELETE", path: "/1.0/instances/{name}/exports/{export}", names: [name, String(removing?.number)] };

  return (
    <section className="exports">
      <Title headingLevel="h2" size="md">
        {t("exports.title")}
      </Title>
      <div className="tab-tools">
        <Button variant="secondary" isDisabled={!self.admin || disks.length === 0} onClick={() => setMaking(true)}>
          {t("exports.make")}
        </Button>
        <span className="hint">{t(self.admin ? "exports.hint" : "exports.no_right")}</span>
      </div>
      <ErrorAlert error={error} />
      {data && data.length > 0 && (
        <PlainTable
          label={t("exports.title")}
          head={[t("exports.what"), t("disks.format"), t("exports.size"), t("exports.created"), t("exports.expires"), ""]}
          rows={data.map((x) => ({
            key: String(x.number),
            cells: [
              [disks[x.disk ?? 0] ?? String(x.disk), x.snapshot].filter(Boolean).join(", "),
              t(x.compress ? "exports.compressed" : "exports.plain", { format: x.format ?? "" }),
              bytes(x.size ?? 0),
              when(x.created ?? 0),
              when(x.expires ?? 0),
              <span className="labels">
                <Button component="a" variant="link" isInline href={contentOf(name, x.number)} download aria-label={t("exports.download_one", { n: x.number })}>
                  {t("exports.download")}
                </Button>
                <Button variant="link" isInline isDanger onClick={() => setRemoving(x)} aria-label={t("exports.remove_one", { n: x.number })}>
                  {t("remove")}
                </Button>
              </span>,
            ],
          }))}
        />
      )}
      {making && <Make instance={instance} disks={disks} onClose={() => setMaking(false)} />}
      {removing && (
        <Confirm
          title={t("exports.remove_title")}
          lost={[t("exports.remove_lost")]}
          verb={t("remove")}
          onConfirm={async () => {
            await ask(call);
            await refetch();
          }}
          onClose={() => setRemoving(undefined)}
        />
      )}
    </section>
  );
}

function Make({ instance, disks, onClose }: { instance: Instance; disks: string[]; onClose: () => void }) {
  const name = instance.name ?? "";
  const [wish, setWish] = useState<ExportWish>({ format: "qcow2", compress: false, disk: 0, snapshot: "" });
  const snapshots = useSnapshots(name).data ?? [];
  const set = (more: Partial<ExportWish>) => setWish({ ...wish, ...more });
  const call = exportCall(name, wish);

  return (
    <Ask title={t("exports.make")} verb={t("exports.make")} ready call={call} command={exportCommand(name, wish)} onDone={() => ask(call)} onClose={onClose}>
      <FormGroup label={t("disks.format")} fieldId="export-format">
        <FormSelect id="export-format" value={wish.format} onChange={(_, v) => set({ format: v as Format, compress: wish.compress && v === "qcow2" })}>
          {FORMATS.map((f) => (
            <FormSelectOption key={f} value={f} label={t(`exports.${f}`)} />
          ))}
        </FormSelect>
      </FormGroup>
      {wish.format === "qcow2" && <Checkbox id="export-compress" label={t("exports.compress")} isChecked={wish.compress} onChange={(_, compress) => set({ compress })} />}
      {disks.length > 1 && (
        <FormGroup label={t("exports.what")} fieldId="export-disk">
          <FormSelect id="export-disk" value={String(wish.disk)} onChange={(_, v) => set({ disk: Number(v) })}>
            {disks.map((d, i) => (
              <FormSelectOption key={i} value={String(i)} label={d} />
            ))}
          </FormSelect>
        </FormGroup>
      )}
      {snapshots.length > 0 && (
        <FormGroup label={t("exports.when")} fieldId="export-snapshot">
          <FormSelect id="export-snapshot" value={wish.snapshot} onChange={(_, snapshot) => set({ snapshot })}>
            <FormSelectOption value="" label={t("exports.now")} />
            {snapshots.map((s) => (
              <FormSelectOption key={s.name} value={s.name} label={s.name} />
            ))}
          </FormSelect>
        </FormGroup>
      )}
    </Ask>
  );
}
