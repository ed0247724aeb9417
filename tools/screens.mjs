/* tools/screens.mjs: the pictures of doc/screens.  tools/screens.sh */
import { statSync } from "node:fs";
import { browser, logIn, root, sleep, Socled, until, visitor } from "../test/sys/web_rig.mjs";

const BYTES_MAX = 60 * 1024;
const CURVES_MS = 20000; /* until they are lines */
const DESKTOP = { width: 1240, height: 700 };
const PHONE = { width: 390, height: 700 };
const socled = new Socled(`${process.env.TMPDIR}/d`, process.env.SOCLE_BUILD);

const MACHINES = [
  { name: "web1", tags: ["prod", "eu"], on: true },
  { name: "web2", tags: ["prod", "eu"] },
  { name: "db1", tags: ["prod", "backup"], on: true },
  { name: "build", tags: ["ci"], on: true, paused: true },
  { name: "router", tags: ["net"] },
  { name: "win-test", tags: ["test"] },
];

/* name of the picture, page, size, scheme */
const SHOTS = [
  ["dashboard", "/", DESKTOP, "light"],
  ["instances", "/instances", DESKTOP, "light"],
  ["console", "/instances/web1/console", DESKTOP, "light"],
  ["snapshots", "/instances/web1/snapshots", DESKTOP, "dark"],
  ["create", "/create", DESKTOP, "light"],
  ["hardware", "/instances/web1/hardware", DESKTOP, "dark"],
  ["instances-phone", "/instances", PHONE, "light"],
  ["dashboard-phone", "/", PHONE, "dark"],
];

async function prepare() {
  await socled.startWithImage();
  for (const { name, tags, on, paused } of MACHINES) {
    await socled.task("POST", "/instances", { name, image: "debian", memory: "192M", engine: "soft", nets: [], tags: tags.map((tag) => ({ tag })) });
    if (on) await socled.task("POST", `/instances/${name}/action`, { action: "start" });
    if (paused) await socled.task("POST", `/instances/${name}/action`, { action: "pause" });
  }
  await until("web1's shell", async () => (await socled.ask("GET", "/instances/web1/log")).includes("Run /bin/sh as init"));
  const snapshot = (name) => socled.task("POST", "/instances/web1/snapshots", { name });
  await snapshot("installed");
  await snapshot("before-upgrade");
  await snapshot("upgraded");
  await socled.task("POST", "/instances/web1/restore", { snapshot: "before-upgrade" });
  await snapshot("patched");
}

async function shoot(page, [name, path, size, scheme]) {
  const file = `${root}doc/screens/${name}.jpg`;

  await page.setViewportSize(size);
  await page.emulateMedia({ colorScheme: scheme });
  await page.goto(socled.url + path);
  await page.locator("[data-live=live]").waitFor({ state: "attached" });
  if (path.endsWith("console")) {
    await page.locator("[data-console=connected]").waitFor();
    await page.locator(".xterm-helper-textarea").focus();
    await page.keyboard.type("printf '\\033c'; uname -srm; echo it has booted\n");
  }
  await sleep(path === "/" ? CURVES_MS : 800);
  for (let quality = 80; quality === 80 || statSync(file).size > BYTES_MAX; quality -= 10) {
    if (quality < 40) throw new Error(`${file} has more than ${BYTES_MAX} bytes`);
    await page.screenshot({ path: file, type: "jpeg", quality });
  }
}

try {
  await prepare();
  const b = await browser();
  const { page } = await visitor(b, socled);
  await logIn(page, socled);
  for (const shot of SHOTS) await shoot(page, shot);
  await b.close();
} finally {
  for (const { name } of MACHINES) await socled.task("POST", `/instances/${name}/action`, { action: "stop", force: true }).catch(() => {});
  await socled.kill("SIGTERM");
}
