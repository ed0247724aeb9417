#!/usr/bin/env python3
"""tools/tidy.py: the rules of the house that a compiler does not know.  `tools/tidy.py [ROOT]`

Each rule is one function in RULES or TREE_RULES with a test in tidy_test.py.  Where a rule would make a file worse, the line
(or the one above it) says `tidy: allow <rule>: <why>`.
"""

import os
import re
import subprocess
import sys

import source

FUNCTION_LINES_MAX = 70
FUNCTION_PARAMS_MAX = 6
FILE_LINES_MAX = 800
RATCHET = "tools/ratchet.txt"

# name: (what to use, path prefixes that may call it)
BANNED = {
    "strcpy": ("str_copy", ()), "strncpy": ("str_copy", ()), "stpcpy": ("str_copy", ()),
    "strcat": ("strbuf_add or str_fmt", ()), "strncat": ("strbuf_add or str_fmt", ()),
    "sprintf": ("str_fmt or str_new", ()), "vsprintf": ("str_fmt or str_new", ()),
    "asprintf": ("str_new", ()), "vasprintf": ("str_new", ("src/base/",)),
    "atoi": ("str_u64", ()), "atol": ("str_u64", ()), "atoll": ("str_u64", ()),
    "strtol": ("str_u64", ("src/base/",)), "strtoul": ("str_u64", ("src/base/",)),
    "strtoll": ("str_u64", ("src/base/",)), "strtoull": ("str_u64", ("src/base/",)),
    "strtok": ("strchr on our own copy", ()), "sscanf": ("str_u64 or a conf/ table", ()),
    "malloc": ("xnew or try_new", ("src/base/",)), "calloc": ("xnew or try_new", ("src/base/",)),
    "realloc": ("strbuf, xnew or try_new", ("src/base/",)),
    "strdup": ("xdup", ("src/base/",)), "strndup": ("xdup_mem", ("src/base/",)),
    "alloca": ("a fixed array or try_new", ()),
    "system": ("posix_spawn", ("src/testlib/",)), "popen": ("posix_spawn", ()),
    "gets": ("fd_pread_all or fgets", ()),
    "dup": ("fcntl(fd, F_DUPFD_CLOEXEC, 0)", ()), "dup2": ("dup3 with O_CLOEXEC where it can", ()),
    "usleep": ("a timer of the loop", ()), "sleep": ("a timer of the loop", ()), "nanosleep": ("a timer of the loop", ()),
    "assert": ("must (our bug) or an error (theirs)", ()),
    "exit": ("an error up to main, or _exit in a child", ("src/cmd/",)),
    "signal": ("sigaction or signalfd", ()), "rand": ("getrandom, or test_rand", ()),
    "random": ("getrandom, or test_rand", ()), "mktemp": ("mkostemp", ()), "tmpnam": ("mkostemp", ()),
}
BANNED_CALL = re.compile(r"(?<![\w.>])(" + "|".join(BANNED) + r")\s*\(")
VCPU_FOLDERS = tuple(f"src/{name}/" for name in ("base", "state", "mem", "cpu", "dev", "disk", "net", "vm"))
UNFINISHED = re.compile(r"\b(" + "|".join(("FIX" + "ME", "TO" + "DO", "X" * 3, "HA" + "CK")) + r")\b")
MACHINE_PATH = re.compile(r"(?<![\w.$})/-])/(?:work|home/\w+|Users/\w+|root/\w*)(?:/|\b)")
# Words by which the comment of a device's member says that the guest cannot see it, or that it follows from what is saved.
KEPT_OUT = r"\b(config|cfg|fixed|set once|host|counter|rebuilt|derived|statistics)"
TEXT = re.compile(r"(?:\.(?:c|h|S|s|asm|def|py|sh|md|txt|build|yaml|yml|json|options|service)|^Makefile|/Makefile|\.ci/run|/pre-commit)$")


