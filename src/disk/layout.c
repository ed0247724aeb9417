/*
 * disk/layout.c: where the bytes of a foreign image lie.
 */
#include "disk/layout.h"

#include <stdlib.h>

enum { SEGMENTS_MAX = 4096, READ_PIECE = 64 * 1024 };

static const struct layout_segment *segment_at(const struct layout *l, u64 at)
{
    u32 low = 0, high = l->n_segments;

    while (high - low > 1) {
        u32 middle = low + (high - low) / 2;

        if (l->segments[middle].start <= at)
            low = middle;
        else
            high = middle;
    }
    return &l->segments[low];
}

static u64 unit_at(const struct layout_segment *s, u64 i)
{
    return s->at + (u64)s->entries[i] * s->scale;
}

/* How many units from `i` on continue what unit `i` begins?  At most so many that `want` bytes are covered. */
static u64 same_units(const struct layout_segment *s, u64 i, u64 want)
{
    u64 n = 1, most = min(s->n - i, 1 + (want - 1) / s->unit + 1);

    if (s->kind == LAYOUT_PACKED && s->entries[i])
        return 1;
    while (n < most) {
        bool zero = s->entries[i + n] == 0;

        if (zero != (s->entries[i] == 0) ||
            (!zero && unit_at(s, i + n) != unit_at(s, i) + n * s->unit))
            break;
        n++;
    }
    return n;
}

void layout_map(const struct layout *l, u64 at, u64 want, struct layout_run *ret)
{
    const struct layout_segment *s = segment_at(l, at);
    u64 in = at - s->start, left = s->len - in, i, skip;

    must(want > 0 && range_ok(at, want, l->size));
    want = min(want, left);
    *ret = (struct layout_run){ .kind = s->kind, .len = want, .file = s->file };
    if (!s->entries) {
        if (s->kind == LAYOUT_DATA)
            ret->at = s->at + in;
        return;
    }
    i = in / s->unit;
    skip = in % s->unit;
    ret->len = min(want, same_units(s, i, want) * s->unit - skip);
    if (s->entries[i] == 0) {
        ret->kind = LAYOUT_ZERO;
    } else if (s->kind == LAYOUT_DATA) {
        ret->at = unit_at(s, i) + skip;
    } else {
        ret->at = unit_at(s, i);
        ret->unit_start = at - skip;
        ret->unit = s->unit;
        ret->skip = (u32)skip;
    }
}

int layout_add_file(struct layout *l, struct disk *store, struct err *e)
{
    AUTO(disk) struct disk *own = store;

    if (l->n_files == LAYOUT_FILES_MAX)
        return err_set(e, -EFBIG, "more than %d files", LAYOUT_FILES_MAX);
    l->files[l->n_files] = TAKE(own);
    return (int)l->n_files++;
}

static int add_segment(struct layout *l, const struct layout_segment *s, struct err *e)
{
    if (l->n_segments == l->room) {
        u32 room = l->room ? 2 * l->room : 8;
        struct layout_segment *more;

        if (l->room == SEGMENTS_MAX)
            return err_set(e, -EFBIG, "more than %d extents", SEGMENTS_MAX);
        more = xnew_n(struct layout_segment, room);
        if (l->n_segments)
            memcpy(more, l->segments, l->n_segments * sizeof(*more));
        free(l->segments);
        l->segments = more;
        l->room = room;
    }
    l->segments[l->n_segments] = *s;
    l->segments[l->n_segments++].start = l->size;
    l->size += s->len;
    return 0;
}

/* Is there room for `len` bytes more on the disk? */
static int check_len(const struct layout *l, u64 len, struct err *e)
{
    if (len == 0 || len % 512)
        return err_set(e, -EBADMSG, "%llu bytes: not a number of whole sectors", len);
    if (len > (u64)INT64_MAX - l->size)
        return err_set(e, -EFBIG, "larger than 2^63 bytes");
    return 0;
}

int layout_add_run(struct layout *l, enum layout_kind kind, u64 len, u32 file, u64 at,
                   struct err *e)
{
    const struct layout_segment s = { .len = len, .kind = kind, .file = file, .at = at };
    int r = check_len(l, len, e);

    if (r < 0)
        return r;
    if (kind == LAYOUT_DATA && !range_ok(at, len, l->files[file]->size))
        return err_set(e, -EBADMSG, "%llu bytes at %llu are wanted, the file has %llu", len, at,
                       l->files[file]->size);
    return add_segment(l, &s, e);
}

int layout_add_table(struct layout *l, const struct layout_segment *like,
                     struct layout_segment **ret, struct err *e)
{
    struct layout_segment s = *like;
    u32 most = s.kind == LAYOUT_PACKED ? LAYOUT_PACKED_MAX : LAYOUT_UNIT_MAX;
    int r = check_len(l, s.len, e);

    if (r < 0)
        return r;
    if (!is_pow2(s.unit) || s.unit < 512 || s.unit > most)
        return err_set(e, -EBADMSG, "blocks of %u bytes; a power of two from 512 to %u is allowed",
                       s.unit, most);
    s.n = (s.len - 1) / s.unit + 1;
    s.entries = try_new(u32, s.n, LAYOUT_TABLES_MAX - l->table_bytes);
    if (!s.entries)
        return err_set(e, -EFBIG, "a table of %llu blocks; all may have %llu MiB in memory", s.n,
                       LAYOUT_TABLES_MAX / MiB);
    r = add_segment(l, &s, e);
    if (r < 0) {
        free(s.entries);
        return r;
    }
    l->table_bytes += s.n * sizeof(u32);
    l->block = max(l->block, s.unit);
    l->packed |= s.kind == LAYOUT_PACKED;
    *ret = &l->segments[l->n_segments - 1];
    return 0;
}

int layout_check(const struct layout *l, const struct layout_segment *seg, struct err *e)
{
    u64 size = l->files[seg->file]->size;

    for (u64 i = 0; i < seg->n; i++) {
        /* of the last unit only what the disk has is needed; of a packed one its header shows the rest */
        u64 len = seg->kind == LAYOUT_PACKED ? 12 : min((u64)seg->unit, seg->len - i * seg->unit);

        if (seg->entries[i] && !range_ok(unit_at(seg, i), len, size))
            return err_set(e, -EBADMSG,
                           "block %llu is said to lie at %llu, past the file's end at %llu", i,
                           unit_at(seg, i), size);
    }
    return 0;
}

int layout_read(struct disk *store, void *buf, size_t len, u64 at, const char *what, struct err *e)
{
    alignas(4096)
        u8 piece[READ_PIECE]; /* stores give whole sectors, into memory fit for direct I/O */

    if (!range_ok(at, len, store->size))
        return err_set(e, -EBADMSG, "%s at %llu, %zu bytes: the file ends at %llu", what, at, len,
                       store->size);
    for (u64 done = 0; done < len;) {
        u64 first = align_down(at + done, (u64)DISK_SECTOR), skip = at + done - first;
        u64 part = min(len - done, READ_PIECE - skip);
        int r = store->ops->now(store, DISK_READ, piece, align_up(skip + part, (u64)DISK_SECTOR),
                                first);

        if (r < 0)
            return err_code(e, r, "read the %s", what);
        memcpy((u8 *)buf + done, piece + skip, part);
        done += part;
    }
    return 0;
}

void layout_fini(struct layout *l)
{
    for (u32 i = 0; i < l->n_segments; i++)
        free(l->segments[i].entries);
    for (u32 i = 0; i < l->n_files; i++)
        disk_close(l->files[i]);
    free(l->segments);
    *l = (struct layout){};
}
