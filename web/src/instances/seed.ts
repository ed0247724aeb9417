/* web/src/instances/seed.ts: what cloud-init is told, as a form has it and as the API does. */
import type { Instance } from "@/core/types";

const EMPTY = { enable: false, hostname: "", keys: "", user_data: "", network: "" };
export type CloudFields = typeof EMPTY;

export function formOf(c: Instance["cloud"]): CloudFields {
  return {
    enable: c?.enable ?? false,
    hostname: c?.hostname ?? "",
    keys: c?.keys?.map((k) => k.key).join("\n") ?? "",
    user_data: c?.user_data ?? "",
    network: c?.network ?? "",
  };
}

/* As the API has it; null: nothing is told. */
export function cloudOf(f: CloudFields) {
  const keys = f.keys.split("\n").map((k) => k.trim()).filter(Boolean);
  const cloud = {
    ...(f.enable ? { enable: true } : {}),
    ...(f.hostname.trim() ? { hostname: f.hostname.trim() } : {}),
    ...(keys.length ? { keys: keys.map((key) => ({ key })) } : {}),
    ...(f.user_data.trim() ? { user_data: f.user_data } : {}),
    ...(f.network.trim() ? { network: f.network } : {}),
  };

  return { cloud: Object.keys(cloud).length ? cloud : null };
}
