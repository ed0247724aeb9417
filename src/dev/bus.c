/*
 * dev/bus.c: the table of address ranges behind a bus, and dispatch to the device that answers.
 * Readers (vCPUs) never wait for one another: they search a copy-free table and look at a sequence counter before and after.
 *   (1) `seq` is odd while a writer moves rows; a reader that saw an odd or a changed value searches again.
 *   (2) Rows are atomics, stored with release and loaded with acquire, so that a row is never older than the counter says; a
 *       torn set of rows is possible inside the search, but it is never used.
 *   (3) Writers (bus_add, bus_remove: start-up and moved BARs) exclude one another by `writer`.
 */
#include "dev/bus.h"

#include "dev/dev.h"

#include <pthread.h>
#include <stdlib.h>

#define TRACE_DEF "dev/trace.def"
#include "base/trace_points.h"

struct range {
    atomic_ullong base, len;
    _Atomic(const struct bus_ops *) ops;
    _Atomic(struct device *) d;
};

/* A copy of one row. */
struct hit {
    u64 base, len;
    const struct bus_ops *ops;
    struct device *d;
};

struct bus {
    const char *name;
    pthread_mutex_t writer;
    atomic_uint seq;
    atomic_uint n;
    struct range ranges[BUS_RANGES_MAX]; /* the first n, ascending by base, no overlap */
};

static struct hit load_row(struct range *r)
{
    return (struct hit){
        atomic_load_explicit(&r->base, memory_order_acquire),
        atomic_load_explicit(&r->len, memory_order_acquire),
        atomic_load_explicit(&r->ops, memory_order_acquire),
        atomic_load_explicit(&r->d, memory_order_acquire),
    };
}

static void store_row(struct range *r, struct hit h)
{
    atomic_store_explicit(&r->base, h.base, memory_order_release);
    atomic_store_explicit(&r->len, h.len, memory_order_release);
    atomic_store_explicit(&r->ops, h.ops, memory_order_release);
    atomic_store_explicit(&r->d, h.d, memory_order_release);
}

