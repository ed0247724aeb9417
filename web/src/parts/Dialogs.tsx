/* web/src/parts/Dialogs.tsx: what several pages ask and show: is this really meant, and how is it said elsewhere. */
import {
  Button,
  Checkbox,
  ClipboardCopy,
  ClipboardCopyVariant,
  Form,
  FormGroup,
  Modal,
  ModalBody,
  ModalFooter,
  ModalHeader,
  TextInput,
  ToggleGroup,
  ToggleGroupItem,
} from "@patternfly/react-core";
import { useState, type ReactNode } from "react";
import { urlOf, type Call } from "@/core/api";
import { shellWord } from "@/core/format";
import { t } from "@/core/text";
import { ErrorAlert } from "./ErrorAlert";

interface ConfirmProps {
  title: string;
  /* What is lost, a sentence each. */
  lost: string[];
  /* What has to be typed; without it a click is enough. */
  name?: string;
  verb: string;
  also?: { label: string; checked: boolean; onChange: (v: boolean) => void };
  call?: Call;
  command?: string;
  onConfirm: () => Promise<unknown>;
  onClose: () => void;
}

export function Confirm(p: ConfirmProps) {
  const [typed, setTyped] = useState("");
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);
  const ready = !p.name || typed === p.name;

  async function run(): Promise<void> {
    setBusy(true);
    try {
      await p.onConfirm();
      p.onClose();
    } catch (e) {
      setError(e);
      setBusy(false);
    }
  }

  return (
    <Modal isOpen variant="small" onClose={p.onClose} aria-label={p.title}>
      <ModalHeader title={p.title} titleIconVariant="warning" />
      <ModalBody>
        <Form
          onSubmit={(e) => {
            e.preventDefault();
            if (ready && !busy) void run();
          }}
        >
          <ErrorAlert error={error} />
          <ul className="lost">
            {p.lost.map((l) => (
              <li key={l}>{l}</li>
            ))}
          </ul>
          {p.also && (
            <Checkbox id="confirm-also" label={p.also.label} isChecked={p.also.checked} onChange={(_, v) => p.also?.onChange(v)} />
          )}
          {p.name && (
            <FormGroup label={t("confirm.type", { name: p.name })} fieldId="confirm-name">
              <TextInput id="confirm-name" value={typed} onChange={(_, v) => setTyped(v)} autoFocus autoComplete="off" />
            </FormGroup>
          )}
          {p.call && p.command && <ShowAs call={p.call} command={p.command} />}
        </Form>
      </ModalBody>
      <ModalFooter>
        <Button variant="danger" isDisabled={!ready || busy} isLoading={busy} onClick={() => void run()}>
          {p.verb}
        </Button>
        <Button variant="link" onClick={p.onClose}>
          {t("cancel")}
        </Button>
      </ModalFooter>
    </Modal>
  );
}

export function curlOf(call: Call, host = location.host): string {
  const parts = ["curl", "-k", "-H", `"Authorization: Bearer $SOCLE_TOKEN"`];

  if (call.method !== "GET") parts.push("-X", call.method);
  if (call.body !== undefined) parts.push("-d", shellWord(JSON.stringify(call.body)));
  parts.push(shellWord(`https://${host}${urlOf(call)}`));
  return parts.join(" ");
}

/* The same by the command line, or by a program. */
export function ShowAs({ call, command }: { call: Call; command: string }) {
  const [as, setAs] = useState<"" | "command" | "api">("");

  return (
    <div className="show-as">
      <ToggleGroup isCompact aria-label={t("show.label")}>
        <ToggleGroupItem text={t("show.command")} buttonId="show-command" isSelected={as === "command"} onChange={(_, on) => setAs(on ? "command" : "")} />
        <ToggleGroupItem text={t("show.api")} buttonId="show-api" isSelected={as === "api"} onChange={(_, on) => setAs(on ? "api" : "")} />
      </ToggleGroup>
      {as && (
        <ClipboardCopy
          isReadOnly
          isCode
          isExpanded
          variant={ClipboardCopyVariant.expansion}
          hoverTip={t("copy")}
          clickTip={t("copied")}
          textAriaLabel={t(as === "api" ? "show.api" : "show.command")}
        >
          {as === "api" ? curlOf(call) : command}
        </ClipboardCopy>
      )}
    </div>
  );
}

interface AskProps {
  title: string;
  verb: string;
  ready: boolean;
  call?: Call;
  command?: string;
  onDone: () => Promise<unknown>;
  onClose: () => void;
  children: ReactNode;
}

/* A small form. */
export function Ask(p: AskProps) {
  const [error, setError] = useState<unknown>();
  const [busy, setBusy] = useState(false);

  async function run(): Promise<void> {
    setBusy(true);
    try {
      await p.onDone();
      p.onClose();
    } catch (e) {
      setError(e);
      setBusy(false);
    }
  }

  return (
    <Modal isOpen variant="small" onClose={p.onClose} aria-label={p.title}>
      <ModalHeader title={p.title} />
      <ModalBody>
        <Form
          id="ask-form"
          onSubmit={(e) => {
            e.preventDefault();
            if (p.ready && !busy) void run();
          }}
        >
          <ErrorAlert error={error} />
          {p.children}
          {p.call && p.command && <ShowAs call={p.call} command={p.command} />}
        </Form>
      </ModalBody>
      <ModalFooter>
        <Button type="submit" form="ask-form" isDisabled={!p.ready || busy} isLoading={busy}>
          {p.verb}
        </Button>
        <Button variant="link" onClick={p.onClose}>
          {t("cancel")}
        </Button>
      </ModalFooter>
    </Modal>
  );
}
