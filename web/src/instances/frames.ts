/* web/src/instances/frames.ts: the frames in which a program of a container is talked with: doc/os.md, exec. */
export const FRAME = { run: 0, input: 1, size: 2, output: 1, error: 2, ended: 3, failed: 4 } as const;

const HEAD = 5;

export interface Frame {
  kind: number;
  data: Uint8Array;
}

export function frame(kind: number, data: Uint8Array): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(HEAD + data.length);

  all[0] = kind;
  new DataView(all.buffer).setUint32(1, data.length);
  all.set(data, HEAD);
  return all;
}

/* Bytes come in messages of any size: takes those of the next, and gives the frames that are complete. */
export function frameReader(): (more: Uint8Array) => Frame[] {
  let kept = new Uint8Array(0);

  return (more) => {
    const all = new Uint8Array(kept.length + more.length);
    const frames: Frame[] = [];
    let at = 0;

    all.set(kept);
    all.set(more, kept.length);
    while (all.length - at >= HEAD) {
      const size = new DataView(all.buffer).getUint32(at + 1);

      if (all.length - at - HEAD < size) break;
      frames.push({ kind: all[at] ?? 0, data: all.slice(at + HEAD, at + HEAD + size) });
      at += HEAD + size;
    }
    kept = all.slice(at);
    return frames;
  };
}

export function sizeFrame(rows: number, columns: number): Uint8Array<ArrayBuffer> {
  return frame(FRAME.size, new Uint8Array([rows >> 8, rows & 255, columns >> 8, columns & 255]));
}
