/* web/src/instances/Shell.tsx: a shell in a container. */
import { EmptyState, EmptyStateBody } from "@patternfly/react-core";
import { urlOf } from "@/core/api";
import { t } from "@/core/text";
import { Program } from "@/parts/Program";
import { isAlive } from "./actions";
import type { Of } from "./DetailsPage";

/* The best that there is. */
const FIRST = JSON.stringify({ command: ["/bin/sh", "-c", "command -v bash >/dev/null 2>&1 && exec bash -l; exec sh -l"], terminal: true });

export default function Shell({ instance }: Of) {
  if (!isAlive(instance.status.state))
    return (
      <EmptyState titleText={t("console.off")} headingLevel="h2" variant="sm">
        <EmptyStateBody>{t("shell.off_hint")}</EmptyStateBody>
      </EmptyState>
    );
  return <Program url={urlOf({ path: "/1.0/instances/{name}/exec", names: [instance.name ?? ""] })} first={FIRST} />;
}
