/* web/src/pages/Account.tsx: one's own password and one-time codes. */
import { ActionGroup, Alert, Button, Card, CardBody, CardTitle, ClipboardCopy, Form, FormGroup, PageSection, TextInput, Title } from "@patternfly/react-core";
import { useState, type FormEvent } from "react";
import { ask } from "@/core/api";
import { useSession } from "@/core/session";
import { t } from "@/core/text";
import { ErrorAlert } from "@/parts/ErrorAlert";

function Password() {
  const [old, setOld] = useState("");
  const [password, setPassword] = useState("");
  const [done, setDone] = useState(false);
  const [error, setError] = useState<unknown>();

  async function submit(e: FormEvent): Promise<void> {
    e.preventDefault();
    setError(undefined);
    try {
      await ask({ method: "POST", path: "/1.0/self/password", body: { old, password } });
      setDone(true);
      setOld("");
      setPassword("");
    } catch (e) {
      setError(e);
    }
  }

  return (
    <Form onSubmit={(e) => void submit(e)}>
      <ErrorAlert error={error} />
      {done && <Alert component="p" isInline variant="success" title={t("account.changed")} />}
      <FormGroup label={t("account.old")} fieldId="old-password">
        <TextInput id="old-password" type="password" value={old} onChange={(_, v) => setOld(v)} autoComplete="current-password" />
      </FormGroup>
      <FormGroup label={t("users.new_password")} fieldId="new-password">
        <TextInput id="new-password" type="password" value={password} onChange={(_, v) => setPassword(v)} autoComplete="new-password" />
      </FormGroup>
      <ActionGroup>
        <Button type="submit" isDisabled={!old || !password}>
          {t("save")}
        </Button>
      </ActionGroup>
    </Form>
  );
}

function Codes() {
  const { self } = useSession();
  const [secret, setSecret] = useState("");
  const [code, setCode] = useState("");
  const [done, setDone] = useState(false);
  const [error, setError] = useState<unknown>();

  async function send(body: { code?: string }): Promise<void> {
    setError(undefined);
    try {
      const { value } = await ask<{ secret: string } | null>({ method: "POST", path: "/1.0/users/{name}/totp", names: [self.name], body });
      if (value) setSecret(value.secret);
      else setDone(true);
    } catch (e) {
      setError(e);
    }
  }

  if (done) return <Alert component="p" isInline variant="success" title={t("account.codes_on")} />;
  return (
    <>
      <ErrorAlert error={error} />
      <p className="gap">{t("account.codes_hint")}</p>
      {!secret && (
        <Button variant="secondary" onClick={() => void send({})}>
          {t("account.codes_begin")}
        </Button>
      )}
      {secret && (
        <Form
          onSubmit={(e) => {
            e.preventDefault();
            void send({ code });
          }}
        >
          <ClipboardCopy isReadOnly isCode hoverTip={t("copy")} clickTip={t("copied")} textAriaLabel={t("account.secret")}>
            {secret}
          </ClipboardCopy>
          <FormGroup label={t("account.code")} fieldId="totp-code">
            <TextInput id="totp-code" value={code} onChange={(_, v) => setCode(v)} inputMode="numeric" autoComplete="one-time-code" />
          </FormGroup>
          <ActionGroup>
            <Button type="submit" isDisabled={code.length !== 6}>
              {t("account.codes_confirm")}
            </Button>
          </ActionGroup>
        </Form>
      )}
    </>
  );
}

export default function AccountPage() {
  return (
    <PageSection isFilled>
      <div className="page-head">
        <Title headingLevel="h1">{t("nav.account")}</Title>
      </div>
      <div className="cards">
        <Card isCompact>
          <CardTitle component="h2">{t("login.password")}</CardTitle>
          <CardBody>
            <Password />
          </CardBody>
        </Card>
        <Card isCompact>
          <CardTitle component="h2">{t("account.codes")}</CardTitle>
          <CardBody>
            <Codes />
          </CardBody>
        </Card>
      </div>
    </PageSection>
  );
}
