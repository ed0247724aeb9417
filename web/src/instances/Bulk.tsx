/* web/src/instances/Bulk.tsx: one action for all instances that are marked. */
import { Alert, Button } from "@patternfly/react-core";
import { useState } from "react";
import { ask } from "@/core/api";
import { forEach } from "@/core/each";
import { useSession } from "@/core/session";
import { t } from "@/core/text";
import type { Action, Summary, TaskStarted } from "@/core/types";
import { Confirm } from "@/parts/Dialogs";
import { VERB_TEXT, whyNot } from "./actions";

const VERBS: Action[] = ["start", "stop", "restart", "suspend"];

export function Bulk({ marked, onClear }: { marked: Summary[]; onClear: () => void }) {
  const { self } = useSession();
  const [errors, setErrors] = useState<Error[]>([]);
  const [asked, setAsked] = useState<Action>();

  if (marked.length === 0 && errors.length === 0) return null;
  const able = (verb: Action) =>
    marked.filter((i) => !whyNot(verb, { state: i.state, mayOperate: self.operate, mayAdmin: self.admin }));

  async function run(verb: Action): Promise<void> {
    setErrors(
      await forEach(able(verb), (i) =>
        ask<TaskStarted>({ method: "POST", path: "/1.0/instances/{name}/action", names: [i.name], body: { action: verb } }),
      ),
    );
    onClear();
  }

  return (
    <div className="bulk">
      {marked.length > 0 && (
        <>
          <span>{t("bulk.marked", { n: marked.length })}</span>
          {VERBS.map((verb) => {
            const n = able(verb).length;
            return (
              <Button
                key={verb}
                variant="secondary"
                size="sm"
                isDisabled={n === 0}
                onClick={() => (verb === "start" ? void run(verb) : setAsked(verb))}
              >
                {t(VERB_TEXT[verb])} {n > 0 && `(${n})`}
              </Button>
            );
          })}
          <Button variant="link" size="sm" onClick={onClear}>
            {t("bulk.clear")}
          </Button>
        </>
      )}
      {errors.length > 0 && (
        <Alert component="p" isInline variant="danger" title={t("bulk.failed", { n: errors.length })}>
          {[...new Set(errors.map((e) => e.message))].slice(0, 5).join("; ")}
        </Alert>
      )}
      {asked && (
        <Confirm
          title={t("bulk.confirm", { verb: t(VERB_TEXT[asked]), n: able(asked).length })}
          lost={[able(asked).map((i) => i.name).slice(0, 20).join(", ")]}
          verb={t(VERB_TEXT[asked])}
          onConfirm={() => run(asked)}
          onClose={() => setAsked(undefined)}
        />
      )}
    </div>
  );
}
