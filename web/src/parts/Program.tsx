/* web/src/parts/Program.tsx: a program on a terminal, as long as the page is there; its end is shown, and another can be begun. */
import { Button, Label } from "@patternfly/react-core";
import type { Terminal } from "@xterm/xterm";
import { useEffect, useRef, useState } from "react";
import { socketUrl } from "@/core/api";
import { t } from "@/core/text";
import { FRAME, frame, frameReader, sizeFrame } from "@/instances/frames";
import { openTerminal } from "@/instances/terminal";

/* What became of it; null: it runs. */
type End = string | null;

function talk(term: Terminal, url: string, first: object, onEnd: (e: End) => void): () => void {
  const encoder = new TextEncoder();
  const decoder = new TextDecoder();
  const read = frameReader();
  const s = new WebSocket(socketUrl(url));
  let said = false;

  function end(text: string): void {
    if (!said) onEnd(text);
    said = true;
  }
  s.binaryType = "arraybuffer";
  s.onopen = () => s.send(frame(FRAME.run, encoder.encode(JSON.stringify({ ...first, rows: term.rows, columns: term.cols }))));
  s.onmessage = (m) => {
    for (const f of read(new Uint8Array(m.data as ArrayBuffer))) {
      if (f.kind === FRAME.output || f.kind === FRAME.error) term.write(f.data);
      else if (f.kind === FRAME.ended) end(t("shell.ended", { status: new DataView(f.data.buffer).getUint32(0) }));
      else end(decoder.decode(f.data));
    }
  };
  s.onclose = () => end(t("shell.lost"));

  const typed = term.onData((d) => s.readyState === WebSocket.OPEN && s.send(frame(FRAME.input, encoder.encode(d))));
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
  const [end, setEnd] = useState<End>(null);
  const [round, setRound] = useState(0);
  const [full, setFull] = useState(false);

  useEffect(() => {
    if (!box.current) return;
    const { term, close } = openTerminal(box.current);
    const leave = talk(term, url, JSON.parse(first) as object, setEnd);

    setEnd(null);
    term.focus();
    return () => {
      leave();
      close();
    };
  }, [url, first, round]);

  return (
    <div className={full ? "console console-full" : "console"}>
      <div className="tab-tools">
        <Label isCompact color={end ? "orange" : "green"} data-shell={end ? "ended" : "runs"}>
          {end ?? t("shell.runs")}
        </Label>
        {end && (
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
