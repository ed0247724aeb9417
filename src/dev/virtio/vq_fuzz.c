/*
 * dev/virtio/vq_fuzz.c: any guest memory as a virtqueue, split or packed.
 * Input: flags, size, where both sides are, how to give back; then blocks {le16 where, u8 length, bytes} of guest memory, whose
 * first 64 KiB hold the descriptors (0x0000), the driver's area (0x1000) and the device's (0x2000).
 * Oracle: vq_pop says what the slow walker below says; segments are RAM; a push changes only the used entry and its index; and
 * a ring that nobody refills ends.
 */
#include "dev/virtio/vq.h"

#include "mem/mem.h"
#include "testlib/fuzz.h"

#include <stdlib.h>

enum {
    RAM = 1024 * 1024,
    WINDOW = 64 * 1024,
    DRIVER_AT = 0x1000,
    DEVICE_AT = 0x2000,
    F_PACKED = 1,
    F_EVENT_IDX = 2,
    F_INDIRECT = 4,
    F_AVAIL_WRAP = 8,
    F_USED_WRAP = 16,
    F_FILL = 32, /* the in parts are written, wherever they are */
};

struct fuzzed {
    struct mem *mem;
    u8 *ram; /* our view of all of it */
    struct vq q;
    struct chain c;
    u8 flags;
    u8 before[WINDOW];
};

/* ---- the walker: collects all descriptors first, then judges them ---- */

struct row {
    u64 gpa;
    u32 len;
    bool next, write, indirect;
    u16 tail;
};

struct walk {
    bool bad;
    u32 n;
    u16 id, n_desc;
    struct row rows[2 * VQ_SIZE_MAX + 2];
};

static struct row row_at(const struct fuzzed *z, u64 gpa)
{
    const u8 *d = z->ram + gpa;
    u64 flags = le_load(d + (z->q.packed ? 14 : 12), 2);

    return (struct row){
        le_load(d, 8), (u32)le_load(d + 8, 4),
        flags & 1,     flags & 2,
        flags & 4,     (u16)le_load(d + (z->q.packed ? 12 : 14), 2),
    };
}

static void collect_table(const struct fuzzed *z, struct walk *w, u64 gpa, u32 len)
{
    u32 i = 0, n = len / 16;

    w->bad |= !(z->flags & F_INDIRECT) || len == 0 || len % 16 || !range_ok(gpa, len, RAM);
    for (u32 seen = 0; !w->bad; seen++) {
        struct row r = row_at(z, gpa + 16ull * i);

        w->bad |= r.indirect || seen == VQ_SIZE_MAX;
        if (w->bad)
            return;
        w->rows[w->n++] = r;
        if (z->q.packed ? i + 1 == n : !r.next)
            return;
        i = z->q.packed ? i + 1 : r.tail;
        w->bad |= i >= n;
    }
}

static void collect(const struct fuzzed *z, struct walk *w, u32 i)
{
    u32 size = z->q.st.size;

    w->bad = i >= size;
    while (!w->bad) {
        struct row r = row_at(z, 16ull * i);

        w->n_desc++;
        w->id = z->q.packed ? r.tail : w->id;
        if (r.indirect) {
            w->bad |= r.next;
            collect_table(z, w, r.gpa, r.len);
            return;
        }
        w->rows[w->n++] = r;
        if (!r.next)
            return;
        i = z->q.packed ? (i + 1) % size : r.tail;
        w->bad |= i >= size || w->n_desc == size;
    }
}

/* Drops empty segments, refuses what may not be. */
static void judge(struct walk *w)
{
    u64 sum[2] = {};
    u32 kept = 0;

    for (u32 i = 0; i < w->n; i++) {
        const struct row r = w->rows[i];

        w->bad |= !r.write && sum[1] > 0;
        if (r.len == 0)
            continue;
        w->bad |= !range_ok(r.gpa, r.len, RAM) || kept == VQ_SEGS_MAX;
        sum[r.write] += r.len;
        w->rows[kept++] = r;
    }
    w->n = kept;
}

/* 1, 0 or -1 as vq_pop should answer; fills *w for 1. */
static int expect(const struct fuzzed *z, struct walk *w)
{
    const struct vq_state *s = &z->q.st;
    u64 flags, waiting;

    if (z->q.packed) {
        flags = le_load(z->ram + 16 * s->next_avail + 14, 2);
        if ((flags >> 7 & 1) != s->avail_wrap || (flags >> 15 & 1) == s->avail_wrap)
            return 0;
        collect(z, w, s->next_avail);
    } else {
        waiting = (u16)(le_load(z->ram + DRIVER_AT + 2, 2) - s->next_avail);
        if (waiting == 0)
            return 0;
        w->id = (u16)le_load(z->ram + DRIVER_AT + 4 + 2 * (s->next_avail % s->size), 2);
        w->bad = waiting > s->size;
        if (!w->bad)
            collect(z, w, w->id);
    }
    judge(w);
    return w->bad ? -1 : 1;
}

