/*
 * web/src/instances/Table.tsx: the table of instances.  Only rows in sight are in the page, so that ten thousand scroll as ten do.
 */
import { Checkbox } from "@patternfly/react-core";
import {
  createColumnHelper,
  flexRender,
  getCoreRowModel,
  getSortedRowModel,
  useReactTable,
  type Row,
  type RowSelectionState,
  type SortingState,
} from "@tanstack/react-table";
import { useVirtualizer } from "@tanstack/react-virtual";
import { memo, useState, type CSSProperties } from "react";
import { Link } from "react-router-dom";
import { bytes } from "@/core/format";
import { t } from "@/core/text";
import type { Summary } from "@/core/types";
import { StateLabel } from "@/parts/StateLabel";
import { isAlive } from "./actions";
import { leastOf, WIDTHS, type ColumnId } from "./hidden";
import { Spark } from "./Spark";

const ROW_PX = 44;
const TAGS = 4;

interface Props {
  rows: Summary[];
  hidden: ColumnId[];
  chosen: RowSelectionState;
  onChosen: (next: RowSelectionState) => void;
  onTag: (tag: string) => void;
}

const column = createColumnHelper<Summary>();

/* "10.0.0.1 +2" */
function shortList(words: string): string {
  const [first = "", ...more] = words.split(" ");

  return more.length ? `${first} +${more.length}` : first;
}

/* Cells have PatternFly's classes, not its components: these are most of what a row costs while one scrolls. */
function columns(onTag: Props["onTag"]) {
  return [
    column.display({
      id: "mark",
      header: ({ table }) => (
        <Checkbox
          id="mark-all"
          aria-label={t("instances.mark_all")}
          isChecked={table.getIsAllRowsSelected() ? true : table.getIsSomeRowsSelected() ? null : false}
          onChange={(_, on) => table.toggleAllRowsSelected(on)}
        />
      ),
      cell: ({ row }) => (
        <span className="pf-v6-c-check pf-m-standalone">
          <input
            type="checkbox"
            className="pf-v6-c-check__input"
            id={`mark-${row.id}`}
            aria-label={t("instances.mark", { name: row.original.name })}
            checked={row.getIsSelected()}
            onChange={(e) => row.toggleSelected(e.currentTarget.checked)}
          />
        </span>
      ),
    }),
    column.accessor("name", {
      header: () => t("instances.name"),
      cell: (c) => <Link to={`/instances/${encodeURIComponent(c.getValue())}`}>{c.getValue()}</Link>,
    }),
    column.accessor("kind", { header: () => t("instances.kind"), cell: (c) => t(c.getValue() === "os" ? "kind.os" : "kind.machine") }),
    column.accessor("state", { header: () => t("instances.state"), cell: (c) => <StateLabel state={c.getValue()} /> }),
    column.display({ id: "usage", header: () => t("usage.cpu"), cell: ({ row }) => <Spark of={row.original} /> }),
    column.accessor("cpus", { header: () => t("instances.cpus") }),
    column.accessor("memory", { header: () => t("instances.memory"), cell: (c) => bytes(c.getValue()) }),
    column.accessor((i) => (isAlive(i.state) ? i.addresses.join(" ") : ""), {
      id: "addresses",
      header: () => t("instances.addresses"),
      cell: (c) => <span title={c.getValue()}>{shortList(c.getValue())}</span>,
    }),
    column.accessor((i) => i.tags.join(" "), {
      id: "tags",
      header: () => t("instances.tags"),
      cell: ({ row }) =>
        row.original.tags.slice(0, TAGS).map((x) => (
          <span key={x} className="pf-v6-c-label pf-m-compact pf-m-outline pf-m-clickable">
            <button type="button" className="pf-v6-c-label__content pf-m-clickable" title={x} onClick={() => onTag(x)}>
              <span className="pf-v6-c-label__text">{x}</span>
            </button>
          </span>
        )),
    }),
    column.accessor("id", { header: () => t("overview.id"), cell: (c) => <code>{c.getValue()}</code> }),
  ];
}

