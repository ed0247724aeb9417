/*
 * disk/qcow2_header.c: the header of a qcow2 image and its extensions: read and checked, built, stored.  ("Header", "Header extensions")
 */
#include "disk/qcow2_internal.h"

#include <stdlib.h>

static_assert(sizeof(struct q2_disk_header) == 112, "as the format has it");

/* "Header extensions" */
enum {
    EXT_END = 0,
    EXT_BACKING_FORMAT = 0xe2792aca,
    EXT_FEATURES = 0x6803f857,
    EXT_BITMAPS = 0x23852875,
    EXT_CRYPT = 0x0537be77,
    EXT_DATA_FILE = 0x44415441,
    EXT_DIRTY = 0x536f636c, /* ours, in version 2: what the DIRTY bit says; others pass it over */
};

struct ext {
    be32 type, len;
};

/* "Feature name table" */
struct feature {
    u8 type, bit;
    char name[46];
};
/* clang-format off */
static const struct feature features[] = {
    { 0, 0, "dirty bit" },
    { 0, 1, "corrupt bit" },
    { 0, 2, "external data file" },
    { 0, 3, "compression type" },
    { 0, 4, "extended L2 entries" },
    { 1, 0, "lazy refcounts" },
    { 2, 0, "bitmaps" },
    { 2, 1, "raw external data" },
};
/* clang-format on */

static char *text_of(const u8 *p, size_t len)
{
    char *s = alloc_x(1, len + 1);

    memcpy(s, p, len);
    return s;
}

/* Extensions lie one after the other from `at` on; calls each(…) for every one. */
struct walk {
    const u8 *head;
    u32 at, end;
    u32 type, len;
    const u8 *data;
};

/* 1: one more; 0: the end; -EBADMSG. */
static int next_ext(struct walk *w, struct err *e)
{
    struct ext x;

    if (w->at + sizeof(x) > w->end)
        return 0;
    memcpy(&x, w->head + w->at, sizeof(x));
    w->type = be32_get(x.type);
    w->len = be32_get(x.len);
    w->data = w->head + w->at + sizeof(x);
    if (w->type == EXT_END)
        return 0;
    if (w->len > w->end - w->at - sizeof(x))
        return err_set(e, -EBADMSG, "header extension 0x%x at %u has %u bytes, more than fit",
                       w->type, w->at, w->len);
    w->at = (u32)min((u64)w->end, w->at + sizeof(x) + align_up((u64)w->len, 8));
    return 1;
}

/* Names the first unknown bit by the image's own table, where that has it. */
static int refuse_features(const struct q2_header *h, struct walk w, struct err *e)
{
    u64 unknown = h->incompatible & ~Q2_I_KNOWN;
    u8 bit = (u8)__builtin_ctzll(unknown);
    char name[47] = "";

    while (next_ext(&w, NULL) > 0) {
        if (w.type != EXT_FEATURES)
            continue;
        for (u32 at = 0; at + sizeof(struct feature) <= w.len; at += sizeof(struct feature)) {
            struct feature f;

            memcpy(&f, w.data + at, sizeof(f));
            if (f.type == 0 && f.bit == bit)
                str_fmt(name, sizeof(name), "%.46s", f.name);
        }
    }
    for (char *p = name; *p; p++)
        if (*p < 0x20 || *p > 0x7e)
            *p = '?';
    return err_set(e, -ENOTSUP,
                   "the image needs feature '%s' (bit %u of incompatible features 0x%llx)",
                   name[0] ? name : "unknown", bit, h->incompatible);
}

static int read_bitmaps_ext(const struct walk *w, struct q2_header *h, struct err *e)
{
    struct {
        be32 n, reserved;
        be64 len, at;
    } __attribute__((packed)) b;

    if (w->len < sizeof(b))
        return err_set(e, -EBADMSG, "the bitmaps extension has %u bytes; at least %zu are needed",
                       w->len, sizeof(b));
    memcpy(&b, w->data, sizeof(b));
    h->has_bitmaps = true;
    h->n_bitmaps = be32_get(b.n);
    h->bitmaps_len = be64_get(b.len);
    h->bitmaps_at = be64_get(b.at);
    return 0;
}

