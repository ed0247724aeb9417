/* web/src/pages/ListShell.tsx: what the pages of small lists have in common. */
import { EmptyState, PageSection, Spinner, Title } from "@patternfly/react-core";
import type { ReactNode } from "react";
import { t } from "@/core/text";
import { ErrorAlert } from "@/parts/ErrorAlert";
import { PlainTable, type Row } from "@/parts/PlainTable";

interface Props {
  title: string;
  tools?: ReactNode;
  error: unknown;
  head: string[];
  rows: Row[] | undefined;
  none: string;
  children?: ReactNode;
}

export function ListShell(p: Props) {
  return (
    <PageSection isFilled>
      <div className="page-head">
        <Title headingLevel="h1">{p.title}</Title>
        {p.tools}
      </div>
      <ErrorAlert error={p.error} />
      {!p.rows && !p.error && <Spinner aria-label={t("loading")} />}
      {p.rows?.length === 0 && <EmptyState titleText={p.none} headingLevel="h2" variant="sm" />}
      {p.rows && p.rows.length > 0 && <PlainTable label={p.title} head={p.head} rows={p.rows} />}
      {p.children}
    </PageSection>
  );
}