class File:
    """One text file; what several rules need of it is computed once."""

    def __init__(self, path, text):
        self.path, self.text, self.lines = path, text, text.split("\n")
        self.is_c = bool(re.search(r"\.[ch]$", path))
        self.code = source.code_only(text) if self.is_c else ""
        self.code_lines = self.code.split("\n")
        self.is_test = bool(re.search(r"_(test|fuzz)\.[ch]$", path)) or path.startswith(("src/testlib/", "test/"))
        self.functions = list(functions(self.code_lines)) if self.is_c else []

    def allows(self, line, rule):
        near = self.lines[max(0, line - 2):line]
        return any(re.search(rf"tidy: allow {rule}: \S", x) for x in near)


def functions(code_lines):
    """(name, first line, lines of the body, parameters) of each function: its braces stand alone in column 0."""
    start = None
    for number, line in enumerate(code_lines, 1):
        if line.rstrip() == "{" and start is None:
            start = number
        elif line.startswith("}") and start is not None:
            head = signature(code_lines, start)
            yield head[0], start, number - start - 1, head[1]
            start = None


def signature(code_lines, brace):
    """Name and number of parameters of the function whose `{` is at line `brace` (from 1)."""
    first = brace - 1
    while first > 0 and code_lines[first - 1].strip() and not code_lines[first - 1].startswith(("}", "#")) \
            and not code_lines[first - 1].rstrip().endswith(";"):
        first -= 1
    text = re.sub(r"__attribute__\s*\(\(.*?\)\)|\[\[.*?\]\]", "", " ".join(code_lines[first:brace - 1]))
    m = re.search(r"(\w+)\s*\((.*)\)", text)
    if not m:
        return f"line {brace}", 0
    name = f"{m.group(1)}({m.group(2).strip()})" if m.group(1).isupper() else m.group(1)
    depth, params = 0, 1 if m.group(2).strip() not in ("", "void") else 0
    for c in m.group(2):
        depth += (c in "([") - (c in ")]")
        params += c == "," and depth == 0
    return name, params


# ---- rules about one file: each yields (line, message) ----

def rule_whitespace(f):
    tabs_ok = f.path.endswith(("Makefile", ".mk", ".S", ".txt"))
    for n, line in enumerate(f.lines, 1):
        if line.endswith((" ", "\t", "\r")):
            yield n, "trailing space"
        if "\t" in line and not tabs_ok:
            yield n, "tab; use spaces"
    if f.text and (not f.text.endswith("\n") or f.text.endswith("\n\n")):
        yield len(f.lines), "the file must end with exactly one line feed"


def rule_header(f):
    """The first comment names the file: it feeds doc/map.md, and a copied header is a lie."""
    in_source = f.is_c and f.path.startswith("src/")
    own = f.path[len("src/"):] if in_source else f.path
    head = "\n".join(f.lines[:4])
    if f.is_c:
        m = re.match(r"/\*\n? \*? ?([\w./+-]+): \S|/\* ([\w./+-]+): \S", head)
        if not m:
            yield 1, f"the first comment must be '{own}: <one sentence>'"
        elif (m.group(1) or m.group(2)) != own:
            yield 1, f"the first comment names '{m.group(1) or m.group(2)}'; this is '{own}'"
    elif f.path.endswith((".py", ".sh")) and own + ": " not in head:
        yield 1, f"the first comment must be '{own}: <one sentence>'"


def rule_banned(f):
    if not f.is_c:
        return
    for m in BANNED_CALL.finditer(f.code):
        use, free = BANNED[m.group(1)]
        line = source.line_of(f.code, m.start())
        if not f.path.startswith(tuple(free)) or not free:
            if not f.allows(line, "banned"):
                yield line, f"banned call: {m.group(1)}; use {use}"


def rule_float(f):
    """What runs on a vCPU's thread has the guest's MXCSR and x87 state in its registers (cpu/soft/fpu.h)."""
    if f.is_test or not f.path.startswith(VCPU_FOLDERS):
        return
    for n, line in enumerate(f.code_lines, 1):
        m = re.search(r"\b(float|double)\b", line)
        if m and not f.allows(n, "float"):
            yield n, f"{m.group(1)} where a vCPU's thread may come: calculate in integers"


