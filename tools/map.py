#!/usr/bin/env python3
"""tools/map.py: writes doc/map.md, one line for each source file, out of layers.txt and the files' first comments.

With --check it writes nothing and fails when the file is not what it would write.
"""

import os
import re
import sys

import source


def purpose(text):
    """The sentence after the path in a file's first comment."""
    head = text[:text.find("*/")] if text.startswith("/*") else ""
    words = " ".join(re.sub(r"^\s*(/\*|\*)\s?", "", line) for line in head.split("\n"))
    m = re.match(r"\s*\S+: (.*?)(?:[.](?:\s|$)|$)", words.strip())
    return m.group(1).strip() if m else ""


def folders(root):
    for line in source.read(root, "layers.txt").splitlines():
        cells = [c.strip() for c in line.split("|")]
        if len(cells) == 3 and not line.startswith("#"):
            yield cells[0], cells[2]


def render(root):
    paths = [p for p in source.files(root) if re.match(r"src/.*\.[ch]$", p)]
    out = ["# Map of the sources", "", "Made by `make map` out of `layers.txt` and each file's first comment.", ""]
    for folder, what in folders(root):
        mine = [p for p in paths if p.startswith(f"src/{folder}/")]
        if not mine:
            continue
        out += [f"## {folder}: {what}", "", "| file | what it is |", "|---|---|"]
        out += [f"| {p[len('src/'):]} | {purpose(source.read(root, p)).replace('|', chr(92) + '|')} |" for p in mine]
        out.append("")
    return "\n".join(out)


def main(args):
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = os.path.join(root, "doc/map.md")
    if args == ["--check"]:
        have = source.read(root, path) if os.path.exists(path) else ""
        if have != render(root):
            print("doc/map.md is not up to date: run `make map`")
            return 1
        return 0
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(render(root))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
