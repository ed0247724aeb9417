"""tools/tidy_test.py: every rule of tidy.py finds what was planted for it, and leaves the clean twin alone."""

import os
import subprocess
import tempfile
import unittest

import tidy

HEAD = "/*\n * dev/a.c: an example.\n */\n"
BUILD = "sources = files('a.c')\n"


def function(lines, name="f"):
    return f"int {name}(void)\n{{\n" + "    step();\n" * lines + "}\n"


class TidyTest(unittest.TestCase):
    def found(self, files):
        """The messages for a tree of {path: text}."""
        with tempfile.TemporaryDirectory() as root:
            for path, text in files.items():
                full = os.path.join(root, path)
                os.makedirs(os.path.dirname(full), exist_ok=True)
                with open(full, "w", encoding="utf-8") as f:
                    f.write(text)
            return [f"{p}:{line}: {m}" for p, line, m in sorted(tidy.check(root)[0])]

    def c(self, body, head=HEAD, **more):
        return self.found({"src/dev/a.c": head + body, "src/dev/meson.build": BUILD, **more})

    def has(self, found, part):
        self.assertTrue(any(part in x for x in found), f"want '{part}' in {found}")

    def clean(self, found):
        self.assertEqual(found, [])

    def test_clean_file(self):
        self.clean(self.c(function(3)))

    def test_whitespace(self):
        self.has(self.c("int a; \n"), "src/dev/a.c:4: trailing space")
        self.has(self.c("\tint a;\n"), "tab; use spaces")
        self.has(self.c("int a;"), "exactly one line feed")
        self.has(self.c("int a;\n\n"), "exactly one line feed")

    def test_first_comment(self):
        self.has(self.c("int a;\n", head="/*\n * dev/b.c: a copy.\n */\n"), "names 'dev/b.c'")
        self.has(self.c("int a;\n", head=""), "must be 'dev/a.c: <one sentence>'")
        self.has(self.found({"tools/x.py": '"""wrong."""\n'}), "must be 'tools/x.py: <one sentence>'")
        self.clean(self.found({"tools/x.py": '"""tools/x.py: right."""\n'}))

    def test_banned_calls(self):
        self.has(self.c("    strcpy(a, b);\n"), "src/dev/a.c:4: banned call: strcpy; use str_copy")
        self.has(self.c("    usleep(5);\n"), "use a timer of the loop")
        self.has(self.c("    assert(x);\n"), "use must")
        self.clean(self.c("    static_assert(1);\n    p->exit(q);\n    log(\"use exit(1)\"); /* strcpy(a, b) */\n"))
        self.clean(self.c("    dup(a); /* tidy: allow banned: the child wants it without close-on-exec */\n"))

    def test_banned_call_where_it_is_free(self):
        files = {"src/base/a.c": "/*\n * base/a.c: an example.\n */\nint a = malloc(3);\n", "src/base/meson.build": BUILD}
        self.clean(self.found(files))

    def test_floating_point(self):
        self.has(self.c("    double x = 1;\n"), "src/dev/a.c:4: double where a vCPU's thread may come")
        self.clean(self.c("    u64 doubled = 2; /* not a double */\n"))

    def test_unfinished_and_line_comments(self):
        self.has(self.c("/* " + "TO" + "DO later */\n"), "on main: finish it")
        self.has(self.c("int a; // why\n"), "src/dev/a.c:4: write /* */ comments")
        self.clean(self.c('const char *u = "http://example.org/";\nint n = 1\'000;\n'))

    def test_machine_path(self):
        self.has(self.found({"tools/x.sh": "# tools/x.sh: an example.\ncat /" + "work/main/x\n"}), "path of one machine")
        self.clean(self.found({"tools/x.sh": "# tools/x.sh: an example.\ncat $T/work/x ./root/x\n"}))

    def test_format_off(self):
        self.has(self.c("/* clang-format off */\nint a;\n"), "never closed")
        self.has(self.c("/* clang-format off */\n" + function(1) + "/* clang-format on */\n"), "tables only")
        self.has(self.c("/* clang-format on */\n"), "was not off")
        self.clean(self.c("/* clang-format off */\nconst int t[] = { 1 };\n/* clang-format on */\n"))

    def test_markdown(self):
        self.has(self.found({"a.md": "# One\n\n# Two\n"}), "found 2")
        self.has(self.found({"a.md": "text\n\n# Late\n"}), "a.md:1:")
        self.clean(self.found({"a.md": "# One\n\n```sh\n# a comment\n```\n"}))

    def test_long_function(self):
        self.clean(self.c(function(70)))
        self.has(self.c(function(71)), "src/dev/a.c:5: f has 71 lines; at most 70")

    def test_many_parameters(self):
        self.clean(self.c("int f(int a, int b, int c, int d, int e, int (*g)(int, int))\n{\n}\n"))
        self.has(self.c("int f(int a, int b, int c,\n      int d, int e, int g, int h)\n{\n}\n"), "f has 7 parameters")

    def test_long_file(self):
        self.has(self.c("int a;\n" * 800), "this file has 803 lines")

    def test_ratchet(self):
        long = {"src/dev/a.c": HEAD + function(80), "src/dev/meson.build": BUILD}
        entry = "function src/dev/a.c f "
        self.clean(self.found({**long, "tools/ratchet.txt": entry + "80\n"}))
        self.has(self.found({**long, "tools/ratchet.txt": entry + "79\n"}), "80 lines; at most 70 (79 in")
        self.has(self.found({**long, "tools/ratchet.txt": entry + "90\n"}), "ratchet.txt:1: 'function src/dev/a.c f' has 80 lines now: lower 90")
        short = {"src/dev/a.c": HEAD + function(8), "src/dev/meson.build": BUILD}
        self.has(self.found({**short, "tools/ratchet.txt": entry + "80\n"}), "needs no entry")

    def test_ratchet_may_not_grow(self):
        with tempfile.TemporaryDirectory() as root:
            def git(*args):
                subprocess.run(["git", "-C", root, "-c", "user.name=t", "-c", "user.email=t@t", *args],
                               check=True, capture_output=True)

            def write(path, text):
                os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
                with open(os.path.join(root, path), "w", encoding="utf-8") as f:
                    f.write(text)
            write("src/dev/a.c", HEAD + function(80))
            write("src/dev/meson.build", BUILD)
            write("tools/ratchet.txt", "function src/dev/a.c f 80\n")
            git("init", "-q")
            git("add", ".")
            git("commit", "-q", "-m", "t")
            self.assertEqual(tidy.check(root)[0], [])
            write("src/dev/a.c", HEAD + function(90))
            write("tools/ratchet.txt", "function src/dev/a.c f 90\n")
            self.assertIn("grew from 80 to 90", tidy.check(root)[0][0][2])

    def test_dead_files(self):
        self.has(self.found({"src/dev/a.c": HEAD, "src/dev/meson.build": "sources = files('b.c')\n"}), "no meson.build names it")
        header = "/*\n * dev/a.h: an example.\n */\n#pragma once\n"
        self.has(self.found({"src/dev/a.h": header}), "nobody includes it")
        self.clean(self.c('#include "dev/a.h"\n', **{"src/dev/a.h": header}))
        self.has(self.c('#include "dev/a.h"\n', **{"src/dev/a.h": header.replace("#pragma once\n", "")}), "without #pragma once")

    def test_fuzz_seeds(self):
        fuzz = {"src/dev/x_fuzz.c": "/*\n * dev/x_fuzz.c: an example.\n */\nFUZZ(x)\n{\n}\n", "src/dev/meson.build": "fuzzers = ['x']\n"}
        self.has(self.found(fuzz), "no seed in fuzz/corpus/x/")
        self.clean(self.found({**fuzz, "fuzz/corpus/x/one": "seed"}))
        wrong = {k: v.replace("FUZZ(x)", "FUZZ(y)") for k, v in fuzz.items()}
        self.has(self.found({**wrong, "fuzz/corpus/x/one": "seed"}), "is FUZZ(x)")

    def test_unsaved_state_member(self):
        """A planted member that no list knows: as a struct of its own, as a list without a table, as a variable."""
        self.has(self.c("struct wdt_state {\n    int armed;\n};\n"), "src/dev/a.c:4: unsaved state: struct wdt_state")
        self.has(self.c("STATE_STRUCT(wdt_state, WDT);\n"), "has no STATE_TABLE(wdt_state)")
        self.has(self.c("static int armed;\n"), "unsaved state: variable armed")
        self.has(self.c("static struct wdt *all[3] = {};\n"), "unsaved state: variable all")
        self.clean(self.c("STATE_STRUCT(wdt_state, WDT);\nSTATE_TABLE(wdt_state, WDT);\nstruct wdt_state;\n"
                          "static const int limit = 3;\nstatic int f(void);\nint n = STATE_PART(wdt, s, wdt_state);\n"))
        self.clean(self.c("/* tidy: allow unsaved state: of the host's clock, not the guest's */\nstatic int skew;\n"))

    def test_state_that_nobody_saves(self):
        self.has(self.c("STATE_STRUCT(wdt_state, WDT);\nSTATE_TABLE(wdt_state, WDT);\n"), "saves struct wdt_state")

    def test_unsaved_member_of_a_device(self):
        device = "STATE_STRUCT(wdt_state, WDT);\nSTATE_TABLE(wdt_state, WDT);\nstruct wdt {\n    struct device dev;\n" \
                 "    struct wdt_state state;\n%s};\nint n = STATE_PART(wdt, state, wdt_state) + REG(0x4, wdt, %s, .rw = 1);\n"
        self.clean(self.c(device.replace(" + REG", "\n    REG") % ("    int fd; /* of the host */\n", "state.ctrl")))
        group = "    /* Set once, by wdt_start. */\n    u8 slot;\n    u8 line;\n"
        self.clean(self.c(device.replace(" + REG", "\n    REG") % (group, "state.ctrl")))
        self.has(self.c(device % (group + "\n    u8 late;\n", "state.ctrl")), "unsaved state: late")
        self.has(self.c(device % ("    u32 armed;\n", "state.ctrl")), "src/dev/a.c:9: unsaved state: armed of struct wdt")
        self.has(self.c(device.replace(" + REG", "\n    REG") % ("", "ctrl")), "unsaved state: register ctrl of struct wdt")

    def test_this_tree_has_nothing_odd_in_the_banned_list(self):
        self.assertEqual([n for n in tidy.BANNED if not n.isidentifier()], [])


if __name__ == "__main__":
    unittest.main()
