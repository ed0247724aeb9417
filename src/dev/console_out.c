/*
 * dev/console_out.c: see console_out.h.
 */
#include "dev/console_out.h"

#include "base/clock.h"
#include "base/console_head.h"

#include <unistd.h>

static bool is_live(const struct console_taker *t)
{
    return t->fd >= 0 && !t->lost;
}

static bool any_live(const struct console_out *o)
{
    for_each_row(t, o->taker)
        if (is_live(t))
            return true;
    return false;
}

void console_out_init(struct console_out *o)
{
    for_each_row(t, o->taker)
        *t = (struct console_taker){ .fd = -1 };
    o->stream = console_head_new_stream();
}

/* Bytes that all have taken are forgotten. */
static void settle(struct console_out *o)
{
    u32 most = 0;

    if (!any_live(o))
        return;
    for_each_row(t, o->taker)
        if (is_live(t))
            most = max(most, t->behind);
    o->first = (o->first + o->n - most) % CHARDEV_RING;
    o->n = most;
}

static int add(struct console_out *o, int fd, u32 behind)
{
    for_each_row(t, o->taker)
        if (t->fd < 0) {
            *t = (struct console_taker){ .fd = fd, .behind = behind };
            return (int)(t - o->taker);
        }
    return -1;
}

int console_out_add(struct console_out *o, int fd)
{
    return add(o, fd, any_live(o) ? 0 : o->n);
}

int console_out_add_with_head(struct console_out *o, int fd)
{
    const u32 before = (u32)min(o->written, (u64)CHARDEV_RING), end = o->first + o->n;
    const struct console_head head = { o->stream, o->written, before };
    u8 bytes[CONSOLE_HEAD_SIZE];
    int i = add(o, fd, before);

    if (i < 0)
        return -1;
    o->n = max(o->n, before);
    o->first = (end + CHARDEV_RING - o->n) % CHARDEV_RING;
    console_head_put(bytes, &head);
    if (write(fd, bytes, sizeof(bytes)) != sizeof(bytes)) /* a new socket has room for it */
        o->taker[i].lost = true;
    return i;
}

void console_out_remove(struct console_out *o, u32 i)
{
    o->taker[i] = (struct console_taker){ .fd = -1 };
    settle(o);
}

static void write_failed(struct console_out *o, struct console_taker *t)
{
    if (o->to_file) {
        log_warn_limited("console: output is lost: %s", strerror(errno));
        t->behind = 0;
        return;
    }
    t->lost = true;
    if (o->comes)
        return;
    log_warn("console: nobody takes its output any more: %s", strerror(errno));
    o->lost = true;
}

/* Who keeps up costs no look at the clock. */
static void taker_write(struct console_out *o, struct console_taker *t)
{
    bool moved = !t->held_ns;

    while (console_taker_wants(t)) {
        u32 at = (o->first + o->n - t->behind) % CHARDEV_RING;
        ssize_t n = write(t->fd, o->ring + at, min(t->behind, CHARDEV_RING - at));

        if (n > 0) {
            t->behind -= (u32)n;
            moved = true;
        } else if (n < 0 && errno == EAGAIN) {
            if (moved)
                t->held_ns = clock_mono_ns();
            return;
        } else if (n == 0 || errno != EINTR) {
            write_failed(o, t);
        }
    }
    t->held_ns = 0;
}

void console_out_drain(struct console_out *o)
{
    for_each_row(t, o->taker)
        taker_write(o, t);
    settle(o);
}

static void put(struct console_out *o, const u8 *data, u32 len)
{
    u32 at = (o->first + o->n) % CHARDEV_RING, run = min(len, CHARDEV_RING - at);

    memcpy(o->ring + at, data, run);
    memcpy(o->ring, data + run, len - run);
    o->n += len;
    o->written += len;
    for_each_row(t, o->taker)
        if (is_live(t))
            t->behind += len;
}

void console_out_past(struct console_out *o, const void *data, u32 len)
{
    if (o->written > 0 || any_live(o))
        return;
    put(o, data, len);
    o->first = o->n;
    o->n = 0;
}

/* Makes room for `len` bytes by forgetting the oldest. */
static void forget(struct console_out *o, u32 len)
{
    u32 room = CHARDEV_RING - o->n, drop = len > room ? len - room : 0;

    o->first = (o->first + drop) % CHARDEV_RING;
    o->n -= drop;
    for_each_row(t, o->taker)
        t->behind = min(t->behind, o->n);
}

/* What finds room, and what room that makes. */
static u32 write_some(struct console_out *o, const u8 *data, u32 len)
{
    u32 done = 0;

    while (done < len && o->n < CHARDEV_RING) {
        u32 run = min(len - done, CHARDEV_RING - o->n);

        put(o, data + done, run);
        done += run;
        console_out_drain(o);
    }
    return done;
}

u32 console_out_write(struct console_out *o, const void *data, u32 len)
{
    const u8 *p = data;
    u32 done = 0, keep;

    if (!o->comes && !any_live(o))
        return len;
    done = write_some(o, p, len);
    if (o->lost)
        return len;
    if (console_out_is_awaited(o))
        return done;
    keep = min(len - done, (u32)CHARDEV_RING);
    forget(o, keep);
    put(o, p + (len - keep), keep);
    return len;
}

bool console_out_is_awaited(const struct console_out *o)
{
    return o->waits && any_live(o);
}

bool console_out_is_stuck(const struct console_out *o, u32 i, u64 ns)
{
    const struct console_taker *t = &o->taker[i];

    return console_taker_wants(t) && t->behind == o->n && o->n > CHARDEV_RING / 2 && t->held_ns &&
           clock_mono_ns() - t->held_ns >= ns;
}
