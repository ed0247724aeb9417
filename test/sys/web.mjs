/* test/sys/web.mjs: a browser against a real socled with a real guest.  test/sys/web.sh */
import assert from "node:assert/strict";
import { createHash, generateKeyPairSync, sign } from "node:crypto";
import { once } from "node:events";
import { copyFileSync, existsSync, mkdirSync, readFileSync, symlinkSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { axeSource, browser, logIn, PASSWORD, Socled, sleep, until, visitor } from "./web_rig.mjs";

const FIRST_LOAD_MAX = 300 * 1024; // the login, then the list of instances
const MANY = 10000;
const socled = new Socled(`${process.env.TMPDIR}/d`, process.env.SOCLE_BUILD);

/* ---- files, without a browser ---- */

function fetchFile(path, headers = {}, method = "GET") {
  return new Promise((resolve, reject) => {
    https
      .request(socled.url + path, { method, headers, rejectUnauthorized: false }, (r) => {
        let n = 0;
        r.on("data", (d) => (n += d.length));
        r.on("end", () => resolve({ status: r.statusCode, headers: r.headers, bytes: n }));
      })
      .on("error", reject)
      .end();
  });
}

async function files() {
  const index = await fetchFile("/", { "accept-encoding": "gzip, br" });

  assert.equal(index.status, 200);
  assert.match(index.headers["content-security-policy"], /^default-src 'none'; script-src 'self'; style-src 'self';/);
  assert.doesNotMatch(index.headers["content-security-policy"], /unsafe|\*/);
  assert.equal(index.headers["cache-control"], "no-cache");
  assert.equal(index.headers["content-encoding"], "gzip");
  assert.equal(index.headers["x-frame-options"], "DENY");
  const again = await fetchFile("/", { "if-none-match": index.headers.etag });
  assert.deepEqual([again.status, again.bytes], [304, 0]);
  const head = await fetchFile("/", {}, "HEAD");
  assert.deepEqual([head.status, head.bytes, head.headers["content-length"]], [200, 0, String(index.bytes)]);
  assert.equal((await fetchFile("/instances/web.1/console")).status, 200);
  assert.equal((await fetchFile("/assets/none.js")).status, 404);
  assert.equal((await fetchFile("/", { "accept-encoding": "identity" })).status, 406);
  assert.equal((await fetchFile("/", {}, "POST")).status, 405);
  assert.equal((await fetchFile("/1.0")).status, 401);
}

/* ---- what all pages must be ---- */

const faults = [];

async function accessible(page, what) {
  if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(readFileSync(axeSource, "utf8"));
  const bad = await page.evaluate(async () => {
    const { violations } = await window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] });
    return violations.map((v) => `${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160)).join(" | ")}`);
  });
  faults.push(...bad.map((f) => `${what}: ${f}`));
}

const button = (page, name) => page.getByRole("button", { name, exact: true });
const dialog = (page) => page.getByRole("dialog");
const tab = (page, name) => page.getByRole("navigation", { name: /^Parts of/ }).getByRole("link", { name, exact: true });

/* ---- parts ---- */

/* The first visit: the code of the host makes the first user; nobody is asked again. */
async function firstVisit(b) {
  const { context, page, wrong } = await visitor(b, socled);
  const { setup, fingerprint } = await socled.ask("GET", "");

  await page.goto(`${socled.url}/`);
  await page.getByLabel("Setup code").fill("0000-0000-0000-0000");
  await page.getByText(fingerprint).waitFor();
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByLabel("Password again").fill("another");
  assert.ok(await button(page, "Create and log in").isDisabled());
  await page.getByText("The two passwords differ").waitFor();
  await accessible(page, "first visit");
  await page.getByLabel("Password again").fill(PASSWORD);
  await button(page, "Create and log in").click();
  await page.getByText("this is not the setup code").waitFor();
  await page.getByLabel("Setup code").fill(setup.toUpperCase().replaceAll("-", ""));
  await button(page, "Create and log in").click();
  await page.locator("[data-live=live]").waitFor({ state: "attached" });
  assert.equal((await socled.ask("GET", "")).setup, undefined);
  assert.deepEqual((await socled.ask("GET", "/users")).list.map((u) => [u.name, u.role]), [["root", "admin"]]);
  assert.deepEqual(wrong, []);
  await context.close();
}