def rule_comments(f):
    """Unfinished words; // comments."""
    if not f.path.endswith((".md", ".txt")):
        for n, line in enumerate(f.lines, 1):
            m = UNFINISHED.search(line)
            if m:
                yield n, f"'{m.group(1)}' on main: finish it, or file an issue and name its number"
    if f.is_c:
        for m in source.TOKEN.finditer(f.text):
            if m.group(0).startswith("//"):
                yield source.line_of(f.text, m.start()), "write /* */ comments"


def rule_machine_path(f):
    for n, line in enumerate(f.lines, 1):
        m = MACHINE_PATH.search(line)
        if m and not f.allows(n, "path"):
            yield n, f"'{m.group(0)}' is a path of one machine"


def rule_format_off(f):
    """`clang-format off` is for tables: closed in the same file, and no function inside."""
    off = None
    if not f.is_c:
        return
    for n, line in enumerate(f.lines, 1):
        m = re.search(r"clang-format (on|off)\b", line)
        if m and m.group(1) == "off":
            if off:
                yield n, f"clang-format is off already, since line {off}"
            off = n
        elif m:
            if not off:
                yield n, "clang-format was not off"
            off = None
        elif off and line.rstrip() == "{":
            yield n, "clang-format is off in a function; it is for tables only"
    if off:
        yield off, "clang-format off is never closed by clang-format on"


def rule_markdown(f):
    if not f.path.endswith(".md"):
        return
    fenced, titles = False, []
    for n, line in enumerate(f.lines, 1):
        if line.startswith("```"):
            fenced = not fenced
        elif line.startswith("# ") and not fenced:
            titles.append(n)
    first = next((n for n, line in enumerate(f.lines, 1) if line.strip()), 1)
    if titles != [first]:
        yield first, f"a markdown file begins with its one '# ' title; found {len(titles)}"


def rule_params(f):
    for name, line, _, params in f.functions:
        if params > FUNCTION_PARAMS_MAX and not f.allows(line, "params"):
            yield line, f"function {name} has {params} parameters; at most {FUNCTION_PARAMS_MAX}: pass a struct"


def rule_unsaved_state(f):
    """What the guest can observe comes from a state list, so that nothing unsaved can exist."""
    if not f.is_c or not f.path.startswith("src/") or f.path.startswith("src/state/") or f.is_test:
        return
    for m in re.finditer(r"^\s*struct (\w+_state)\s*\{", f.code, re.MULTILINE):
        line = source.line_of(f.code, m.start(1))
        if not f.allows(line, "unsaved state"):
            yield line, f"unsaved state: struct {m.group(1)} is written by hand; make it with a list and STATE_STRUCT"
    if f.path.startswith("src/dev/"):
        yield from unsaved_variables(f)
        yield from unsaved_members(f)


def unsaved_variables(f):
    variable = re.compile(r"^static (?!const\b|inline\b|_Noreturn\b|_Thread_local\b)[\w ]+[ *]+(?:const )?(\w+)(?:\[[^\]]*\])*\s*(?:;|=[^=])")
    for n, line in enumerate(f.code_lines, 1):
        m = variable.match(line)
        if m and " const " not in line.replace("*const ", " const ") and not f.allows(n, "unsaved state"):
            yield n, f"unsaved state: variable {m.group(1)} outlives the machine and is in no state list"


