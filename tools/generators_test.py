"""tools/generators_test.py: what map.py and new-dev.py write passes the lint."""

import importlib.util
import os
import tempfile
import unittest

import layers
import map as source_map
import tidy

HERE = os.path.dirname(os.path.abspath(__file__))
ALL_C = "/*\n * dev/all.c: every device.\n */\nextern const struct device_def rtc_def;\n\n" \
        "const struct device_def *const all_devices[] = {\n    &rtc_def,\n    NULL,\n};\n"
HEADERS = ("base/base", "dev/bus", "dev/dev", "dev/reg", "state/state", "testlib/test")


def load(name):
    spec = importlib.util.spec_from_file_location("loaded", os.path.join(HERE, name))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class GeneratorsTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = self.folder.name
        with open(os.path.join(os.path.dirname(HERE), "layers.txt"), encoding="utf-8") as f:
            self.write("layers.txt", f.read())
        self.write("src/dev/all.c", ALL_C)
        self.write("src/dev/meson.build", "sources = files('all.c')\ntests = []\n")
        os.makedirs(os.path.join(self.root, "src/dev/pc"))
        for h in HEADERS:
            self.write(f"src/{h}.h", f'/*\n * {h}.h: a header.  More.\n */\n#pragma once\n\n#include "base/base.h"\n')

    def tearDown(self):
        self.folder.cleanup()

    def write(self, path, text):
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as f:
            f.write(text)

    def read(self, path):
        with open(os.path.join(self.root, path), encoding="utf-8") as f:
            return f.read()

    def test_new_device(self):
        new_dev = load("new-dev.py")
        self.assertEqual(new_dev.main(["wdt", self.root]), 0)
        self.assertEqual(tidy.check(self.root)[0], [])
        self.assertEqual(layers.check(self.root)[0], [])
        self.assertIn("    &rtc_def,\n    &wdt_def,\n    NULL,\n", self.read("src/dev/all.c"))
        self.assertIn("extern const struct device_def wdt_def;\n", self.read("src/dev/all.c"))
        self.assertEqual(new_dev.main(["wdt", self.root]), 1)  # it exists now
        self.assertEqual(new_dev.main(["../x", self.root]), 1)

    def test_map(self):
        text = source_map.render(self.root)
        self.assertIn("## dev: device contract, register banks, buses, devices", text)
        self.assertIn("| dev/bus.h | a header |", text)
        self.assertNotIn("## cluster", text)
        self.assertFalse(text.endswith("\n\n"))


if __name__ == "__main__":
    unittest.main()
