/*
 * dev/pc/pc_test.c: the small PC devices: keyboard controller, power management, debug ports, test device, fw_cfg.
 */
#include "dev/pc/debug.h"
#include "dev/pc/fw_cfg.h"
#include "dev/pc/i8042.h"
#include "dev/pc/pm.h"
#include "dev/pc/ports_test.h"
#include "dev/pc/testdev.h"

struct step {
    const char *why;
    char
        op; /* 'w' write, 'r' read and compare, 'i' interrupt line `port` is `v`, 'e' event `port` came `v` times */
    u8 len;
    u16 port;
    u32 v;
};

static void run_steps(struct bench *b, const struct step *steps, u32 n)
{
    for (const struct step *c = steps; c < steps + n; c++) {
        ROW(c);
        if (c->op == 'w')
            out(b, c->port, c->len, c->v);
        else if (c->op == 'r')
            CHECK_EQ(in(b, c->port, c->len), c->v);
        else if (c->op == 'i')
            CHECK_EQ(b->f->level[c->port], c->v);
        else
            CHECK_EQ(b->f->events[c->port], c->v);
    }
}

#define RUN(b, steps) run_steps(b, steps, ARRAY_LEN(steps))

TEST(i8042_linux_probe)
{
    static const struct step steps[] = {
        { "nothing to flush", 'r', 1, 0x64, 0x14 },
        { "self test", 'w', 1, 0x64, 0xaa },
        { "answers", 'r', 1, 0x64, 0x1d },
        { "passed", 'r', 1, 0x60, 0x55 },
        { "taken", 'r', 1, 0x64, 0x1c },
        { "read configuration", 'w', 1, 0x64, 0x20 },
        { "system bit", 'r', 1, 0x60, 0x04 },
        { "write configuration", 'w', 1, 0x64, 0x60 },
        { "keyboard interrupt on", 'w', 1, 0x60, 0x45 },
        { "read configuration", 'w', 1, 0x64, 0x20 },
        { "interrupt for the answer", 'i', 0, 1, 1 },
        { "as written", 'r', 1, 0x60, 0x45 },
        { "no interrupt", 'i', 0, 1, 0 },
        { "mouse loop", 'w', 1, 0x64, 0xd3 },
        { "a byte", 'w', 1, 0x60, 0x5a },
        { "comes back as the keyboard's", 'r', 1, 0x64, 0x15 },
        { "the same", 'r', 1, 0x60, 0x5a },
        { "mouse test", 'w', 1, 0x64, 0xa9 },
        { "fails", 'r', 1, 0x60, 0x01 },
        { "keyboard test", 'w', 1, 0x64, 0xab },
        { "passes", 'r', 1, 0x60, 0x00 },
        { "identify the keyboard", 'w', 1, 0x60, 0xf2 },
        { "timed out at once", 'r', 1, 0x64, 0x55 },
        { "resend", 'r', 1, 0x60, 0xfe },
        { "to the mouse", 'w', 1, 0x64, 0xd4 },
        { "identify", 'w', 1, 0x60, 0xf2 },
        { "timed out at once", 'r', 1, 0x64, 0x75 },
        { "no keyboard interrupt", 'i', 0, 1, 0 },
        { "resend", 'r', 1, 0x60, 0xfe },
        { "output port", 'w', 1, 0x64, 0xd0 },
        { "running, A20", 'r', 1, 0x60, 0x03 },
        { "an unknown command", 'w', 1, 0x64, 0x33 },
        { "has no answer", 'r', 1, 0x64, 0x1c },
        { "nobody was reset", 'e', 0, MACHINE_RESET, 0 },
    };
    struct bench b = bench_open(&i8042_def, NULL);

    RUN(&b, steps);
    bench_close(&b);
}

TEST(i8042_resets)
{
    static const struct step steps[] = {
        { "pulse no line", 'w', 1, 0x64, 0xff },     { "nothing", 'e', 0, MACHINE_RESET, 0 },
        { "pulse reset", 'w', 1, 0x64, 0xfe },       { "reset", 'e', 0, MACHINE_RESET, 1 },
        { "write output port", 'w', 1, 0x64, 0xd1 }, { "A20 off", 'w', 1, 0x60, 0x01 },
        { "nothing", 'e', 0, MACHINE_RESET, 1 },     { "write output port", 'w', 1, 0x64, 0xd1 },
        { "reset low", 'w', 1, 0x60, 0x02 },         { "reset", 'e', 0, MACHINE_RESET, 2 },
        { "port 92: A20", 'w', 1, 0x92, 0x02 },      { "reads back", 'r', 1, 0x92, 0x02 },
        { "nothing", 'e', 0, MACHINE_RESET, 2 },     { "port 92: reset", 'w', 1, 0x92, 0x03 },
        { "reset", 'e', 0, MACHINE_RESET, 3 },
    };
    struct bench b = bench_open(&i8042_def, NULL);

    RUN(&b, steps);
    bench_close(&b);
}

