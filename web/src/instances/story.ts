/* web/src/instances/story.ts: what happened to one instance: states, changes and tasks, as the stream of events and the list of tasks tell. */
import type { LiveEvent, Task } from "@/core/types";

export interface Happened {
  key: string;
  kind: "state" | "task" | "change";
  /* seconds since 1970; 0: not known, before the page was opened */
  at: number;
  state: string;
  /* of a task: what, and whose: its words end with a name */
  what: string;
  name: string;
  why: string;
}

/* What was heard, by revision.  `now` is for what has no time of its own. */
export function ofEvent(e: LiveEvent, now: number): Happened | undefined {
  const key = `e${e.revision}`;

  if (e.type === "instance") return { key, kind: "change", at: now, state: e.deleted ? "deleted" : "", what: "", name: "", why: "" };
  if (e.type === "state" && e.state) return { key, kind: "state", at: e.since ?? now, state: e.state, what: "", name: "", why: e.why ?? "" };
  return undefined;
}

function ofTask(t: Task): Happened {
  return { key: `t${t.number}`, kind: "task", at: t.ended || t.created || 0, state: t.state, what: t.what, name: t.name ?? "", why: t.error ?? "" };
}

/* Newest first.  A state is written again when its process or its next start changes: it is said once. */
export function story(heard: Happened[], tasks: Task[], id: string): Happened[] {
  const states: Happened[] = [];
  let before: Happened | undefined;

  for (const h of heard) {
    if (h.kind !== "state" || before?.state !== h.state || before.why !== h.why) states.push(h);
    if (h.kind === "state") before = h;
  }
  /* of one second the later one is first, too */
  return [...states.reverse(), ...tasks.filter((t) => t.id === id).map(ofTask)].sort((a, b) => b.at - a.at || Number(b.kind === "task") - Number(a.kind === "task"));
}
