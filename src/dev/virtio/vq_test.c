/*
 * dev/virtio/vq_test.c: both kinds of ring against the driver's side of driver_fake.c, and what a hostile driver may write.
 */
#include "dev/virtio/vq.h"

#include "dev/virtio/driver_fake.h"
#include "mem/mem.h"
#include "testlib/test.h"

#include <stdlib.h>

/* A queue with both its sides. */
struct pair {
    struct mem *mem;
    u64 heap;
    struct vq q;
    struct driver_fake_queue drv;
    struct chain c;
};

static const struct layout {
    const char *why;
    bool packed, event_idx;
    u16 size;
} layouts[] = {
    { "split", false, false, 8 },         { "split, events", false, true, 8 },
    { "packed", true, false, 8 },         { "packed, events", true, true, 8 },
    { "packed of 7", true, true, 7 },     { "split of 256", false, true, 256 },
    { "packed of 256", true, true, 256 },
};

static struct pair *pair_new(const struct layout *l)
{
    struct pair *p = xnew(struct pair);
    struct err e;

    CHECK_OK(mem_new(&(struct mem_cfg){ .size = 16 * MiB }, &p->mem, &e), &e);
    p->heap = 1 * MiB;
    driver_fake_queue_init(&p->drv, p->mem, &p->heap, l->size, l->packed);
    p->drv.event_idx = l->event_idx;
    vq_init(&p->q, p->mem, VQ_SIZE_MAX);
    p->q.st.size = l->size;
    p->q.st.desc_gpa = p->drv.desc_gpa;
    p->q.st.driver_gpa = p->drv.driver_gpa;
    p->q.st.device_gpa = p->drv.device_gpa;
    CHECK_EQ(vq_start(&p->q, l->packed, l->event_idx, true), 0);
    return p;
}

static void pair_free(struct pair *p)
{
    vq_stop(&p->q);
    mem_free(p->mem);
    free(p);
}

static void write_text(struct pair *p, u64 gpa, const char *text)
{
    CHECK_EQ(mem_write(p->mem, gpa, text, strlen(text)), 0);
}

TEST(vq_one_chain_there_and_back)
{
    for_each_row(l, layouts) {
        struct pair *p = pair_new(l);
        const struct driver_fake_buf bufs[] = {
            { 0x8000, 3, false }, { 0x9000, 2, false }, { 0xa000, 4, true }, { 0xb000, 5, true }
        };
        char text[8] = {};
        u16 id;
        u32 len;
        int want;

        ROW(l);
        CHECK_EQ(vq_pop(&p->q, &p->c), 0);
        CHECK(vq_empty(&p->q));
        write_text(p, 0x8000, "abc");
        write_text(p, 0x9000, "de");
        want = driver_fake_add(&p->drv, bufs, 4);
        CHECK(!vq_empty(&p->q));
        CHECK_EQ(vq_pop(&p->q, &p->c), 1);
        CHECK_EQ(p->c.n_out, 2);
        CHECK_EQ(p->c.n_in, 2);
        CHECK_EQ(p->c.out_len, 5);
        CHECK_EQ(p->c.in_len, 9);
        CHECK_EQ(chain_get(&p->c, text, 4), 0);
        CHECK_STR(text, "abcd");
        CHECK_EQ(chain_get(&p->c, text, 2), -EMSGSIZE);
        CHECK_EQ(chain_get(&p->c, text, 1), 0);
        CHECK_EQ(text[0], 'e');
        CHECK_EQ(chain_put(&p->c, "123456", 6), 0);
        CHECK_EQ(chain_put(&p->c, "7890", 4), -EMSGSIZE);
        CHECK_EQ(p->c.in_done, 6);
        CHECK(!driver_fake_used(&p->drv, &id, &len));
        vq_push(&p->q, &p->c);
        CHECK(driver_fake_used(&p->drv, &id, &len));
        CHECK_EQ(id, want);
        CHECK_EQ(len, 6);
        CHECK(!driver_fake_used(&p->drv, &id, &len));
        CHECK_EQ(mem_read(p->mem, 0xb000, text, 2), 0);
        CHECK_MEM(text, "56", 2);
        CHECK_EQ(vq_pop(&p->q, &p->c), 0);
        pair_free(p);
    }
}