async function login(page) {
  let bytes = 0;
  const cdp = await page.context().newCDPSession(page);

  await cdp.send("Network.enable");
  cdp.on("Network.loadingFinished", (e) => (bytes += e.encodedDataLength));
  await page.goto(`${socled.url}/instances`);
  await page.getByLabel("User", { exact: true }).fill("root");
  await page.getByLabel("Password", { exact: true }).fill("wrong password");
  await button(page, "Log in").click();
  await page.getByText("the user's name, password or code is wrong").waitFor();
  await accessible(page, "login");
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await button(page, "Log in").click();
  await page.getByText("There are no instances yet").waitFor();
  await page.locator("[data-live=live]").waitFor({ state: "attached" });
  assert.ok(bytes > 100000 && bytes < FIRST_LOAD_MAX, `the first load is ${bytes} bytes`);
  console.log(`first load: ${Math.round(bytes / 1024)} KiB`);
}

/* What the first page needs is asked for once, before the code that shows it runs; of other pages nothing is loaded. */
async function first(page) {
  const asked = [], sockets = [];
  const note = (r) => asked.push(new URL(r.url()).pathname);
  const noteSocket = (s) => sockets.push(new URL(s.url()).pathname);

  page.on("request", note);
  page.on("websocket", noteSocket);
  await page.goto(`${socled.url}/`);
  await page.locator("[data-live=live]").waitFor({ state: "attached" });
  await page.getByRole("heading", { name: "Dashboard" }).waitFor();
  await page.getByText(socled.dir, { exact: true }).waitFor();
  page.off("request", note);
  page.off("websocket", noteSocket);
  const api = asked.filter((p) => p.startsWith("/1.0") && !p.startsWith("/1.0/metrics"));
  assert.deepEqual(api.sort(), ["/1.0", "/1.0/instances", "/1.0/networks", "/1.0/self", "/1.0/tasks"]);
  assert.deepEqual(sockets, ["/1.0/events"]);
  assert.equal(asked.filter((p) => p.endsWith(".css")).length, 1);
  assert.equal(asked.filter((p) => p.endsWith(".js")).length, 2);
  await page.goto(`${socled.url}/instances`);
  await page.getByText("There are no instances yet").waitFor();
}

async function create(page) {
  await page.getByRole("main").getByRole("link", { name: "Create instance" }).first().click();
  await page.getByLabel("Name", { exact: true }).fill("web1");
  await button(page, "Next").click();
  await page.getByLabel("Memory", { exact: true }).fill("lots");
  await page.getByText("Memory is a size").waitFor();
  await page.getByLabel("Memory", { exact: true }).fill("192M");
  await page.getByLabel("Engine").selectOption("soft");
  await page.getByLabel("Tags").fill("prod eu");
  await accessible(page, "create");
  await button(page, "Next").click();
  await button(page, "Next").click();
  await page.getByLabel("none", { exact: true }).check();
  await page.getByRole("contentinfo").or(page.locator("footer")).getByRole("button", { name: "Review" }).click();
  await button(page, "Show as command").click();
  assert.match(await page.locator("pre").first().innerText(), /^socle launch web1 --image debian --cpus 1 --memory 192M --engine soft --tag prod --tag eu --net none$/);
  await button(page, "Create and start").click();
  await page.waitForURL("**/instances/web1/console");
}

const screen = (page) => page.locator(".xterm-rows").innerText();

async function type(page, text, want, seconds) {
  await page.locator(".xterm-helper-textarea").focus();
  await page.keyboard.type(text + "\n");
  await until(`the console says ${want}`, async () => (await screen(page)).replaceAll("\u00a0", " ").includes(want), seconds);
}

async function openConsole(page) {
  await tab(page, "Console").click();
  await page.locator("[data-console=connected]").waitFor();
}

async function console_(page) {
  await page.locator("[data-console=connected]").waitFor();
  await until("the guest's shell", async () => (await screen(page)).includes("Run /bin/sh as init"));
  await type(page, "echo so-$((40+2)); mark=kept", "so-42");
  await secondConsole(page);
  await accessible(page, "console");
}

