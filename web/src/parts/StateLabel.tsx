/* web/src/parts/StateLabel.tsx: a state as a coloured word. */
import type { LabelProps } from "@patternfly/react-core";
import { word } from "@/core/text";

const COLOR: Record<string, LabelProps["color"]> = {
  running: "green",
  up: "green",
  done: "green",
  paused: "yellow",
  suspended: "purple",
  starting: "blue",
  stopping: "blue",
  creating: "blue",
  deleting: "blue",
  waiting: "grey",
  failed: "red",
};

/* PatternFly's looks without its Label, which measures its text for a tooltip: one layout for each row that comes into sight. */
export function StateLabel({ state }: { state: string }) {
  return (
    <span className={`pf-v6-c-label pf-m-filled pf-m-compact pf-m-${COLOR[state] ?? "grey"}`}>
      <span className="pf-v6-c-label__content">
        <span className="pf-v6-c-label__text">{word("state", state)}</span>
      </span>
    </span>
  );
}