static int read_ext(const struct walk *w, struct q2_header *h, struct err *e)
{
    char **name = w->type == EXT_BACKING_FORMAT ? &h->backing_format : &h->data_file;

    switch (w->type) {
    case EXT_BACKING_FORMAT:
    case EXT_DATA_FILE:
        if (w->len > DISK_NAME_MAX || (w->len && memchr(w->data, 0, w->len)))
            return err_set(e, -EBADMSG, "header extension 0x%x is no name of at most %u bytes",
                           w->type, DISK_NAME_MAX);
        free(*name);
        *name = text_of(w->data, w->len);
        return 0;
    case EXT_BITMAPS:
        return read_bitmaps_ext(w, h, e);
    case EXT_DIRTY:
        if (h->version < Q2_VERSION_3)
            h->incompatible |= Q2_I_DIRTY;
        return 0;
    case EXT_CRYPT:
        return err_set(e, -ENOTSUP,
                       "the image has a LUKS header: encrypted images are not read here");
    default:
        return 0; /* "can be safely ignored" */
    }
}

static int read_backing_name(const struct q2_disk_header *d, const u8 *head, u32 len,
                             struct q2_header *h, struct err *e)
{
    u64 at = be64_get(d->backing_at);
    u32 n = be32_get(d->backing_len);

    if (at == 0)
        return 0;
    if (n == 0 || n > DISK_NAME_MAX || !range_ok(at, n, len) || at < Q2_HEADER_2) {
        return err_set(e, -EBADMSG,
                       "the backing file's name is %u bytes at %llu; at most %u inside the first "
                       "%u bytes are allowed",
                       n, at, DISK_NAME_MAX, len);
    }
    if (memchr(head + at, 0, n))
        return err_set(e, -EBADMSG, "the backing file's name has a zero byte");
    h->backing = text_of(head + at, n);
    return 0;
}

static int check_version(struct q2_header *h, const struct q2_disk_header *d, struct err *e)
{
    u32 crypt = be32_get(d->crypt);

    if (h->version != Q2_VERSION_2 && h->version != Q2_VERSION_3)
        return err_set(e, -ENOTSUP, "version %u of qcow2; 2 and 3 are read here", h->version);
    if (crypt == 1 || crypt == 2)
        return err_set(e, -ENOTSUP, "the image is encrypted (%s), which is not read here",
                       crypt == 1 ? "AES" : "LUKS");
    if (crypt)
        return err_set(e, -EBADMSG, "encryption method %u; 0 to 2 are defined", crypt);
    if (h->cluster_bits < Q2_CLUSTER_BITS_MIN || h->cluster_bits > Q2_CLUSTER_BITS_MAX)
        return err_set(e, -EBADMSG, "clusters of 2^%u bytes; 2^%u to 2^%u are allowed",
                       h->cluster_bits, Q2_CLUSTER_BITS_MIN, Q2_CLUSTER_BITS_MAX);
    if (h->version == Q2_VERSION_2)
        return 0;
    if (h->header_len < Q2_HEADER_3 || h->header_len % 8 || h->header_len > (1u << h->cluster_bits))
        return err_set(e, -EBADMSG,
                       "the header has %u bytes; multiples of 8 from %u to a cluster are allowed",
                       h->header_len, Q2_HEADER_3);
    if (h->refcount_order > 6)
        return err_set(e, -EBADMSG, "refcounts of 2^%u bits; 2^0 to 2^6 are allowed",
                       h->refcount_order);
    return 0;
}

