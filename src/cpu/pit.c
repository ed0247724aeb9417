/*
 * cpu/pit.c: the PC's interval timer.  (Intel 8254, "the sheet")
 *   (1) A channel is its mode, its count and the time since which it counts; output and count are computed when somebody looks.
 *   (2) A channel counts from the control word's count on (modes 0, 2, 3, 4) or from a rising gate (1, 5).  A low gate holds
 *       modes 0, 2, 3 and 4.  Only channel 2's gate is a wire (port 0x61).
 *   (3) A new count counts at once, not when the old one is over: the saved form has no room for two.
 *   (4) An edge that comes late comes once.
 */
#include "cpu/pit.h"

enum pit_bytes { NOTHING, LOW, HIGH, FIRST, SECOND }; /* rw_mode: 1, 2, 3 */

enum {
    CONTROL_PORT = 0x43,
    SPEAKER_PORT = 0x61,
    COUNTERS_PORT = 0x40,
    SPEAKER_CHANNEL = 2,

    READ_BACK = 3, /* instead of a channel */
    NO_COUNT = 0x20,
    NO_STATUS = 0x10,
    STATUS_OUT = 0x80,
    STATUS_NULL = 0x40,

    P61_GATE = 0x01,
    P61_SPEAKER = 0x02,
    P61_REFRESH = 0x10,
    P61_OUT = 0x20,

    MODES = 6,
    NO_MODE = 0xff, /* KVM's word for "since power-on" */

    FLAG_SPEAKER = 2, /* KVM_PIT_FLAGS_SPEAKER_DATA_ON */
    FLAGS_AT = 72,

    COUNT_MAX = 0x10000,
    REFRESH_NS = 15085,   /* a DRAM refresh: 18 ticks */
    EDGES_NS_MIN = 50000, /* no more often: what is shorter only burns the host's time */
};

#define TICK_NEVER UINT64_MAX
/* Longer than any count: a channel that was not yet triggered is one which had its pulse long ago. */
#define LONG_AGO_NS (1ll << 62)

static_assert(sizeof(struct pit_channel) == 24, "KVM's layout");
static_assert(PIT_CHANNELS * sizeof(struct pit_channel) == FLAGS_AT, "KVM's layout");

/* Properties of each mode. */
enum { TRIGGERED = 1, GATED = 2, RELOADS = 4 };
static const u8 traits[MODES] = {
    [0] = GATED,           [1] = TRIGGERED, [2] = GATED | RELOADS,
    [3] = GATED | RELOADS, [4] = GATED,     [5] = TRIGGERED,
};

static bool is(const struct pit_channel *c, u8 trait)
{
    return c->mode < MODES && traits[c->mode] & trait;
}

/* ---- time ---- */

static bool held(const struct pit_channel *c)
{
    return !c->gate && is(c, GATED);
}

static s64 elapsed_ns(const struct pit_channel *c, u64 now_ns)
{
    return held(c) ? c->since_ns : (s64)now_ns - c->since_ns;
}

/* From now on, it has run for `elapsed`. */
static void set_elapsed(struct pit_channel *c, s64 elapsed, u64 now_ns)
{
    c->since_ns = held(c) ? elapsed : (s64)now_ns - elapsed;
}

static u64 ticks_in(s64 ns)
{
    return (u64)((unsigned __int128)ns * PIT_HZ / NSEC_PER_SEC);
}

/* The first ns in which so many ticks are over. */
static u64 ns_of(u64 ticks)
{
    return (u64)(((unsigned __int128)ticks * NSEC_PER_SEC + PIT_HZ - 1) / PIT_HZ);
}

static u64 ticks(const struct pit_channel *c, u64 now_ns)
{
    return ticks_in(elapsed_ns(c, now_ns));
}

/* ---- output ---- */

/* Between the two bytes of a count mode 0 does not count ("writing the first byte disables counting"). */
static bool counts(const struct pit_channel *c)
{
    return c->count && c->mode < MODES && !(c->mode == 0 && c->write_state == SECOND);
}

