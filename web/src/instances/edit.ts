/* web/src/instances/edit.ts: a change of what an instance is.  It is refused when somebody else made one since it was read. */
import { useQueryClient } from "@tanstack/react-query";
import { ApiError, ask, type Call } from "@/core/api";
import { shellWord } from "@/core/format";
import { t } from "@/core/text";
import type { Edited } from "@/core/types";
import type { Of } from "./DetailsPage";

type Json = Record<string, unknown>;

/* What has to be sent so that `old` becomes `next`: null is a member's default. */
export function changes(old: Json, next: Json): Json {
  const out: Json = {};

  for (const key of new Set([...Object.keys(old), ...Object.keys(next)])) {
    if (JSON.stringify(old[key]) !== JSON.stringify(next[key])) out[key] = next[key] ?? null;
  }
  return out;
}

export function editCall({ instance, etag }: Of, body: Json): Call {
  return { method: "PATCH", path: "/1.0/instances/{name}", names: [instance.name ?? ""], body, ifMatch: etag };
}

/* Returns whether it counts from the next start only. */
export function useEdit(of: Of): (body: Json) => Promise<boolean> {
  const queries = useQueryClient();

  return async (body) => {
    try {
      const { value } = await ask<Edited>(editCall(of, body));
      return value.restart;
    } catch (e) {
      if (e instanceof ApiError && e.status === 412) throw new ApiError(412, t("edit.changed"));
      throw e;
    } finally {
      await queries.invalidateQueries({ queryKey: ["instance"] });
    }
  };
}

/* `socle set NAME MEMBER=VALUE…` */
export function setCommand(name: string, body: Record<string, unknown>): string {
  const words = Object.entries(body).map(([k, v]) => shellWord(`${k}=${v === null ? "" : typeof v === "object" ? JSON.stringify(v) : String(v)}`));

  return ["socle", "set", name, ...words].join(" ");
}
