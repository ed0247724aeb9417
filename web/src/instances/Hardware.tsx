/* web/src/instances/Hardware.tsx: what an instance is, to be changed. */
import {
  ActionGroup,
  Alert,
  Button,
  Form,
  FormGroup,
  FormHelperText,
  FormSelect,
  FormSelectOption,
  HelperText,
  HelperTextItem,
  Switch,
  TextArea,
  TextInput,
} from "@patternfly/react-core";
import { useState } from "react";
import { ApiError } from "@/core/api";
import { parseBytes, sizeText } from "@/core/format";
import { useSession } from "@/core/session";
import { t } from "@/core/text";
import type { Instance } from "@/core/types";
import { ShowAs } from "@/parts/Dialogs";
import { ErrorAlert } from "@/parts/ErrorAlert";
import { isAlive } from "./actions";
import type { Of } from "./DetailsPage";
import { changes, editCall, setCommand, useEdit } from "./edit";

const RESTARTS = ["no", "on-failure", "always"] as const;
const ENGINES = ["auto", "kvm", "soft"] as const;
const MODELS = ["host", "x86-64-v1", "x86-64-v2", "x86-64-v3"] as const;
const GIB = 2 ** 30;

function formOf(i: Instance) {
  return {
    cpus: String(i.cpus ?? 1),
    memory: sizeText(i.memory ?? GIB),
    engine: i.engine ?? "auto",
    model: i.cpu_model ?? "host",
    append: i.append ?? "",
    tags: i.tags?.map((x) => x.tag).join(" ") ?? "",
    notes: i.notes ?? "",
    autostart: i.autostart ?? false,
    restart: i.restart ?? "no",
    protected: i.protected ?? false,
    template: i.template ?? false,
  };
}
type Fields = ReturnType<typeof formOf>;

/* As the API has it; members without a value are their defaults. */
function configOf(f: Fields) {
  return {
    cpus: Number(f.cpus),
    memory: parseBytes(f.memory),
    engine: f.engine,
    cpu_model: f.model,
    append: f.append || null,
    tags: f.tags.split(/\s+/).filter(Boolean).map((tag) => ({ tag })),
    notes: f.notes || null,
    autostart: f.autostart,
    restart: f.restart,
    protected: f.protected,
    template: f.template,
  };
}

function Hint({ text, error }: { text?: string | undefined; error?: string | undefined }) {
  if (!text && !error) return null;
  return (
    <FormHelperText>
      <HelperText>
        <HelperTextItem variant={error ? "error" : "default"}>{error ?? text}</HelperTextItem>
      </HelperText>
    </FormHelperText>
  );
}

export function Hardware(of: Of) {
  const [base, setBase] = useState(() => formOf(of.instance));
  const [form, setForm] = useState(base);
  const [error, setError] = useState<unknown>();
  const [saved, setSaved] = useState<boolean>();
  const edit = useEdit(of);
  const { self } = useSession();
  const alive = isAlive(of.instance.status.state);
  const body = changes(configOf(base), configOf(form));
  const dirty = Object.keys(body).length > 0;
  const wrong = error instanceof ApiError ? error.field : undefined;
  const bad = Number.isNaN(parseBytes(form.memory)) || !Number.isInteger(Number(form.cpus));
  const name = of.instance.name ?? "";
  const isMachine = of.instance.kind !== "os";

  function set<K extends keyof Fields>(key: K, value: Fields[K]): void {
    setForm((f) => ({ ...f, [key]: value }));
    setSaved(undefined);
  }

  async function save(): Promise<void> {
    setError(undefined);
    try {
      setSaved(await edit(body));
      setBase(form);
    } catch (e) {
      setError(e);
    }
  }

  const later = alive ? t("hardware.later") : undefined;
  const text = (key: "cpus" | "memory" | "append" | "tags", hint?: string) => (
    <FormGroup label={t(`hardware.${key}`)} fieldId={`hw-${key}`}>
      <TextInput
        id={`hw-${key}`}
        value={form[key]}
        onChange={(_, v) => set(key, v)}
        isDisabled={!self.admin}
        validated={wrong === key || (key === "memory" && Number.isNaN(parseBytes(form.memory))) ? "error" : "default"}
      />
      <Hint text={hint} error={wrong === key ? (error as Error).message : undefined} />
    </FormGroup>
  );
  const flag = (key: "autostart" | "protected" | "template") => (
    <Switch id={`hw-${key}`} label={t(`hardware.${key}`)} isChecked={form[key]} onChange={(_, v) => set(key, v)} isDisabled={!self.admin} />
  );
  return (
    <Form
      isWidthLimited
      onSubmit={(e) => {
        e.preventDefault();
        if (dirty && !bad) void save();
      }}
    >
      {text("cpus", isMachine ? later : undefined)}
      {text("memory", isMachine ? later : undefined)}
      {isMachine && (
        <FormGroup label={t("overview.engine")} fieldId="hw-engine">
          <FormSelect id="hw-engine" value={form.engine} onChange={(_, v) => set("engine", v as Fields["engine"])} isDisabled={!self.admin}>
            {ENGINES.map((x) => (
              <FormSelectOption key={x} value={x} label={t(`engine.${x}`)} />
            ))}
          </FormSelect>
          <Hint text={later} />
        </FormGroup>
      )}
      {isMachine && (
        <FormGroup label={t("hardware.model")} fieldId="hw-model">
          <FormSelect id="hw-model" value={form.model} onChange={(_, v) => set("model", v as Fields["model"])} isDisabled={!self.admin}>
            {MODELS.map((x) => (
              <FormSelectOption key={x} value={x} label={x === "host" ? t("hardware.model_host") : x} />
            ))}
          </FormSelect>
          <Hint text={later} />
        </FormGroup>
      )}
      {isMachine && text("append", later)}
      {text("tags", t("hardware.tags_hint"))}
      <FormGroup label={t("overview.notes")} fieldId="hw-notes">
        <TextArea id="hw-notes" value={form.notes} onChange={(_, v) => set("notes", v)} rows={3} resizeOrientation="vertical" isDisabled={!self.admin} />
      </FormGroup>
      <FormGroup label={t("hardware.restart")} fieldId="hw-restart">
        <FormSelect id="hw-restart" value={form.restart} onChange={(_, v) => set("restart", v as Fields["restart"])} isDisabled={!self.admin}>
          {RESTARTS.map((x) => (
            <FormSelectOption key={x} value={x} label={t(`restart.${x}`)} />
          ))}
        </FormSelect>
      </FormGroup>
      {flag("autostart")}
      {flag("protected")}
      {isMachine && flag("template")}
      {saved !== undefined && (
        <Alert component="p" isInline variant={saved ? "warning" : "success"} title={t(saved ? "hardware.saved_later" : "hardware.saved")} />
      )}
      {!wrong && <ErrorAlert error={error} />}
      <ActionGroup>
        <Button type="submit" isDisabled={!dirty || bad || !self.admin}>
          {t("save")}
        </Button>
        <Button variant="link" isDisabled={!dirty} onClick={() => setForm(base)}>
          {t("hardware.undo")}
        </Button>
      </ActionGroup>
      {dirty && <ShowAs call={editCall(of, body)} command={setCommand(name, body)} />}
    </Form>
  );
}
