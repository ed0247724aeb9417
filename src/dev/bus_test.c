/*
 * dev/bus_test.c: who answers where, and that readers never see a table half changed.
 */
#include "dev/bus.h"

#include "dev/dev.h"
#include "testlib/test.h"

#include <pthread.h>
#include <semaphore.h>

struct port {
    struct device dev;
    u64 off, val;
    u32 len, reads, writes;
    u64 answer;
};

static u64 port_read(struct device *d, u64 off, u32 len)
{
    struct port *p = container_of(d, struct port, dev);

    p->reads++;
    p->off = off;
    p->len = len;
    return p->answer;
}

static void port_write(struct device *d, u64 off, u32 len, u64 val)
{
    struct port *p = container_of(d, struct port, dev);

    p->writes++;
    p->off = off;
    p->len = len;
    p->val = val;
}

static const struct bus_ops port_ops = { .read = port_read, .write = port_write };
static const struct bus_ops overhang_ops = { .read = port_read,
                                             .write = port_write,
                                             .overhang = 3 };

static void port_init(struct port *p, const char *name, u64 answer)
{
    *p = (struct port){ .answer = answer };
    pthread_mutex_init(&p->dev.lock, NULL);
    str_copy(p->dev.name, sizeof(p->dev.name), name);
}

TEST(bus_dispatch)
{
    /* clang-format off */
    static const struct {
        const char *why;
        u64 addr; u32 len; bool answers; u64 value;
    } rows[] = {
        { "first byte",                   0x100,                1, true,  0xa1 },
        { "a dword of it",                0x10c,                4, true,  0xa1a1a1a1 },
        { "across its end",               0x10e,                4, false, 0xffffffff },
        { "before it",                    0xff,                 1, false, 0xff },
        { "from before into it",          0xff,                 2, false, 0xffff },
        { "behind it",                    0x110,                2, false, 0xffff },
        { "a neighbour",                  0x200,                8, true,  0xb2b2b2b2b2b2b2b2 },
        { "the last byte of all",         0xffffffffffffffff,   1, true,  0xc3 },
        { "across the end of all",        0xfffffffffffffffe,   4, false, 0xffffffff },
        { "an overhanging access",        0x300,                4, true,  0xd4d4d4d4 },
        { "overhang is not a range",      0x301,                4, false, 0xffffffff },
        { "overhang has an end",          0x300,                8, false, 0xffffffffffffffff },
        { "under the overhang, another",  0x301,                1, true,  0xa1 },
    };
    /* clang-format on */
    struct bus *b = bus_new("port");
    struct port a, bb, c, d;
    u64 v;

    port_init(&a, "a", 0xa1a1a1a1a1a1a1a1);
    port_init(&bb, "b", 0xb2b2b2b2b2b2b2b2);
    port_init(&c, "c", 0xc3c3c3c3c3c3c3c3);
    port_init(&d, "d", 0xd4d4d4d4d4d4d4d4);
    CHECK_EQ(bus_add(b, 0x200, 8, &port_ops, &bb.dev, NULL), 0);
    CHECK_EQ(bus_add(b, 0x100, 16, &port_ops, &a.dev, NULL), 0);
    CHECK_EQ(bus_add(b, 0xfffffffffffffff0, 16, &port_ops, &c.dev, NULL), 0);
    CHECK_EQ(bus_add(b, 0x300, 1, &overhang_ops, &d.dev, NULL), 0);
    CHECK_EQ(bus_add(b, 0x301, 1, &port_ops, &a.dev, NULL), 0);
    for_each_row(r, rows) {
        ROW(r);
        CHECK_EQ(bus_read(b, r->addr, r->len, &v), r->answers);
        CHECK_EQ(v, r->value);
        CHECK_EQ(bus_write(b, r->addr, r->len, 0), r->answers);
    }
    CHECK_EQ(bus_write(b, 0x104, 2, 0x12345), true);
    CHECK_EQ(a.off, 4);
    CHECK_EQ(a.len, 2);
    CHECK_EQ(a.val, 0x2345);
    bus_free(b);
}

TEST(bus_overlap)
{
    /* clang-format off */
    static const struct {
        const char *why;
        u64 base, len; int r;
    } rows[] = {
        { "the same",               0x1000, 0x100,   -EEXIST },
        { "into its start",         0xff0,  0x11,    -EEXIST },
        { "its last byte",          0x10ff, 1,       -EEXIST },
        { "around it",              0,      0x10000, -EEXIST },
        { "everything",             0,      ~0ull,   -EEXIST },
        { "nothing",                0x50,   0,       -EINVAL },
        { "around the end of all",  ~0ull,  2,       -EINVAL },
        { "up to it",               0xf00,  0x100,   0 },
        { "from its end",           0x1100, 1,       0 },
    };
    /* clang-format on */
    struct bus *b = bus_new("memory");
    struct port p;
    struct err e = {};

    port_init(&p, "disk0", 0);
    CHECK_EQ(bus_add(b, 0x1000, 0x100, &port_ops, &p.dev, NULL), 0);
    for_each_row(r, rows) {
        ROW(r);
        CHECK_EQ(bus_add(b, r->base, r->len, &port_ops, &p.dev, &e), r->r);
    }
    CHECK_EQ(bus_add(b, 0x1080, 4, &port_ops, &p.dev, &e), -EEXIST);
    CHECK_STR(e.text, "memory 0x1080 to 0x1083: 'disk0' answers at 0x1000 to 0x10ff");
    bus_free(b);
}

