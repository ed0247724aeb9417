/*
 * disk/qcow2_crash_test.c: the n-th write or read of the file below a qcow2 image fails, or the power goes, for every n of a workload.
 * What is on the medium after a power cut is what was synced, and any part of what was written since, sector by sector.  The image
 * must be valid then (clusters may leak), and each sector hold what was flushed or something written to it since.
 */
#include "disk/qcow2_internal.h"
#include "disk/qcow2_rig.h"
#include "testlib/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    FILE_MAX = 5 * MiB,
    DISK_MAX = 1 * MiB,
    SECTORS = DISK_MAX / DISK_SECTOR,
    OPS = 48,
    SNAPS = 2
};

/* ---- a file in memory that knows what is on its medium ---- */

struct change {
    struct change *next;
    u64 at, len;
    bool resize; /* to `len` */
    u8 data[];
};

enum fault { FAULT_NONE, FAULT_POWER, FAULT_ERROR, FAULT_READ };

struct store {
    struct disk disk;
    pthread_mutex_t lock;
    u8 *live, *medium;
    u64 len, medium_len;
    struct change *log, **log_end; /* since the last sync */
    enum fault fault;
    u64 writes, fails_at; /* the write, or with FAULT_READ the read, that has the fault */
    int error;            /* what it says */
    bool off;             /* the power is */
};

struct store_queue {
    struct disk_queue q;
    struct disk_req *first, **end;
    void (*batch)(void *arg);
    void *arg;
};

static struct store *store_of(struct disk *d)
{
    return container_of(d, struct store, disk);
}

static void apply(struct store *s, const struct change *c, u64 from, u64 to)
{
    if (c->resize) {
        if (c->len < s->medium_len)
            memset(s->medium + c->len, 0, s->medium_len - c->len);
        s->medium_len = c->len;
        return;
    }
    memcpy(s->medium + c->at + from, c->data + from, to - from);
    s->medium_len = max(s->medium_len, c->at + to);
}

static void log_change(struct store *s, u64 at, u64 len, const void *data, bool resize)
{
    struct change *c = alloc_x(1, sizeof(*c) + (resize ? 0 : len));

    c->at = at;
    c->len = len;
    c->resize = resize;
    if (!resize && data)
        memcpy(c->data, data, len);
    *s->log_end = c;
    s->log_end = &c->next;
}

static void log_drop(struct store *s, bool to_medium)
{
    while (s->log) {
        struct change *c = s->log;

        s->log = c->next;
        if (to_medium)
            apply(s, c, 0, c->len);
        free(c);
    }
    s->log_end = &s->log;
}

/* Is this write the one?  Negative: what it says. */
static int strike(struct store *s)
{
    if (s->off)
        return -EIO;
    if (s->fault == FAULT_NONE || s->fault == FAULT_READ || s->writes++ != s->fails_at)
        return 0;
    if (s->fault == FAULT_POWER) {
        s->off = true;
        return -EIO;
    }
    return s->error;
}

static int change(struct store *s, u64 at, u64 len, const void *data)
{
    int r;

    if (!range_ok(at, len, FILE_MAX))
        return -ENOSPC;
    r = strike(s);
    if (r == 0 || s->off) { /* the power may go in the middle of it */
        if (data)
            memcpy(s->live + at, data, len);
        else
            memset(s->live + at, 0, len);
        s->len = max(s->len, at + len);
        log_change(s, at, len, data, false);
    }
    return r;
}

static int store_io(struct store *s, enum disk_op op, void *buf, u64 len, u64 at)
{
    int r = 0;

    pthread_mutex_lock(&s->lock);
    switch (op) {
    case DISK_READ:
        must(buf && range_ok(at, len, FILE_MAX));
        if (s->fault == FAULT_READ && s->writes++ == s->fails_at)
            r = s->error;
        else
            memcpy(buf, s->live + at, len);
        break;
    case DISK_WRITE:
        r = s->off ? -EIO : change(s, at, len, buf);
        break;
    case DISK_DISCARD:
    case DISK_ZERO:
        r = s->off ? -EIO : change(s, at, len, NULL);
        break;
    case DISK_FLUSH:
        r = strike(s);
        if (r == 0)
            log_drop(s, true);
        break;
    case DISK_FILL:
        r = -EINVAL; /* not of a store */
    }
    pthread_mutex_unlock(&s->lock);
    return r;
}

