#!/usr/bin/env python3
"""tools/check.py: `make check`.  Builds, runs every test, says little unless something fails.

    tools/check.py                   gcc with address and undefined sanitizers, clang, a release build, lint, python and whole-system tests
    tools/check.py --full            and the thread sanitizer, clang-tidy on all files
    tools/check.py --unit-only DIR   only the test programs of one build tree

What failed is shown in full.  The last line is alone: `N passed, N failed, N skipped`; the status is 0 when none failed.
"""

import concurrent.futures
import json
import os
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TSAN_SUITES = {"base", "mem", "dev", "disk", "net", "vm", "host", "api"}
TEST_SECONDS_MAX = 300
SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=1:halt_on_error=1:abort_on_error=0",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1",
}
CMOCKA = {
    "passed": re.compile(r"^\[  PASSED  \] (\d+) test", re.MULTILINE),
    "failed": re.compile(r"^\[  FAILED  \] [^\n]*?(\d+) test\(s\), listed", re.MULTILINE),
    "skipped": re.compile(r"^\[  SKIPPED \] [^\n]*?(\d+) test\(s\), listed", re.MULTILINE),
}


class Sum:
    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def add(self, passed, failed, skipped, what, output=""):
        self.passed += passed
        self.failed += failed
        self.skipped += skipped
        if failed:
            print(f"--- FAILED: {what}\n{output.rstrip()}", flush=True)

    def step(self, what, *command, env=None):
        """A command that passes or fails as one test; whether it passed."""
        status, output = run(command, env)
        self.add(status == 0, status != 0, 0, what, output)
        return status == 0


def run(command, env=None, seconds=3600):
    """Status and output of a command; a negative status when a signal ended it, or -1000 when time did."""
    try:
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, **SANITIZERS, **(env or {})}, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as late:
        return -1000, (late.stdout or b"").decode(errors="replace") + f"\nstill running after {seconds} s\n"
    except OSError as e:
        return 127, f"{command[0]}: {e.strerror}\n"
    return done.returncode, done.stdout.decode(errors="replace")


def cmocka_counts(status, output):
    """(passed, failed, skipped) of one test program.  One that dies counts as one failure more than it reported."""
    if not CMOCKA["passed"].search(output):
        return len(re.findall(r"^\[       OK \]", output, re.MULTILINE)), 1, 0
    passed, failed, skipped = (int(m.group(1)) if (m := CMOCKA[k].search(output)) else 0 for k in CMOCKA)
    if status != 0 and failed == 0:
        failed = 1  # a leak, found after the last test
    if passed + failed + skipped == 0:
        failed = 1  # a program without tests is a mistake in a meson.build
    return passed, failed, skipped


def skip_reasons(name, output):
    """A line for each test that a program left out, with the reason that it printed (test_skip in src/testlib)."""
    return [f"skipped: {name}: {why}" for why in re.findall(r"^ +skipped: (.*)", output, re.MULTILINE)]


def unittest_counts(status, output):
    """(passed, failed, skipped) of `python3 -m unittest`."""
    ran = re.search(r"^Ran (\d+) test", output, re.MULTILINE)
    if not ran:
        return 0, 1, 0
    count = {k: sum(int(n) for n in re.findall(rf"{k}=(\d+)", output)) for k in ("failures", "errors", "skipped")}
    failed = max(count["failures"] + count["errors"], int(status != 0))
    return max(int(ran.group(1)) - failed - count["skipped"], 0), failed, count["skipped"]


def closing_counts(status, output):
    """(passed, failed, skipped) of a script that closes as this one does."""
    m = re.search(r"(\d+) passed, (\d+) failed, (\d+) skipped\s*$", output)
    if not m:
        return 0, 1, 0
    passed, failed, skipped = (int(x) for x in m.groups())
    return passed, max(failed, int(status != 0)), skipped


def program(test):
    """Runs one test program of a build tree: its name, counts and output."""
    status, output = run(test["cmd"], env=test["env"], seconds=min(test["timeout"], TEST_SECONDS_MAX))
    if "fuzz" in "".join(test["suite"]):
        return test["name"], (status == 0, status != 0, 0), output
    return test["name"], cmocka_counts(status, output), output


def unit_tests(total, build, only=None):
    """Every test program that meson knows of in a build tree, a few at a time."""
    status, output = run(["meson", "introspect", build, "--tests"])
    if status != 0:
        total.add(0, 1, 0, f"{build}: list of tests", output)
        return
    tests = [t for t in json.loads(output) if only is None or t["name"] in only]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, counts, output in pool.map(program, tests):
            total.add(*counts, f"{build}: {name}", output)
            for line in skip_reasons(name, output):
                print(line, flush=True)


def build_tree(total, tree):
    return total.step(f"build {tree}", "tools/build.sh", tree, "all", "meson-test-prereq")


def system_tests(total, full):
    folder = os.path.join(ROOT, "test/sys")
    if not os.path.isdir(folder) or not any(n.endswith(".sh") for n in os.listdir(folder)):
        return
    env = {"SOCLE_BUILD": os.path.join(ROOT, "build/rel"), **({"SOCLE_FULL": "1"} if full else {})}
    status, output = run(["test/run.sh"], env=env, seconds=7200)
    total.add(*closing_counts(status, output), "whole-system tests", output)
    for line in re.findall(r"^skipped: .*", output, re.MULTILINE):
        print(line)


def everything(total, full):
    def say(what):
        print(f"[{time.monotonic() - start:4.0f} s] {what}", flush=True)

    start = time.monotonic()
    say("lint")
    for part in ("layers", "house", "map", "format", "spelling"):
        total.step(f"lint {part}", "tools/lint.sh", part)
    status, output = run([sys.executable, "-m", "unittest", "discover", "-s", "tools", "-p", "*_test.py"])
    total.add(*unittest_counts(status, output), "tests of tools/", output)
    say("gcc, address and undefined sanitizers: unit tests, fuzz corpora")
    if build_tree(total, "asan"):
        unit_tests(total, "build/asan")
    say("clang")
    build_tree(total, "clang")
    if full:
        say("thread sanitizer")
        if build_tree(total, "tsan"):
            unit_tests(total, "build/tsan", TSAN_SUITES)
        say("clang-tidy on all files")
        if build_tree(total, "dev"):
            total.step("clang-tidy", "tools/lint.sh", "tidy", env={"ALL": "1"})
    say("release build")
    if build_tree(total, "rel"):  # optimized otherwise, gcc sees other mistakes, and it links otherwise
        say("whole-system tests of the release build")
        system_tests(total, full)


def main(args):
    total = Sum()
    if args[:1] == ["--unit-only"] and len(args) == 2:
        if build_tree(total, os.path.basename(args[1])):
            unit_tests(total, args[1])
    elif args in ([], ["--full"]):
        everything(total, args == ["--full"])
    else:
        print(__doc__, file=sys.stderr)
        return 2
    print(f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped")
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
