/* web/src/create/CreatePage.tsx: a new instance, step by step.  Nothing is made before the last. */
import { Alert, PageSection, Title, Wizard, WizardStep, useWizardContext, Button, WizardFooterWrapper } from "@patternfly/react-core";
import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { useNavigate, useSearchParams } from "react-router-dom";
import { ask, get, type Call } from "@/core/api";
import { t } from "@/core/text";
import type { Task, TaskStarted } from "@/core/types";
import { isOpen, useImages, useInstances } from "@/core/use";
import { ErrorAlert } from "@/parts/ErrorAlert";
import { bodyOf, EMPTY, wrong, type Draft, type Step } from "./config";
import { CloudStep, DisksStep, NetworkStep, Review, SizeStep, SourceStep } from "./steps";

const STEPS: { id: Step; View: typeof SourceStep }[] = [
  { id: "source", View: SourceStep },
  { id: "size", View: SizeStep },
  { id: "disks", View: DisksStep },
  { id: "network", View: NetworkStep },
  { id: "cloud", View: CloudStep },
];
const POLL_MS = 300;

async function until(number: number): Promise<Task> {
  for (;;) {
    const task = await get<Task>("/1.0/tasks/{number}", [String(number)]);
    if (!isOpen(task)) return task;
    await new Promise((r) => setTimeout(r, POLL_MS));
  }
}

/* web1, web2, …: the first that is free. */
function freeName(stem: string, taken: string[]): string {
  let n = 1;

  while (taken.includes(`${stem}${n}`)) n++;
  return `${stem}${n}`;
}

export default function CreatePage() {
  const [params] = useSearchParams();
  const images = useImages().data;
  const taken = useInstances().data?.map((i) => i.name);
  const [draft, setDraft] = useState<Draft>({ ...EMPTY, image: params.get("image") ?? "" });
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const go = useNavigate();
  const queries = useQueryClient();

  useEffect(() => {
    const first = images?.[0]?.name;
    if (images) setDraft((d) => (d.image || !first ? { ...d, from: d.image ? d.from : "kernel" } : { ...d, image: first }));
  }, [images]);
  useEffect(() => {
    if (taken) setDraft((d) => (d.name ? d : { ...d, name: freeName(d.image || "vm", taken) }));
  }, [taken, draft.image]);

  /* On a phone PatternFly's button of the steps has a label of its own, which hides the step that it shows from who cannot see it. */
  useEffect(() => document.querySelector(".pf-v6-c-wizard__toggle")?.removeAttribute("aria-label"));

  const set = (more: Partial<Draft>) => setDraft((d) => ({ ...d, ...more }));
  const body = bodyOf(draft);
  const call: Call = { method: "POST", path: "/1.0/instances", body };
  const bad = STEPS.map((s) => wrong(draft, s.id, taken ?? []));

  async function create(): Promise<void> {
    setBusy(true);
    setError(undefined);
    try {
      const { value } = await ask<TaskStarted>(call);
      const task = await until(value.task);
      if (task.state !== "done") throw new Error(task.error || task.state);
      await queries.invalidateQueries({ queryKey: ["instances"] });
      if (draft.start)
        await ask({ method: "POST", path: "/1.0/instances/{name}/action", names: [draft.name], body: { action: "start" } });
      go(`/instances/${encodeURIComponent(draft.name)}${draft.start ? "/console" : ""}`);
    } catch (e) {
      setError(e);
    }
    setBusy(false);
  }

  return (
    <PageSection isFilled>
      <div className="page-head">
        <Title headingLevel="h1">{t("create.title")}</Title>
      </div>
      <Wizard navAriaLabel={t("create.steps")} onClose={() => go("/instances")} className="create" isVisitRequired={false}>
        {STEPS.map(({ id, View }, i) => (
          <WizardStep
            key={id}
            id={id}
            name={t(`create.${id}`)}
            status={bad[i] ? "error" : "default"}
            footer={<Footer why={bad[i]} onCancel={() => go("/instances")} />}
          >
            <View draft={draft} set={set} />
            {bad[i] && <Alert component="p" isInline isPlain variant="warning" title={bad[i]} className="gap" />}
          </WizardStep>
        ))}
        <WizardStep
          id="review"
          name={t("create.review")}
          footer={
            <WizardFooterWrapper>
              <BackButton />
              <Button onClick={() => void create()} isDisabled={busy || bad.some(Boolean)} isLoading={busy}>
                {t(draft.start ? "create.create_start" : "create.create")}
              </Button>
              <Button variant="link" onClick={() => go("/instances")}>
                {t("cancel")}
              </Button>
            </WizardFooterWrapper>
          }
        >
          <ErrorAlert error={error} />
          {bad.find(Boolean) && <Alert component="p" isInline variant="warning" title={bad.find(Boolean)} className="gap" />}
          <Review draft={draft} set={set} call={call} />
        </WizardStep>
      </Wizard>
    </PageSection>
  );
}

function BackButton() {
  const { goToPrevStep } = useWizardContext();

  return (
    <Button variant="secondary" onClick={() => void goToPrevStep()}>
      {t("create.back")}
    </Button>
  );
}

function Footer({ why, onCancel }: { why: string | undefined; onCancel: () => void }) {
  const { goToNextStep, goToPrevStep, goToStepById, activeStep } = useWizardContext();

  return (
    <WizardFooterWrapper>
      {activeStep.index > 1 && (
        <Button variant="secondary" onClick={() => void goToPrevStep()}>
          {t("create.back")}
        </Button>
      )}
      <Button isDisabled={!!why} onClick={() => void goToNextStep()}>
        {t("create.next")}
      </Button>
      <Button variant="secondary" isDisabled={!!why} onClick={() => goToStepById("review")}>
        {t("create.to_review")}
      </Button>
      <Button variant="link" onClick={onCancel}>
        {t("cancel")}
      </Button>
    </WizardFooterWrapper>
  );
}
