/* web/src/create/steps.tsx: the steps of a new instance. */
import { Button, Checkbox, Form, FormGroup, FormSelect, FormSelectOption, Radio, TextArea, TextInput } from "@patternfly/react-core";
import type { Call } from "@/core/api";
import { bytes, parseBytes } from "@/core/format";
import { t } from "@/core/text";
import { useImages, useNetworks } from "@/core/use";
import { Facts } from "@/parts/Facts";
import { ShowAs } from "@/parts/Dialogs";
import { commandOf, type Draft } from "./config";

interface Props {
  draft: Draft;
  set: (more: Partial<Draft>) => void;
}
type TextKeys = { [K in keyof Draft]: Draft[K] extends string ? K : never }[keyof Draft];

const SIZES = [
  { cpus: "1", memory: "512M" },
  { cpus: "1", memory: "1G" },
  { cpus: "2", memory: "4G" },
  { cpus: "4", memory: "8G" },
];
const NETS = ["default", "network", "user", "none"] as const;
const ENGINES = ["auto", "kvm", "soft"] as const;

function Text({ draft, set, of, label, hint, autoFocus }: Props & { of: TextKeys; label: string; hint?: string; autoFocus?: boolean }) {
  return (
    <FormGroup label={label} fieldId={`create-${of}`}>
      <TextInput
        id={`create-${of}`}
        value={draft[of]}
        onChange={(_, v) => set({ [of]: v })}
        autoComplete="off"
        {...(hint ? { placeholder: hint } : {})}
        {...(autoFocus ? { autoFocus } : {})}
      />
    </FormGroup>
  );
}

export function SourceStep(p: Props) {
  const images = useImages().data ?? [];
  const { draft, set } = p;

  return (
    <Form isWidthLimited>
      <Text {...p} of="name" label={t("instances.name")} autoFocus />
      <FormGroup role="radiogroup" label={t("create.from")} fieldId="create-from">
        <Radio id="from-image" name="from" label={t("create.from_image")} isChecked={draft.from === "image"} onChange={() => set({ from: "image" })} isDisabled={images.length === 0} description={images.length === 0 ? t("images.none") : undefined} />
        <Radio id="from-kernel" name="from" label={t("create.from_kernel")} isChecked={draft.from === "kernel"} onChange={() => set({ from: "kernel" })} />
      </FormGroup>
      {draft.from === "image" ? (
        <FormGroup label={t("overview.image")} fieldId="create-image">
          <FormSelect id="create-image" value={draft.image} onChange={(_, v) => set({ image: v })}>
            {images.map((i) => (
              <FormSelectOption key={i.name} value={i.name} label={i.name} />
            ))}
          </FormSelect>
        </FormGroup>
      ) : (
        <>
          <Text {...p} of="kernel" label={t("overview.kernel")} hint="/srv/images/vmlinuz" />
          <Text {...p} of="initrd" label={t("images.initrd")} hint={t("optional")} />
        </>
      )}
      <Text {...p} of="append" label={t("hardware.append")} hint={t("optional")} />
    </Form>
  );
}

export function SizeStep(p: Props) {
  const { draft, set } = p;

  return (
    <Form isWidthLimited>
      <div className="sizes" role="group" aria-label={t("create.size")}>
        {SIZES.map((s) => (
          <Button key={s.memory} variant={draft.cpus === s.cpus && draft.memory === s.memory ? "primary" : "secondary"} onClick={() => set(s)}>
            {t("create.size_is", { cpus: s.cpus, memory: bytes(parseBytes(s.memory)) })}
          </Button>
        ))}
      </div>
      <Text {...p} of="cpus" label={t("hardware.cpus")} />
      <Text {...p} of="memory" label={t("hardware.memory")} />
      <FormGroup label={t("overview.engine")} fieldId="create-engine">
        <FormSelect id="create-engine" value={draft.engine} onChange={(_, v) => set({ engine: v as Draft["engine"] })}>
          {ENGINES.map((x) => (
            <FormSelectOption key={x} value={x} label={t(`engine.${x}`)} />
          ))}
        </FormSelect>
      </FormGroup>
      <Text {...p} of="tags" label={t("hardware.tags")} hint={t("optional")} />
      <Checkbox id="create-autostart" label={t("hardware.autostart")} isChecked={draft.autostart} onChange={(_, v) => set({ autostart: v })} />
    </Form>
  );
}

