/* web/src/instances/export.ts: a disk as a file: of which disks, and how it is asked for. */
import type { Call } from "@/core/api";
import { shellWord } from "@/core/format";
import { t } from "@/core/text";
import type { Instance } from "@/core/types";

export const FORMATS = ["qcow2", "raw", "vmdk"] as const;
export type Format = (typeof FORMATS)[number];

/* What an export can be of: those that it writes to, in the order that they have numbers in; the image's clone is the first. */
export function exportable(i: Pick<Instance, "image" | "disks">): string[] {
  return [...(i.image ? [t("exports.of_image", { image: i.image })] : []), ...(i.disks ?? []).filter((d) => !d.readonly).map((d) => d.file)];
}

export interface ExportWish {
  format: Format;
  compress: boolean;
  disk: number;
  snapshot: string;
}

export function exportCall(name: string, w: ExportWish): Call {
  const body = { format: w.format, ...(w.compress ? { compress: true } : {}), ...(w.disk ? { disk: w.disk } : {}), ...(w.snapshot ? { snapshot: w.snapshot } : {}) };

  return { method: "POST", path: "/1.0/instances/{name}/exports", names: [name], body };
}

export function exportCommand(name: string, w: ExportWish): string {
  const options = [...(w.compress ? ["--compress"] : []), ...(w.disk ? ["--disk", String(w.disk)] : []), ...(w.snapshot ? ["--snapshot", shellWord(w.snapshot)] : [])];

  return ["socle export", shellWord(name), shellWord(`${name}.${w.format}`), ...options].join(" ");
}
