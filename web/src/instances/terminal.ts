/* web/src/instances/terminal.ts: a terminal in a box of the page, which follows the box's size. */
import { FitAddon } from "@xterm/addon-fit";
import { Terminal } from "@xterm/xterm";
import "@xterm/xterm/css/xterm.css";
import { documentWithSheets } from "./sheets";

const SCROLLBACK = 5000;

export function openTerminal(box: HTMLElement): { term: Terminal; close: () => void } {
  const term = new Terminal({
    scrollback: SCROLLBACK,
    fontSize: 13,
    fontFamily: "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace",
    cursorBlink: true,
    documentOverride: documentWithSheets(),
    theme: { background: "#14171c", foreground: "#e6e8eb" },
  });
  const fit = new FitAddon();
  const seen = new ResizeObserver(() => fit.fit());

  term.loadAddon(fit);
  term.open(box);
  fit.fit();
  seen.observe(box);
  return {
    term,
    close: () => {
      seen.disconnect();
      term.dispose();
    },
  };
}
