/* web/src/parts/Program.tsx: a program on a terminal, as long as the page is there; its end is shown, and another can be begun. */
import { Button, Label } from "@patternfly/react-core";
import type { Terminal } from "@xterm/xterm";
import { useEffect, useRef, useState } from "react";
import { socketUrl } from "@/core/api";
import { t } from "@/core/text";
import { FRAME, frame, frameReader, sizeFrame } from "@/instances/frames";
import { openTerminal } from "@/instances/terminal";

type State = { is: "begins" | "runs" } | { is: "ended"; how: string };

/* What is typed before the socket is open is sent when it is. */
function talk(term: Terminal, url: string, first: object, onState: (s: State) => void): () => void {
  const encoder = new TextEncoder();
  const decoder = new TextDecoder();
  const read = frameReader();
  const s = new WebSocket(socketUrl(url));
  let early = "";
  let said = false;

  function end(text: string): void {
    if (!said) onState({ is: "ended", how: text });
    said = true;
  }
  s.binaryType = "arraybuffer";
  s.onopen = () => {
    s.send(frame(FRAME.run, encoder.encode(JSON.stringify({ ...first, rows: term.rows, columns: term.cols }))));
    if (early) s.send(frame(FRAME.input, encoder.encode(early)));
    onState({ is: "runs" });
  };
  s.onmessage = (m) => {
    for (const f of read(new Uint8Array(m.data as ArrayBuffer))) {
      if (f.kind === FRAME.output || f.kind === FRAME.error) term.write(f.data);
      else if (f.kind === FRAME.ended) end(t("shell.ended", { status: new DataView(f.data.buffer).getUint32(0) }));
      else end(decoder.decode(f.data));
    }
  };
  s.onclose = () => end(t("shell.lost"));

  const typed = term.onData((d) => {
    if (s.readyState === WebSocket.OPEN) s.send(frame(FRAME.input, encoder.encode(d)));
    else if (s.readyState === WebSocket.CONNECTING) early += d;
  });
  const sized = term.onResize(({ rows, cols }) => s.readyState === WebSocket.OPEN && s.send(sizeFrame(rows, cols)));
  return () => {
    said = true;
    typed.dispose();
    sized.dispose();
    s.close();
  };
}

/* `url`: of the WebSocket; `first`: what its first frame says beside the terminal's size, as text: another text is another program. */
export function Program({ url, first }: { url: string; first: string }) {
  const box = useRef<HTMLDivElement>(null);
  const [state, setState] = useState<State>({ is: "begins" });
  const [round, setRound] = useState(0);
  const [full, setFull] = useState(false);

  useEffect(() => {
    if (!box.current) return;
    const { term, close } = openTerminal(box.current);
    const leave = talk(term, url, JSON.parse(first) as object, setState);

    setState({ is: "begins" });
    term.focus();
    return () => {
      leave();
      close();
    };
  }, [url, first, round]);

  return (
    <div className={full ? "console console-full" : "console"}>
      <div className="tab-tools">
        <Label isCompact color={state.is === "runs" ? "green" : "orange"} data-shell={state.is}>
          {state.is === "ended" ? state.how : t(`shell.${state.is}`)}
        </Label>
        {state.is === "ended" && (
          <Button variant="link" isInline onClick={() => setRound(round + 1)}>
            {t("shell.again")}
          </Button>
        )}
        <Button variant="link" isInline onClick={() => setFull(!full)}>
          {t(full ? "console.small" : "console.full")}
        </Button>
      </div>
      <div className="term" ref={box} />
    </div>
  );
}