static int check_features(const struct q2_header *h, struct err *e)
{
    bool zip = h->incompatible & Q2_I_COMPRESSION;

    if (h->compression > QCOW2_ZSTD)
        return err_set(e, -ENOTSUP, "compression type %u; 0 (zlib) and 1 (zstd) are read here",
                       h->compression);
    if (zip != (h->compression != QCOW2_ZLIB))
        return err_set(e, -EBADMSG, "compression type %u and its feature bit do not agree",
                       h->compression);
    if ((h->incompatible & Q2_I_EXT_L2) && h->cluster_bits < Q2_EXT_BITS_MIN)
        return err_set(e, -EBADMSG,
                       "extended L2 entries with clusters of %u bytes; %u is the least",
                       1u << h->cluster_bits, 1u << Q2_EXT_BITS_MIN);
    if ((h->autoclear & Q2_A_RAW_DATA) && !(h->incompatible & Q2_I_DATA_FILE))
        return err_set(e, -EBADMSG, "raw external data without an external data file");
    if ((h->autoclear & Q2_A_RAW_DATA) && h->backing)
        return err_set(e, -EBADMSG, "raw external data and a backing file");
    return 0;
}

/* A table at `at` of `len` bytes: aligned, sayable, and not all of it after the file's end. */
static int check_table(const struct q2_header *h, const char *what, u64 at, u64 len, u64 file_size,
                       struct err *e)
{
    u64 cluster = 1ull << h->cluster_bits;

    if (len == 0)
        return 0;
    if (at < cluster || !is_aligned(at, cluster) || !range_ok(at, len, Q2_HOST_END) ||
        at >= file_size)
        return err_set(
            e, -EBADMSG,
            "the %s is at %llu; multiples of %llu inside the file's %llu bytes are allowed", what,
            at, cluster, file_size);
    return 0;
}

static int check_sizes(const struct q2_header *h, u64 file_size, struct err *e)
{
    u32 table_bits =
        h->cluster_bits + q2_entries_bits(h->cluster_bits, h->incompatible & Q2_I_EXT_L2);
    u64 l1_need, l1_bytes = h->l1_size * 8ull, rt_bytes = (u64)h->rt_clusters << h->cluster_bits;
    int r;

    if (h->size == 0 || h->size % DISK_SECTOR)
        return err_set(e, -EINVAL, "the disk has %llu bytes; multiples of %u are read here",
                       h->size, DISK_SECTOR);
    l1_need = ((h->size - 1) >> table_bits) + 1;
    if (l1_bytes > Q2_L1_BYTES_MAX || l1_need * 8 > Q2_L1_BYTES_MAX)
        return err_set(
            e, -EFBIG,
            "the L1 table has %u entries and a disk of %llu bytes needs %llu; %llu are allowed",
            h->l1_size, h->size, l1_need, Q2_L1_BYTES_MAX / 8);
    if (h->l1_size < l1_need)
        return err_set(e, -EBADMSG, "the L1 table has %u entries; a disk of %llu bytes needs %llu",
                       h->l1_size, h->size, l1_need);
    if (rt_bytes == 0 || rt_bytes > Q2_RT_BYTES_MAX)
        return err_set(e, -EBADMSG, "the refcount table has %u clusters; 1 to %llu are allowed",
                       h->rt_clusters, Q2_RT_BYTES_MAX >> h->cluster_bits);
    if (h->n_snapshots > Q2_SNAPSHOTS_MAX)
        return err_set(e, -EFBIG, "%u snapshots; %u are allowed", h->n_snapshots, Q2_SNAPSHOTS_MAX);
    r = check_table(h, "L1 table", h->l1_at, l1_bytes, file_size, e);
    if (r == 0)
        r = check_table(h, "refcount table", h->rt_at, rt_bytes, file_size, e);
    if (r == 0)
        r = check_table(h, "snapshot table", h->snapshots_at, h->n_snapshots * 40ull, file_size, e);
    return r;
}

