/*
 * disk/job_compare.c: do two disks read the same, whatever their formats?
 * What both maps call zeroes is not read.  Some chunks of each disk are under way: while one pair is compared, the next are read.
 */
#include "disk/job_copy.h"
#include "disk/zero.h"

#include <stdlib.h>

enum { PAIRS = 4 };

struct side {
    struct disk *d;
    struct disk_sync *s;
};

struct pair;

struct half {
    struct disk_req r;
    struct iovec iov;
    u8 *buf; /* COPY_CHUNK bytes */
    bool busy;
};

/* A range of both disks.  A half that is not read is known to be zeroes. */
struct pair {
    u64 at, len;
    struct half half[2];
    bool read[2];
};

struct comparison {
    struct job *job;
    struct side side[2];
    struct pair pair[PAIRS];
    u64 at, len; /* the cursor; bytes that both have */
};

static void on_read(struct disk_req *r)
{
    container_of(r, struct half, r)->busy = false;
}

static void begin_half(struct comparison *c, struct pair *p, u32 i)
{
    struct half *h = &p->half[i];

    h->iov = (struct iovec){ h->buf, p->len };
    h->r = (struct disk_req){
        .op = DISK_READ, .offset = p->at, .len = p->len, .iov = &h->iov, .n_iov = 1, .done = on_read
    };
    h->busy = true;
    disk_submit(disk_sync_queue(c->side[i].s), &h->r);
    disk_kick(disk_sync_queue(c->side[i].s));
}

/* Begins to read the next range where one of them may have data.  len 0: there is none. */
static int begin(struct comparison *c, struct pair *p, struct err *e)
{
    p->len = 0;
    while (c->at < c->len) {
        struct disk_extent x[2];
        u64 len;

        for (u32 i = 0; i < 2; i++) {
            int r = disk_map_deep(c->side[i].d, c->at, c->len - c->at, &x[i], e);

            if (r < 0)
                return r;
            p->read[i] = x[i].kind == DISK_MAP_DATA;
        }
        len = min(x[0].len, x[1].len);
        if (p->read[0] || p->read[1])
            len = min(len, (u64)COPY_CHUNK);
        p->at = c->at;
        c->at += len;
        if (!p->read[0] && !p->read[1]) {
            job_add(c->job, len);
            continue;
        }
        p->len = len;
        for (u32 i = 0; i < 2; i++)
            if (p->read[i])
                begin_half(c, p, i);
        break;
    }
    return 0;
}

/* Waits for what is read of the pair. */
static int finish(struct comparison *c, struct pair *p, struct err *e)
{
    int r = 0;

    for (u32 i = 0; i < 2; i++) {
        while (p->half[i].busy)
            disk_wait(disk_sync_queue(c->side[i].s));
        if (p->len && p->read[i] && p->half[i].r.result < 0 && r == 0)
            r = err_code(e, p->half[i].r.result, "read '%s' at %llu", c->side[i].d->name,
                         p->half[i].r.offset);
    }
    return r;
}

static bool equal(const struct pair *p, u64 at, u64 len)
{
    if (p->read[0] && p->read[1])
        return memcmp(p->half[0].buf + at, p->half[1].buf + at, len) == 0;
    return is_zero(p->half[p->read[0] ? 0 : 1].buf + at, len);
}

/* The first sector that differs, and in it the byte; false: none does. */
static bool find_difference(const struct pair *p, u64 *ret)
{
    if (equal(p, 0, p->len))
        return false;
    for (u64 at = 0; at < p->len; at += DISK_SECTOR) {
        if (equal(p, at, DISK_SECTOR))
            continue;
        for (u32 i = 0; i < DISK_SECTOR; i++) {
            u8 a = p->read[0] ? p->half[0].buf[at + i] : 0;
            u8 b = p->read[1] ? p->half[1].buf[at + i] : 0;

            if (a == b)
                continue;
            *ret = p->at + at + i;
            return true;
        }
    }
    return false;
}

/* 0, 1 with *ret, or a negative errno. */
static int run(struct comparison *c, u64 *ret, struct err *e)
{
    int r = 0;

    for (u32 i = 0; i < PAIRS && r == 0; i++)
        r = begin(c, &c->pair[i], e);
    for (u32 i = 0; r == 0 && c->pair[i].len; i = (i + 1) % PAIRS) {
        struct pair *p = &c->pair[i];

        r = job_check(c->job, e);
        if (r == 0)
            r = finish(c, p, e);
        if (r == 0 && find_difference(p, ret))
            r = 1;
        job_add(c->job, p->len);
        if (r == 0)
            r = begin(c, p, e);
    }
    for_each_row(p, c->pair)
        finish(c, p, NULL);
    return r;
}

/* Are the `len` bytes at `at` zeroes?  1 with *ret: the first is not. */
static int check_piece(struct side *s, u8 *buf, u64 at, u64 len, u64 *ret, struct err *e)
{
    int r = disk_pread(s->s, buf, len, at);

    if (r < 0)
        return err_code(e, r, "read '%s' at %llu", s->d->name, at);
    if (is_zero(buf, len))
        return 0;
    while (*buf++ == 0)
        at++;
    *ret = at;
    return 1;
}

/* What the larger disk has after the smaller one's end must be zeroes. */
static int check_rest(struct comparison *c, u64 *ret, struct err *e)
{
    u32 large = c->side[1].d->size > c->side[0].d->size;
    struct side *s = &c->side[large];
    u8 *buf = c->pair[0].half[0].buf;
    int r = 0;

    for (u64 at = c->len, len; at < s->d->size && r == 0; at += len) {
        struct disk_extent x = {};

        r = job_check(c->job, e);
        if (r == 0)
            r = disk_map_deep(s->d, at, s->d->size - at, &x, e);
        if (r < 0)
            return r;
        len = x.kind == DISK_MAP_DATA ? min(x.len, (u64)COPY_CHUNK) : x.len;
        if (x.kind == DISK_MAP_DATA)
            r = check_piece(s, buf, at, len, ret, e);
        job_add(c->job, len);
    }
    return r;
}

static int open_side(struct side *s, const struct job_image *ref, struct err *e)
{
    int r = job_open_image(ref, true, &s->d, e);

    return r < 0 ? r : disk_sync_open(s->d, &s->s, e);
}

int job_compare(struct job *j, struct job_compare *ic, struct err *e)
{
    struct comparison *c = xnew(struct comparison);
    int r = open_side(&c->side[0], &ic->a, e);

    c->job = j;
    if (r == 0)
        r = open_side(&c->side[1], &ic->b, e);
    for (u32 i = 0; i < 2 * PAIRS; i++)
        c->pair[i / 2].half[i % 2].buf = xnew_n(u8, COPY_CHUNK);
    if (r == 0) {
        u64 a = c->side[0].d->size, b = c->side[1].d->size;

        c->len = min(a, b);
        job_total(j, ic->strict ? c->len : max(a, b));
        ic->sizes = ic->strict && a != b;
        ic->differs_at = c->len;
        r = ic->sizes ? 1 : run(c, &ic->differs_at, e);
    }
    if (r == 0)
        r = check_rest(c, &ic->differs_at, e);
    for (u32 i = 0; i < 2 * PAIRS; i++)
        free(c->pair[i / 2].half[i % 2].buf);
    for (u32 i = 0; i < 2; i++) {
        disk_sync_close(c->side[i].s);
        disk_close(c->side[i].d);
    }
    free(c);
    return r;
}
