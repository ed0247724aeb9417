/* web/src/core/session.tsx: who is logged in.  When a session ends, what is on the page stays, and the login comes before it. */
import { createContext, useContext, useEffect, useMemo, useState, type ReactNode } from "react";
import { ApiError, ask, get, whenSessionEnds } from "./api";
import type { Self } from "./types";

interface Session {
  self: Self;
  logOut: () => Promise<void>;
}

const Context = createContext<Session | undefined>(undefined);

export function useSession(): Session {
  const session = useContext(Context);

  if (!session) throw new Error("there is no session");
  return session;
}

type Known = { self: Self | undefined; ended: boolean; asked: boolean; error: string };

export interface LoginViewProps {
  /* Whose session ended; undefined: nobody was logged in. */
  before: Self | undefined;
  error: string;
  onLogin: () => Promise<void>;
}

export function SessionGate(props: { children: ReactNode; onSelf: () => void; login: (p: LoginViewProps) => ReactNode }) {
  const [known, setKnown] = useState<Known>({ self: undefined, ended: false, asked: false, error: "" });

  async function look(): Promise<void> {
    try {
      const self = await get<Self>("/1.0/self");
      props.onSelf();
      setKnown((k) => {
        if (k.self && k.self.name !== self.name) location.reload(); // what the other one saw is not this one's
        return { self, ended: false, asked: true, error: "" };
      });
    } catch (e) {
      const error = e instanceof ApiError && e.status === 401 ? "" : (e as Error).message;
      setKnown((k) => ({ ...k, asked: true, ended: !!k.self, error }));
    }
  }

  useEffect(() => {
    whenSessionEnds(() => setKnown((k) => (k.self ? { ...k, ended: true } : k)));
    void look();
  }, []);
  const session = useMemo(
    () =>
      known.self && {
        self: known.self,
        logOut: async () => {
          await ask({ method: "POST", path: "/1.0/logout" });
          location.assign("/");
        },
      },
    [known.self],
  );
  if (!known.asked) return null;
  return (
    <>
      {session && <Context.Provider value={session}>{props.children}</Context.Provider>}
      {(!session || known.ended) && props.login({ before: known.self, error: known.error, onLogin: look })}
    </>
  );
}