TEST(vq_indirect_tables)
{
    for_each_row(l, layouts) {
        struct pair *p = pair_new(l);
        struct driver_fake_buf bufs[12];
        u16 id;
        u32 len;

        ROW(l);
        for (u32 i = 0; i < 12; i++) /* more than some of the queues have entries */
            bufs[i] = (struct driver_fake_buf){ 0x8000 + i * 0x100, 16, i >= 5 };
        for (u32 i = 0; i < 3u * l->size; i++) {
            CHECK(driver_fake_add_indirect(&p->drv, bufs, 12) >= 0);
            CHECK_EQ(vq_pop(&p->q, &p->c), 1);
            CHECK_EQ(p->c.n_out, 5);
            CHECK_EQ(p->c.n_in, 7);
            CHECK_EQ(p->c.n_desc, 1);
            CHECK_EQ(p->c.gpas[11], 0x8b00);
            CHECK_EQ(chain_put_last(&p->c, 7), 0);
            vq_push(&p->q, &p->c);
            CHECK(driver_fake_used(&p->drv, &id, &len));
            CHECK_EQ(len, 7 * 16);
        }
        pair_free(p);
    }
}

/* Many laps, chains of random lengths, given back out of order: nothing is lost, doubled or mixed up. */
TEST(vq_many_laps_out_of_order)
{
    for_each_row(l, layouts) {
        struct pair *p = pair_new(l);
        struct chain *held = xnew_n(struct chain, 4);
        u64 seed = 0x1234567, value[VQ_SIZE_MAX] = {};
        u32 n_held = 0, done = 0;

        ROW(l);
        for (u32 round = 0; round < 3000; round++) {
            u32 n = 1 + (u32)(test_rand(&seed) % 3), len;
            struct driver_fake_buf bufs[3];
            u16 id;
            int r;

            for (u32 i = 0; i < n; i++)
                bufs[i] =
                    (struct driver_fake_buf){ 0x100000 * 4 + round * 16ull + i, 1 + i, i + 1 == n };
            r = driver_fake_add(&p->drv, bufs, n);
            if (r >= 0)
                value[r] = bufs[n - 1].gpa;
            while (n_held < 4 && vq_pop(&p->q, &held[n_held]) == 1)
                n_held++;
            while (n_held > test_rand(&seed) % 4) {
                u32 i = (u32)(test_rand(&seed) % n_held);

                CHECK_EQ(held[i].gpas[held[i].n_out], value[held[i].head]);
                vq_push(&p->q, &held[i]);
                held[i] = held[--n_held];
                done++;
            }
            while (driver_fake_used(&p->drv, &id, &len)) /* it must()s that the id is under way */
                value[id] = 0;
        }
        CHECK(done > 2000);
        CHECK_EQ(p->q.popped, done + n_held);
        free(held);
        pair_free(p);
    }
}

/* ---- event suppression ---- */

TEST(vq_interrupts_when_wanted)
{
    for_each_row(l, layouts) {
        struct pair *p = pair_new(l);
        const struct driver_fake_buf buf = { 0x8000, 16, true };
        u32 len, irqs = 0;
        u16 id;

        ROW(l);
        CHECK(!vq_wants_irq(&p->q)); /* nothing was pushed */
        for (u32 i = 0; i < 5u * l->size; i++) {
            bool want = i % 3 != 0;

            driver_fake_irqs(&p->drv, want);
            CHECK(driver_fake_add(&p->drv, &buf, 1) >= 0);
            CHECK_EQ(vq_pop(&p->q, &p->c), 1);
            vq_push(&p->q, &p->c);
            /* the first of all may come though it was not wanted: nothing was signalled before */
            if (i > 0)
                CHECK_EQ(vq_wants_irq(&p->q), want);
            else
                vq_wants_irq(&p->q);
            CHECK(!vq_wants_irq(&p->q)); /* once */
            CHECK(driver_fake_used(&p->drv, &id, &len));
            irqs += want;
        }
        CHECK(irqs > 0);
        pair_free(p);
    }
}

