/* web/src/core/usage.ts: rows of what was used (doc/api.md, Metrics), as they are kept and drawn. */
export interface History {
  columns: string[];
  rows: (number | null)[][];
}

export interface Span {
  id: "live" | "hour" | "day" | "month";
  seconds: number;
  /* of a row: as they come, or averages */
  step: number;
  everyMs: number;
}

export const spans: Span[] = [
  { id: "live", seconds: 120, step: 1, everyMs: 2000 },
  { id: "hour", seconds: 3600, step: 60, everyMs: 60000 },
  { id: "day", seconds: 86400, step: 600, everyMs: 60000 },
  { id: "month", seconds: 30 * 86400, step: 6 * 3600, everyMs: 60000 },
];

/* What the history is asked for. */
export function queryOf(span: Span, since: number): Record<string, string | number> {
  return { since, ...(span.id === "live" ? { span: "seconds" } : { span: "minutes", step: span.step }) };
}

const timeOf = (row: (number | null)[] | undefined) => row?.[0] ?? 0;

export function lastTime(h: History | undefined): number {
  return timeOf(h?.rows.at(-1));
}

/* Rows that are there and newer ones, without those up to `since`. */
export function joined(old: History | undefined, more: History, since: number): History {
  const known = lastTime(old);
  const rows = [...(old?.rows ?? []), ...more.rows.filter((r) => timeOf(r) > known)];

  return { columns: more.columns, rows: rows.filter((r) => timeOf(r) > since) };
}

export interface Curve {
  /* for <path d=…>; "" when nothing is known */
  path: string;
  last: number | undefined;
  most: number;
}

const GAP_STEPS = 4;

/* The sum of these columns from `until - span` to `until`, in a box of this size.  Where nothing was measured there is no line. */
export function curveOf(h: History, of: string[], span: Span, until: number, width: number, height: number): Curve {
  const at = of.map((name) => h.columns.indexOf(name)).filter((i) => i >= 0);
  const points: [number, number][] = [];

  for (const row of h.rows) {
    const known = at.map((i) => row[i]).filter((v) => v !== null && v !== undefined);
    if (known.length) points.push([timeOf(row), known.reduce((a, b) => a + b, 0)]);
  }
  const most = points.reduce((m, [, v]) => Math.max(m, v), 0);
  let path = "";
  let before = -Infinity;
  for (const [time, v] of points) {
    const x = width * (1 - (until - time) / span.seconds);
    const y = height - (most ? (v / most) * height : 0);
    const place = `${x.toFixed(1)} ${y.toFixed(1)}`;
    path += time - before > GAP_STEPS * span.step ? `M${place}h0` : `L${place}`; // a lone point is a dot
    before = time;
  }
  return { path, last: points.at(-1)?.[1], most };
}