TEST(i8042_port_61)
{
    static const struct step steps[] = {
        { "refresh is on", 'r', 1, 0x61, 0x10 },     { "and off", 'r', 1, 0x61, 0x00 },
        { "let channel 2 run", 'w', 1, 0x61, 0xf1 }, { "it is over", 'r', 1, 0x61, 0x31 },
        { "refresh goes on", 'r', 1, 0x61, 0x21 },   { "stop it", 'w', 1, 0x61, 0 },
        { "not over", 'r', 1, 0x61, 0x10 },
    };
    struct bench b = bench_open(&i8042_def, NULL);

    RUN(&b, steps);
    bench_close(&b);
}

TEST(pm_events)
{
    static const struct step pressed[] = {
        { "line is high", 'i', 0, 9, 1 },    { "both events", 'r', 4, 0x600, 3 },
        { "line is low", 'i', 0, 9, 0 },     { "cleared", 'r', 4, 0x600, 0 },
        { "no effect", 'w', 4, 0x600, ~0u }, { "still clear", 'r', 4, 0x600, 0 },
    };
    static const struct step narrow[] = {
        { "upper half", 'r', 2, 0x602, 0 },
        { "nothing lost", 'i', 0, 9, 1 },
        { "lowest byte", 'r', 1, 0x600, 1 },
        { "line is low", 'i', 0, 9, 0 },
    };
    struct bench b = bench_open(&pm_def, NULL);

    CHECK_EQ(b.f->level[9], 0);
    pm_power_button(b.d);
    pm_vmgenid_changed(b.d);
    RUN(&b, pressed);
    pm_power_button(b.d);
    RUN(&b, narrow);
    pm_power_button(b.d);
    device_reset(b.d);
    CHECK_EQ(b.f->level[9], 0);
    bench_close(&b);
}

TEST(pm_sleep_and_reset)
{
    static const struct step steps[] = {
        { "S5 without SLP_EN", 'w', 1, 0x604, 5 << 2 },
        { "reads back", 'r', 1, 0x604, 5 << 2 },
        { "another type", 'w', 1, 0x604, 0x20 | 1 << 2 },
        { "SLP_EN reads 0", 'r', 1, 0x604, 1 << 2 },
        { "nothing yet", 'e', 0, MACHINE_POWEROFF, 0 },
        { "S5", 'w', 1, 0x604, 0x20 | 5 << 2 },
        { "off", 'e', 0, MACHINE_POWEROFF, 1 },
        { "never woken", 'r', 1, 0x605, 0 },
        { "clear WAK_STS", 'w', 1, 0x605, 0x80 },
        { "prepare a hard reset", 'w', 1, 0xcf9, 0x02 },
        { "not yet", 'e', 0, MACHINE_RESET, 0 },
        { "go", 'w', 1, 0xcf9, 0x06 },
        { "reset", 'e', 0, MACHINE_RESET, 1 },
        { "RST_CPU stays 1: no edge", 'w', 1, 0xcf9, 0x0e },
        { "once", 'e', 0, MACHINE_RESET, 1 },
        { "low", 'w', 1, 0xcf9, 0x00 },
        { "full reset", 'w', 1, 0xcf9, 0x0e },
        { "reset", 'e', 0, MACHINE_RESET, 2 },
    };
    struct bench b = bench_open(&pm_def, NULL);

    RUN(&b, steps);
    device_reset(b.d);
    CHECK_EQ(in(&b, 0xcf9, 1), 0);
    bench_close(&b);
}

TEST(pm_other_ports)
{
    struct bench b = bench_open(&pm_def, "event_port=0x700,sleep_port=0x710,gsi=11");

    pm_power_button(b.d);
    CHECK_EQ(b.f->level[11], 1);
    CHECK_EQ(in(&b, 0x700, 4), PM_EVENT_POWER);
    CHECK_EQ(in(&b, 0x600, 4), 0xffffffff);
    bench_close(&b);
}

static void say(struct bench *b, u16 port, const char *text)
{
    for (; *text; text++)
        out(b, port, 1, (u8)*text);
}

