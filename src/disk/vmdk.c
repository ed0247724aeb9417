/*
 * disk/vmdk.c: VMware's disk images ("Virtual Disk Format 5.0"): a descriptor (vmdk_text.c) in a file of its own or inside the
 * only extent, and extents: flat ones, and "hosted sparse" ones, which are grains behind two levels of tables.
 *   (1) A grain directory entry is the sector of a grain table, a table's entry the sector of a grain; 0: nothing was written.
 *   (2) Compressed grains (streamOptimized) begin with a header, which disk/foreign.c checks when it reads one.
 *   (3) A stream writer knows its directory only at the end: then gdOffset is all ones, and a second header two sectors before
 *       the end of the file says it.
 * Snapshots' extents (parentCID), and ESX's own sparse kinds, are refused.
 */
#include "disk/vmdk.h"

#include <stdlib.h>

static int check_header(const struct vmdk_header *h, struct err *e)
{
    u32 version = le32_get(h->version), flags = le32_get(h->flags);

    if (le32_get(h->magic) != VMDK_MAGIC)
        return err_set(e, -EBADMSG, "not a sparse vmdk: its signature is 0x%08x",
                       le32_get(h->magic));
    if (version < 1 || version > 3)
        return err_set(e, -ENOTSUP, "version %u of sparse vmdk; 1 to 3 are known", version);
    if ((flags & VMDK_NEWLINES) && memcmp(h->newlines, "\n \r\n", 4) != 0)
        return err_set(e, -EBADMSG, "it was damaged by a transfer as text");
    if (flags & VMDK_COMPRESSED && !(flags & VMDK_MARKERS))
        return err_set(e, -ENOTSUP, "compressed grains without headers");
    if (flags & VMDK_COMPRESSED && le16_get(h->compression) != VMDK_DEFLATE)
        return err_set(e, -ENOTSUP, "compression %u; 1 (deflate) is known",
                       le16_get(h->compression));
    if (le64_get(h->capacity) == 0 || le64_get(h->capacity) > INT64_MAX / 512)
        return err_set(e, -EBADMSG, "a capacity of %llu sectors", le64_get(h->capacity));
    if (le64_get(h->grain) > LAYOUT_UNIT_MAX / 512)
        return err_set(e, -EBADMSG, "grains of %llu sectors", le64_get(h->grain));
    if (le32_get(h->table_entries) == 0 || le32_get(h->table_entries) > VMDK_TABLE_MAX)
        return err_set(e, -EBADMSG, "grain tables of %u entries; 1 to %d are allowed",
                       le32_get(h->table_entries), VMDK_TABLE_MAX);
    return 0;
}

/* The header that knows the directory. */
static int read_header(const struct layout *l, u32 file, struct vmdk_header *h, struct err *e)
{
    struct vmdk_header footer;
    int r = layout_read(l->files[file], h, sizeof(*h), 0, "vmdk header", e);

    if (r == 0)
        r = check_header(h, e);
    if (r < 0 || le64_get(h->directory_at) != VMDK_AT_END)
        return r;
    if (l->files[file]->size < 3 * sizeof(footer))
        return err_set(e, -EBADMSG, "no footer: the file was cut");
    r = layout_read(l->files[file], &footer, sizeof(footer), l->files[file]->size - 1024,
                    "vmdk footer", e);
    if (r < 0)
        return r;
    if (le32_get(footer.magic) != VMDK_MAGIC || le64_get(footer.directory_at) == VMDK_AT_END ||
        le64_get(footer.capacity) != le64_get(h->capacity) ||
        le64_get(footer.grain) != le64_get(h->grain) ||
        le32_get(footer.table_entries) != le32_get(h->table_entries))
        return err_set(e, -EBADMSG, "no footer that fits its header: the file was cut");
    h->directory_at = footer.directory_at;
    return 0;
}

/* The grain table at sector `at` gives entries from `first` on. */
static int read_table(const struct layout *l, struct layout_segment *s, u32 at, u64 first,
                      const struct vmdk_header *h, struct err *e)
{
    bool zero_grains = le32_get(h->flags) & VMDK_ZERO_GRAINS;
    u64 n = min((u64)le32_get(h->table_entries), s->n - first);
    le32 table[VMDK_TABLE_MAX];
    int r;

    if (at == 0)
        return 0;
    r = layout_read(l->files[s->file], table, n * sizeof(le32), (u64)at * 512, "grain table", e);
    for (u64 i = 0; r == 0 && i < n; i++) {
        u32 grain = le32_get(table[i]);

        s->entries[first + i] = zero_grains && grain == VMDK_GRAIN_ZERO ? 0 : grain;
    }
    return r;
}

