/*
 * dev/pc/hpet.c: the high precision event timer.  (IA-PC HPET specification 1.0a; "the spec")
 *   (1) The counter counts 10 ns of the host's monotonic clock while it is enabled and the machine runs.  It is brought up to
 *       date before anything else is done, so that all below it may take the stored value for the present one.
 *   (2) A timer matches when the counter arrives at its comparator, not when it is beyond; a periodic one then moves on.
 *   (3) Matches that come late come once.
 *   (4) With legacy replacement, timers 0 and 1 have the lines of the 8254 and the RTC.  Those are not silenced by it: who turns
 *       this on is expected to have stopped them.
 */
#include "dev/pc/hpet.h"

#include "base/clock.h"
#include "base/loop.h"
#include "conf/conf.h"
#include "dev/pc/ports.h"
#include "dev/reg.h"

#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
    TICK_NS = 10,
    NO_LINE = 0xff,
    LEGACY_LINE_0 = 0,
    LEGACY_LINE_1 = 8,
    PERIOD_NS_MIN = 50000, /* no more often: what is shorter only burns the host's time */
};

#define CONFIG_ENABLE 1u
#define CONFIG_LEGACY 2u

/* Timer configuration. */
#define T_LEVEL     (1ull << 1)
#define T_INTERRUPT (1ull << 2)
#define T_PERIODIC  (1ull << 3)
#define T_SET       (1ull << 6) /* the next write is to the comparator of a periodic timer, too */
#define T_32BIT     (1ull << 8)
#define T_ROUTE     (0x1full << 9)
#define T_RW        (T_LEVEL | T_INTERRUPT | T_PERIODIC | T_SET | T_32BIT | T_ROUTE)
#define ROUTES      0x00f00000ull         /* I/O APIC pins 20 to 23, which nothing else has */
#define T_FIXED     (ROUTES << 32 | 0x30) /* all can be periodic, and have 64 bits */

#define PERIOD_FS    (TICK_NS * 1000000ull)
#define CAPABILITIES (PERIOD_FS << 32 | HPET_BLOCK_ID)
#define NEVER        UINT64_MAX
#define FAR_TICKS    (1ull << 58) /* no need to look at the clock before */

/* clang-format off */
#define HPET_TIMER(F, S)                                                        \
    F(S, VAL, u64, config,     "configuration register")                        \
    F(S, VAL, u64, comparator, "counter value of the next match")               \
    F(S, VAL, u64, period,     "what was written last: from match to match")
STATE_STRUCT(hpet_timer, HPET_TIMER);

#define HPET_STATE(F, S)                                                        \
    F(S, VAL, u64, config,  "bit 0 counts, bit 1 legacy replacement")           \
    F(S, VAL, u64, status,  "level-triggered interrupts that are active")       \
    F(S, VAL, u64, counter, "main counter")                                     \
    F(S, SUB, hpet_timer, timer, HPET_TIMERS, "timers")
/* clang-format on */
STATE_STRUCT(hpet_state, HPET_STATE);

static bool route_ok(u64 config)
{
    u64 route = (config & T_ROUTE) >> 9;

    return route == 0 || ROUTES >> route & 1;
}

static int check_timer(void *obj, struct err *e)
{
    const struct hpet_timer *t = obj;

    if ((t->config & ~T_RW) != T_FIXED || !route_ok(t->config))
        return err_set(e, -EBADMSG, "timer configuration 0x%llx", t->config);
    return 0;
}

static int check_state(void *obj, struct err *e)
{
    const struct hpet_state *s = obj;

    if (s->config & ~(u64)(CONFIG_ENABLE | CONFIG_LEGACY) || s->status >> HPET_TIMERS)
        return err_set(e, -EBADMSG, "configuration 0x%llx, status 0x%llx", s->config, s->status);
    return 0;
}
STATE_TABLE(hpet_timer, HPET_TIMER, .after_load = check_timer);
STATE_TABLE(hpet_state, HPET_STATE, .after_load = check_state);

struct hpet {
    struct device dev;
    struct hpet_state st;   /* guarded by dev.lock, as what follows */
    u64 base;               /* config */
    u64 (*clock_ns)(void);  /* host */
    u64 since_ns;           /* host: when the counter had the value that is stored */
    u8 raised[HPET_TIMERS]; /* host: line that each timer holds high, or NO_LINE */
    bool armed, paused;     /* host */
    int alarm;              /* host: a timerfd, which a vCPU sets without asking the control loop */
    struct loop_fd watch;   /* host: of the control loop */
};

static struct hpet *hpet_of(struct device *d)
{
    return container_of(d, struct hpet, dev);
}

/* ---- matches ---- */

static u64 mask_of(const struct hpet_timer *t)
{
    return t->config & T_32BIT ? UINT32_MAX : UINT64_MAX;
}

static u64 period_of(const struct hpet_timer *t)
{
    return t->config & T_PERIODIC ? t->period & mask_of(t) : 0;
}

