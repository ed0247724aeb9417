"""tools/layers_test.py: layers.py finds planted violations and lets the allowed edges be."""

import os
import tempfile
import unittest

import layers

TABLE = """\
# folder | may include | purpose
base | | types
testlib | base | tests
mem | base | RAM
cpu | base mem | engines
cmd | * | programs
# header | only from
<linux/kvm.h> | cpu/kvm jail
cpu/kvm/ | cpu
"""


class LayersTest(unittest.TestCase):
    def found(self, path, line, table=TABLE):
        with tempfile.TemporaryDirectory() as root:
            full = os.path.join(root, path)
            os.makedirs(os.path.dirname(full))
            with open(os.path.join(root, "layers.txt"), "w", encoding="utf-8") as f:
                f.write(table)
            with open(full, "w", encoding="utf-8") as f:
                f.write("/* a file */\n" + line + "\n")
            return [f"{p}:{n}: {m}" for p, n, m in layers.check(root)[0]]

    def test_allowed(self):
        rows = [("src/mem/a.c", '#include "base/base.h"'), ("src/mem/a.c", '#include "mem/mem.h"'),
                ("src/cpu/kvm/a.c", '#include "cpu/kvm/b.h"'), ("src/cpu/kvm/a.c", "#include <linux/kvm.h>"),
                ("src/cmd/a.c", '#include "cpu/cpu.h"'), ("src/mem/a_test.c", '#include "testlib/test.h"'),
                ("src/mem/a_fuzz.c", '#include "testlib/fuzz.h"'), ("src/mem/a.c", '/* #include "cpu/cpu.h" */')]
        for path, line in rows:
            with self.subTest(path=path, line=line):
                self.assertEqual(self.found(path, line), [])

    def test_planted_violation(self):
        self.assertEqual(self.found("src/mem/a.c", '#include "cpu/cpu.h"'),
                         ['src/mem/a.c:2: layers: mem may not include "cpu/cpu.h"; allowed: base mem'])

    def test_other_violations(self):
        rows = [("src/mem/a.c", '#include "testlib/test.h"', "mem may not include"),
                ("src/mem/a.c", '#include "mem.h"', "write the include from the root"),
                ("src/cpu/a.c", "#include <linux/kvm.h>", "only from src/ cpu/kvm jail"),
                ("src/cmd/a.c", '#include "cpu/kvm/run.h"', "only from src/ cpu"),
                ("src/mem/a.c", '#define TRACE_DEF "cpu/trace.def"', "mem may not include"),
                ("src/odd/a.c", "", "has no line in layers.txt")]
        for path, line, part in rows:
            with self.subTest(path=path, line=line):
                self.assertIn(part, "".join(self.found(path, line)))

    def test_table_itself(self):
        rows = [("a | b | x\nb | | y\n", "not above it"), ("a | | x\na | | y\n", "listed twice"), ("a b c\n", "want 'folder")]
        for table, part in rows:
            with self.subTest(table=table):
                self.assertIn(part, "".join(self.found("src/a/x.c", "", table)))


if __name__ == "__main__":
    unittest.main()
