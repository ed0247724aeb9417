/* web/src/instances/Actions.tsx: what one instance can do now.  What it cannot says why. */
import {
  Alert,
  Button,
  Divider,
  Dropdown,
  DropdownItem,
  DropdownList,
  FormGroup,
  FormSelect,
  FormSelectOption,
  MenuToggle,
  TextInput,
  Tooltip,
} from "@patternfly/react-core";
import { EllipsisVIcon } from "@patternfly/react-icons";
import { useState } from "react";
import { useNavigate } from "react-router-dom";
import { ask, type Call } from "@/core/api";
import { useSession } from "@/core/session";
import { t } from "@/core/text";
import type { Action, TaskStarted } from "@/core/types";
import { Ask, Confirm } from "@/parts/Dialogs";
import { command, isAlive, VERB_TEXT, whyNot, type Subject, type Verb } from "./actions";
import type { Of } from "./DetailsPage";

export function useSubject({ instance }: Of): Subject {
  const { self } = useSession();

  return {
    state: instance.status.state,
    template: instance.template,
    protected: instance.protected,
    startAt: instance.status.start_at,
    mayOperate: self.operate,
    mayAdmin: self.admin,
  };
}

export function WhyButton(p: { why: string | undefined; text: string; danger?: boolean; primary?: boolean; onClick: () => void }) {
  const button = (
    <Button
      variant={p.danger ? "danger" : p.primary ? "primary" : "secondary"}
      isAriaDisabled={!!p.why}
      onClick={() => !p.why && p.onClick()}
    >
      {p.text}
    </Button>
  );

  return p.why ? <Tooltip content={p.why}>{button}</Tooltip> : button;
}

type Dialog = "stop" | "restart" | "reset" | "delete" | "rename" | "clone";

export function Actions(of: Of) {
  const name = of.instance.name ?? "";
  const subject = useSubject(of);
  const [open, setOpen] = useState(false);
  const [dialog, setDialog] = useState<Dialog>();
  const [error, setError] = useState("");

  async function act(verb: Action): Promise<void> {
    setError("");
    try {
      await ask<TaskStarted>(callOf(name, verb));
    } catch (e) {
      setError((e as Error).message);
    }
  }

  const item = (verb: Verb, text: string, onClick: () => void, danger = false) => {
    const why = whyNot(verb, subject);
    return (
      <DropdownItem key={text} isAriaDisabled={!!why} isDanger={danger} description={why} onClick={onClick}>
        {text}
      </DropdownItem>
    );
  };
  return (
    <div className="actions">
      <WhyButton primary why={whyNot("start", subject)} text={t("action.start")} onClick={() => void act("start")} />
      <WhyButton why={whyNot("stop", subject)} text={t("action.stop")} onClick={() => setDialog("stop")} />
      <WhyButton why={whyNot("restart", subject)} text={t("action.restart")} onClick={() => setDialog("restart")} />
      <Dropdown
        isOpen={open}
        onOpenChange={setOpen}
        onSelect={() => setOpen(false)}
        popperProps={{ position: "right" }}
        toggle={(ref) => (
          <MenuToggle ref={ref} variant="plain" isExpanded={open} onClick={() => setOpen(!open)} aria-label={t("action.more", { name })} icon={<EllipsisVIcon />} />
        )}
      >
        <DropdownList>
          {item("pause", t("action.pause"), () => void act("pause"))}
          {item("resume", t("action.resume"), () => void act("resume"))}
          {item("suspend", t("action.suspend"), () => void act("suspend"))}
          {item("reset", t("action.reset"), () => setDialog("reset"))}
          <Divider component="li" />
          <DropdownItem isAriaDisabled={!subject.mayAdmin} onClick={() => setDialog("clone")}>
            {t("clone.verb")}
          </DropdownItem>
          <DropdownItem isAriaDisabled={!subject.mayAdmin} onClick={() => setDialog("rename")}>
            {t("rename.verb")}
          </DropdownItem>
          {item("delete", t("delete.verb"), () => setDialog("delete"), true)}
        </DropdownList>
      </Dropdown>
      {error && <Alert component="p" isInline variant="danger" title={error} className="action-error" />}
      {(dialog === "stop" || dialog === "restart") && <StopDialog name={name} verb={dialog} onClose={() => setDialog(undefined)} />}
      {dialog === "reset" && (
        <Confirm
          title={t("reset.title", { name })}
          lost={[t("reset.lost")]}
          verb={t("action.reset")}
          call={callOf(name, "reset")}
          command={command("reset", name)}
          onConfirm={() => ask(callOf(name, "reset"))}
          onClose={() => setDialog(undefined)}
        />
      )}
      {dialog === "delete" && <DeleteDialog of={of} onClose={() => setDialog(undefined)} />}
      {dialog === "rename" && <RenameDialog name={name} onClose={() => setDialog(undefined)} />}
      {dialog === "clone" && <CloneDialog of={of} onClose={() => setDialog(undefined)} />}
    </div>
  );
}

