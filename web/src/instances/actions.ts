/* web/src/instances/actions.ts: what an instance can do in which state, and why not (as src/host/act.c decides in the end). */
import { t, word, type TextKey } from "@/core/text";
import type { Action } from "@/core/types";

export type Verb = Action | "delete" | "snapshot" | "restore" | "delete-snapshot";

const IDLE = ["off", "failed"];
const ALIVE = ["starting", "running", "paused", "stopping"];

const FROM: Record<Verb, string[]> = {
  start: [...IDLE, "suspended"],
  stop: ALIVE,
  restart: [...ALIVE, ...IDLE],
  pause: ["running"],
  resume: ["paused"],
  reset: ["running", "paused"],
  suspend: ["running", "paused"],
  delete: [...IDLE, "suspended"],
  snapshot: [...IDLE, "running", "paused"],
  "delete-snapshot": [...IDLE, "running", "paused"],
  restore: [...IDLE, "running", "paused", "suspended"],
};

export interface Subject {
  state: string;
  template?: boolean | undefined;
  protected?: boolean | undefined;
  /* it waits to be started again, which a stop ends */
  startAt?: number | undefined;
  mayOperate: boolean;
  mayAdmin: boolean;
}

const OPERATE: Verb[] = ["start", "stop", "restart", "pause", "resume", "reset", "suspend"];

/* Why it is not possible now; undefined: it is. */
export function whyNot(verb: Verb, s: Subject): string | undefined {
  const may = OPERATE.includes(verb) ? s.mayOperate : s.mayAdmin;

  if (!may) return t("why.right");
  if (verb === "delete" && s.protected) return t("why.protected");
  if (s.template && verb !== "delete") return t("why.template");
  if (verb === "stop" && s.startAt && IDLE.includes(s.state)) return undefined;
  if (FROM[verb].includes(s.state)) return undefined;
  return t("why.state", {
    state: word("state", s.state),
    wanted: FROM[verb].map((x) => word("state", x)).join(", "),
  });
}

export function isAlive(state: string): boolean {
  return ALIVE.includes(state);
}

/* The same by the command line. */
export function command(verb: Action, name: string): string {
  return `socle ${verb} ${name}`;
}

export const VERB_TEXT: Record<Action, TextKey> = {
  start: "action.start",
  stop: "action.stop",
  restart: "action.restart",
  pause: "action.pause",
  resume: "action.resume",
  reset: "action.reset",
  suspend: "action.suspend",
};
