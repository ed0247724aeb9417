/* tools/screens.mjs: the pictures of doc/screens.  tools/screens.sh */
import { statSync } from "node:fs";
import { browser, logIn, PASSWORD, root, sleep, Socled, until, visitor } from "../test/sys/web_rig.mjs";

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

/* Of each page two pictures: NAME, by day on a desk, and NAME-phone, by night; those of DARK on a desk by night, too: NAME-dark. */
const DARK = ["dashboard", "instances", "console", "snapshots", "settings"];
const PAGES = [
  ["dashboard", "/"],
  ["instances", "/instances"],
  ["overview", "/instances/web1"],
  ["console", "/instances/web1/console"],
  ["hardware", "/instances/web1/hardware"],
  ["disks", "/instances/web1/disks"],
  ["network", "/instances/web1/network"],
  ["snapshots", "/instances/web1/snapshots"],
  ["cloud-init", "/instances/web1/cloud"],
  ["logs", "/instances/web1/logs"],
  ["events", "/instances/web1/events"],
  ["raw", "/instances/web1/raw"],
  ["create", "/create"],
  ["images", "/images"],
  ["networks", "/networks"],
  ["users", "/users"],
  ["tokens", "/tokens"],
  ["audit", "/audit"],
  ["account", "/account"],
  ["settings", "/settings"],
  ["about", "/about"],
];
const SHOTS = [
  ...PAGES.map(([name, path]) => [name, path, DESKTOP, "light"]),
  ...PAGES.map(([name, path]) => [`${name}-phone`, path, PHONE, "dark"]),
  ...PAGES.filter(([name]) => DARK.includes(name)).map(([name, path]) => [`${name}-dark`, path, DESKTOP, "dark"]),
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
  await socled.ask("POST", "/users", { name: "ann", password: PASSWORD, role: "operator" });
  await socled.ask("POST", "/users", { name: "backup", role: "none", grants: [{ tag: "prod", role: "viewer" }] });
  await socled.ask("POST", "/tokens", { user: "backup", name: "nightly backup" });
  await socled.ask("PATCH", "/instances/web1", {
    notes: "Serves the shop. Ask Ann before you restart it.",
    cloud: { hostname: "web1", user_data: "#cloud-config\npackages:\n  - nginx\nruncmd:\n  - systemctl enable --now nginx\n" },
  });
}

/* `curves`: they begin with this picture; else they are there. */
async function shoot(page, [name, path, size, scheme], curves) {
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
  await sleep(curves && path === "/" ? CURVES_MS : 600);
  for (let quality = 80; quality === 80 || statSync(file).size > BYTES_MAX; quality -= 10) {
    if (quality < 20) throw new Error(`${file} has more than ${BYTES_MAX} bytes`);
    await page.screenshot({ path: file, type: "jpeg", quality });
  }
}

try {
  await prepare();
  const b = await browser();
  const { page } = await visitor(b, socled);
  await logIn(page, socled);
  for (const shot of SHOTS) await shoot(page, shot, !shot[0].includes("-"));
  await b.close();
} finally {
  for (const { name } of MACHINES) await socled.task("POST", `/instances/${name}/action`, { action: "stop", force: true }).catch(() => {});
  await socled.kill("SIGTERM");
}