interface RowProps {
  row: Row<Summary>;
  index: number;
  start: number;
  /* what `row` does not tell by being another: whether it is marked, and which columns it has */
  chosen: boolean;
  shown: string;
}

/* While one scrolls, only rows that come into sight are made. */
const GridRow = memo(function GridRow({ row, index, start }: RowProps) {
  return (
    <div role="row" className="grid-row" aria-rowindex={index + 2} style={{ transform: `translateY(${start}px)` }}>
      {row.getVisibleCells().map((c) => (
        <div key={c.id} role="cell" className={`cell cell-${c.column.id}`}>
          {flexRender(c.column.columnDef.cell, c.getContext())}
        </div>
      ))}
    </div>
  );
});

interface BodyProps {
  rows: Row<Summary>[];
  scroller: HTMLDivElement | null; /* as state: a ref is set after the effects of what is in it */
  chosen: RowSelectionState;
  shown: string;
}

/* What scrolling makes anew, apart from the head. */
function Body({ rows, scroller, chosen, shown }: BodyProps) {
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller,
    estimateSize: () => ROW_PX,
    overscan: 6,
  });

  return (
    <div role="rowgroup" className="grid-body" style={{ height: virtual.getTotalSize() }}>
      {virtual.getVirtualItems().map((v) => {
        const row = rows[v.index];
        return row && <GridRow key={row.id} row={row} index={v.index} start={v.start} chosen={!!chosen[row.id]} shown={shown} />;
      })}
    </div>
  );
}

const ARIA_SORT = { asc: "ascending", desc: "descending" } as const;

export function InstanceTable(p: Props) {
  const [sorting, setSorting] = useState<SortingState>([{ id: "name", desc: false }]);
  const [scroller, setScroller] = useState<HTMLDivElement | null>(null);
  const [cols] = useState(() => columns(p.onTag));
  const table = useReactTable({
    data: p.rows,
    columns: cols,
    state: { sorting, rowSelection: p.chosen, columnVisibility: Object.fromEntries(p.hidden.map((id) => [id, false])) },
    getRowId: (i) => i.id,
    onSortingChange: setSorting,
    onRowSelectionChange: (next) => p.onChosen(typeof next === "function" ? next(p.chosen) : next),
    getCoreRowModel: getCoreRowModel(),
    getSortedRowModel: getSortedRowModel(),
  });
  const { rows } = table.getRowModel();
  const widths = table.getVisibleLeafColumns().map((c) => WIDTHS[c.id as keyof typeof WIDTHS]);
  return (
    <div className="grid" style={{ "--columns": widths.join(" "), "--least": `${leastOf(widths)}rem` } as CSSProperties} ref={setScroller} role="table" tabIndex={0} aria-label={t("nav.instances")} aria-rowcount={rows.length + 1}>
      <div role="rowgroup" className="grid-head">
        <div role="row" className="grid-row" aria-rowindex={1}>
          {table.getFlatHeaders().map((h) => {
            const sorted = h.column.getIsSorted();
            return (
              <div key={h.id} role="columnheader" className={`cell cell-${h.id}`} {...(sorted ? { "aria-sort": ARIA_SORT[sorted] } : {})}>
                {h.column.getCanSort() ? (
                  <button type="button" className="sort" onClick={h.column.getToggleSortingHandler()}>
                    {flexRender(h.column.columnDef.header, h.getContext())}
                    <span aria-hidden="true">{sorted === "asc" ? " ↑" : sorted === "desc" ? " ↓" : ""}</span>
                  </button>
                ) : (
                  flexRender(h.column.columnDef.header, h.getContext())
                )}
              </div>
            );
          })}
        </div>
      </div>
      <Body rows={rows} scroller={scroller} chosen={p.chosen} shown={widths.join(" ")} />
    </div>
  );
}
