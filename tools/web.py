#!/usr/bin/env python3
"""tools/web.py: builds the console in web/ and writes its files as a C table: tools/web.py OPENAPI_PROGRAM OUT.c DEPFILE
Without arguments it only installs what web/package-lock.json names, which tests need.

npm and Vite take most of a minute, so what they make is kept in .cache/web under a hash of all that it is made of (sources, lock file,
the API's document, this program), which every build tree shares.  Nothing runs when the hash is known.
"""

import contextlib
import fcntl
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WEB = os.path.join(ROOT, "web")
CACHE = os.path.join(ROOT, ".cache/web")
KEPT = 8
SKIPPED = {"node_modules", "gen", "dist"}
TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
         ".json": "application/json", ".svg": "image/svg+xml", ".woff2": "font/woff2", ".png": "image/png"}
PACKED = {".html", ".js", ".css", ".json", ".svg"}


def sources():
    """Files that the console is made of, and the folders they are in, so that a new file is seen, too."""
    files, folders = [], []
    for folder, names, here in os.walk(WEB):
        names[:] = sorted(n for n in names if n not in SKIPPED)
        if folder != WEB:  # npm changes the time of that one
            folders.append(folder)
        files += [os.path.join(folder, n) for n in sorted(here)]
    return files, folders


def key_of(files, document):
    h = hashlib.sha256(document)
    for path in files + [os.path.abspath(__file__)]:
        with open(path, "rb") as f:
            data = f.read()
        h.update(f"{os.path.relpath(path, ROOT)} {len(data)}\n".encode() + data)
    return h.hexdigest()[:32]


def run(*command, hint=""):
    done = subprocess.run(command, cwd=WEB, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        sys.stderr.write(done.stdout.decode(errors="replace"))
        sys.exit(f"web: {' '.join(command)} failed{hint}")


def install():
    """What the lock file names, unless it is there.  Under the lock."""
    for program in ("node", "npm"):
        if not shutil.which(program):
            sys.exit(f"web: '{program}' is missing, which the console in the browser is built with; run `tools/deps.sh build`")
    lock, stamp = os.path.join(WEB, "package-lock.json"), os.path.join(WEB, "node_modules/.socle-lock")
    with open(lock, "rb") as f:
        want = hashlib.sha256(f.read()).hexdigest()
    if os.path.exists(stamp):
        with open(stamp, encoding="ascii") as f:
            if f.read() == want:
                return
    run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", hint="; it fetches what web/package-lock.json names: is there a network?")
    with open(stamp, "w", encoding="ascii") as f:
        f.write(want)


def build(document, dist):
    install()
    os.makedirs(os.path.join(WEB, "gen"), exist_ok=True)
    with open(os.path.join(WEB, "gen/openapi.json"), "wb") as f:
        f.write(document)
    run("node_modules/.bin/openapi-typescript", "gen/openapi.json", "--output", "gen/api.ts")
    run("node_modules/.bin/tsc", "--noEmit")
    run("node_modules/.bin/vite", "build", "--outDir", dist, "--emptyOutDir")


def table(dist):
    """The C file.  The same files give the same bytes."""
    rows, arrays = [], []
    for folder, names, here in os.walk(dist):
        names.sort()
        for name in sorted(here):
            path, ending = os.path.join(folder, name), os.path.splitext(name)[1]
            with open(path, "rb") as f:
                data = f.read()
            tag = hashlib.sha256(data).hexdigest()[:20]
            if ending in PACKED:
                data = gzip.compress(data, 9, mtime=0)
            at = "/" + os.path.relpath(path, dist)
            fixed = "true" if at.startswith("/assets/") else "false"
            packed = "true" if ending in PACKED else "false"
            rows.append(f'    {{ "{at}", "{TYPES[ending]}", "\\"{tag}\\"", {fixed}, {packed}, {len(data)}, file_{len(rows)} }},')
            lines = "\n".join(",".join(map(str, data[i:i + 32])) + "," for i in range(0, len(data), 32))
            arrays.append(f"static const u8 file_{len(arrays)}[] = {{\n{lines}\n}};\n")
    return ("/* web_files.c: the console's files.  Made by tools/web.py. */\n#include \"api/web.h\"\n\n" + "".join(arrays) +
            "\nconst struct web_file web_files[] = {\n" + "\n".join(rows) + "\n    {},\n};\n")


def forget_old():
    kept = sorted((f.path for f in os.scandir(CACHE) if f.name.endswith(".c")), key=os.path.getmtime, reverse=True)
    for path in kept[KEPT:]:
        os.unlink(path)


@contextlib.contextmanager
def locked():
    os.makedirs(CACHE, exist_ok=True)
    with open(os.path.join(CACHE, "lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main(program, out, depfile):
    document = subprocess.run([program], stdout=subprocess.PIPE, check=True).stdout
    files, folders = sources()
    made = os.path.join(CACHE, key_of(files, document) + ".c")
    with locked():
        if not os.path.exists(made):
            with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
                build(document, os.path.join(scratch, "dist"))
                with open(os.path.join(scratch, "c"), "w", encoding="ascii") as f:
                    f.write(table(os.path.join(scratch, "dist")))
                os.rename(os.path.join(scratch, "c"), made)
        os.utime(made)
        forget_old()
        shutil.copyfile(made, out)
    with open(depfile, "w", encoding="utf-8") as f:
        f.write(os.path.basename(out) + ": " + " ".join(p.replace(" ", "\\ ") for p in files + folders) + "\n")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        with locked():
            install()
    elif len(sys.argv) == 4:
        main(*sys.argv[1:])
    else:
        sys.exit(__doc__)
