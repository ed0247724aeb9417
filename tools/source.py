"""tools/source.py: what the lint scripts share: which files are ours, C without its comments, how a finding is printed."""

import os
import re
import subprocess
import sys

SKIPPED_DIRS = {".git", "build", ".cache", "node_modules", "__pycache__"}

# Comments, strings and character constants.  A quote after a hex digit is a digit separator (1'000), not a constant.
TOKEN = re.compile(
    r"/\*.*?\*/|//[^\n]*|\"(?:\\.|[^\"\\\n])*\"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])*'", re.DOTALL)


def is_git(root):
    return os.path.exists(os.path.join(root, ".git"))


def files(root):
    """Paths below root, sorted: tracked and new files where there is git, a walk elsewhere."""
    if is_git(root):
        git = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard"],
                             capture_output=True, text=True, check=False)
        if git.returncode == 0:
            return sorted(f for f in set(git.stdout.splitlines())
                          if os.path.isfile(os.path.join(root, f)))
    found = []
    for folder, dirs, names in os.walk(root):
        dirs[:] = [d for d in dirs if d not in SKIPPED_DIRS]
        found += [os.path.relpath(os.path.join(folder, n), root) for n in names]
    return sorted(found)


def read(root, path):
    """The text of a file, or None when it is not text."""
    with open(os.path.join(root, path), "rb") as f:
        raw = f.read()
    if b"\0" in raw:
        return None
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return None


def code_only(text, keep_strings=False):
    """C source with comments (and strings) blanked; every line stays where it is."""
    def blank(m):
        token = m.group(0)
        if keep_strings and token[0] != "/":
            return token
        if token[0] == "/":
            return re.sub(r"[^\n]", " ", token)
        return token[0] + " " * (len(token) - 2) + token[0]
    return TOKEN.sub(blank, text)


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


def report(name, findings, counted):
    """Prints what was found; the exit status."""
    for path, line, message in sorted(findings):
        print(f"{path}:{line}: {message}")
    if findings:
        print(f"{name}: {len(findings)} finding(s) in {counted} files", file=sys.stderr)
    return 1 if findings else 0
