/* web/src/main.tsx: where the console begins: who is logged in, what is live, which page is asked for. */
import "@patternfly/react-core/dist/styles/base.css";
import "./style.css";
import { EmptyState, PageSection, Spinner } from "@patternfly/react-core";
import { QueryClient, QueryClientProvider, useQueryClient } from "@tanstack/react-query";
import { lazy, StrictMode, Suspense, useEffect, useState, type ReactNode } from "react";
import { createRoot } from "react-dom/client";
import { createBrowserRouter, Outlet, RouterProvider } from "react-router-dom";
import { ApiError } from "./core/api";
import { Live } from "./core/live";
import { language } from "./core/prefs";
import { SessionGate, useSession } from "./core/session";
import { speak, t } from "./core/text";
import { followTheme } from "./core/theme";
import { LiveContext } from "./core/use";
import { DetailsPage } from "./instances/DetailsPage";
import { ListPage } from "./instances/ListPage";
import { Dashboard } from "./pages/Dashboard";
import { Layout } from "./parts/Layout";
import { LoginView } from "./parts/Session";

const CreatePage = lazy(() => import("./create/CreatePage"));
const ImagesPage = lazy(() => import("./pages/Images"));
const NetworksPage = lazy(() => import("./pages/Networks"));
const UsersPage = lazy(() => import("./pages/Users"));
const TokensPage = lazy(() => import("./pages/Tokens"));
const AuditPage = lazy(() => import("./pages/Audit"));
const AccountPage = lazy(() => import("./pages/Account"));
const SettingsPage = lazy(() => import("./pages/Settings"));
const AboutPage = lazy(() => import("./pages/About"));

const FRESH_MS = 5000;

/* What was refused is refused again; what was not reached may be. */
const queries = new QueryClient({
  defaultOptions: {
    queries: { staleTime: FRESH_MS, retry: (n, e) => n < 3 && e instanceof ApiError && (e.status === 0 || e.status === 503) },
  },
});

function LiveProvider({ children }: { children: ReactNode }) {
  const client = useQueryClient();
  const { self } = useSession();
  const [live] = useState(() => new Live(client));

  useEffect(() => {
    live.start();
    return () => live.stop();
  }, [live, self]);
  /* After a login everything that was refused meanwhile is asked again. */
  useEffect(() => {
    live.retry();
    void client.invalidateQueries();
  }, [live, client, self]);
  return <LiveContext.Provider value={live}>{children}</LiveContext.Provider>;
}

function Root() {
  return (
    <Layout>
      <Suspense fallback={<Spinner aria-label={t("loading")} />}>
        <Outlet />
      </Suspense>
    </Layout>
  );
}

function Nowhere() {
  return (
    <PageSection>
      <EmptyState titleText={t("nowhere")} headingLevel="h1" />
    </PageSection>
  );
}

const router = createBrowserRouter([
  {
    element: <Root />,
    children: [
      { path: "/", element: <Dashboard /> },
      { path: "/instances", element: <ListPage /> },
      { path: "/instances/:name/:tab?", element: <DetailsPage /> },
      { path: "/create", element: <CreatePage /> },
      { path: "/images", element: <ImagesPage /> },
      { path: "/networks", element: <NetworksPage /> },
      { path: "/users", element: <UsersPage /> },
      { path: "/tokens", element: <TokensPage /> },
      { path: "/audit", element: <AuditPage /> },
      { path: "/account", element: <AccountPage /> },
      { path: "/settings", element: <SettingsPage /> },
      { path: "/about", element: <AboutPage /> },
      { path: "*", element: <Nowhere /> },
    ],
  },
]);

async function begin(): Promise<void> {
  const root = document.getElementById("root");

  followTheme();
  await speak(language());
  if (root)
    createRoot(root).render(
      <StrictMode>
        <QueryClientProvider client={queries}>
          <SessionGate login={(p) => <LoginView {...p} />}>
            <LiveProvider>
              <RouterProvider router={router} />
            </LiveProvider>
          </SessionGate>
        </QueryClientProvider>
      </StrictMode>,
    );
}

void begin();
