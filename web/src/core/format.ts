/* web/src/core/format.ts: numbers and times as people read them, and back. */
import { isUtc, locale } from "./prefs";

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/* Making one of Intl takes longer than using it a hundred times. */
const made = new Map<string, Intl.NumberFormat>();

function numbers(options: Intl.NumberFormatOptions): Intl.NumberFormat {
  const key = `${locale()} ${JSON.stringify(options)}`;
  const f = made.get(key) ?? new Intl.NumberFormat(locale(), options);

  made.set(key, f);
  return f;
}

export function number(n: number, digits = 0): string {
  return numbers({ maximumFractionDigits: digits }).format(n);
}

/* Of a share: 1 is 100 %. */
export function percent(share: number): string {
  return numbers({ style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 }).format(share);
}

export function bytes(n: number): string {
  let u = 0;

  while (n >= 1024 && u < UNITS.length - 1) {
    n /= 1024;
    u++;
  }
  return `${number(n, n >= 100 ? 0 : 1)} ${UNITS[u]}`;
}

/* "512M", "2 GiB", "1.5g" → bytes; NaN: it is no size. */
export function parseBytes(s: string): number {
  const m = /^\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*$/i.exec(s);

  if (!m) return NaN;
  return Math.round(Number(m[1]) * 1024 ** " KMGT".indexOf((m[2] || " ").toUpperCase()));
}

/* As the API and the command line take it. */
export function sizeText(n: number): string {
  for (const [i, unit] of ["T", "G", "M", "K"].entries()) {
    const size = 1024 ** (4 - i);
    if (n >= size && n % size === 0) return `${n / size}${unit}`;
  }
  return String(n);
}

export function when(seconds: number): string {
  if (!seconds) return "–";
  return new Date(seconds * 1000).toLocaleString(locale(), isUtc() ? { timeZone: "UTC", timeZoneName: "short" } : {});
}

export function ago(seconds: number, now = Date.now() / 1000): string {
  const s = Math.max(0, Math.round(now - seconds));
  const some = (n: number, unit: string) => numbers({ style: "unit", unit, unitDisplay: "short" }).format(Math.floor(n));

  if (s < 60) return some(s, "second");
  if (s < 3600) return some(s / 60, "minute");
  if (s < 86400) return `${some(s / 3600, "hour")} ${some((s % 3600) / 60, "minute")}`;
  return some(s / 86400, "day");
}

/* A word of a shell's command line. */
export function shellWord(s: string): string {
  return /^[\w@%+=:,./-]+$/.test(s) ? s : `'${s.replaceAll("'", `'\\''`)}'`;
}