static int store_now(struct disk *d, enum disk_op op, void *buf, u64 len, u64 at)
{
    return store_io(store_of(d), op, buf, len, at);
}

static int store_resize(struct disk *d, u64 size, struct err *)
{
    struct store *s = store_of(d);
    int r;

    pthread_mutex_lock(&s->lock);
    r = size > FILE_MAX ? -ENOSPC : strike(s);
    if (r == 0) {
        if (size < s->len)
            memset(s->live + size, 0, s->len - size);
        s->len = size;
        log_change(s, 0, size, NULL, true);
    }
    pthread_mutex_unlock(&s->lock);
    return r;
}

static int store_queue_open(struct disk *d, const struct disk_queue_cfg *cfg,
                            struct disk_queue **ret, struct err *)
{
    struct store_queue *q = xnew(struct store_queue);

    q->q.disk = d;
    q->batch = cfg->batch;
    q->arg = cfg->arg;
    q->end = &q->first;
    *ret = &q->q;
    return 0;
}

static void store_queue_close(struct disk_queue *q)
{
    free(container_of(q, struct store_queue, q));
}

static void store_submit(struct disk_queue *dq, struct disk_req *r)
{
    struct store_queue *q = container_of(dq, struct store_queue, q);

    r->next = NULL;
    *q->end = r;
    q->end = &r->next;
}

static void store_kick(struct disk_queue *dq)
{
    struct store_queue *q = container_of(dq, struct store_queue, q);
    struct disk_req *r;

    while ((r = q->first)) {
        u64 at = r->offset;
        int e = 0;

        q->first = r->next;
        if (!q->first)
            q->end = &q->first;
        if (r->n_iov == 0)
            e = store_io(store_of(dq->disk), r->op, NULL, r->len, at);
        for (u32 i = 0; i < r->n_iov && e == 0; at += r->iov[i++].iov_len)
            e = store_io(store_of(dq->disk), r->op, r->iov[i].iov_base, r->iov[i].iov_len, at);
        if (e == 0)
            disk_req_advance(r, r->len);
        disk_req_finish(r, e);
    }
}

static void store_close(struct disk *d)
{
    d->readonly = true; /* the rig's memory */
}

static const struct disk_ops store_ops = {
    .format = "store",
    .close = store_close,
    .queue_open = store_queue_open,
    .queue_close = store_queue_close,
    .submit = store_submit,
    .kick = store_kick,
    .wait = store_kick,
    .resize = store_resize,
    .now = store_now,
};

/* ---- what each sector may hold ---- */

struct sector {
    u64 flushed;        /* stamp of what is there for sure; 0: zeroes */
    u64 since[OPS + 8]; /* stamps that it may hold instead */
    u32 n;
    u64 last; /* what it holds while the power is on */
};

struct crash {
    struct store store;
    struct disk *d;
    struct disk_sync *s;
    struct sector sectors[SECTORS];
    u64 snaps[SNAPS][SECTORS];
    u64 snap_size[SNAPS];
    bool has_snap[SNAPS];
    u64 size, size_may; /* size_may: another that the disk may have */
    u64 seed, stamp;
    bool plain; /* the last operation was one of a guest */
    u8 buf[DISK_MAX];
};
static struct crash crash;

static void may_hold(struct sector *s, u64 stamp)
{
    must(s->n < ARRAY_LEN(s->since));
    s->since[s->n++] = stamp;
}

/* It was written, or could not be. */
static void wrote(struct crash *c, u64 at, u64 len, u64 stamp, int r, bool hint)
{
    for (u64 i = at / DISK_SECTOR; i < (at + len) / DISK_SECTOR; i++) {
        struct sector *s = &c->sectors[i];

        may_hold(s, stamp);
        if (r == 0 && !hint)
            s->last = stamp;
    }
}

static void flushed(struct crash *c)
{
    for (u64 i = 0; i < SECTORS; i++) {
        c->sectors[i].flushed = c->sectors[i].last;
        c->sectors[i].n = 0;
    }
    c->size_may = c->size;
}

