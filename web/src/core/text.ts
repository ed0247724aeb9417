/* web/src/core/text.ts: what people read.  All of it is in one catalogue for each language; en.ts is the complete one. */
import { en } from "./en";

export type TextKey = keyof typeof en;

/* "{name} was deleted" with {name: "web1"}. */
export function t(key: TextKey, values: Record<string, string | number> = {}): string {
  return en[key].replace(/\{(\w+)\}/g, (_, name: string) => String(values[name] ?? ""));
}

/* Of words that the API brings (states, actions): as they are when the catalogue has none. */
export function word(prefix: "state" | "task" | "action", value: string): string {
  const key = `${prefix}.${value}`;

  return key in en ? t(key as TextKey) : value;
}
