/* web/src/parts/TaskToasts.tsx: what is said when a task ends. */
import { Alert, AlertActionCloseButton, AlertGroup } from "@patternfly/react-core";
import { useEffect, useState } from "react";
import { t, word } from "@/core/text";
import type { LiveEvent } from "@/core/types";
import { useLive } from "@/core/use";

const TOASTS = 4;
const TOAST_MS = 6000;

interface Toast {
  number: number;
  text: string;
  failed: boolean;
  error: string | undefined;
}

function toastOf(e: LiveEvent): Toast | undefined {
  if (e.type !== "task" || !e.number || !e.state || !["done", "failed", "cancelled"].includes(e.state)) return undefined;
  return {
    number: e.number,
    text: t("tasks.ended", { what: word("task", e.what ?? ""), name: e.name ?? "", state: word("state", e.state) }),
    failed: e.state === "failed",
    error: e.error,
  };
}

export function TaskToasts() {
  const [toasts, setToasts] = useState<Toast[]>([]);
  const live = useLive();

  useEffect(
    () =>
      live.watch((events) => {
        const more = events.map(toastOf).filter((x) => x !== undefined);
        /* One that ended may be written again: the newest word counts. */
        for (const toast of more) setToasts((old) => [toast, ...old.filter((x) => x.number !== toast.number)].slice(0, TOASTS));
      }),
    [live],
  );
  const drop = (number: number) => setToasts((old) => old.filter((x) => x.number !== number));
  return (
    <AlertGroup isToast isLiveRegion>
      {toasts.map((x) => (
        <Alert
          component="p"
          key={x.number}
          variant={x.failed ? "danger" : "success"}
          title={x.text}
          timeout={x.failed ? false : TOAST_MS}
          onTimeout={() => drop(x.number)}
          actionClose={<AlertActionCloseButton onClose={() => drop(x.number)} />}
        >
          {x.error}
        </Alert>
      ))}
    </AlertGroup>
  );
}
