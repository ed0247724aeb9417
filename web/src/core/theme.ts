/* web/src/core/theme.ts: dark or light: what was chosen, else what the system says. */
import { keep } from "./prefs";

const KEY = "socle-theme";
const CLASS = "pf-v6-theme-dark";

function wished(): boolean {
  const chosen = localStorage.getItem(KEY);

  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

export function isDark(): boolean {
  return document.documentElement.classList.contains(CLASS);
}

export function applyTheme(): void {
  document.documentElement.classList.toggle(CLASS, wished());
}

export type Theme = "" | "dark" | "light"; /* "": as the system */

export function chosenTheme(): Theme {
  const chosen = localStorage.getItem(KEY);

  return chosen === "dark" || chosen === "light" ? chosen : "";
}

export function chooseTheme(theme: Theme): void {
  keep(KEY, theme);
  applyTheme();
}

export function toggleTheme(): void {
  chooseTheme(isDark() ? "light" : "dark");
}

/* When the system turns dark at dusk, so does the page. */
export function followTheme(): void {
  applyTheme();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", applyTheme);
}
