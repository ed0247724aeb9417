/* web/src/core/api.ts: requests.  A refusal is an ApiError; that the session ended is told to whoever listens. */
import type { ApiPath } from "./types";

type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

export interface Call {
  method: Method;
  /* a path of the API's document, and what stands for its {…} in their order */
  path: ApiPath;
  names?: string[];
  query?: Record<string, string | number | boolean>;
  body?: unknown;
  ifMatch?: string;
}

export type Read = Pick<Call, "path" | "names" | "query">;

/* Of the list of instances: so many that one answer has all. */
export const INSTANCES_PAGE = 20000;

export interface Answer<T> {
  value: T;
  etag: string;
}

export class ApiError extends Error {
  constructor(
    readonly status: number,
    sentence: string,
    readonly field?: string,
  ) {
    super(sentence);
  }
}

const BEFORE_LOGIN: ApiPath[] = ["/1.0/login", "/1.0/setup"];

let onEnded: () => void = () => {};

/* Called when a request was refused because nobody is logged in (any more). */
export function whenSessionEnds(then: () => void): void {
  onEnded = then;
}

export function urlOf(call: Read): string {
  const names = [...(call.names ?? [])];
  const path = call.path.replace(/\{\w+\}/g, () => encodeURIComponent(names.shift() ?? ""));
  const query = new URLSearchParams(Object.entries(call.query ?? {}).map(([k, v]) => [k, String(v)]));

  return query.size ? `${path}?${query}` : path;
}

async function refusal(r: Response): Promise<ApiError> {
  try {
    const { error } = (await r.json()) as { error: { sentence: string; field?: string } };
    return new ApiError(r.status, error.sentence, error.field);
  } catch {
    return new ApiError(r.status, `${r.status} ${r.statusText}`);
  }
}

/* Reads that were sent before a page asked for them.  The first that does has the answer, unless it has become old. */
const ahead = new Map<string, { at: number; answer: Promise<Response | undefined> }>();
const AHEAD_MS = 5000;

/* True: it was answered, and is kept for who asks for it. */
export async function askAhead(call: Read): Promise<boolean> {
  const url = urlOf(call);
  const answer = fetch(url).catch(() => undefined);

  ahead.set(url, { at: Date.now(), answer });
  return (await answer)?.ok ?? false;
}

async function takeAhead(url: string): Promise<Response | undefined> {
  const kept = ahead.get(url);

  ahead.delete(url);
  return kept && Date.now() - kept.at < AHEAD_MS ? kept.answer : undefined;
}

const AGAIN_MS = 20_000;
const PAUSE_MS = 500;

/* A write whose answer did not come is sent again: by its key it is done once.  Whether a read is, its caller knows. */
async function reach(url: string, init: RequestInit, again: boolean): Promise<Response> {
  const end = Date.now() + (again ? AGAIN_MS : 0);

  for (;;) {
    try {
      return await fetch(url, init);
    } catch {
      if (Date.now() >= end) throw new ApiError(0, "unreachable");
    }
    await new Promise((then) => setTimeout(then, PAUSE_MS));
  }
}

async function send(call: Call): Promise<Response> {
  const writes = call.method !== "GET", keyed = writes && !BEFORE_LOGIN.includes(call.path);
  const headers: Record<string, string> = writes ? { "X-Socle": "1" } : {};
  const body = call.body === undefined ? null : JSON.stringify(call.body);

  if (body !== null) headers["Content-Type"] = "application/json";
  if (call.ifMatch) headers["If-Match"] = call.ifMatch;
  if (keyed) headers["Idempotency-Key"] = crypto.randomUUID();
  const url = urlOf(call);
  const r = (!writes && (await takeAhead(url))) || (await reach(url, { method: call.method, headers, body }, keyed));
  if (r.ok) return r;
  if (r.status === 401) ahead.clear(); // what was refused to nobody is not refused to who logs in
  if (r.status === 401 && !BEFORE_LOGIN.includes(call.path)) onEnded();
  throw await refusal(r);
}

export async function ask<T>(call: Call): Promise<Answer<T>> {
  const r = await send(call);
  const text = await r.text();

  return { value: (text ? JSON.parse(text) : null) as T, etag: r.headers.get("etag") ?? "" };
}

export async function get<T>(path: ApiPath, names: string[] = [], query: Call["query"] = {}): Promise<T> {
  return (await ask<T>({ method: "GET", path, names, query })).value;
}

/* All pages of a list. */
export async function list<T>(path: ApiPath, names: string[] = [], limit?: number): Promise<T[]> {
  const all: T[] = [];
  let after: string | undefined;

  do {
    const query = { ...(limit ? { limit } : {}), ...(after ? { after } : {}) };
    const page = await get<{ list: T[]; next?: string }>(path, names, query);
    all.push(...page.list);
    after = page.next;
  } while (after);
  return all;
}

export async function text(call: Call): Promise<string> {
  return (await send(call)).text();
}

export function socketUrl(path: string): string {
  return `wss://${location.host}${path}`;
}
