/* web/src/main.tsx: who is logged in, what is live, which page is asked for.  Loaded by begin.ts. */
import "@patternfly/react-core/dist/styles/base.css";
import "./style.css";
import { EmptyState, PageSection, Spinner } from "@patternfly/react-core";
import { QueryClient, QueryClientProvider, useQueryClient } from "@tanstack/react-query";
import { lazy, StrictMode, Suspense, useEffect, useRef, type ComponentType, type ReactNode } from "react";
import { createRoot } from "react-dom/client";
import { BrowserRouter, Route, Routes } from "react-router-dom";
import { ApiError } from "./core/api";
import { Live } from "./core/live";
import { SessionGate, useSession } from "./core/session";
import { t } from "./core/text";
import { LiveContext } from "./core/use";
import { Dashboard } from "./pages/Dashboard";
import { Layout } from "./parts/Layout";

const LoginView = lazy(() => import("./parts/Session"));

const FRESH_MS = 5000;
const LATER_MS = 3000;

/* What was refused is refused again; what was not reached may be. */
const queries = new QueryClient({
  defaultOptions: {
    queries: { staleTime: FRESH_MS, retry: (n, e) => n < 3 && e instanceof ApiError && (e.status === 0 || e.status === 503) },
  },
});
const live = new Live(queries);

const PAGES: [path: string, page: ComponentType][] = [
  ["/", Dashboard],
  ["/instances", lazy(() => import("./instances/ListPage"))],
  ["/instances/:name/:tab?", lazy(() => import("./instances/DetailsPage"))],
  ["/create", lazy(() => import("./create/CreatePage"))],
  ["/images", lazy(() => import("./pages/Images"))],
  ["/catalogues", lazy(() => import("./pages/Catalogues"))],
  ["/networks", lazy(() => import("./pages/Networks"))],
  ["/terminal", lazy(() => import("./pages/Terminal"))],
  ["/users", lazy(() => import("./pages/Users"))],
  ["/tokens", lazy(() => import("./pages/Tokens"))],
  ["/audit", lazy(() => import("./pages/Audit"))],
  ["/account", lazy(() => import("./pages/Account"))],
  ["/settings", lazy(() => import("./pages/Settings"))],
  ["/about", lazy(() => import("./pages/About"))],
];

function LiveProvider({ children }: { children: ReactNode }) {
  const client = useQueryClient();
  const { self } = useSession();
  const before = useRef(self);

  /* After another login everything that was refused meanwhile is asked again. */
  useEffect(() => {
    if (before.current === self) return;
    before.current = self;
    live.retry();
    void client.invalidateQueries();
  }, [client, self]);
  return <LiveContext.Provider value={live}>{children}</LiveContext.Provider>;
}

function Nowhere() {
  return (
    <PageSection>
      <EmptyState titleText={t("nowhere")} headingLevel="h1" />
    </PageSection>
  );
}

function Pages() {
  return (
    <Layout>
      <Suspense fallback={<Spinner aria-label={t("loading")} />}>
        <Routes>
          {PAGES.map(([path, Page]) => (
            <Route key={path} path={path} element={<Page />} />
          ))}
          <Route path="*" element={<Nowhere />} />
        </Routes>
      </Suspense>
    </Layout>
  );
}

export function show(): void {
  const root = document.getElementById("root");

  if (root)
    createRoot(root).render(
      <StrictMode>
        <QueryClientProvider client={queries}>
          <SessionGate
            onSelf={() => live.start()}
            login={(p) => (
              <Suspense>
                <LoginView {...p} />
              </Suspense>
            )}
          >
            <LiveProvider>
              <BrowserRouter future={{ v7_startTransition: true, v7_relativeSplatPath: true }}>
                <Pages />
              </BrowserRouter>
            </LiveProvider>
          </SessionGate>
        </QueryClientProvider>
      </StrictMode>,
    );
  /* A session may end when the server is another version, which has no such file. */
  setTimeout(() => void import("./parts/Session"), LATER_MS);
}
