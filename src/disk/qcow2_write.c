/*
 * disk/qcow2_write.c: writes, zeroes and discards of a qcow2 disk: in place where that is allowed, else through new clusters.
 *
 * A write's next piece is one of these:
 *   in place   data that is ours alone: the bytes go to the file as they are, a run of contiguous clusters at once
 *   fresh      what reads as zeroes, in clusters that the file has just grown by: the entries change, then it is in place
 *   whole      whole units: the bytes go to their new place, then the entries change
 *   partly     one unit: its old bytes are read, ours laid over them, it is written whole, then its entry changes
 * `whole` and `partly` are on q->allocs from the choice of the place to the change of the entries.
 */
#include "disk/qcow2_req.h"

/* What a piece of a write needs to know. */
struct piece {
    u64 offset, len; /* of the request, up to the next range that somebody is allocating */
    struct q2_table *t;
    struct q2_extent x;
    u64 unit;      /* bytes that change as a whole here */
    bool own;      /* the clusters at x.host are ours already, or at a fixed place */
    bool zero;     /* x reads as zeroes */
    bool all_zero; /* and so does the rest of `unit` */
};

/* ---- ranges being allocated ---- */

/* Cuts *len so that nobody allocates there; who does, when it is the very start; NULL: free. */
static const struct q2_req *in_the_way(const struct qcow2 *q, u64 offset, u64 *len)
{
    u64 first = align_down(offset, q->cluster);

    for (const struct q2_req *a = q->allocs; a; a = a->alloc_next) {
        u64 from = align_down(a->guest, q->cluster);
        u64 to = align_up(a->guest + a->guest_len, q->cluster);

        if (from <= offset && first < to)
            return a;
        if (from > offset && from < offset + *len)
            *len = from - offset;
    }
    return NULL;
}

static void enter(struct q2_req *w, struct q2_table *t)
{
    struct qcow2 *q = q2_of_req(w);

    w->allocating = true;
    w->table = t;
    t->pins++;
    w->alloc_next = q->allocs;
    w->alloc_at = &q->allocs;
    if (q->allocs)
        q->allocs->alloc_at = &w->alloc_next;
    q->allocs = w;
}

static void leave(struct q2_req *w)
{
    w->allocating = false;
    w->table->pins--;
    *w->alloc_at = w->alloc_next;
    if (w->alloc_next)
        w->alloc_next->alloc_at = w->alloc_at;
    q2_wake(q2_of_req(w), w, 0);
    q2_wake(q2_of_req(w), &q2_of_req(w)->l2, 0);
}

static void put_cow(struct q2_req *w)
{
    struct q2_queue *qq = w->qq;

    if (!w->cow)
        return;
    qq->cow[qq->n_cow++] = w->cow;
    w->cow = NULL;
    q2_wake(q2_of_req(w), qq->cow, 0);
}

void q2_write_abort(struct q2_req *w)
{
    struct qcow2 *q = q2_of_req(w);

    w->filling = false;
    if (!w->allocating && !w->cow)
        return;
    pthread_mutex_lock(&q->lock);
    if (w->allocating) {
        if (w->new_n)
            q2_free_now(q, w->new_first, w->new_n);
        leave(w);
    }
    put_cow(w);
    pthread_mutex_unlock(&q->lock);
}

/* ---- entries ---- */

/* Bits of the units of cluster `c` (its offset) that [from, to) covers. */
static u64 unit_bits(const struct qcow2 *q, u64 c, u64 from, u64 to)
{
    u64 a = from > c ? (from - c) >> q->unit_bits : 0;
    u64 b = to < c + q->cluster ? (to - c) >> q->unit_bits : Q2_SUBS;

    return ((1ull << b) - 1) & ~((1ull << a) - 1);
}

/* Gives up what an entry refers to. */
static void drop_entry(struct qcow2 *q, u64 entry)
{
    u64 first;
    s64 n = q2_entry_clusters(q, entry, &first);

    if (n > 0)
        q2_free_later(q, first, (u64)n); /* no room for the note: they leak */
}