TEST(vq_kicks_when_wanted)
{
    for_each_row(l, layouts) {
        struct pair *p = pair_new(l);
        const struct driver_fake_buf buf = { 0x8000, 16, true };
        u32 len;
        u16 id;

        ROW(l);
        for (u32 i = 0; i < 5u * l->size; i++) {
            CHECK(!vq_kicks(&p->q, true));
            CHECK(driver_fake_add(&p->drv, &buf, 1) >= 0);
            CHECK(driver_fake_must_kick(&p->drv, 1));
            CHECK(vq_kicks(&p->q, true)); /* it came while we looked away */
            CHECK_EQ(vq_pop(&p->q, &p->c), 1);
            vq_kicks(&p->q, false);
            CHECK(driver_fake_used(&p->drv, &id, &len) == false);
            vq_push(&p->q, &p->c);
            CHECK(driver_fake_used(&p->drv, &id, &len));
            if (l->event_idx && !l->packed)
                CHECK_EQ(vq_kicks(&p->q, true), false); /* no flag there: silent by its old index */
            CHECK(driver_fake_add(&p->drv, &buf, 1) >= 0);
            if (!l->event_idx || l->packed)
                CHECK(!driver_fake_must_kick(&p->drv, 1));
            CHECK_EQ(vq_pop(&p->q, &p->c), 1);
            vq_push(&p->q, &p->c);
            CHECK(driver_fake_used(&p->drv, &id, &len));
        }
        pair_free(p);
    }
}

/* Stopped in the middle and started again from its state, as after a load. */
TEST(vq_goes_on_after_stop)
{
    for_each_row(l, layouts) {
        struct pair *p = pair_new(l);
        const struct driver_fake_buf buf = { 0x8000, 16, true };
        u32 len;
        u16 id;

        ROW(l);
        for (u32 i = 0; i < 3u * l->size + 1; i++) {
            struct vq_state st;

            driver_fake_irqs(&p->drv, true);
            CHECK(driver_fake_add(&p->drv, &buf, 1) >= 0);
            CHECK_EQ(vq_pop(&p->q, &p->c), 1);
            vq_push(&p->q, &p->c);
            if (i % 2) /* pushed, not yet signalled */
                vq_wants_irq(&p->q);
            st = p->q.st;
            vq_init(&p->q, p->mem, VQ_SIZE_MAX);
            p->q.st = st;
            CHECK_EQ(vq_start(&p->q, l->packed, l->event_idx, true), 0);
            if (i > 0)
                CHECK_EQ(vq_wants_irq(&p->q), i % 2 == 0);
            CHECK(driver_fake_used(&p->drv, &id, &len));
        }
        pair_free(p);
    }
}

/* ---- hostile rings ---- */

TEST(vq_start_refuses)
{
    static const struct {
        const char *why;
        bool packed;
        u16 size;
        u64 desc, driver, device;
        u16 next_avail;
        int r;
    } rows[] = {
        { "fine", false, 8, 0x1000, 0x2000, 0x3000, 0, 0 },
        { "fine, packed", true, 7, 0x1000, 0x2000, 0x3000, 0, 0 },
        { "no entries", false, 0, 0x1000, 0x2000, 0x3000, 0, -EINVAL },
        { "more than offered", false, 128, 0x1000, 0x2000, 0x3000, 0, -EINVAL },
        { "split, not a power of two", false, 7, 0x1000, 0x2000, 0x3000, 0, -EINVAL },
        { "descriptors on 8", false, 8, 0x1008, 0x2000, 0x3000, 0, -EINVAL },
        { "available ring on 1", false, 8, 0x1000, 0x2001, 0x3000, 0, -EINVAL },
        { "used ring on 2", false, 8, 0x1000, 0x2000, 0x3002, 0, -EINVAL },
        { "packed, driver event on 2", true, 8, 0x1000, 0x2002, 0x3000, 0, -EINVAL },
        { "packed, position outside", true, 8, 0x1000, 0x2000, 0x3000, 8, -EINVAL },
        { "descriptors over the end", false, 8, 16 * MiB - 64, 0x2000, 0x3000, 0, -EFAULT },
        { "available ring nowhere", false, 8, 0x1000, 1ull << 40, 0x3000, 0, -EFAULT },
        { "used ring wraps", false, 8, 0x1000, 0x2000, ~0ull - 3, 0, -EFAULT },
    };
    AUTO(mem) struct mem *m = NULL;
    struct err e;

    CHECK_OK(mem_new(&(struct mem_cfg){ .size = 16 * MiB }, &m, &e), &e);
    for_each_row(c, rows) {
        struct vq q;

        ROW(c);
        vq_init(&q, m, 64);
        q.st.size = c->size;
        q.st.desc_gpa = c->desc;
        q.st.driver_gpa = c->driver;
        q.st.device_gpa = c->device;
        q.st.next_avail = c->next_avail;
        CHECK_EQ(vq_start(&q, c->packed, false, false), c->r);
        CHECK_EQ(q.started, c->r == 0);
        if (c->r < 0)
            CHECK_EQ(vq_pop(&q, &(struct chain){}), 0);
    }
}