/* Another tab sees the same, and may type. */
async function secondConsole(page) {
  const second = await page.context().newPage();

  await second.goto(page.url());
  await second.locator("[data-console=connected]").waitFor();
  await type(second, "echo tabs-$((1+1))", "tabs-2");
  await until("the first tab sees it", async () => (await screen(page)).includes("tabs-2"));
  await type(page, "echo both-$((1+1))", "both-2");
  await until("the second tab sees it", async () => (await screen(second)).includes("both-2"));
  await second.close();
}

async function snapshots(page) {
  await tab(page, "Snapshots").click();
  await button(page, "Take snapshot").click();
  await dialog(page).getByLabel("Name").fill("first");
  await accessible(page, "dialog");
  await dialog(page).getByRole("button", { name: "Take snapshot" }).click();
  await page.locator(".snapshot-name", { hasText: "first" }).waitFor();
  await page.getByText("now builds on this").waitFor();
  await openConsole(page);
  await type(page, "mark=lost; echo broken-$((1+1))", "broken-2");
  await tab(page, "Snapshots").click();
  await button(page, "Restore").click();
  assert.ok(await dialog(page).getByRole("button", { name: "Restore" }).isDisabled());
  await dialog(page).getByLabel(/Type/).fill("web1");
  await dialog(page).getByRole("button", { name: "Restore" }).click();
  await page.getByText("Restore web1: done").waitFor();
  await openConsole(page);
  await type(page, "echo mark-$mark", "mark-kept");
  await tab(page, "Snapshots").click();
  await page.locator(".snapshots").getByRole("button", { name: "Clone" }).click();
  await dialog(page).getByLabel("Name of the clone").fill("web2");
  await dialog(page).getByRole("button", { name: "Clone" }).click();
  await page.waitForURL("**/instances/web2");
  await page.getByRole("main").getByText("off", { exact: true }).first().waitFor();
  assert.equal(await button(page, "Stop").getAttribute("aria-disabled"), "true");
  await button(page, "Stop").hover();
  await page.getByText("It is off; this needs it starting, running, paused, stopping").waitFor();
}

/* What a guest or a name says is shown, and nothing of it is done. */
async function hostile(page) {
  await socled.ask("PATCH", "/instances/web1", { notes: "<img src=x onerror=alert(1)><script>alert(2)</script>" });
  await page.goto(`${socled.url}/instances/web1/console`);
  await page.locator("[data-console=connected]").waitFor();
  await type(page, "printf '\\033]0;owned\\007<script>alert(3)</script>\\033[31m%s\\033[0m\\n' red-$((2+2))", "<script>alert(3)</script>red-4");
  await type(page, "head -c 1500000 /dev/zero | tr '\\0' 'A'; echo; echo after-$((3+3))", "after-6");
  assert.equal(await page.title(), "Socle");
  await tab(page, "Overview").click();
  await page.getByText("<img src=x onerror=alert(1)>").waitFor();
  await tab(page, "Logs").click();
  await until("the log", async () => (await page.locator("pre.log").innerText()).includes("after-6"));
  assert.doesNotMatch(await page.locator("pre.log").innerText(), /\u001b/);
  assert.equal(await page.locator("main img, main script").count(), 0);
}

/* Curves of what a guest that works, and the host, use. */
async function usage(page) {
  const curve = (name) => page.getByRole("img", { name });

  await page.goto(`${socled.url}/`);
  await curve(/^CPU: \d/).waitFor();
  await curve(/^Memory: [1-9]/).waitFor();
  await page.goto(`${socled.url}/instances/web1/console`);
  await page.locator("[data-console=connected]").waitFor();
  await type(page, "(while :; do :; done) & echo busy-$((5+5))", "busy-10");
  await tab(page, "Overview").click();
  await curve(/^CPU: (?!0\.0)\d/).waitFor();
  await until("a line of what came", async () => (await curve(/^Memory: [1-9]/).locator("path").getAttribute("d")).includes("L"));
  await accessible(page, "overview");
  await page.getByLabel("Time that is shown").selectOption("a month");
  await page.locator(".curve").or(page.getByText("Nothing was measured.")).first().waitFor();
  await openConsole(page);
  await type(page, "kill $!; echo calm-$((6+6))", "calm-12");
}

