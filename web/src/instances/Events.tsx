/* web/src/instances/Events.tsx: what happened to an instance, live: what is still known from before, then each thing as it comes. */
import { EmptyState, FormSelect, FormSelectOption, SearchInput } from "@patternfly/react-core";
import { useEffect, useState } from "react";
import { get, socketUrl } from "@/core/api";
import { when } from "@/core/format";
import { t, word } from "@/core/text";
import type { LiveEvent, Server } from "@/core/types";
import { useLiveState, useTasks } from "@/core/use";
import { ErrorAlert } from "@/parts/ErrorAlert";
import { PlainTable } from "@/parts/PlainTable";
import { StateLabel } from "@/parts/StateLabel";
import type { Of } from "./DetailsPage";
import { matches } from "./filter";
import { ofEvent, story, type Happened } from "./story";

/* Revisions that are asked for; the server keeps some thousands. */
const BACK = 2000;

/* A stream of its own, that begins in the past.  Refused, because that is too long ago: from now on. */
function follow(id: string, revision: number, back: number, hear: (h: Happened[]) => void): () => void {
  const socket = new WebSocket(socketUrl(`/1.0/events?since=${Math.max(1, revision - back)}`));
  let opened = false;
  let leave = () => socket.close();

  socket.onopen = () => (opened = true);
  socket.onmessage = (m) => {
    const now = Date.now() / 1000;
    const events = (JSON.parse(String(m.data)) as LiveEvent[]).filter((e) => e.id === id);
    const heard = events.map((e) => ofEvent(e, e.revision > revision ? now : 0)).filter((x) => x !== undefined);
    if (heard.length) hear(heard);
  };
  socket.onclose = () => {
    if (!opened && back) leave = follow(id, revision, 0, hear);
  };
  return () => {
    socket.onclose = null;
    leave();
  };
}

function useHeard(id: string): Happened[] {
  const [heard, setHeard] = useState<Map<string, Happened>>(new Map());
  const live = useLiveState() === "live";

  useEffect(() => {
    let leave = () => {};
    let gone = false;

    if (!live) return;
    void get<Server>("/1.0")
      .then(({ revision }) => {
        if (!gone) leave = follow(id, revision, BACK, (more) => setHeard((old) => new Map([...old, ...more.filter((h) => !old.has(h.key)).map((h) => [h.key, h] as const)])));
      })
      .catch(() => {}); // the page says by itself that there is no connection
    return () => {
      gone = true;
      leave();
    };
  }, [id, live]);
  return [...heard.values()];
}

function textOf(h: Happened): string {
  if (h.kind === "task") return `${word("task", h.what)} ${h.name}`;
  if (h.kind === "state") return t("events.state", { state: word("state", h.state) });
  return t(h.state === "deleted" ? "events.deleted" : "events.changed");
}

export function Events({ instance }: Of) {
  const { id } = instance.status;
  const [wanted, setWanted] = useState("");
  const [kind, setKind] = useState("");
  const heard = useHeard(id);
  const tasks = useTasks();
  const shown = story(heard, tasks.data ?? [], id).filter((h) => (!kind || h.kind === kind) && matches(`${textOf(h)} ${word("state", h.state)} ${h.why}`, wanted));

  return (
    <>
      <div className="tab-tools">
        <FormSelect value={kind} onChange={(_, v) => setKind(v)} aria-label={t("events.which")} className="narrow">
          <FormSelectOption value="" label={t("events.any")} />
          <FormSelectOption value="task" label={t("events.only_tasks")} />
          <FormSelectOption value="state" label={t("events.only_states")} />
        </FormSelect>
        <div data-search>
          <SearchInput value={wanted} onChange={(_, v) => setWanted(v)} onClear={() => setWanted("")} placeholder={t("events.search")} aria-label={t("events.search")} />
        </div>
      </div>
      <ErrorAlert error={tasks.error} />
      {shown.length === 0 && <EmptyState titleText={t("events.none")} headingLevel="h2" variant="sm" />}
      {shown.length > 0 && (
        <PlainTable
          label={t("tab.events")}
          head={[t("events.when"), t("events.what"), t("instances.state"), t("events.more")]}
          rows={shown.map((h) => ({
            key: h.key,
            cells: [h.at ? when(h.at) : t("events.earlier"), textOf(h), h.kind === "task" ? <StateLabel state={h.state} /> : "", h.why],
          }))}
        />
      )}
    </>
  );
}