/* Units [from, to) of the disk become data; their clusters are at `base` and on.  `all`: all units of those clusters. */
static void link_units(struct qcow2 *q, struct q2_table *t, u64 from, u64 to, u64 base, bool all)
{
    u64 first = align_down(from, q->cluster);

    for (u64 c = first; c < to; c += q->cluster) {
        u32 i = q2_l2_index(q, c);
        u64 old = q2_entry(q, t, i), subs = q2_entry_subs(q, t, i);
        u64 host = base + (c - first), bits = unit_bits(q, c, from, to);
        bool same = !(old & Q2_COMPRESSED) && (old & Q2_OFFSET) == host && (old & Q2_COPIED);

        if (!same)
            drop_entry(q, old);
        if (all || (old & Q2_COMPRESSED))
            subs = UINT32_MAX;
        else
            subs = (subs | bits) & ~(bits << 32);
        q2_entry_set(q, t, i, host | Q2_COPIED, subs);
    }
}

/* ---- pieces of a write ---- */

static int after_in_place(struct q2_req *w)
{
    return q2_moved(w, w->r);
}

static int after_whole(struct q2_req *w)
{
    struct qcow2 *q = q2_of_req(w);

    if (w->sub.result < 0)
        return w->sub.result; /* nothing counts as moved: it was not linked */
    pthread_mutex_lock(&q->lock);
    link_units(q, w->table, w->guest, w->guest + w->guest_len, w->base, w->all_units);
    leave(w);
    pthread_mutex_unlock(&q->lock);
    disk_req_advance(w->r, w->piece);
    return Q2_AGAIN;
}

static int after_partly(struct q2_req *w)
{
    struct qcow2 *q = q2_of_req(w);

    if (w->sub.result < 0)
        return w->sub.result;
    pthread_mutex_lock(&q->lock);
    link_units(q, w->table, w->guest, w->guest + w->guest_len, w->base, w->all_units);
    leave(w);
    put_cow(w);
    pthread_mutex_unlock(&q->lock);
    disk_req_advance(w->r, w->cow_len);
    return Q2_AGAIN;
}

/* Bytes of a unit that go to the file: a data file does not grow beyond the disk. */
static u64 unit_bytes(const struct qcow2 *q, const struct q2_req *w)
{
    return !q->data_apart ? w->guest_len : min(w->guest_len, q->disk.size - w->guest);
}

static u64 host_of(const struct qcow2 *q, const struct q2_req *w)
{
    return w->base + (w->guest & (q->cluster - 1));
}

int q2_filled(struct q2_req *w)
{
    struct qcow2 *q = q2_of_req(w);
    const struct disk_req *r = w->r;
    u8 *to = w->cow + (r->offset - w->guest);
    u64 left = w->cow_len;

    w->filling = false;
    for (u32 i = 0; left && r->op == DISK_WRITE; i++) {
        u64 part = min(left, (u64)r->iov[i].iov_len);

        memcpy(to, r->iov[i].iov_base, part);
        to += part;
        left -= part;
    }
    if (r->op == DISK_ZERO)
        memset(to, 0, left);
    w->after = after_partly;
    return q2_send_buf(w, w->qq->data, DISK_WRITE, host_of(q, w), w->cow, unit_bytes(q, w));
}

/* Not under lock. */
static int start_partly(struct q2_req *w, bool zero)
{
    const struct qcow2 *q = q2_of_req(w);
    bool all = w->cow_len == w->guest_len && w->r->op != DISK_FILL; /* nothing of the old is left */
    u64 old = zero || all ? 0 : min(w->guest_len, q->disk.size - w->guest);

    memset(w->cow + old, 0, w->guest_len - old);
    w->fill_iov = (struct iovec){ w->cow, old };
    w->fill = (struct disk_req){
        .op = DISK_READ, .offset = w->guest, .len = old, .iov = &w->fill_iov, .n_iov = 1
    };
    w->filling = true;
    return Q2_AGAIN;
}

/* ---- choices, under lock ---- */

