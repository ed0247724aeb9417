/*
 * dev/pc/serial_test.c: the serial port's registers, one access after the other, and its console.
 */
#include "dev/pc/serial.h"

#include "dev/pc/ports_test.h"

#include <sys/socket.h>
#include <unistd.h>

enum { BASE = 0x3f8, GSI = 4 };

struct step {
    const char *why;
    char op; /* 'w' write, 'r' read and compare, 'i' the interrupt line is `v` */
    u8 reg, v;
};

static void run_steps(struct bench *b, const struct step *steps, u32 n)
{
    for (const struct step *c = steps; c < steps + n; c++) {
        ROW(c);
        if (c->op == 'w')
            out(b, BASE + c->reg, 1, c->v);
        else if (c->op == 'r')
            CHECK_EQ(in(b, BASE + c->reg, 1), c->v);
        else
            CHECK_EQ(b->f->level[GSI], c->v);
    }
}

#define RUN(b, steps) run_steps(b, steps, ARRAY_LEN(steps))

TEST(serial_reset_values)
{
    static const struct step steps[] = {
        { "nothing received", 'r', 0, 0 },     { "no interrupt enabled", 'r', 1, 0 },
        { "no interrupt pending", 'r', 2, 1 }, { "5 bits, no divisor", 'r', 3, 0 },
        { "modem outputs off", 'r', 4, 0 },    { "transmitter empty", 'r', 5, 0x60 },
        { "someone is there", 'r', 6, 0xb0 },  { "scratch", 'r', 7, 0 },
        { "line is low", 'i', 0, 0 },
    };
    struct bench b = bench_open(&serial_def, NULL);

    RUN(&b, steps);
    bench_close(&b);
}

/* What drivers/tty/serial/8250 tries to find out which chip this is. */
TEST(serial_linux_autoconfig)
{
    static const struct step steps[] = {
        { "IER off", 'w', 1, 0 },
        { "reads as off", 'r', 1, 0 },
        { "IER all", 'w', 1, 0xff },
        { "has four bits", 'r', 1, 0x0f },
        { "IER off again", 'w', 1, 0 },
        { "loopback, RTS and OUT2", 'w', 4, 0x1a },
        { "come back as CTS and DCD, with changes", 'r', 6, 0x90 | 0x02 },
        { "changes were read", 'r', 6, 0x90 },
        { "no loopback", 'w', 4, 0 },
        { "enhanced registers", 'w', 3, 0xbf },
        { "EFR would be here", 'w', 2, 0 },
        { "plain registers", 'w', 3, 0 },
        { "FIFO on", 'w', 2, 1 },
        { "IIR says FIFO: a 16550A", 'r', 2, 0xc1 },
        { "divisor latch", 'w', 3, 0x80 },
        { "no EFR: it is IIR", 'r', 2, 0xc1 },
        { "no 64-byte mode of a 16750", 'w', 2, 0x21 },
        { "still 0xc", 'r', 2, 0xc1 },
        { "plain registers again", 'w', 3, 0 },
        { "UUE of an XScale", 'w', 1, 0x40 },
        { "is not there", 'r', 1, 0 },
    };
    struct bench b = bench_open(&serial_def, NULL);

    RUN(&b, steps);
    bench_close(&b);
}

/* Linux calls it U6_16550A, and sends 64 bytes at a time, when as many come back in loopback. */
TEST(serial_linux_counts_the_fifo)
{
    struct bench b = bench_open(&serial_def, NULL);
    u32 n = 0;

    out(&b, BASE + 3, 1, 3);
    out(&b, BASE + 2, 1, 7);
    out(&b, BASE + 4, 1, 0x10);
    for (u32 i = 0; i < 256; i++)
        out(&b, BASE, 1, i);
    CHECK_EQ(in(&b, BASE + 5, 1), 0x63); /* data, overrun */
    while (in(&b, BASE + 5, 1) & 1)
        CHECK_EQ(in(&b, BASE, 1), n++);
    CHECK_EQ(n, 64);
    bench_close(&b);
}

