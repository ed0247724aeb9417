/* web/src/parts/ErrorAlert.tsx: that something was refused or failed. */
import { Alert } from "@patternfly/react-core";
import { t } from "@/core/text";

export function ErrorAlert({ error, title }: { error: unknown; title?: string }) {
  if (!error) return null;
  return (
    <Alert component="p" isInline variant="danger" title={title ?? t("error.title")} className="gap">
      {error instanceof Error ? error.message : String(error)}
    </Alert>
  );
}
