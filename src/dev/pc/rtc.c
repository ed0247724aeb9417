/*
 * dev/pc/rtc.c: the real-time clock and the 128 bytes beside it: Motorola's MC146818, as PCs have it.
 *   (1) The guest's clock is the host's calendar clock plus an offset: it goes on while the machine is off or paused, as one
 *       with a battery does.  The offset is the state; no time of the host is ever saved.
 *   (2) While it runs, the ten time registers are computed when they are read; while it stands (SET, or the divider held), they
 *       are plain bytes, from which the offset is made when it is let go.
 *   (3) Flags in register C are brought up to date when somebody may look: a read of C, or the timer of an enabled interrupt.
 *       While the machine is paused or saved none becomes due.
 *   (4) The timer is a timerfd, which a vCPU sets without asking the control loop; it is only set when an enabled interrupt is
 *       to come.
 */
#include "dev/pc/rtc.h"

#include "base/clock.h"
#include "base/loop.h"
#include "conf/conf.h"
#include "dev/pc/ports.h"

#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
    INDEX_PORT = 0x70, /* and the data port behind it */
    REGS = 128,

    SECONDS = 0,
    SECONDS_ALARM = 1,
    MINUTES = 2,
    MINUTES_ALARM = 3,
    HOURS = 4,
    HOURS_ALARM = 5,
    WEEKDAY = 6, /* 1 is Sunday */
    DAY = 7,
    MONTH = 8,
    YEAR = 9,
    REG_A = 10,
    REG_B = 11,
    REG_C = 12,
    REG_D = 13,
    CENTURY = 0x32, /* the FADT says so */

    A_RATE = 0x0f,
    A_DIVIDER = 0x70,
    A_HELD = 0x60,
    A_UPDATING = 0x80,
    A_RUN = 0x26, /* 32768 Hz crystal, 1024 Hz: as firmware leaves it */

    B_24H = 2,
    B_BINARY = 4,
    B_ENDED = 0x10,
    B_ALARM = 0x20,
    B_PERIODIC = 0x40,
    B_SET = 0x80,
    B_INTERRUPTS = B_ENDED | B_ALARM | B_PERIODIC, /* the flags in C are the same bits */

    C_ANY = 0x80,
    D_VALID = 0x80, /* the battery is good */

    ALARM_ANY = 0xc0, /* "don't care" */
    PM = 0x80,

    CRYSTAL_HZ = 32768,
    DAY_SECONDS = 24 * 60 * 60,
};

#define UPDATE_NS \
    (244 * NSEC_PER_USEC)      /* UIP shows this long before an update (MC146818, "Update Cycle") */
#define OFFSET_MAX (1ll << 40) /* seconds: year 9999 is at 2^38 */

/* clang-format off */
#define RTC_STATE(F, S)                                                                             \
    F(S, ARR, u8, cmos, 128,  "registers and NVRAM; the time registers only while the clock stands") \
    F(S, VAL, u8, index,      "port 0x70: the selected register")                                   \
    F(S, VAL, u8, flags,      "register C: interrupts that are due")                                \
    F(S, VAL, u64, offset_s,  "the guest's clock less the host's, in seconds, two's complement")    \
    F(S, VAL, u64, phase_ns,  "… and the fraction by which its seconds begin earlier")
/* clang-format on */
STATE_STRUCT(rtc_state, RTC_STATE);

static int check_state(void *obj, struct err *e)
{
    const struct rtc_state *s = obj;
    s64 offset = (s64)s->offset_s;

    if (s->index >= REGS || s->flags & ~B_INTERRUPTS || s->cmos[REG_A] & A_UPDATING)
        return err_set(e, -EBADMSG, "index 0x%02x, register A 0x%02x or C 0x%02x", s->index,
                       s->cmos[REG_A], s->flags);
    if (s->phase_ns >= NSEC_PER_SEC || offset > OFFSET_MAX || offset < -OFFSET_MAX)
        return err_set(e, -EBADMSG, "clock offset of %lld s and %llu ns", offset, s->phase_ns);
    return 0;
}
STATE_TABLE(rtc_state, RTC_STATE, .after_load = check_state);