/* A form outlives its session; an edit that comes after somebody else's is refused. */
async function sessions(page) {
  await tab(page, "Hardware").click();
  await page.getByLabel("Notes").fill("half written");
  for (const s of (await socled.ask("GET", "/tokens")).list) await socled.ask("DELETE", `/tokens/${s.id}`);
  await page.getByText("Your session has ended").waitFor();
  await dialog(page).getByLabel("Password").fill(PASSWORD);
  await dialog(page).getByRole("button", { name: "Log in" }).click();
  await dialog(page).waitFor({ state: "hidden" });
  assert.equal(await page.getByLabel("Notes").inputValue(), "half written");
  await button(page, "Save").click();
  await page.getByText(/Saved/).first().waitFor();
  assert.equal((await socled.ask("GET", "/instances/web1")).notes, "half written");
}

/* A disk as a file: by a task, then by the browser's own download; or by a command. */
async function exports_(page) {
  await page.goto(`${socled.url}/instances/web2/disks`);
  await button(page, "Export a disk").click();
  await dialog(page).getByLabel("Compress it").check();
  await dialog(page).getByLabel("Format").selectOption("raw");
  await button(page, "Show as command").click();
  assert.equal(await page.locator("pre").first().innerText(), "socle export web2 web2.raw");
  await dialog(page).getByLabel("Format").selectOption("qcow2");
  await dialog(page).getByLabel("Compress it").check();
  assert.equal(await page.locator("pre").first().innerText(), "socle export web2 web2.qcow2 --compress");
  await accessible(page, "export");
  await dialog(page).getByRole("button", { name: "Export a disk" }).click();
  await page.getByText("Export a disk of web2: done").waitFor();
  const [{ number, sha256, format, compress }] = (await socled.ask("GET", "/instances/web2/exports")).list;
  assert.deepEqual([format, compress], ["qcow2", true]);
  await accessible(page, "exports");
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: `Download export ${number}` }).click()]);
  assert.equal(download.suggestedFilename(), "web2.qcow2");
  assert.equal(createHash("sha256").update(readFileSync(await download.path())).digest("hex"), sha256);
  await button(page, `Remove export ${number}`).click();
  await dialog(page).getByRole("button", { name: "Remove" }).click();
  await page.getByRole("link", { name: `Download export ${number}` }).waitFor({ state: "detached" });
  assert.deepEqual((await socled.ask("GET", "/instances/web2/exports")).list, []);
}