/* ---- checks ---- */

static void check_chain(const struct fuzzed *z, const struct walk *w)
{
    const struct chain *c = &z->c;
    u64 out = 0, in = 0;

    must(c->head == w->id && (u32)c->n_out + c->n_in == w->n);
    must(!z->q.packed || c->n_desc == w->n_desc);
    for (u32 i = 0; i < w->n; i++) {
        must(w->rows[i].write == (i >= c->n_out));
        must(c->gpas[i] == w->rows[i].gpa && c->iov[i].iov_len == w->rows[i].len);
        must(c->iov[i].iov_base == z->ram + c->gpas[i]);
        *(i < c->n_out ? &out : &in) += w->rows[i].len;
    }
    must(out == c->out_len && in == c->in_len);
}

static void use_chain(struct fuzzed *z)
{
    static u8 buf[256];

    while (chain_get(&z->c, buf, sizeof(buf)) == 0 && z->c.out_done < 4096)
        ;
    must(z->c.out_done <= z->c.out_len);
    if (z->flags & F_FILL)
        while (chain_put(&z->c, buf, sizeof(buf)) == 0 && z->c.in_done < 4096)
            ;
    must(z->c.in_done <= z->c.in_len);
}

/* Gives the chain back: nothing else changes in memory. */
static void push(struct fuzzed *z)
{
    u64 at = z->q.packed ? 16ull * z->q.st.next_used
                         : DEVICE_AT + 4 + 8ull * (z->q.st.next_used % z->q.st.size);
    u64 len = z->q.packed ? 16 : 8;

    memcpy(z->before, z->ram, WINDOW);
    vq_push(&z->q, &z->c);
    memcpy(z->before + at, z->ram + at, len);
    if (!z->q.packed)
        memcpy(z->before + DEVICE_AT + 2, z->ram + DEVICE_AT + 2, 2);
    must(memcmp(z->before, z->ram, WINDOW) == 0);
}

static void take_and_unpop(struct fuzzed *z)
{
    struct vq_state st = z->q.st;

    if (vq_pop(&z->q, &z->c) != 1)
        return;
    vq_unpop(&z->q, &z->c);
    must(memcmp(&st, &z->q.st, sizeof(st)) == 0);
}

static void run(struct fuzzed *z)
{
    static struct walk w;
    u32 n = 0;

    for (; n < 2 * VQ_SIZE_MAX; n++) {
        int want, r;

        w.bad = false;
        w.n = w.id = w.n_desc = 0;
        want = expect(z, &w);
        if (want == 1 && n % 4 == 1)
            take_and_unpop(z);
        must(vq_empty(&z->q) == (want == 0));
        r = vq_pop(&z->q, &z->c);
        must(r == want || (r == -EBADMSG && want == -1));
        if (r != 1)
            break;
        check_chain(z, &w);
        use_chain(z);
        push(z);
        if (n % 3 == 0)
            vq_wants_irq(&z->q);
    }
    must(z->flags & F_FILL || n <= z->q.st.size); /* each chain uses up its head */
    vq_kicks(&z->q, true);
    vq_kicks(&z->q, false);
}

/* RAM is made once and wiped where it is used. */
static struct fuzzed *fresh(void)
{
    static struct fuzzed *z;
    struct err e;

    if (!z) {
        z = xnew(struct fuzzed);
        must(mem_new(&(struct mem_cfg){ .size = RAM }, &z->mem, &e) == 0);
        z->ram = mem_at_rw(z->mem, 0, RAM);
    }
    memset(z->ram, 0, WINDOW);
    return z;
}

FUZZ(vq)
{
    struct fuzz_in in = { data, size };
    struct fuzzed *z = fresh();
    struct vq_state *s = &z->q.st;
    u8 entries;

    z->flags = (u8)fuzz_take(&in, 1);
    entries = (u8)fuzz_take(&in, 1);
    vq_init(&z->q, z->mem, VQ_SIZE_MAX);
    s->size = (u16)(z->flags & F_PACKED ? entries + 1u : 1u << entries % 9);
    s->next_avail = (u16)fuzz_take(&in, 2);
    if (z->flags & F_PACKED)
        s->next_avail = (u16)(s->next_avail % s->size);
    s->next_used = s->next_avail;
    s->avail_wrap = z->flags & F_AVAIL_WRAP;
    s->used_wrap = z->flags & F_USED_WRAP;
    s->driver_gpa = DRIVER_AT;
    s->device_gpa = DEVICE_AT;
    while (in.left > 0) {
        u64 at = fuzz_take(&in, 2), len = fuzz_take(&in, 1);

        for (u64 i = 0; i < len && in.left > 0; i++)
            z->ram[(at + i) % WINDOW] = (u8)fuzz_take(&in, 1);
    }
    must(vq_start(&z->q, z->flags & F_PACKED, z->flags & F_EVENT_IDX, z->flags & F_INDIRECT) == 0);
    run(z);
    vq_stop(&z->q);
}