struct rtc {
    struct device dev;
    struct rtc_state st;   /* guarded by dev.lock, as what follows */
    u32 gsi;               /* config */
    u64 (*clock_ns)(void); /* host: the calendar */
    struct instant {
        s64 s; /* the guest's time, since 1970 */
        u64 ns;
    } seen;               /* host: up to when the flags are known */
    bool armed, paused;   /* host */
    int timer;            /* host */
    struct loop_fd watch; /* host: of the control loop */
};

static struct rtc *rtc_of(struct device *d)
{
    return container_of(d, struct rtc, dev);
}

/* ---- the clock ---- */

/* Divider values 6 and 7 hold it in reset; the others choose crystals, of which a PC has only one. */
static bool divider_held(const struct rtc *r)
{
    return (r->st.cmos[REG_A] & A_DIVIDER) >= A_HELD;
}

static bool stands(const struct rtc *r)
{
    return r->st.cmos[REG_B] & B_SET || divider_held(r);
}

static struct instant now(const struct rtc *r)
{
    u64 ns = r->clock_ns() + r->st.phase_ns;

    return (struct instant){ (s64)(ns / NSEC_PER_SEC) + (s64)r->st.offset_s, ns % NSEC_PER_SEC };
}

static u8 encode(const struct rtc *r, int v)
{
    u8 low = (u8)(v % 100), bcd = (u8)(low / 10 << 4 | low % 10);

    return r->st.cmos[REG_B] & B_BINARY ? low : bcd;
}

static int decode(const struct rtc *r, u8 v)
{
    return r->st.cmos[REG_B] & B_BINARY ? v : (v >> 4) * 10 + (v & 15);
}

static u8 encode_hour(const struct rtc *r, int hour)
{
    if (r->st.cmos[REG_B] & B_24H)
        return encode(r, hour);
    return (u8)(encode(r, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? PM : 0));
}

static int decode_hour(const struct rtc *r, u8 v)
{
    if (r->st.cmos[REG_B] & B_24H)
        return decode(r, v);
    return decode(r, (u8)(v & ~PM)) % 12 + (v & PM ? 12 : 0);
}

/* Puts what the clock shows into the ten time registers of `regs`. */
static void show_time(const struct rtc *r, u8 *regs)
{
    time_t t = (time_t)now(r).s;
    struct tm tm = {};

    gmtime_r(&t, &tm);
    regs[SECONDS] = encode(r, tm.tm_sec);
    regs[MINUTES] = encode(r, tm.tm_min);
    regs[HOURS] = encode_hour(r, tm.tm_hour);
    regs[WEEKDAY] = encode(r, tm.tm_wday + 1);
    regs[DAY] = encode(r, tm.tm_mday);
    regs[MONTH] = encode(r, tm.tm_mon + 1);
    regs[YEAR] = encode(r, (tm.tm_year % 100 + 100) % 100);
    regs[CENTURY] = encode(r, ((tm.tm_year + 1900) / 100 + 100) % 100);
}

/* Sets the clock to what `regs` say.  Impossible dates become the possible ones that are as many days away. */
static void set_time(struct rtc *r, const u8 *regs)
{
    struct tm tm = {
        .tm_sec = decode(r, regs[SECONDS]),
        .tm_min = decode(r, regs[MINUTES]),
        .tm_hour = decode_hour(r, regs[HOURS]),
        .tm_mday = decode(r, regs[DAY]),
        .tm_mon = decode(r, regs[MONTH]) - 1,
        .tm_year = decode(r, regs[CENTURY]) * 100 + decode(r, regs[YEAR]) - 1900,
    };
    s64 want = timegm(&tm);

    r->st.offset_s += (u64)(want - now(r).s);
    r->seen = now(r);
}

/* The divider was let go: the first update comes half a second later (MC146818, "Divider Control"). */
static void begin_half_second(struct rtc *r)
{
    u64 ns = r->clock_ns() % NSEC_PER_SEC;

    r->st.phase_ns = (NSEC_PER_SEC + NSEC_PER_SEC / 2 - ns) % NSEC_PER_SEC;
}

/* ---- interrupts ---- */

/* A period is 2^this ticks of the crystal, at most half a second; rates 1 and 2 are those of 8 and 9. */
static u32 period_shift(u32 rate)
{
    return (rate < 3 ? rate + 7 : rate) - 1;
}