static bool out(const struct pit_channel *c, u64 now_ns)
{
    u64 t = ticks(c, now_ns), n = c->count;

    if (!counts(c))
        return c->mode != 0;
    switch (c->mode) {
    case 0:
    case 1:
        return t >= n;
    case 2:
        return held(c) || t % n != n - 1;
    case 3:
        return held(c) || t % n < (n + 1) / 2;
    default: /* 4 and 5: low for one tick */
        return t != n;
    }
}

/* The tick of the first rising edge. */
static u64 first_edge(const struct pit_channel *c)
{
    return c->mode >= 4 ? c->count + 1ull : c->count;
}

static u64 edges(const struct pit_channel *c, u64 now_ns)
{
    u64 t = ticks(c, now_ns);

    if (!counts(c))
        return 0;
    return is(c, RELOADS) ? t / c->count : t >= first_edge(c);
}

static u64 next_edge(const struct pit_channel *c, u64 now_ns)
{
    u64 t = ticks(c, now_ns);

    if (!counts(c) || held(c))
        return TICK_NEVER;
    if (!is(c, RELOADS))
        return t < first_edge(c) ? first_edge(c) : TICK_NEVER;
    if (c->count < ticks_in(EDGES_NS_MIN))
        t += ticks_in(EDGES_NS_MIN);
    return (t / c->count + 1) * c->count;
}

/* Threads may come here in another order than they looked at the clock in. */
static u64 advance(struct pit *p, u64 now_ns)
{
    p->now_ns = max(p->now_ns, now_ns);
    return p->now_ns;
}

/* After anything that changed channel 0, or when time went on. */
static void settle(struct pit *p, u64 now_ns)
{
    const struct pit_channel *c = &p->ch[0];
    u64 n = edges(c, now_ns), next = next_edge(c, now_ns);
    bool rose = n > p->seen;

    p->seen = n;
    p->deadline_ns = next == TICK_NEVER ? UINT64_MAX : (u64)(c->since_ns + (s64)ns_of(next));
    if (rose)
        p->rose(p->arg);
}

/* Channel 0 was started anew: what it did before is no edge. */
static void restart_edges(struct pit *p, u64 now_ns)
{
    p->seen = edges(&p->ch[0], now_ns);
    settle(p, now_ns);
}

/* ---- counts ---- */

static u32 from_bcd(u32 v)
{
    return (v >> 12) * 1000 + (v >> 8 & 15) * 100 + (v >> 4 & 15) * 10 + (v & 15);
}

static u16 to_bcd(u32 v)
{
    return (u16)(v / 1000 % 10 << 12 | v / 100 % 10 << 8 | v / 10 % 10 << 4 | v % 10);
}

/* What the counting element shows, in the guest's notation. */
static u16 current(const struct pit_channel *c, u64 now_ns)
{
    u64 t = ticks(c, now_ns), n = c->count, wrap = c->bcd ? 10000 : COUNT_MAX;

    if (!counts(c))
        return 0;
    if (c->mode == 2)
        n -= t % n;
    else if (c->mode == 3)
        n -= 2 * t % n; /* counts down by two */
    else
        n = (n + wrap - t % wrap) % wrap;
    return c->bcd ? to_bcd((u32)n) : (u16)n;
}

static void set_count(struct pit_channel *c, u32 written, u64 now_ns)
{
    bool first = !c->count;
    u32 n = c->bcd ? from_bcd(written) : written;

    c->count = n ? n : c->bcd ? 10000 : COUNT_MAX;
    if (!is(c, TRIGGERED))
        set_elapsed(c, 0, now_ns);
    else if (first)
        set_elapsed(c, LONG_AGO_NS, now_ns);
}

static void set_gate(struct pit_channel *c, bool gate, u64 now_ns)
{
    s64 elapsed = elapsed_ns(c, now_ns);
    bool rises = gate && !c->gate;

    c->gate = gate;
    if (rises && is(c, TRIGGERED | RELOADS))
        elapsed = 0;
    set_elapsed(c, elapsed, now_ns);
}

/* ---- control words ---- */

static void latch_count(struct pit_channel *c, u64 now_ns)
{
    if (c->count_latched)
        return; /* "ignored until it has been read" */
    c->latched_count = current(c, now_ns);
    c->count_latched = c->rw_mode;
}