/* What cloud-init is told: written, kept, taken away; and what happened, from the beginning on and as it comes. */
async function cloudAndEvents(page) {
  const USER_DATA = "#cloud-config\npackages: [htop]\n";
  const cloud = async () => (await socled.ask("GET", "/instances/web2")).cloud;

  await page.goto(`${socled.url}/instances/web2/cloud`);
  await page.getByLabel("User data").fill("neither yaml nor script");
  await button(page, "Save").click();
  await page.getByText(/user_data.*begin with #cloud-config/).waitFor();
  await page.getByLabel("User data").fill(USER_DATA);
  await page.getByLabel("SSH keys").fill("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA me\n");
  await accessible(page, "cloud-init");
  await button(page, "Save").click();
  await page.getByText(/Saved$/).waitFor();
  assert.deepEqual([(await cloud()).user_data, (await cloud()).keys.length], [USER_DATA, 1]);
  await page.reload();
  assert.equal(await page.getByLabel("User data").inputValue(), USER_DATA);
  for (const label of ["User data", "SSH keys"]) await page.getByLabel(label).fill("");
  await button(page, "Save").click();
  await page.getByText(/Saved$/).waitFor();
  assert.deepEqual(await cloud(), { enable: false, keys: [] });
  await page.goto(`${socled.url}/instances/web1/events`);
  await page.getByRole("cell", { name: "State: running" }).first().waitFor();
  await page.getByRole("cell", { name: "Take snapshot of" }).waitFor();
  const changes = await page.getByRole("cell", { name: "What it is was changed" }).count();
  await socled.ask("PATCH", "/instances/web1", { notes: "seen as it comes" });
  await until("the change is shown", async () => (await page.getByRole("cell", { name: "What it is was changed" }).count()) > changes);
  await accessible(page, "events");
  await page.getByLabel("Which events").selectOption("task");
  await page.getByRole("cell", { name: "State: running" }).first().waitFor({ state: "detached" });
}

/* socled is killed, and comes again.  What was asked meanwhile is done, once. */
async function killed(page) {
  const snapshots = async () => (await socled.ask("GET", "/instances/web1/snapshots")).list.length;
  const before = await snapshots();

  await page.goto(`${socled.url}/instances/web1/snapshots`);
  await button(page, "Take snapshot").click();
  await socled.kill();
  await page.getByText("The connection to the server is lost").waitFor();
  await accessible(page, "no connection");
  await dialog(page).getByRole("button", { name: "Take snapshot" }).click();
  await socled.start();
  await until("the snapshot is taken", async () => (await snapshots()) > before);
  await dialog(page).waitFor({ state: "detached" });
  assert.equal(await snapshots(), before + 1);
  await page.locator("[data-live=live]").waitFor({ state: "attached" });
  await page.getByText("The connection to the server is lost").waitFor({ state: "hidden" });
  await openConsole(page);
  await type(page, "echo again-$((4+4))", "again-8");
}

/* Another browser sees what this one does. */
async function ends(page, other) {
  await logIn(other, socled, "/instances");
  await page.goto(`${socled.url}/instances`);
  await page.getByLabel("Mark web1").check();
  await accessible(page, "instances");
  await page.getByRole("button", { name: /^Stop \(1\)/ }).click();
  await dialog(page).getByRole("button", { name: "Stop" }).click();
  await other.locator(".grid-row", { hasText: "web1" }).getByText("stopping").waitFor();
  await socled.ask("POST", "/instances/web1/action", { action: "stop", force: true }).catch(() => {});
  for (const t of (await socled.ask("GET", "/tasks")).list) if (t.state === "running") await socled.ask("DELETE", `/tasks/${t.number}`).catch(() => {});
  await until("web1 is told to end", async () => {
    const { status } = await socled.ask("GET", "/instances/web1");
    if (status.state !== "off") await socled.ask("POST", "/instances/web1/action", { action: "stop", force: true }).catch(() => {});
    return status.state === "off";
  });
  await other.locator(".grid-row", { hasText: "web1" }).getByText("off", { exact: true }).waitFor();
  for (const name of ["web2", "web1"]) {
    await page.goto(`${socled.url}/instances/${name}`);
    await page.getByRole("button", { name: `More that ${name} can do` }).click();
    await page.getByRole("menuitem", { name: "Delete" }).click();
    await dialog(page).getByLabel(/Type/).fill(name);
    await dialog(page).getByRole("button", { name: "Delete" }).click();
    await page.waitForURL("**/instances");
    await page.getByText(`Delete ${name}: done`).waitFor();
    await other.locator(".grid-row", { hasText: name }).waitFor({ state: "detached" });
  }
}

/* Columns of choice are kept; a machine that runs has a curve. */
async function columns(page) {
  const head = page.getByRole("columnheader");

  await page.goto(`${socled.url}/instances`);
  await page.locator(".grid-row", { hasText: "web1" }).getByRole("img", { name: /^CPU: \d/ }).waitFor();
  await button(page, "Columns").click();
  await page.getByRole("menuitem", { name: "Memory" }).getByRole("checkbox").uncheck();
  await page.getByRole("menuitem", { name: "ID" }).getByRole("checkbox").check();
  await accessible(page, "columns");
  await page.keyboard.press("Escape");
  await page.reload();
  await head.filter({ hasText: "ID" }).waitFor();
  assert.equal(await head.filter({ hasText: "Memory" }).count(), 0);
  await page.evaluate(() => localStorage.removeItem("socle-columns"));
}

/* Settings count at once and are kept; another language is all of it; what is told to who shall help has no secrets. */
async function settings(page) {
  await page.goto(`${socled.url}/settings`);
  await page.getByLabel("Appearance").selectOption("dark");
  await page.locator("html.pf-v6-theme-dark").waitFor({ state: "attached" });
  await page.getByLabel("Times").selectOption("utc");
  await page.getByText(/^Now: .* UTC$/).waitFor();
  await page.getByLabel("Language").selectOption("de");
  await page.getByRole("heading", { name: "Einstellungen" }).waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.lang), "de");
  await accessible(page, "settings in German");
  await page.goto(`${socled.url}/instances/web1`);
  await page.getByRole("navigation", { name: "Bereiche von web1" }).waitFor();
  await page.getByText(/^seit .*UTC\)$/).waitFor();
  await page.evaluate(() => localStorage.clear());
  await page.goto(`${socled.url}/about`);
  await page.getByText((await socled.ask("GET", "")).fingerprint).waitFor();
  await page.getByText("@xterm/xterm").click();
  await page.locator("details[open]").getByText("Permission is hereby granted").waitFor();
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Download support bundle" }).click()]);
  const bundle = readFileSync(await download.path(), "utf8");
  assert.equal(JSON.parse(bundle).instances[0].name, "web1");
  for (const secret of [PASSWORD, "$argon2", "socle_", "half written"]) assert.ok(!bundle.includes(secret), secret);
  await accessible(page, "licences");
  await page.goto(`${socled.url}/instances/web1`);
  await page.locator("[data-live=live]").waitFor({ state: "attached" });
}

