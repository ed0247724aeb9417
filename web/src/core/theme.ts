/* web/src/core/theme.ts: dark or light: what was chosen, else what the system says. */
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

export function toggleTheme(): void {
  localStorage.setItem(KEY, isDark() ? "light" : "dark");
  applyTheme();
}