/* How many rows begin at or below `addr`. */
static u32 rows_up_to(struct bus *b, u64 addr)
{
    u32 lo = 0, hi = atomic_load_explicit(&b->n, memory_order_acquire);

    while (lo < hi) {
        u32 mid = (lo + hi) / 2;

        if (atomic_load_explicit(&b->ranges[mid].base, memory_order_acquire) <= addr)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static bool find(struct bus *b, u64 addr, u32 len, struct hit *ret)
{
    struct hit h = {};
    u32 seq, n;
    u64 left;

    do {
        do
            seq = atomic_load_explicit(&b->seq, memory_order_acquire);
        while (unlikely(seq & 1));
        n = rows_up_to(b, addr);
        if (n)
            h = load_row(&b->ranges[n - 1]);
    } while (unlikely(atomic_load_explicit(&b->seq, memory_order_relaxed) != seq));
    if (n == 0 || addr - h.base >= h.len)
        return false;
    left = h.len - (addr - h.base);
    *ret = h;
    return len <= left || len - left <= h.ops->overhang;
}

static u64 ones(u32 len)
{
    return len >= 8 ? ~0ull : (1ull << 8 * len) - 1;
}

bool bus_read(struct bus *b, u64 addr, u32 len, u64 *ret)
{
    struct hit h;

    if (!find(b, addr, len, &h)) {
        trace_bus_read_none(addr, len);
        *ret = ones(len);
        return false;
    }
    pthread_mutex_lock(&h.d->lock);
    *ret = h.ops->read(h.d, addr - h.base, len) & ones(len);
    pthread_mutex_unlock(&h.d->lock);
    return true;
}

bool bus_write(struct bus *b, u64 addr, u32 len, u64 val)
{
    struct hit h;

    if (!find(b, addr, len, &h)) {
        trace_bus_write_none(addr, len, val);
        return false;
    }
    pthread_mutex_lock(&h.d->lock);
    h.ops->write(h.d, addr - h.base, len, val & ones(len));
    pthread_mutex_unlock(&h.d->lock);
    return true;
}

struct bus *bus_new(const char *name)
{
    struct bus *b = xnew(struct bus);

    b->name = name;
    pthread_mutex_init(&b->writer, NULL);
    return b;
}

void bus_free(struct bus *b)
{
    if (!b)
        return;
    pthread_mutex_destroy(&b->writer);
    free(b);
}

static void change_begin(struct bus *b)
{
    atomic_store_explicit(&b->seq, atomic_load(&b->seq) + 1, memory_order_relaxed);
}

static void change_end(struct bus *b)
{
    atomic_store_explicit(&b->seq, atomic_load(&b->seq) + 1, memory_order_release);
}

static int overlap(const struct bus *b, struct hit old, u64 base, u64 len, struct err *e)
{
    return err_set(e, -EEXIST, "%s 0x%llx to 0x%llx: '%s' answers at 0x%llx to 0x%llx", b->name,
                   base, base + len - 1, old.d->name, old.base, old.base + old.len - 1);
}

/* Where a new range goes in the table. */
static int place(struct bus *b, u64 base, u64 len, u32 *ret_at, struct err *e)
{
    u32 n = atomic_load(&b->n), at = rows_up_to(b, base);
    struct hit row;

    if (at > 0) {
        row = load_row(&b->ranges[at - 1]);
        if (base - row.base < row.len)
            return overlap(b, row, base, len, e);
    }
    if (at < n) {
        row = load_row(&b->ranges[at]);
        if (row.base - base < len)
            return overlap(b, row, base, len, e);
    }
    if (n == BUS_RANGES_MAX)
        return err_set(e, -ENOSPC, "%s has %u address ranges already", b->name, n);
    *ret_at = at;
    return 0;
}

int bus_add(struct bus *b, u64 base, u64 len, const struct bus_ops *ops, struct device *d,
            struct err *e)
{
    u32 at = 0, n;
    int r;

    if (len == 0 || base + (len - 1) < base)
        return err_set(e, -EINVAL, "%s 0x%llx: a range of 0x%llx bytes", b->name, base, len);
    pthread_mutex_lock(&b->writer);
    r = place(b, base, len, &at, e);
    if (r == 0) {
        n = atomic_load(&b->n);
        change_begin(b);
        for (u32 i = n; i > at; i--)
            store_row(&b->ranges[i], load_row(&b->ranges[i - 1]));
        store_row(&b->ranges[at], (struct hit){ base, len, ops, d });
        atomic_store_explicit(&b->n, n + 1, memory_order_release);
        change_end(b);
    }
    pthread_mutex_unlock(&b->writer);
    return r;
}

void bus_remove(struct bus *b, u64 base, struct device *d)
{
    u32 at = 0, n;
    struct hit row = {};

    pthread_mutex_lock(&b->writer);
    at = rows_up_to(b, base);
    n = atomic_load(&b->n);
    if (at > 0)
        row = load_row(&b->ranges[at - 1]);
    if (at > 0 && row.base == base && row.d == d) {
        change_begin(b);
        for (u32 i = at; i < n; i++)
            store_row(&b->ranges[i - 1], load_row(&b->ranges[i]));
        atomic_store_explicit(&b->n, n - 1, memory_order_release);
        change_end(b);
    }
    pthread_mutex_unlock(&b->writer);
}

void bus_list(struct bus *b, void (*fn)(void *arg, u64 base, u64 len, struct device *d), void *arg)
{
    struct hit rows[BUS_RANGES_MAX]; /* our copy: `fn` may change the bus */
    u32 n;

    pthread_mutex_lock(&b->writer);
    n = atomic_load(&b->n);
    for (u32 i = 0; i < n; i++)
        rows[i] = load_row(&b->ranges[i]);
    pthread_mutex_unlock(&b->writer);
    for (u32 i = 0; i < n; i++)
        fn(arg, rows[i].base, rows[i].len, rows[i].d);
}