/* Ten thousand rows are a list of which a window is in the page. */
async function many(page) {
  const all = Array.from({ length: MANY }, (_, n) => ({
    name: `vm${String(n).padStart(5, "0")}`, id: `i${n}`, state: n % 3 ? "off" : "running", cpus: 1, memory: 2 ** 30, revision: 1, tags: [], addresses: [],
  }));

  all[3].addresses = ["10.0.0.9", "fd00::9"];
  await page.route("**/1.0/instances?limit=*", (r) => r.fulfill({ json: { list: all } }));
  await page.goto(`${socled.url}/instances`);
  await page.getByText(`${MANY} of ${MANY}`).waitFor();
  const frames = await page.evaluate(async () => {
    const grid = document.querySelector(".grid");
    const begin = performance.now();
    let n = 0;
    while (performance.now() - begin < 1000) {
      grid.scrollTop += 400;
      await new Promise(requestAnimationFrame);
      n++;
    }
    grid.scrollTop = grid.scrollHeight;
    return n;
  });
  console.log(`${MANY} rows: ${frames} frames in a second of scrolling`);
  await page.getByText(all[MANY - 1].name).waitFor();
  assert.ok((await page.locator(".grid-row").count()) < 100);
  await page.getByPlaceholder("Search by name, tag or address").fill("vm00042");
  await page.getByText(`1 of ${MANY}`).waitFor();
  await page.getByPlaceholder("Search by name, tag or address").fill("10.0.0.9");
  await page.getByText(`1 of ${MANY}`).waitFor();
  await button(page, "Columns").click();
  await page.getByRole("menuitem", { name: "Addresses" }).getByRole("checkbox").check();
  await page.keyboard.press("Escape");
  await page.getByText("10.0.0.9 +1").waitFor();
  await page.evaluate(() => localStorage.removeItem("socle-columns"));
  await page.unroute("**/1.0/instances?limit=*");
}

async function pages(page) {
  for (const scheme of ["light", "dark"])
    for (const [width, height] of [[1280, 800], [360, 740]])
      for (const path of ["/", "/instances", "/create", "/images", "/catalogues", "/networks", "/terminal", "/users", "/tokens", "/audit", "/account", "/settings", "/about", "/nowhere"]) {
        const what = `${path} ${scheme} ${width}`;
        await page.emulateMedia({ colorScheme: scheme });
        await page.setViewportSize({ width, height });
        await page.goto(socled.url + path);
        await page.locator("[data-live=live]").waitFor({ state: "attached" });
        await page.locator("h1").waitFor();
        await sleep(150);
        await accessible(page, what);
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(wide <= 0, `${what}: wider than the window by ${wide}`);
      }
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.emulateMedia({ colorScheme: "light" });
}

