/*
 * disk/qcow2_snap.c: internal snapshots of a qcow2 image.  ("Snapshots")
 *
 * A snapshot is a copy of the L1 table, and one more reference to all that it leads to.  Whatever a crash interrupts:
 *   (1) References are counted up, on disk, before there is anything that refers; and down after there is nothing more.  So
 *       clusters leak at worst.
 *   (2) COPIED is taken from all active entries before the header knows the snapshot, and given back last.  It follows the counts,
 *       and both cannot change at once: while they may differ the header says DIRTY, so that the next to write to the image puts
 *       the flags right.
 *   (3) The header changes over from one table to the next in its first sector.
 */
#include "disk/qcow2_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { EXTRA_MAX = 1024, NAME_MAX_LEN = 255 };
#define TABLE_MAX (64 * MiB)
#define SEEN_MAX  (512 * MiB) /* one bit a cluster of the file */

struct snap_entry {
    be64 l1_at;
    be32 l1_size;
    be16 id_len, name_len;
    be32 sec, nsec;
    be64 vm_clock;
    be32 vm_state;
    be32 extra_len;
} __attribute__((packed));

void q2_snaps_free(struct q2_snaps *s)
{
    for (u32 i = 0; i < s->n; i++) {
        free(s->list[i].id);
        free(s->list[i].name);
        free(s->list[i].extra);
    }
    free(s->list);
    *s = (struct q2_snaps){};
}

/* Any bytes of the file, by whole sectors. */
static int read_any(struct qcow2 *q, void *buf, u64 len, u64 at)
{
    u64 from = align_down(at, DISK_SECTOR), to = align_up(at + len, DISK_SECTOR);
    AUTO(free) u8 *p = aligned_alloc(4096, align_up(to - from, 4096));
    int r;

    if (!p)
        return -ENOMEM;
    r = q->file->ops->now(q->file, DISK_READ, p, to - from, from);
    if (r == 0)
        memcpy(buf, p + (at - from), len);
    return r;
}

static char *dup_text(const u8 *p, size_t n)
{
    char *s = alloc_x(1, n + 1);

    memcpy(s, p, n);
    return s;
}

static int check_entry(const struct qcow2 *q, const struct q2_snap *s, u32 i, struct err *e)
{
    if (s->extra_len > EXTRA_MAX)
        return err_set(e, -EBADMSG, "snapshot %u has %u bytes of extra data; %u are allowed", i,
                       s->extra_len, EXTRA_MAX);
    if (s->l1_size * 8ull > Q2_L1_BYTES_MAX || !is_aligned(s->l1_at, q->cluster) ||
        s->l1_at >= q->file_len || s->l1_at < q->cluster)
        return err_set(e, -EBADMSG, "snapshot %u has an L1 table of %u entries at %llu", i,
                       s->l1_size, s->l1_at);
    return 0;
}

/* One entry at *at, which moves on. */
static int load_one(struct qcow2 *q, struct q2_snap *s, u32 i, u64 *at, struct err *e)
{
    struct snap_entry d = {};
    AUTO(free) u8 *rest = NULL;
    u32 id_len, name_len;
    be64 extra[2] = {};
    int r = read_any(q, &d, sizeof(d), *at);

    if (r < 0)
        return err_code(e, r, "read snapshot %u", i);
    s->l1_at = be64_get(d.l1_at);
    s->l1_size = be32_get(d.l1_size);
    s->sec = be32_get(d.sec);
    s->nsec = be32_get(d.nsec);
    s->vm_clock = be64_get(d.vm_clock);
    s->extra_len = be32_get(d.extra_len);
    id_len = be16_get(d.id_len);
    name_len = be16_get(d.name_len);
    r = check_entry(q, s, i, e);
    if (r < 0)
        return r;
    rest = alloc_x(1, (size_t)s->extra_len + id_len + name_len + 1);
    r = read_any(q, rest, s->extra_len + id_len + name_len, *at + sizeof(d));
    if (r < 0)
        return err_code(e, r, "read snapshot %u", i);
    memcpy(extra, rest, min((size_t)s->extra_len, sizeof(extra)));
    s->vm_state = s->extra_len >= 8 ? be64_get(extra[0]) : be32_get(d.vm_state);
    s->size = s->extra_len >= 16 ? be64_get(extra[1]) : q->h.size;
    s->extra = xdup_mem(rest, s->extra_len + 1);
    s->id = dup_text(rest + s->extra_len, id_len);
    s->name = dup_text(rest + s->extra_len + id_len, name_len);
    *at += align_up(sizeof(d) + s->extra_len + id_len + name_len, (size_t)8);
    return 0;
}

