/* web/src/parts/StateLabel.tsx: a state as a coloured word. */
import { Label, type LabelProps } from "@patternfly/react-core";
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

export function StateLabel({ state }: { state: string }) {
  return (
    <Label isCompact color={COLOR[state] ?? "grey"}>
      {word("state", state)}
    </Label>
  );
}
