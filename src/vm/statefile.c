/*
 * vm/statefile.c: reads and writes what is around RAM in a state file.  (doc/state-file.md)
 *   (1) Nothing of a file is believed before its place was checked against the file's size and against all other parts' places, and the
 *       sum over all but RAM is right.  The sum finds damage, not malice: what the parts say is checked by those who use them.
 *   (2) The header is written last; a file without one is no state file.
 */
#include "vm/statefile.h"

#include "fw/image.h"
#include "mem/mem.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEADER_SIZE = 4096, VERSION = 1 };

static const char magic[8] = "SOCLEVM1";

/* A part of the file. */
struct extent {
    le64 at, len;
};

/* clang-format off */
struct header {
    char magic[8];
    le32 version;
    le32 zero;
    le64 file_size;
    le64 sum;            /* over the header, with 0 here, then meta, state and map */
    struct extent ram;   /* whole pages at a multiple of the page size */
    struct extent meta;  /* JSON, struct state_meta */
    struct extent state; /* a state stream (state/state.h) */
    struct extent map;   /* le64 words, a bit for each page of RAM; none: all pages are in this file */
    u8 rest[4000];       /* zeroes */
};
/* clang-format on */
static_assert(sizeof(struct header) == HEADER_SIZE, "one page");

static bool id_ok(const char *s)
{
    for (const char *p = s; *p; p++)
        if (!isxdigit((unsigned char)*p))
            return false;
    return strlen(s) == STATEFILE_ID_LEN;
}

static bool name_ok(const char *s)
{
    return *s;
}

bool statefile_image_ok(const char *s)
{
    return *s && !strchr(s, '/') && strlen(s) < 256 && strcmp(s, ".") != 0 && strcmp(s, "..") != 0;
}

/* clang-format off */
static const struct field disk_fields[] = {
    FIELD_INT(state_disk, size, "bytes", .required = true),
    FIELD_INT(state_disk, mtime_ns, "when it was changed last, in ns since 1970; 0: unknown"),
    FIELD_STR(state_disk, image, "the file beside it that is the disk of then", .ok = statefile_image_ok,
              .want = "the name of a file, without its folder"),
    {},
};
static const struct field parent_fields[] = {
    FIELD_STR(state_parent, file, "the file that this one builds on", .ok = name_ok, .want = "the name of a file"),
    FIELD_STR(state_parent, id, "its id", .ok = id_ok, .want = "32 hex digits"),
    {},
};
const struct field state_meta_fields[] = {
    FIELD_STR(state_meta, id, "of this file", .required = true, .ok = id_ok, .want = "32 hex digits"),
    FIELD_OBJ(state_meta, parent, parent_fields, "what it builds on"),
    FIELD_LIST(state_meta, disks, disk_fields, state_disk, SPEC_DISKS_MAX, "what the disks were"),
    FIELD_BOOL(state_meta, legacy, "has PIC and PIT"),
    FIELD_OBJ(state_meta, spec, spec_fields, "the machine"),
    {},
};
/* clang-format on */

static u64 at_of(const struct extent *x)
{
    return le64_get(x->at);
}

static u64 len_of(const struct extent *x)
{
    return le64_get(x->len);
}

static bool overlap(const struct extent *a, const struct extent *b)
{
    return at_of(a) < at_of(b) + len_of(b) && at_of(b) < at_of(a) + len_of(a);
}

static u64 map_len(u64 ram_size)
{
    return (ram_size / MEM_PAGE + 63) / 64 * 8;
}

