/* web/src/create/config.ts: what the form says as the API and as the command line have it. */
import { parseBytes, shellWord, sizeText } from "@/core/format";
import { t } from "@/core/text";
import type { InstanceNew } from "@/core/types";

export interface Draft {
  name: string;
  from: "image" | "kernel";
  image: string;
  kernel: string;
  initrd: string;
  append: string;
  cpus: string;
  memory: string;
  engine: "auto" | "kvm" | "soft";
  tags: string;
  autostart: boolean;
  disks: { file: string; readonly: boolean }[];
  /* of the host's default: no card is said */
  net: "default" | "none" | "user" | "network";
  network: string;
  forwards: string;
  hostname: string;
  keys: string;
  userData: string;
  start: boolean;
}

export const EMPTY: Draft = {
  name: "",
  from: "image",
  image: "",
  kernel: "",
  initrd: "",
  append: "",
  cpus: "1",
  memory: "1G",
  engine: "auto",
  tags: "",
  autostart: false,
  disks: [],
  net: "default",
  network: "",
  forwards: "",
  hostname: "",
  keys: "",
  userData: "",
  start: true,
};

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
const CPUS_MAX = 64;
const MEMORY_MIN = 2 ** 20;

const words = (text: string) => text.split(/[\s,]+/).filter(Boolean);
const lines = (text: string) => text.split("\n").map((l) => l.trim()).filter(Boolean);

export type Step = "source" | "size" | "disks" | "network" | "cloud";

/* What is wrong with a step; undefined: nothing. */
export function wrong(d: Draft, step: Step, taken: string[]): string | undefined {
  const memory = parseBytes(d.memory);
  const cpus = Number(d.cpus);

  switch (step) {
    case "source":
      if (!NAME.test(d.name)) return t("create.bad_name");
      if (taken.includes(d.name)) return t("create.taken", { name: d.name });
      if (d.from === "image" && !d.image) return t("create.no_image");
      if (d.from === "kernel" && !d.kernel.startsWith("/")) return t("create.no_kernel");
      return undefined;
    case "size":
      if (!Number.isInteger(cpus) || cpus < 1 || cpus > CPUS_MAX) return t("create.bad_cpus", { max: CPUS_MAX });
      if (Number.isNaN(memory) || memory < MEMORY_MIN) return t("create.bad_memory");
      return undefined;
    case "disks":
      return d.disks.some((x) => !x.file.startsWith("/")) ? t("create.bad_disk") : undefined;
    case "network":
      return d.net === "network" && !d.network ? t("create.no_network") : undefined;
    case "cloud":
      return undefined;
  }
}

function netsOf(d: Draft): InstanceNew["nets"] {
  const forward = words(d.forwards).map((rule) => ({ rule }));
  const more = forward.length ? { forward } : {};

  if (d.net === "default") return undefined;
  if (d.net === "none") return [];
  return d.net === "network" ? [{ network: d.network, ...more }] : [{ kind: "user", ...more }];
}

function cloudOf(d: Draft): InstanceNew["cloud"] {
  const keys = lines(d.keys).map((key) => ({ key }));

  if (!d.hostname && !keys.length && !d.userData.trim()) return undefined;
  return {
    ...(d.hostname ? { hostname: d.hostname } : {}),
    ...(keys.length ? { keys } : {}),
    ...(d.userData.trim() ? { user_data: d.userData } : {}),
  };
}

export function bodyOf(d: Draft): InstanceNew {
  const source =
    d.from === "image"
      ? { image: d.image }
      : { kernel: d.kernel, ...(d.initrd ? { initrd: d.initrd } : {}) };
  const nets = netsOf(d);
  const cloud = cloudOf(d);
  const tags = words(d.tags).map((tag) => ({ tag }));

  return {
    name: d.name,
    ...source,
    ...(d.append ? { append: d.append } : {}),
    cpus: Number(d.cpus),
    memory: sizeText(parseBytes(d.memory)),
    ...(d.engine === "auto" ? {} : { engine: d.engine }),
    ...(tags.length ? { tags } : {}),
    ...(d.autostart ? { autostart: true } : {}),
    ...(d.disks.length ? { disks: d.disks.map((x) => ({ file: x.file, ...(x.readonly ? { readonly: true } : {}) })) } : {}),
    ...(nets ? { nets } : {}),
    ...(cloud ? { cloud } : {}),
  };
}

export function commandOf(d: Draft): string {
  const out = ["socle", d.start ? "launch" : "create", d.name];
  const option = (name: string, value: string) => value && out.push(`--${name}`, shellWord(value));
  const forward = words(d.forwards).map((f) => `,forward=${f}`).join("");

  if (d.from === "image") option("image", d.image);
  else {
    option("kernel", d.kernel);
    option("initrd", d.initrd);
  }
  option("append", d.append);
  option("cpus", d.cpus);
  option("memory", sizeText(parseBytes(d.memory)));
  if (d.engine !== "auto") option("engine", d.engine);
  for (const tag of words(d.tags)) option("tag", tag);
  if (d.autostart) out.push("--autostart");
  for (const x of d.disks) option("disk", x.file + (x.readonly ? ",readonly" : ""));
  if (d.net === "network") option("net", `network=${d.network}${forward}`);
  if (d.net === "user") option("net", `user${forward}`);
  if (d.net === "none") option("net", "none");
  option("hostname", d.hostname);
  if (lines(d.keys).length) option("ssh-key", "keys.pub");
  if (d.userData.trim()) option("user-data", "user-data.yaml");
  return out.join(" ");
}