static void stamp_out(u8 *p, u64 len, u64 at, u64 stamp)
{
    for (u64 i = 0; i < len; i += 16) {
        u64 v[2] = { stamp, stamp * 0x9e3779b97f4a7c15ull + (at + i) / DISK_SECTOR };

        memcpy(p + i, v, 16);
    }
}

/* The stamp of a sector; ~0 when it is torn. */
static u64 stamp_of(const u8 *p, u64 at)
{
    u8 want[DISK_SECTOR] = {};
    u64 stamp;

    memcpy(&stamp, p, 8);
    if (stamp)
        stamp_out(want, DISK_SECTOR, at, stamp);
    return memcmp(p, want, DISK_SECTOR) == 0 ? stamp : ~0ull;
}

/* Reads all, and holds it against the model; what a failed or a free write left is what the disk holds from now on. */
static void verify(struct crash *c, struct disk *d, bool settle)
{
    AUTO(disk_sync) struct disk_sync *s = NULL;
    struct err e = {};

    CHECK_OK(disk_sync_open(d, &s, &e), &e);
    CHECK(d->size == c->size || d->size == c->size_may);
    CHECK_EQ(disk_pread(s, c->buf, d->size, 0), 0);
    for (u64 at = 0; at < d->size; at += DISK_SECTOR) {
        struct sector *x = &c->sectors[at / DISK_SECTOR];
        u64 stamp = stamp_of(c->buf + at, at);
        bool ok = stamp == x->flushed;

        for (u32 i = 0; i < x->n; i++)
            ok |= x->since[i] == stamp;
        if (!ok)
            fprintf(stderr, "  sector at %llu: stamp %llu, flushed %llu\n", at, stamp, x->flushed);
        CHECK(ok);
        if (settle)
            x->last = stamp;
    }
}

/* ---- the workload ---- */

/* Without its backing files, and without a queue. */
static int open_below(struct crash *c)
{
    const struct disk_cfg cfg = { .fd = -1, .no_backing = true };
    struct err e = {};

    c->store.disk.readonly = false;
    c->store.disk.size = c->store.len;
    return qcow2_format.open(&c->store.disk, &cfg, NULL, &c->d, &e);
}

static int open_image(struct crash *c)
{
    struct err e = {};
    int r = open_below(c);

    if (r < 0)
        return r;
    return disk_sync_open(c->d, &c->s, &e);
}

static void close_image(struct crash *c)
{
    disk_sync_close(c->s);
    disk_close(c->d);
    c->s = NULL;
    c->d = NULL;
}

static int op_snapshot(struct crash *c)
{
    u32 i = (u32)(test_rand(&c->seed) % SNAPS);
    char name[8];
    int r;

    str_fmt(name, sizeof(name), "n%u", i);
    if (!c->has_snap[i]) {
        r = qcow2_snapshot_create(c->d, name, NULL);
        if (r < 0)
            return r;
        flushed(c); /* it was synced first */
        for (u64 k = 0; k < SECTORS; k++)
            c->snaps[i][k] = c->sectors[k].last;
        c->snap_size[i] = c->size;
        c->has_snap[i] = true;
        return 0;
    }
    if (test_rand(&c->seed) % 2) {
        c->has_snap[i] = false;
        return qcow2_snapshot_delete(c->d, name, NULL);
    }
    c->size_may = c->snap_size[i];
    for (u64 k = 0; k < SECTORS; k++)
        may_hold(&c->sectors[k], c->snaps[i][k]);
    r = qcow2_snapshot_apply(c->d, name, NULL);
    if (r < 0)
        return r;
    c->size = c->snap_size[i];
    for (u64 k = 0; k < SECTORS; k++)
        c->sectors[k].last = c->snaps[i][k];
    flushed(c);
    return 0;
}

static int op_grow(struct crash *c)
{
    u64 size = min(c->size + 64 * KiB + DISK_SECTOR, (u64)DISK_MAX);
    int r;

    c->size_may = size;
    r = disk_resize(c->d, size, NULL);
    if (r == 0) {
        c->size = size;
        flushed(c); /* it was synced first */
    }
    return r;
}

