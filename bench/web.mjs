/* bench/web.mjs: what bench/web.sh prints: bench/web.mjs ROUNDS */
import { readFileSync } from "node:fs";
import { axeSource, browser, PASSWORD, Socled, sleep, visitor } from "../test/sys/web_rig.mjs";

const KIB_TARGET = 350;
const INTERACTIVE_TARGET_MS = 1000;
const SHIFT_TARGET = 0.1;
const PAGES = ["/", "/instances", "/instances/m1", "/instances/m1/hardware", "/instances/m1/cloud", "/instances/m1/events", "/instances/m1/snapshots", "/create", "/images", "/catalogues", "/networks", "/terminal", "/users", "/tokens", "/audit", "/account", "/settings", "/about"];
const socled = new Socled(`${process.env.TMPDIR}/d`, process.env.SOCLE_BUILD);

const median = (all) => [...all].sort((a, b) => a - b)[Math.floor(all.length / 2)];

/* Somebody who is logged in, with nothing in the cache. */
async function newcomer(b) {
  const v = await visitor(b, socled);
  const r = await v.context.request.post(`${socled.url}/1.0/login`, { data: { user: "root", password: PASSWORD }, headers: { "X-Socle": "1" } });

  if (!r.ok()) throw new Error(`login: ${r.status()} ${await r.text()}`);
  v.errors = [];
  v.page.on("console", (m) => m.type() === "error" && v.errors.push(m.text()));
  return v;
}

/* The dashboard, until it is live and the browser has nothing left to do. */
async function firstLoad(b) {
  const { context, page } = await newcomer(b);
  const cdp = await context.newCDPSession(page);
  let bytes = 0;

  await cdp.send("Network.enable");
  cdp.on("Network.loadingFinished", (e) => (bytes += e.encodedDataLength));
  await page.addInitScript(() => {
    window.shift = 0;
    new PerformanceObserver((l) => l.getEntries().forEach((e) => (window.shift += e.hadRecentInput ? 0 : e.value))).observe({ type: "layout-shift", buffered: true });
    const look = () => {
      if (!document.querySelector("h1") || !document.querySelector("[data-live=live]")) return requestAnimationFrame(look);
      requestIdleCallback(() => (window.interactive = performance.now()));
    };
    requestAnimationFrame(look);
  });
  await page.goto(socled.url);
  const interactive = await (await page.waitForFunction(() => window.interactive)).jsonValue();
  await sleep(500);
  const shift = await page.evaluate(() => window.shift);
  await context.close();
  return { kib: bytes / 1024, interactive, shift };
}

async function accessibility(page) {
  let passed = 0, failed = 0;

  for (const path of PAGES) {
    await page.goto(socled.url + path);
    await page.locator("h1").waitFor();
    await page.locator("[data-live=live]").waitFor({ state: "attached" });
    await sleep(200);
    await page.evaluate(readFileSync(axeSource, "utf8"));
    const { good, bad } = await page.evaluate(async () => {
      const { passes, violations } = await window.axe.run(document);
      return { good: passes.length, bad: violations.map((v) => v.id) };
    });
    passed += good;
    failed += bad.length;
    if (bad.length) console.log(`not accessible: ${path}: ${bad.join(", ")}`);
  }
  return (100 * failed) / (passed + failed);
}

async function practice(v) {
  const r = await v.page.goto(socled.url);
  const has = (name) => r.headers()[name] ?? "";
  await v.page.locator("h1").waitFor();
  const page = await v.page.evaluate(() => ({
    lang: document.documentElement.lang,
    title: document.title,
    doctype: document.doctype?.name,
    charset: document.characterSet,
    viewport: document.querySelector("meta[name=viewport]")?.content ?? "",
    description: document.querySelector("meta[name=description]")?.content ?? "",
    icon: !!document.querySelector("link[rel=icon]"),
    inline: document.querySelectorAll("script:not([src]), [style*=url], [onclick]").length,
    secure: isSecureContext,
    stored: document.cookie,
  }));
  const checks = {
    "no errors are said by scripts, and nothing is asked of others": v.wrong.length + v.errors.length === 0,
    "the policy has no exception": /^default-src 'none'/.test(has("content-security-policy")) && !/unsafe|\*/.test(has("content-security-policy")),
    "it is in no frame": /frame-ancestors 'none'/.test(has("content-security-policy")),
    "types are what is said": has("x-content-type-options") === "nosniff",
    "others are not told where one comes from": has("referrer-policy") === "no-referrer",
    "it is compressed": has("content-encoding") === "gzip",
    "it is secure": page.secure && r.url().startsWith("https:"),
    "no script can read the session": page.stored === "",
    "no script stands in the page": page.inline === 0,
    "it has a language": /^[a-z]{2}/.test(page.lang),
    "it has a title, a description and an icon": !!page.title && !!page.description && page.icon,
    "it is HTML, in UTF-8": page.doctype === "html" && page.charset === "UTF-8",
    "it fits its window, and can be zoomed": /width=device-width/.test(page.viewport) && !/user-scalable|maximum-scale/.test(page.viewport),
  };
  const failed = Object.entries(checks).filter(([, good]) => !good);

  for (const [what] of failed) console.log(`bad practice: not so: ${what}`);
  if (v.errors.length) console.log(v.errors);
  return (100 * failed.length) / Object.keys(checks).length;
}

try {
  await socled.startWithImage();
  for (const name of ["m1", "m2", "m3"]) await socled.task("POST", "/instances", { name, image: "debian", nets: [] });
  const b = await browser();
  const loads = [];
  for (let n = 0; n < Number(process.argv[2]); n++) loads.push(await firstLoad(b));
  const kib = median(loads.map((l) => l.kib)), interactive = median(loads.map((l) => l.interactive)), shift = median(loads.map((l) => l.shift));
  const visit = await newcomer(b);
  const lost = {
    performance: 100 - (100 / 3) * [KIB_TARGET / kib, INTERACTIVE_TARGET_MS / interactive, SHIFT_TARGET / Math.max(shift, 1e-6)].reduce((sum, x) => sum + Math.min(1, x), 0),
    accessibility: await accessibility(visit.page),
    practice: await practice(visit),
  };
  console.log(`web-first-load ${kib.toFixed(0)} KiB\nweb-interactive ${interactive.toFixed(0)} ms\nweb-shift ${shift.toFixed(3)} score`);
  for (const [of, points] of Object.entries(lost)) console.log(`web-${of}-lost ${points.toFixed(1)} points`);
  await b.close();
} finally {
  await socled.kill("SIGTERM");
}