static void read_numbers(const struct q2_disk_header *d, struct q2_header *h)
{
    h->version = be32_get(d->version);
    h->cluster_bits = be32_get(d->cluster_bits);
    h->size = be64_get(d->size);
    h->l1_size = be32_get(d->l1_size);
    h->l1_at = be64_get(d->l1_at);
    h->rt_at = be64_get(d->rt_at);
    h->rt_clusters = be32_get(d->rt_clusters);
    h->n_snapshots = be32_get(d->n_snapshots);
    h->snapshots_at = be64_get(d->snapshots_at);
    h->refcount_order = 4;
    h->header_len = Q2_HEADER_2;
    if (h->version < Q2_VERSION_3)
        return;
    h->incompatible = be64_get(d->incompatible);
    h->compatible = be64_get(d->compatible);
    h->autoclear = be64_get(d->autoclear);
    h->refcount_order = be32_get(d->refcount_order);
    h->header_len = be32_get(d->header_len);
    h->compression =
        h->header_len > offsetof(struct q2_disk_header, compression) ? d->compression : 0;
}

int q2_header_parse(const u8 *head, u32 len, u64 file_size, struct q2_header *h, struct err *e)
{
    struct q2_disk_header d;
    struct walk w = { .head = head };
    int r;

    *h = (struct q2_header){};
    must(len >= sizeof(d));
    memcpy(&d, head, sizeof(d));
    if (be32_get(d.magic) != Q2_MAGIC)
        return err_set(e, -EBADMSG, "not a qcow2 image: it begins with 0x%08x", be32_get(d.magic));
    read_numbers(&d, h);
    r = check_version(h, &d, e);
    if (r < 0)
        return r;
    len = min(len, 1u << h->cluster_bits);
    w.at = min(h->header_len, len);
    w.end = len;
    r = read_backing_name(&d, head, len, h, e);
    if (r == 0 && h->backing)
        w.end = (u32)max((u64)w.at, be64_get(d.backing_at));
    if (r == 0 && (h->incompatible & ~Q2_I_KNOWN))
        r = refuse_features(h, w, e);
    while (r == 0 && (r = next_ext(&w, e)) > 0)
        r = read_ext(&w, h, e);
    if (r == 0)
        r = check_features(h, e);
    return r < 0 ? r : check_sizes(h, file_size, e);
}

void q2_header_fini(struct q2_header *h)
{
    free(h->backing);
    free(h->backing_format);
    free(h->data_file);
    *h = (struct q2_header){};
}

static void put_numbers(const struct q2_header *h, u8 *head)
{
    struct q2_disk_header d;

    memcpy(&d, head, sizeof(d));
    d.magic = be32_of(Q2_MAGIC);
    d.version = be32_of(h->version);
    d.cluster_bits = be32_of(h->cluster_bits);
    d.size = be64_of(h->size);
    d.l1_size = be32_of(h->l1_size);
    d.l1_at = be64_of(h->l1_at);
    d.rt_at = be64_of(h->rt_at);
    d.rt_clusters = be32_of(h->rt_clusters);
    d.n_snapshots = be32_of(h->n_snapshots);
    d.snapshots_at = be64_of(h->snapshots_at);
    if (h->version >= Q2_VERSION_3) {
        d.incompatible = be64_of(h->incompatible);
        d.compatible = be64_of(h->compatible);
        d.autoclear = be64_of(h->autoclear);
        d.refcount_order = be32_of(h->refcount_order);
        d.header_len = be32_of(h->header_len);
    }
    if (h->header_len > offsetof(struct q2_disk_header, compression))
        d.compression = h->compression;
    memcpy(head, &d, min((size_t)h->header_len, sizeof(d)));
}

/* Where the next extension or name goes. */
struct out {
    u8 *p;
    u32 at, len;
};

static bool put(struct out *o, const void *data, size_t len)
{
    if (len > o->len - o->at)
        return false;
    if (len)
        memcpy(o->p + o->at, data, len);
    o->at += (u32)len;
    return true;
}

static bool put_ext(struct out *o, u32 type, const void *data, size_t len)
{
    struct ext x = { be32_of(type), be32_of((u32)len) };
    static const u8 pad[8];

    return put(o, &x, sizeof(x)) && put(o, data, len) &&
           put(o, pad, align_up(len, (size_t)8) - len);
}

