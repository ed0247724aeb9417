"""tools/deps_test.py: deps.sh asks for what is missing, and for nothing where nothing is."""

import os
import subprocess
import tempfile
import unittest

DEPS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "deps.sh")

# What it runs; apt-get says what it was asked for.
PROGRAMS = {
    "dpkg-query": 'shift 2; for p; do case " $LACKS " in *" $p "*) ;; *) echo "installed $p" ;; esac; done',
    "apt-cache": "exit 0",
    "apt-get": 'echo "apt-get $*" >&2',
    "id": "echo 0",
    "node": "exit 0",
    "npm": "exit 0",
}


class DepsTest(unittest.TestCase):
    def asked(self, groups, lacks):
        """What apt-get is asked to install, and whether to refresh its lists."""
        with tempfile.TemporaryDirectory() as folder:
            for name, script in PROGRAMS.items():
                with open(f"{folder}/{name}", "w", encoding="ascii") as f:
                    f.write(f"#!/bin/sh\n{script}\n")
                os.chmod(f"{folder}/{name}", 0o755)
            p = subprocess.run([DEPS, *groups], env={"PATH": folder + ":/usr/bin:/bin", "LACKS": lacks}, capture_output=True, text=True, check=True)
        return [line.split()[-1] for line in p.stderr.splitlines() if line.startswith("apt-get")]

    def test_nothing_is_missing(self):
        for groups in ([], ["build"], ["guest"], ["build", "check", "guest", "lab"]):
            with self.subTest(groups=groups):
                self.assertEqual(self.asked(groups, ""), [])

    def test_npm_came_with_node(self):
        self.assertEqual(self.asked(["build"], "npm nodejs"), [])

    def test_what_is_missing(self):
        self.assertEqual(self.asked(["build"], "npm meson"), ["update", "meson"])


if __name__ == "__main__":
    unittest.main()
