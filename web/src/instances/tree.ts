/* web/src/instances/tree.ts: where the snapshots of an instance are drawn: a row each, a column for each branch. */
import type { Snapshot } from "@/core/types";

export interface Placed {
  snapshot: Snapshot;
  row: number;
  column: number;
  parentRow: number | undefined;
  parentColumn: number | undefined;
}

/* The oldest first.  The newest child goes on in its parent's column; the others begin one of their own. */
export function place(snapshots: Snapshot[]): Placed[] {
  const children = new Map<string, Snapshot[]>();
  const known = new Set(snapshots.map((s) => s.name));
  const placed: Placed[] = [];
  let columns = 0;

  for (const s of snapshots) {
    const parent = s.parent && known.has(s.parent) ? s.parent : "";
    children.set(parent, [...(children.get(parent) ?? []), s]);
  }
  const open: { snapshot: Snapshot; column: number; parent: Placed | undefined }[] = [];
  const push = (of: string, parent: Placed | undefined) => {
    const list = [...(children.get(of) ?? [])].sort((a, b) => a.created - b.created);
    list.forEach((snapshot, i) => {
      const goesOn = parent && i === list.length - 1;
      open.push({ snapshot, column: goesOn ? parent.column : columns++, parent });
    });
  };
  push("", undefined);
  for (let next = open.shift(); next; next = open.shift()) {
    const here: Placed = {
      snapshot: next.snapshot,
      row: 0,
      column: next.column,
      parentRow: undefined,
      parentColumn: next.parent?.column,
    };
    placed.push(here);
    push(here.snapshot.name, here);
  }
  placed.sort((a, b) => a.snapshot.created - b.snapshot.created);
  placed.forEach((p, i) => (p.row = i));
  for (const p of placed) {
    const parent = placed.find((q) => q.snapshot.name === p.snapshot.parent);
    p.parentRow = parent?.row;
    p.parentColumn = parent?.column;
  }
  return placed;
}