/* After a discard, which may or may not have made zeroes.  The fault is not for this. */
static void look_what_is_left(struct crash *c)
{
    enum fault fault = c->store.fault;

    if (fault == FAULT_READ)
        c->store.fault = FAULT_NONE;
    if (!c->store.off)
        verify(c, c->d, true);
    c->store.fault = fault;
}

static int one_op(struct crash *c)
{
    u64 at = align_down(test_rand(&c->seed) % c->size, DISK_SECTOR);
    u64 len = align_up(test_rand(&c->seed) % (40 * KiB) + 1, DISK_SECTOR);
    u64 what = test_rand(&c->seed) % 12;
    int r;

    len = min(len, c->size - at);
    c->plain = what != 4 && what != 5;
    switch (what) {
    case 0:
    case 1:
        r = disk_flush(c->s);
        if (r == 0)
            flushed(c);
        return r;
    case 2:
        r = disk_zero(c->s, len, at, test_rand(&c->seed) % 2);
        wrote(c, at, len, 0, r, false);
        return r;
    case 3:
        r = disk_discard(c->s, len, at);
        wrote(c, at, len, 0, r, true);
        if (r == 0)
            look_what_is_left(c);
        return r;
    case 4:
        return op_snapshot(c);
    case 5:
        return op_grow(c);
    default:
        c->stamp++;
        stamp_out(c->buf, len, at, c->stamp);
        r = disk_pwrite(c->s, c->buf, len, at);
        wrote(c, at, len, c->stamp, r, false);
        return r;
    }
}

static void start(struct crash *c, const struct qcow2_create_cfg *cfg, u64 seed)
{
    static u8 fresh[FILE_MAX], live[FILE_MAX], medium[FILE_MAX];
    static const struct qcow2_create_cfg *is;
    static u64 len;
    struct store *s = &c->store;

    memset(c, 0, offsetof(struct crash, buf));
    if (is != cfg) {
        char path[200];
        AUTO(fd) int fd = -1;

        rig_path(path, "c.qcow2");
        rig_create(path, cfg);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        len = (u64)lseek(fd, 0, SEEK_END);
        memset(fresh, 0, sizeof(fresh));
        CHECK_EQ(fd_pread_all(fd, fresh, len, 0), 0);
        is = cfg;
    }
    s->live = memcpy(live, fresh, sizeof(live));
    s->medium = memcpy(medium, fresh, sizeof(medium));
    s->len = s->medium_len = len;
    s->log_end = &s->log;
    pthread_mutex_init(&s->lock, NULL);
    s->disk.ops = &store_ops;
    s->disk.store = s->disk.zero_grown = true;
    str_copy(s->disk.name, sizeof(s->disk.name), "store");
    c->size = c->size_may = cfg->size;
    c->seed = seed;
}

/* The medium after the power went: any part of what was not synced. */
static void lose_power(struct crash *c)
{
    struct store *s = &c->store;

    for (struct change *x = s->log; x; x = x->next) {
        u64 how = test_rand(&c->seed) % 4;

        for (u64 at = 0; at < (x->resize ? 1 : x->len); at += DISK_SECTOR)
            if (how == 0 || (how == 1 && test_rand(&c->seed) % 2))
                apply(s, x, at, at + DISK_SECTOR);
    }
    log_drop(s, false);
    memcpy(s->live, s->medium, FILE_MAX);
    s->len = s->medium_len;
    s->off = false;
    s->fault = FAULT_NONE;
}

/* As the next to write to it leaves it. */
static void judge(struct crash *c, u64 n)
{
    char path[200];
    AUTO(fd) int fd = -1;
    bool ok;
    int r;

    if (!rig_has_qemu() || n % 97)
        return;
    rig_path(path, "crashed.qcow2");
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK_EQ(fd_write_all(fd, c->store.live, c->store.len), 0);
    r = RIG_RUN("qemu-img", "check", path);
    ok = r == 0 || r == 3; /* leaks only */
    if (!ok)
        rig_show();
    CHECK(ok);
}

static void check_image(struct crash *c)
{
    struct qcow2_report rep = { .say = NULL };
    struct err e = {};

    CHECK_OK(open_image(c), &e);
    CHECK_OK(q2_check(q2_of(c->d), 0, &rep, &e), &e);
    if (rep.errors) {
        rep.say = rig_say;
        q2_check(q2_of(c->d), 0, &rep, &e);
    }
    CHECK_EQ(rep.errors, 0);
}

