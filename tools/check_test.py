"""tools/check_test.py: the sums of `make check`: what cmocka, unittest and scripts print, also when they die."""

import unittest

import check

CMOCKA_OK = "[==========] Running 2 test(s).\n[       OK ] a\n[       OK ] b\n[==========] 2 test(s) run.\n[  PASSED  ] 2 test(s).\n"
CMOCKA_MIXED = """\
[       OK ] a
[==========] socle: 3 test(s) run.
[  PASSED  ] 1 test(s).
[  SKIPPED ] socle: 1 test(s), listed below:
[  SKIPPED ] c
[  FAILED  ] socle: 1 test(s), listed below:
[  FAILED  ] b
"""


class CheckTest(unittest.TestCase):
    def test_cmocka(self):
        rows = [("all passed", 0, CMOCKA_OK, (2, 0, 0)), ("mixed", 1, CMOCKA_MIXED, (1, 1, 1)),
                ("a leak at the end", 23, CMOCKA_OK, (2, 1, 0)),
                ("died in the second", -6, "[       OK ] a\n[ RUN      ] b\n", (1, 1, 0)),
                ("no tests", 0, "[  PASSED  ] 0 test(s).\n", (0, 1, 0)), ("silent", 0, "", (0, 1, 0))]
        for why, status, output, want in rows:
            with self.subTest(why):
                self.assertEqual(check.cmocka_counts(status, output), want)

    def test_unittest(self):
        rows = [("ok", 0, "Ran 5 tests in 1s\n\nOK\n", (5, 0, 0)),
                ("mixed", 1, "Ran 5 tests in 1s\n\nFAILED (failures=1, errors=1, skipped=1)\n", (2, 2, 1)),
                ("import error", 1, "Traceback\n", (0, 1, 0))]
        for why, status, output, want in rows:
            with self.subTest(why):
                self.assertEqual(check.unittest_counts(status, output), want)

    def test_reasons_of_skips(self):
        output = "[ RUN      ] a\n  skipped: no /dev/net/tun\n[  SKIPPED ] a\n[ RUN      ] b\n[       OK ] b\n"
        self.assertEqual(check.skip_reasons("net_tests", output), ["skipped: net_tests: no /dev/net/tun"])
        self.assertEqual(check.skip_reasons("net_tests", "[       OK ] b\n"), [])

    def test_closing_line(self):
        rows = [("ok", 0, "text\n3 passed, 0 failed, 1 skipped\n", (3, 0, 1)), ("none", 0, "text\n", (0, 1, 0)),
                ("failed after the sum", 1, "3 passed, 0 failed, 0 skipped\n", (3, 1, 0))]
        for why, status, output, want in rows:
            with self.subTest(why):
                self.assertEqual(check.closing_counts(status, output), want)

    def test_time_limit_and_missing_program(self):
        self.assertEqual(check.run(["sh", "-c", "read x; echo got"], seconds=20)[0], 0)
        status, output = check.run(["tail", "-f", "/dev/null"], seconds=0.1)
        self.assertEqual(status, -1000)
        self.assertIn("still running", output)
        self.assertEqual(check.run(["./there-is-no-such-program"])[0], 127)


if __name__ == "__main__":
    unittest.main()
