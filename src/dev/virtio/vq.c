/*
 * dev/virtio/vq.c: virtqueues, split (virtio 1.2, 2.7) and packed (2.8), seen by a device.
 * Order of memory accesses:
 *   (1) an index (split) or the flags (packed) are read with acquire before the entry that they announce, and written with
 *       release after the entry that we give back;
 *   (2) between our write and our read of the other side's event suppression stands a full fence, as the driver has one
 *       between its own: so of two that look at the same moment, one sees the other.  (2.7.10, 2.8.14)
 */
#include "dev/virtio/vq.h"

#include "mem/mem.h"

enum {
    DESC_SIZE = 16,
    DESC_NEXT = 1 << 0,
    DESC_WRITE = 1 << 1,
    DESC_INDIRECT = 1 << 2,
    DESC_AVAIL = 1 << 7, /* packed */
    DESC_USED = 1 << 15, /* packed */
    AVAIL_NO_INTERRUPT = 1,
    USED_NO_NOTIFY = 1,
    EVENT_ENABLE = 0, /* packed, event suppression flags */
    EVENT_DISABLE = 1,
    EVENT_DESC = 2,
    WRAP = 1 << 15, /* beside a packed position */
};

/* Our copy of a descriptor.  `tail` and `flags` lie the other way round in a packed ring. */
struct desc {
    u64 gpa;
    u32 len;
    u16 flags;
    u16 tail; /* split: next; packed: buffer id */
};

static int check_vq(void *obj, struct err *e)
{
    const struct vq_state *s = obj;

    if (s->size > VQ_SIZE_MAX)
        return err_set(e, -EBADMSG, "a queue of %u entries; at most %u", s->size, VQ_SIZE_MAX);
    if (s->on && s->size == 0)
        return err_set(e, -EBADMSG, "an enabled queue without entries");
    return 0;
}
STATE_TABLE(vq_state, VQ_STATE, .after_load = check_vq);

void vq_init(struct vq *q, struct mem *mem, u16 size_max)
{
    must(size_max > 0 && size_max <= VQ_SIZE_MAX && is_pow2(size_max));
    *q = (struct vq){ .mem = mem, .size_max = size_max };
    vq_reset(q);
}

void vq_reset(struct vq *q)
{
    vq_stop(q);
    q->st = (struct vq_state){
        .size = q->size_max, .vector = 0xffff, .avail_wrap = true, .used_wrap = true
    };
}

/* ---- rings ---- */

static u16 get16(const void *at)
{
    return le16toh(mem_load_acquire16(at));
}

static void set16(struct vq *q, void *at, u64 gpa, u16 v)
{
    mem_store_release16(at, htole16(v));
    mem_dirty(q->mem, gpa, 2);
}

static u8 *map(struct vq *q, u64 gpa, u32 align, u32 len)
{
    return is_aligned(gpa, align) ? mem_at_rw(q->mem, gpa, len) : NULL;
}

/* Where we told the guest that we are. */
static u16 used_position(const struct vq *q)
{
    return (u16)(q->st.next_used | (q->packed && q->st.used_wrap ? WRAP : 0));
}

/* Entries pushed after the position `signalled`, which a stream may have given us. */
static u32 count_fresh(const struct vq *q)
{
    u16 old = q->st.signalled, pos = (u16)(old & ~WRAP);

    if (!q->packed)
        return (u16)(q->st.next_used - old);
    if ((old >> 15) == q->st.used_wrap)
        return pos <= q->st.next_used ? (u32)(q->st.next_used - pos) : 0u;
    return pos < q->st.size ? (u32)(q->st.next_used + q->st.size - pos) : 0u;
}

int vq_start(struct vq *q, bool packed, bool event_idx, bool indirect)
{
    const struct vq_state *s = &q->st;
    u32 n = s->size;

    if (n == 0 || n > q->size_max || (!packed && !is_pow2(n)))
        return -EINVAL;
    if (packed && (s->next_avail >= n || s->next_used >= n))
        return -EINVAL;
    if (!is_aligned(s->desc_gpa, DESC_SIZE) || !is_aligned(s->driver_gpa, packed ? 4 : 2) ||
        !is_aligned(s->device_gpa, 4))
        return -EINVAL;
    q->packed = packed;
    q->event_idx = event_idx;
    q->indirect = indirect;
    q->desc = map(q, s->desc_gpa, DESC_SIZE, n * DESC_SIZE);
    q->driver = map(q, s->driver_gpa, packed ? 4 : 2, packed ? 4 : 6 + 2 * n);
    q->device = map(q, s->device_gpa, 4, packed ? 4 : 6 + 8 * n);
    if (!q->desc || !q->driver || !q->device)
        return -EFAULT;
    if (!s->signalled_ok) /* so that what was not pushed yet is never counted */
        q->st.signalled = used_position(q);
    q->fresh = count_fresh(q);
    q->broken = false;
    q->started = true;
    return 0;
}

