/* web/src/parts/Layout.tsx: what stands around each page: head, navigation, tasks, keys that work everywhere. */
import {
  Alert,
  Button,
  Dropdown,
  DropdownItem,
  DropdownList,
  Label,
  Masthead,
  MastheadBrand,
  MastheadContent,
  MastheadMain,
  MastheadToggle,
  MenuToggle,
  Nav,
  NavItem,
  NavList,
  Page,
  PageSidebar,
  PageSidebarBody,
  PageToggleButton,
  SkipToContent,
  Tooltip,
} from "@patternfly/react-core";
import { BarsIcon, ListIcon, MoonIcon, SearchIcon, SunIcon, UserIcon } from "@patternfly/react-icons";
import { lazy, Suspense, useEffect, useState, type ReactNode } from "react";
import { Link, useLocation, useNavigate } from "react-router-dom";
import { useSession } from "@/core/session";
import { t, type TextKey } from "@/core/text";
import { isDark, toggleTheme } from "@/core/theme";
import { isOpen, useLive, useLiveState, useTasks } from "@/core/use";
import { Logo } from "./Logo";
import { TaskToasts } from "./TaskToasts";

/* What is not there at first is loaded when it is opened. */
const Help = lazy(() => import("./Help"));
const Palette = lazy(() => import("./Palette"));
const TaskDrawer = lazy(() => import("./Tasks"));

/* `for`: others have no use for it. */
export const PLACES: { path: string; text: TextKey; for?: "admin" | "shell" }[] = [
  { path: "/", text: "nav.dashboard" },
  { path: "/instances", text: "nav.instances" },
  { path: "/images", text: "nav.images" },
  { path: "/catalogues", text: "nav.catalogues" },
  { path: "/networks", text: "nav.networks" },
  { path: "/terminal", text: "nav.terminal", for: "shell" },
  { path: "/users", text: "nav.users", for: "admin" },
  { path: "/tokens", text: "nav.tokens" },
  { path: "/audit", text: "nav.audit", for: "admin" },
  { path: "/settings", text: "nav.settings" },
  { path: "/about", text: "nav.about" },
];

function LiveLabel() {
  const state = useLiveState();

  if (state === "connecting") return null;
  return (
    <Label isCompact variant="outline" color={state === "live" ? "green" : "red"} className="live" data-live={state}>
      {t(state === "live" ? "live.live" : "live.broken")}
    </Label>
  );
}

function Broken() {
  const state = useLiveState();
  const live = useLive();

  if (state !== "broken") return null;
  return (
    <Alert
      component="p"
      isInline
      variant="warning"
      title={t("live.reconnecting")}
      actionLinks={
        <Button variant="link" isInline onClick={() => live.retry()}>
          {t("live.retry")}
        </Button>
      }
    >
      {t("live.old")}
    </Alert>
  );
}

function UserMenu() {
  const { self, logOut } = useSession();
  const [open, setOpen] = useState(false);
  const go = useNavigate();

  return (
    <Dropdown
      isOpen={open}
      onOpenChange={setOpen}
      onSelect={() => setOpen(false)}
      popperProps={{ position: "right" }}
      toggle={(ref) => (
        <MenuToggle ref={ref} isExpanded={open} onClick={() => setOpen(!open)} icon={<UserIcon />} variant="plainText" aria-label={t("user.menu", { name: self.name })}>
          <span className="wide-only">{self.name}</span>
        </MenuToggle>
      )}
    >
      <DropdownList>
        <DropdownItem onClick={() => go("/account")}>{t("nav.account")}</DropdownItem>
        <DropdownItem onClick={() => go("/settings")}>{t("nav.settings")}</DropdownItem>
        <DropdownItem onClick={() => go("/about")}>{t("nav.about")}</DropdownItem>
        <DropdownItem onClick={() => void logOut()}>{t("logout")}</DropdownItem>
      </DropdownList>
    </Dropdown>
  );
}

function TasksButton({ onClick }: { onClick: () => void }) {
  const open = useTasks().data?.filter(isOpen).length ?? 0;

  return (
    <Button variant="plain" onClick={onClick} icon={<ListIcon />} aria-label={t("tasks.open", { n: open })} data-tasks={open}>
      {open > 0 && <span className="count">{open}</span>}
    </Button>
  );
}