enum { NEXT = 1, WRITE = 2, INDIRECT = 4 };

/* Up to four descriptors as they stand in a table, and what vq_pop says. */
static const struct bad {
    const char *why;
    struct {
        u64 gpa;
        u32 len;
        u16 flags, next;
    } d[4];
    u16 head;
    bool no_indirect; /* not negotiated */
    int r;
} bad_split[] = {
    /* clang-format off */
    { "fine", { { 0x8000, 8, NEXT, 1 }, { 0x9000, 8, WRITE, 0 } }, .r = 1 },
    { "empty segments are left out", { { 0x8000, 0, NEXT, 1 }, { 0x9000, 8, WRITE, 0 } }, .r = 1 },
    { "head outside", { { 0x8000, 8, 0, 0 } }, .head = 4, .r = -EBADMSG },
    { "next outside", { { 0x8000, 8, NEXT, 4 } }, .r = -EBADMSG },
    { "points at itself", { { 0x8000, 8, NEXT, 0 } }, .r = -EBADMSG },
    { "loop of three", { { 0x8000, 8, NEXT, 1 }, { 0x8000, 8, NEXT, 2 }, { 0x8000, 8, NEXT, 0 } }, .r = -EBADMSG },
    { "loop of nothing", { { 0x8000, 0, NEXT, 1 }, { 0x8000, 0, NEXT, 0 } }, .r = -EBADMSG },
    { "not RAM", { { 1ull << 40, 8, 0, 0 } }, .r = -EBADMSG },
    { "over the end of RAM", { { 16 * MiB - 4, 8, 0, 0 } }, .r = -EBADMSG },
    { "address wraps", { { ~0ull - 3, 8, WRITE, 0 } }, .r = -EBADMSG },
    { "longest length", { { 0, 0xffffffff, WRITE, 0 } }, .r = -EBADMSG },
    { "out after in", { { 0x8000, 8, NEXT | WRITE, 1 }, { 0x9000, 8, 0, 0 } }, .r = -EBADMSG },
    { "indirect", { { 0x7000, 32, INDIRECT, 0 } }, .r = 1 },
    { "indirect after a direct one", { { 0x8000, 8, NEXT, 1 }, { 0x7000, 32, INDIRECT, 0 } }, .r = 1 },
    { "indirect, not negotiated", { { 0x7000, 32, INDIRECT, 0 } }, .no_indirect = true, .r = -EBADMSG },
    { "indirect with a next", { { 0x7000, 32, INDIRECT | NEXT, 1 }, { 0x8000, 8, 0, 0 } }, .r = -EBADMSG },
    { "indirect table of nothing", { { 0x7000, 0, INDIRECT, 0 } }, .r = -EBADMSG },
    { "indirect table of half a row", { { 0x7000, 24, INDIRECT, 0 } }, .r = -EBADMSG },
    { "indirect table outside", { { 16 * MiB - 16, 32, INDIRECT, 0 } }, .r = -EBADMSG },
    { "indirect table that is nested", { { 0x7100, 32, INDIRECT, 0 } }, .r = -EBADMSG },
    { "indirect table that loops", { { 0x7200, 32, INDIRECT, 0 } }, .r = -EBADMSG },
    { "indirect table that leaves itself", { { 0x7000, 16, INDIRECT, 0 } }, .r = -EBADMSG },
    /* clang-format on */
};

static void put_desc(struct mem *m, u64 at, u64 gpa, u32 len, u16 a, u16 b)
{
    u8 d[16];

    le_store(d, 8, gpa);
    le_store(d + 8, 4, len);
    le_store(d + 12, 2, a);
    le_store(d + 14, 2, b);
    CHECK_EQ(mem_write(m, at, d, 16), 0);
}

