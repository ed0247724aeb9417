/*
 * disk/job_overlay.c: overlays and what is below them: commit, rebase.
 * Both are done in place, and what the overlay reads as is the same after each write:
 *   (1) commit writes into the backing file only what the overlay itself has, so that nobody sees it through the overlay; who else
 *       reads the backing file does.
 *   (2) rebase writes into the overlay only what it reads as already, and changes the backing file's name last, when that is
 *       on stable storage.
 */
#include "disk/format.h"
#include "disk/job_copy.h"
#include "disk/overlay.h"
#include "disk/zero.h"

#include <stdlib.h>
#include <sys/stat.h>

static struct disk_cfg cfg_of(const struct job_image *ref)
{
    return (struct disk_cfg){ .file = ref->file,
                              .fd = -1,
                              .cache = ref->cache,
                              .engine = ref->engine,
                              .format = ref->format };
}

/* Its backing file for writing, and at least as large. */
static int open_below(const struct job_image *overlay, const struct disk *d, struct disk **ret,
                      struct err *e)
{
    AUTO(free) char *path = NULL;
    struct job_image below = { .cache = overlay->cache, .engine = overlay->engine };
    struct qcow2_info info = {};
    int r;

    if (disk_is_qcow2(d))
        qcow2_info(d, &info);
    if (!info.backing)
        return err_set(e, -EINVAL, "'%s' has no backing file to commit to", overlay->file);
    path = disk_path_beside(overlay->file, info.backing);
    below.file = path;
    below.format = info.backing_format;
    r = job_open_image(&below, false, ret, e);
    if (r == 0 && (*ret)->size < d->size)
        r = disk_resize(*ret, d->size, e);
    return r;
}

/*
 * A guest that wrote another format's header into its first sector could so choose what its raw disk is taken for next time
 * (doc/disks.md); one that looks like that already was called raw by who has it.
 */
static int check_guard(struct disk *d, struct disk *below, struct err *e)
{
    AUTO(disk_sync) struct disk_sync *from = NULL, *to = NULL;
    u8 head[DISK_SECTOR], was[DISK_SECTOR];
    int r = disk_is_qcow2(below) ? 1 : disk_sync_open(d, &from, e);

    if (r == 0)
        r = disk_sync_open(below, &to, e);
    if (r)
        return min(r, 0);
    if (disk_pread(from, head, sizeof(head), 0) < 0 || disk_pread(to, was, sizeof(was), 0) < 0)
        return err_set(e, -EIO, "read the first sectors of '%s' and '%s'", d->name, below->name);
    if (disk_format_probe(head) && !disk_format_probe(was))
        return err_set(
            e, -EPERM,
            "'%s' has the header of a %s image in its first sector: '%s' would be taken for one",
            d->name, disk_format_probe(head)->name, below->name);
    return 0;
}

int job_commit(struct job *j, const struct job_image *overlay, struct err *e)
{
    AUTO(disk) struct disk *d = NULL, *below = NULL;
    AUTO(disk_sync) struct disk_sync *s = NULL;
    struct disk_cfg cfg = cfg_of(overlay);
    struct copy copy = { .own = true, .granule = DISK_SECTOR };
    int r;

    cfg.readonly = cfg.no_backing = true;
    r = disk_open(&cfg, &d, e);
    if (r == 0)
        r = open_below(overlay, d, &below, e);
    if (r == 0)
        r = check_guard(d, below, e);
    if (r < 0)
        return r;
    copy.from = d;
    copy.to = below;
    copy.len = d->size;
    job_total(j, copy.len);
    r = job_copy(j, &copy, e);
    if (r == 0)
        r = disk_sync_open(below, &s, e);
    if (r < 0)
        return r;
    r = disk_flush(s);
    return r < 0 ? err_code(e, r, "flush '%s'", below->name) : 0;
}

/* A backing file as who reads the overlay sees it: zeroes without one, and after its end. */
struct below {
    struct disk *d; /* NULL: none */
    struct disk_sync *s;
    u8 *buf; /* COPY_CHUNK bytes */
};

static int below_open(struct below *b, struct disk *d, struct err *e)
{
    *b = (struct below){ .d = d, .buf = xnew_n(u8, COPY_CHUNK) };
    return d ? disk_sync_open(d, &b->s, e) : 0;
}

static void below_close(struct below *b)
{
    disk_sync_close(b->s);
    free(b->buf);
}

static int below_read(const struct below *b, u64 at, u64 len, struct err *e)
{
    u64 part = b->d && at < b->d->size ? min(len, b->d->size - at) : 0;
    int r = part ? disk_pread(b->s, b->buf, part, at) : 0;

    if (r < 0)
        return err_code(e, r, "read '%s' at %llu", b->d->name, at);
    memset(b->buf + part, 0, len - part);
    return 0;
}

struct rebase {
    struct job *job;
    struct disk *d;
    struct disk_sync *s;
    struct below old, new;
    struct disk *between; /* `old`, when what is below it is `new`; NULL: it is not */
};

/* What the overlay has not itself, and the new backing file has not equally, becomes its own. */
static int keep_range(struct rebase *b, u64 at, u64 len, struct err *e)
{
    int r = below_read(&b->old, at, len, e);

    if (r == 0)
        r = below_read(&b->new, at, len, e);
    for (u64 i = 0; i < len && r == 0;) {
        u64 end = i + min(len - i, 4096ull);
        bool same = memcmp(b->old.buf + i, b->new.buf + i, end - i) == 0;

        while (end < len &&
               (memcmp(b->old.buf + end, b->new.buf + end, min(len - end, 4096ull)) == 0) == same)
            end += min(len - end, 4096ull);
        if (!same) {
            bool zero = is_zero(b->old.buf + i, end - i);

            r = zero ? disk_zero(b->s, end - i, at + i, true)
                     : disk_pwrite(b->s, b->old.buf + i, end - i, at + i);
        }
        if (r < 0)
            err_code(e, r, "write '%s' at %llu", b->d->name, at + i);
        i = end;
    }
    return r;
}