int q2_snaps_load(struct qcow2 *q, struct q2_snaps *s, struct err *e)
{
    u64 at = q->h.snapshots_at;
    int r = 0;

    *s = (struct q2_snaps){};
    if (q->h.n_snapshots == 0)
        return 0;
    s->list = xnew_n(struct q2_snap, q->h.n_snapshots + 1);
    while (r == 0 && s->n < q->h.n_snapshots) {
        s->n++;
        r = load_one(q, &s->list[s->n - 1], s->n - 1, &at, e);
        if (r == 0 && at - q->h.snapshots_at > TABLE_MAX)
            r = err_set(e, -EFBIG, "a snapshot table of more than %llu bytes", TABLE_MAX);
    }
    s->bytes = at - q->h.snapshots_at;
    if (r < 0)
        q2_snaps_free(s);
    return r;
}

/* ---- references of a whole L1 table ---- */

/* Counts up or down, entry by entry; `left` limits how many, to undo just what was done. */
struct counting {
    struct qcow2 *q;
    int delta;
    u64 left, did;
};

static int count_clusters(struct counting *c, u64 first, u64 n)
{
    int r;

    if (c->left == 0)
        return 0;
    r = q2_ref_add(c->q, first, n, c->delta);
    if (r < 0)
        return r;
    c->left--;
    c->did++;
    return 0;
}

static int count_table(struct counting *c, u64 host, be64 *buf)
{
    struct qcow2 *q = c->q;
    int r = q->file->ops->now(q->file, DISK_READ, buf, q->cluster, host);

    for (u32 i = 0; i < 1u << q->l2_bits && r == 0; i++) {
        u64 first;
        s64 n = q2_entry_clusters(q, be64_get(buf[(size_t)i * q->entry_words]), &first);

        r = n > 0 ? count_clusters(c, first, (u64)n) : (int)n;
    }
    return r < 0 ? r : count_clusters(c, host >> q->bits, 1);
}

/* No L2 table is twice in one L1 table: who claims so would have us count for ever. */
static int count_l1(struct counting *c, const u64 *l1, u32 n)
{
    struct qcow2 *q = c->q;
    AUTO(free) be64 *buf = aligned_alloc(4096, align_up(q->cluster, 4096));
    AUTO(free) u8 *seen = try_new(u8, (q->file_len >> q->bits) / 8 + 1, SEEN_MAX);
    int r = buf && seen ? 0 : -ENOMEM;

    pthread_mutex_lock(&q->lock);
    for (u32 i = 0; i < n && r == 0; i++) {
        u64 host, at;

        r = q2_l1_host(q, l1[i], &host);
        if (r < 0 || !host)
            continue;
        at = host >> q->bits;
        if (seen[at / 8] >> (at % 8) & 1) {
            r = -EBADMSG;
            continue;
        }
        seen[at / 8] |= (u8)(1 << at % 8);
        r = count_table(c, host, buf);
    }
    pthread_mutex_unlock(&q->lock);
    return r;
}

/* All that an L1 table leads to: all of it, or nothing. */
static int refer(struct qcow2 *q, const u64 *l1, u32 n, int delta)
{
    struct counting c = { .q = q, .delta = delta, .left = ~0ull };
    int r = count_l1(&c, l1, n);

    if (r < 0) {
        struct counting undo = { .q = q, .delta = -delta, .left = c.did };

        count_l1(&undo, l1, n);
    }
    return r;
}

/* ---- COPIED of the active tables ---- */

/* What the flag of an entry should be: is there one reference to its clusters? */
static int is_single(struct qcow2 *q, u64 entry, bool *ret)
{
    u64 first, count = 0;
    s64 n = (entry & Q2_COMPRESSED) ? 0 : q2_entry_clusters(q, entry, &first);
    int r = n > 0 ? q2_ref_get(q, first, &count) : (int)n;

    *ret = n > 0 ? count == 1 : q->data_apart && !(entry & Q2_COMPRESSED) && entry;
    return r;
}

