/*
 * disk/qcow2_fuzz.c: any bytes as a qcow2 image: refused, or read as a slow reader reads it, byte by byte out of the format's text;
 * then written to, which reads back; then checked and repaired.
 * The input is the file.  Its last byte chooses what is done with it.
 */
#include "disk/qcow2_internal.h"
#include "testlib/fuzz.h"

#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

enum { FILE_MAX = 4 * MiB, INPUT_MAX = 256 * KiB, PROBES = 24, WRITES = 6 };

/* ---- a file in memory ---- */

struct memory {
    struct disk disk;
    pthread_mutex_t lock;
    u8 *p;
    u64 len;
};

struct memory_queue {
    struct disk_queue q;
    struct disk_req *first, **end;
};

static struct memory *memory_of(struct disk *d)
{
    return container_of(d, struct memory, disk);
}

static int memory_now(struct disk *d, enum disk_op op, void *buf, u64 len, u64 at)
{
    struct memory *m = memory_of(d);
    u64 in = at < FILE_MAX ? min(len, FILE_MAX - at) : 0;
    int r = 0;

    must(buf || (op != DISK_READ && op != DISK_WRITE));
    pthread_mutex_lock(&m->lock);
    if (op == DISK_READ) {
        memset((u8 *)buf + in, 0, len - in);
        if (in)
            memcpy(buf, m->p + at, in);
    } else if (op != DISK_FLUSH && in != len) {
        r = -ENOSPC;
    } else if (op != DISK_FLUSH) {
        if (op == DISK_WRITE)
            memcpy(m->p + at, buf, len);
        else
            memset(m->p + at, 0, len);
        m->len = max(m->len, at + len);
    }
    pthread_mutex_unlock(&m->lock);
    return r;
}

static int memory_resize(struct disk *d, u64 size, struct err *)
{
    struct memory *m = memory_of(d);

    if (size > FILE_MAX)
        return -ENOSPC;
    pthread_mutex_lock(&m->lock);
    if (size < m->len)
        memset(m->p + size, 0, m->len - size);
    m->len = size;
    pthread_mutex_unlock(&m->lock);
    return 0;
}

static int memory_queue_open(struct disk *d, const struct disk_queue_cfg *, struct disk_queue **ret,
                             struct err *)
{
    struct memory_queue *q = xnew(struct memory_queue);

    q->q.disk = d;
    q->end = &q->first;
    *ret = &q->q;
    return 0;
}

static void memory_queue_close(struct disk_queue *q)
{
    free(container_of(q, struct memory_queue, q));
}

static void memory_submit(struct disk_queue *dq, struct disk_req *r)
{
    struct memory_queue *q = container_of(dq, struct memory_queue, q);

    r->next = NULL;
    *q->end = r;
    q->end = &r->next;
}

static void memory_kick(struct disk_queue *dq)
{
    struct memory_queue *q = container_of(dq, struct memory_queue, q);
    struct disk_req *r;

    while ((r = q->first)) {
        u64 at = r->offset;
        int e = r->n_iov ? 0 : memory_now(dq->disk, r->op, NULL, r->len, at);

        q->first = r->next;
        if (!q->first)
            q->end = &q->first;
        for (u32 i = 0; i < r->n_iov && e == 0; at += r->iov[i++].iov_len)
            e = memory_now(dq->disk, r->op, r->iov[i].iov_base, r->iov[i].iov_len, at);
        if (e == 0)
            disk_req_advance(r, r->len);
        disk_req_finish(r, e);
    }
}

static void memory_close(struct disk *)
{
}

static const struct disk_ops memory_ops = {
    .format = "memory",
    .close = memory_close,
    .queue_open = memory_queue_open,
    .queue_close = memory_queue_close,
    .submit = memory_submit,
    .kick = memory_kick,
    .wait = memory_kick,
    .resize = memory_resize,
    .now = memory_now,
};

/* ---- the slow reader ---- */

/* A big-endian number of the file; zeroes after its end. */
static u64 number(const struct memory *m, u64 at, u32 len)
{
    u64 v = 0;

    for (u32 i = 0; i < len; i++)
        v = v << 8 | (at + i < FILE_MAX ? m->p[at + i] : 0);
    return v;
}

struct slow {
    const struct memory *m;
    u64 cluster, l1_at, l1_len, rt_at, rt_len;
    u32 version, bits, compression;
    bool ext;
};

static void slow_open(struct slow *s, const struct memory *m)
{
    *s = (struct slow){ .m = m, .version = (u32)number(m, 4, 4), .bits = (u32)number(m, 20, 4) };
    s->cluster = 1ull << s->bits;
    s->l1_at = number(m, 40, 8);
    s->l1_len = number(m, 36, 4) * 8;
    s->rt_at = number(m, 48, 8);
    s->rt_len = number(m, 56, 4) * s->cluster;
    s->ext = s->version == 3 && (number(m, 72, 8) & 16);
    s->compression = s->version == 3 && number(m, 100, 4) > 104 ? m->p[104] : 0;
}

