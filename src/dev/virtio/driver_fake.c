/*
 * dev/virtio/driver_fake.c: the guest's side of virtio, for tests and fuzz targets of devices.
 * Written from the driver's sections of the specification, and sharing no code with vq.c, so that each checks the other.
 */
#include "dev/virtio/driver_fake.h"

#include "mem/mem.h"

enum {
    COMMON_STATUS = 0x14,
    DEVICE_AT = 0x2000,
    NOTIFY_AT = 0x3000,
    MSIX_BAR = 1,
    REGS_BAR = 4,
    HEAP_START = 0x100000,
    DESC = 16,
    F_NEXT = 1,
    F_WRITE = 2,
    F_INDIRECT = 4,
    F_AVAIL = 0x80,
    F_USED = 0x8000,
};

/* ---- RAM ---- */

static u64 take(u64 *heap, u64 len, u64 align)
{
    u64 at = align_up(*heap, align);

    *heap = at + len;
    return at;
}

static u8 *at_rw(struct mem *m, u64 gpa, u64 len)
{
    u8 *p = mem_at_rw(m, gpa, len);

    must(p);
    return p;
}

static u16 load16(struct mem *m, u64 gpa)
{
    return mem_load_acquire16(at_rw(m, gpa, 2));
}

static void store16(struct mem *m, u64 gpa, u16 v)
{
    mem_store_release16(at_rw(m, gpa, 2), v);
}

u64 driver_fake_alloc(struct driver_fake *g, u64 len, u64 align)
{
    return take(&g->heap, len, align);
}

u64 driver_fake_put(struct driver_fake *g, const void *bytes, u64 len)
{
    u64 at = driver_fake_alloc(g, len, 8);

    must(mem_write(g->f->m.mem, at, bytes, len) == 0);
    return at;
}

/* ---- rings ---- */

void driver_fake_queue_init(struct driver_fake_queue *q, struct mem *mem, u64 *heap, u16 size,
                            bool packed)
{
    must(size > 0 && size <= VQ_SIZE_MAX);
    *q = (struct driver_fake_queue){ .mem = mem, .size = size, .packed = packed, .heap = heap };
    q->desc_gpa = take(heap, size * (u64)DESC, DESC);
    q->driver_gpa = take(heap, packed ? 4 : 6 + 2ull * size, 4);
    q->device_gpa = take(heap, packed ? 4 : 6 + 8ull * size, 4);
    q->avail_wrap = q->used_wrap = true;
    q->n_free = q->n_ids = size;
    for (u16 i = 0; i < size; i++)
        q->free_ids[i] = (u16)(size - 1 - i);
}

/* A descriptor but for its flags, which are returned. */
static u16 put_desc(struct mem *m, u64 gpa, const struct driver_fake_buf *b)
{
    u8 *d = at_rw(m, gpa, DESC);

    le_store(d, 8, b->gpa);
    le_store(d + 8, 4, b->len);
    return b->in ? F_WRITE : 0;
}

static int add_split(struct driver_fake_queue *q, const struct driver_fake_buf *bufs, u32 n,
                     u16 more)
{
    u16 ids[VQ_SIZE_MAX];

    for (u32 i = 0; i < n; i++)
        ids[i] = q->free_ids[--q->n_ids];
    for (u32 i = 0; i < n; i++) {
        u64 at = q->desc_gpa + ids[i] * (u64)DESC;
        u16 flags = put_desc(q->mem, at, &bufs[i]);

        store16(q->mem, at + 12, (u16)(flags | more | (i + 1 < n ? F_NEXT : 0)));
        store16(q->mem, at + 14, i + 1 < n ? ids[i + 1] : 0);
        q->next[ids[i]] = i + 1 < n ? ids[i + 1] : 0;
    }
    q->n_desc[ids[0]] = (u16)n;
    store16(q->mem, q->driver_gpa + 4 + 2ull * (q->next_avail % q->size), ids[0]);
    store16(q->mem, q->driver_gpa + 2, ++q->next_avail);
    return ids[0];
}

static int add_packed(struct driver_fake_queue *q, const struct driver_fake_buf *bufs, u32 n,
                      u16 more)
{
    u16 id = q->free_ids[--q->n_ids], first = 0;
    u64 first_at = q->desc_gpa + q->next_avail * (u64)DESC;

    for (u32 i = 0; i < n; i++) {
        u64 at = q->desc_gpa + q->next_avail * (u64)DESC;
        u16 flags = (u16)(put_desc(q->mem, at, &bufs[i]) | more | (i + 1 < n ? F_NEXT : 0) |
                          (q->avail_wrap ? F_AVAIL : F_USED));

        store16(q->mem, at + 12, id);
        if (i == 0)
            first = flags; /* 2.8.21: the first one's flags come last */
        else
            store16(q->mem, at + 14, flags);
        if (++q->next_avail == q->size) {
            q->next_avail = 0;
            q->avail_wrap = !q->avail_wrap;
        }
    }
    q->n_desc[id] = (u16)n;
    store16(q->mem, first_at + 14, first);
    return id;
}