/* One run with the fault at write n.  False: the workload ended before it. */
static bool run(struct crash *c, const struct qcow2_create_cfg *cfg, u64 seed, u64 n,
                enum fault fault, int error)
{
    bool struck;

    start(c, cfg, seed);
    CHECK_EQ(open_image(c), 0);
    c->store.fault = fault;
    c->store.fails_at = n;
    c->store.error = error;
    for (u32 i = 0; i < OPS && !c->store.off; i++) {
        if (one_op(c) == 0 || fault == FAULT_POWER)
            continue;
        c->store.fault = FAULT_NONE;
        verify(c, c->d, true);
        if (!c->plain)
            break; /* is there a snapshot now, and of what? */
    }
    struck = c->store.writes > n;
    close_image(c);
    if (fault == FAULT_POWER)
        lose_power(c);
    else
        c->store.fault = FAULT_NONE;
    check_image(c);
    verify(c, c->d, false);
    close_image(c);
    judge(c, n);
    log_drop(&c->store, false);
    pthread_mutex_destroy(&c->store.lock);
    return struck;
}

/* clang-format off */
static const struct {
    const char *why;
    struct qcow2_create_cfg cfg;
} images[] = {
    { "clusters of 4 KiB",   { .size = 512 * KiB, .cluster = 4096 } },
    { "clusters of 512",     { .size = 256 * KiB, .cluster = 512, .refcount_bits = 64 } },
    { "clusters of 64 KiB",  { .size = 512 * KiB } },
    { "extended",            { .size = 512 * KiB, .cluster = 16 * KiB, .extended_l2 = true } },
    { "version 2",           { .size = 512 * KiB, .cluster = 4096, .version = 2 } },
    { "lazy refcounts",      { .size = 512 * KiB, .cluster = 4096, .lazy_refcounts = true } },
};
/* clang-format on */

/* RIG_STEP=1: every write; else some of them, others with each image. */
static u64 step(void)
{
    const char *text = getenv("RIG_STEP");
    u64 v;

    return text && str_u64(text, &v) == 0 && v ? v : 37;
}

static void all_points(enum fault fault, int error, const char *what)
{
    u64 points = 0;

    for_each_row(i, images) {
        u64 n = (u64)(i - images) % step();

        ROW(i);
        while (run(&crash, &i->cfg, 77 + (u64)(i - images), n, fault, error)) {
            points++;
            n += step();
        }
    }
    fprintf(stderr, "  %llu points of %s\n", points, what);
}

TEST(qcow2_power_cuts)
{
    log_set_level(LOG_LEVEL_ERROR); /* each says that it could not be closed in order */
    all_points(FAULT_POWER, 0, "power cuts");
    log_set_level(LOG_LEVEL_NOTICE);
}

TEST(qcow2_failed_io)
{
    log_set_level(LOG_LEVEL_ERROR);
    all_points(FAULT_ERROR, -EIO, "failed writes");
    all_points(FAULT_ERROR, -ENOSPC, "writes without room");
    all_points(FAULT_READ, -EIO, "failed reads");
    log_set_level(LOG_LEVEL_NOTICE);
}

/* An image with data, and a snapshot or two writes to come. */
static void start_with_data(struct crash *c, const struct qcow2_create_cfg *cfg)
{
    start(c, cfg, 5);
    CHECK_EQ(open_image(c), 0);
    memset(c->buf, 7, 100 * KiB);
    CHECK_EQ(disk_pwrite(c->s, c->buf, 100 * KiB, 0), 0);
    CHECK_EQ(disk_flush(c->s), 0);
}

static void stop(struct crash *c)
{
    close_image(c);
    log_drop(&c->store, false);
    pthread_mutex_destroy(&c->store.lock);
}