static void latch_status(struct pit_channel *c, u64 now_ns)
{
    if (c->status_latched)
        return;
    c->status_latched = 1;
    c->status = (u8)(c->rw_mode << 4 | (c->mode & 7) << 1 | c->bcd);
    c->status |= (out(c, now_ns) ? STATUS_OUT : 0) | (c->count ? 0 : STATUS_NULL);
}

static void read_back(struct pit *p, u8 val, u64 now_ns)
{
    for (u32 i = 0; i < PIT_CHANNELS; i++) {
        if (!(val & 2u << i))
            continue;
        if (!(val & NO_COUNT))
            latch_count(&p->ch[i], now_ns);
        if (!(val & NO_STATUS))
            latch_status(&p->ch[i], now_ns);
    }
}

static void set_mode(struct pit_channel *c, u8 val, u64 now_ns)
{
    u8 mode = val >> 1 & 7;

    c->rw_mode = c->read_state = c->write_state = val >> 4 & 3;
    c->mode = mode < MODES ? mode : mode & 3; /* "X10" and "X11" */
    c->bcd = val & 1;
    c->count = 0;
    c->count_latched = c->status_latched = 0;
    set_elapsed(c, 0, now_ns);
}

static void write_control(struct pit *p, u8 val, u64 now_ns)
{
    u32 i = val >> 6;

    if (i == READ_BACK)
        read_back(p, val, now_ns);
    else if (val & 0x30)
        set_mode(&p->ch[i], val, now_ns);
    else
        latch_count(&p->ch[i], now_ns);
}

/* ---- ports ---- */

static u8 byte_of(u16 v, bool high)
{
    return (u8)(high ? v >> 8 : v);
}

static u8 read_latched(struct pit_channel *c)
{
    u8 which = c->count_latched;

    c->count_latched = which == FIRST ? HIGH : NOTHING;
    return byte_of(c->latched_count, which == HIGH);
}

static u8 read_counter(struct pit_channel *c, u64 now_ns)
{
    u8 which = c->read_state;

    if (c->status_latched) {
        c->status_latched = 0;
        return c->status;
    }
    if (c->count_latched)
        return read_latched(c);
    if (which >= FIRST)
        c->read_state = which == FIRST ? SECOND : FIRST;
    return byte_of(current(c, now_ns), which == HIGH || which == SECOND);
}

static void write_counter(struct pit_channel *c, u8 val, u64 now_ns)
{
    switch (c->write_state) {
    case LOW:
        set_count(c, val, now_ns);
        break;
    case HIGH:
        set_count(c, (u32)val << 8, now_ns);
        break;
    case FIRST:
        c->write_latch = val;
        c->write_state = SECOND;
        break;
    case SECOND:
        c->write_state = FIRST;
        set_count(c, (u32)val << 8 | c->write_latch, now_ns);
        break;
    default: /* no control word yet */
        break;
    }
}

static u8 read_speaker(struct pit *p, u64 now_ns)
{
    const struct pit_channel *c = &p->ch[SPEAKER_CHANNEL];

    return (c->gate ? P61_GATE : 0) | (p->speaker ? P61_SPEAKER : 0) |
           (now_ns / REFRESH_NS & 1 ? P61_REFRESH : 0) | (out(c, now_ns) ? P61_OUT : 0);
}

bool pit_has_port(u16 port)
{
    return (port >= COUNTERS_PORT && port <= CONTROL_PORT) || port == SPEAKER_PORT;
}

u8 pit_read(struct pit *p, u16 port, u64 now_ns)
{
    u8 v = 0; /* the control word cannot be read */

    must(pit_has_port(port));
    pthread_mutex_lock(&p->lock);
    now_ns = advance(p, now_ns);
    if (port == SPEAKER_PORT)
        v = read_speaker(p, now_ns);
    else if (port != CONTROL_PORT)
        v = read_counter(&p->ch[port - COUNTERS_PORT], now_ns);
    pthread_mutex_unlock(&p->lock);
    return v;
}