static int look(struct q2_req *w, struct piece *p)
{
    struct qcow2 *q = q2_of_req(w);
    const struct q2_req *other;
    const void *key;
    int r;

    if (q->damaged)
        return -EIO;
    p->offset = w->r->offset;
    p->len = w->r->len;
    other = in_the_way(q, p->offset, &p->len);
    if (other) {
        q2_park(w, other);
        return Q2_LATER;
    }
    r = q2_table_get(q, w->qq, q2_l1_index(q, p->offset), true, &p->t, &key);
    if (r == -EAGAIN) {
        q2_park(w, key);
        return Q2_LATER;
    }
    if (r >= 0)
        r = q2_extent_get(q, p->t, p->offset, p->len, &p->x);
    if (r < 0)
        return q2_refused(q, r);
    must(p->t);
    p->own = p->x.copied || q->data_apart;
    p->unit = p->x.kind == Q2_KIND_ZIP || (p->x.has_host && !p->x.copied) ? q->cluster : q->unit;
    p->zero = p->x.kind == Q2_KIND_ZERO ||
              (p->x.kind == Q2_KIND_ABSENT && q2_absent_is_zero(q, align_down(p->offset, q->unit)));
    p->all_zero = p->zero && p->unit == q->unit;
    return 0;
}

/* Room to note what the piece will free; else parks for a round. */
static int need_pending(struct q2_req *w, const struct piece *p)
{
    struct qcow2 *q = q2_of_req(w);

    if (p->own || (!p->x.has_host && p->x.kind != Q2_KIND_ZIP) ||
        q->n_pending + 2 < Q2_PENDING_MAX / 2)
        return 0;
    q2_round_begin(q);
    return q2_park(w, q);
}

/* Clusters for [from, to), as many as there are in a row; cuts *to.  0, or the reason why not. */
static int make_clusters(struct q2_req *w, u64 from, u64 *to, bool *fresh)
{
    struct qcow2 *q = q2_of_req(w);
    u64 first = align_down(from, q->cluster);
    s64 n =
        q2_alloc(q, (align_up(*to, q->cluster) - first) >> q->bits, false, &w->new_first, fresh);

    if (n < 0)
        return n == -ERANGE ? -EIO : q2_refused(q, (int)n);
    w->new_n = (u64)n;
    w->base = w->new_first << q->bits;
    *to = min(*to, first + ((u64)n << q->bits));
    return 0;
}

/* What reads as zeroes and has no cluster.  Q2_AGAIN: linked, and in place from now on; 0: clusters are there, but not zeroes. */
static int try_fresh(struct q2_req *w, const struct piece *p)
{
    struct qcow2 *q = q2_of_req(w);
    u64 from = align_down(p->offset, q->unit), to;
    bool fresh;
    int r;

    to = align_up(p->offset + min(p->len, p->x.len), q->unit);
    r = make_clusters(w, from, &to, &fresh);
    if (r < 0)
        return r;
    if (!fresh)
        return 0;
    link_units(q, p->t, from, to, w->base, false);
    return Q2_AGAIN;
}

/* Clusters that `choose` made for more than it then used. */
static void trim(struct q2_req *w)
{
    struct qcow2 *q = q2_of_req(w);
    u64 use = (align_up(w->guest + w->guest_len, q->cluster) - align_down(w->guest, q->cluster)) >>
              q->bits;

    if (w->new_n <= use)
        return;
    q2_free_now(q, w->new_first + use, w->new_n - use);
    w->new_n = use;
}

/* Under lock: chooses the piece, and prepares all but its io.  0: then start(w, p) begins it. */
static int choose(struct q2_req *w, struct piece *p)
{
    struct qcow2 *q = q2_of_req(w);
    u64 from = align_down(p->offset, p->unit), to;
    u64 len = p->unit == q->unit ? min(p->len, p->x.len) : p->len;
    bool whole = w->r->op == DISK_WRITE && from == p->offset && len >= p->unit, fresh;
    int r = need_pending(w, p);

    if (r)
        return r;
    w->new_n = 0;
    if (!whole && !w->qq->n_cow)
        return q2_park(w, w->qq->cow);
    if (p->all_zero && !p->x.has_host && !q->data_apart) {
        r = try_fresh(w, p);
        if (r)
            return r;
    }
    if (p->unit !=
        q->unit) /* of what must move, a cluster at a time: the next may be of another kind */
        len = min(len, p->unit);
    to = whole ? p->offset + align_down(len, p->unit) : from + p->unit;
    if (p->own) {
        w->base = align_down(!q->data_apart ? p->x.host : p->offset, q->cluster);
    } else if (w->new_n) {
        to = min(to, align_down(from, q->cluster) + (w->new_n << q->bits));
    } else {
        r = make_clusters(w, from, &to, &fresh);
        if (r < 0)
            return r;
    }
    w->guest = from;
    w->guest_len = to - from;
    w->all_units = p->unit == q->cluster;
    if (!whole) {
        w->cow = w->qq->cow[--w->qq->n_cow];
        w->cow_len = min(p->len, to - p->offset);
    }
    trim(w);
    enter(w, p->t);
    return 0;
}

