/* web/src/core/text.ts: what people read.  All of it is in a catalogue for each language; en.ts is the one that says which texts there are. */
import { en } from "./en";
import type { Language } from "./prefs";

export type TextKey = keyof typeof en;
/* A text that is missing, or one too many, is an error when it is compiled. */
export type Catalogue = Record<TextKey, string>;

let texts: Catalogue = en;

/* Loaded before the first page is drawn; English is there in any case. */
const CATALOGUES: Record<Language, () => Promise<Catalogue>> = {
  en: () => Promise.resolve(en),
  de: () => import("./de").then((m) => m.de),
};

export async function speak(language: Language): Promise<void> {
  texts = await CATALOGUES[language]();
  if (globalThis.document) document.documentElement.lang = language;
}

/* "{name} was deleted" with {name: "web1"}. */
export function t(key: TextKey, values: Record<string, string | number> = {}): string {
  return texts[key].replace(/\{(\w+)\}/g, (_, name: string) => String(values[name] ?? ""));
}

/* Of words that the API brings (states, actions): as they are when the catalogue has none. */
export function word(prefix: "state" | "task" | "action", value: string): string {
  const key = `${prefix}.${value}`;

  return key in texts ? t(key as TextKey) : value;
}
