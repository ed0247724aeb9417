/* web/src/core/format.ts: numbers and times as people read them, and back. */
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

export function bytes(n: number): string {
  let u = 0;

  while (n >= 1024 && u < UNITS.length - 1) {
    n /= 1024;
    u++;
  }
  return `${n >= 100 || Number.isInteger(n) ? Math.round(n) : n.toFixed(1)} ${UNITS[u]}`;
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
  return seconds ? new Date(seconds * 1000).toLocaleString() : "–";
}

export function ago(seconds: number, now = Date.now() / 1000): string {
  const s = Math.max(0, Math.round(now - seconds));

  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d`;
}

/* A word of a shell's command line. */
export function shellWord(s: string): string {
  return /^[\w@%+=:,./-]+$/.test(s) ? s : `'${s.replaceAll("'", `'\\''`)}'`;
}