static int add(struct driver_fake_queue *q, const struct driver_fake_buf *bufs, u32 n, u16 more)
{
    must(n > 0);
    if (n > q->n_free || q->n_ids == 0)
        return -ENOSPC;
    q->n_free = (u16)(q->n_free - n);
    return q->packed ? add_packed(q, bufs, n, more) : add_split(q, bufs, n, more);
}

int driver_fake_add(struct driver_fake_queue *q, const struct driver_fake_buf *bufs, u32 n)
{
    return add(q, bufs, n, 0);
}

int driver_fake_add_indirect(struct driver_fake_queue *q, const struct driver_fake_buf *bufs, u32 n)
{
    u64 table = take(q->heap, n * (u64)DESC, DESC);

    for (u32 i = 0; i < n; i++) {
        u64 at = table + i * (u64)DESC;
        u16 flags = put_desc(q->mem, at, &bufs[i]);

        if (q->packed) {
            store16(q->mem, at + 14, flags);
            continue;
        }
        store16(q->mem, at + 12, (u16)(flags | (i + 1 < n ? F_NEXT : 0)));
        store16(q->mem, at + 14, (u16)(i + 1));
    }
    return add(q, &(struct driver_fake_buf){ table, n * (u32)DESC, false }, 1, F_INDIRECT);
}

static bool used_split(struct driver_fake_queue *q, u16 *ret_id, u32 *ret_len)
{
    u64 at = q->device_gpa + 4 + 8ull * (q->next_used % q->size);
    u32 id;

    if (load16(q->mem, q->device_gpa + 2) == q->next_used)
        return false;
    id = (u32)le_load(at_rw(q->mem, at, 8), 4);
    must(id < q->size);
    *ret_id = (u16)id;
    *ret_len = (u32)le_load(at_rw(q->mem, at, 8) + 4, 4);
    q->next_used++;
    return true;
}

static bool used_packed(struct driver_fake_queue *q, u16 *ret_id, u32 *ret_len)
{
    u64 at = q->desc_gpa + q->next_used * (u64)DESC;
    u16 flags = load16(q->mem, at + 14);

    if (!!(flags & F_AVAIL) != q->used_wrap || !!(flags & F_USED) != q->used_wrap)
        return false;
    *ret_len = (u32)le_load(at_rw(q->mem, at, DESC) + 8, 4);
    *ret_id = load16(q->mem, at + 12);
    must(*ret_id < q->size);
    q->next_used = (u16)(q->next_used + q->n_desc[*ret_id]);
    if (q->next_used >= q->size) {
        q->next_used = (u16)(q->next_used - q->size);
        q->used_wrap = !q->used_wrap;
    }
    return true;
}

/* What a chain held is free again. */
static void release(struct driver_fake_queue *q, u16 id)
{
    u16 n = q->n_desc[id];

    must(n > 0); /* else it was not under way */
    q->n_desc[id] = 0;
    q->n_free = (u16)(q->n_free + n);
    if (q->packed)
        n = 1; /* ids, not descriptors */
    for (u16 i = id; n > 0; n--, i = q->next[i])
        q->free_ids[q->n_ids++] = i;
}

bool driver_fake_used(struct driver_fake_queue *q, u16 *ret_id, u32 *ret_len)
{
    if (!(q->packed ? used_packed(q, ret_id, ret_len) : used_split(q, ret_id, ret_len)))
        return false;
    release(q, *ret_id);
    return true;
}

/* ---- event suppression ---- */

bool driver_fake_must_kick(const struct driver_fake_queue *q, u16 added)
{
    u16 flags, event, pos = q->next_avail;

    if (!q->packed) {
        if (!q->event_idx)
            return load16(q->mem, q->device_gpa) == 0;
        event = load16(q->mem, q->device_gpa + 4 + 8ull * q->size);
        return (u16)(pos - event - 1) < added;
    }
    flags = load16(q->mem, q->device_gpa + 2);
    if (flags != 2)
        return flags == 0;
    event = load16(q->mem, q->device_gpa);
    if ((event >> 15) != q->avail_wrap)
        event = (u16)((event & 0x7fff) - q->size);
    return (u16)(pos - (event & 0x7fff) - 1) < added || (u16)(pos - event - 1) < added;
}

void driver_fake_irqs(struct driver_fake_queue *q, bool want)
{
    if (q->packed) {
        if (want && q->event_idx)
            store16(q->mem, q->driver_gpa, (u16)(q->next_used | q->used_wrap << 15));
        store16(q->mem, q->driver_gpa + 2, !want ? 1 : q->event_idx ? 2 : 0);
    } else if (q->event_idx) {
        /* not wanted: an index that the device has passed long ago */
        store16(q->mem, q->driver_gpa + 4 + 2ull * q->size,
                (u16)(want ? q->next_used : q->next_used + 0x8000));
    } else {
        store16(q->mem, q->driver_gpa, !want);
    }
}