int q2_write_step(struct q2_req *w)
{
    struct qcow2 *q = q2_of_req(w);
    struct piece p = {};
    bool in_place = false;
    int r;

    if (!w->r->len)
        return w->r->durable ? q2_flush_step(w) : 0;
    pthread_mutex_lock(&q->lock);
    r = look(w, &p);
    if (r == 0) {
        in_place = p.x.kind == Q2_KIND_DATA && p.x.copied;
        if (in_place)
            q2_fly(w, p.x.host, p.x.len);
        else
            r = choose(w, &p);
    }
    pthread_mutex_unlock(&q->lock);
    if (r)
        return r;
    if (in_place) {
        w->after = after_in_place;
        return q2_send(w, w->qq->data, DISK_WRITE, p.x.host, p.x.len, w->r);
    }
    if (w->cow)
        return start_partly(w, p.all_zero);
    w->after = after_whole;
    return q2_send(w, w->qq->data, DISK_WRITE, host_of(q, w), w->guest_len, w->r);
}

/* ---- zeroes and discards ---- */

/* Units of cluster i become zeroes, without a place of their own when `unmap`. */
static void zero_entry(struct qcow2 *q, struct q2_table *t, u32 i, u64 bits, bool unmap)
{
    u64 old = q2_entry(q, t, i), subs = q2_entry_subs(q, t, i);
    bool zip = old & Q2_COMPRESSED, all = !q->ext || bits == UINT32_MAX;
    bool ours = !zip && (old & Q2_COPIED);
    bool keep = !all || (ours && !unmap) || (ours && q->data_apart);
    u64 entry = keep && !zip ? old & ~Q2_ZERO : 0;

    if (all && !keep)
        drop_entry(q, old);
    if (q->ext) {
        q2_entry_set(q, t, i, entry, all ? bits << 32 : (subs & ~bits) | bits << 32);
        return;
    }
    if (!entry && !q->h.backing)
        q2_entry_set(q, t, i, 0, 0);
    else
        q2_entry_set(q, t, i, entry | (q->h.version >= Q2_VERSION_3 ? Q2_ZERO : 0), 0);
}

/* Entries of whole units from p->offset to `end`, in this table.  How far it came. */
static u64 zero_units(struct q2_req *w, struct piece *p, u64 end, bool unmap, bool absent_too)
{
    struct qcow2 *q = q2_of_req(w);
    u64 at = p->offset, table = q->cluster << q->l2_bits;

    end = min(end, align_down(at, table) + table);
    while (at < end && q->n_pending + 2 < Q2_PENDING_MAX) {
        u64 c = align_down(at, q->cluster), to = min(end, c + q->cluster);
        u32 i = q2_l2_index(q, at);
        u64 old = q2_entry(q, p->t, i), subs = q2_entry_subs(q, p->t, i);

        if ((old & Q2_COMPRESSED) && (at != c || to != c + q->cluster))
            break; /* a part of it: as a write */
        if (old || subs || (absent_too && q->h.backing))
            zero_entry(q, p->t, i, unit_bits(q, c, at, to), unmap);
        at = to;
    }
    return at;
}

/* In place, or by way of a copy: the bytes of a piece that no entry can make zeroes. */
static int zero_bytes(struct q2_req *w, struct piece *p, bool *in_place)
{
    struct qcow2 *q = q2_of_req(w);
    u64 next = align_down(p->offset, p->unit) + p->unit;

    *in_place = p->x.kind == Q2_KIND_DATA && p->x.copied;
    p->x.len = min(p->x.len, q->h.version < Q2_VERSION_3 ? p->x.len : next - p->offset);
    if (p->zero) {
        disk_req_advance(w->r, min(p->x.len, next - p->offset));
        return Q2_AGAIN;
    }
    if (*in_place) {
        q2_fly(w, p->x.host, p->x.len);
        return 0;
    }
    p->len = min(p->len, next - p->offset);
    return choose(w, p);
}

/* A data file that is a raw image says itself what the disk has. */
static int raw_data(struct q2_req *w)
{
    w->after = after_in_place;
    return q2_send(w, w->qq->data, w->r->op, w->r->offset, w->r->len, w->r);
}