/* serial8250_do_startup's two tests of the THRE interrupt, and what a driver does after. */
TEST(serial_thre_interrupt)
{
    static const struct step steps[] = {
        { "OUT2 lets interrupts through", 'w', 4, 8 },
        { "enable THRE: pending as THR is empty", 'w', 1, 2 },
        { "line rises", 'i', 0, 1 },
        { "IIR says THRE", 'r', 2, 2 },
        { "which cleared it", 'r', 2, 1 },
        { "line falls", 'i', 0, 0 },
        { "disable", 'w', 1, 0 },
        { "enable: pending again, no UART_BUG_THRE", 'w', 1, 2 },
        { "line rises again", 'i', 0, 1 },
        { "THR empty for UART_BUG_TXEN", 'r', 5, 0x60 },
        { "LSR does not clear it", 'r', 2, 2 },
        { "writing IER as it was makes nothing pending", 'w', 1, 2 },
        { "no interrupt", 'r', 2, 1 },
        { "send a byte", 'w', 0, 'x' },
        { "it is gone at once", 'r', 5, 0x60 },
        { "so THRE is pending", 'i', 0, 1 },
        { "OUT2 off", 'w', 4, 0 },
        { "holds the line", 'i', 0, 0 },
        { "IIR still says THRE", 'r', 2, 2 },
    };
    struct bench b = bench_open(&serial_def, NULL);

    RUN(&b, steps);
    bench_close(&b);
}

/* By loopback, which has the same receiver; the interrupt cannot leave the chip meanwhile, so it is read in IIR. */
TEST(serial_receive_priorities)
{
    static const struct step steps[] = {
        { "loopback", 'w', 4, 0x10 },
        { "FIFO on, trigger 4", 'w', 2, 0x41 },
        { "all interrupts", 'w', 1, 0x0f },
        { "THRE was made pending", 'r', 2, 0xc2 },
        { "MSR changed as loopback cut the lines", 'r', 2, 0xc0 },
        { "1 byte", 'w', 0, 'a' },
        { "is below the trigger: timeout, before THRE", 'r', 2, 0xcc },
        { "2 bytes", 'w', 0, 'b' },
        { "3 bytes", 'w', 0, 'c' },
        { "still timeout", 'r', 2, 0xcc },
        { "4 bytes", 'w', 0, 'd' },
        { "the trigger", 'r', 2, 0xc4 },
        { "take one", 'r', 0, 'a' },
        { "timeout", 'r', 2, 0xcc },
        { "take the rest", 'r', 0, 'b' },
        { "", 'r', 0, 'c' },
        { "", 'r', 0, 'd' },
        { "now THRE", 'r', 2, 0xc2 },
        { "then modem status", 'r', 2, 0xc0 },
        { "read it", 'r', 6, 0x0b },
        { "nothing", 'r', 2, 0xc1 },
        { "FIFO off", 'w', 2, 0 },
        { "one byte", 'w', 0, 'e' },
        { "another", 'w', 0, 'f' },
        { "line status first", 'r', 2, 6 },
        { "overrun", 'r', 5, 0x63 },
        { "told once", 'r', 5, 0x61 },
        { "data", 'r', 2, 4 },
        { "the new byte stayed", 'r', 0, 'f' },
        { "DLAB", 'w', 3, 0x80 },
        { "low divisor", 'w', 0, 1 },
        { "high divisor", 'w', 1, 2 },
        { "reads back", 'r', 0, 1 },
        { "reads back", 'r', 1, 2 },
        { "no DLAB", 'w', 3, 3 },
        { "IER was not touched", 'r', 1, 0x0f },
        { "RI rises: not a change", 'w', 4, 0x14 },
        { "RI", 'r', 6, 0x40 },
        { "RI falls", 'w', 4, 0x10 },
        { "TERI", 'r', 6, 0x04 },
        { "FIFO on", 'w', 2, 1 },
        { "a byte", 'w', 0, 'g' },
        { "clear the receiver", 'w', 2, 3 },
        { "is empty", 'r', 5, 0x60 },
    };
    struct bench b = bench_open(&serial_def, NULL);

    RUN(&b, steps);
    bench_close(&b);
}