void vq_stop(struct vq *q)
{
    q->started = q->broken = false;
    q->desc = q->driver = q->device = NULL;
}

/* ---- taking ---- */

/* Reads a descriptor once: the fence forbids the compiler to look at the guest's memory again. */
static struct desc read_desc(const struct vq *q, const void *table, u32 i)
{
    struct {
        le64 gpa;
        le32 len;
        le16 a, b;
    } raw;

    memcpy(&raw, (const u8 *)table + (size_t)i * DESC_SIZE, sizeof(raw));
    atomic_signal_fence(memory_order_seq_cst);
    return (struct desc){
        .gpa = le64_get(raw.gpa),
        .len = le32_get(raw.len),
        .flags = le16_get(q->packed ? raw.b : raw.a),
        .tail = le16_get(q->packed ? raw.a : raw.b),
    };
}

static int add_segment(struct vq *q, struct chain *c, const struct desc *d)
{
    bool in = d->flags & DESC_WRITE;
    u32 *total = in ? &c->in_len : &c->out_len;
    u32 n = c->n_out + c->n_in;
    const void *host;

    if (!in && c->n_in > 0) /* 2.7.4.2: what the device writes comes after what it reads */
        return -EBADMSG;
    if (d->len == 0)
        return 0;
    host = mem_at(q->mem, d->gpa, d->len);
    if (n == VQ_SEGS_MAX || !host || !add_ok(total, *total, d->len))
        return -EBADMSG;
    c->iov[n] = (struct iovec){ (void *)(uintptr_t)host, d->len };
    c->gpas[n] = d->gpa;
    if (in)
        c->n_in++;
    else
        c->n_out++;
    return 0;
}

/*
 * A table of descriptors elsewhere in RAM.  It may be longer than the queue: Linux makes such when a request has more segments
 * than the queue has entries, although 2.7.5.3.1 forbids it.
 */
static int walk_indirect(struct vq *q, struct chain *c, const struct desc *from)
{
    u32 n = from->len / DESC_SIZE, i = 0;
    const void *table = mem_at(q->mem, from->gpa, from->len);

    if (!q->indirect || from->flags & DESC_NEXT || !table || n == 0 || from->len % DESC_SIZE)
        return -EBADMSG;
    for (u32 seen = 0; seen < min(n, (u32)VQ_SEGS_MAX); seen++) {
        struct desc d = read_desc(q, table, i);

        if (d.flags & DESC_INDIRECT || add_segment(q, c, &d) < 0)
            return -EBADMSG;
        if (q->packed ? i + 1 == n : !(d.flags & DESC_NEXT)) /* 2.8.8: packed tables have no NEXT */
            return 0;
        i = q->packed ? i + 1 : d.tail;
        if (i >= n)
            return -EBADMSG;
    }
    return -EBADMSG;
}

static int walk_split(struct vq *q, struct chain *c)
{
    u32 i = c->head;

    for (c->n_desc = 1; c->n_desc <= q->st.size; c->n_desc++) {
        struct desc d = read_desc(q, q->desc, i);

        if (d.flags & DESC_INDIRECT)
            return walk_indirect(q, c, &d);
        if (add_segment(q, c, &d) < 0)
            return -EBADMSG;
        if (!(d.flags & DESC_NEXT))
            return 0;
        i = d.tail;
        if (i >= q->st.size)
            return -EBADMSG;
    }
    return -EBADMSG; /* it loops */
}

