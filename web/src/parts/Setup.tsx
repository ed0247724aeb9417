/* web/src/parts/Setup.tsx: the first visit: who has the code that the host shows makes the first user. */
import { Alert, Button, Form, FormGroup, FormHelperText, HelperText, HelperTextItem, TextInput } from "@patternfly/react-core";
import { useState, type FormEvent } from "react";
import { ask } from "@/core/api";
import { t } from "@/core/text";

interface Props {
  fingerprint: string;
  onLogin: () => Promise<void>;
}

function Hint({ text }: { text: string }) {
  return (
    <FormHelperText>
      <HelperText>
        <HelperTextItem>{text}</HelperTextItem>
      </HelperText>
    </FormHelperText>
  );
}

export function Setup({ fingerprint, onLogin }: Props) {
  const [code, setCode] = useState("");
  const [user, setUser] = useState("root");
  const [password, setPassword] = useState("");
  const [again, setAgain] = useState("");
  const [failed, setFailed] = useState("");
  const [busy, setBusy] = useState(false);
  const differ = !!again && again !== password;

  async function submit(e: FormEvent): Promise<void> {
    e.preventDefault();
    setBusy(true);
    setFailed("");
    try {
      await ask({ method: "POST", path: "/1.0/setup", body: { code, user, password } });
      await onLogin();
    } catch (e) {
      setFailed((e as Error).message);
    }
    setBusy(false);
  }

  return (
    <Form onSubmit={(e) => void submit(e)}>
      <p>{t("setup.hint")}</p>
      {failed && <Alert component="p" isInline variant="danger" title={failed} />}
      <FormGroup label={t("setup.code")} fieldId="setup-code">
        <TextInput id="setup-code" value={code} onChange={(_, v) => setCode(v)} placeholder="xxxx-xxxx-xxxx-xxxx" autoComplete="off" spellCheck={false} autoFocus />
        <Hint text={t("setup.code_hint")} />
      </FormGroup>
      <FormGroup label={t("login.user")} fieldId="setup-user">
        <TextInput id="setup-user" value={user} onChange={(_, v) => setUser(v)} autoComplete="username" />
      </FormGroup>
      <FormGroup label={t("login.password")} fieldId="setup-password">
        <TextInput id="setup-password" type="password" value={password} onChange={(_, v) => setPassword(v)} autoComplete="new-password" />
      </FormGroup>
      <FormGroup label={t("setup.password_again")} fieldId="setup-again">
        <TextInput id="setup-again" type="password" value={again} onChange={(_, v) => setAgain(v)} autoComplete="new-password" validated={differ ? "error" : "default"} />
        {differ && <Hint text={t("setup.differ")} />}
      </FormGroup>
      <Button type="submit" isBlock isLoading={busy} isDisabled={busy || !code || !user || !password || again !== password}>
        {t("setup.submit")}
      </Button>
      <p className="login-hint">{t("setup.fingerprint")}</p>
      <code className="fingerprint">{fingerprint}</code>
    </Form>
  );
}
