/* web/src/parts/Palette.tsx: Ctrl-K: go anywhere, or have an instance do something, by typing a part of its name. */
import { Modal, ModalBody, SearchInput } from "@patternfly/react-core";
import { useMemo, useState, type KeyboardEvent } from "react";
import { useNavigate } from "react-router-dom";
import { ask } from "@/core/api";
import { useSession } from "@/core/session";
import { t } from "@/core/text";
import type { Action } from "@/core/types";
import { useInstances } from "@/core/use";
import { VERB_TEXT, whyNot } from "@/instances/actions";
import { matches } from "@/instances/filter";
import { PLACES } from "./Layout";

const SHOWN = 12;

interface Entry {
  key: string;
  text: string;
  hint: string;
  run: () => void;
}

export default function Palette({ onClose }: { onClose: () => void }) {
  const [wanted, setWanted] = useState("");
  const [at, setAt] = useState(0);
  const { self } = useSession();
  const instances = useInstances().data;
  const go = useNavigate();

  const entries = useMemo(() => {
    const all: Entry[] = PLACES.filter((p) => !p.for || self[p.for]).map((p) => ({
      key: p.path,
      text: t(p.text),
      hint: t("palette.page"),
      run: () => go(p.path),
    }));
    if (self.admin) all.push({ key: "create", text: t("create.title"), hint: t("palette.page"), run: () => go("/create") });
    for (const i of instances ?? []) {
      const path = `/instances/${encodeURIComponent(i.name)}`;
      all.push({ key: i.id, text: i.name, hint: t("palette.instance"), run: () => go(path) });
      all.push({ key: `${i.id} console`, text: `${i.name}: ${t("tab.console")}`, hint: t("palette.instance"), run: () => go(`${path}/console`) });
      for (const verb of ["start", "stop"] as Action[])
        if (!whyNot(verb, { state: i.state, mayOperate: self.operate, mayAdmin: self.admin }))
          all.push({
            key: `${i.id} ${verb}`,
            text: `${i.name}: ${t(VERB_TEXT[verb])}`,
            hint: t("palette.action"),
            run: () => void ask({ method: "POST", path: "/1.0/instances/{name}/action", names: [i.name], body: { action: verb } }),
          });
    }
    return all;
  }, [instances, self, go]);
  const shown = entries.filter((e) => matches(e.text, wanted)).slice(0, SHOWN);

  function run(e: Entry | undefined): void {
    if (!e) return;
    onClose();
    e.run();
  }

  function onKey(e: KeyboardEvent): void {
    const step = { ArrowDown: 1, ArrowUp: -1 }[e.key];

    if (step) {
      e.preventDefault();
      setAt((a) => Math.max(0, Math.min(shown.length - 1, a + step)));
    } else if (e.key === "Enter") {
      e.preventDefault();
      run(shown[at]);
    }
  }

  return (
    <Modal isOpen variant="medium" position="top" onClose={onClose} aria-label={t("palette.title")}>
      <ModalBody>
        <SearchInput
          value={wanted}
          onChange={(_, v) => {
            setWanted(v);
            setAt(0);
          }}
          onClear={() => setWanted("")}
          onKeyDown={onKey}
          placeholder={t("palette.placeholder")}
          aria-label={t("palette.title")}
          autoFocus
        />
        <ul className="palette">
          {shown.map((e, i) => (
            <li key={e.key}>
              <button type="button" className={i === at ? "chosen" : ""} onClick={() => run(e)} onMouseEnter={() => setAt(i)}>
                <span>{e.text}</span>
                <small>{e.hint}</small>
              </button>
            </li>
          ))}
          {shown.length === 0 && <li className="nothing">{t("palette.nothing")}</li>}
        </ul>
      </ModalBody>
    </Modal>
  );
}
