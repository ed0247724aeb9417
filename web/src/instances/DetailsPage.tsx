/* web/src/instances/DetailsPage.tsx: one instance: its head with what it can do, and its tabs. */
import { Alert, Breadcrumb, BreadcrumbItem, EmptyState, Nav, NavItem, NavList, PageSection, Spinner, Title } from "@patternfly/react-core";
import { lazy, Suspense, type ReactNode } from "react";
import { Link, useParams } from "react-router-dom";
import { ApiError } from "@/core/api";
import { useSession } from "@/core/session";
import { t, type TextKey } from "@/core/text";
import type { Instance } from "@/core/types";
import { useInstance } from "@/core/use";
import { ErrorAlert } from "@/parts/ErrorAlert";
import { StateLabel } from "@/parts/StateLabel";
import { Actions } from "./Actions";
import { Cloud } from "./Cloud";
import { Disks } from "./Disks";
import { Events } from "./Events";
import { Hardware } from "./Hardware";
import { Logs } from "./Logs";
import { Nets } from "./Nets";
import { Overview } from "./Overview";
import { Raw } from "./Raw";
import { Snapshots } from "./Snapshots";

/* xterm.js is loaded when it is looked at. */
const Console = lazy(() => import("./Console"));
const Shell = lazy(() => import("./Shell"));

export interface Of {
  instance: Instance;
  etag: string;
}

/* `for`: only of containers, or only of machines; `admin`: others are not told what is in it. */
const TABS: { key: string; text: TextKey; view: (of: Of) => ReactNode; for?: "containers" | "machines"; admin?: boolean }[] = [
  { key: "overview", text: "tab.overview", view: (of) => <Overview {...of} /> },
  { key: "shell", text: "tab.shell", view: (of) => <Shell {...of} />, for: "containers" },
  { key: "console", text: "tab.console", view: (of) => <Console {...of} /> },
  { key: "hardware", text: "tab.hardware", view: (of) => <Hardware {...of} /> },
  { key: "disks", text: "tab.disks", view: (of) => <Disks {...of} />, for: "machines" },
  { key: "network", text: "tab.network", view: (of) => <Nets {...of} /> },
  { key: "snapshots", text: "tab.snapshots", view: (of) => <Snapshots {...of} /> },
  { key: "cloud", text: "tab.cloud", view: (of) => <Cloud {...of} />, for: "machines", admin: true },
  { key: "logs", text: "tab.logs", view: (of) => <Logs {...of} /> },
  { key: "events", text: "tab.events", view: (of) => <Events {...of} /> },
  { key: "raw", text: "tab.raw", view: (of) => <Raw {...of} /> },
];

export default function DetailsPage() {
  const { name = "", tab = "overview" } = useParams();
  const { data, error } = useInstance(name);
  const { self } = useSession();

  if (error instanceof ApiError && error.status === 404)
    return (
      <PageSection>
        <EmptyState titleText={t("instance.gone", { name })} headingLevel="h1">
          <Link to="/instances">{t("instance.to_list")}</Link>
        </EmptyState>
      </PageSection>
    );
  if (!data) return <PageSection>{error ? <ErrorAlert error={error} /> : <Spinner aria-label={t("loading")} />}</PageSection>;

  const of = { instance: data.value, etag: data.etag };
  const { status } = data.value;
  const kind = data.value.kind === "os" ? "containers" : "machines";
  const tabs = TABS.filter((x) => (!x.for || x.for === kind) && (!x.admin || self.admin));
  const shown = tabs.find((x) => x.key === tab) ?? tabs[0];
  return (
    <PageSection isFilled className="details">
      <Breadcrumb>
        <BreadcrumbItem>
          <Link to="/instances">{t("nav.instances")}</Link>
        </BreadcrumbItem>
        <BreadcrumbItem isActive>{name}</BreadcrumbItem>
      </Breadcrumb>
      <div className="page-head">
        <div className="title-state">
          <Title headingLevel="h1">{name}</Title>
          <StateLabel state={status.state} />
        </div>
        <Actions {...of} />
      </div>
      {status.state === "failed" && status.why && (
        <Alert component="p" isInline variant="danger" title={t("instance.failed")} className="gap">
          {status.why}
        </Alert>
      )}
      <Nav variant="horizontal-subnav" aria-label={t("instance.tabs", { name })} className="tabs">
        <NavList>
          {tabs.map((x) => (
            <NavItem key={x.key} isActive={x === shown}>
              <Link to={`/instances/${encodeURIComponent(name)}/${x.key}`}>{t(x.text)}</Link>
            </NavItem>
          ))}
        </NavList>
      </Nav>
      <div className="tab-body" key={`${status.id} ${shown?.key}`}>
        <Suspense fallback={<Spinner aria-label={t("loading")} />}>{shown?.view(of)}</Suspense>
      </div>
    </PageSection>
  );
}
