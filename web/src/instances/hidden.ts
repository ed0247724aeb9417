/* web/src/instances/hidden.ts: which columns the table of instances has; what was chosen is kept in this browser. */
import { useState } from "react";

/* Of a grid: mark, name and state are always there. */
export const WIDTHS = {
  mark: "3rem",
  name: "minmax(10rem, 3fr)",
  kind: "6rem",
  state: "7.5rem",
  usage: "9rem",
  cpus: "4.5rem",
  memory: "6.5rem",
  addresses: "minmax(10rem, 1fr)",
  tags: "minmax(7rem, 2fr)",
  id: "minmax(9rem, 1fr)",
};

export const CHOOSABLE = ["kind", "usage", "cpus", "memory", "addresses", "tags", "id"] as const;
export type ColumnId = (typeof CHOOSABLE)[number];

const KEY = "socle-columns";
const WIDE_PX = 1400; /* of a window in which there is room for all but the id */

/* Of columns with these widths, in rem, so that the last is reached by scrolling. */
export function leastOf(widths: string[]): number {
  return widths.reduce((sum, w) => sum + parseFloat(/[\d.]+/.exec(w)?.[0] ?? "0"), 0);
}

/* What is kept may be of another version, or no JSON at all. */
export function hiddenOf(kept: string | null, wide = true): ColumnId[] {
  const first: ColumnId[] = wide ? ["id"] : ["addresses", "id"];

  try {
    const all: unknown = kept === null ? first : JSON.parse(kept);
    return Array.isArray(all) ? CHOOSABLE.filter((id) => all.includes(id)) : first;
  } catch {
    return first;
  }
}

export function useHidden(): [ColumnId[], (id: ColumnId, shown: boolean) => void] {
  const [hidden, setHidden] = useState(() => hiddenOf(localStorage.getItem(KEY), innerWidth >= WIDE_PX));

  return [
    hidden,
    (id, shown) => {
      const next = CHOOSABLE.filter((x) => (x === id ? !shown : hidden.includes(x)));
      localStorage.setItem(KEY, JSON.stringify(next));
      setHidden(next);
    },
  ];
}