/* A catalogue that has an address; its server. */
async function fetched(text, signature, key) {
  const site = http.createServer((q, r) => r.end(q.url.endsWith(".sig") ? signature : text)).listen(0, "127.0.0.1");

  await once(site, "listening");
  await socled.task("POST", "/catalogues", { name: "far", url: `http://127.0.0.1:${site.address().port}/c.json`, key });
  return site;
}

/* A signed list by its text: the key is compared by its fingerprint, what another signed is refused; images say where they came from. */
async function catalogues(page) {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const raw = publicKey.export({ type: "spki", format: "der" }).subarray(-32);
  const print = createHash("sha256").update(raw).digest("hex").toUpperCase().match(/../g).join(":");
  const text = JSON.stringify({ version: 7, images: [{ name: "small", part: "disk", url: "https://images.example.org/s.qcow2", sha256: "0".repeat(64), description: "A small one" }] });
  const add = () => dialog(page).getByRole("button", { name: "Add catalogue" });

  await page.goto(`${socled.url}/catalogues`);
  await page.getByText("There are no catalogues").waitFor();
  await button(page, "Add catalogue").click();
  await dialog(page).getByLabel("Name").fill("lab");
  await dialog(page).getByLabel("Key of its signer").fill("bm8ga2V5");
  await dialog(page).getByText("This is no key").waitFor();
  assert.ok(await add().isDisabled());
  await dialog(page).getByLabel("Key of its signer").fill(raw.toString("base64"));
  await dialog(page).getByText(print).waitFor();
  await dialog(page).getByLabel("Or the catalogue itself").fill(text);
  await dialog(page).getByLabel("Its signature").fill(sign(null, Buffer.from(`${text} `), privateKey).toString("base64"));
  await accessible(page, "add catalogue");
  await add().click();
  await dialog(page).getByText(/signature/).first().waitFor();
  assert.deepEqual((await socled.ask("GET", "/catalogues")).list, []);
  await dialog(page).getByLabel("Its signature").fill(sign(null, Buffer.from(text), privateKey).toString("base64"));
  await add().click();
  await page.getByRole("cell", { name: print }).waitFor();
  await page.getByRole("cell", { name: "A small one" }).waitFor();
  const far = await fetched(text, sign(null, Buffer.from(text), privateKey).toString("base64"), raw.toString("base64"));
  await page.goto(`${socled.url}/catalogues`);
  await button(page, "Fetch anew: far").waitFor();
  await accessible(page, "catalogues");
  far.close();
  await socled.ask("DELETE", "/catalogues/far");
  await page.goto(`${socled.url}/catalogues`);
  await button(page, "Import small").click();
  await button(page, "Show as command").click();
  assert.equal(await page.locator("pre").first().innerText(), "socle pool import small --from lab:small");
  await dialog(page).getByRole("button", { name: "Cancel" }).click();
  await button(page, "Remove lab").click();
  await dialog(page).getByRole("button", { name: "Remove" }).click();
  await page.getByText("There are no catalogues").waitFor();
  await page.goto(`${socled.url}/images`);
  await page.getByRole("cell", { name: `${socled.dir}.disk` }).waitFor();
}

/* Another shell, whose socket opens late: what is typed before is not lost. */
async function shellAgain(page, path, line, want) {
  await page.routeWebSocket(path, async (socket) => {
    await sleep(500);
    socket.connectToServer();
  });
  await button(page, "Begin another").click();
  assert.equal(await page.locator("[data-shell]").getAttribute("data-shell"), "begins");
  await type(page, line, want);
  await page.locator("[data-shell=runs]").waitFor();
}