static int flag_table(struct qcow2 *q, u32 l1)
{
    struct q2_table *t;
    const void *key;
    int r = q2_table_get(q, NULL, l1, false, &t, &key);
    bool single;

    if (r <= 0)
        return r;
    for (u32 i = 0; i < 1u << q->l2_bits; i++) {
        u64 entry = q2_entry(q, t, i), want;

        if (!entry)
            continue;
        r = is_single(q, entry, &single);
        if (r < 0)
            return r;
        want = single ? entry | Q2_COPIED : entry & ~Q2_COPIED;
        if (want != entry)
            q2_entry_set(q, t, i, want, q2_entry_subs(q, t, i));
    }
    r = is_single(q, q->l1[l1] & Q2_OFFSET, &single);
    if (r == 0 && single != !!(q->l1[l1] & Q2_COPIED))
        q2_l1_set(q, l1, (q->l1[l1] & Q2_OFFSET) | (single ? Q2_COPIED : 0));
    return r;
}

int q2_flags_fix(struct qcow2 *q)
{
    int r = 0;

    for (u32 i = 0; i < q->h.l1_size && r >= 0; i++) {
        if (!(q->l1[i] & Q2_OFFSET))
            continue;
        pthread_mutex_lock(&q->lock);
        r = flag_table(q, i);
        pthread_mutex_unlock(&q->lock);
        if (r != -ENOBUFS)
            continue;
        r = q2_sync_all(q);
        i--;
    }
    return r < 0 ? r : q2_sync_all(q);
}

/* ---- the table of snapshots ---- */

static u64 entry_bytes(const struct q2_snap *s)
{
    return align_up(sizeof(struct snap_entry) + s->extra_len + strlen(s->id) + strlen(s->name),
                    (size_t)8);
}

static u8 *put_entry(u8 *p, const struct q2_snap *s)
{
    const struct snap_entry d = {
        .l1_at = be64_of(s->l1_at),
        .l1_size = be32_of(s->l1_size),
        .id_len = be16_of((u16)strlen(s->id)),
        .name_len = be16_of((u16)strlen(s->name)),
        .sec = be32_of(s->sec),
        .nsec = be32_of(s->nsec),
        .vm_clock = be64_of(s->vm_clock),
        .vm_state = be32_of((u32)min(s->vm_state, (u64)UINT32_MAX)),
        .extra_len = be32_of(s->extra_len),
    };
    u8 *to = p;

    memcpy(to, &d, sizeof(d));
    to += sizeof(d);
    memcpy(to, s->extra, s->extra_len);
    to += s->extra_len;
    memcpy(to, s->id, strlen(s->id));
    to += strlen(s->id);
    memcpy(to, s->name, strlen(s->name));
    return p + entry_bytes(s);
}

/* Clusters that nothing on disk came to point to. */
static void forget(struct qcow2 *q, u64 first, u64 n)
{
    pthread_mutex_lock(&q->lock);
    q2_free_now(q, first, n);
    pthread_mutex_unlock(&q->lock);
}

/* Writes the table of s to a new place, and has the header point there; what was before is free then. */
static int store(struct qcow2 *q, const struct q2_snaps *s, u64 old_bytes)
{
    struct q2_header was;
    u64 bytes = 0, clusters, first = 0;
    AUTO(free) u8 *buf = NULL;
    u8 *p;
    bool fresh;
    s64 n = 0;
    int r;

    for (u32 i = 0; i < s->n; i++)
        bytes += entry_bytes(&s->list[i]);
    clusters = (bytes + q->cluster - 1) >> q->bits;
    buf = aligned_alloc(4096, align_up((clusters << q->bits) + 1, 4096));
    if (!buf)
        return -ENOMEM;
    memset(buf, 0, clusters << q->bits);
    p = buf;
    for (u32 i = 0; i < s->n; i++)
        p = put_entry(p, &s->list[i]);
    if (clusters) {
        pthread_mutex_lock(&q->lock);
        n = q2_alloc(q, clusters, true, &first, &fresh);
        pthread_mutex_unlock(&q->lock);
    }
    r = n < 0 ? (int)n : q2_sync_all(q);
    if (r == 0 && clusters)
        r = q->file->ops->now(q->file, DISK_WRITE, buf, clusters << q->bits, first << q->bits);
    if (r == 0)
        r = q->file->ops->now(q->file, DISK_FLUSH, NULL, 0, 0);
    if (r < 0) {
        if (n > 0)
            forget(q, first, (u64)n);
        return r;
    }
    was = q->h;
    q->h.snapshots_at = first << q->bits;
    q->h.n_snapshots = s->n;
    r = q2_header_change(q, &was);
    if (r < 0) {
        if (n > 0 && !q->broken)
            forget(q, first, (u64)n);
        return r;
    }
    pthread_mutex_lock(&q->lock);
    if (old_bytes)
        q2_free_later(q, was.snapshots_at >> q->bits, (old_bytes + q->cluster - 1) >> q->bits);
    pthread_mutex_unlock(&q->lock);
    return q2_sync_all(q);
}

