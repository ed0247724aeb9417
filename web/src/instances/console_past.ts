/* web/src/instances/console_past.ts: which bytes of a console were written before its socket was opened, and which of them were shown already. */

/* What a console's socket says first: `before` bytes that end at `position` follow, then what is written from there on. */
export interface Head {
  stream: string;
  position: number;
  before: number;
}

interface Got {
  past: Uint8Array;
  now: Uint8Array;
  isLive: boolean; // the past is over
}

const NONE = new Uint8Array(0);

/* Of all sockets of one console, one after the other: what a former one brought is dropped. */
export function pastReader(): { head: (h: Head) => Got; bytes: (data: Uint8Array) => Got } {
  let stream = "";
  let position = 0;
  let before = 0;
  let known = 0;

  return {
    head: (h) => {
      const first = h.position - h.before;

      known = h.stream === stream ? Math.min(Math.max(position - first, 0), h.before) : 0;
      stream = h.stream;
      position = first;
      before = h.before;
      return { past: NONE, now: NONE, isLive: before === 0 };
    },
    bytes: (data) => {
      const old = Math.min(before, data.length);
      const drop = Math.min(known, old);

      position += data.length;
      before -= old;
      known -= drop;
      return { past: data.subarray(drop, old), now: data.subarray(old), isLive: before === 0 };
    },
  };
}

/* Is it what a terminal answers by itself, in place of what is typed?  Reports of its position, kind, modes, size and colours. */
export const isAnswer = (d: string): boolean => /^\x1b(\[[?>=]?[\d;]*\$?[Rncty]|[\]P].)/s.test(d);
