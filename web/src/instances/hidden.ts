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
  tags: "minmax(7rem, 2fr)",
  id: "minmax(9rem, 1fr)",
};

export const CHOOSABLE = ["kind", "usage", "cpus", "memory", "tags", "id"] as const;
export type ColumnId = (typeof CHOOSABLE)[number];

const KEY = "socle-columns";
const HIDDEN: ColumnId[] = ["id"];

/* What is kept may be of another version, or no JSON at all. */
export function hiddenOf(kept: string | null): ColumnId[] {
  try {
    const all: unknown = kept === null ? HIDDEN : JSON.parse(kept);
    return Array.isArray(all) ? CHOOSABLE.filter((id) => all.includes(id)) : HIDDEN;
  } catch {
    return HIDDEN;
  }
}

export function useHidden(): [ColumnId[], (id: ColumnId, shown: boolean) => void] {
  const [hidden, setHidden] = useState(() => hiddenOf(localStorage.getItem(KEY)));

  return [
    hidden,
    (id, shown) => {
      const next = CHOOSABLE.filter((x) => (x === id ? !shown : hidden.includes(x)));
      localStorage.setItem(KEY, JSON.stringify(next));
      setHidden(next);
    },
  ];
}
