/* web/src/parts/PlainTable.tsx: a small table; on a narrow screen each row is a card. */
import type { ReactNode } from "react";

export interface Row {
  key: string;
  cells: ReactNode[];
}

export function PlainTable({ label, head, rows }: { label: string; head: string[]; rows: Row[] }) {
  return (
    <div className="table-scroll">
      <table className="plain" aria-label={label}>
        <thead>
          <tr>
            {head.map((h, i) => (h ? <th key={h} scope="col">{h}</th> : <td key={i} />))}
          </tr>
        </thead>
        <tbody>
          {rows.map((r) => (
            <tr key={r.key}>
              {r.cells.map((c, i) => (
                <td key={i} data-label={head[i]}>
                  {c}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