/* Ticks from the stored counter to the next match: from 1 to a whole round, whose last tick of 2^64 does not matter. */
static u64 until_match(const struct hpet *h, const struct hpet_timer *t)
{
    u64 mask = mask_of(t), left = (t->comparator - h->st.counter) & mask;

    if (left)
        return left;
    return mask == UINT64_MAX ? mask : mask + 1;
}

static u8 line_of(const struct hpet *h, u32 i)
{
    u64 route = (h->st.timer[i].config & T_ROUTE) >> 9;

    if (h->st.config & CONFIG_LEGACY && i < 2)
        return i ? LEGACY_LINE_1 : LEGACY_LINE_0;
    return route ? (u8)route : NO_LINE;
}

static bool interrupts(const struct hpet *h, u32 i)
{
    return h->st.config & CONFIG_ENABLE && h->st.timer[i].config & T_INTERRUPT;
}

static void match(struct hpet *h, u32 i)
{
    u8 line = line_of(h, i);

    if (h->st.timer[i].config & T_LEVEL) {
        h->st.status |= 1ull << i;
    } else if (interrupts(h, i) && line != NO_LINE) {
        machine_irq(h->dev.machine, line, true);
        machine_irq(h->dev.machine, line, false);
    }
}

/* The counter is about to go on by `ticks`. */
static void pass(struct hpet *h, u32 i, u64 ticks)
{
    struct hpet_timer *t = &h->st.timer[i];
    u64 until = until_match(h, t), period = period_of(t);

    if (ticks < until)
        return;
    if (period)
        t->comparator += ((ticks - until) / period + 1) * period;
    match(h, i);
}

/* Brings the counter up to date. */
static void settle(struct hpet *h)
{
    u64 now = h->paused ? h->since_ns : h->clock_ns(), ticks = (now - h->since_ns) / TICK_NS;

    if (!(h->st.config & CONFIG_ENABLE)) {
        h->since_ns = now;
        return;
    }
    for (u32 i = 0; i < HPET_TIMERS && ticks; i++)
        pass(h, i, ticks);
    h->since_ns += ticks * TICK_NS;
    h->st.counter += ticks;
}

/* ---- after any change ---- */

static void drive_line(struct hpet *h, u32 i)
{
    bool active = h->st.status >> i & 1 && h->st.timer[i].config & T_LEVEL && interrupts(h, i);
    u8 line = active ? line_of(h, i) : NO_LINE;

    if (h->raised[i] == line)
        return;
    if (h->raised[i] != NO_LINE)
        machine_irq(h->dev.machine, h->raised[i], false);
    if (line != NO_LINE)
        machine_irq(h->dev.machine, line, true);
    h->raised[i] = line;
}

/* ns until a match that interrupts. */
static u64 until_interrupt(const struct hpet *h, u32 i)
{
    const struct hpet_timer *t = &h->st.timer[i];
    u64 ns = min(until_match(h, t), FAR_TICKS) * TICK_NS, period = period_of(t);

    if (!interrupts(h, i) || h->raised[i] != NO_LINE)
        return NEVER;
    return period && period < PERIOD_NS_MIN / TICK_NS ? max(ns, (u64)PERIOD_NS_MIN) : ns;
}

static void set_alarm(struct hpet *h, u64 ns)
{
    struct itimerspec at = {};

    if (ns == NEVER && !h->armed)
        return;
    h->armed = ns != NEVER;
    if (h->armed) {
        ns += TICK_NS; /* not before it, by what settle rounds off */
        at.it_value = (struct timespec){ (time_t)(ns / NSEC_PER_SEC), (long)(ns % NSEC_PER_SEC) };
    }
    timerfd_settime(h->alarm, 0, &at, NULL);
}

static void update(struct hpet *h)
{
    u64 next = NEVER;

    for (u32 i = 0; i < HPET_TIMERS; i++) {
        drive_line(h, i);
        next = min(next, until_interrupt(h, i));
    }
    set_alarm(h, h->paused ? NEVER : next);
}

static void on_alarm(struct loop_fd *f, int)
{
    struct hpet *h = f->arg;
    u64 n;

    pthread_mutex_lock(&h->dev.lock);
    if (read(h->alarm, &n, sizeof(n)) == sizeof(n) && !h->paused) {
        settle(h);
        update(h);
    }
    pthread_mutex_unlock(&h->dev.lock);
}

/* ---- registers ---- */

static void wrote_config(struct device *d, u64 old, u32 i)
{
    struct hpet_timer *t = &hpet_of(d)->st.timer[i];

    if (!route_ok(t->config)) /* "the value read back does not match": that is how it is probed */
        t->config = (t->config & ~T_ROUTE) | (old & T_ROUTE);
    if (!(t->config & T_LEVEL))
        hpet_of(d)->st.status &= ~(1ull << i);
}

static void wrote_comparator(struct device *d, u32 i)
{
    struct hpet_timer *t = &hpet_of(d)->st.timer[i];

    if (!(t->config & T_PERIODIC) || t->config & T_SET)
        t->comparator = t->period;
    t->config &= ~T_SET;
}

