/*
 * dev/pc/debug.c: ports that test payloads and boot measurements write to.
 *   0xf4    debug exit: writing v ends the machine with status (v << 1) | 1, of which the process returns the low 8 bits
 *   0x8900  the bytes of "Shutdown", one after the other, power off (as Bochs does)
 *   0x80    POST code: the last one is remembered; 0x40 and 0x41 tell when a measured boot reached the kernel and init
 *   0x402   debug console: lines go to our log at debug level; reads 0xe9, by which firmware finds it
 */
#include "dev/pc/debug.h"

#include "base/clock.h"
#include "dev/pc/ports.h"

enum {
    EXIT_PORT = 0xf4,
    SHUTDOWN_PORT = 0x8900,
    POST_PORT = 0x80,
    CONSOLE_PORT = 0x402,

    CONSOLE_MAGIC = 0xe9,
    LINE_MAX = 160,
    MARK_KERNEL = 0x40,
    MARK_INIT = 0x41,
};

static const char shutdown_text[] = "Shutdown";

#define DEBUG_STATE(F, S)                     \
    F(S, VAL, u8, post, "the last POST code") \
    F(S, VAL, u8, shutdown, "how many letters of \"Shutdown\" came at port 0x8900")
STATE_STRUCT(debug_state, DEBUG_STATE);

static int check_state(void *obj, struct err *e)
{
    const struct debug_state *s = obj;

    if (s->shutdown >= sizeof(shutdown_text) - 1)
        return err_set(e, -EBADMSG, "%u letters of \"Shutdown\"", s->shutdown);
    return 0;
}
STATE_TABLE(debug_state, DEBUG_STATE, .after_load = check_state);

struct debug {
    struct device dev;
    struct debug_state st;
    u64 started_ns;      /* host: when the device was made */
    char line[LINE_MAX]; /* host: of the debug console, not logged yet; the guest cannot read it */
    u32 line_len;        /* host */
};

static struct debug *debug_of(struct device *d)
{
    return container_of(d, struct debug, dev);
}

static u64 zero_read(struct device *, u64, u32)
{
    return 0;
}

static void exit_write(struct device *d, u64, u32, u64 val)
{
    machine_event(d->machine, MACHINE_EXIT, val << 1 | 1, NULL);
}

static void shutdown_set(struct device *d, u32, u8 v)
{
    struct debug_state *st = &debug_of(d)->st;

    if (v != (u8)shutdown_text[st->shutdown])
        st->shutdown = v == (u8)shutdown_text[0];
    else if (++st->shutdown == sizeof(shutdown_text) - 1) {
        st->shutdown = 0;
        machine_event(d->machine, MACHINE_POWEROFF, 0, NULL);
    }
}

static void shutdown_write(struct device *d, u64 off, u32 len, u64 val)
{
    ports_write_bytes(d, off, len, val, shutdown_set);
}

static u64 post_read(struct device *d, u64, u32)
{
    return debug_of(d)->st.post;
}

static void post_write(struct device *d, u64, u32, u64 val)
{
    static atomic_ullong next;
    struct debug *g = debug_of(d);
    u8 code = (u8)val;
    bool mark = code != g->st.post && (code == MARK_KERNEL || code == MARK_INIT);

    g->st.post = code;
    if (mark && log_is_on(LOG_LEVEL_INFO) && (code == MARK_INIT || log_may(&next)))
        log_info("boot timer: %s after %llu us", code == MARK_INIT ? "init" : "kernel",
                 (clock_mono_ns() - g->started_ns) / NSEC_PER_USEC);
}

static u64 console_read(struct device *, u64, u32)
{
    return CONSOLE_MAGIC;
}

static void console_set(struct device *d, u32, u8 v)
{
    struct debug *g = debug_of(d);

    if (v != '\n')
        g->line[g->line_len++] = v >= ' ' && v < 0x7f ? (char)v : '.'; /* no escapes in our log */
    if ((v == '\n' && g->line_len) || g->line_len == LINE_MAX) {
        log_debug("guest: %.*s", (int)g->line_len, g->line);
        g->line_len = 0;
    }
}

static void console_write(struct device *d, u64 off, u32 len, u64 val)
{
    ports_write_bytes(d, off, len, val, console_set);
}

static const struct bus_ops exit_ops = { .read = zero_read, .write = exit_write };
static const struct bus_ops shutdown_ops = { .read = zero_read, .write = shutdown_write };
static const struct bus_ops post_ops = { .read = post_read, .write = post_write };
static const struct bus_ops console_ops = { .read = console_read, .write = console_write };

static const struct ports debug_ports[] = {
    { EXIT_PORT, 4, &exit_ops, false },
    { SHUTDOWN_PORT, 1, &shutdown_ops, false },
    { POST_PORT, 1, &post_ops, false },
    { CONSOLE_PORT, 1, &console_ops, false },
};

static void debug_stop(struct device *d)
{
    ports_remove(d, debug_ports, ARRAY_LEN(debug_ports));
}

static int debug_start(struct device *d, const void *, struct err *e)
{
    debug_of(d)->started_ns = clock_mono_ns();
    return ports_add(d, debug_ports, ARRAY_LEN(debug_ports), e);
}

static void debug_reset(struct device *d)
{
    debug_of(d)->st = (struct debug_state){};
    debug_of(d)->line_len = 0;
}

const struct device_def debug_def = {
    .name = "debug",
    .doc = "debug exit, POST codes and debug console",
    .size = sizeof(struct debug),
    .parts = { STATE_PART(debug, st, debug_state) },
    .ranges = { { true, EXIT_PORT, 4 },
                { true, SHUTDOWN_PORT, 1 },
                { true, POST_PORT, 1 },
                { true, CONSOLE_PORT, 1 } },
    .start = debug_start,
    .stop = debug_stop,
    .reset = debug_reset,
};
