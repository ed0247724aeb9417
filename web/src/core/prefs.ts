/* web/src/core/prefs.ts: what is chosen in this browser, else what the browser or the system says: language and times. */
export const LANGUAGES = { en: "English", de: "Deutsch" } as const;
export type Language = keyof typeof LANGUAGES;

const LANGUAGE = "socle-language";
const TIMES = "socle-times";

function kept(key: string): string | null {
  return globalThis.localStorage?.getItem(key) ?? null; // unit tests have none
}

/* "": nothing is chosen. */
export function keep(key: string, value: string): void {
  if (value) localStorage.setItem(key, value);
  else localStorage.removeItem(key);
}

const isLanguage = (s: string): s is Language => s in LANGUAGES;

/* The first that there is of those which a browser asks for, as "de-AT". */
export function languageOf(asked: readonly string[]): Language {
  return asked.map((s) => s.toLowerCase().split("-")[0] ?? "").find(isLanguage) ?? "en";
}

export const chosenLanguage = () => kept(LANGUAGE) ?? "";
export const browserLanguage = () => languageOf(globalThis.navigator?.languages ?? []);
export const chooseLanguage = (l: string) => keep(LANGUAGE, l);

export function language(): Language {
  const chosen = chosenLanguage();

  return isLanguage(chosen) ? chosen : browserLanguage();
}

/* For Intl: the region that the browser has, if it is of this language: dates of Austria and of Great Britain. */
export function localeOf(l: Language, asked: readonly string[]): string {
  return asked.find((s) => s.toLowerCase().split("-")[0] === l) ?? l;
}

export const locale = () => localeOf(language(), globalThis.navigator?.languages ?? []);

export const isUtc = () => kept(TIMES) === "utc";
export const chooseUtc = (utc: boolean) => keep(TIMES, utc ? "utc" : "");
