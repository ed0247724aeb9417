/* web/src/logic.test.ts: what needs no page: names, sizes, texts, trees, changes, events. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { bodyOf, commandOf, EMPTY, wrong, type Draft } from "./create/config";
import { askAhead, get, urlOf } from "./core/api";
import { forEach } from "./core/each";
import { ago, bytes, parseBytes, percent, shellWord, sizeText } from "./core/format";
import { lookAgain, staleAfter, withAddresses, withState } from "./core/live";
import { plain } from "./core/plain";
import { de } from "./core/de";
import { en } from "./core/en";
import { fingerprintOf } from "./core/key";
import { languageOf, localeOf } from "./core/prefs";
import { speak, t, word, type TextKey } from "./core/text";
import type { LiveEvent, Snapshot, Summary, Task } from "./core/types";
import { curveOf, joined, lastTime, queryOf, spans, type History } from "./core/usage";
import { frame, frameReader, sizeFrame } from "./instances/frames";
import { isAnswer, pastReader } from "./instances/console_past";
import { whyNot, type Subject, type Verb } from "./instances/actions";
import { changes } from "./instances/edit";
import { filter, matches, tagsOf } from "./instances/filter";
import { exportable, exportCall, exportCommand } from "./instances/export";
import { hiddenOf, leastOf } from "./instances/hidden";
import { cloudOf } from "./instances/seed";
import { ofEvent, story } from "./instances/story";
import { place } from "./instances/tree";

describe("the console's past", () => {
  const all = new Uint8Array(300).map((_, i) => i * 7);
  const shown = (parts: { past: Uint8Array; now: Uint8Array }[]) => parts.flatMap((p) => [...p.past, ...p.now]);

  it("ends where its head says, wherever messages are cut", () => {
    for (const cut of [1, 19, 20, 21, 50]) {
      const r = pastReader();
      expect(r.head({ stream: "a", position: 100, before: 20 }).isLive).toBe(false);
      const one = r.bytes(all.subarray(80, 80 + cut));
      const two = r.bytes(all.subarray(80 + cut, 200));
      expect(one.past.length + two.past.length).toBe(20);
      expect([one.isLive, two.isLive]).toEqual([cut >= 20, true]);
      expect(shown([one, two])).toEqual([...all.subarray(80, 200)]);
    }
  });
  it("is not shown twice, and nothing between two sockets is missed", () => {
    for (const [before, again] of [[50, 50], [50, 3], [50, 150], [0, 0]] as const) {
      const r = pastReader();
      r.head({ stream: "a", position: 100, before: 0 });
      const one = r.bytes(all.subarray(100, 150));
      r.head({ stream: "a", position: 150 + before, before: again });
      const two = r.bytes(all.subarray(150 + before - again, 250));
      const from = Math.max(150, 150 + before - again);
      expect(shown([one, two])).toEqual([...all.subarray(100, 150), ...all.subarray(from, 250)]);
    }
  });
  it("of another process is another one", () => {
    const r = pastReader();
    r.head({ stream: "a", position: 100, before: 0 });
    r.bytes(all.subarray(100, 200));
    expect(r.head({ stream: "b", position: 10, before: 10 }).isLive).toBe(false);
    expect(shown([r.bytes(all.subarray(0, 12))])).toEqual([...all.subarray(0, 12)]);
  });
  it("without a head is the present", () => {
    const got = pastReader().bytes(all);
    expect([got.isLive, got.past.length, got.now.length]).toEqual([true, 0, 300]);
  });
  it("has answers that nobody typed", () => {
    for (const a of ["\x1b[24;80R", "\x1b[?1;2c", "\x1b[>0;276;0c", "\x1b[0n", "\x1b[?2004;1$y", "\x1b[8;24;80t", "\x1b]11;rgb:1414/1717/1c1c\x1b\\", "\x1bP1$r0m\x1b\\"]) expect(isAnswer(a)).toBe(true);
    for (const a of ["a", "\r", "\x1b", "\x1b[A", "\x1bOP", "\x1b[15~", "\x1b[1;5C", "\x1b]", "\x1bP", "\x1b[200~text\x1b[201~"]) expect(isAnswer(a)).toBe(false);
  });
});

describe("sizes", () => {
  it.each([
    ["512M", 512 * 2 ** 20],
    ["2 GiB", 2 ** 31],
    ["1.5g", 1.5 * 2 ** 30],
    ["4096", 4096],
    ["1TB", 2 ** 40],
    ["", NaN],
    ["-1", NaN],
    ["1P", NaN],
    ["12x", NaN],
  ])("%s", (text, want) => expect(parseBytes(text)).toBe(want));
  it.each([2 ** 20, 192 * 2 ** 20, 2 ** 30, 5 * 2 ** 40, 1000, 1])("%i is read as it was written", (n) =>
    expect(parseBytes(sizeText(n))).toBe(n),
  );
  it("are short", () => expect([bytes(0), bytes(1536), bytes(2 ** 30), bytes(123.4 * 2 ** 20)]).toEqual(["0 B", "1.5 KiB", "1 GiB", "123 MiB"]));
});

describe("text of guests", () => {
  it.each([
    ["\x1b[31mred\x1b[0m", "red"],
    ["\x1b]0;title\x07after", "after"],
    ["\x1b]8;;http://x\x1b\\link", "link"],
    ["a\r\nb", "a\nb"],
    ["nul\0bell\x07", "nul\ufffdbell\ufffd"],
    ["abc\u202efed", "abc\ufffdfed"],
    ["\x1b]0;never ended", ""],
    ["<b>", "<b>"],
  ])("%j", (text, want) => expect(plain(text)).toBe(want));
  it("is read to its end", () => expect(plain("\x1b[".repeat(200000) + "end")).toBe("nd"));
});

describe("paths", () => {
  it("encode names", () =>
    expect(urlOf({ path: "/1.0/instances/{name}/snapshots/{snapshot}", names: ["a/../b", "c?d"] })).toBe("/1.0/instances/a%2F..%2Fb/snapshots/c%3Fd"));
  it("have queries", () => expect(urlOf({ path: "/1.0/instances", query: { limit: 2, after: "a&b" } })).toBe("/1.0/instances?limit=2&after=a%26b"));
  it("are quoted for a shell", () => expect([shellWord("a-b"), shellWord("it's"), shellWord("$(x)")]).toEqual(["a-b", `'it'\\''s'`, "'$(x)'"]));
});

const summary = (name: string, state = "off", tags: string[] = []): Summary => ({ name, id: name, kind: "para", state, tags, addresses: [], cpus: 1, memory: 1, revision: 1 });

describe("frames", () => {
  const encoded = (text: string) => new TextEncoder().encode(text);

  it("are read from messages of any size", () => {
    const all = [...frame(1, encoded("hello")), ...frame(2, encoded("")), ...frame(3, new Uint8Array([0, 0, 0, 7]))];
    const read = frameReader();
    const got = all.flatMap((b) => read(new Uint8Array([b])));

    expect(got.map((f) => [f.kind, f.data.length])).toEqual([
      [1, 5],
      [2, 0],
      [3, 4],
    ]);
    expect(new TextDecoder().decode(got[0]?.data)).toBe("hello");
    expect(frameReader()(new Uint8Array(all)).length).toBe(3);
  });
  it("tell a size", () => expect([...sizeFrame(258, 80)]).toEqual([2, 0, 0, 0, 4, 1, 2, 0, 80]));
});

describe("search", () => {
  const all = [summary("web1", "running", ["prod"]), summary("web2", "off", ["test"]), summary("db", "off", ["prod", "eu"])];

  it("finds words in any order", () => expect([matches("web prod", "PROD we"), matches("web", "db")]).toEqual([true, false]));
  it("finds an address", () => {
    const at = { ...summary("x"), addresses: ["10.0.0.7", "fd00::7"] };
    expect(filter([...all, at], { text: "fd00::7", state: "", tag: "" })).toEqual([at]);
  });
  it("joins text, state and tag", () => {
    const names = (w: Partial<Parameters<typeof filter>[1]>) => filter(all, { text: "", state: "", tag: "", ...w }).map((i) => i.name);
    expect(names({})).toEqual(["web1", "web2", "db"]);
    expect(names({ text: "prod" })).toEqual(["web1", "db"]);
    expect(names({ tag: "prod", state: "off" })).toEqual(["db"]);
  });
  it("knows the tags", () => expect(tagsOf(all)).toEqual(["eu", "prod", "test"]));
});

describe("what is possible", () => {
  const can = (verb: Verb, more: Partial<Subject>) => whyNot(verb, { state: "off", mayOperate: true, mayAdmin: true, ...more }) === undefined;

  it.each<[Verb, Partial<Subject>, boolean]>([
    ["start", { state: "off" }, true],
    ["start", { state: "running" }, false],
    ["start", { state: "off", template: true }, false],
    ["start", { state: "off", mayOperate: false }, false],
    ["stop", { state: "running" }, true],
    ["stop", { state: "off" }, false],
    ["stop", { state: "failed", startAt: 5 }, true],
    ["delete", { state: "off" }, true],
    ["delete", { state: "off", protected: true }, false],
    ["delete", { state: "off", template: true }, true],
    ["delete", { state: "running" }, false],
    ["delete", { state: "off", mayAdmin: false }, false],
    ["snapshot", { state: "suspended" }, false],
    ["restore", { state: "suspended" }, true],
  ])("%s %j: %s", (verb, more, want) => expect(can(verb, more)).toBe(want));
});

describe("the tree of snapshots", () => {
  const snap = (name: string, created: number, parent?: string): Snapshot => ({ name, created, ...(parent ? { parent } : {}) });

  it("draws branches in columns of their own", () => {
    const placed = place([snap("a", 1), snap("b", 2, "a"), snap("c", 3, "a"), snap("d", 4, "b")]);
    expect(placed.map((p) => [p.snapshot.name, p.row, p.column, p.parentRow])).toEqual([
      ["a", 0, 0, undefined],
      ["b", 1, 1, 0],
      ["c", 2, 0, 0],
      ["d", 3, 1, 1],
    ]);
  });
  it("takes a parent that is gone for none", () => expect(place([snap("b", 2, "gone")])[0]?.parentRow).toBeUndefined());
  it("is no tree without snapshots", () => expect(place([])).toEqual([]));
});

describe("changes", () => {
  it("send what differs, and null for what was taken away", () =>
    expect(changes({ a: 1, b: [1], c: "x", d: true }, { a: 1, b: [1, 2], d: true, e: 0 })).toEqual({ b: [1, 2], c: null, e: 0 }));
  it("are none of the same", () => expect(changes({ a: { b: 1 } }, { a: { b: 1 } })).toEqual({}));
});

describe("events", () => {
  const event = (more: Partial<LiveEvent>): LiveEvent => ({ type: "state", revision: 1, ...more });

  it("change one row", () => {
    const list = [summary("a"), summary("b")];
    const next = withState(list, event({ id: "b", state: "running" }));
    expect([next[0] === list[0], next[1]?.state, list[1]?.state]).toEqual([true, "running", "off"]);
    expect(withState(list, event({ id: "x", state: "running" }))).toBe(list);
    expect(withState(list, event({ id: "b", state: "off" }))).toBe(list);
  });
  it("tell addresses", () => {
    const list = [summary("a"), summary("b")];
    const next = withAddresses(list, event({ type: "addresses", id: "b", addresses: ["10.0.0.1"] }));
    expect([next[0] === list[0], next[1]?.addresses]).toEqual([true, ["10.0.0.1"]]);
    expect(withAddresses(next, event({ type: "addresses", id: "b" }))[1]?.addresses).toEqual([]);
    expect(withAddresses(list, event({ type: "addresses", id: "x", addresses: ["10.0.0.1"] }))).toBe(list);
  });
  it("are helped by looking while a guest may not have told", () => {
    const told = { ...summary("a", "running"), addresses: ["10.0.0.1"] };
    expect([lookAgain([]), lookAgain([summary("a"), told]), lookAgain([{ ...summary("c", "running"), kind: "os" }])]).toEqual([false, false, false]);
    expect(lookAgain([told, summary("b", "running")])).toBeGreaterThan(1000);
    expect(lookAgain(Array.from({ length: 1001 }, () => summary("b", "running")))).toBe(false);
  });
  it("say what is old", () => {
    expect(staleAfter([event({ type: "network" })])).toEqual(["networks"]);
    expect(staleAfter([event({ type: "state", id: "a", deleted: true })])).toContain("instances");
    expect(staleAfter([event({ type: "state", id: "a", state: "off" })])).not.toContain("instances");
  });
});

describe("a new instance", () => {
  const draft: Draft = { ...EMPTY, name: "web1", image: "debian" };

  it("is three words by default", () => expect(bodyOf(draft)).toEqual({ name: "web1", image: "debian", cpus: 1, memory: "1G" }));
  it("has all that was said", () => {
    const d: Draft = { ...draft, from: "kernel", kernel: "/k", initrd: "/i", net: "network", network: "lab", forwards: "tcp:1:2, udp:3:4", keys: "k1\n\nk2", userData: "#cloud-config", tags: "a b", disks: [{ file: "/d d", readonly: true }], start: false };
    expect(bodyOf(d)).toMatchObject({ kernel: "/k", initrd: "/i", nets: [{ network: "lab", forward: [{ rule: "tcp:1:2" }, { rule: "udp:3:4" }] }], cloud: { keys: [{ key: "k1" }, { key: "k2" }], user_data: "#cloud-config" } });
    expect(bodyOf(d)).not.toHaveProperty("image");
    expect(commandOf(d)).toBe("socle create web1 --kernel /k --initrd /i --cpus 1 --memory 1G --tag a --tag b --disk '/d d,readonly' --net network=lab,forward=tcp:1:2,forward=udp:3:4 --ssh-key keys.pub --user-data user-data.yaml");
  });
  it.each<[Partial<Draft>, Parameters<typeof wrong>[1], boolean]>([
    [{}, "source", true],
    [{ name: "" }, "source", false],
    [{ name: "../x" }, "source", false],
    [{ name: "taken" }, "source", false],
    [{ from: "kernel", kernel: "relative" }, "source", false],
    [{ cpus: "0" }, "size", false],
    [{ cpus: "1.5" }, "size", false],
    [{ memory: "1K" }, "size", false],
    [{ memory: "lots" }, "size", false],
    [{ disks: [{ file: "", readonly: false }] }, "disks", false],
    [{ net: "network", network: "" }, "network", false],
  ])("%j in %s: %s", (more, step, good) => expect(wrong({ ...draft, ...more }, step, ["taken"]) === undefined).toBe(good));
});

describe("bulk actions", () => {
  it("do all, and tell what failed", async () => {
    const done: number[] = [];
    const errors = await forEach([1, 2, 3, 4, 5, 6], async (n) => {
      if (n === 3) throw new Error("no");
      done.push(n);
    });
    expect([done.sort(), errors.map((e) => e.message)]).toEqual([[1, 2, 4, 5, 6], ["no"]]);
  });
});

describe("texts", () => {
  it("take values as they are", () => expect(t("delete.title", { name: "<b>{name}</b>" })).toBe("Delete <b>{name}</b>?"));
  it("have words of the API, and those that come later", () => expect([word("state", "off"), word("state", "new-one")]).toEqual(["off", "new-one"]));
});

describe("languages", () => {
  const keys = Object.keys(en) as TextKey[];
  const holes = (text: string) => (text.match(/\{\w+\}/g) ?? []).sort();

  it("have the same texts", () => expect(Object.keys(de).sort()).toEqual([...keys].sort()));
  it.each(keys)("%s has the same values in each, and is not empty", (key) => {
    expect(holes(de[key])).toEqual(holes(en[key]));
    expect(de[key].trim()).not.toBe("");
  });
  it("are chosen by what a browser asks for", () => {
    expect([["de-AT", "en"], ["fr", "de"], ["fr"], []].map(languageOf)).toEqual(["de", "de", "en", "en"]);
    expect([localeOf("de", ["fr", "de-CH"]), localeOf("de", ["en-GB"])]).toEqual(["de-CH", "de"]);
  });
  it("are spoken", async () => {
    await speak("de");
    expect([t("delete.title", { name: "web1" }), word("state", "off"), word("state", "new-one")]).toEqual(["web1 löschen?", "aus", "new-one"]);
    await speak("en");
    expect(t("delete.title", { name: "web1" })).toBe("Delete web1?");
  });
});

describe("numbers", () => {
  it("are as Intl has them", () => expect([percent(0.1234), percent(0), ago(100, 190), ago(100, 100 + 3 * 3600 + 120)]).toEqual(["12.3%", "0.0%", "1 min", "3 hr 2 min"]));
});

describe("columns", () => {
  it.each<[string | null, string[]]>([
    [null, ["id"]],
    ["not json", ["id"]],
    ["{}", ["id"]],
    ['["tags","none","name"]', ["tags"]],
    ["[]", []],
  ])("%j hide %j", (kept, want) => expect(hiddenOf(kept)).toEqual(want));
  it("are at first those that there is room for", () => expect([hiddenOf(null, false), hiddenOf("[]", false)]).toEqual([["addresses", "id"], []]));
  it("need their widths", () => expect(leastOf(["3rem", "minmax(10rem, 3fr)", "4.5rem"])).toBe(17.5));
});

describe("what was used", () => {
  const live = spans[0]!;
  const columns = ["time", "cpu", "read_bytes", "write_bytes"];
  const rows = (...of: (number | null)[][]): History => ({ columns, rows: of });

  it("is asked for by seconds, or as averages of minutes", () => {
    expect(queryOf(live, 7)).toEqual({ since: 7, span: "seconds" });
    expect(queryOf(spans[2]!, 7)).toEqual({ since: 7, span: "minutes", step: 600 });
  });
  it("grows by what is new, and loses what is old", () => {
    const h = joined(rows([10, 1, 0, 0], [11, 2, 0, 0]), rows([11, 9, 0, 0], [12, 3, 0, 0]), 10);
    expect(h.rows.map((r) => [r[0], r[1]])).toEqual([[11, 2], [12, 3]]);
    expect([lastTime(h), lastTime(undefined), lastTime(rows())]).toEqual([12, 0, 0]);
  });
  it("is a line in its box, by the largest", () =>
    expect(curveOf(rows([700, 50, 0, 0], [850, 100, 0, 0], [1000, 0, 0, 0]), ["cpu"], { ...live, seconds: 300, step: 50 }, 1000, 300, 40)).toEqual({
      path: "M0.0 20.0h0L150.0 0.0L300.0 40.0",
      last: 0,
      most: 100,
    }));
  it("adds columns, and has gaps where nothing was measured", () => {
    const c = curveOf(rows([900, null, 1, 2], [901, null, null, 4], [950, null, 5, 5], [951, 1, null, null]), ["read_bytes", "write_bytes"], live, 1000, 300, 10);
    expect([c.path.match(/[ML]/g)?.join(""), c.last, c.most]).toEqual(["MLM", 10, 10]);
  });
  it("is nothing when nothing is known", () =>
    expect(curveOf(rows([900, null, 0, 0]), ["cpu", "none"], live, 1000, 300, 10)).toEqual({ path: "", last: undefined, most: 0 }));
});

describe("what happened to an instance", () => {
  const heard = (...events: Partial<LiveEvent>[]) => events.map((e, n) => ofEvent({ type: "state", revision: n + 1, id: "i1", ...e }, 50)).filter((h) => h !== undefined);
  const task = (number: number, id: string, more: Partial<Task> = {}): Task => ({ number, what: "start", state: "done", id, created: 10, ended: 0, done: 0, total: 0, ...more }) as Task;

  it("has times: its own, that of a task's end, or when it was heard", () => {
    const all = story(heard({ state: "running", since: 20 }, { type: "instance" }), [task(1, "i1", { ended: 30 }), task(2, "i1", { state: "running" })], "i1");
    expect(all.map((h) => [h.kind, h.at])).toEqual([["change", 50], ["task", 30], ["state", 20], ["task", 10]]);
  });
  it("says a state once, and again when it comes back", () =>
    expect(story(heard({ state: "running", since: 1 }, { state: "running", since: 1 }, { state: "off", since: 2 }, { state: "running", since: 3 }), [], "i1").map((h) => h.state)).toEqual(["running", "off", "running"]));
  it("has the later one of a second first", () =>
    expect(story(heard({ state: "starting", since: 1 }, { state: "running", since: 1 }), [], "i1").map((h) => h.state)).toEqual(["running", "starting"]));
  it("has no tasks of others, and no events that are none", () => {
    expect(story([], [task(1, "i2")], "i1")).toEqual([]);
    expect(heard({ type: "task", state: "done" }, { type: "state" })).toEqual([]);
  });
});

describe("what cloud-init is told", () => {
  const none = { enable: false, hostname: "", keys: "", user_data: "", network: "" };

  it("is nothing when nothing is said", () => expect(cloudOf({ ...none, keys: " \n", user_data: "\n" })).toEqual({ cloud: null }));
  it("is what was said, text as it is", () =>
    expect(cloudOf({ ...none, enable: true, hostname: " h ", keys: "k1\n\n k2 ", user_data: "#cloud-config\n  a: 1\n", network: "version: 2" })).toEqual({
      cloud: { enable: true, hostname: "h", keys: [{ key: "k1" }, { key: "k2" }], user_data: "#cloud-config\n  a: 1\n", network: "version: 2" },
    }));
});

describe("what is asked ahead", () => {
  const answers = (...all: [status: number, body: string][]) =>
    vi.stubGlobal("fetch", vi.fn(() => {
      const [status, body] = all.shift() ?? [500, ""];
      return Promise.resolve(new Response(body, { status }));
    }));

  afterEach(() => vi.unstubAllGlobals());
  it("is the first answer, and no later one", async () => {
    answers([200, "1"], [200, "2"]);
    expect(await askAhead({ path: "/1.0/tasks" })).toBe(true);
    expect(await get("/1.0/tasks")).toBe(1);
    expect(fetch).toHaveBeenCalledTimes(1);
    expect(await get("/1.0/tasks")).toBe(2);
  });
  it("is forgotten when it has become old", async () => {
    vi.useFakeTimers();
    answers([200, "1"], [200, "2"]);
    await askAhead({ path: "/1.0/tasks" });
    vi.advanceTimersByTime(10_000);
    expect(await get("/1.0/tasks")).toBe(2);
    vi.useRealTimers();
  });
  it("is forgotten when nobody is logged in", async () => {
    answers([401, "{}"], [401, "{}"], [200, "2"]);
    expect(await askAhead({ path: "/1.0/self" })).toBe(false);
    await askAhead({ path: "/1.0/tasks" });
    await expect(get("/1.0/self")).rejects.toThrow();
    expect(await get("/1.0/tasks")).toBe(2);
  });
});

describe("a disk as a file", () => {
  const plain = { format: "vmdk", compress: false, disk: 0, snapshot: "" } as const;

  it("is one that the machine writes to, the image's clone first", () => {
    expect(exportable({ image: "debian", disks: [{ file: "/a", readonly: true }, { file: "/b" }] })).toEqual(["clone of image “debian”", "/b"]);
    expect(exportable({ disks: [{ file: "/a", readonly: true }] })).toEqual([]);
  });
  it("is asked for as the command does", () => {
    expect(exportCommand("web", plain)).toBe("socle export web web.vmdk");
    expect(exportCall("web", plain).body).toEqual({ format: "vmdk" });
    const all = { format: "qcow2", compress: true, disk: 1, snapshot: "a b" } as const;
    expect(exportCommand("web", all)).toBe("socle export web web.qcow2 --compress --disk 1 --snapshot 'a b'");
    expect(exportCall("web", all).body).toEqual({ format: "qcow2", compress: true, disk: 1, snapshot: "a b" });
  });
});

describe("a key's fingerprint", () => {
  it("is SHA-256 of its bytes", async () => {
    expect(await fingerprintOf("A".repeat(43) + "=")).toMatch(/^66:68:7A:AD:F8:62:BD:77(:[0-9A-F]{2}){24}$/);
  });
  it.each(["", "AAAA", "A".repeat(44), "A".repeat(42) + "==", "A".repeat(43) + "= "])("is none of %j", async (key) => {
    await expect(fingerprintOf(key)).rejects.toThrow();
  });
});
