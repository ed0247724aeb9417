/* test/sys/web_rig.mjs: a socled with users and a browser, for what looks at the console: test/sys/web.mjs, tools/screens.mjs. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, ftruncateSync, openSync } from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("../..", import.meta.url));
const load = createRequire(root + "web/package.json");
const { chromium } = load("playwright-core");
export const axeSource = load.resolve("axe-core/axe.min.js");

export const PASSWORD = "correct horse battery";
const SECONDS = 60;

export const sleep = (ms) => new Promise((r) => setTimeout(r, ms));

export async function until(what, condition, seconds = SECONDS) {
  const limit = Date.now() + seconds * 1000;

  for (;;) {
    const got = await condition();
    if (got) return got;
    if (Date.now() > limit) throw new Error(`waited in vain: ${what}`);
    await sleep(100);
  }
}

export class Socled {
  constructor(dir, build) {
    this.dir = dir;
    this.program = `${build}/src/cmd/socled`;
    this.where = "127.0.0.1:0";
  }

  async start() {
    const log = openSync(`${this.dir}.log`, "a");

    this.process = spawn(this.program, ["--dir", this.dir, "--listen", this.where], { stdio: ["ignore", log, log] });
    this.ended = once(this.process, "exit");
    closeSync(log);
    await until("socled answers", () => this.ask("GET", "").catch(() => null));
    this.where = (await this.ask("GET", "")).listen;
  }

  /* With the user root, unless it is made otherwise, and the image "debian": the sample guest's kernel, whose shell needs no disk, and an empty one. */
  async startWithImage(withUser = true) {
    const guest = `${root}.cache/guest/`, path = `${this.dir}.disk`;
    const disk = openSync(path, "w");

    ftruncateSync(disk, 16 << 20);
    closeSync(disk);
    await this.start();
    if (withUser) await this.ask("POST", "/users", { name: "root", password: PASSWORD, role: "admin" });
    await this.task("POST", "/images", {
      name: "debian",
      source: { kernel: `${guest}vmlinuz`, initrd: `${guest}initrd`, disk: path, append: "panic=-1 rdinit=/bin/sh" },
    });
  }

  async kill(signal = "SIGKILL") {
    this.process.kill(signal);
    await this.ended;
  }

  /* By the unix socket, where one has all rights. */
  ask(method, path, body) {
    return new Promise((resolve, reject) => {
      const text = body === undefined ? "" : JSON.stringify(body);
      const rq = http.request({ socketPath: `${this.dir}/api.sock`, method, path: `/1.0${path}`, headers: text ? { "Content-Length": Buffer.byteLength(text) } : {} }, (r) => {
        let all = "";
        r.setEncoding("utf8");
        r.on("data", (d) => (all += d));
        r.on("end", () => {
          if (r.statusCode >= 400) reject(new Error(`${method} ${path}: ${r.statusCode} ${all}`));
          else resolve(all.startsWith("{") ? JSON.parse(all) : all);
        });
      });
      rq.on("error", reject);
      rq.end(text);
    });
  }

  async task(method, path, body) {
    const { task } = await this.ask(method, path, body);
    const t = await until(`task ${task}`, async () => {
      const now = await this.ask("GET", `/tasks/${task}`);
      return ["waiting", "running"].includes(now.state) ? null : now;
    });
    if (t.state !== "done") throw new Error(`task ${task}: ${JSON.stringify(t)}`);
  }

  get url() {
    return `https://${this.where}`;
  }
}

export async function browser() {
  return chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
}

/* A page of a new visitor, and what went wrong in it: scripts' errors, what the policy stopped, requests elsewhere. */
export async function visitor(b, socled, more = {}) {
  const context = await b.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1280, height: 800 }, ...more });
  const page = await context.newPage();
  const wrong = [];

  page.setDefaultTimeout(20000);
  page.on("pageerror", (e) => wrong.push(`error: ${e.message}`));
  page.on("console", (m) => /Content Security Policy|Refused to/.test(m.text()) && wrong.push(m.text()));
  page.on("request", (r) => new URL(r.url()).host !== socled.where && !r.url().startsWith("data:") && wrong.push(`request of ${r.url()}`));
  return { context, page, wrong };
}

export async function logIn(page, socled, path = "/", user = "root") {
  await page.goto(socled.url + path);
  await page.getByLabel("User", { exact: true }).fill(user);
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.locator("[data-live=live]").waitFor({ state: "attached" });
}
