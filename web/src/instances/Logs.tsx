/* web/src/instances/Logs.tsx: the end of what the guest wrote, and of what its process said. */
import { Button, FormSelect, FormSelectOption, SearchInput } from "@patternfly/react-core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { text, urlOf } from "@/core/api";
import { plain } from "@/core/plain";
import { t } from "@/core/text";
import { ErrorAlert } from "@/parts/ErrorAlert";
import { matches } from "./filter";
import type { Of } from "./DetailsPage";

const EVERY_MS = 3000;

export function Logs({ instance }: Of) {
  const [which, setWhich] = useState<"console" | "messages">("console");
  const [wanted, setWanted] = useState("");
  const call = { method: "GET", path: "/1.0/instances/{name}/log", names: [instance.name ?? ""], query: { which } } as const;
  const { data, error } = useQuery({
    queryKey: ["log", instance.name, which],
    queryFn: () => text({ ...call, names: [...call.names] }),
    refetchInterval: EVERY_MS,
  });
  const lines = plain(data ?? "").split("\n").filter((l) => !wanted || matches(l, wanted));

  return (
    <>
      <div className="tab-tools">
        <FormSelect value={which} onChange={(_, v) => setWhich(v as typeof which)} aria-label={t("logs.which")} className="narrow">
          <FormSelectOption value="console" label={t("logs.console")} />
          <FormSelectOption value="messages" label={t("logs.messages")} />
        </FormSelect>
        <div data-search>
          <SearchInput value={wanted} onChange={(_, v) => setWanted(v)} onClear={() => setWanted("")} placeholder={t("logs.search")} aria-label={t("logs.search")} />
        </div>
        <Button variant="link" component="a" href={urlOf({ ...call, names: [...call.names] })} download={`${instance.name ?? ""}-${which}.log`}>
          {t("logs.download")}
        </Button>
      </div>
      <ErrorAlert error={error} />
      <pre className="log" tabIndex={0} aria-label={t("tab.logs")}>
        {lines.join("\n") || t("logs.empty")}
      </pre>
    </>
  );
}
