/*
 * dev/virtio/balloon_test.c: what the guest names goes back to the host, statistics come when asked, also over a saved state.
 */
#include "dev/virtio/balloon.h"

#include "conf/conf.h"
#include "dev/virtio/driver_fake.h"
#include "mem/mem.h"
#include "testlib/test.h"

#include <stdlib.h>

extern const struct device_def virtio_balloon_def;

enum { Q_INFLATE, Q_DEFLATE, Q_STATS, Q_REPORT };

struct rig {
    struct fake_machine *f;
    struct device *d;
    struct driver_fake g;
};

static void start_driver(struct rig *t, u64 features)
{
    CHECK(driver_fake_negotiate(&t->g, features | (driver_fake_offered(&t->g) & 0xff)));
    for (u16 i = 0; i < t->g.v->n_queues; i++)
        driver_fake_queue(&t->g, i, 64);
    driver_fake_ready(&t->g);
}

static void rig_open(struct rig *t, const char *options, u64 features)
{
    void *cfg = alloc_x(1, virtio_balloon_def.cfg_size);
    struct err e = {};

    t->f = fake_machine_new();
    CHECK_OK(conf_parse_options(virtio_balloon_def.fields, cfg, options, &e), &e);
    CHECK_OK(device_new(&virtio_balloon_def, &t->f->m, "balloon0", cfg, &t->d, &e), &e);
    free(cfg);
    driver_fake_init(&t->g, t->f, t->d);
    driver_fake_msix(&t->g);
    start_driver(t, features);
}

static void rig_close(struct rig *t)
{
    device_free(t->d);
    fake_machine_free(t->f);
}

/* Is the page at `gpa` as we filled it? */
static bool filled(struct rig *t, u64 gpa)
{
    return *(const u8 *)mem_at(t->f->m.mem, gpa, 1) == 0x5a;
}

static void fill(struct rig *t, u64 gpa, u64 len)
{
    memset(mem_at_rw(t->f->m.mem, gpa, len), 0x5a, len);
}

static void give(struct rig *t, u16 queue, const struct driver_fake_buf *bufs, u32 n)
{
    u16 id;
    u32 len;

    CHECK(driver_fake_add(&t->g.q[queue], bufs, n) >= 0);
    driver_fake_kick(&t->g, queue);
    CHECK(driver_fake_used(&t->g.q[queue], &id, &len));
    CHECK_EQ(len, 0);
}

/* Collects what `socle ctl … stats` shows of the host's side. */
static void note_stat(void *arg, const char *name, u64 value)
{
    struct balloon_stats *s = arg;

    if (strcmp(name, "target") == 0)
        s->target = value;
    else if (strcmp(name, "ballooned") == 0)
        s->ballooned = value;
    else if (strcmp(name, "discarded") == 0)
        s->discarded = value;
}

static void check_inflate(u64 features)
{
    /* a run up, a run down, a single one, pages that are not RAM */
    const le32 pfns[] = { { 0x1000 }, { 0x1001 }, { 0x1002 }, { 0x1012 },     { 0x1011 },
                          { 0x1010 }, { 0x1020 }, { 0x4000 }, { 0xffffffff }, { 0x1022 } };
    struct rig t;
    struct driver_fake_buf buf;
    struct balloon_stats s;

    rig_open(&t, "", features);
    fill(&t, 0x1000000, 0x30000);
    buf =
        (struct driver_fake_buf){ driver_fake_put(&t.g, pfns, sizeof(pfns)), sizeof(pfns), false };
    give(&t, Q_DEFLATE, &buf, 1);
    CHECK(filled(&t, 0x1000000));
    give(&t, Q_INFLATE, &buf, 1);
    for (u32 i = 0; i < 0x30; i++) {
        bool gone = i < 3 || (i >= 0x10 && i < 0x13) || i == 0x20 || i == 0x22;

        CHECK_EQ(filled(&t, 0x1000000 + i * 4096ull), !gone);
    }
    driver_fake_config_write(&t.g, 4, 4, 8);
    balloon_stats(t.d, &s);
    CHECK_EQ(s.discarded, 8 * 4096);
    CHECK_EQ(s.ballooned, 8 * 4096);
    s = (struct balloon_stats){};
    t.d->def->stats(t.d, note_stat, &s);
    CHECK_EQ(s.discarded, 8 * 4096);
    CHECK_EQ(s.ballooned, 8 * 4096);
    CHECK_EQ(s.target, mem_size(t.d->machine->mem));
    rig_close(&t);
}

TEST(balloon_inflates)
{
    check_inflate(0);
    check_inflate(VIRTIO_F_RING_PACKED | VIRTIO_F_EVENT_IDX);
}

TEST(balloon_takes_a_bounded_part_of_a_chain)
{
    struct rig t;
    le32 *pfns = xnew_n(le32, 1100);
    struct driver_fake_buf buf;

    rig_open(&t, "", 0);
    fill(&t, 0x1000000, 1100 * 4096);
    for (u32 i = 0; i < 1100; i++)
        pfns[i] = le32_of(0x1000 + i);
    buf = (struct driver_fake_buf){ driver_fake_put(&t.g, pfns, 4400), 4400, false };
    give(&t, Q_INFLATE, &buf, 1);
    CHECK(!filled(&t, 0x1000000 + 1023 * 4096));
    CHECK(filled(&t, 0x1000000 + 1024 * 4096));
    free(pfns);
    rig_close(&t);
}