static u64 periods_at(struct instant t, u32 rate)
{
    return ((u64)t.s * CRYSTAL_HZ + t.ns * CRYSTAL_HZ / NSEC_PER_SEC) >> period_shift(rate);
}

static u64 until_period(struct instant t, u32 rate)
{
    u32 shift = period_shift(rate);
    u64 done = t.ns * CRYSTAL_HZ / NSEC_PER_SEC >> shift;

    return ((done + 1) << shift) * NSEC_PER_SEC / CRYSTAL_HZ - t.ns;
}

static bool alarm_matches(int want, int v)
{
    return want < 0 || want == v;
}

/* Seconds from second `from` of the day to the alarm, from 1 to a day's; 0: the alarm's time does not exist. */
static u32 until_alarm(const struct rtc *r, u32 from)
{
    const u8 *c = r->st.cmos;
    int s = c[SECONDS_ALARM] >= ALARM_ANY ? -1 : decode(r, c[SECONDS_ALARM]);
    int m = c[MINUTES_ALARM] >= ALARM_ANY ? -1 : decode(r, c[MINUTES_ALARM]);
    int h = c[HOURS_ALARM] >= ALARM_ANY ? -1 : decode_hour(r, c[HOURS_ALARM]);
    u32 t = from + 1;

    while (t <= from + DAY_SECONDS) {
        u32 day = t % DAY_SECONDS;

        if (!alarm_matches(h, (int)(day / 3600)))
            t += 3600 - day % 3600;
        else if (!alarm_matches(m, (int)(day / 60 % 60)))
            t += 60 - day % 60;
        else if (!alarm_matches(s, (int)(day % 60)))
            t++;
        else
            return t - from;
    }
    return 0;
}

static u32 second_of_day(s64 s)
{
    return (u32)((s % DAY_SECONDS + DAY_SECONDS) % DAY_SECONDS);
}

/* Sets the flags of all that happened since we looked last. */
static void settle(struct rtc *r)
{
    struct instant t = now(r), before = r->seen;
    u32 rate = r->st.cmos[REG_A] & A_RATE, alarm;

    r->seen = t;
    if (stands(r) || t.s < before.s || (t.s == before.s && t.ns <= before.ns))
        return; /* the host's clock was set back: nothing happens twice */
    if (t.s > before.s) {
        alarm = until_alarm(r, second_of_day(before.s));
        r->st.flags |= B_ENDED;
        if (alarm && before.s + alarm <= t.s)
            r->st.flags |= B_ALARM;
    }
    if (rate && periods_at(t, rate) != periods_at(before, rate))
        r->st.flags |= B_PERIODIC;
}

static bool interrupting(const struct rtc *r)
{
    return r->st.flags & r->st.cmos[REG_B] & B_INTERRUPTS;
}

static u64 until_next(const struct rtc *r)
{
    u8 waiting = r->st.cmos[REG_B] & (u8)~r->st.flags & B_INTERRUPTS,
       rate = r->st.cmos[REG_A] & A_RATE;
    struct instant t = r->seen;
    u64 second = NSEC_PER_SEC - t.ns, next = ~0ull;
    u32 alarm;

    if (stands(r) || interrupting(r))
        return next;
    if (waiting & B_ENDED)
        next = second;
    if (waiting & B_PERIODIC && rate)
        next = min(next, until_period(t, rate));
    alarm = waiting & B_ALARM ? until_alarm(r, second_of_day(t.s)) : 0;
    if (alarm)
        next = min(next, (alarm - 1) * NSEC_PER_SEC + second);
    return next;
}

/* After any change: the line as the flags say, the timer at the next flag that interrupts. */
static void update_irq(struct rtc *r)
{
    u64 ns = r->paused ? ~0ull : until_next(r);
    struct itimerspec at = {};

    machine_irq(r->dev.machine, r->gsi, interrupting(r));
    if (ns == ~0ull && !r->armed)
        return;
    r->armed = ns != ~0ull;
    if (r->armed) {
        ns += NSEC_PER_USEC; /* not before it, by rounding */
        at.it_value = (struct timespec){ (time_t)(ns / NSEC_PER_SEC), (long)(ns % NSEC_PER_SEC) };
    }
    timerfd_settime(r->timer, 0, &at, NULL);
}