/* Extensions of the old header that are not ours to write are kept; bitmaps, while they are true. */
static bool keep_others(struct out *o, const u8 *old, u32 len, bool bitmaps)
{
    struct q2_disk_header d;
    struct walk w = { .head = old, .end = len };
    u64 name;
    bool v3;

    memcpy(&d, old, sizeof(d));
    name = be64_get(d.backing_at);
    v3 = be32_get(d.version) >= Q2_VERSION_3;
    w.at = v3 ? be32_get(d.header_len) : Q2_HEADER_2;
    if (name)
        w.end = (u32)min((u64)len, name);
    while (next_ext(&w, NULL) > 0)
        if (w.type != EXT_BACKING_FORMAT && w.type != EXT_DATA_FILE && w.type != EXT_FEATURES &&
            w.type != EXT_DIRTY && (w.type != EXT_BITMAPS || bitmaps) &&
            !put_ext(o, w.type, w.data, w.len))
            return false;
    return true;
}

/*
 * Where a name of n bytes, too long for the first sector, can go so that all that the old header speaks of stays as it is until the new one
 * is written; 0: nowhere.
 */
static u32 place_name(const u8 *old, u32 len, u32 n)
{
    struct q2_disk_header d;
    struct walk w = { .head = old, .end = len };
    u64 from, to;

    memcpy(&d, old, sizeof(d));
    from = align_down(be64_get(d.backing_at), DISK_SECTOR);
    to = align_up(be64_get(d.backing_at) + be32_get(d.backing_len), DISK_SECTOR);
    w.at = be32_get(d.version) >= Q2_VERSION_3 ? be32_get(d.header_len) : Q2_HEADER_2;
    while (next_ext(&w, NULL) > 0)
        ;
    for (u32 at = (u32)align_up(max(w.at + sizeof(struct ext), (size_t)DISK_SECTOR), DISK_SECTOR);
         at + n <= len; at += DISK_SECTOR)
        if (at >= to || at + n <= from)
            return at;
    return 0;
}

/* *ret_end: where the last that it speaks of ends. */
static int build(const struct q2_header *h, u8 *head, u32 len, bool names, u32 *ret_end,
                 struct err *e)
{
    AUTO(free) u8 *old = xdup_mem(head, len);
    struct out o = { head, h->header_len, len };
    struct q2_disk_header *d = (struct q2_disk_header *)head;
    bool was = be32_get(d->magic) == Q2_MAGIC, ok = true;

    if (was)
        memset(head + h->header_len, 0, len - h->header_len);
    else
        memset(head, 0, len);
    put_numbers(h, head);
    if (h->backing_format)
        ok = put_ext(&o, EXT_BACKING_FORMAT, h->backing_format, strlen(h->backing_format));
    if (ok && h->data_file)
        ok = put_ext(&o, EXT_DATA_FILE, h->data_file, strlen(h->data_file));
    if (ok && h->version < Q2_VERSION_3 && (h->incompatible & Q2_I_DIRTY))
        ok = put_ext(&o, EXT_DIRTY, NULL, 0);
    if (ok && was)
        ok = keep_others(&o, old, len, h->autoclear & Q2_A_BITMAPS);
    if (ok && names && h->version >= Q2_VERSION_3 && len >= 1024)
        ok = put_ext(&o, EXT_FEATURES, features, sizeof(features));
    if (ok)
        ok = put_ext(&o, EXT_END, NULL, 0);
    if (ok && was && h->backing && o.at <= DISK_SECTOR && o.at + strlen(h->backing) > DISK_SECTOR)
        o.at = max(place_name(old, len, (u32)strlen(h->backing)), o.at);
    d->backing_at = be64_of(h->backing ? o.at : 0);
    d->backing_len = be32_of(h->backing ? (u32)strlen(h->backing) : 0);
    if (ok && h->backing)
        ok = put(&o, h->backing, strlen(h->backing));
    if (!ok)
        return err_set(e, -ENOSPC, "names and extensions of the header do not fit into %u bytes",
                       len);
    *ret_end = o.at;
    return 0;
}