def unsaved_members(f):
    """A number beside the state list in a device's own struct: its comment must say why a guest does not see it change."""
    member = re.compile(r"^    (?:u8|u16|u32|u64|s8|s16|s32|s64|bool|int|unsigned) ([^;(]+);")
    for m in re.finditer(r"^struct (\w+) \{$", f.code, re.MULTILINE):
        first = source.line_of(f.code, m.start())
        last = next((n for n in range(first, len(f.lines)) if f.code_lines[n].startswith("}")), first)
        if not any(re.match(r"    struct (?:device|vdev|pci_fn) \w+;", x) for x in f.code_lines[first:last]):
            continue
        about = ""  # the comment that stands before a group of members
        for n in range(first + 1, last + 1):
            line, hit = f.lines[n - 1], member.match(f.code_lines[n - 1])
            if not line.strip() or line.strip().startswith("/*"):
                about = line
            if hit and not re.search(KEPT_OUT, about + line, re.IGNORECASE) and not f.allows(n, "unsaved state"):
                yield n, (f"unsaved state: {hit.group(1)} of struct {m.group(1)} is in no state list; move it there, or say "
                          "in its comment what it is (config, fixed, host, counter) or from what it is rebuilt")


RULES = [rule_whitespace, rule_header, rule_banned, rule_float, rule_comments, rule_machine_path, rule_format_off, rule_markdown,
         rule_params, rule_unsaved_state]


# ---- rules about the whole tree: each yields (path, line, message) ----

def tree_ratchet(root, tree):
    """Long functions and files, against the ratchet, which may only shrink."""
    text = source.read(root, RATCHET) if os.path.exists(os.path.join(root, RATCHET)) else ""
    allowed, lines = ratchet_parse(text), {}
    for n, line in enumerate(text.split("\n"), 1):
        lines[" ".join(line.split()[:-1])] = n
    seen = {}
    for f in tree.values():
        if f.path.endswith((".c", ".h", ".py", ".sh")):
            seen[f"file {f.path}"] = (len(f.lines) - 1, FILE_LINES_MAX, f.path, 1)
        for name, line, length, _ in f.functions:
            key = f"function {f.path} {name.replace(' ', '')}"
            if length > seen.get(key, (0,))[0]:
                seen[key] = (length, FUNCTION_LINES_MAX, f.path, line)
    for key, (length, limit, path, line) in seen.items():
        have = allowed.get(key)
        if length > max(limit, have or 0):
            what = key.split(" ", 2)[2] if key.startswith("function") else "this file"
            yield path, line, f"{what} has {length} lines; at most {limit}" + (f" ({have} in {RATCHET})" if have else "")
    for key, have in allowed.items():
        length, limit = seen.get(key, (0, FILE_LINES_MAX))[:2]
        if length <= limit:
            yield RATCHET, lines.get(key, 1), f"'{key}' needs no entry: remove it"
        elif have > length:
            yield RATCHET, lines.get(key, 1), f"'{key}' has {length} lines now: lower {have}"
    before = ratchet_before(root)
    for key, have in allowed.items():
        if before is not None and have > before.get(key, 0):
            yield RATCHET, lines.get(key, 1), f"'{key}' grew from {before.get(key, 0)} to {have}: the ratchet only shrinks"


def ratchet_parse(text):
    rows = [line.split() for line in text.split("\n") if line.strip() and not line.startswith("#")]
    return {" ".join(r[:-1]): int(r[-1]) for r in rows if r[-1].isdigit()}


def ratchet_before(root):
    """The ratchet as committed; None where that cannot be known."""
    if not source.is_git(root):
        return None
    git = subprocess.run(["git", "-C", root, "show", f"HEAD:{RATCHET}"], capture_output=True, text=True, check=False)
    return ratchet_parse(git.stdout) if git.returncode == 0 else None


def tree_dead(root, tree):
    """A .c that no meson.build names; a .h that nobody includes; a header without #pragma once."""
    built = set()
    for f in tree.values():
        if f.path.endswith("meson.build"):
            folder = os.path.dirname(f.path)
            for name in re.findall(r"'([\w./+-]+)'", re.sub(r"#.*", "", f.text)):
                built.add(os.path.normpath(os.path.join(folder, name)))
                built.add(os.path.normpath(os.path.join(folder, name + "_fuzz.c")))
    included = set()
    for f in tree.values():
        if f.path.endswith((".c", ".h", ".S", ".def")):
            included.update(re.findall(r'^\s*#\s*include\s+"([^"]+)"', f.text, re.MULTILINE))
    for f in tree.values():
        if not f.path.startswith("src/"):
            continue
        if f.path.endswith(".c") and f.path not in built and f.path[4:] not in included:
            yield f.path, 1, "dead file: no meson.build names it"
        if f.path.endswith(".h") and f.path[4:] not in included:
            yield f.path, 1, "dead file: nobody includes it"
        if f.path.endswith(".h") and "#pragma once" not in f.text and "No #pragma once" not in f.text:
            yield f.path, 1, "header without #pragma once"


