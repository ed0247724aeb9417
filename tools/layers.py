#!/usr/bin/env python3
"""tools/layers.py: fails on an #include that layers.txt does not list.  `tools/layers.py [ROOT]`"""

import os
import re
import sys

import source

INCLUDE = re.compile(r'^[ \t]*#[ \t]*(?:include|define[ \t]+TRACE_DEF)[ \t]+("[^"\n]+"|<[^>\n]+>)', re.MULTILINE)


class Layers:
    def __init__(self, text):
        self.may = {}       # folder → set of folders
        self.only = []      # (what is included, the places that may)
        self.errors = []    # (line, message)
        for number, line in enumerate(text.splitlines(), 1):
            cells = [c.strip() for c in line.split("|")]
            if line.startswith("#") or not line.strip():
                continue
            if len(cells) == 2:
                self.only.append((cells[0], cells[1].split()))
            elif len(cells) == 3:
                self.add(number, cells[0], cells[1].split())
            else:
                self.errors.append((number, "want 'folder | may include | purpose' or 'header | only from'"))

    def add(self, number, folder, allowed):
        if folder in self.may:
            self.errors.append((number, f"folder '{folder}' is listed twice"))
        if allowed == ["*"]:
            allowed = list(self.may)
        for a in allowed:
            if a not in self.may:
                self.errors.append((number, f"'{folder}' lists '{a}', which is not above it: a cycle, or a typo"))
        self.may[folder] = set(allowed)

    def verdict(self, path, what):
        """Why the file src/`path` may not include `what` (quotes or brackets included); None when it may."""
        folder, name = path.split("/")[0], what[1:-1]
        for target, places in self.only:
            hit = what == target or (target.endswith("/") and name.startswith(target))
            if hit and not any(path.startswith(place + "/") for place in places):
                return f"{what} may be included only from src/ {' '.join(places)}"
        if what[0] == "<":
            return None
        if "/" not in name:
            return f"write the include from the root: \"{folder}/{name}\""
        to = name.split("/")[0]
        allowed = self.may[folder] | {folder}
        if re.search(r"_(test|fuzz)\.[ch]$", path):
            allowed = allowed | {"testlib"}
        if to not in allowed:
            return f"{folder} may not include \"{name}\"; allowed: {' '.join(sorted(allowed))}"
        return None


def check(root):
    """Findings (path, line, message) and the number of files looked at."""
    layers = Layers(source.read(root, "layers.txt"))
    findings = [("layers.txt", n, m) for n, m in layers.errors]
    paths = [p for p in source.files(root) if p.startswith("src/") and re.search(r"\.(c|h|def)$", p)]
    for path in paths:
        inner = path[len("src/"):]
        if "/" not in inner or inner.split("/")[0] not in layers.may:
            findings.append((path, 1, f"folder of '{path}' has no line in layers.txt"))
            continue
        text = source.code_only(source.read(root, path) or "", keep_strings=True)
        for m in INCLUDE.finditer(text):
            why = layers.verdict(inner, m.group(1))
            if why:
                findings.append((path, source.line_of(text, m.start()), f"layers: {why}"))
    return findings, len(paths)


def main():
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    findings, counted = check(sys.argv[1] if len(sys.argv) > 1 else here)
    return source.report("layers", findings, counted)


if __name__ == "__main__":
    sys.exit(main())
