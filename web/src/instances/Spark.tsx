/*
 * web/src/instances/Spark.tsx: the CPU that a machine used in the last hour and uses now, in a cell.  Only rows in sight ask, and only
 * when they stay there: who scrolls by asks nothing.
 */
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { get } from "@/core/api";
import { percent } from "@/core/format";
import { t } from "@/core/text";
import type { Summary } from "@/core/types";
import { curveOf, queryOf, spans, type History, type Span } from "@/core/usage";
import { isAlive } from "./actions";

const WIDTH = 72;
const HEIGHT = 20;
const STAYS_MS = 400;
const NOW_MS = 5000;
const HOUR = spans.find((s) => s.id === "hour") as Span;

interface Used {
  now: number | undefined; /* per mille of a CPU */
  history: History;
  at: number;
}

function useStays(): boolean {
  const [stays, setStays] = useState(false);

  useEffect(() => {
    const timer = setTimeout(() => setStays(true), STAYS_MS);
    return () => clearTimeout(timer);
  }, []);
  return stays;
}

function useUsed(name: string): Used | undefined {
  const queries = useQueryClient();
  const queryKey = ["spark", name];

  return useQuery({
    queryKey,
    queryFn: async () => {
      const old = queries.getQueryData<Used>(queryKey);
      const at = Date.now();
      const { cpu } = await get<{ cpu?: number }>("/1.0/instances/{name}/metrics", [name]);
      /* a row of it comes each minute */
      if (old && at - old.at < HOUR.everyMs) return { ...old, now: cpu };
      const history = await get<History>("/1.0/instances/{name}/metrics/history", [name], queryOf(HOUR, Math.floor(at / 1000) - HOUR.seconds));
      return { now: cpu, history, at };
    },
    refetchInterval: NOW_MS,
    staleTime: NOW_MS,
    retry: false,
  }).data;
}

function Curve({ name }: { name: string }) {
  const used = useUsed(name);

  if (!used) return null;
  const curve = curveOf(used.history, ["cpu"], HOUR, Date.now() / 1000, WIDTH, HEIGHT);
  const now = percent((used.now ?? curve.last ?? 0) / 1000);
  return (
    <span className="spark" data-spark>
      <svg viewBox={`0 -1 ${WIDTH} ${HEIGHT + 2}`} role="img" aria-label={`${t("usage.cpu")}: ${now}`}>
        <path d={curve.path} />
      </svg>
      {now}
    </span>
  );
}

function Soon({ name }: { name: string }) {
  return useStays() ? <Curve name={name} /> : null;
}

/* A row that flies by is a dash or nothing: it has neither a query nor, when it is off, a timer. */
export function Spark({ of }: { of: Summary }) {
  return isAlive(of.state) ? <Soon name={of.name} /> : <span className="hint">–</span>;
}
