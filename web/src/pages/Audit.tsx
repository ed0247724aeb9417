/* web/src/pages/Audit.tsx: who did what from where, the newest first. */
import { Button, SearchInput } from "@patternfly/react-core";
import { useInfiniteQuery } from "@tanstack/react-query";
import { useState } from "react";
import { get } from "@/core/api";
import { when } from "@/core/format";
import { t } from "@/core/text";
import type { AuditEntry } from "@/core/types";
import { matches } from "@/instances/filter";
import { ListShell } from "./ListShell";

const PAGE = 200;

export default function AuditPage() {
  const [wanted, setWanted] = useState("");
  const audit = useInfiniteQuery({
    queryKey: ["audit"],
    queryFn: ({ pageParam }) => get<{ list: AuditEntry[]; next?: string }>("/1.0/audit", [], { limit: PAGE, ...(pageParam ? { after: pageParam } : {}) }),
    initialPageParam: "",
    getNextPageParam: (last) => last.next,
  });
  const all = audit.data?.pages.flatMap((p) => p.list);

  return (
    <ListShell
      title={t("nav.audit")}
      tools={
        <div data-search>
          <SearchInput value={wanted} onChange={(_, v) => setWanted(v)} onClear={() => setWanted("")} placeholder={t("audit.search")} aria-label={t("audit.search")} />
        </div>
      }
      error={audit.error}
      none={t("audit.none")}
      head={[t("audit.when"), t("audit.who"), t("audit.from"), t("audit.what"), t("audit.result")]}
      rows={all
        ?.filter((e) => matches(`${e.who} ${e.from} ${e.what} ${e.path} ${e.note ?? ""} ${e.status}`, wanted))
        .map((e) => ({
          key: String(e.number),
          cells: [when(e.time), e.who, e.from, <code>{[e.what, e.path, e.note].filter(Boolean).join(" ")}</code>, <span className={e.status < 400 ? "" : "bad"}>{e.status}</span>],
        }))}
    >
      {audit.hasNextPage && (
        <Button variant="link" onClick={() => void audit.fetchNextPage()} isLoading={audit.isFetchingNextPage}>
          {t("audit.more")}
        </Button>
      )}
    </ListShell>
  );
}