void pit_write(struct pit *p, u16 port, u8 val, u64 now_ns)
{
    must(pit_has_port(port));
    pthread_mutex_lock(&p->lock);
    now_ns = advance(p, now_ns);
    settle(p, now_ns);
    if (port == SPEAKER_PORT) {
        p->speaker = val & P61_SPEAKER;
        set_gate(&p->ch[SPEAKER_CHANNEL], val & P61_GATE, now_ns);
    } else if (port == CONTROL_PORT) {
        write_control(p, val, now_ns);
    } else {
        write_counter(&p->ch[port - COUNTERS_PORT], val, now_ns);
    }
    restart_edges(p, now_ns);
    pthread_mutex_unlock(&p->lock);
}

u64 pit_deadline_ns(struct pit *p)
{
    u64 ns;

    pthread_mutex_lock(&p->lock);
    ns = p->deadline_ns;
    pthread_mutex_unlock(&p->lock);
    return ns;
}

void pit_tick(struct pit *p, u64 now_ns)
{
    pthread_mutex_lock(&p->lock);
    now_ns = advance(p, now_ns);
    settle(p, now_ns);
    pthread_mutex_unlock(&p->lock);
}

/* ---- life ---- */

void pit_reset(struct pit *p)
{
    pthread_mutex_lock(&p->lock);
    p->speaker = false;
    p->seen = 0;
    p->deadline_ns = UINT64_MAX;
    for (u32 i = 0; i < PIT_CHANNELS; i++)
        p->ch[i] = (struct pit_channel){ .mode = NO_MODE, .gate = i != SPEAKER_CHANNEL };
    pthread_mutex_unlock(&p->lock);
}

void pit_init(struct pit *p, void (*rose)(void *), void *arg)
{
    *p = (struct pit){ .rose = rose, .arg = arg };
    pthread_mutex_init(&p->lock, NULL);
    pit_reset(p);
}

/* As many whole periods less as it takes to stay in range: PIT_HZ of them are a whole number of seconds. */
static s64 in_range(const struct pit_channel *c, s64 elapsed)
{
    if (c->mode >= MODES)
        return 0;
    if (is(c, RELOADS) && c->count)
        return elapsed % (s64)(c->count * NSEC_PER_SEC);
    return min(elapsed, LONG_AGO_NS);
}

void pit_save(struct pit *p, u8 ret[PIT_STATE_SIZE], u64 now_ns)
{
    memset(ret, 0, PIT_STATE_SIZE);
    pthread_mutex_lock(&p->lock);
    now_ns = advance(p, now_ns);
    settle(p, now_ns);
    for (u32 i = 0; i < PIT_CHANNELS; i++) {
        struct pit_channel c = p->ch[i];

        c.since_ns = in_range(&c, elapsed_ns(&c, now_ns));
        memcpy(ret + i * sizeof(c), &c, sizeof(c));
    }
    le_store(ret + FLAGS_AT, 4, p->speaker ? FLAG_SPEAKER : 0);
    pthread_mutex_unlock(&p->lock);
}

/* Comes from a file: fields that index or choose are brought into their range. */
static void load_channel(struct pit_channel *c, u64 now_ns)
{
    s64 elapsed = max(c->since_ns, 0ll);

    c->count = min(c->count, (u32)COUNT_MAX);
    c->mode = c->mode < MODES ? c->mode : NO_MODE;
    c->bcd &= 1;
    c->gate = c->gate ? 1 : 0;
    c->rw_mode &= 3;
    c->count_latched &= 3;
    c->read_state = c->read_state <= SECOND ? c->read_state : NOTHING;
    c->write_state = c->write_state <= SECOND ? c->write_state : NOTHING;
    set_elapsed(c, in_range(c, elapsed), now_ns);
}

void pit_load(struct pit *p, const u8 in[PIT_STATE_SIZE], u64 now_ns)
{
    pthread_mutex_lock(&p->lock);
    p->now_ns = now_ns;
    memcpy(p->ch, in, sizeof(p->ch));
    for_each_row(c, p->ch)
        load_channel(c, now_ns);
    p->speaker = le_load(in + FLAGS_AT, 4) & FLAG_SPEAKER;
    restart_edges(p, now_ns);
    pthread_mutex_unlock(&p->lock);
}
