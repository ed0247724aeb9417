/* web/src/instances/Raw.tsx: the record itself, to be changed as JSON. */
import { ActionGroup, Alert, Button, Form, TextArea } from "@patternfly/react-core";
import { useState } from "react";
import { useSession } from "@/core/session";
import { t } from "@/core/text";
import { ShowAs } from "@/parts/Dialogs";
import { ErrorAlert } from "@/parts/ErrorAlert";
import type { Of } from "./DetailsPage";
import { changes, editCall, setCommand, useEdit } from "./edit";

type Json = Record<string, unknown>;

function parse(text: string): { value: Json | undefined; why: string } {
  try {
    const value: unknown = JSON.parse(text);
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value);

    return isObject ? { value: value as Json, why: "" } : { value: undefined, why: t("raw.object") };
  } catch (e) {
    return { value: undefined, why: (e as Error).message };
  }
}

export function Raw(of: Of) {
  const { status, ...config } = of.instance;
  const [old] = useState<Json>(config);
  const [text, setText] = useState(() => JSON.stringify(config, null, 2));
  const [saved, setSaved] = useState<boolean>();
  const [error, setError] = useState<unknown>();
  const { self } = useSession();
  const edit = useEdit(of);
  const { value, why } = parse(text);
  const body = value ? changes(old, value) : {};
  const dirty = Object.keys(body).length > 0;

  async function save(): Promise<void> {
    setError(undefined);
    try {
      setSaved(await edit(body));
    } catch (e) {
      setError(e);
    }
  }

  return (
    <Form
      onSubmit={(e) => {
        e.preventDefault();
        void save();
      }}
    >
      {saved !== undefined && <Alert component="p" isInline variant={saved ? "warning" : "success"} title={t(saved ? "hardware.saved_later" : "hardware.saved")} />}
      <ErrorAlert error={error} />
      {why && <Alert component="p" isInline variant="warning" title={t("raw.wrong")}>{why}</Alert>}
      <TextArea
        aria-label={t("raw.label")}
        className="raw"
        value={text}
        onChange={(_, v) => {
          setText(v);
          setSaved(undefined);
        }}
        rows={24}
        spellCheck={false}
        readOnlyVariant={self.admin ? undefined : "default"}
        resizeOrientation="vertical"
      />
      <ActionGroup>
        <Button type="submit" isDisabled={!dirty || !self.admin}>
          {t("save")}
        </Button>
      </ActionGroup>
      {dirty && <ShowAs call={editCall(of, body)} command={setCommand(of.instance.name ?? "", body)} />}
      <details>
        <summary>{t("raw.status")}</summary>
        <pre className="log">{JSON.stringify(status, null, 2)}</pre>
      </details>
    </Form>
  );
}