static void on_timer(struct loop_fd *f, int)
{
    struct rtc *r = f->arg;
    u64 n;

    pthread_mutex_lock(&r->dev.lock);
    if (read(r->timer, &n, sizeof(n)) == sizeof(n) && !r->paused) {
        settle(r);
        update_irq(r);
    }
    pthread_mutex_unlock(&r->dev.lock);
}

/* ---- registers ---- */

static bool is_time(u32 reg)
{
    return reg == SECONDS || reg == MINUTES || reg == HOURS || (reg >= WEEKDAY && reg <= YEAR) ||
           reg == CENTURY;
}

static u8 take_flags(struct rtc *r)
{
    u8 v;

    settle(r);
    v = r->st.flags | (interrupting(r) ? C_ANY : 0);
    r->st.flags = 0;
    update_irq(r);
    return v;
}

static u8 get_cmos(struct rtc *r, u32 reg)
{
    u8 regs[REGS];

    if (is_time(reg) && !stands(r)) {
        show_time(r, regs);
        return regs[reg];
    }
    if (reg == REG_A && !stands(r) && now(r).ns >= NSEC_PER_SEC - UPDATE_NS)
        return r->st.cmos[REG_A] | A_UPDATING;
    if (reg == REG_C)
        return take_flags(r);
    return reg == REG_D ? D_VALID : r->st.cmos[reg];
}

static void clear_time(u8 *regs)
{
    for (u32 i = 0; i < REGS; i++)
        if (is_time(i))
            regs[i] = 0;
}

/* Registers A and B: what stops the clock, lets it go, or asks for interrupts. */
static void set_control(struct rtc *r, u32 reg, u8 v)
{
    u8 *c = r->st.cmos;
    bool stood = stands(r), held = divider_held(r);

    settle(r);
    if (!stood)
        show_time(r, c);
    if (reg == REG_A)
        c[REG_A] = v & (u8)~A_UPDATING;
    else
        c[REG_B] = v & B_SET ? v & (u8)~B_ENDED : v; /* SET clears UIE (MC146818, "Register B") */
    if (held && !divider_held(r))
        begin_half_second(r);
    if (stood && !stands(r))
        set_time(r, c);
    if (!stands(r))
        clear_time(c);
    r->seen = now(r);
    update_irq(r);
}

/* One time register of the running clock. */
static void change_time(struct rtc *r, u32 reg, u8 v)
{
    u8 regs[REGS];

    show_time(r, regs);
    regs[reg] = v;
    set_time(r, regs);
}

static void set_cmos(struct rtc *r, u32 reg, u8 v)
{
    if (reg == REG_A || reg == REG_B) {
        set_control(r, reg, v);
        return;
    }
    if (reg == REG_C || reg == REG_D)
        return;
    settle(r);
    if (is_time(reg) && !stands(r))
        change_time(r, reg, v);
    else
        r->st.cmos[reg] = v;
    update_irq(r);
}

static u8 get_port(struct device *d, u32 port)
{
    struct rtc *r = rtc_of(d);

    /* the index port is write-only on a PC; ones is what its bus reads */
    return port == 0 ? 0xff : get_cmos(r, r->st.index);
}

static void set_port(struct device *d, u32 port, u8 v)
{
    struct rtc *r = rtc_of(d);

    if (port == 0)
        r->st.index = v & (REGS - 1); /* bit 7 masks the NMI, which we do not have */
    else
        set_cmos(r, r->st.index, v);
}

static u64 rtc_read(struct device *d, u64 off, u32 len)
{
    return ports_read_bytes(d, off, len, get_port);
}

static void rtc_write(struct device *d, u64 off, u32 len, u64 val)
{
    ports_write_bytes(d, off, len, val, set_port);
}

static const struct bus_ops rtc_ops = { .read = rtc_read, .write = rtc_write };
static const struct ports rtc_ports[] = { { INDEX_PORT, 2, &rtc_ops, false } };

/* ---- life ---- */

