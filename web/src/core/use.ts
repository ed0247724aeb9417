/* web/src/core/use.ts: queries that several pages share. */
import { useQuery } from "@tanstack/react-query";
import { createContext, useContext, useSyncExternalStore } from "react";
import { ask, INSTANCES_PAGE, list } from "./api";
import { lookAgain, type Live, type LiveState } from "./live";
import type { Image, Instance, Network, Snapshot, Summary, Task } from "./types";

export const LiveContext = createContext<Live | undefined>(undefined);

export function useLive(): Live {
  const live = useContext(LiveContext);

  if (!live) throw new Error("there is no stream of events");
  return live;
}

export function useLiveState(): LiveState {
  const live = useLive();

  return useSyncExternalStore(live.subscribe, () => live.state);
}

export const useInstances = () =>
  useQuery({
    queryKey: ["instances"],
    queryFn: () => list<Summary>("/1.0/instances", [], INSTANCES_PAGE),
    refetchInterval: (q) => lookAgain(q.state.data ?? []),
  });

/* With its ETag, by which a change is refused when somebody else made one meanwhile. */
export const useInstance = (name: string) =>
  useQuery({
    queryKey: ["instance", name],
    queryFn: () => ask<Instance>({ method: "GET", path: "/1.0/instances/{name}", names: [name] }),
    refetchInterval: (q) => {
      const { kind = "para", status } = q.state.data?.value ?? {};
      return status ? lookAgain([{ kind, state: status.state, addresses: status.addresses ?? [] }]) : false;
    },
  });

export const useSnapshots = (name: string) =>
  useQuery({ queryKey: ["snapshots", name], queryFn: () => list<Snapshot>("/1.0/instances/{name}/snapshots", [name]) });

export const useTasks = () =>
  useQuery({
    queryKey: ["tasks"],
    queryFn: () => list<Task>("/1.0/tasks"),
    /* Events tell how a task ends; how far it is has to be asked. */
    refetchInterval: (q) => (q.state.data?.some(isOpen) ? 1000 : false),
  });

export const useImages = () => useQuery({ queryKey: ["images"], queryFn: () => list<Image>("/1.0/images") });
export const useNetworks = () => useQuery({ queryKey: ["networks"], queryFn: () => list<Network>("/1.0/networks") });

export function isOpen(t: Task): boolean {
  return t.state === "waiting" || t.state === "running";
}
