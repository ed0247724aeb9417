/* web/src/pages/Dashboard.tsx: how things are: instances by state, what needs attention, what is being done and was. */
import { Card, CardBody, CardTitle, PageSection, Title } from "@patternfly/react-core";
import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { Link } from "react-router-dom";
import { ago, bytes } from "@/core/format";
import { serverQuery } from "@/core/live";
import { useSession } from "@/core/session";
import { t, word } from "@/core/text";
import type { Summary, Task } from "@/core/types";
import { isOpen, useInstances, useNetworks, useTasks } from "@/core/use";
import { isAlive } from "@/instances/actions";
import { Facts } from "@/parts/Facts";
import { ErrorAlert } from "@/parts/ErrorAlert";
import { StateLabel } from "@/parts/StateLabel";
import { Usage } from "@/parts/Usage";

const RECENT = 8;
const DAY_S = 86400;

function counts(all: Summary[]): [string, number][] {
  const by = new Map<string, number>();

  for (const i of all) by.set(i.state, (by.get(i.state) ?? 0) + 1);
  return [...by].sort((a, b) => b[1] - a[1]);
}

function Box({ title, children }: { title: string; children: ReactNode }) {
  return (
    <Card isCompact isFullHeight>
      <CardTitle component="h2">{title}</CardTitle>
      <CardBody>{children}</CardBody>
    </Card>
  );
}

function TaskLine({ task }: { task: Task }) {
  return (
    <li>
      <span>
        {word("task", task.what)} <strong>{task.name}</strong>
      </span>
      <StateLabel state={task.state} />
      <small className="hint">{t("tasks.ago", { ago: ago(task.ended || task.created || 0) })}</small>
    </li>
  );
}

/* What somebody should look at, with what is known of its cause. */
function attention(instances: Summary[], tasks: Task[], networks: { name: string; status?: { state?: string; why?: string } }[]) {
  const out: { key: string; to: string; text: string; why: string }[] = [];

  for (const i of instances)
    if (i.state === "failed")
      out.push({ key: i.id, to: `/instances/${encodeURIComponent(i.name)}`, text: t("attention.instance", { name: i.name }), why: t("attention.instance_do") });
  for (const n of networks)
    if (n.status?.state === "failed") out.push({ key: `net ${n.name}`, to: "/networks", text: t("attention.network", { name: n.name }), why: n.status.why ?? "" });
  for (const x of tasks)
    if (x.state === "failed" && (x.ended ?? 0) > Date.now() / 1000 - DAY_S)
      out.push({ key: `task ${x.number}`, to: "/", text: t("attention.task", { what: word("task", x.what), name: x.name ?? "" }), why: x.error ?? "" });
  return out.slice(0, RECENT);
}

export function Dashboard() {
  const { self } = useSession();
  const server = useQuery(serverQuery);
  const instances = useInstances();
  const tasks = useTasks().data ?? [];
  const networks = useNetworks().data ?? [];
  const all = instances.data ?? [];
  const alive = all.filter((i) => isAlive(i.state));
  const open = tasks.filter(isOpen);
  const bad = attention(all, tasks, networks);

  return (
    <PageSection isFilled>
      <div className="page-head">
        <Title headingLevel="h1">{t("nav.dashboard")}</Title>
      </div>
      <ErrorAlert error={instances.error} />
      <div className="tiles">
        {counts(all).map(([state, n]) => (
          <Link key={state} to={`/instances?state=${state}`} className={`tile tile-${state}`}>
            <b>{n}</b>
            <span>{word("state", state)}</span>
          </Link>
        ))}
        {instances.data && all.length === 0 && (
          <Link to="/create" className="tile">
            <b>+</b>
            <span>{t("dashboard.first")}</span>
          </Link>
        )}
      </div>
      <div className="cards">
        <Box title={t("dashboard.attention")}>
          {bad.length === 0 && <p className="nothing good">{t("dashboard.all_good")}</p>}
          <ul className="lines">
            {bad.map((x) => (
              <li key={x.key} className="bad">
                <Link to={x.to}>{x.text}</Link>
                {x.why && <small className="hint">{x.why}</small>}
              </li>
            ))}
          </ul>
        </Box>
        <Box title={t("dashboard.running")}>
          {open.length === 0 && <p className="nothing">{t("dashboard.idle")}</p>}
          <ul className="lines">{open.slice(0, RECENT).map((x) => <TaskLine key={x.number} task={x} />)}</ul>
        </Box>
        {self.view && (
          <Box title={t("dashboard.usage")}>
            <Usage path="/1.0/metrics/host" />
          </Box>
        )}
        <Box title={t("dashboard.host")}>
          <Facts
            rows={[
              [t("dashboard.address"), server.data?.listen],
              [t("dashboard.version"), server.data?.version],
              [t("dashboard.cpus"), alive.reduce((n, i) => n + i.cpus, 0)],
              [t("dashboard.memory"), bytes(alive.reduce((n, i) => n + i.memory, 0))],
              [t("dashboard.folder"), server.data?.dir && <code>{server.data.dir}</code>],
              [t("dashboard.fingerprint"), server.data?.fingerprint && <code className="fingerprint">{server.data.fingerprint}</code>],
            ]}
          />
        </Box>
        <Box title={t("dashboard.recent")}>
          {tasks.length === 0 && <p className="nothing">{t("tasks.none")}</p>}
          <ul className="lines">{tasks.filter((x) => !isOpen(x)).slice(0, RECENT).map((x) => <TaskLine key={x.number} task={x} />)}</ul>
        </Box>
      </div>
    </PageSection>
  );
}
