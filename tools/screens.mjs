/* tools/screens.mjs: the pictures of doc/screens, of all pages or of those that are named.  tools/screens.sh */
import { generateKeyPairSync, sign } from "node:crypto";
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
const DARK = ["dashboard", "instances", "console", "disks", "snapshots", "catalogues", "terminal", "settings"];
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
  ["catalogues", "/catalogues"],
  ["networks", "/networks"],
  ["terminal", "/terminal"],
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

/* A list of images that its own key signed. */
async function catalogue() {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const image = (name, part, description, version, size) => ({ name, part, url: `https://images.example.org/${name}.qcow2`, sha256: "84".repeat(32), description, version, size });
  const text = JSON.stringify({ version: 7, images: [image("debian12", "disk", "Debian 12", "12.8", 412090368), image("alpine", "rootfs", "Alpine, for containers", "3.20", 3500000)] });
  const key = publicKey.export({ type: "spki", format: "der" }).subarray(-32).toString("base64");

  await socled.ask("PUT", "/catalogues/lab", { key, text, signature: sign(null, Buffer.from(text), privateKey).toString("base64") });
}

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
  await socled.task("POST", "/instances/web1/exports", { compress: true });
  await catalogue();
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
  if (path === "/terminal") {
    await page.locator("[data-shell=runs]").waitFor();
    await page.locator(".xterm-helper-textarea").focus();
    await page.keyboard.type("PS1='root@lab:~# '; clear; echo ready-$((1+1))\n");
    await until("the shell", async () => (await page.locator(".xterm-rows").innerText()).includes("ready-2"));
    await page.keyboard.type("clear\nid -un; pwd\n");
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
  const wanted = process.argv.slice(2);
  for (const shot of SHOTS.filter(([name]) => wanted.length === 0 || wanted.includes(name.replace(/-(phone|dark)$/, "")))) await shoot(page, shot, !shot[0].includes("-"));
  await b.close();
} finally {
  for (const { name } of MACHINES) await socled.task("POST", `/instances/${name}/action`, { action: "stop", force: true }).catch(() => {});
  await socled.kill("SIGTERM");
}