/* Parts of the file: where each may be and how long it may be. */
static int check_extents(const struct header *h, u64 file_size, struct err *e)
{
    const struct extent *all[] = { &h->ram, &h->meta, &h->state, &h->map };
    static const char *const names[] = { "RAM", "description", "state", "map" };
    const u64 ram = len_of(&h->ram),
              most[] = { MEM_SIZE_MAX, STATEFILE_META_MAX, STATEFILE_STATE_MAX, map_len(ram) };

    for (u32 i = 0; i < ARRAY_LEN(all); i++) {
        if (!range_ok(at_of(all[i]), len_of(all[i]), file_size) ||
            (len_of(all[i]) && at_of(all[i]) < HEADER_SIZE))
            return err_set(e, -EBADMSG, "%s of %llu bytes at %llu; the file has %llu", names[i],
                           len_of(all[i]), at_of(all[i]), file_size);
        if (len_of(all[i]) > most[i] || (i < 3 && len_of(all[i]) == 0))
            return err_set(e, -EBADMSG, "%s of %llu bytes; allowed are 1 to %llu", names[i],
                           len_of(all[i]), most[i]);
        for (u32 k = 0; k < i; k++)
            if (overlap(all[i], all[k]))
                return err_set(e, -EBADMSG, "%s at %llu and %s at %llu overlap", names[k],
                               at_of(all[k]), names[i], at_of(all[i]));
    }
    if (!is_aligned(at_of(&h->ram) | ram, (u64)MEM_PAGE) || ram < MEM_SIZE_MIN)
        return err_set(e, -EBADMSG, "RAM of %llu bytes at %llu: not whole pages, or too little",
                       ram, at_of(&h->ram));
    if (len_of(&h->map) && len_of(&h->map) != map_len(ram))
        return err_set(e, -EBADMSG, "a map of %llu bytes; %llu are needed", len_of(&h->map),
                       map_len(ram));
    return 0;
}

static int read_header(int fd, struct header *h, struct err *e)
{
    static const u8 none[sizeof(h->rest)];
    struct stat st;
    int r;

    if (fstat(fd, &st) < 0)
        return err_errno(e, "look at it");
    if (!S_ISREG(st.st_mode))
        return err_set(e, -EINVAL, "not a regular file");
    r = fd_pread_all(fd, h, sizeof(*h), 0);
    if (r == -ENODATA || (r == 0 && memcmp(h->magic, magic, sizeof(magic)) != 0))
        return err_set(e, -EBADMSG, "not a state file");
    if (r < 0)
        return err_code(e, r, "read its header");
    if (le32_get(h->version) != VERSION)
        return err_set(e, -EBADMSG, "version %u; this program knows %u", le32_get(h->version),
                       VERSION);
    if (le32_get(h->zero) || memcmp(h->rest, none, sizeof(none)) != 0)
        return err_set(e, -EBADMSG, "its header has bytes that mean nothing in version %u",
                       VERSION);
    if (le64_get(h->file_size) != (u64)st.st_size)
        return err_set(e, -EBADMSG, "%lld bytes long; it was written with %llu", (s64)st.st_size,
                       le64_get(h->file_size));
    return check_extents(h, (u64)st.st_size, e);
}

/* A part in memory, owned; NULL with `e`.  One byte more than it has, which is 0. */
static u8 *read_extent(int fd, const struct extent *x, const char *what, struct err *e)
{
    const u64 len = len_of(x);
    u8 *p = try_new(u8, len + 1, STATEFILE_STATE_MAX + MEM_SIZE_MAX / MEM_PAGE / 8 + 1);
    int r = p ? fd_pread_all(fd, p, len, at_of(x)) : -ENOMEM;

    if (r == 0)
        return p;
    err_code(e, r, "read its %s of %llu bytes", what, len);
    free(p);
    return NULL;
}

static void part_fini(struct statefile_part *p)
{
    fd_close(&p->fd);
    free(p->name);
    free(p->id);
    free(p->parent.file);
    free(p->parent.id);
    free(p->pages);
}

/* The bits, and none for pages that do not exist. */
static int check_pages(const u64 *pages, u64 ram_size, struct err *e)
{
    const u64 n = ram_size / MEM_PAGE;

    must(pages || !n); /* a map was read for all of RAM */
    if (n % 64 && pages[n / 64] >> n % 64)
        return err_set(e, -EBADMSG, "its map has pages beyond the %llu of RAM", n);
    return 0;
}

