/* web/src/parts/Session.tsx: the login: the whole page, or before the page of one whose session ended. */
import { Alert, Button, Form, FormGroup, Modal, ModalBody, ModalHeader, TextInput } from "@patternfly/react-core";
import { useQuery } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { ask, get } from "@/core/api";
import type { LoginViewProps } from "@/core/session";
import { t } from "@/core/text";
import type { SetupState } from "@/core/types";
import { Logo } from "./Logo";
import { Setup } from "./Setup";

function LoginForm({ before, error, onLogin }: LoginViewProps) {
  const [user, setUser] = useState(before?.name ?? "");
  const [password, setPassword] = useState("");
  const [code, setCode] = useState("");
  const [failed, setFailed] = useState(error);
  const [busy, setBusy] = useState(false);

  async function submit(e: FormEvent): Promise<void> {
    e.preventDefault();
    setBusy(true);
    setFailed("");
    try {
      await ask({ method: "POST", path: "/1.0/login", body: { user, password, ...(code ? { code } : {}) } });
      await onLogin();
    } catch (e) {
      setFailed((e as Error).message);
    }
    setBusy(false);
  }

  return (
    <Form onSubmit={(e) => void submit(e)}>
      {failed && <Alert component="p" isInline variant="danger" title={failed} />}
      <FormGroup label={t("login.user")} fieldId="login-user">
        <TextInput id="login-user" value={user} onChange={(_, v) => setUser(v)} autoComplete="username" autoFocus={!before} />
      </FormGroup>
      <FormGroup label={t("login.password")} fieldId="login-password">
        <TextInput
          id="login-password"
          type="password"
          value={password}
          onChange={(_, v) => setPassword(v)}
          autoComplete="current-password"
          autoFocus={!!before}
        />
      </FormGroup>
      <FormGroup label={t("login.code")} fieldId="login-code">
        <TextInput
          id="login-code"
          value={code}
          onChange={(_, v) => setCode(v)}
          inputMode="numeric"
          autoComplete="one-time-code"
          placeholder={t("login.code_hint")}
        />
      </FormGroup>
      <Button type="submit" isBlock isLoading={busy} isDisabled={busy || !user || !password}>
        {t("login.submit")}
      </Button>
    </Form>
  );
}

function FirstOrLogin(props: LoginViewProps) {
  const { data, isPending } = useQuery({ queryKey: ["setup"], queryFn: () => get<SetupState>("/1.0/setup") });

  if (isPending) return null;
  return data?.needed ? <Setup fingerprint={data.fingerprint} onLogin={props.onLogin} /> : <LoginForm {...props} />;
}

export default function LoginView(props: LoginViewProps) {
  if (props.before)
    return (
      <Modal isOpen variant="small" aria-label={t("login.again")}>
        <ModalHeader title={t("login.again")} description={t("login.again_hint")} />
        <ModalBody>
          <LoginForm {...props} />
        </ModalBody>
      </Modal>
    );
  return (
    <main className="login">
      <div className="login-card">
        <h1 className="login-title">
          <Logo /> Socle
        </h1>
        <p className="login-host">{location.host}</p>
        <FirstOrLogin {...props} />
      </div>
    </main>
  );
}