export function DisksStep({ draft, set }: Props) {
  const change = (at: number, more: Partial<Draft["disks"][number]>) => set({ disks: draft.disks.map((d, i) => (i === at ? { ...d, ...more } : d)) });

  return (
    <Form isWidthLimited>
      {draft.from === "image" && <p>{t("disks.of_image", { image: draft.image })}</p>}
      {draft.disks.map((d, i) => (
        <FormGroup key={i} label={t("create.disk_n", { n: i + 1 })} fieldId={`create-disk-${i}`}>
          <TextInput id={`create-disk-${i}`} value={d.file} onChange={(_, v) => change(i, { file: v })} placeholder="/srv/images/data.qcow2" autoComplete="off" />
          <div className="labels">
            <Checkbox id={`create-readonly-${i}`} label={t("disks.readonly")} isChecked={d.readonly} onChange={(_, v) => change(i, { readonly: v })} />
            <Button variant="link" isInline isDanger onClick={() => set({ disks: draft.disks.filter((_, at) => at !== i) })}>
              {t("remove")}
            </Button>
          </div>
        </FormGroup>
      ))}
      <div>
        <Button variant="secondary" onClick={() => set({ disks: [...draft.disks, { file: "", readonly: false }] })}>
          {t("disks.add")}
        </Button>
      </div>
    </Form>
  );
}

export function NetworkStep(p: Props) {
  const networks = useNetworks().data ?? [];
  const { draft, set } = p;

  return (
    <Form isWidthLimited>
      <FormGroup role="radiogroup" label={t("create.net")} fieldId="create-net">
        {NETS.map((n) => (
          <Radio
            key={n}
            id={`net-${n}`}
            name="net"
            label={t(`create.net_${n}`)}
            isChecked={draft.net === n}
            onChange={() => set({ net: n, network: draft.network || networks[0]?.name || "" })}
            isDisabled={n === "network" && networks.length === 0}
            description={n === "network" && networks.length === 0 ? t("networks.none") : undefined}
          />
        ))}
      </FormGroup>
      {draft.net === "network" && (
        <FormGroup label={t("nets.on")} fieldId="create-network">
          <FormSelect id="create-network" value={draft.network} onChange={(_, v) => set({ network: v })}>
            {networks.map((n) => (
              <FormSelectOption key={n.name} value={n.name} label={n.name} />
            ))}
          </FormSelect>
        </FormGroup>
      )}
      {(draft.net === "network" || draft.net === "user") && <Text {...p} of="forwards" label={t("nets.forwards")} hint="tcp:8080:80" />}
    </Form>
  );
}

export function CloudStep(p: Props) {
  const { draft, set } = p;

  return (
    <Form isWidthLimited>
      <p>{t("create.cloud_hint")}</p>
      <Text {...p} of="hostname" label={t("create.hostname")} hint={draft.name} />
      <FormGroup label={t("create.keys")} fieldId="create-keys">
        <TextArea id="create-keys" value={draft.keys} onChange={(_, v) => set({ keys: v })} rows={3} placeholder="ssh-ed25519 AAAA…" resizeOrientation="vertical" />
      </FormGroup>
      <FormGroup label={t("create.user_data")} fieldId="create-user-data">
        <TextArea id="create-user-data" className="raw" value={draft.userData} onChange={(_, v) => set({ userData: v })} rows={6} placeholder="#cloud-config" resizeOrientation="vertical" />
      </FormGroup>
    </Form>
  );
}

export function Review({ draft, set, call }: Props & { call: Call }) {
  return (
    <Form isWidthLimited>
      <Facts
        rows={[
          [t("instances.name"), draft.name],
          [t("create.from"), draft.from === "image" ? draft.image : draft.kernel],
          [t("hardware.append"), draft.append],
          [t("create.size"), t("create.size_is", { cpus: draft.cpus, memory: bytes(parseBytes(draft.memory)) })],
          [t("tab.disks"), draft.disks.map((d) => d.file).join(", ")],
          [t("tab.network"), draft.net === "network" ? draft.network : t(`create.net_${draft.net}`)],
          [t("nets.forwards"), draft.net === "default" || draft.net === "none" ? "" : draft.forwards],
          [t("create.cloud"), draft.hostname || draft.keys || draft.userData ? t("yes") : t("no")],
        ]}
      />
      <Checkbox id="create-start" label={t("create.start")} isChecked={draft.start} onChange={(_, v) => set({ start: v })} />
      <ShowAs call={call} command={commandOf(draft)} />
    </Form>
  );
}