static int read_l1(struct qcow2 *q, const struct q2_snap *s, u64 **ret)
{
    u64 bytes = align_up(s->l1_size * 8ull + 1, 4096);
    AUTO(free) be64 *raw = aligned_alloc(4096, bytes);
    u64 *l1;
    int r;

    if (!raw)
        return -ENOMEM;
    r = q->file->ops->now(q->file, DISK_READ, raw, align_up(s->l1_size * 8ull, DISK_SECTOR),
                          s->l1_at);
    if (r < 0)
        return r;
    l1 = xnew_n(u64, s->l1_size + 1);
    for (u32 i = 0; i < s->l1_size; i++)
        l1[i] = be64_get(raw[i]) & ~Q2_COPIED;
    *ret = l1;
    return 0;
}

/* An inactive L1 table's clusters with the active one's entries. */
static int write_l1(struct qcow2 *q, struct q2_snap *s)
{
    u64 clusters = (q->h.l1_size * 8ull + q->cluster - 1) >> q->bits, first;
    AUTO(free) be64 *raw = aligned_alloc(4096, align_up(clusters << q->bits, 4096));
    bool fresh;
    s64 n;
    int r;

    if (!raw)
        return -ENOMEM;
    memset(raw, 0, clusters << q->bits);
    pthread_mutex_lock(&q->lock);
    for (u32 i = 0; i < q->h.l1_size; i++)
        raw[i] = be64_of(q->l1[i] & Q2_OFFSET);
    n = q2_alloc(q, clusters, true, &first, &fresh);
    pthread_mutex_unlock(&q->lock);
    if (n < 0)
        return (int)n;
    r = q->file->ops->now(q->file, DISK_WRITE, raw, clusters << q->bits, first << q->bits);
    if (r < 0) {
        forget(q, first, clusters);
        return r;
    }
    s->l1_at = first << q->bits;
    s->l1_size = q->h.l1_size;
    return 0;
}

static s64 find(const struct q2_snaps *s, const char *name)
{
    for (u32 i = 0; i < s->n; i++)
        if (strcmp(s->list[i].id, name) == 0)
            return i;
    for (u32 i = 0; i < s->n; i++)
        if (strcmp(s->list[i].name, name) == 0)
            return i;
    return -ENOENT;
}

static void describe(const struct qcow2 *q, const struct q2_snaps *all, const char *name,
                     struct q2_snap *s)
{
    struct timespec now;
    u64 id = 0, other;
    be64 extra[2] = { be64_of(0), be64_of(q->disk.size) };
    char text[24];

    for (u32 i = 0; i < all->n; i++)
        if (str_u64(all->list[i].id, &other) == 0)
            id = max(id, other);
    str_fmt(text, sizeof(text), "%llu", id + 1);
    clock_gettime(CLOCK_REALTIME, &now);
    *s = (struct q2_snap){ .id = xdup(text), .name = xdup(name), .size = q->disk.size };
    s->sec = (u32)now.tv_sec;
    s->nsec = (u32)now.tv_nsec;
    s->extra = xdup_mem(extra, sizeof(extra));
    s->extra_len = sizeof(extra);
}

/* Loads the list with nothing under way, for one of the three below. */
static int begin(struct qcow2 *q, const char *what, struct q2_snaps *s, struct err *e)
{
    int r = q2_claim(q, what, e);

    if (r == 0 && q->data_apart)
        r = err_set(e, -ENOTSUP, "disk '%s' keeps its data in a file of its own: no snapshots",
                    q->disk.name);
    if (r == 0)
        r = q2_snaps_load(q, s, e);
    return r;
}