TEST(vq_split_malformed)
{
    for_each_row(c, bad_split) {
        struct pair *p = pair_new(&(struct layout){ "", false, false, 4 });

        ROW(c);
        p->q.indirect = !c->no_indirect;
        put_desc(p->mem, 0x7000, 0xc000, 8, NEXT, 1); /* a good table */
        put_desc(p->mem, 0x7010, 0xd000, 8, WRITE, 0);
        put_desc(p->mem, 0x7100, 0xc000, 8, NEXT, 1); /* nested */
        put_desc(p->mem, 0x7110, 0x7000, 32, INDIRECT, 0);
        put_desc(p->mem, 0x7200, 0xc000, 8, NEXT, 1); /* loops */
        put_desc(p->mem, 0x7210, 0xc000, 8, NEXT, 0);
        for (u32 i = 0; i < 4; i++)
            put_desc(p->mem, p->drv.desc_gpa + 16 * i, c->d[i].gpa, c->d[i].len, c->d[i].flags,
                     c->d[i].next);
        CHECK_EQ(mem_write(p->mem, p->drv.driver_gpa + 4, &c->head, 2), 0);
        CHECK_EQ(mem_write(p->mem, p->drv.driver_gpa + 2, &(u16){ 1 }, 2), 0);
        CHECK_EQ(vq_pop(&p->q, &p->c), c->r);
        if (c->r < 0) {
            CHECK(p->q.broken);
            CHECK_EQ(vq_pop(&p->q, &p->c), 0); /* said once */
            CHECK(!vq_kicks(&p->q, true));
        }
        pair_free(p);
    }
}

TEST(vq_packed_malformed)
{
    enum { AVAIL = 0x80 };
    static const struct {
        const char *why;
        struct {
            u64 gpa;
            u32 len;
            u16 id, flags;
        } d[4];
        int r;
        u16 head, n_desc;
    } rows[] = {
        /* clang-format off */
        { "not ours", { { 0x8000, 8, 5, 0 } }, 0, 0, 0 },
        { "used already", { { 0x8000, 8, 5, AVAIL | 0x8000 } }, 0, 0, 0 },
        { "the last one's id counts", { { 0x8000, 8, 5, AVAIL | NEXT }, { 0x9000, 8, 3, AVAIL | WRITE } }, 1, 3, 2 },
        { "whole ring", { { 0x8000, 8, 0, AVAIL | NEXT }, { 0x8000, 8, 0, AVAIL | NEXT }, { 0x8000, 8, 0, AVAIL | NEXT }, { 0x8000, 8, 9, AVAIL } }, 1, 9, 4 },
        { "no end", { { 0x8000, 8, 0, AVAIL | NEXT }, { 0x8000, 8, 0, NEXT }, { 0x8000, 8, 0, NEXT }, { 0x8000, 8, 9, NEXT } }, -EBADMSG, 0, 0 },
        { "not RAM", { { 1ull << 40, 8, 0, AVAIL } }, -EBADMSG, 0, 0 },
        { "indirect", { { 0x7000, 32, 2, AVAIL | INDIRECT } }, 1, 2, 1 },
        { "indirect, nested", { { 0x7100, 32, 2, AVAIL | INDIRECT } }, -EBADMSG, 0, 0 },
        { "indirect with a next", { { 0x7000, 32, 2, AVAIL | INDIRECT | NEXT }, { 0x8000, 8, 0, AVAIL } }, -EBADMSG, 0, 0 },
        { "indirect, more rows than a chain has", { { 0x100000, 16 * 257, 2, AVAIL | INDIRECT } }, -EBADMSG, 0, 0 },
        { "indirect, half a row", { { 0x7000, 8, 2, AVAIL | INDIRECT } }, -EBADMSG, 0, 0 },
        /* clang-format on */
    };

    for_each_row(c, rows) {
        struct pair *p = pair_new(&(struct layout){ "", true, false, 4 });

        ROW(c);
        put_desc(p->mem, 0x7000, 0xc000, 8, 0, 0);
        put_desc(p->mem, 0x7010, 0xd000, 8, 0, WRITE);
        put_desc(p->mem, 0x7100, 0xc000, 8, 0, 0);
        put_desc(p->mem, 0x7110, 0x7000, 32, 0, INDIRECT);
        for (u32 i = 0; i < 4; i++)
            put_desc(p->mem, p->drv.desc_gpa + 16 * i, c->d[i].gpa, c->d[i].len, c->d[i].id,
                     c->d[i].flags);
        CHECK_EQ(vq_pop(&p->q, &p->c), c->r);
        CHECK_EQ(p->q.broken, c->r < 0);
        if (c->r == 1) {
            CHECK_EQ(p->c.head, c->head);
            CHECK_EQ(p->c.n_desc, c->n_desc);
        }
        pair_free(p);
    }
}