struct blobs {
    u8 *meta, *state, *map;
};

static void blobs_fini(struct blobs *b)
{
    free(b->meta);
    free(b->state);
    free(b->map);
}

static int read_blobs(int fd, struct header *h, struct blobs *b, struct err *e)
{
    const u64 want = le64_get(h->sum);
    u64 sum;

    b->meta = read_extent(fd, &h->meta, "description", e);
    b->state = b->meta ? read_extent(fd, &h->state, "state", e) : NULL;
    b->map = b->state ? read_extent(fd, &h->map, "map", e) : NULL;
    if (!b->map)
        return e ? e->code : -EIO;
    h->sum = le64_of(0);
    sum = image_sum(0, h, sizeof(*h));
    sum = image_sum(sum, b->meta, len_of(&h->meta));
    sum = image_sum(sum, b->state, len_of(&h->state));
    sum = image_sum(sum, b->map, len_of(&h->map));
    return sum == want ? 0 : err_set(e, -EBADMSG, "damaged: its sum is wrong");
}

/* The description: of the newest file all of it, of others only who they are. */
static int take_meta(struct statefile *f, const u8 *text, u64 len, struct err *e)
{
    struct statefile_part *p = &f->part[f->n - 1];
    struct state_meta meta = {};
    int r = conf_parse_text(state_meta_fields, &meta, (const char *)text, len, e);

    if (r < 0)
        return err_wrap(e, "its description");
    p->id = xdup(meta.id);
    p->parent = (struct state_parent){ meta.parent.file ? xdup(meta.parent.file) : NULL,
                                       meta.parent.id ? xdup(meta.parent.id) : NULL };
    if (f->n == 1)
        f->meta = meta;
    else
        conf_fini(state_meta_fields, &meta);
    if (!p->parent.file != !p->parent.id || !p->parent.file != !p->pages)
        return err_set(e, -EBADMSG,
                       "of its map and the name and id of the file that it builds on "
                       "some are missing");
    return 0;
}

/* Reads the next file of a chain, which owns `fd` from now on. */
static int read_part(struct statefile *f, int fd, const char *name, struct err *e)
{
    struct statefile_part *p = &f->part[f->n++];
    struct blobs b = {};
    struct header h = {};
    int r;

    *p = (struct statefile_part){ .name = xdup(name), .fd = fd };
    r = read_header(fd, &h, e);
    if (r == 0 && f->n > 1 && len_of(&h.ram) != f->ram_size)
        r = err_set(e, -EBADMSG, "RAM of %llu bytes; what builds on it has %llu", len_of(&h.ram),
                    f->ram_size);
    if (r == 0)
        r = read_blobs(fd, &h, &b, e);
    if (r == 0 && len_of(&h.map)) {
        p->pages = (u64 *)(void *)TAKE(b.map);
        r = check_pages(p->pages, len_of(&h.ram), e);
    }
    if (r == 0)
        r = take_meta(f, b.meta, len_of(&h.meta), e);
    if (r == 0) {
        p->ram_at = at_of(&h.ram);
        f->ram_size = len_of(&h.ram);
    }
    if (r == 0 && f->n == 1) {
        f->state = TAKE(b.state);
        f->state_len = len_of(&h.state);
    }
    blobs_fini(&b);
    return r < 0 ? err_wrap(e, "state file '%s'", name) : 0;
}

void statefile_free(struct statefile *f)
{
    if (!f)
        return;
    for (u32 i = 0; i < f->n; i++)
        part_fini(&f->part[i]);
    conf_fini(state_meta_fields, &f->meta);
    free(f->state);
    free(f);
}

int statefile_open_fd(int fd, const char *name, struct statefile **ret, struct err *e)
{
    AUTO(statefile) struct statefile *f = xnew(struct statefile);
    int r = read_part(f, fd, name, e);

    if (r < 0)
        return r;
    if (f->part[0].pages)
        return err_set(e, -EINVAL, "state file '%s' builds on '%s'", name, f->part[0].parent.file);
    *ret = TAKE(f);
    return 0;
}