static int walk_packed(struct vq *q, struct chain *c)
{
    u32 i = q->st.next_avail;

    for (c->n_desc = 1; c->n_desc <= q->st.size; c->n_desc++) {
        struct desc d = read_desc(q, q->desc, i);

        c->head = d.tail; /* 2.8.6: the last one's id names the buffer */
        if (d.flags & DESC_INDIRECT)
            return walk_indirect(q, c, &d);
        if (add_segment(q, c, &d) < 0)
            return -EBADMSG;
        if (!(d.flags & DESC_NEXT))
            return 0;
        i = i + 1 == q->st.size ? 0 : i + 1;
    }
    return -EBADMSG;
}

static int pop_split(struct vq *q, struct chain *c)
{
    const u8 *ring = q->driver;
    u16 waiting = (u16)(get16(ring + 2) - q->st.next_avail);

    if (waiting == 0)
        return 0;
    if (waiting > q->st.size)
        return -EBADMSG;
    c->head = get16(ring + 4 + 2 * (q->st.next_avail % q->st.size));
    if (c->head >= q->st.size || walk_split(q, c) < 0)
        return -EBADMSG;
    q->st.next_avail++;
    return 1;
}

/* Does the entry at `next_avail` belong to us? */
static bool packed_available(const struct vq *q)
{
    u16 flags = get16((const u8 *)q->desc + q->st.next_avail * (size_t)DESC_SIZE + 14);

    return !!(flags & DESC_AVAIL) == q->st.avail_wrap && !!(flags & DESC_USED) != q->st.avail_wrap;
}

static void packed_advance(const struct vq *q, u16 *pos, bool *wrap, u32 n)
{
    u32 next = *pos + n;

    if (next >= q->st.size) {
        next -= q->st.size;
        *wrap = !*wrap;
    }
    *pos = (u16)next;
}

static int pop_packed(struct vq *q, struct chain *c)
{
    if (!packed_available(q))
        return 0;
    if (walk_packed(q, c) < 0)
        return -EBADMSG;
    packed_advance(q, &q->st.next_avail, &q->st.avail_wrap, c->n_desc);
    return 1;
}

int vq_pop(struct vq *q, struct chain *c)
{
    int r;

    if (!q->started || q->broken)
        return 0;
    c->head = c->n_desc = c->n_out = c->n_in = 0;
    c->out_len = c->in_len = c->out_done = c->in_done = 0;
    c->mem = q->mem;
    r = q->packed ? pop_packed(q, c) : pop_split(q, c);
    q->broken = r < 0;
    q->popped += r == 1;
    return r;
}

void vq_unpop(struct vq *q, const struct chain *c)
{
    must(q->started && q->popped > 0);
    q->popped--;
    if (!q->packed) {
        q->st.next_avail--;
        return;
    }
    if (q->st.next_avail < c->n_desc) {
        q->st.next_avail = (u16)(q->st.next_avail + q->st.size);
        q->st.avail_wrap = !q->st.avail_wrap;
    }
    q->st.next_avail = (u16)(q->st.next_avail - c->n_desc);
}

bool vq_empty(const struct vq *q)
{
    if (!q->started || q->broken)
        return true;
    if (q->packed)
        return !packed_available(q);
    return get16((const u8 *)q->driver + 2) == q->st.next_avail;
}

/* ---- giving back ---- */

static void put_split(struct vq *q, u16 index, const struct vq_done *d)
{
    u32 at = 4 + 8u * (index % q->st.size);
    u8 *ring = q->device;

    le_store(ring + at, 4, d->head);
    le_store(ring + at + 4, 4, d->len);
    mem_dirty(q->mem, q->st.device_gpa + at, 8);
}

static void push_split(struct vq *q, const struct vq_done *d, u32 n)
{
    for (u32 i = 0; i < n; i++)
        put_split(q, q->st.next_used++, &d[i]);
    set16(q, (u8 *)q->device + 2, q->st.device_gpa + 2, q->st.next_used);
    q->fresh = min(q->fresh + n, 0xffffu);
}

static void put_packed(struct vq *q, u16 pos, bool wrap, const struct vq_done *d)
{
    u32 at = pos * (u32)DESC_SIZE;
    u16 flags = wrap ? DESC_AVAIL | DESC_USED : 0;
    u8 *row = (u8 *)q->desc + at;

    le_store(row + 8, 4, d->len);
    le_store(row + 12, 2, d->head);
    mem_dirty(q->mem, q->st.desc_gpa + at, DESC_SIZE);
    set16(q, row + 14, q->st.desc_gpa + at + 14, flags | (d->len > 0 ? DESC_WRITE : 0));
}