function callOf(name: string, action: Action, force = false): Call {
  return { method: "POST", path: "/1.0/instances/{name}/action", names: [name], body: { action, ...(force ? { force } : {}) } };
}

function StopDialog({ name, verb, onClose }: { name: string; verb: "stop" | "restart"; onClose: () => void }) {
  const [force, setForce] = useState(false);
  const call = callOf(name, verb, force);

  return (
    <Confirm
      title={t(verb === "stop" ? "stop.title" : "restart.title", { name })}
      lost={[t(force ? "stop.lost_force" : "stop.lost")]}
      also={{ label: t("stop.force"), checked: force, onChange: setForce }}
      verb={t(VERB_TEXT[verb])}
      call={call}
      command={command(verb, name) + (force ? " --force" : "")}
      onConfirm={() => ask(call)}
      onClose={onClose}
    />
  );
}

function DeleteDialog({ of, onClose }: { of: Of; onClose: () => void }) {
  const name = of.instance.name ?? "";
  const call: Call = { method: "DELETE", path: "/1.0/instances/{name}", names: [name] };
  const go = useNavigate();

  return (
    <Confirm
      title={t("delete.title", { name })}
      lost={[t("delete.lost"), ...(of.instance.disks?.length ? [t("delete.kept", { files: of.instance.disks.map((d) => d.file).join(", ") })] : [])]}
      name={name}
      verb={t("delete.verb")}
      call={call}
      command={`socle delete ${name}`}
      onConfirm={async () => {
        await ask(call);
        go("/instances");
      }}
      onClose={onClose}
    />
  );
}

function RenameDialog({ name, onClose }: { name: string; onClose: () => void }) {
  const [to, setTo] = useState(name);
  const call: Call = { method: "POST", path: "/1.0/instances/{name}/rename", names: [name], body: { name: to } };
  const go = useNavigate();

  return (
    <Ask
      title={t("rename.title", { name })}
      verb={t("rename.verb")}
      ready={!!to && to !== name}
      call={call}
      command={`socle rename ${name} ${to}`}
      onDone={async () => {
        await ask(call);
        go(`/instances/${encodeURIComponent(to)}`, { replace: true });
      }}
      onClose={onClose}
    >
      <FormGroup label={t("rename.to")} fieldId="rename-to">
        <TextInput id="rename-to" value={to} onChange={(_, v) => setTo(v)} autoFocus autoComplete="off" />
      </FormGroup>
    </Ask>
  );
}

const MODES = ["linked", "full", "instant"] as const;

export function CloneDialog({ of, snapshot, onClose }: { of: Of; snapshot?: string; onClose: () => void }) {
  const name = of.instance.name ?? "";
  const [to, setTo] = useState(`${name}-2`);
  const [mode, setMode] = useState<(typeof MODES)[number]>("linked");
  const alive = isAlive(of.instance.status.state);
  const body = { name: to, mode, ...(snapshot ? { snapshot } : {}) };
  const call: Call = { method: "POST", path: "/1.0/instances/{name}/clone", names: [name], body };
  const go = useNavigate();

  return (
    <Ask
      title={snapshot ? t("clone.title_of", { name, snapshot }) : t("clone.title", { name })}
      verb={t("clone.verb")}
      ready={!!to}
      call={call}
      command={["socle clone", name, to, ...(mode === "linked" ? [] : [`--${mode}`]), ...(snapshot ? ["--snapshot", snapshot] : [])].join(" ")}
      onDone={async () => {
        await ask(call);
        go(`/instances/${encodeURIComponent(to)}`);
      }}
      onClose={onClose}
    >
      <FormGroup label={t("clone.to")} fieldId="clone-to">
        <TextInput id="clone-to" value={to} onChange={(_, v) => setTo(v)} autoFocus autoComplete="off" />
      </FormGroup>
      <FormGroup label={t("clone.mode")} fieldId="clone-mode">
        <FormSelect id="clone-mode" value={mode} onChange={(_, v) => setMode(v as typeof mode)}>
          {MODES.map((m) => (
            <FormSelectOption key={m} value={m} label={t(`clone.${m}`)} isDisabled={m === "instant" && !alive && !snapshot} />
          ))}
        </FormSelect>
      </FormGroup>
    </Ask>
  );
}