/* A row has no argument: each timer's has functions of its own. */
#define TIMER_HOOKS(i)                                           \
    static void wrote_config_##i(struct device *d, u64 old, u64) \
    {                                                            \
        wrote_config(d, old, i);                                 \
    }                                                            \
    static void wrote_comparator_##i(struct device *d, u64, u64) \
    {                                                            \
        wrote_comparator(d, i);                                  \
    }                                                            \
    static u64 peek_comparator_##i(struct device *d)             \
    {                                                            \
        const struct hpet_timer *t = &hpet_of(d)->st.timer[i];   \
                                                                 \
        return t->comparator & mask_of(t);                       \
    }
TIMER_HOOKS(0)
TIMER_HOOKS(1)
TIMER_HOOKS(2)

#define TIMER_REGS(i)                                                                            \
    REG(0x100 + 0x20 * (i), hpet, st.timer[i].config, .rw = T_RW, .reset = T_FIXED,              \
        .wrote = wrote_config_##i),                                                              \
        REG(0x108 + 0x20 * (i), hpet, st.timer[i].period, .rw = UINT64_MAX, .reset = UINT64_MAX, \
            .peek = peek_comparator_##i, .wrote = wrote_comparator_##i)

/* clang-format off */
static const struct reg_def hpet_regs[] = {
    REG(0x010, hpet, st.config,    .rw = CONFIG_ENABLE | CONFIG_LEGACY),
    REG(0x020, hpet, st.status,    .w1c = (1 << HPET_TIMERS) - 1),
    REG(0x0f0, hpet, st.counter,   .rw = UINT64_MAX),
    TIMER_REGS(0),
    TIMER_REGS(1),
    TIMER_REGS(2),
};
/* clang-format on */
static const struct reg_bank hpet_bank = REG_BANK("hpet", hpet_regs);

static u64 hpet_read(struct device *d, u64 off, u32 len)
{
    settle(hpet_of(d));
    update(hpet_of(d));
    if (range_ok(off, len, 8))
        return CAPABILITIES >> 8 * off & (len < 8 ? (1ull << 8 * len) - 1 : ~0ull);
    return reg_read(&hpet_bank, d, off, len);
}

static void hpet_write(struct device *d, u64 off, u32 len, u64 val)
{
    settle(hpet_of(d));
    reg_write(&hpet_bank, d, off, len, val);
    update(hpet_of(d));
}

static const struct bus_ops hpet_ops = { .read = hpet_read, .write = hpet_write };

/* ---- life ---- */

static struct ports range_of(const struct hpet *h)
{
    return (struct ports){ h->base, HPET_SIZE, &hpet_ops, true };
}

static void hpet_stop(struct device *d)
{
    struct hpet *h = hpet_of(d);
    const struct ports range = range_of(h);

    ports_remove(d, &range, 1);
    loop_fd_detach(d->machine->loop, &h->watch);
    fd_close(&h->alarm);
}

static int hpet_start(struct device *d, const void *arg, struct err *e)
{
    struct hpet *h = hpet_of(d);
    const struct hpet_cfg *cfg = arg;
    struct ports range;
    int r;

    h->base = cfg->base;
    h->clock_ns = clock_mono_ns;
    h->since_ns = h->clock_ns();
    memset(h->raised, NO_LINE, sizeof(h->raised));
    h->alarm = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (h->alarm < 0)
        return err_errno(e, "make a timer");
    r = loop_fd_attach(d->machine->loop, &h->watch, h->alarm, UV_READABLE, on_alarm, h);
    if (r < 0)
        err_code(e, r, "watch the timer");
    range = range_of(h);
    if (r == 0)
        r = ports_add(d, &range, 1, e);
    if (r < 0)
        hpet_stop(d);
    return r;
}

static void hpet_reset(struct device *d)
{
    struct hpet *h = hpet_of(d);

    settle(h);
    reg_reset(&hpet_bank, d);
    for_each_row(t, h->st.timer)
        t->comparator = t->period;
    update(h);
}

static void hpet_pause(struct device *d)
{
    struct hpet *h = hpet_of(d);

    settle(h);
    h->paused = true;
    update(h);
}

static void hpet_resume(struct device *d)
{
    struct hpet *h = hpet_of(d);

    h->paused = false;
    h->since_ns = h->clock_ns();
    update(h);
}

static const struct field hpet_fields[] = {
    FIELD_INT(hpet_cfg, base, "address of its registers", .dflt = 0xfed00000, .max = UINT32_MAX),
    {},
};

const struct device_def hpet_def = {
    .name = "hpet",
    .doc = "high precision event timer",
    .size = sizeof(struct hpet),
    .fields = hpet_fields,
    .cfg_size = sizeof(struct hpet_cfg),
    .parts = { STATE_PART(hpet, st, hpet_state) },
    .ranges = { { false, 0xfed00000, HPET_SIZE } },
    .banks = { &hpet_bank },
    .start = hpet_start,
    .stop = hpet_stop,
    .reset = hpet_reset,
    .pause = hpet_pause,
    .resume = hpet_resume,
};