/* The first is written last: the driver looks at no other before it. */
static void push_packed(struct vq *q, const struct vq_done *d, u32 n)
{
    u16 first = q->st.next_used;
    bool wrap = q->st.used_wrap;

    for (u32 i = 0; i < n; i++) {
        if (i > 0)
            put_packed(q, q->st.next_used, q->st.used_wrap, &d[i]);
        packed_advance(q, &q->st.next_used, &q->st.used_wrap, d[i].n_desc);
        q->fresh = min(q->fresh + d[i].n_desc, 0xffffu);
    }
    put_packed(q, first, wrap, d);
}

void vq_push_all(struct vq *q, const struct vq_done *d, u32 n)
{
    must(q->started && n > 0 && n <= q->st.size);
    for (u32 i = 0; i < n; i++)
        must(d[i].n_desc > 0 && d[i].n_desc <= q->st.size);
    if (q->packed)
        push_packed(q, d, n);
    else
        push_split(q, d, n);
    q->pushed += n;
}

void vq_push_len(struct vq *q, u16 head, u16 n_desc, u32 len)
{
    vq_push_all(q, &(struct vq_done){ head, n_desc, len }, 1);
}

void vq_push(struct vq *q, const struct chain *c)
{
    vq_push_len(q, c->head, c->n_desc, c->in_done);
}

/* ---- event suppression ---- */

/* Is `event` among the `n` entries that end before `now`?  (2.7.10: vring_need_event) */
static bool passed(u16 event, u16 now, u32 n)
{
    return (u16)(now - event - 1) < n;
}

static bool wants_split(const struct vq *q, u32 fresh)
{
    const u8 *ring = q->driver;

    if (!q->event_idx)
        return !(get16(ring) & AVAIL_NO_INTERRUPT);
    return !q->st.signalled_ok || passed(get16(ring + 4 + 2 * q->st.size), q->st.next_used, fresh);
}

static bool wants_packed(const struct vq *q, u32 fresh)
{
    u16 flags = get16((const u8 *)q->driver + 2) & 3;
    u16 event, pos;

    if (flags != EVENT_DESC || !q->event_idx)
        return flags != EVENT_DISABLE;
    if (!q->st.signalled_ok || fresh >= q->st.size)
        return true;
    event = get16(q->driver);
    pos = event & (WRAP - 1);
    if ((event >> 15) != q->st.used_wrap) /* it speaks of the lap before ours */
        pos = (u16)(pos - q->st.size);
    return passed(pos, q->st.next_used, fresh);
}

bool vq_wants_irq(struct vq *q)
{
    u32 fresh = q->fresh;
    bool wants;

    if (!q->started || fresh == 0)
        return false;
    atomic_thread_fence(memory_order_seq_cst);
    wants = q->packed ? wants_packed(q, fresh) : wants_split(q, fresh);
    q->st.signalled = used_position(q);
    q->st.signalled_ok = true;
    q->fresh = 0;
    return wants;
}

static void kicks_split(struct vq *q, bool want)
{
    u32 at = 4 + 8u * q->st.size; /* avail_event */

    if (!q->event_idx)
        set16(q, q->device, q->st.device_gpa, want ? 0 : USED_NO_NOTIFY);
    else if (want) /* while not, the old value lies behind the driver and keeps it silent */
        set16(q, (u8 *)q->device + at, q->st.device_gpa + at, q->st.next_avail);
}

static void kicks_packed(struct vq *q, bool want)
{
    u16 flags = !want ? EVENT_DISABLE : q->event_idx ? EVENT_DESC : EVENT_ENABLE;

    if (want && q->event_idx)
        set16(q, q->device, q->st.device_gpa,
              (u16)(q->st.next_avail | (q->st.avail_wrap ? WRAP : 0)));
    set16(q, (u8 *)q->device + 2, q->st.device_gpa + 2, flags);
}

bool vq_kicks(struct vq *q, bool want)
{
    if (!q->started || q->broken)
        return false;
    if (q->packed)
        kicks_packed(q, want);
    else
        kicks_split(q, want);
    if (!want)
        return false;
    atomic_thread_fence(memory_order_seq_cst);
    return !vq_empty(q);
}
