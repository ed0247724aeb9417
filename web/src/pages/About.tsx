/* web/src/pages/About.tsx: what this is made of, and what one sends to who shall help. */
import { Button, Card, CardBody, CardTitle, PageSection, Title } from "@patternfly/react-core";
import { useQuery } from "@tanstack/react-query";
import { urlOf } from "@/core/api";
import { serverQuery } from "@/core/live";
import { useSession } from "@/core/session";
import { t } from "@/core/text";
import { Facts } from "@/parts/Facts";
import { ErrorAlert } from "@/parts/ErrorAlert";

/* A file beside the page, made when it was built (web/vite.config.ts). */
const LICENCES = "/licences.json";

interface Licence {
  name: string;
  version: string;
  licence: string;
  text: string;
}

function Licences() {
  const { data, error } = useQuery({
    queryKey: ["licences"],
    staleTime: Infinity,
    queryFn: async () => (await (await fetch(LICENCES)).json()) as Licence[],
  });

  return (
    <>
      <p className="gap">{t("about.licences_hint")}</p>
      <ErrorAlert error={error} />
      <ul className="licences">
        {data?.map((l) => (
          <li key={`${l.name} ${l.version}`}>
            <details>
              <summary>
                {l.name} {l.version} <span className="hint">{l.licence}</span>
              </summary>
              {l.text && (
                <pre className="licence" tabIndex={0} aria-label={l.name}>
                  {l.text}
                </pre>
              )}
            </details>
          </li>
        ))}
      </ul>
    </>
  );
}

export default function AboutPage() {
  const { self } = useSession();
  const server = useQuery(serverQuery);

  return (
    <PageSection isFilled>
      <div className="page-head">
        <Title headingLevel="h1">{t("nav.about")}</Title>
      </div>
      <ErrorAlert error={server.error} />
      <div className="cards">
        <Card isCompact>
          <CardTitle component="h2">{t("about.versions")}</CardTitle>
          <CardBody>
            <Facts
              rows={[
                ["socled", server.data?.version],
                [t("about.api"), server.data?.api],
                [t("dashboard.address"), server.data?.listen],
                [t("dashboard.fingerprint"), <code className="fingerprint">{server.data?.fingerprint}</code>],
              ]}
            />
          </CardBody>
        </Card>
        {self.admin && (
          <Card isCompact>
            <CardTitle component="h2">{t("about.support")}</CardTitle>
            <CardBody>
              <p className="gap">{t("about.support_hint")}</p>
              <Button variant="secondary" component="a" href={urlOf({ path: "/1.0/support" })} download={`socle-support-${location.hostname}.json`}>
                {t("about.support_get")}
              </Button>{" "}
              <code>socle support FILE</code>
            </CardBody>
          </Card>
        )}
        <Card isCompact>
          <CardTitle component="h2">{t("about.licences")}</CardTitle>
          <CardBody>
            <Licences />
          </CardBody>
        </Card>
      </div>
    </PageSection>
  );
}