/* O_NONBLOCK: a FIFO must be refused, not waited for. */
static int open_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    return fd < 0 ? -errno : fd;
}

/* The file that `child` builds on: beside it, else where it was.  *ret_name is owned. */
static int open_parent(const struct statefile_part *child, char **ret_name, struct err *e)
{
    const char *was = child->parent.file, *folder_end = strrchr(child->name, '/'), *base;
    char *beside;
    int fd;

    must(was); /* else it builds on none */
    base = strrchr(was, '/');
    beside = str_new("%.*s%s", folder_end ? (int)(folder_end + 1 - child->name) : 0, child->name,
                     base ? base + 1 : was);
    fd = open_file(beside);
    if (fd == -ENOENT && base) {
        free(beside);
        beside = xdup(was);
        fd = open_file(beside);
    }
    *ret_name = beside;
    return fd < 0 ? err_code(e, fd, "'%s', which '%s' builds on", beside, child->name) : fd;
}

/* One more file of the chain. */
static int add_parent(struct statefile *f, struct err *e)
{
    const struct statefile_part *child = &f->part[f->n - 1];
    AUTO(free) char *name = NULL;
    int r;

    if (f->n == STATEFILE_CHAIN_MAX)
        return err_set(e, -E2BIG, "more than %d files build on each other", STATEFILE_CHAIN_MAX);
    r = open_parent(child, &name, e);
    if (r >= 0)
        r = read_part(f, r, name, e);
    if (r < 0)
        return r;
    must(f->part[f->n - 1].id && child->parent.id); /* read_part refuses a file without */
    if (strcmp(f->part[f->n - 1].id, child->parent.id) != 0)
        return err_set(e, -EINVAL, "'%s' is not the file that '%s' builds on, it was replaced",
                       name, child->name);
    return 0;
}

int statefile_open(const char *path, struct statefile **ret, struct err *e)
{
    AUTO(statefile) struct statefile *f = xnew(struct statefile);
    int r = open_file(path);

    if (r < 0)
        return err_code(e, r, "state file '%s'", path);
    r = read_part(f, r, path, e);
    while (r >= 0 && f->part[f->n - 1].pages)
        r = add_parent(f, e);
    if (r < 0)
        return r;
    *ret = TAKE(f);
    return 0;
}

static void put_extent(struct extent *x, u64 at, u64 len)
{
    x->at = le64_of(at);
    x->len = le64_of(len);
}

int statefile_finish(int fd, const struct statefile_new *n, struct err *e)
{
    const u64 map = n->pages ? map_len(n->ram_size) : 0;
    const u64 map_at = STATEFILE_RAM_AT + n->ram_size, state_at = map_at + map,
              meta_at = state_at + n->state->len, end = meta_at + n->meta->len;
    struct header h = { .version = le32_of(VERSION), .file_size = le64_of(end) };
    u64 sum;
    int r;

    memcpy(h.magic, magic, sizeof(magic));
    put_extent(&h.ram, STATEFILE_RAM_AT, n->ram_size);
    put_extent(&h.meta, meta_at, n->meta->len);
    put_extent(&h.state, state_at, n->state->len);
    put_extent(&h.map, map ? map_at : 0, map);
    sum = image_sum(0, &h, sizeof(h));
    sum = image_sum(sum, n->meta->text, n->meta->len);
    sum = image_sum(sum, n->state->text, n->state->len);
    sum = image_sum(sum, n->pages, map);
    h.sum = le64_of(sum);
    r = map ? fd_pwrite_all(fd, n->pages, map, map_at) : 0;
    if (r == 0)
        r = fd_pwrite_all(fd, n->state->text, n->state->len, state_at);
    if (r == 0)
        r = fd_pwrite_all(fd, n->meta->text, n->meta->len, meta_at);
    if (r == 0)
        r = fd_pwrite_all(fd, &h, sizeof(h), 0);
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    return r < 0 ? err_code(e, r, "write the state file") : 0;
}
