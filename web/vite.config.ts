/* web/vite.config.ts: how the console is built; tools/web.py runs it. */
import react from "@vitejs/plugin-react";
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

export default defineConfig({
  plugins: [withoutFonts(), react()],
  resolve: { alias: { "@gen": at("./gen"), "@": at("./src") } },
  build: {
    target: "es2022",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 900,
  },
});
