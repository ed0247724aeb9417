/*
 * web/src/begin.ts: what runs first, and is small: it asks who is logged in and for what the first page shows, while the code that shows it
 * is on its way.
 */
import { askAhead, INSTANCES_PAGE, type Read } from "./core/api";
import { language } from "./core/prefs";
import { speak } from "./core/text";
import { followTheme } from "./core/theme";

const INSTANCES: Read = { path: "/1.0/instances", query: { limit: INSTANCES_PAGE } };
/* What stands around each page needs these, and pages by themselves. */
const ALWAYS: Read[] = [{ path: "/1.0" }, { path: "/1.0/tasks" }];
const OF_PAGE: Record<string, Read[]> = {
  "/": [INSTANCES, { path: "/1.0/networks" }],
  "/instances": [INSTANCES],
  "/networks": [{ path: "/1.0/networks" }],
};

async function askFirst(): Promise<void> {
  if (!(await askAhead({ path: "/1.0/self" }))) return;
  for (const call of [...ALWAYS, ...(OF_PAGE[location.pathname] ?? [])]) void askAhead(call);
}

followTheme();
void askFirst();
const spoken = speak(language());

void import("./main").then(async ({ show }) => {
  await spoken;
  show();
});