/* Counts and flags may differ until `unmark`. */
static int mark(struct qcow2 *q)
{
    return q2_header_mark(q, Q2_I_DIRTY, true);
}

static int unmark(struct qcow2 *q)
{
    return q->lazy || q->broken ? 0 : q2_header_mark(q, Q2_I_DIRTY, false);
}

/* Takes back what was counted for a snapshot that could not be made; what cannot be leaks, and leaves the mark. */
static void undo(struct qcow2 *q, const u64 *l1, u32 n)
{
    int r = q->broken ? -EIO : refer(q, l1, n, -1);

    if (r == 0)
        r = q2_flags_fix(q);
    if (r == 0)
        unmark(q);
}

/* The disk's tables, under the name of the last of `all`. */
static int keep(struct qcow2 *q, struct q2_snaps *all)
{
    struct q2_snap *s = &all->list[all->n - 1];
    int r = mark(q);

    if (r == 0)
        r = refer(q, q->l1, q->h.l1_size, 1);
    if (r < 0) {
        unmark(q);
        return r;
    }
    r = q2_sync_all(q);
    if (r == 0)
        r = q2_flags_fix(q);
    if (r == 0)
        r = write_l1(q, s);
    if (r == 0) {
        r = store(q, all, all->bytes);
        if (r < 0 && !q->broken && q->h.n_snapshots != all->n)
            forget(q, s->l1_at >> q->bits, (s->l1_size * 8ull + q->cluster - 1) >> q->bits);
    }
    if (r == 0)
        return unmark(q);
    if (q->h.n_snapshots != all->n)
        undo(q, q->l1, q->h.l1_size);
    return r;
}

static int check_name(const struct disk *d, const struct q2_snaps *all, const char *name,
                      struct err *e)
{
    if (find(all, name) >= 0)
        return err_set(e, -EEXIST, "disk '%s' has a snapshot '%s'", d->name, name);
    if (all->n == Q2_SNAPSHOTS_MAX)
        return err_set(e, -EFBIG, "disk '%s' has %u snapshots, as many as there may be", d->name,
                       all->n);
    return 0;
}

int qcow2_snapshot_create(struct disk *d, const char *name, struct err *e)
{
    struct qcow2 *q = q2_of(d);
    struct q2_snaps all = {};
    size_t len = strlen(name);
    int r;

    if (len == 0 || len > NAME_MAX_LEN)
        return err_set(e, -EINVAL, "a snapshot's name has 1 to %u bytes, not %zu", NAME_MAX_LEN,
                       len);
    r = begin(q, "snapshot", &all, e);
    if (r == 0)
        r = check_name(d, &all, name, e);
    if (r < 0) {
        q2_snaps_free(&all);
        return r;
    }
    if (!all.list)
        all.list = xnew_n(struct q2_snap, 1);
    describe(q, &all, name, &all.list[all.n]);
    all.n++;
    r = keep(q, &all);
    q2_snaps_free(&all);
    if (r == -ERANGE)
        return err_set(e, r, "disk '%s': refcounts of %u bits cannot count another snapshot",
                       d->name, 1u << q->refs.order);
    return r < 0 ? err_code(e, r, "snapshot '%s' of disk '%s'", name, d->name) : 0;
}

static int check_size(const struct qcow2 *q, const struct q2_snap *s, struct err *e)
{
    u64 need = ((s->size - 1) >> (q->bits + q->l2_bits)) + 1;

    if (s->size && s->size % DISK_SECTOR == 0 && need <= s->l1_size)
        return 0;
    return err_set(e, -EBADMSG, "snapshot '%s' has %llu bytes, and an L1 table of %u entries",
                   s->name, s->size, s->l1_size);
}

int q2_snap_select(struct qcow2 *q, const char *name, struct err *e)
{
    struct q2_snaps all = {};
    int r = q2_snaps_load(q, &all, e);
    s64 i = r < 0 ? r : find(&all, name);

    if (r == 0 && i < 0)
        r = err_set(e, -ENOENT, "there is no snapshot '%s'", name);
    if (r == 0)
        r = check_size(q, &all.list[i], e);
    if (r == 0) {
        q->h.l1_at = all.list[i].l1_at;
        q->h.l1_size = all.list[i].l1_size;
        q->h.size = q->disk.size = all.list[i].size;
    }
    q2_snaps_free(&all);
    return r;
}

