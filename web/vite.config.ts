/* web/vite.config.ts: how the console is built; tools/web.py runs it. */
import react from "@vitejs/plugin-react";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parse, type Root } from "postcss";
import { defineConfig, type Plugin } from "vite";

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

const filesBelow = (dir: string): string[] =>
  readdirSync(dir, { withFileTypes: true }).flatMap((e) => (e.isDirectory() ? filesBelow(join(dir, e.name)) : [join(dir, e.name)]));

/* Names of custom properties that a style takes. */
const taken = (css: string) => [...css.matchAll(/var\(\s*(--[\w-]+)/g)].map((m) => m[1] ?? "");

/* Takes out custom properties that nothing takes, then those that only they took, and so on. */
function withoutUntaken(css: Root, others: string[]): void {
  for (let removed = true; removed; ) {
    const used = new Set(others);
    removed = false;
    css.walkDecls((d) => taken(d.value).forEach((name) => used.add(name)));
    css.walkDecls(/^--pf-t--/, (d) => {
      if (used.has(d.prop)) return;
      d.remove();
      removed = true;
    });
  }
}

/*
 * PatternFly brings fonts of 700 KiB (the system's are as good to read and already there), an icon font's names, and colours of themes
 * that are never on: half of its base style.  A browser reads all of it before it draws anything.
 */
const NEVER = /\.pf-v6-theme-(felt|high-contrast|glass)|\.pf-v6-(pficon|icon-rh)/;

function leanStyles(): Plugin {
  const own = filesBelow(at("./src")).filter((f) => /\.(css|tsx?)$/.test(f));
  const parts = filesBelow(at("./node_modules/@patternfly/react-styles/css")).filter((f) => f.endsWith(".css"));
  const others = [...own, ...parts].flatMap((f) => taken(readFileSync(f, "utf8")));

  return {
    name: "lean-styles",
    enforce: "pre",
    transform(code, id) {
      if (!id.includes("/@patternfly/") || !id.endsWith(".css")) return null;
      const css = parse(code);
      css.walkAtRules("font-face", (r) => void r.remove());
      css.walkRules((r) => {
        const kept = r.selectors.filter((s) => !NEVER.test(s));
        if (kept.length === 0) r.remove();
        else r.selectors = kept;
      });
      if (id.endsWith("/base.css")) withoutUntaken(css, others);
      return css.toString();
    },
  };
}

/* The package that a module is of; undefined: it is our own. */
function packageOf(module: string): string | undefined {
  const file = module.replace(/^\0/, "").split("?")[0] ?? "";

  if (!file.includes("/node_modules/")) return undefined;
  for (let dir = dirname(file); dir.includes("/node_modules/"); dir = dirname(dir)) {
    const json = join(dir, "package.json");
    /* some have one without a name in folders, to say of what kind their modules are */
    if (existsSync(json) && (JSON.parse(readFileSync(json, "utf8")) as { name?: string; version?: string }).version) return dir;
  }
  return undefined;
}

function licenceOf(dir: string): { name: string; version: string; licence: string; text: string } {
  const { name, version, license } = JSON.parse(readFileSync(join(dir, "package.json"), "utf8")) as Record<string, string>;
  const file = readdirSync(dir).find((f) => /^(licen[cs]e|copying)/i.test(f));

  if (!name || !version || !license) throw new Error(`${dir} does not say its licence`);
  return { name, version, licence: license, text: file ? readFileSync(join(dir, file), "utf8") : "" };
}

/* licences.json: what is in the bundle, found by what is in it. */
function licences(): Plugin {
  return {
    name: "licences",
    generateBundle(_, bundle) {
      const modules = Object.values(bundle).flatMap((c) => (c.type === "chunk" ? c.moduleIds : []));
      const dirs = new Set(modules.map(packageOf).filter((d) => d !== undefined));
      const list = [...dirs].map(licenceOf).sort((a, b) => (a.name < b.name ? -1 : 1));
      this.emitFile({ type: "asset", fileName: "licences.json", source: JSON.stringify(list) });
    },
  };
}

/* The page names what begin.ts loads, so that it is on its way when begin.ts runs. */
function preloads(): Plugin {
  return {
    name: "preloads",
    transformIndexHtml: {
      order: "post",
      handler: (_, { bundle }) => {
        const chunks = Object.values(bundle ?? {}).filter((c) => c.type === "chunk");
        const main = chunks.find((c) => c.moduleIds.some((m) => m.endsWith("/src/main.tsx")));
        const files = [main?.fileName ?? "", ...(main?.imports ?? [])].filter((f) => !chunks.find((c) => c.fileName === f)?.isEntry);
        const styles = [...(main?.viteMetadata?.importedCss ?? [])];
        return [
          ...files.map((f) => ({ tag: "link", attrs: { rel: "modulepreload", crossorigin: true, href: `/${f}` } })),
          ...styles.map((f) => ({ tag: "link", attrs: { rel: "stylesheet", crossorigin: true, href: `/${f}` } })),
        ];
      },
    },
  };
}

export default defineConfig({
  plugins: [leanStyles(), react(), licences(), preloads()],
  resolve: { alias: { "@gen": at("./gen"), "@": at("./src") } },
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 900,
    rollupOptions: { output: { experimentalMinChunkSize: 10_000 } }, // each file is a request
  },
});