int q2_header_build(const struct q2_header *h, u8 *head, u32 len, struct err *e)
{
    u32 end;

    return build(h, head, len, true, &end, e);
}

/* Writes the numbers of q->h into the first sector; synced. */
static int store(struct qcow2 *q)
{
    int r;

    put_numbers(&q->h, q->head);
    r = q->file->ops->now(q->file, DISK_WRITE, q->head, DISK_SECTOR, 0);
    return r < 0 ? r : q->file->ops->now(q->file, DISK_FLUSH, NULL, 0, 0);
}

int q2_header_change(struct qcow2 *q, const struct q2_header *was)
{
    int r = store(q);

    if (r == 0)
        return 0;
    q->h = *was;
    q->broken = store(q) < 0;
    return r;
}

/* What the first sector will speak of is there before it does.  Of a name in sectors of its own, only those. */
static int write_rest(struct qcow2 *q, u8 *head, u32 end)
{
    u64 at = be64_get(((const struct q2_disk_header *)head)->backing_at), from = DISK_SECTOR;

    if (end <= DISK_SECTOR)
        return 0;
    if (at > DISK_SECTOR)
        from = align_down(at, DISK_SECTOR);
    return q->file->ops->now(q->file, DISK_WRITE, head + from, align_up(end, DISK_SECTOR) - from,
                             from);
}

/* The header as bytes, owned; *end: where the last that it speaks of ends.  NULL with `e`: it does not fit. */
static u8 *make_head(const struct qcow2 *q, u32 *end, struct err *e)
{
    AUTO(free) u8 *head = aligned_alloc(4096, Q2_HEAD_MAX);
    int r;

    must(head);
    /* without the table of features' names, which nobody needs, it mostly fits into the first sector, and is written at once */
    memcpy(head, q->head, q->head_len);
    r = build(&q->h, head, q->head_len, false, end, e);
    if (r == 0 && *end > DISK_SECTOR) {
        memcpy(head, q->head, q->head_len);
        r = build(&q->h, head, q->head_len, true, end, e);
    }
    return r == 0 ? TAKE(head) : NULL;
}

/* Changes over to `head`, which is taken; synced. */
static int put_head(struct qcow2 *q, u8 *head, u32 end, struct err *e)
{
    u8 *old = q->head;
    int r = write_rest(q, head, end);

    if (r == 0)
        r = q->file->ops->now(q->file, DISK_FLUSH, NULL, 0, 0);
    if (r == 0) {
        q->head = head;
        r = store(q);
        if (r == 0) {
            free(old);
            return 0;
        }
        q->head = old;
        q->broken = store(q) < 0; /* then nobody knows which of the two headers counts */
    }
    free(head);
    return err_code(e, r, "write the header of disk '%s'", q->disk.name);
}

int q2_header_rewrite(struct qcow2 *q, struct err *e)
{
    u32 end = 0;
    u8 *head = make_head(q, &end, e);

    return head ? put_head(q, head, end, e) : -ENOSPC;
}

int q2_header_mark(struct qcow2 *q, u64 bits, bool on)
{
    const struct q2_header was = q->h;
    u8 *head;
    u32 end = 0;
    int r;

    if (q->h.version < Q2_VERSION_3)
        bits &= Q2_I_DIRTY;
    q->h.incompatible = on ? was.incompatible | bits : was.incompatible & ~bits;
    if (q->h.incompatible == was.incompatible)
        return 0;
    if (q->h.version >= Q2_VERSION_3)
        return q2_header_change(q, &was);
    head = make_head(q, &end, NULL);
    if (!head)
        return 0; /* an extension more does not fit: after a crash nobody is told */
    r = put_head(q, head, end, NULL);
    if (r < 0)
        q->h.incompatible = was.incompatible;
    return r;
}