static int add_sparse(struct layout *l, u32 file, u64 len, const struct vmdk_header *h,
                      struct err *e)
{
    struct layout_segment s = {
        .len = len,
        .kind = le32_get(h->flags) & VMDK_COMPRESSED ? LAYOUT_PACKED : LAYOUT_DATA,
        .file = file,
        .unit = (u32)le64_get(h->grain) * 512,
        .scale = 512,
    };
    u64 directory = le64_get(h->directory_at), tables;
    struct layout_segment *seg;
    int r = layout_add_table(l, &s, &seg, e);

    if (r < 0)
        return r;
    if (directory > INT64_MAX / 512)
        return err_set(e, -EBADMSG, "a grain directory at sector %llu", directory);
    tables = (seg->n - 1) / le32_get(h->table_entries) + 1;
    for (u64 i = 0; i < tables && r == 0; i++) {
        le32 at;

        r = layout_read(l->files[file], &at, sizeof(at), directory * 512 + i * sizeof(at),
                        "grain directory", e);
        if (r == 0)
            r = read_table(l, seg, le32_get(at), i * le32_get(h->table_entries), h, e);
    }
    return r < 0 ? r : layout_check(l, seg, e);
}

static int add_extent(struct layout *l, const struct vmdk_extent *x, layout_open_fn open, void *arg,
                      struct err *e)
{
    struct vmdk_header h;
    struct disk *store;
    int file, r;

    if (x->kind == VMDK_ZERO)
        return layout_add_run(l, LAYOUT_ZERO, x->len, 0, 0, e);
    r = open(arg, x->name, &store, e);
    if (r < 0)
        return r;
    file = layout_add_file(l, store, e);
    if (file < 0)
        return file;
    if (x->kind == VMDK_FLAT)
        return layout_add_run(l, LAYOUT_DATA, x->len, (u32)file, x->at, e);
    r = read_header(l, (u32)file, &h, e);
    if (r < 0)
        return r;
    if (x->len > le64_get(h.capacity) * 512)
        return err_set(e, -EBADMSG, "%llu bytes are wanted of it, it has %llu", x->len,
                       le64_get(h.capacity) * 512);
    return add_sparse(l, (u32)file, x->len, &h, e);
}

static int add_extents(struct layout *l, const struct vmdk_text *t, layout_open_fn open, void *arg,
                       struct err *e)
{
    int r = 0;

    if (t->n == 0)
        return err_set(e, -EBADMSG, "a descriptor without extents");
    for (u32 i = 0; i < t->n && r == 0; i++) {
        r = add_extent(l, &t->extents[i], open, arg, e);
        if (r < 0)
            err_wrap(e, "extent %u '%.80s'", i, t->extents[i].name);
    }
    return r;
}

static int read_text(const struct layout *l, u64 at, u64 len, struct vmdk_text *t, struct err *e)
{
    AUTO(free) char *text = try_new(char, len + 1, VMDK_TEXT_MAX + 1);
    int r;

    if (!text)
        return err_set(e, -EBADMSG, "a descriptor of %llu bytes; at most %d are allowed", len,
                       VMDK_TEXT_MAX);
    r = layout_read(l->files[0], text, len, at, "descriptor", e);
    return r < 0 ? r : vmdk_text_parse(text, len + 1, t, e);
}

/* The file is a sparse extent, and its descriptor is in it. */
static int parse_monolithic(struct layout *l, struct vmdk_text *t, struct err *e)
{
    struct vmdk_header h;
    u64 at, len;
    int r = read_header(l, 0, &h, e);

    if (r < 0)
        return r;
    at = le64_get(h.text_at);
    len = le64_get(h.text_len);
    if (at == 0)
        return err_set(e, -ENOTSUP, "it is one extent of a disk: open the disk's descriptor");
    if (at > INT64_MAX / 512 || len > VMDK_TEXT_MAX / 512)
        return err_set(e, -EBADMSG, "a descriptor of %llu sectors at sector %llu", len, at);
    r = read_text(l, at * 512, len * 512, t, e);
    if (r < 0)
        return r;
    if (t->n != 1 || t->extents[0].kind != VMDK_SPARSE)
        return err_set(e, -EBADMSG, "a descriptor in an extent that is not the only one");
    return add_sparse(l, 0, le64_get(h.capacity) * 512, &h, e);
}

int vmdk_parse(struct layout *l, layout_open_fn open, void *arg, struct err *e)
{
    struct vmdk_text t = {};
    char magic[4];
    int r = layout_read(l->files[0], magic, sizeof(magic), 0, "vmdk signature", e);

    if (r == 0 && memcmp(magic, "COWD", 4) == 0)
        r = err_set(e, -ENOTSUP, "a sparse extent of ESX: clone it to another kind first");
    else if (r == 0 && memcmp(magic, "KDMV", 4) == 0)
        r = parse_monolithic(l, &t, e);
    else if (r == 0) {
        r = read_text(l, 0, l->files[0]->size, &t, e);
        if (r == 0)
            r = add_extents(l, &t, open, arg, e);
    }
    str_copy(l->variant, sizeof(l->variant), t.type);
    vmdk_text_fini(&t);
    return r;
}
