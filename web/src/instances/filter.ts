/* web/src/instances/filter.ts: which instances are meant by what was typed. */
import type { Summary } from "@/core/types";

/* All words of `wanted`, in any order and case. */
export function matches(text: string, wanted: string): boolean {
  const low = text.toLowerCase();

  return wanted
    .toLowerCase()
    .split(/\s+/)
    .every((w) => low.includes(w));
}

export interface Wanted {
  text: string;
  state: string; /* "": any */
  tag: string;
}

export function filter(all: Summary[], w: Wanted): Summary[] {
  return all.filter(
    (i) =>
      (!w.state || i.state === w.state) &&
      (!w.tag || i.tags.includes(w.tag)) &&
      (!w.text || matches([i.name, ...i.tags, ...i.addresses].join(" "), w.text)),
  );
}

export function tagsOf(all: Summary[]): string[] {
  return [...new Set(all.flatMap((i) => i.tags))].sort();
}