static bool touches(u64 a, u64 a_len, u64 b, u64 b_len)
{
    return a < b + b_len && b < a + a_len;
}

/* May a cluster of data, or an L2 table, be there? */
static bool slow_place_ok(const struct slow *s, u64 at)
{
    return at % s->cluster == 0 && !touches(at, s->cluster, 0, s->cluster) &&
           !touches(at, s->cluster, s->l1_at, s->l1_len) &&
           !touches(at, s->cluster, s->rt_at, s->rt_len);
}

static bool slow_unzip(const struct slow *s, u64 entry, u8 *cluster)
{
    u32 x = 62 - (s->bits - 8);
    u64 at = entry & ((1ull << x) - 1) & ((1ull << 56) - 1);
    u64 sectors = (entry & ((1ull << 62) - 1)) >> x, len = (sectors + 1) * 512 - at % 512;
    AUTO(free) u8 *src = alloc_x(1, len);
    bool ok = false;

    for (u64 i = 0; i < len; i++)
        src[i] = at + i < FILE_MAX ? s->m->p[at + i] : 0;
    if (s->compression) {
        ZSTD_DStream *z = ZSTD_createDStream();
        ZSTD_inBuffer in = { src, len, 0 };
        ZSTD_outBuffer out = { cluster, s->cluster, 0 };
        size_t before = ~(size_t)0;

        while (out.pos < out.size && before != out.pos + in.pos) {
            before = out.pos + in.pos;
            if (ZSTD_isError(ZSTD_decompressStream(z, &out, &in)))
                break;
        }
        ok = out.pos == out.size;
        ZSTD_freeDStream(z);
    } else {
        z_stream z = { .next_in = src, .avail_in = (uInt)len, .next_out = cluster };
        int r = inflateInit2(&z, -12);

        z.avail_out = (uInt)s->cluster;
        while (r == Z_OK && z.avail_out)
            r = inflate(&z, Z_NO_FLUSH);
        inflateEnd(&z);
        ok = z.avail_out == 0 && (r == Z_OK || r == Z_STREAM_END);
    }
    return ok;
}

/* The sector at `offset`.  False: it cannot be read. */
static bool slow_read(const struct slow *s, u64 offset, u8 *sector)
{
    u64 entry_len = s->ext ? 16 : 8, per = s->cluster / entry_len;
    u64 n = offset / s->cluster, in = offset % s->cluster;
    u64 l2 = number(s->m, s->l1_at + n / per * 8, 8) & 0x00fffffffffffe00;
    u64 entry, subs, host, sub = in / (s->cluster / 32);
    bool zero, there;

    memset(sector, 0, 512);
    if (l2 == 0)
        return true;
    if (!slow_place_ok(s, l2) || l2 >= s->m->len)
        return false;
    entry = number(s->m, l2 + n % per * entry_len, 8);
    subs = s->ext ? number(s->m, l2 + n % per * entry_len + 8, 8) : 0;
    if (entry >> 62 & 1) {
        AUTO(free) u8 *cluster = alloc_x(1, s->cluster);

        if (!slow_unzip(s, entry, cluster))
            return false;
        memcpy(sector, cluster + in, 512);
        return true;
    }
    host = entry & 0x00fffffffffffe00;
    if (host && !slow_place_ok(s, host))
        return false;
    zero = s->ext ? subs >> (32 + sub) & 1 : s->version == 3 && (entry & 1);
    there = s->ext ? subs >> sub & 1 : host != 0;
    if (s->ext && there && (zero || !host))
        return false;
    if (zero || !there)
        return true;
    for (u32 i = 0; i < 512; i++)
        sector[i] = (u8)number(s->m, host + in + i, 1);
    return true;
}

/* ---- the target ---- */

static u64 mix(u64 v)
{
    v ^= v >> 31;
    return v * 0x9e3779b97f4a7c15ull;
}

/* Offsets here and there, more of them near the start. */
static u64 probe(const struct disk *d, u64 i)
{
    u64 most = i % 3 ? min(d->size, 64 * KiB) : d->size;

    must(most); /* a disk is never empty */
    return align_down(mix(i * 77 + 5) % most, DISK_SECTOR);
}

static void read_as(struct disk *d, struct disk_sync *s, const struct memory *m)
{
    struct slow slow;
    u8 want[DISK_SECTOR], got[DISK_SECTOR];

    slow_open(&slow, m);
    for (u64 i = 0; i < PROBES; i++) {
        u64 at = probe(d, i);
        bool ok = slow_read(&slow, at, want);
        int r = disk_pread(s, got, sizeof(got), at);

        must((r == 0) == ok);
        must(r < 0 || memcmp(want, got, sizeof(got)) == 0);
    }
}