/* How many bytes from `at` on, at most len, neither of the two has: they read as zeroes. */
static int neither(const struct rebase *b, u64 at, u64 len, u64 *ret, struct err *e)
{
    struct disk *const disks[] = { b->old.d, b->new.d };

    for_each_row(d, disks) {
        struct disk_extent x = {};
        int r;

        if (!*d || at >= (*d)->size)
            continue;
        r = disk_map_deep(*d, at, min(len, (*d)->size - at), &x, e);
        if (r < 0)
            return r;
        len = x.kind == DISK_MAP_ZERO ? min(len, x.len) : 0;
        if (!len)
            break;
    }
    *ret = len;
    return 0;
}

/* How many of `len` absent bytes read the same through either backing file, because they come from the new one anyway. */
static int same_below(const struct rebase *b, u64 at, u64 len, u64 *ret_same, struct err *e)
{
    struct disk_extent x = {};
    int r;

    *ret_same = 0;
    if (!b->between || at >= b->between->size)
        return 0;
    r = disk_map(b->between, at, min(len, b->between->size - at), &x, e);
    if (r == 0 && x.kind == DISK_MAP_ABSENT)
        *ret_same = x.len;
    return r;
}

/* The bytes at `at` of which d says x; how many they are in *len. */
static int keep_extent(struct rebase *b, u64 at, const struct disk_extent *x, u64 *len,
                       struct err *e)
{
    int r = 0;

    *len = x->len;
    if (x->kind != DISK_MAP_ABSENT)
        return 0;
    r = same_below(b, at, x->len, len, e);
    if (r == 0 && !*len)
        r = neither(b, at, x->len, len, e);
    if (r < 0 || *len)
        return r;
    *len = min(x->len, (u64)COPY_CHUNK);
    return keep_range(b, at, *len, e);
}

static int keep_all(struct rebase *b, struct err *e)
{
    int r = 0;

    for (u64 at = 0, len = 0; at < b->d->size && r == 0; at += len) {
        /* over `new` already, what a cluster has beside what was written to it is of `new`, and to be looked at like the rest */
        struct disk_extent x = { .kind = DISK_MAP_ABSENT, .len = b->d->size - at };

        r = job_check(b->job, e);
        if (r == 0 && b->d->backing != b->new.d)
            r = disk_map(b->d, at, b->d->size - at, &x, e);
        if (r == 0)
            r = keep_extent(b, at, &x, &len, e);
        if (r < 0)
            break;
        job_add(b->job, len);
    }
    if (r == 0) {
        r = disk_flush(b->s);
        if (r < 0)
            err_code(e, r, "flush '%s'", b->d->name);
    }
    return r;
}

/* The new backing file, which must not lead to the overlay. */
static int open_new_below(const struct job_rebase *r, struct disk **ret, struct err *e)
{
    AUTO(free) char *path = disk_path_beside(r->overlay.file, r->backing);
    struct disk_above self = {};
    struct stat st;
    struct disk_cfg cfg = { .file = path,
                            .fd = -1,
                            .readonly = true,
                            .cache = r->overlay.cache,
                            .engine = r->overlay.engine,
                            .format = r->backing_format,
                            .above = &self };

    if (stat(r->overlay.file, &st) < 0)
        return err_errno(e, "look at '%s'", r->overlay.file);
    self.dev = st.st_dev;
    self.ino = st.st_ino;
    return disk_open(&cfg, ret, e);
}

/* Both none, or the same file? */
static bool is_same(const struct disk *a, const struct disk *b)
{
    struct overlay_file x, y;

    if (!a || !b)
        return !a && !b;
    return overlay_file(a, &x) == 0 && overlay_file(b, &y) == 0 && x.dev == y.dev && x.ino == y.ino;
}

int job_keep(struct job *j, struct disk *d, struct disk *old, struct disk *new, struct err *e)
{
    struct rebase b = { .job = j, .d = d };
    int r = below_open(&b.old, old, e);

    if (old && is_same(old->backing, new))
        b.between = old;
    if (r == 0)
        r = below_open(&b.new, new, e);
    if (r == 0)
        r = disk_sync_open(d, &b.s, e);
    if (r == 0)
        r = keep_all(&b, e);
    below_close(&b.old);
    below_close(&b.new);
    disk_sync_close(b.s);
    return r;
}

int job_rebase(struct job *j, const struct job_rebase *rb, struct err *e)
{
    AUTO(disk) struct disk *d = NULL, *below = NULL;
    const char *format = rb->backing_format;
    struct disk_cfg cfg = cfg_of(&rb->overlay);
    int r = rb->backing ? open_new_below(rb, &below, e)
                        : 0; /* finds cycles: before the overlay is locked */

    cfg.no_backing = rb->unsafe; /* the old one may be gone */
    cfg.beside_readers = rb->beside_readers;
    if (r == 0)
        r = disk_open(&cfg, &d, e);
    if (r == 0 && !disk_is_qcow2(d))
        r = err_set(e, -ENOTSUP, "'%s' is %s, which has no backing file", rb->overlay.file,
                    d->ops->format);
    if (r == 0 && !rb->unsafe) {
        job_total(j, d->size);
        r = job_keep(j, d, d->backing, below, e);
    }
    if (r < 0)
        return r;
    if (below && !format)
        format = below->ops->format; /* said, so that nobody has to guess it again */
    return qcow2_set_backing(d, rb->backing, disk_format_written(format), e);
}
