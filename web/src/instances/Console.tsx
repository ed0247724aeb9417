/*
 * web/src/instances/Console.tsx: the serial console: xterm.js over a WebSocket that is opened again while the machine lives.
 * The server says how much of what comes was written before (doc/api.md); nothing is missed between, nothing is shown twice.
 * The past is shown as it was, but the terminal answers none of its questions: they were asked long ago.
 */
import { Button, EmptyState, EmptyStateBody, Label } from "@patternfly/react-core";
import type { Terminal } from "@xterm/xterm";
import { useEffect, useRef, useState } from "react";
import { socketUrl, urlOf } from "@/core/api";
import { t } from "@/core/text";
import { isAlive } from "./actions";
import { type Head, isAnswer, pastReader } from "./console_past";
import type { Of } from "./DetailsPage";
import { openTerminal } from "./terminal";

const AGAIN_MS = 1000;
/* A machine that an older version started says nothing of its past. */
const HEAD_MS = 2000;

type Link = "connecting" | "connected" | "lost";

function open(term: Terminal, name: string, alive: () => boolean, onLink: (l: Link) => void): () => void {
  const encoder = new TextEncoder();
  const past = pastReader();
  let socket: WebSocket | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let early: string | null = "";
  let typing: (d: string) => void = () => {};
  let ended = false;

  function connect(): void {
    const s = new WebSocket(socketUrl(urlOf({ path: "/1.0/instances/{name}/console", names: [name], query: { head: "on" } })));
    let quiet = true;

    function live(): void {
      if (!quiet || s.readyState !== WebSocket.OPEN) return;
      quiet = false;
      onLink("connected");
      if (early) s.send(encoder.encode(early));
      early = null;
    }
    socket = s;
    s.binaryType = "arraybuffer";
    s.onopen = () => (timer = setTimeout(live, HEAD_MS));
    s.onmessage = (m) => {
      const got = typeof m.data === "string" ? past.head(JSON.parse(m.data) as Head) : past.bytes(new Uint8Array(m.data as ArrayBuffer));

      clearTimeout(timer);
      if (got.past.length) term.write(got.past);
      if (quiet && got.isLive) term.write("", live);
      if (got.now.length) term.write(got.now);
    };
    s.onclose = () => {
      clearTimeout(timer);
      if (ended) return;
      onLink("lost");
      timer = setTimeout(() => alive() && connect(), AGAIN_MS);
    };
    typing = (d) => {
      if (!quiet && s.readyState === WebSocket.OPEN) s.send(encoder.encode(d));
      else if (early !== null && !isAnswer(d)) early += d;
    };
  }
  const typed = term.onData((d) => typing(d));
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
    const close = open(shown.term, name, () => living.current, setLink);

    shown.term.focus();
    return () => {
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