static u64 whole_end(const struct qcow2 *q, const struct q2_req *w, u64 len, u64 unit)
{
    u64 end = w->r->offset + len;

    return end == q->disk.size ? align_up(end, unit) : align_down(end, unit);
}

/* Can entries say that it is zero? */
static bool by_entries(const struct qcow2 *q, const struct q2_req *w)
{
    if (q->h.version >= Q2_VERSION_3)
        return true;
    return !q->h.backing && w->r->may_unmap;
}

/* Under lock: as far as entries can say it, up to `end`.  0: they cannot here. */
static int zero_whole(struct q2_req *w, struct piece *p, u64 end, bool unmap, bool absent_too)
{
    struct qcow2 *q = q2_of_req(w);
    u64 at = zero_units(w, p, end, unmap, absent_too);

    if (at > p->offset) {
        disk_req_advance(w->r, min(at - p->offset, w->r->len));
        return Q2_AGAIN;
    }
    if (q->n_pending + 2 < Q2_PENDING_MAX)
        return 0;
    q2_round_begin(q); /* for room to note what is freed */
    return q2_park(w, q);
}

int q2_zero_step(struct q2_req *w)
{
    struct qcow2 *q = q2_of_req(w);
    struct piece p = {};
    bool in_place = true;
    u64 end = 0;
    int r;

    if (!w->r->len)
        return w->r->durable ? q2_flush_step(w) : 0;
    if (q->data_raw)
        return raw_data(w);
    pthread_mutex_lock(&q->lock);
    r = look(w, &p);
    if (r == 0 && by_entries(q, w) && is_aligned(p.offset, q->unit))
        end = whole_end(q, w, p.len, q->unit);
    if (end > p.offset)
        r = zero_whole(w, &p, end, w->r->may_unmap, true);
    if (r == 0)
        r = zero_bytes(w, &p, &in_place);
    pthread_mutex_unlock(&q->lock);
    if (r)
        return r;
    if (in_place) {
        w->after = after_in_place;
        return q2_send(w, w->qq->data, DISK_ZERO, p.x.host, p.x.len, w->r);
    }
    return start_partly(w, p.all_zero);
}

/* Whole clusters only: a discard is a hint.  What is absent stays so. */
int q2_discard_step(struct q2_req *w)
{
    struct qcow2 *q = q2_of_req(w);
    struct disk_req *r = w->r;
    u64 skip = align_up(r->offset, q->cluster) - r->offset, end;
    struct piece p = {};
    int s;

    disk_req_advance(r, q->data_raw ? 0 : min(skip, r->len));
    end = whole_end(q, w, r->len, q->cluster);
    if (!r->len || (!q->data_raw && end <= r->offset) ||
        (q->h.version < Q2_VERSION_3 && q->h.backing)) {
        disk_req_advance(r, r->len);
        return r->durable ? q2_flush_step(w) : 0;
    }
    if (q->data_raw)
        return raw_data(w);
    pthread_mutex_lock(&q->lock);
    s = look(w, &p);
    if (s == 0)
        s = zero_whole(w, &p, min(end, whole_end(q, w, p.len, q->cluster)), true, false);
    pthread_mutex_unlock(&q->lock);
    return s;
}

/* As a write of nothing to a unit: what was below it is read, and written where it is the disk's own.  may_unmap: it reads as zeroes. */
int q2_fill_step(struct q2_req *w)
{
    struct qcow2 *q = q2_of_req(w);
    struct piece p = {};
    u64 end = 0;
    int r;

    if (!w->r->len)
        return 0;
    pthread_mutex_lock(&q->lock);
    r = look(w, &p);
    if (r == 0 && p.x.kind != Q2_KIND_ABSENT) {
        disk_req_advance(w->r, p.x.len);
        r = Q2_AGAIN;
    }
    if (r == 0 && w->r->may_unmap && by_entries(q, w) && is_aligned(p.offset, q->unit))
        end = whole_end(q, w, min(p.len, p.x.len), q->unit);
    if (end > p.offset)
        r = zero_whole(w, &p, end, true, true);
    if (r == 0)
        r = choose(w, &p);
    pthread_mutex_unlock(&q->lock);
    return r ? r : start_partly(w, p.all_zero);
}