/* A container of busybox alone: a shell in it, its end, another one. */
async function shell(page) {
  const dir = `${process.env.TMPDIR}/rootfs`;

  if (!existsSync("/bin/busybox")) return console.log("web: no /bin/busybox: no shell in a container");
  for (const folder of ["bin", "dev", "proc", "sys", "etc", "tmp"]) mkdirSync(`${dir}/${folder}`, { recursive: true });
  copyFileSync("/bin/busybox", `${dir}/bin/busybox`);
  symlinkSync("busybox", `${dir}/bin/sh`);
  await socled.task("POST", "/images", { name: "box", source: { rootfs: dir } });
  await socled.task("POST", "/instances", { name: "box1", image: "box", memory: "64M", nets: [{ kind: "none" }], os: { command: ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do busybox sleep 0.1; done"] } });
  await socled.task("POST", "/instances/box1/action", { action: "start" });
  await page.goto(`${socled.url}/instances/box1/shell`);
  await page.locator("[data-shell=runs]").waitFor();
  await type(page, "echo so-$((40+2)) `hostname`", "so-42 box1");
  await accessible(page, "shell");
  await page.keyboard.type("exit 3\n");
  await page.getByText("it ended with status 3").waitFor();
  await shellAgain(page, "**/instances/box1/exec", "echo again-$((1+1))", "again-2");
  await page.goto(`${socled.url}/instances`);
  await page.getByText("container", { exact: true }).waitFor();
  await socled.task("DELETE", "/instances/box1?force=on");
}

/* A shell of the host: it answers, and ends with its session. */
async function terminal(page) {
  await page.goto(`${socled.url}/terminal`);
  await page.locator("[data-shell=runs]").waitFor();
  await type(page, "echo host-$((40+2))", "host-42");
  await accessible(page, "terminal");
  await page.keyboard.type("exit 4\n");
  await page.getByText("it ended with status 4").waitFor();
  await shellAgain(page, "**/host/terminal", "echo again-$((1+1)); sleep 999", "again-2");
  for (const s of (await socled.ask("GET", "/tokens")).list) await socled.ask("DELETE", `/tokens/${s.id}`);
  await page.getByText("connection lost").waitFor();
  await dialog(page).getByLabel("Password").fill(PASSWORD);
  await dialog(page).getByRole("button", { name: "Log in" }).click();
  await dialog(page).waitFor({ state: "hidden" });
  await until("both are in the audit log", async () => {
    const notes = (await socled.ask("GET", "/audit")).list.filter((e) => e.path === "/1.0/host/terminal").map((e) => e.note.split(" ")[0]);
    return notes.filter((n) => n === "begins").length === 2 && notes.filter((n) => n === "ended").length === 2;
  });
}

async function keys(page) {
  await page.goto(`${socled.url}/`);
  await page.locator("[data-live=live]").waitFor({ state: "attached" });
  await page.keyboard.press("Control+k");
  await dialog(page).getByRole("textbox").fill("netw");
  await page.keyboard.press("Enter");
  await page.waitForURL("**/networks");
  await page.locator("h1").click();
  await page.keyboard.press("?");
  await dialog(page).getByText("Search on this page").waitFor();
  await page.keyboard.press("Escape");
  await page.goBack();
  await page.waitForURL(`${socled.url}/`);
}

async function main() {
  await socled.startWithImage(false);
  await files();

  const b = await browser();
  await firstVisit(b);
  const { page, wrong } = await visitor(b, socled);
  const other = await visitor(b, socled);
  const steps = [login, first, create, console_, snapshots, hostile, usage, sessions, exports_, cloudAndEvents, columns, settings, killed, (p) => ends(p, other.page), many, catalogues, shell, terminal, keys, pages];

  page.on("dialog", (d) => wrong.push(`dialog: ${d.message()}`));
  try {
    for (const step of steps) {
      const begin = Date.now();
      await step(page);
      console.log(`${step.name || "ends"}: ${((Date.now() - begin) / 1000).toFixed(1)} s`);
    }
    assert.deepEqual([...wrong, ...other.wrong, ...faults], []);
  } catch (e) {
    if (faults.length) console.log(faults);
    await page.screenshot({ path: `${process.env.TMPDIR}/failed.png` }).catch(() => {});
    throw e;
  } finally {
    await b.close();
  }
}

try {
  await main();
} finally {
  for (const i of (await socled.ask("GET", "/instances").catch(() => ({ list: [] }))).list)
    await socled.task("POST", `/instances/${i.name}/action`, { action: "stop", force: true }).catch(() => {});
  await socled.kill("SIGTERM");
}