/* ---- registers ---- */

u64 driver_fake_read(struct driver_fake *g, u64 off, u32 len)
{
    u64 v;

    must(bus_read(g->f->m.mmio, g->bar + off, len, &v));
    return v;
}

void driver_fake_write(struct driver_fake *g, u64 off, u32 len, u64 val)
{
    must(bus_write(g->f->m.mmio, g->bar + off, len, val));
}

u64 driver_fake_config(struct driver_fake *g, u32 off, u32 len)
{
    return driver_fake_read(g, DEVICE_AT + off, len);
}

void driver_fake_config_write(struct driver_fake *g, u32 off, u32 len, u64 val)
{
    driver_fake_write(g, DEVICE_AT + off, len, val);
}

u8 driver_fake_status(struct driver_fake *g)
{
    return (u8)driver_fake_read(g, COMMON_STATUS, 1);
}

static void add_status(struct driver_fake *g, u8 bits)
{
    driver_fake_write(g, COMMON_STATUS, 1, driver_fake_status(g) | bits);
}

void driver_fake_init(struct driver_fake *g, struct fake_machine *f, struct device *d)
{
    struct err e;

    *g = (struct driver_fake){ .f = f, .v = vdev_of(d), .heap = HEAP_START };
    must(pci_bus_assign(f->m.pci, &e) == 0);
    must(g->v->fn.bars[REGS_BAR].mapped);
    g->bar = g->v->fn.bars[REGS_BAR].base;
}

void driver_fake_reset(struct driver_fake *g)
{
    driver_fake_write(g, COMMON_STATUS, 1, 0);
    must(driver_fake_status(g) == 0);
}

u64 driver_fake_offered(struct driver_fake *g)
{
    u64 features;

    driver_fake_write(g, 0x00, 4, 0);
    features = driver_fake_read(g, 0x04, 4);
    driver_fake_write(g, 0x00, 4, 1);
    return features | driver_fake_read(g, 0x04, 4) << 32;
}

bool driver_fake_negotiate(struct driver_fake *g, u64 features)
{
    driver_fake_reset(g);
    add_status(g, VIRTIO_ACKNOWLEDGE);
    add_status(g, VIRTIO_DRIVER);
    g->features = features | VIRTIO_F_VERSION_1;
    for (u32 i = 0; i < 2; i++) {
        driver_fake_write(g, 0x08, 4, i);
        driver_fake_write(g, 0x0c, 4, (u32)(g->features >> 32 * i));
    }
    add_status(g, VIRTIO_FEATURES_OK);
    return driver_fake_status(g) & VIRTIO_FEATURES_OK;
}

static void write64(struct driver_fake *g, u64 off, u64 val)
{
    driver_fake_write(g, off, 4, (u32)val);
    driver_fake_write(g, off + 4, 4, val >> 32);
}

void driver_fake_queue(struct driver_fake *g, u16 index, u16 size)
{
    struct driver_fake_queue *q = &g->q[index];

    driver_fake_queue_init(q, g->f->m.mem, &g->heap, size, g->features & VIRTIO_F_RING_PACKED);
    q->index = index;
    q->event_idx = g->features & VIRTIO_F_EVENT_IDX;
    driver_fake_write(g, 0x16, 2, index);
    driver_fake_write(g, 0x18, 2, size);
    driver_fake_write(g, 0x1a, 2, index + 1u);
    write64(g, 0x20, q->desc_gpa);
    write64(g, 0x28, q->driver_gpa);
    write64(g, 0x30, q->device_gpa);
    driver_fake_write(g, 0x1c, 2, 1);
}

void driver_fake_ready(struct driver_fake *g)
{
    add_status(g, VIRTIO_DRIVER_OK);
}

void driver_fake_kick(struct driver_fake *g, u16 queue)
{
    driver_fake_write(g, NOTIFY_AT + 4u * queue, 2, queue);
}

void driver_fake_msix(struct driver_fake *g)
{
    const struct pci_fn *fn = &g->v->fn;
    u64 table = fn->bars[MSIX_BAR].base, ecam = 0xe0000000 + fn->slot * 0x8000ull;
    u64 control = ecam + fn->msix_cap + 2;

    for (u32 i = 0; i < fn->n_msix; i++) {
        must(bus_write(g->f->m.mmio, table + i * 16, 4, 0xfee00000));
        must(bus_write(g->f->m.mmio, table + i * 16 + 4, 4, 0));
        must(bus_write(g->f->m.mmio, table + i * 16 + 8, 4, DRIVER_FAKE_MSI + i));
        must(bus_write(g->f->m.mmio, table + i * 16 + 12, 4, 0));
    }
    must(bus_write(g->f->m.mmio, control, 2, 0x8000));
}

void driver_fake_loop(struct driver_fake *g)
{
    for (u32 i = 0; i < 4; i++) /* a callback may give another one work */
        uv_run(&g->f->m.loop->uv, UV_RUN_NOWAIT);
}