def tree_fuzz(root, tree):
    """Every fuzz target has seeds, and FUZZ(name) is named after its file."""
    for f in tree.values():
        m = re.match(r"src/.*?([\w-]+)_fuzz\.c$", f.path)
        if not m or "FUZZ(" not in f.code:
            continue
        name = m.group(1)
        corpus = f"fuzz/corpus/{name}/"
        if f"FUZZ({name})" not in f.code:
            yield f.path, 1, f"the target of this file is FUZZ({name})"
        folder = os.path.join(root, corpus)
        if not os.path.isdir(folder) or not any(not n.startswith(".") for n in os.listdir(folder)):
            yield f.path, 1, f"no seed in {corpus}"


def tree_state(root, tree):
    """Every state list has a table that somebody saves, and every register lies in one."""
    lists, tables, used = {}, set(), set()
    ours = [f for f in tree.values() if f.is_c and f.path.startswith("src/") and not f.path.startswith("src/state/") and not f.is_test]
    for f in ours:
        tables.update(re.findall(r"^STATE_TABLE\w*\(\s*(\w+)", f.code, re.MULTILINE))
        used.update(re.findall(r"\bF\(S, SUB, (\w+)", f.code))
        used.update(re.findall(r"\bSTATE_PART\([^()]*, (\w+)\)", f.code))
        used.update(re.findall(r"\b(\w+)_def\b", f.code))
        for m in re.finditer(r"^STATE_STRUCT\w*\(\s*(\w+)", f.code, re.MULTILINE):
            lists[m.group(1)] = (f.path, source.line_of(f.code, m.start()))
    for name, (path, line) in lists.items():
        if name not in tables:
            yield path, line, f"unsaved state: STATE_STRUCT({name}) has no STATE_TABLE({name})"
        elif name not in used:
            yield path, line, f"unsaved state: no STATE_PART, no SUB row and no {name}_def saves struct {name}"
    for f in ours:
        yield from register_home(f, lists, ours)


def register_home(f, lists, ours):
    """REG(offset, type, member, …): the guest reads and writes the member, so it must lie in a state list."""
    for m in re.finditer(r"^\s*REG\([^,]+,\s*(\w+),\s*([\w.]+)", f.code, re.MULTILINE):
        head = m.group(2).split(".")[0]
        body = next((b for g in ours for b in re.findall(rf"^struct {m.group(1)} \{{\n(.*?)^\}}", g.code, re.MULTILINE | re.DOTALL)), "")
        kind = re.search(rf"\bstruct (\w+) {head};", body)
        if m.group(1) not in lists and (not kind or kind.group(1) not in lists):
            line = source.line_of(f.code, m.start(1))
            yield f.path, line, f"unsaved state: register {m.group(2)} of struct {m.group(1)} lies outside of its state list"


TREE_RULES = [tree_ratchet, tree_dead, tree_fuzz, tree_state]


def check(root):
    """Findings (path, line, message) and the number of files looked at."""
    tree = {}
    for path in source.files(root):
        if TEXT.search(path) and not path.startswith("fuzz/corpus/"):
            text = source.read(root, path)
            if text is not None:
                tree[path] = File(path, text)
    findings = [(f.path, line, message) for f in tree.values() for rule in RULES for line, message in rule(f)]
    for rule in TREE_RULES:
        findings += rule(root, tree)
    return findings, len(tree)


def main():
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    findings, counted = check(sys.argv[1] if len(sys.argv) > 1 else here)
    return source.report("tidy", findings, counted)


if __name__ == "__main__":
    sys.exit(main())