TEST(serial_wide_accesses)
{
    struct bench b = bench_open(&serial_def, NULL);

    out(&b, BASE + 7, 1, 0x5a);
    CHECK_EQ(in(&b, BASE + 6, 2), 0x5ab0);
    CHECK_EQ(in(&b, BASE + 7, 2), 0xffff); /* crosses the end */
    bench_close(&b);
}

static struct bench open_pair(int *ret_host)
{
    char options[32];
    int fds[2];

    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    str_fmt(options, sizeof(options), "fd:%d", fds[1]);
    struct bench b = bench_open(&serial_def, options);
    close(fds[1]);
    *ret_host = fds[0];
    return b;
}

TEST(serial_console_input)
{
    int host;
    struct bench b = open_pair(&host);
    char text[100];

    memset(text, 'k', sizeof(text));
    out(&b, BASE + 4, 1, 8);
    out(&b, BASE + 1, 1, 1);
    CHECK_EQ(write(host, text, sizeof(text)), 100);
    turn(&b);
    turn(&b);
    CHECK_EQ(b.f->level[GSI], 1);
    out(&b, BASE + 2, 1, 1); /* the FIFO, which clears the one byte there was */
    CHECK_EQ(b.f->level[GSI], 0);
    for (u32 got = 1; got < 100; got++) {
        for (u32 i = 0; i < 3 && !(in(&b, BASE + 5, 1) & 1); i++)
            turn(&b);
        CHECK_EQ(in(&b, BASE + 2, 1) & 4, 4);
        CHECK_EQ(in(&b, BASE, 1), 'k');
    }
    turn(&b);
    CHECK_EQ(in(&b, BASE + 5, 1), 0x60); /* no overrun, no byte too many */
    close(host);
    bench_close(&b);
}

/* Sends as a driver does: up to a FIFO's length for each THRE.  Returns how many bytes until THRE stays clear. */
static u32 send_until_held(struct bench *b, u32 limit)
{
    u32 sent = 0;

    while (sent < limit && in(b, BASE + 5, 1) & 0x20)
        for (u32 i = 0; i < 64; i++)
            out(b, BASE, 1, (sent++ * 7) & 0xff);
    return sent;
}

TEST(serial_waits_for_a_slow_reader)
{
    enum { LIMIT = 16 * 1024 * 1024 };
    int host;
    struct bench b = open_pair(&host);
    u32 sent, got = 0;
    u8 bytes[4096];
    ssize_t n;

    out(&b, BASE + 4, 1, 8);
    out(&b, BASE + 2, 1, 1);
    sent = send_until_held(&b, LIMIT);
    CHECK(sent < LIMIT);
    out(&b, BASE + 1, 1, 2);
    CHECK_EQ(b.f->level[GSI], 0);
    while (got < sent) {
        n = read(host, bytes, sizeof(bytes));
        for (ssize_t i = 0; i < n; i++)
            CHECK_EQ(bytes[i], (got++ * 7) & 0xff);
        turn(&b);
    }
    CHECK_EQ(b.f->level[GSI], 1);
    CHECK_EQ(in(&b, BASE + 5, 1), 0x60);
    close(host);
    bench_close(&b);
}

TEST(serial_refuses_a_backend)
{
    struct fake_machine *f = fake_machine_new();
    struct serial_cfg cfg = { .base = BASE, .gsi = GSI, .backend = (char[]){ "pigeon" } };
    struct device *d;
    struct err e = {};

    CHECK_EQ(device_new(&serial_def, &f->m, "com1", &cfg, &d, &e), -EINVAL);
    CHECK_HAS(e.text, "start serial 'com1': console 'pigeon' is not stdio");
    fake_machine_free(f);
}
