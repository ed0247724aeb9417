/* web/src/instances/Cloud.tsx: what cloud-init in the guest is told. */
import { ActionGroup, Alert, Button, Form, FormGroup, FormHelperText, HelperText, HelperTextItem, Switch, TextArea, TextInput } from "@patternfly/react-core";
import { useState } from "react";
import { useSession } from "@/core/session";
import { t, type TextKey } from "@/core/text";
import { ShowAs } from "@/parts/Dialogs";
import { ErrorAlert } from "@/parts/ErrorAlert";
import { isAlive } from "./actions";
import type { Of } from "./DetailsPage";
import { changes, editCall, setCommand, useEdit } from "./edit";
import { cloudOf, formOf, type CloudFields } from "./seed";

export function Cloud(of: Of) {
  const { instance } = of;
  const [base, setBase] = useState(() => formOf(instance.cloud));
  const [form, setForm] = useState(base);
  const [error, setError] = useState<unknown>();
  const [saved, setSaved] = useState<boolean>();
  const edit = useEdit(of);
  const { self } = useSession();
  const body = changes(cloudOf(base), cloudOf(form));
  const dirty = Object.keys(body).length > 0;

  function set<K extends keyof CloudFields>(key: K, value: CloudFields[K]): void {
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

  const area = (key: "keys" | "user_data" | "network", label: TextKey, rows: number, placeholder: string, hint?: string) => (
    <FormGroup label={t(label)} fieldId={`cloud-${key}`}>
      <TextArea
        id={`cloud-${key}`}
        className="raw"
        value={form[key]}
        onChange={(_, v) => set(key, v)}
        rows={rows}
        placeholder={placeholder}
        spellCheck={false}
        resizeOrientation="vertical"
        readOnlyVariant={self.admin ? undefined : "default"}
      />
      {hint && (
        <FormHelperText>
          <HelperText>
            <HelperTextItem>{hint}</HelperTextItem>
          </HelperText>
        </FormHelperText>
      )}
    </FormGroup>
  );
  return (
    <Form
      isWidthLimited
      onSubmit={(e) => {
        e.preventDefault();
        if (dirty) void save();
      }}
    >
      <p>{t("cloud.hint")}</p>
      {isAlive(instance.status.state) && <Alert component="p" isInline isPlain variant="info" title={t("cloud.later")} />}
      <Switch id="cloud-enable" label={t("cloud.enable")} isChecked={form.enable} onChange={(_, v) => set("enable", v)} isDisabled={!self.admin} />
      <FormGroup label={t("create.hostname")} fieldId="cloud-hostname">
        <TextInput
          id="cloud-hostname"
          value={form.hostname}
          onChange={(_, v) => set("hostname", v)}
          placeholder={instance.name ?? ""}
          autoComplete="off"
          readOnlyVariant={self.admin ? undefined : "default"}
        />
      </FormGroup>
      {area("keys", "create.keys", 3, "ssh-ed25519 AAAA…")}
      {area("user_data", "create.user_data", 10, "#cloud-config")}
      {area("network", "cloud.network", 5, "version: 2", t("cloud.network_hint"))}
      {saved !== undefined && <Alert component="p" isInline variant={saved ? "warning" : "success"} title={t(saved ? "hardware.saved_later" : "hardware.saved")} />}
      <ErrorAlert error={error} />
      <ActionGroup>
        <Button type="submit" isDisabled={!dirty || !self.admin}>
          {t("save")}
        </Button>
        <Button variant="link" isDisabled={!dirty} onClick={() => setForm(base)}>
          {t("hardware.undo")}
        </Button>
      </ActionGroup>
      {dirty && <ShowAs call={editCall(of, body)} command={setCommand(instance.name ?? "", body)} />}
    </Form>
  );
}
