"""tools/guest_symbols_test.py: the file of guest_symbols.py has what nm finds in it."""

import os
import subprocess
import tempfile
import unittest

import guest_symbols

MAP = """0000000000000000 A fixed_percpu_data
ffffffff81000000 T _stext
ffffffff81000100 t do_idle
ffffffff82000000 D jiffies
ffffffffc0000000 t in_module\t[module]
garbage
"""


class GuestSymbolsTest(unittest.TestCase):
    def test_parse(self):
        rows = guest_symbols.parse(MAP)
        self.assertEqual([row[2] for row in rows], ["_stext", "do_idle", "jiffies", "in_module"])
        self.assertEqual([row[1] for row in rows], [True, True, False, True])
        self.assertEqual(guest_symbols.parse("0000000000000000 T _stext\n"), [])

    def test_elf(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "a.elf")
            with open(path, "wb") as f:
                f.write(guest_symbols.elf(guest_symbols.parse(MAP)))
            out = subprocess.run(["nm", path], check=True, capture_output=True, text=True).stdout
        self.assertIn("ffffffff81000100 T do_idle", out)
        self.assertIn("ffffffff82000000 A jiffies", out)
        self.assertIn("ffffffffc0000000 T in_module", out)


if __name__ == "__main__":
    unittest.main()
