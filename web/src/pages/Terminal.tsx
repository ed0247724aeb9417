/* web/src/pages/Terminal.tsx: a login shell on the host, for who may have one. */
import { EmptyState, EmptyStateBody, PageSection, Spinner, Title } from "@patternfly/react-core";
import { useQuery } from "@tanstack/react-query";
import { urlOf } from "@/core/api";
import { serverQuery } from "@/core/live";
import { useSession } from "@/core/session";
import { t } from "@/core/text";
import { Program } from "@/parts/Program";

function Shown() {
  const { self } = useSession();
  const { data } = useQuery(serverQuery);

  if (!self.shell) return <EmptyState titleText={t("terminal.no_right")} headingLevel="h2" variant="sm" />;
  if (!data) return <Spinner aria-label={t("loading")} />;
  if (!data.terminal)
    return (
      <EmptyState titleText={t("terminal.off")} headingLevel="h2" variant="sm">
        <EmptyStateBody>{t("terminal.off_hint")}</EmptyStateBody>
      </EmptyState>
    );
  return <Program url={urlOf({ path: "/1.0/host/terminal" })} first="{}" />;
}

export default function TerminalPage() {
  return (
    <PageSection isFilled>
      <div className="page-head">
        <Title headingLevel="h1">{t("nav.terminal")}</Title>
        <span className="hint">{t("terminal.hint")}</span>
      </div>
      <Shown />
    </PageSection>
  );
}
