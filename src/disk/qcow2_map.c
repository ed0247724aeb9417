/*
 * disk/qcow2_map.c: where is an offset of the disk in the file?  ("Cluster mapping", "Extended L2 Entries")
 *   (1) An entry's offset is believed only after it was checked against the file's tables and what an offset can be.
 */
#include "disk/qcow2_internal.h"

#include <stdlib.h>

/* What an entry says of one of its units. */
struct unit {
    enum q2_kind kind;
    bool copied, has_host;
    u64 host; /* of the cluster */
};

static int bad_entry(const struct qcow2 *q, u64 entry, u64 subs)
{
    log_warn_limited("disk '%s': L2 entry 0x%llx (0x%llx) is not one", q->disk.name, entry, subs);
    return -EBADMSG;
}

static int check_host(const struct qcow2 *q, u64 offset, u64 entry, u64 subs)
{
    u64 host = entry & Q2_OFFSET;

    if (!is_aligned(host, q->cluster))
        return bad_entry(q, entry, subs);
    if (q->data_apart)
        return host == align_down(offset, q->cluster) ? 0 : bad_entry(q, entry, subs);
    return q2_is_meta(q, host, q->cluster) ? bad_entry(q, entry, subs) : 0;
}

static int read_unit(const struct qcow2 *q, u64 offset, u64 entry, u64 subs, struct unit *u)
{
    u32 sub = (u32)(offset >> q->unit_bits) & (Q2_SUBS - 1);
    bool alloc, zero;

    *u = (struct unit){};
    if (entry & Q2_COMPRESSED) {
        u64 at, len;

        q2_zip_range(q, entry, &at, &len);
        if (q->data_apart || q2_is_meta(q, at, len))
            return bad_entry(q, entry, subs);
        u->kind = Q2_KIND_ZIP;
        u->host = entry;
        return 0;
    }
    u->host = entry & Q2_OFFSET;
    /* only in a file of its own can data be at 0 */
    u->has_host = u->host || (q->data_apart && (entry & Q2_COPIED));
    if (u->has_host) {
        int r = check_host(q, offset, entry, subs);

        if (r < 0)
            return r;
    }
    u->copied = u->has_host && (entry & Q2_COPIED);
    alloc = q->ext ? subs >> sub & 1 : u->has_host;
    zero = q->ext ? subs >> (sub + 32) & 1 : q->h.version >= Q2_VERSION_3 && (entry & Q2_ZERO);
    if (q->ext && ((alloc && zero) || (alloc && !u->has_host)))
        return bad_entry(q, entry, subs);
    u->kind = zero ? Q2_KIND_ZERO : alloc ? Q2_KIND_DATA : Q2_KIND_ABSENT;
    return 0;
}

/* Does unit u, `d` bytes after the first of x, continue it? */
static bool continues(const struct qcow2 *q, const struct q2_extent *x, const struct unit *u,
                      u64 offset, u64 d)
{
    if (u->kind != x->kind || u->has_host != x->has_host || u->copied != x->copied)
        return false;
    return !x->has_host || u->host + (offset & (q->cluster - 1)) == x->host + d;
}

int q2_extent_get(const struct qcow2 *q, const struct q2_table *t, u64 offset, u64 len,
                  struct q2_extent *ret)
{
    u64 table = q->cluster << q->l2_bits, at = offset;
    u64 end = min(offset + len, align_down(offset, table) + table);
    struct unit u;

    *ret = (struct q2_extent){ .len = end - offset };
    if (!t)
        return 0;
    while (at < end) {
        u32 i = q2_l2_index(q, at);
        int r = read_unit(q, at, q2_entry(q, t, i), q2_entry_subs(q, t, i), &u);

        if (r < 0 && at == offset)
            return r;
        if (r < 0)
            break;
        if (at == offset) {
            ret->kind = u.kind;
            ret->copied = u.copied;
            ret->has_host = u.has_host;
            ret->host = u.kind == Q2_KIND_ZIP ? u.host : u.host + (offset & (q->cluster - 1));
        } else if (!continues(q, ret, &u, at, at - offset)) {
            break;
        }
        at = u.kind == Q2_KIND_ZIP ? align_down(at, q->cluster) + q->cluster
                                   : align_down(at, q->unit) + q->unit;
        if (u.kind == Q2_KIND_ZIP)
            break;
    }
    ret->len = min(at, end) - offset;
    return 0;
}

void q2_entry_set(struct qcow2 *q, struct q2_table *t, u32 i, u64 entry, u64 subs)
{
    t->e[(size_t)i * q->entry_words] = be64_of(entry);
    if (q->ext)
        t->e[(size_t)i * 2 + 1] = be64_of(subs);
    q2_table_touch(q, t, i);
}

s64 q2_entry_clusters(const struct qcow2 *q, u64 entry, u64 *ret)
{
    u64 at, len;

    if (entry & Q2_COMPRESSED) {
        q2_zip_range(q, entry, &at, &len);
        *ret = at >> q->bits;
        return (s64)((at + len - 1) >> q->bits) - (s64)*ret + 1;
    }
    at = entry & Q2_OFFSET;
    if (!at || q->data_apart)
        return 0;
    if (!is_aligned(at, q->cluster))
        return bad_entry(q, entry, 0);
    *ret = at >> q->bits;
    return 1;
}

/* A table only to look at: the cached one, or a copy in `scratch` when it is on its way or there is no room. */
static int look_at(struct qcow2 *q, u32 l1, struct q2_table *scratch, struct q2_table **ret)
{
    const void *key;
    u64 host;
    struct q2_table *t = q->l2.by_l1[l1];
    int r;

    if (!t || t->state == Q2_TABLE_READY) {
        r = q2_table_get(q, NULL, l1, false, ret, &key);
        if (r != -ENOBUFS)
            return r;
    }
    r = q2_l1_host(q, q->l1[l1], &host);
    if (r < 0)
        return r;
    scratch->e = aligned_alloc(4096, align_up(q->cluster, 4096));
    if (!scratch->e)
        return -ENOMEM;
    *ret = scratch;
    return q->file->ops->now(q->file, DISK_READ, scratch->e, q->cluster, host);
}

int q2_map(struct disk *d, u64 offset, u64 len, struct disk_extent *ret, struct err *e)
{
    struct qcow2 *q = q2_of(d);
    struct q2_table scratch = {}, *t = NULL;
    struct q2_extent x;
    int r;

    pthread_mutex_lock(&q->lock);
    r = look_at(q, q2_l1_index(q, offset), &scratch, &t);
    if (r >= 0)
        r = q2_extent_get(q, t, offset, len, &x);
    pthread_mutex_unlock(&q->lock);
    free(scratch.e);
    if (r < 0)
        return err_code(e, r, "disk '%s': what is at %llu", d->name, offset);
    *ret = (struct disk_extent){ .len = x.len, .allocated = x.has_host };
    ret->kind = x.kind == Q2_KIND_ZERO     ? DISK_MAP_ZERO
                : x.kind == Q2_KIND_ABSENT ? DISK_MAP_ABSENT
                                           : DISK_MAP_DATA;
    ret->compressed = x.kind == Q2_KIND_ZIP;
    ret->allocated |= ret->compressed;
    if (x.kind == Q2_KIND_DATA) {
        ret->where = q->data;
        ret->at = x.host;
    }
    return 0;
}