/* Each write of making a snapshot fails once, without room.  Nothing leaks, and the next attempt succeeds. */
TEST(qcow2_snapshot_without_room)
{
    static const struct qcow2_create_cfg cfgs[] = {
        { .size = 512 * KiB, .cluster = 4096 }, { .size = 256 * KiB, .cluster = 4096, .version = 2 }
    };
    struct crash *c = &crash;

    log_set_level(LOG_LEVEL_ERROR);
    for_each_row(cfg, cfgs) {
        bool struck = true;
        u64 n;

        for (n = 0; struck; n++) {
            struct qcow2_report rep = {};
            struct err e = {};
            int r;

            start_with_data(c, cfg);
            c->store.fault = FAULT_ERROR;
            c->store.error = -ENOSPC;
            c->store.fails_at = n;
            r = qcow2_snapshot_create(c->d, "s", NULL);
            struck = c->store.writes > n;
            c->store.fault = FAULT_NONE;
            CHECK_EQ(r < 0, struck);
            close_image(c);
            CHECK_EQ(open_image(c), 0);
            CHECK_OK(q2_check(q2_of(c->d), 0, &rep, &e), &e);
            CHECK_EQ(rep.errors, 0);
            CHECK_EQ(rep.leaks, 0);
            if (q2_of(c->d)->h.n_snapshots == 0) /* the header may be written all the same */
                CHECK_OK(qcow2_snapshot_create(c->d, "s", &e), &e);
            stop(c);
        }
        CHECK(n > 5);
    }
    log_set_level(LOG_LEVEL_NOTICE);
}

static void cut_snapshots(const struct qcow2_create_cfg *cfg)
{
    struct crash *c = &crash;
    bool struck = true;

    for (u64 n = 0; struck; n++) {
        start_with_data(c, cfg);
        c->store.fault = FAULT_POWER;
        c->store.fails_at = n;
        if (qcow2_snapshot_create(c->d, "s", NULL) == 0)
            qcow2_snapshot_delete(c->d, "s", NULL);
        struck = c->store.off;
        close_image(c);
        lose_power(c);
        check_image(c);
        close_image(c);
        judge(c, 0);
        log_drop(&c->store, false);
        pthread_mutex_destroy(&c->store.lock);
    }
}

/* The power goes at each write of making and deleting a snapshot; who opens the image next leaves nothing for qemu-img to complain of. */
TEST(qcow2_snapshot_power_cuts)
{
    static const struct qcow2_create_cfg cfgs[] = {
        { .size = 512 * KiB, .cluster = 4096 }, { .size = 512 * KiB, .cluster = 4096, .version = 2 }
    };

    log_set_level(LOG_LEVEL_ERROR);
    for_each_row(cfg, cfgs)
        cut_snapshots(cfg);
    log_set_level(LOG_LEVEL_NOTICE);
}
/* The power goes at each write of giving an image another backing file: it has the old one's name, or the new one's. */
TEST(qcow2_backing_power_cuts)
{
    static const struct qcow2_create_cfg cfg = { .size = 512 * KiB, .cluster = 4096 };
    static const u32 lens[] = { 3, 1023, 900, 1000, 20, 450, 1023, 0, 1023 };
    struct crash *c = &crash;
    bool struck = true;
    u64 points = 0;

    log_set_level(LOG_LEVEL_ERROR);
    for (u64 n = 0; struck; n++) {
        char was[DISK_NAME_MAX + 1] = "", now[DISK_NAME_MAX + 1] = "";
        const char *has;
        struct err e = {};

        start(c, &cfg, 5 + n);
        CHECK_EQ(open_below(c), 0);
        c->store.fault = FAULT_POWER;
        c->store.fails_at = n;
        for_each_row(len, lens) {
            memcpy(was, now, sizeof(was));
            memset(now, 'a' + (int)(len - lens), *len);
            now[*len] = 0;
            if (qcow2_set_backing(c->d, *len ? now : NULL, *len % 2 ? "raw" : NULL, &e) < 0)
                break;
        }
        struck = c->store.off;
        points += struck;
        disk_close(TAKE(c->d));
        lose_power(c);
        CHECK_OK(open_below(c), &e);
        has = q2_of(c->d)->h.backing ? q2_of(c->d)->h.backing : "";
        CHECK(strcmp(has, now) == 0 || (struck && strcmp(has, was) == 0));
        disk_close(TAKE(c->d));
        log_drop(&c->store, false);
        pthread_mutex_destroy(&c->store.lock);
    }
    CHECK(points > ARRAY_LEN(lens));
    log_set_level(LOG_LEVEL_NOTICE);
}
