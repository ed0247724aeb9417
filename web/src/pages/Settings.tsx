/* web/src/pages/Settings.tsx: what this browser shows how; and the way to what is one's own on the server. */
import { Card, CardBody, CardTitle, Form, FormGroup, FormSelect, FormSelectOption, PageSection, Title } from "@patternfly/react-core";
import { useState } from "react";
import { Link } from "react-router-dom";
import { when } from "@/core/format";
import { browserLanguage, chooseLanguage, chosenLanguage, chooseUtc, isUtc, LANGUAGES } from "@/core/prefs";
import { useSession } from "@/core/session";
import { t } from "@/core/text";
import { chooseTheme, chosenTheme, type Theme } from "@/core/theme";

interface ChoiceProps {
  id: string;
  label: string;
  value: string;
  all: [value: string, label: string][];
  hint?: string;
  onChange: (value: string) => void;
}

function Choice({ id, label, value, all, hint, onChange }: ChoiceProps) {
  return (
    <FormGroup label={label} fieldId={id}>
      <FormSelect id={id} value={value} onChange={(_, v) => onChange(v)}>
        {all.map(([v, text]) => (
          <FormSelectOption key={v} value={v} label={text} />
        ))}
      </FormSelect>
      {hint && <p className="hint">{hint}</p>}
    </FormGroup>
  );
}

function Here() {
  const [theme, setTheme] = useState<string>(chosenTheme());
  const [utc, setUtc] = useState(isUtc());
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

  return (
    <Form>
      <Choice
        id="language"
        label={t("settings.language")}
        value={chosenLanguage()}
        all={[["", t("settings.auto_language", { name: LANGUAGES[browserLanguage()] })], ...Object.entries(LANGUAGES)]}
        hint={t("settings.server_words")}
        onChange={(v) => {
          chooseLanguage(v);
          location.reload(); // every text that is on the page is of the old one
        }}
      />
      <Choice
        id="theme"
        label={t("settings.theme")}
        value={theme}
        all={[["", t("settings.auto_theme")], ["light", t("theme.light")], ["dark", t("theme.dark")]]}
        onChange={(v) => {
          chooseTheme(v as Theme);
          setTheme(v);
        }}
      />
      <Choice
        id="times"
        label={t("settings.times")}
        value={utc ? "utc" : ""}
        all={[["", t("settings.times_local", { zone })], ["utc", t("settings.times_utc")]]}
        hint={t("settings.times_now", { now: when(Date.now() / 1000) })}
        onChange={(v) => {
          chooseUtc(v === "utc");
          setUtc(v === "utc");
        }}
      />
    </Form>
  );
}

export default function SettingsPage() {
  const { self } = useSession();

  return (
    <PageSection isFilled>
      <div className="page-head">
        <Title headingLevel="h1">{t("nav.settings")}</Title>
      </div>
      <div className="cards">
        <Card isCompact>
          <CardTitle component="h2">{t("settings.here")}</CardTitle>
          <CardBody>
            <Here />
          </CardBody>
        </Card>
        <Card isCompact>
          <CardTitle component="h2">{t("settings.own")}</CardTitle>
          <CardBody>
            <p className="gap">{t("settings.own_hint", { name: self.name })}</p>
            <Link to="/account">{t("settings.to_account")}</Link>
          </CardBody>
        </Card>
      </div>
    </PageSection>
  );
}
