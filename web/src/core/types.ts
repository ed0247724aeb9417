/* web/src/core/types.ts: the API's objects, out of what is generated from its document. */
import type { components, paths } from "@gen/api";

type Schemas = components["schemas"];

/* A number beyond 2^53 may be given as text; it is answered as a number. */
type Shown<T> = [number] extends [T]
  ? Exclude<T, string>
  : T extends (infer U)[]
    ? Shown<U>[]
    : T extends object
      ? { [K in keyof T]: Shown<T[K]> }
      : T;
/* Members that every answer has. */
type With<T, K extends keyof T> = T & Required<Pick<T, K>>;

export type Self = Required<Shown<Schemas["Self"]>>;
export type SetupState = Required<Shown<Schemas["SetupState"]>>;
export type Server = With<Shown<Schemas["Server"]>, "version" | "revision">;
export type Summary = Required<Shown<Schemas["Summary"]>>;
export type InstanceStatus = With<Shown<Schemas["State"]>, "id" | "state" | "revision">;
export type Instance = Shown<Omit<Schemas["Instance"], "status">> & { status: InstanceStatus };
export type InstanceNew = Schemas["InstanceNew"];
export type Snapshot = With<Shown<Schemas["Snapshot"]>, "name" | "created">;
export type Export = With<Shown<Schemas["Export"]>, "number">;
export type Task = With<Shown<Schemas["Task"]>, "number" | "what" | "state">;
export type TaskStarted = Required<Shown<Schemas["TaskStarted"]>>;
export type Image = With<Shown<Schemas["Image"]>, "name">;
export type Catalogue = With<Shown<Schemas["Catalogue"]>, "name">;
export type Network = With<Shown<Schemas["Network"]>, "name">;
export type NetworkNew = Schemas["NetworkNew"];
export type User = With<Shown<Schemas["User"]>, "name" | "role">;
export type Token = Required<Shown<Schemas["Token"]>>;
export type Key = Shown<Schemas["Key"]>;
export type AuditEntry = Required<Shown<Schemas["AuditEntry"]>>;
export type Edited = Required<Shown<Schemas["Edited"]>>;
export type Action = Schemas["Action"]["action"];
export type ApiPath = keyof paths;

/* What the event stream brings (doc/api.md). */
export interface LiveEvent {
  type: "instance" | "state" | "network" | "task" | "addresses";
  revision: number;
  id?: string;
  name?: string;
  state?: string;
  why?: string;
  what?: string;
  number?: number;
  error?: string;
  addresses?: string[];
  deleted?: boolean;
  /* seconds since 1970: when a state began; when a task was asked, and ended */
  since?: number;
  created?: number;
  ended?: number;
}
