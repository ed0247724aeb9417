/* web/vite.config.ts: how the console is built; tools/web.py runs it. */
import react from "@vitejs/plugin-react";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vite";

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/* PatternFly brings fonts of 700 KiB; the system's are as good to read and already there. */
function withoutFonts(): Plugin {
  return {
    name: "without-fonts",
    enforce: "pre",
    transform: (code, id) => (id.endsWith(".css") ? code.replace(/@font-face\s*\{[^}]*\}/g, "") : null),
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

export default defineConfig({
  plugins: [withoutFonts(), react(), licences()],
  resolve: { alias: { "@gen": at("./gen"), "@": at("./src") } },
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 900,
  },
});
