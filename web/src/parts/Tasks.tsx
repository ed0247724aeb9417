/* web/src/parts/Tasks.tsx: the drawer of tasks. */
import { Button, NotificationDrawer, NotificationDrawerBody, NotificationDrawerHeader, Progress, ProgressSize } from "@patternfly/react-core";
import { useState } from "react";
import { Link } from "react-router-dom";
import { ask } from "@/core/api";
import { ago } from "@/core/format";
import { useSession } from "@/core/session";
import { t, word } from "@/core/text";
import type { Task } from "@/core/types";
import { isOpen, useTasks } from "@/core/use";
import { ErrorAlert } from "./ErrorAlert";
import { StateLabel } from "./StateLabel";

const SHOWN = 50;
const OF_INSTANCE_NOT = ["import", "network", "delete"];

function TaskRow({ task }: { task: Task }) {
  const [error, setError] = useState<unknown>();
  const { self } = useSession();
  const name = task.name ?? "";
  const has = isOpen(task) && !!task.total;

  async function cancel(): Promise<void> {
    try {
      await ask({ method: "DELETE", path: "/1.0/tasks/{number}", names: [String(task.number)] });
    } catch (e) {
      setError(e);
    }
  }

  return (
    <li className="task">
      <div className="task-head">
        <strong>{word("task", task.what)}</strong>
        {OF_INSTANCE_NOT.includes(task.what) ? <span>{name}</span> : <Link to={`/instances/${encodeURIComponent(name)}`}>{name}</Link>}
        <StateLabel state={task.state} />
      </div>
      {has && (
        <Progress
          size={ProgressSize.sm}
          value={Math.floor(((task.done ?? 0) / (task.total ?? 1)) * 100)}
          aria-label={t("tasks.progress", { name })}
        />
      )}
      {task.error && <p className="task-error">{task.error}</p>}
      <ErrorAlert error={error} />
      <div className="task-foot">
        <small>{t("tasks.ago", { ago: ago(task.ended || task.created || 0) })}</small>
        {isOpen(task) && self.operate && (
          <Button variant="link" isInline onClick={() => void cancel()}>
            {t("tasks.cancel")}
          </Button>
        )}
      </div>
    </li>
  );
}

export default function TaskDrawer({ onClose }: { onClose: () => void }) {
  const tasks = useTasks();

  return (
    <NotificationDrawer>
      <NotificationDrawerHeader title={t("tasks.title")} onClose={onClose} customText="" />
      <NotificationDrawerBody>
        <ErrorAlert error={tasks.error} />
        {tasks.data?.length === 0 && <p className="nothing">{t("tasks.none")}</p>}
        <ul className="tasks">{tasks.data?.slice(0, SHOWN).map((x) => <TaskRow key={x.number} task={x} />)}</ul>
      </NotificationDrawerBody>
    </NotificationDrawer>
  );
}