static void put16(u8 *c, u32 low, u32 high, u64 v)
{
    u16 w = (u16)min(v, 0xffffull);

    c[low] = (u8)w;
    c[high] = (u8)(w >> 8);
}

/* Where a PC's firmware notes the memory (Ralf Brown's CMOS list), for payloads that look there. */
static void note_memory(u8 *c, const struct rtc_cfg *cfg)
{
    u64 below = cfg->below_4g, units = min(cfg->above_4g / (64 * KiB), 0xffffffull);
    u16 sum = 0;

    put16(c, 0x15, 0x16, min(below / KiB, 640ull));
    put16(c, 0x17, 0x18, below > MiB ? (below - MiB) / KiB : 0);
    put16(c, 0x30, 0x31, below > MiB ? (below - MiB) / KiB : 0);
    put16(c, 0x34, 0x35, below > 16 * MiB ? (below - 16 * MiB) / (64 * KiB) : 0);
    put16(c, 0x5b, 0x5c, units & 0xffff);
    c[0x5d] = (u8)(units >> 16);
    c[0x14] = 0x02; /* equipment: a coprocessor, no floppy, no display */
    for (u32 i = 0x10; i <= 0x2d; i++)
        sum = (u16)(sum + c[i]);
    c[0x2e] = (u8)(sum >> 8);
    c[0x2f] = (u8)sum;
}

static void rtc_stop(struct device *d)
{
    struct rtc *r = rtc_of(d);

    ports_remove(d, rtc_ports, ARRAY_LEN(rtc_ports));
    loop_fd_detach(d->machine->loop, &r->watch);
    fd_close(&r->timer);
}

static int rtc_start(struct device *d, const void *arg, struct err *e)
{
    struct rtc *r = rtc_of(d);
    const struct rtc_cfg *cfg = arg;
    int rc;

    tzset(); /* gmtime_r reads the host's time zone file at its first call, where a confined vCPU may not */
    r->gsi = cfg->gsi;
    r->clock_ns = clock_real_ns;
    r->st.cmos[REG_A] = A_RUN;
    r->st.cmos[REG_B] = B_24H;
    note_memory(r->st.cmos, cfg);
    r->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (r->timer < 0)
        return err_errno(e, "make a timer");
    rc = loop_fd_attach(d->machine->loop, &r->watch, r->timer, UV_READABLE, on_timer, r);
    if (rc < 0)
        err_code(e, rc, "watch the timer");
    if (rc == 0)
        rc = ports_add(d, rtc_ports, ARRAY_LEN(rtc_ports), e);
    if (rc < 0)
        rtc_stop(d);
    return rc;
}

/* Time and NVRAM have a battery; the rest is as firmware would set it up. */
static void rtc_reset(struct device *d)
{
    struct rtc *r = rtc_of(d);

    set_control(r, REG_A, A_RUN);
    set_control(r, REG_B, B_24H);
    r->st.index = 0;
    r->st.flags = 0;
    update_irq(r);
}

static void rtc_pause(struct device *d)
{
    struct rtc *r = rtc_of(d);

    if (r->st.cmos[REG_B] & B_INTERRUPTS)
        settle(r);
    r->paused = true;
    update_irq(r);
}

static void rtc_resume(struct device *d)
{
    struct rtc *r = rtc_of(d);

    r->paused = false;
    r->seen = now(r);
    update_irq(r);
}

static const struct field rtc_fields[] = {
    FIELD_INT(rtc_cfg, gsi, "interrupt line", .dflt = 8, .max = 23),
    FIELD_BYTES(rtc_cfg, below_4g, "RAM below 4 GiB"),
    FIELD_BYTES(rtc_cfg, above_4g, "RAM above 4 GiB"),
    {},
};

const struct device_def rtc_def = {
    .name = "rtc",
    .doc = "real-time clock and NVRAM (MC146818)",
    .size = sizeof(struct rtc),
    .fields = rtc_fields,
    .cfg_size = sizeof(struct rtc_cfg),
    .parts = { STATE_PART(rtc, st, rtc_state) },
    .ranges = { { true, INDEX_PORT, 2 } },
    .start = rtc_start,
    .stop = rtc_stop,
    .reset = rtc_reset,
    .pause = rtc_pause,
    .resume = rtc_resume,
};
