#!/usr/bin/env python3
"""tools/new-dev.py: starts a device from a template that passes every check: `tools/new-dev.py NAME [ROOT]`

Writes src/dev/pc/NAME.c and NAME_test.c, and adds their rows to src/dev/meson.build and src/dev/all.c.
"""

import os
import re
import subprocess
import sys

DEVICE = """\
/*
 * dev/pc/@.c: @, a device on two I/O ports.
 */
#include "dev/bus.h"
#include "dev/dev.h"
#include "dev/reg.h"
#include "state/state.h"

enum { @UP@_PORT = 0x5f0, @UP@_PORTS = 2 };

#define @UP@(F, S)                                 \\
    F(S, VAL, u8, ctrl, "bit 0: enabled")          \\
    F(S, VAL, u8, scratch, "what the guest wrote")
STATE_STRUCT(@_state, @UP@);
STATE_TABLE(@_state, @UP@);

struct @ {
    struct device dev;
    struct @_state state; /* guarded by dev.lock */
};

static const struct reg_def @_regs[] = {
    REG(0x0, @, state.ctrl, .rw = 0x1),
    REG(0x1, @, state.scratch, .rw = 0xff, .reset = 0xff),
};
static const struct reg_bank @_bank = REG_BANK("@", @_regs);

static u64 @_read(struct device *d, u64 off, u32 len)
{
    return reg_read(&@_bank, d, off, len);
}

static void @_write(struct device *d, u64 off, u32 len, u64 val)
{
    reg_write(&@_bank, d, off, len, val);
}

static const struct bus_ops @_ops = { .read = @_read, .write = @_write };

static int @_start(struct device *d, const void *, struct err *e)
{
    return bus_add(d->machine->pio, @UP@_PORT, @UP@_PORTS, &@_ops, d, e);
}

static void @_stop(struct device *d)
{
    bus_remove(d->machine->pio, @UP@_PORT, d);
}

static void @_reset(struct device *d)
{
    reg_reset(&@_bank, d);
}

const struct device_def @_def = {
    .name = "@",
    .doc = "@, a device on two I/O ports",
    .size = sizeof(struct @),
    .parts = { STATE_PART(@, state, @_state) },
    .ranges = { { .pio = true, .base = @UP@_PORT, .len = @UP@_PORTS } },
    .start = @_start,
    .stop = @_stop,
    .reset = @_reset,
};
"""

TEST = """\
/*
 * dev/pc/@_test.c: what a guest sees of @.  Reset, save and load are tested for every device by dev/device_test.c.
 */
#include "dev/bus.h"
#include "dev/dev.h"
#include "testlib/test.h"

extern const struct device_def @_def;

TEST(@_registers)
{
    struct fake_machine *f = fake_machine_new();
    struct device *d = NULL;
    struct err e = {};
    u64 v = 0;

    CHECK_OK(device_new(&@_def, &f->m, "@0", NULL, &d, &e), &e);
    CHECK(bus_read(f->m.pio, 0x5f1, 1, &v));
    CHECK_EQ(v, 0xff);
    CHECK(bus_write(f->m.pio, 0x5f0, 1, 0xff));
    CHECK(bus_read(f->m.pio, 0x5f0, 1, &v));
    CHECK_EQ(v, 0x1); /* only bit 0 exists */
    device_free(d);
    fake_machine_free(f);
}
"""


def fail(message):
    print(f"new-dev: {message}", file=sys.stderr)
    return 1


def with_rows(all_c, name):
    """dev/all.c with the new device in its list; None when it has another shape than the template knows."""
    declared = list(re.finditer(r"^extern const struct device_def \w+_def;\n", all_c, re.MULTILINE))
    end = re.search(r"^\s*NULL,?.*\n\};", all_c, re.MULTILINE)
    if not end:
        return None
    text = all_c[:end.start()] + f"    &{name}_def,\n" + all_c[end.start():]
    if declared:
        at = declared[-1].end()
        text = text[:at] + f"extern const struct device_def {name}_def;\n" + text[at:]
    return text


def main(args):
    root = args[1] if len(args) > 1 else os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if not args or not re.fullmatch(r"[a-z][a-z0-9_]{1,30}", args[0]):
        return fail("usage: make new-dev N=name; a name is 2 to 31 of a-z, 0-9 and _, a letter first")
    name, dev = args[0], os.path.join(root, "src/dev")
    with open(os.path.join(dev, "all.c"), encoding="utf-8") as f:
        all_c = with_rows(f.read(), name)
    if all_c is None:
        return fail("src/dev/all.c has no list that ends with NULL")
    texts = {f"pc/{name}.c": DEVICE, f"pc/{name}_test.c": TEST}
    for path in texts:
        if os.path.exists(os.path.join(dev, path)):
            return fail(f"src/dev/{path} exists")
    for path, text in texts.items():
        with open(os.path.join(dev, path), "w", encoding="utf-8") as f:
            f.write(text.replace("@UP@", name.upper()).replace("@", name))
    with open(os.path.join(dev, "all.c"), "w", encoding="utf-8") as f:
        f.write(all_c)
    with open(os.path.join(dev, "meson.build"), "a", encoding="utf-8") as f:
        f.write(f"sources += files('pc/{name}.c')\ntests += files('pc/{name}_test.c')\n")
    subprocess.run(["clang-format-14", "-i"] + [os.path.join(dev, p) for p in texts], check=True)
    print(f"src/dev/pc/{name}.c, {name}_test.c; rows in src/dev/all.c and src/dev/meson.build")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