/* Where a key is no text that somebody writes. */
function isFree(e: KeyboardEvent): boolean {
  const at = e.target as HTMLElement;

  return !e.ctrlKey && !e.metaKey && !e.altKey && !at.closest("input, textarea, select, [contenteditable], .xterm, [role=dialog]");
}

export function Layout({ children }: { children: ReactNode }) {
  const [narrow, setNarrow] = useState(() => innerWidth < 1200);
  const [sidebar, setSidebar] = useState(() => innerWidth >= 1200);
  const [tasks, setTasks] = useState(false);
  const [palette, setPalette] = useState(false);
  const [help, setHelp] = useState(false);
  const [dark, setDark] = useState(isDark());
  const { self } = useSession();
  const { pathname } = useLocation();
  const go = useNavigate();

  useEffect(() => {
    const onKey = (e: KeyboardEvent) => {
      if ((e.ctrlKey || e.metaKey) && e.key.toLowerCase() === "k" && !(e.target as HTMLElement).closest(".xterm")) {
        e.preventDefault();
        setPalette(true);
      } else if (e.key === "?" && isFree(e)) {
        setHelp(true);
      } else if (e.key === "/" && isFree(e)) {
        e.preventDefault();
        const box = document.querySelector<HTMLElement>("[data-search] input");
        if (box) box.focus();
        else go("/instances?search");
      }
    };
    const onSize = () => {
      setNarrow(innerWidth < 1200);
      setSidebar(innerWidth >= 1200);
    };
    addEventListener("keydown", onKey);
    addEventListener("resize", onSize);
    return () => {
      removeEventListener("keydown", onKey);
      removeEventListener("resize", onSize);
    };
  }, [go]);
  useEffect(() => {
    if (narrow) setSidebar(false);
  }, [pathname, narrow]);

  const head = (
    <Masthead>
      <MastheadMain>
        <MastheadToggle>
          <PageToggleButton variant="plain" aria-label={t("nav.toggle")} isSidebarOpen={sidebar} onSidebarToggle={() => setSidebar(!sidebar)}>
            <BarsIcon />
          </PageToggleButton>
        </MastheadToggle>
        <MastheadBrand>
          <Link to="/" className="brand" aria-label={t("brand")}>
            <Logo /> <span>Socle</span>
          </Link>
        </MastheadBrand>
      </MastheadMain>
      <MastheadContent>
        <div className="head-right">
          <LiveLabel />
          <Tooltip content={t("palette.hint")}>
            <Button variant="plain" icon={<SearchIcon />} aria-label={t("palette.title")} onClick={() => setPalette(true)} />
          </Tooltip>
          <Button
            variant="plain"
            icon={dark ? <SunIcon /> : <MoonIcon />}
            aria-label={t(dark ? "theme.light" : "theme.dark")}
            onClick={() => {
              toggleTheme();
              setDark(isDark());
            }}
          />
          <TasksButton onClick={() => setTasks(!tasks)} />
          <UserMenu />
        </div>
      </MastheadContent>
    </Masthead>
  );
  const side = (
    <PageSidebar isSidebarOpen={sidebar}>
      <PageSidebarBody>
        <Nav aria-label={t("nav.label")}>
          <NavList>
            {PLACES.filter((p) => !p.for || self[p.for]).map((p) => (
              <NavItem key={p.path} isActive={p.path === "/" ? pathname === "/" : pathname.startsWith(p.path)}>
                <Link to={p.path}>{t(p.text)}</Link>
              </NavItem>
            ))}
          </NavList>
        </Nav>
      </PageSidebarBody>
    </PageSidebar>
  );
  return (
    <>
      <Page
        masthead={head}
        sidebar={side}
        skipToContent={<SkipToContent href="#main">{t("skip")}</SkipToContent>}
        mainContainerId="main"
        isNotificationDrawerExpanded={tasks}
        notificationDrawer={<Suspense>{tasks && <TaskDrawer onClose={() => setTasks(false)} />}</Suspense>}
        isContentFilled
      >
        <Broken />
        {children}
      </Page>
      <TaskToasts />
      <Suspense>{palette && <Palette onClose={() => setPalette(false)} />}</Suspense>
      <Suspense>{help && <Help onClose={() => setHelp(false)} />}</Suspense>
    </>
  );
}
