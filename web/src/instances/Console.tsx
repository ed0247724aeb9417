/*
 * web/src/instances/Console.tsx: the serial console: xterm.js over a WebSocket that is opened again while the machine lives.
 * What it wrote before is shown first; only then may the terminal answer, lest it answers questions that were asked long ago.
 */
import { Button, EmptyState, EmptyStateBody, Label } from "@patternfly/react-core";
import type { Terminal } from "@xterm/xterm";
import { useEffect, useRef, useState } from "react";
import { socketUrl, text, urlOf } from "@/core/api";
import { t } from "@/core/text";
import { isAlive } from "./actions";
import type { Of } from "./DetailsPage";
import { openTerminal } from "./terminal";

const BEFORE_BYTES = 32 * 1024;
const AGAIN_MS = 1000;

type Link = "connecting" | "connected" | "lost";

function open(term: Terminal, name: string, alive: () => boolean, onLink: (l: Link) => void): () => void {
  const decoder = new TextDecoder();
  const encoder = new TextEncoder();
  let socket: WebSocket | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let ended = false;

  function connect(): void {
    const s = new WebSocket(socketUrl(urlOf({ path: "/1.0/instances/{name}/console", names: [name] })));

    socket = s;
    s.binaryType = "arraybuffer";
    s.onopen = () => onLink("connected");
    s.onmessage = (m) => term.write(decoder.decode(m.data as ArrayBuffer, { stream: true }));
    s.onclose = () => {
      if (ended) return;
      onLink("lost");
      timer = setTimeout(() => alive() && connect(), AGAIN_MS);
    };
  }
  const typed = term.onData((d) => {
    if (socket?.readyState === WebSocket.OPEN) socket.send(encoder.encode(d));
  });
  connect();
  return () => {
    ended = true;
    clearTimeout(timer);
    typed.dispose();
    socket?.close();
  };
}

export default function Console({ instance }: Of) {
  const name = instance.name ?? "";
  const alive = isAlive(instance.status.state);
  const living = useRef(alive);
  const box = useRef<HTMLDivElement>(null);
  const [link, setLink] = useState<Link>("connecting");
  const [full, setFull] = useState(false);

  living.current = alive;
  useEffect(() => {
    setLink("connecting");
    if (!box.current || !alive) return;
    const shown = openTerminal(box.current);
    const { term } = shown;
    let gone = false;
    let close = () => {};

    text({ method: "GET", path: "/1.0/instances/{name}/log", names: [name], query: { which: "console", bytes: BEFORE_BYTES } })
      .catch(() => "")
      .then((before) =>
        term.write(before, () => {
          if (!gone) close = open(term, name, () => living.current, setLink);
        }),
      );
    term.focus();
    return () => {
      gone = true;
      close();
      shown.close();
    };
  }, [name, alive]);

  if (!alive)
    return (
      <EmptyState titleText={t("console.off")} headingLevel="h2" variant="sm">
        <EmptyStateBody>{t("console.off_hint")}</EmptyStateBody>
      </EmptyState>
    );
  return (
    <div className={full ? "console console-full" : "console"}>
      <div className="tab-tools">
        <Label isCompact color={link === "connected" ? "green" : "orange"} data-console={link}>
          {t(`console.${link}`)}
        </Label>
        <Button variant="link" isInline onClick={() => setFull(!full)}>
          {t(full ? "console.small" : "console.full")}
        </Button>
      </div>
      <div className="term" ref={box} />
    </div>
  );
}
