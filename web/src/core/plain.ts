/* web/src/core/plain.ts: text of a guest as text: what a terminal would obey is taken out or shown. */

/* CSI, OSC and two-character sequences of ECMA-48. */
const SEQUENCE = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])/g;
const CONTROL = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/g;
/* They make text read in another order than it is. */
const BIDI = /[\u202a-\u202e\u2066-\u2069]/g;

export function plain(text: string): string {
  return text
    .replace(SEQUENCE, "")
    .replaceAll("\r\n", "\n")
    .replace(CONTROL, (c) => (c === "\r" ? "" : "\ufffd"))
    .replace(BIDI, "\ufffd");
}