static void count_range(void *arg, u64 base, u64, struct device *)
{
    u64 *last = arg;

    CHECK(base > *last);
    *last = base;
}

TEST(bus_full_and_remove)
{
    struct bus *b = bus_new("port");
    struct port p, other;
    u64 last = 0, v;

    port_init(&p, "p", 1);
    port_init(&other, "other", 1);
    for (u64 i = BUS_RANGES_MAX; i > 0; i--)
        CHECK_EQ(bus_add(b, i * 16, 8, &port_ops, &p.dev, NULL), 0);
    CHECK_EQ(bus_add(b, 1 << 20, 8, &port_ops, &p.dev, NULL), -ENOSPC);
    bus_list(b, count_range, &last);
    CHECK_EQ(last, BUS_RANGES_MAX * 16);
    bus_remove(b, 16, &other.dev); /* not its owner */
    CHECK(bus_read(b, 16, 1, &v));
    bus_remove(b, 17, &p.dev); /* not its base */
    CHECK(bus_read(b, 16, 1, &v));
    bus_remove(b, 16, &p.dev);
    CHECK(!bus_read(b, 16, 1, &v));
    CHECK(bus_read(b, 32, 1, &v));
    CHECK_EQ(bus_add(b, 1 << 20, 8, &port_ops, &p.dev, NULL), 0);
    bus_free(b);
}

struct reader {
    struct bus *b;
    atomic_bool stop;
    u64 wrong;
    atomic_ullong done;
};

static void *read_on(void *arg)
{
    struct reader *r = arg;
    u64 v;

    do {
        r->wrong += !bus_read(r->b, 0x5000, 4, &v) || v != 0x55555555;
        r->wrong += bus_read(r->b, 0x9000, 4, &v);
        atomic_fetch_add(&r->done, 1);
    } while (!atomic_load(&r->stop));
    return NULL;
}

TEST(bus_changes_under_readers)
{
    struct bus *b = bus_new("memory");
    struct reader r = { .b = b };
    struct port stays, moves;
    pthread_t t;

    port_init(&stays, "stays", 0x5555555555555555);
    port_init(&moves, "moves", 0x6666666666666666);
    CHECK_EQ(bus_add(b, 0x5000, 0x100, &port_ops, &stays.dev, NULL), 0);
    CHECK_EQ(pthread_create(&t, NULL, read_on, &r), 0);
    for (u64 i = 0; i < 200000 || atomic_load(&r.done) < 500000; i++) {
        u64 base = 0x100 * (i % 0x50); /* below, so that the row that stays is moved in the table */

        if (bus_add(b, base, 0x100, &port_ops, &moves.dev, NULL) == 0)
            bus_remove(b, base, &moves.dev);
    }
    atomic_store(&r.stop, true);
    pthread_join(t, NULL);
    CHECK_EQ(r.wrong, 0);
    bus_free(b);
}

struct slow {
    struct device dev;
    struct bus *b;
    sem_t inside, go_on;
};

static void slow_write(struct device *d, u64, u32, u64)
{
    struct slow *s = container_of(d, struct slow, dev);

    sem_post(&s->inside);
    sem_wait(&s->go_on);
}

static void *write_slowly(void *arg)
{
    struct slow *s = arg;

    bus_write(s->b, 0x2000, 4, 1);
    return NULL;
}

/* One vCPU is inside a device for as long as that takes; another's accesses elsewhere on the bus pass: no lock is common to both.
 * With one, this test would not end. */
TEST(bus_one_waits_alone)
{
    static const struct bus_ops slow_ops = { .read = port_read, .write = slow_write };
    struct bus *b = bus_new("memory");
    struct slow slow = { .b = b };
    struct port quick;
    pthread_t t;
    u64 v = 0;

    pthread_mutex_init(&slow.dev.lock, NULL);
    sem_init(&slow.inside, 0, 0);
    sem_init(&slow.go_on, 0, 0);
    port_init(&quick, "quick", 0x77);
    CHECK_EQ(bus_add(b, 0x1000, 0x100, &port_ops, &quick.dev, NULL), 0);
    CHECK_EQ(bus_add(b, 0x2000, 0x100, &slow_ops, &slow.dev, NULL), 0);
    CHECK_EQ(pthread_create(&t, NULL, write_slowly, &slow), 0);
    sem_wait(&slow.inside);
    CHECK_EQ(pthread_mutex_trylock(&slow.dev.lock),
             EBUSY); /* its own lock is held, and only that */
    CHECK(bus_read(b, 0x1000, 1, &v));
    CHECK_EQ(v, 0x77);
    CHECK(bus_write(b, 0x1000, 1, 5));
    CHECK(!bus_read(b, 0x3000, 1, &v));
    sem_post(&slow.go_on);
    pthread_join(t, NULL);
    bus_free(b);
}