TEST(balloon_free_page_reports)
{
    struct rig t;
    const struct driver_fake_buf bufs[] = { { 0x1000000, 0x10000, true },
                                            { 0x1020800, 0x2000, true } };

    rig_open(&t, "", 0);
    CHECK_EQ(t.g.v->n_queues, 4);
    fill(&t, 0x1000000, 0x30000);
    give(&t, Q_REPORT, bufs, 2);
    CHECK(!filled(&t, 0x1000000));
    CHECK(!filled(&t, 0x100f000));
    CHECK(filled(&t, 0x1010000));
    CHECK(filled(&t, 0x1020800)); /* whole pages only */
    CHECK(!filled(&t, 0x1021000));
    CHECK(filled(&t, 0x1022000));
    rig_close(&t);
}

TEST(balloon_offers_what_is_configured)
{
    struct rig t;

    rig_open(&t, "reporting=off,deflate_on_oom=off", 0);
    CHECK_EQ(driver_fake_offered(&t.g) & 0xff, 2);
    CHECK_EQ(t.g.v->n_queues, 3);
    rig_close(&t);
    rig_open(&t, "", 0);
    CHECK_EQ(driver_fake_offered(&t.g) & 0xff, 0x26);
    rig_close(&t);
}

TEST(balloon_target)
{
    static const struct {
        const char *why;
        u64 bytes, pages, target;
    } rows[] = {
        { "all", 64 * MiB, 0, 64 * MiB },     { "more than all", ~0ull, 0, 64 * MiB },
        { "half", 32 * MiB, 8192, 32 * MiB }, { "rounded up", 32 * MiB - 1, 8192, 32 * MiB },
        { "nothing", 0, 16384, 0 },
    };
    struct rig t;
    struct balloon_stats s;

    rig_open(&t, "", 0);
    driver_fake_write(&t.g, 0x10, 2, 0);
    for_each_row(c, rows) {
        ROW(c);
        balloon_set_target(t.d, c->bytes);
        CHECK_EQ(driver_fake_config(&t.g, 0, 4), c->pages);
        balloon_stats(t.d, &s);
        CHECK_EQ(s.target, c->target);
    }
    CHECK_EQ(t.f->msis, 2); /* only changes interrupt */
    rig_close(&t);
}

/* ---- statistics ---- */

static u64 put_stats(struct rig *t, u64 free_bytes)
{
    u8 rows[30];

    le_store(rows, 2, 4);
    le_store(rows + 2, 8, free_bytes);
    le_store(rows + 10, 2, 15);
    le_store(rows + 12, 8, 77);
    le_store(rows + 20, 2, 99); /* of a newer driver */
    le_store(rows + 22, 8, 1);
    return driver_fake_put(&t->g, rows, sizeof(rows));
}

static void lend_stats(struct rig *t, u64 free_bytes)
{
    struct driver_fake_buf buf = { put_stats(t, free_bytes), 30, false };

    CHECK(driver_fake_add(&t->g.q[Q_STATS], &buf, 1) >= 0);
    driver_fake_kick(&t->g, Q_STATS);
}

static void check_stats(u64 features)
{
    struct rig t;
    struct balloon_stats s;
    u16 id;
    u32 len, msis;

    rig_open(&t, "", features);
    balloon_stats(t.d, &s); /* nothing was lent yet */
    CHECK_EQ(s.have, 0);
    CHECK_EQ(s.updated_ns, 0);
    lend_stats(&t, 1000);
    CHECK(!driver_fake_used(&t.g.q[Q_STATS], &id, &len)); /* the device keeps it */
    driver_fake_irqs(&t.g.q[Q_STATS], true);
    msis = t.f->msis;
    balloon_stats(t.d, &s);
    CHECK_EQ(s.free, 1000);
    CHECK_EQ(s.direct_reclaims, 77);
    CHECK_EQ(s.have, 1u << 4 | 1u << 15);
    CHECK(s.updated_ns > 0);
    CHECK_EQ(t.f->msis, msis + 1); /* and asks for newer ones */
    CHECK(driver_fake_used(&t.g.q[Q_STATS], &id, &len));
    lend_stats(&t, 2000);
    device_pause(t.d); /* the loan outlives a pause */
    balloon_stats(t.d, &s);
    CHECK_EQ(s.free, 2000);
    device_resume(t.d);
    CHECK(!driver_fake_used(&t.g.q[Q_STATS], &id, &len));
    balloon_stats(t.d, &s);
    CHECK(driver_fake_used(&t.g.q[Q_STATS], &id, &len));
    lend_stats(&t, 3000); /* two at once: the older one comes back */
    lend_stats(&t, 4000);
    CHECK(driver_fake_used(&t.g.q[Q_STATS], &id, &len));
    CHECK(!driver_fake_used(&t.g.q[Q_STATS], &id, &len));
    start_driver(&t, features); /* the loan is forgotten */
    balloon_stats(t.d, &s);
    CHECK_EQ(s.free, 4000);
    CHECK(!driver_fake_used(&t.g.q[Q_STATS], &id, &len));
    rig_close(&t);
}

TEST(balloon_statistics)
{
    check_stats(0);
    check_stats(VIRTIO_F_EVENT_IDX);
    check_stats(VIRTIO_F_RING_PACKED | VIRTIO_F_EVENT_IDX);
}

/* The timer is the loop's; that it asks is seen without waiting for it. */
TEST(balloon_poll_starts_and_stops)
{
    struct rig t;

    rig_open(&t, "poll=3600", 0);
    balloon_poll(t.d, 7200);
    balloon_poll(t.d, 0);
    balloon_poll(t.d, 0);
    balloon_poll(t.d, 60);
    rig_close(&t);
}