TEST(vq_split_index_runs_away)
{
    struct pair *p = pair_new(&layouts[0]);

    CHECK_EQ(mem_write(p->mem, p->drv.driver_gpa + 2, &(u16){ 9 }, 2), 0);
    CHECK_EQ(vq_pop(&p->q, &p->c), -EBADMSG);
    pair_free(p);
}

TEST(vq_dirty_log_sees_rings_and_buffers)
{
    for_each_row(l, layouts) {
        struct pair *p = pair_new(l);
        const struct driver_fake_buf bufs[] = { { 0x8000, 3, false }, { 0x20ffe, 4, true } };
        u64 *bits = xnew_n(u64, mem_pages(p->mem) / 64 + 1);
        u64 ring = (l->packed ? p->drv.desc_gpa : p->drv.device_gpa) / 4096;

        ROW(l);
        CHECK(driver_fake_add(&p->drv, bufs, 2) >= 0);
        mem_dirty_start(p->mem);
        CHECK_EQ(vq_pop(&p->q, &p->c), 1);
        mem_dirty_take(p->mem, bits);
        for (u64 i = 0; i < mem_pages(p->mem) / 64; i++)
            CHECK_EQ(bits[i], 0); /* taking writes nothing */
        CHECK_EQ(chain_put(&p->c, "abcd", 4), 0);
        vq_push(&p->q, &p->c);
        mem_dirty_take(p->mem, bits);
        CHECK_EQ(bits[0], 3ull << 0x20);
        CHECK_EQ(bits[ring / 64] >> ring % 64 & 1, 1);
        memset(bits, 0, mem_pages(p->mem) / 8);
        vq_kicks(&p->q, true);
        mem_dirty_take(p->mem, bits);
        ring = p->drv.device_gpa / 4096;
        CHECK_EQ(bits[ring / 64] >> ring % 64 & 1, 1);
        free(bits);
        pair_free(p);
    }
}

TEST(vq_chain_iovecs)
{
    struct pair *p = pair_new(&layouts[0]);
    const struct driver_fake_buf bufs[] = {
        { 0x8000, 4, false }, { 0x9000, 4, false }, { 0xa000, 4, true }, { 0xb000, 4, true }
    };
    struct iovec iov[4];

    CHECK(driver_fake_add(&p->drv, bufs, 4) >= 0);
    CHECK_EQ(vq_pop(&p->q, &p->c), 1);
    CHECK_EQ(chain_out_iov(&p->c, 0, 8, iov, 4), 2);
    CHECK_EQ(chain_out_iov(&p->c, 2, 4, iov, 4), 2);
    CHECK_EQ(iov[0].iov_len, 2);
    CHECK_EQ(iov[1].iov_len, 2);
    CHECK(iov[0].iov_base == (const u8 *)mem_at(p->mem, 0x8002, 2));
    CHECK_EQ(chain_out_iov(&p->c, 4, 4, iov, 1), 1);
    CHECK_EQ(chain_out_iov(&p->c, 2, 4, iov, 1), -EMSGSIZE);
    CHECK_EQ(chain_out_iov(&p->c, 5, 4, iov, 4), -EMSGSIZE);
    CHECK_EQ(chain_out_iov(&p->c, 0xffffffff, 2, iov, 4), -EMSGSIZE);
    CHECK_EQ(chain_out_iov(&p->c, 8, 0, iov, 4), 0);
    CHECK_EQ(chain_in_iov(&p->c, 4, 4, iov, 4), 1);
    CHECK(iov[0].iov_base == (const u8 *)mem_at(p->mem, 0xb000, 4));
    chain_wrote(&p->c, 5);
    CHECK_EQ(chain_put(&p->c, "xyz", 3), 0);
    CHECK_EQ(((const u8 *)mem_at(p->mem, 0xb001, 1))[0], 'x');
    CHECK_EQ(p->c.in_done, 8);
    pair_free(p);
}
