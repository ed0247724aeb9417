/* web/src/core/key.ts: what a public key is known by to people: SHA-256 of its 32 bytes. */
const KEY_BYTES = 32;
const BASE64 = /^[A-Za-z0-9+/]{43}=$/;

/* "AB:CD:…"; an Error: it is no ed25519 key in base64. */
export async function fingerprintOf(key: string): Promise<string> {
  const raw = BASE64.test(key) ? Uint8Array.from(atob(key), (c) => c.charCodeAt(0)) : new Uint8Array();

  if (raw.length !== KEY_BYTES) throw new Error("no key");
  const sum = new Uint8Array(await crypto.subtle.digest("SHA-256", raw));
  return [...sum].map((b) => b.toString(16).padStart(2, "0").toUpperCase()).join(":");
}