TEST(debug_exit)
{
    static const struct {
        const char *why;
        u32 len, v, status;
    } rows[] = {
        { "pass", 4, 0, 1 },
        { "one byte", 1, 0x10, 0x21 },
        { "two bytes", 2, 0x1234, 0x2469 },
        { "four bytes", 4, 0xffffffff, 0x1ffffffff & 0xffffffff },
    };
    struct bench b = bench_open(&debug_def, NULL);

    for_each_row(c, rows) {
        ROW(c);
        out(&b, 0xf4, c->len, c->v);
        CHECK_EQ(b.f->event_value & 0xffffffff, c->status);
    }
    CHECK_EQ(b.f->events[MACHINE_EXIT], ARRAY_LEN(rows));
    bench_close(&b);
}

TEST(debug_shutdown_word)
{
    static const struct {
        const char *why;
        u32 off;
    } rows[] = {
        { "Shutdown", 1 },  { "Shutdow", 0 },          { "shutdown", 0 }, { "ShutShutdown", 1 },
        { "SShutdown", 1 }, { "ShutdownShutdown", 2 }, { "Shutdowm", 0 },
    };

    for_each_row(c, rows) {
        struct bench b = bench_open(&debug_def, NULL);

        ROW(c);
        say(&b, 0x8900, c->why);
        CHECK_EQ(b.f->events[MACHINE_POWEROFF], c->off);
        bench_close(&b);
    }
}

TEST(debug_ports)
{
    struct bench b = bench_open(&debug_def, NULL);

    out(&b, 0x80, 1, 0x55);
    CHECK_EQ(in(&b, 0x80, 1), 0x55);
    CHECK_EQ(in(&b, 0x402, 1), 0xe9);
    for (u32 i = 0; i < 1000; i++)
        say(&b, 0x402, "no end of line ");
    say(&b, 0x402, "\n\n\x1b[2J\n");
    CHECK_EQ(in(&b, 0xf4, 4), 0);
    bench_close(&b);
}

TEST(testdev_ports)
{
    static const struct step steps[] = {
        { "32 bits", 'w', 4, 0xe0, 0x12345678 },
        { "read", 'r', 4, 0xe0, 0x12345678 },
        { "third byte", 'r', 1, 0xe2, 0x34 },
        { "upper half", 'w', 2, 0xe2, 0xabcd },
        { "by bytes", 'r', 4, 0xe8, 0xabcd5678 },
        { "a byte of it", 'w', 1, 0xe9, 0xff },
        { "read", 'r', 2, 0xe0, 0xff78 },
        { "flush", 'w', 4, 0xe4, 0x1000 },
        { "line 5 up", 'w', 1, 0x2005, 1 },
        { "is up", 'i', 0, 5, 1 },
        { "line 23 up", 'w', 1, 0x2017, 1 },
        { "is up", 'i', 0, 23, 1 },
        { "line 5 down", 'w', 1, 0x2005, 0 },
        { "is down", 'i', 0, 5, 0 },
        { "there is no line 24", 'r', 1, 0x2018, 0xff },
    };
    struct bench b = bench_open(&testdev_def, NULL);
    u64 v;

    RUN(&b, steps);
    CHECK(bus_write(b.f->m.mmio, 0xff000000, 8, 0x1122334455667788));
    CHECK(bus_read(b.f->m.mmio, 0xff000003, 2, &v));
    CHECK_EQ(v, 0x4455);
    CHECK(bus_write(b.f->m.mmio, 0xff00fffc, 4, 1));
    CHECK(!bus_write(b.f->m.mmio, 0xff00fffd, 4, 1));
    device_reset(b.d);
    CHECK_EQ(b.f->level[23], 0);
    bench_close(&b);
}

TEST(fw_cfg_entries)
{
    static const struct {
        const char *why;
        u16 key;
        const char *bytes;
        u32 n;
    } rows[] = {
        { "signature", 0x00, "QEMU\0\0", 6 }, { "RAM", 0x03, "\0\0\0\x40\0\0\0\0\0", 9 },
        { "CPUs", 0x05, "\x03\0\0", 3 },      { "CPUs at most", 0x0f, "\x03\0", 2 },
        { "not there", 0x11, "\0\0", 2 },     { "not there", 0xffff, "\0", 1 },
    };
    struct bench b = bench_open(&fw_cfg_def, "cpus=3,memory=1G");

    for_each_row(c, rows) {
        ROW(c);
        out(&b, 0x510, 2, c->key);
        CHECK_EQ(in(&b, 0x510, 2), c->key);
        for (u32 i = 0; i < c->n; i++)
            CHECK_EQ(in(&b, 0x511, 1), (u8)c->bytes[i]);
    }
    out(&b, 0x510, 2, 0x05);
    CHECK_EQ(in(&b, 0x511, 1), 3); /* choosing again begins again */
    bench_close(&b);
}