/* The disk's tables become those of s. */
static int become(struct qcow2 *q, const struct q2_snap *s, struct err *e)
{
    AUTO(free) u64 *l1 = NULL, *old = xdup_mem(q->l1, q->h.l1_size * 8ull);
    u32 n_old = q->h.l1_size;
    int r = check_size(q, s, e);

    if (r < 0)
        return r;
    r = read_l1(q, s, &l1);
    if (r == 0)
        r = refer(q, l1, s->l1_size, 1);
    if (r < 0)
        return err_code(e, r, "become snapshot '%s'", s->name);
    r = q2_sync_all(q);
    if (r == 0)
        r = q2_l1_replace(q, l1, s->l1_size, s->l1_size, s->size);
    if (r < 0) {
        undo(q, l1, s->l1_size);
    } else {
        q->disk.size = s->size;
        r = refer(q, old, n_old, -1);
    }
    if (r == 0)
        r = q2_flags_fix(q);
    return r < 0 ? err_code(e, r, "become snapshot '%s'", s->name) : 0;
}

int qcow2_snapshot_apply(struct disk *d, const char *name, struct err *e)
{
    struct qcow2 *q = q2_of(d);
    struct q2_snaps all = {};
    int r = begin(q, "apply a snapshot", &all, e);
    s64 i;

    if (r < 0)
        return r;
    i = find(&all, name);
    r = i < 0 ? err_set(e, -ENOENT, "disk '%s' has no snapshot '%s'", d->name, name)
              : become(q, &all.list[i], e);
    q2_snaps_free(&all);
    return r;
}

static int drop(struct qcow2 *q, struct q2_snaps *all, u32 i)
{
    struct q2_snap gone = all->list[i];
    AUTO(free) u64 *l1 = NULL;
    int r = read_l1(q, &gone, &l1);

    if (r == 0)
        r = mark(q);
    if (r < 0)
        return r;
    memmove(&all->list[i], &all->list[i + 1], (all->n - i - 1) * sizeof(gone));
    all->n--;
    all->list[all->n] = gone;
    r = store(q, all, all->bytes);
    all->n++; /* to be freed with the others */
    if (r < 0 && q->h.n_snapshots == all->n)
        unmark(q); /* it is there as before */
    if (r == 0)
        r = refer(q, l1, gone.l1_size, -1);
    if (r < 0)
        return r;
    forget(q, gone.l1_at >> q->bits, (gone.l1_size * 8ull + q->cluster - 1) >> q->bits);
    r = q2_flags_fix(q);
    return r < 0 ? r : unmark(q);
}

int qcow2_snapshot_delete(struct disk *d, const char *name, struct err *e)
{
    struct qcow2 *q = q2_of(d);
    struct q2_snaps all = {};
    int r = begin(q, "delete a snapshot", &all, e);
    s64 i;

    if (r < 0)
        return r;
    i = find(&all, name);
    if (i < 0) {
        r = err_set(e, -ENOENT, "disk '%s' has no snapshot '%s'", d->name, name);
    } else {
        r = drop(q, &all, (u32)i);
        if (r < 0)
            err_code(e, r, "delete snapshot '%s' of disk '%s'", name, d->name);
    }
    q2_snaps_free(&all);
    return r;
}

int qcow2_snapshots(struct disk *d, struct qcow2_snapshot **ret, u32 *n, struct err *e)
{
    struct q2_snaps all = {};
    struct qcow2_snapshot *list;
    int r = q2_snaps_load(q2_of(d), &all, e);

    if (r < 0)
        return r;
    list = xnew_n(struct qcow2_snapshot, all.n + 1);
    for (u32 i = 0; i < all.n; i++) {
        const struct q2_snap *s = &all.list[i];

        list[i] = (struct qcow2_snapshot){ .id = xdup(s->id),
                                           .name = xdup(s->name),
                                           .size = s->size,
                                           .vm_state = s->vm_state,
                                           .time_ns = s->sec * NSEC_PER_SEC + s->nsec,
                                           .vm_clock_ns = s->vm_clock };
    }
    *n = all.n;
    *ret = list;
    q2_snaps_free(&all);
    return 0;
}

void qcow2_snapshots_free(struct qcow2_snapshot *s, u32 n)
{
    for (u32 i = 0; s && i < n; i++) {
        free(s[i].id);
        free(s[i].name);
    }
    free(s);
}
