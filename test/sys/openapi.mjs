// test/sys/openapi.mjs: prints what the validator finds in FILE, and that it finds what was put wrong: test/sys/openapi.mjs FILE
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { createConfig, lintFromString } = createRequire(new URL("../../web/package.json", import.meta.url))("@redocly/openapi-core");
const config = await createConfig({ extends: ["recommended-strict"] });

/** Rule and place of each fault. */
async function faults(text) {
  const found = await lintFromString({ source: text, absoluteRef: "/openapi.json", config });
  return found.map((p) => `${p.ruleId}: ${p.message} (${p.location[0]?.pointer ?? ""})`);
}

const text = readFileSync(process.argv[2], "utf8");
const found = await faults(text);
for (const f of found) console.error(f);

// One of each kind: a validator that is content with anything proves nothing.
const wrong = [
  ["no-unresolved-refs", (d) => delete d.components.schemas.Error],
  ["struct", (d) => (d.paths["/1.0"].get.responses = [])],
  ["path-parameters-defined", (d) => (d.paths["/1.0/instances/{name}"].get.parameters = [])],
  ["operation-operationId-unique", (d) => (d.paths["/1.0/tasks"].get.operationId = d.paths["/1.0"].get.operationId)],
];
for (const [rule, break_it] of wrong) {
  const d = JSON.parse(text);
  break_it(d);
  if (!(await faults(JSON.stringify(d))).some((f) => f.startsWith(rule))) {
    found.push(rule);
    console.error(`what breaks '${rule}' is not found`);
  }
}
console.log(`${Object.keys(JSON.parse(text).paths).length} paths, ${found.length} faults`);
process.exit(found.length ? 1 : 0);
