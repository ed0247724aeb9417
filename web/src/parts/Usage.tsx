/* web/src/parts/Usage.tsx: what a machine or the host uses, as curves: now, or for an hour, a day, a month. */
import { FormSelect, FormSelectOption } from "@patternfly/react-core";
import { keepPreviousData, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { get } from "@/core/api";
import { bytes, percent } from "@/core/format";
import { t } from "@/core/text";
import type { TextKey } from "@/core/text";
import type { ApiPath } from "@/core/types";
import { curveOf, joined, lastTime, queryOf, spans } from "@/core/usage";
import type { History, Span } from "@/core/usage";
import { ErrorAlert } from "./ErrorAlert";

const WIDTH = 240;
const HEIGHT = 44;
const rate = (v: number) => `${bytes(Math.round(v))}/s`;

const CURVES: { title: TextKey; of: string[]; text: (v: number) => string }[] = [
  { title: "usage.cpu", of: ["cpu"], text: (v) => percent(v / 1000) },
  { title: "usage.memory", of: ["memory"], text: (v) => bytes(Math.round(v)) },
  { title: "usage.disks", of: ["read_bytes", "write_bytes"], text: rate },
  { title: "usage.network", of: ["in_bytes", "out_bytes"], text: rate },
];

/* `path` is where it is told what is used now; to ask there is to look, and who looks is shown each second (doc/daemon.md). */
function useHistory(path: ApiPath, names: string[], span: Span) {
  const queries = useQueryClient();
  const queryKey = ["usage", path, ...names, span.id];

  return useQuery({
    queryKey,
    queryFn: async () => {
      const old = queries.getQueryData<History>(queryKey);
      const since = Math.floor(Date.now() / 1000) - span.seconds;
      if (span.id === "live") await get(path, names);
      const from = span.id === "live" ? Math.max(since, lastTime(old)) : since;
      const more = await get<History>(`${path}/history` as ApiPath, names, queryOf(span, from));
      return span.id === "live" ? joined(old, more, since) : more;
    },
    refetchInterval: span.everyMs,
    placeholderData: keepPreviousData,
  });
}

export function Usage({ path, names = [] }: { path: ApiPath; names?: string[] }) {
  const [id, setId] = useState<Span["id"]>("live");
  const span = spans.find((s) => s.id === id) as Span;
  const { data, error } = useHistory(path, names, span);
  const until = Math.max(Date.now() / 1000, lastTime(data));

  return (
    <div className="usage">
      <FormSelect className="usage-span" aria-label={t("usage.span")} value={id} onChange={(_, v) => setId(v as Span["id"])}>
        {spans.map((s) => (
          <FormSelectOption key={s.id} value={s.id} label={t(`usage.${s.id}`)} />
        ))}
      </FormSelect>
      <ErrorAlert error={error} />
      {data?.rows.length === 0 && <p className="nothing">{t("usage.nothing")}</p>}
      {data &&
        data.rows.length > 0 &&
        CURVES.map(({ title, of, text }) => {
          const curve = curveOf(data, of, span, until, WIDTH, HEIGHT);
          const now = curve.last === undefined ? "–" : text(curve.last);
          return (
            <figure key={title} className="curve">
              <figcaption>
                <span>{t(title)}</span>
                <b>{now}</b>
                <small className="hint">{curve.most ? t("usage.most", { most: text(curve.most) }) : ""}</small>
              </figcaption>
              <svg viewBox={`0 -2 ${WIDTH} ${HEIGHT + 4}`} preserveAspectRatio="none" role="img" aria-label={`${t(title)}: ${now}`}>
                <path d={curve.path} vectorEffect="non-scaling-stroke" />
              </svg>
            </figure>
          );
        })}
    </div>
  );
}
