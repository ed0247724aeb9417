/*
 * web/src/core/live.ts: the stream of events.  It is a WebSocket that is opened again when it ends, later each time; then all that is shown
 * is asked for anew, because what happened meanwhile was not heard.
 */
import type { QueryClient } from "@tanstack/react-query";
import { get, socketUrl } from "./api";
import type { Instance, InstanceStatus, LiveEvent, Server, Summary, Task } from "./types";

export const serverQuery = { queryKey: ["server"], queryFn: () => get<Server>("/1.0") };

export type LiveState = "connecting" | "live" | "broken";

const FIRST_MS = 500;
const LAST_MS = 8000;
const LATER_MS = 250;
const LOOK_MS = 30_000;
const LOOK_ROWS = 1000;

/* A list after a change of one instance's state.  The same list when it is none of it. */
export function withState(list: Summary[], e: LiveEvent): Summary[] {
  const at = list.findIndex((i) => i.id === e.id);
  const old = list[at];

  if (!old || !e.state || old.state === e.state) return list;
  const next = list.slice();
  next[at] = { ...old, state: e.state };
  return next;
}

/* A list after what one instance's guest told.  The same list when it is none of it. */
export function withAddresses(list: Summary[], e: LiveEvent): Summary[] {
  return list.some((i) => i.id === e.id) ? list.map((i) => (i.id === e.id ? { ...i, addresses: e.addresses ?? [] } : i)) : list;
}

/* A guest is asked for its addresses when somebody looks, and its agent begins some time after the machine. */
export function lookAgain(all: Pick<Summary, "kind" | "state" | "addresses">[]): number | false {
  return all.length <= LOOK_ROWS && all.some((i) => i.kind !== "os" && i.state === "running" && !i.addresses.length) ? LOOK_MS : false;
}

/* What has to be asked again after these events, as keys of queries. */
export function staleAfter(events: LiveEvent[]): string[] {
  const keys = new Set<string>();

  for (const e of events) {
    if (e.type === "instance" || (e.type === "state" && e.deleted)) keys.add("instances").add("instance");
    if (e.type === "state") keys.add("instance").add("snapshots");
    if (e.type === "network") keys.add("networks");
    if (e.type === "task") keys.add("tasks").add("snapshots").add("images").add("exports").add("catalogues");
  }
  return [...keys];
}

export class Live {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private stale = new Set<string>();
  private staleTimer: ReturnType<typeof setTimeout> | undefined;
  private wait = FIRST_MS;
  private begun = false;
  private listeners = new Set<() => void>();
  private watchers = new Set<(events: LiveEvent[]) => void>();
  private broke = false;
  state: LiveState = "connecting";

  constructor(private readonly queries: QueryClient) {}

  /* Once somebody is known; later calls do nothing. */
  start(): void {
    if (!this.begun) void this.connect();
    this.begun = true;
  }

  /* At once, not when the wait is over. */
  retry(): void {
    if (this.state !== "live") {
      clearTimeout(this.timer);
      this.wait = FIRST_MS;
      void this.connect();
    }
  }

  subscribe = (then: () => void): (() => void) => {
    this.listeners.add(then);
    return () => this.listeners.delete(then);
  };

  watch(then: (events: LiveEvent[]) => void): () => void {
    this.watchers.add(then);
    return () => this.watchers.delete(then);
  }

  private set(state: LiveState): void {
    this.state = state;
    for (const then of this.listeners) then();
  }

  private async connect(): Promise<void> {
    try {
      /* Fresh, or what a page is just asking for. */
      const { revision } = await this.queries.fetchQuery({ ...serverQuery, staleTime: 0, retry: false });
      this.open(revision);
    } catch {
      this.lost();
    }
  }

  private open(revision: number): void {
    const socket = new WebSocket(socketUrl(`/1.0/events?since=${revision}`));

    socket.onopen = () => {
      this.wait = FIRST_MS;
      this.set("live");
      if (this.broke) void this.queries.invalidateQueries();
      this.broke = false;
    };
    socket.onmessage = (m) => this.hear(JSON.parse(String(m.data)) as LiveEvent[]);
    socket.onclose = () => this.lost();
  }

  private lost(): void {
    this.broke = true;
    this.set("broken");
    clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.connect(), this.wait);
    this.wait = Math.min(this.wait * 2, LAST_MS);
  }

  private hear(events: LiveEvent[]): void {
    for (const e of events) {
      if (e.type === "state") this.queries.setQueryData<Summary[]>(["instances"], (l) => l && withState(l, e));
      if (e.type === "state" && e.state) this.patch(e, { state: e.state });
      if (e.type === "addresses") {
        this.queries.setQueryData<Summary[]>(["instances"], (l) => l && withAddresses(l, e));
        this.patch(e, { addresses: e.addresses ?? [] });
      }
      if (e.type === "task") this.noteTask(e);
    }
    for (const key of staleAfter(events)) this.stale.add(key);
    for (const then of this.watchers) then(events);
    /* A hundred events are one request. */
    this.staleTimer ??= setTimeout(() => this.refresh(), LATER_MS);
  }

  private patch(e: LiveEvent, now: Partial<InstanceStatus>): void {
    this.queries.setQueriesData<{ value: Instance; etag: string }>({ queryKey: ["instance"] }, (old) =>
      old?.value?.status?.id === e.id && old
        ? { ...old, value: { ...old.value, status: { ...old.value.status, ...now } } }
        : old,
    );
  }

  private noteTask(e: LiveEvent): void {
    this.queries.setQueryData<Task[]>(["tasks"], (l) =>
      l?.map((t) => (t.number === e.number && e.state ? { ...t, state: e.state as Task["state"] } : t)),
    );
  }

  private refresh(): void {
    const keys = [...this.stale];

    this.stale.clear();
    this.staleTimer = undefined;
    for (const key of keys) void this.queries.invalidateQueries({ queryKey: [key] });
  }
}