/* What maps say is what is there, and they come to an end. */
static void walk_map(struct disk *d, const struct memory *m)
{
    struct slow slow;
    struct disk_extent x;
    u8 want[DISK_SECTOR], zeroes[DISK_SECTOR] = {};
    u64 at = 0;

    slow_open(&slow, m);
    for (u32 i = 0; i < 200 && at < d->size; i++, at += x.len) {
        if (disk_map(d, at, d->size - at, &x, NULL) < 0)
            return;
        must(slow_read(&slow, at, want) || x.compressed);
        must(x.kind == DISK_MAP_DATA || memcmp(want, zeroes, sizeof(want)) == 0);
    }
}

static void on_filled(struct disk_req *r)
{
    r->len = 0; /* it is over, however it went */
}

/* What is absent becomes the disk's own, and reads as before. */
static void fill_some(struct disk *d, struct disk_sync *s, bool sound)
{
    static u8 before[64 * KiB], after[64 * KiB];
    u64 len = min(d->size, (u64)sizeof(before));
    struct disk_req r = { .op = DISK_FILL, .len = len, .done = on_filled };

    if (disk_pread(s, before, len, 0) < 0)
        return;
    disk_submit(disk_sync_queue(s), &r);
    disk_drain(disk_sync_queue(s));
    must(disk_pread(s, after, len, 0) == 0 || !sound);
    must(memcmp(before, after, len) == 0 || !sound);
}

/* `sound`: nothing is in two places at once, so that what was written reads back. */
static void write_some(struct disk *d, struct disk_sync *s, bool sound)
{
    u8 data[3 * DISK_SECTOR], got[3 * DISK_SECTOR];

    for (u64 i = 0; i < WRITES; i++) {
        u64 at = probe(d, i + 100), len = min(sizeof(data), d->size - at);

        memset(data, (int)(i + 1), sizeof(data));
        if (i % 3 == 2)
            memset(data, 0, sizeof(data));
        if (i % 3 == 2 ? disk_zero(s, len, at, true) < 0 : disk_pwrite(s, data, len, at) < 0)
            continue;
        must(disk_pread(s, got, len, at) == 0 || !sound);
        must(memcmp(got, data, len) == 0 || !sound);
    }
    disk_discard(s, min(d->size, 1 * MiB), 0);
    disk_flush(s);
}

static bool open_memory(struct memory *m, bool readonly, bool repair, struct disk **ret)
{
    const struct disk_cfg cfg = {
        .fd = -1, .readonly = readonly, .no_backing = true, .repair = repair
    };
    const struct disk_above above = {};
    struct err e = {};
    int r;

    m->disk.readonly = readonly;
    m->disk.size = m->len;
    r = qcow2_format.open(&m->disk, &cfg, &above, ret, &e);
    must(r == 0 || (r < 0 && e.text[0]));
    return r == 0;
}

static void snapshots(struct disk *d)
{
    struct qcow2_snapshot *list;
    u32 n;

    if (qcow2_snapshots(d, &list, &n, NULL) == 0)
        qcow2_snapshots_free(list, n);
    if (qcow2_snapshot_create(d, "fuzz", NULL) == 0)
        qcow2_snapshot_delete(d, "fuzz", NULL);
}

static void use(struct memory *m, u8 how)
{
    AUTO(disk_sync) struct disk_sync *s = NULL;
    struct qcow2_report rep = {};
    struct disk *d = NULL;
    bool sound;

    if (!open_memory(m, !(how & 1), how & 2, &d))
        return;
    sound = q2_check(q2_of(d), 0, &rep, NULL) == 0 && rep.errors == 0;
    if (disk_sync_open(d, &s, NULL) == 0) {
        read_as(d, s, m);
        walk_map(d, m);
        if (how & 16 && how & 1)
            fill_some(d, s, sound);
        if (how & 1)
            write_some(d, s, sound);
    }
    disk_sync_close(TAKE(s));
    rep = (struct qcow2_report){};
    if (how & 4)
        q2_check(q2_of(d), how & 1 ? QCOW2_REPAIR_LEAKS | QCOW2_REPAIR_ERRORS : 0, &rep, NULL);
    if ((how & 9) == 9)
        snapshots(d);
    disk_close(d);
}

FUZZ(qcow2)
{
    static u8 file[FILE_MAX];
    struct memory m = { .disk = { .ops = &memory_ops, .store = true, .zero_grown = true },
                        .p = file,
                        .len = size };
    struct q2_header h;
    bool ok;

    if (size < 513 || size > INPUT_MAX)
        return;
    log_set_level(LOG_LEVEL_ERROR);
    memset(file, 0, sizeof(file));
    memcpy(file, data, size);
    /* a file that the image names must not be opened here; large tables only cost time */
    ok = q2_header_parse(file, (u32)Q2_HEAD_MAX, size, &h, NULL) == 0 && !h.data_file &&
         h.l1_size <= 4096 && h.rt_clusters <= 64;
    q2_header_fini(&h);
    if (!ok)
        return;
    pthread_mutex_init(&m.lock, NULL);
    use(&m, data[size - 1]);
    pthread_mutex_destroy(&m.lock);
}
