/*
 * dev/virtio/blk.c: the virtio block device: configuration, queues and their threads.  (virtio 1.2, section 5.2)
 *   (1) A queue, its requests and its ring belong to one I/O thread between start_queue and stop_queue, which run there too.
 *   (2) Held requests live in memory only: `held` in the state makes a load refuse what was saved in that condition.
 */
#include "dev/virtio/blk_internal.h"
#include "disk/limit.h"
#include "disk/overlay.h"

#include <sys/mman.h>

enum { BLK_CONFIG_LEN = 60 };

/* Section 5.2.3 */
#define BLK_F_SEG_MAX      VIRTIO_F(2)
#define BLK_F_RO           VIRTIO_F(5)
#define BLK_F_BLK_SIZE     VIRTIO_F(6)
#define BLK_F_FLUSH        VIRTIO_F(9)
#define BLK_F_TOPOLOGY     VIRTIO_F(10)
#define BLK_F_CONFIG_WCE   VIRTIO_F(11)
#define BLK_F_MQ           VIRTIO_F(12)
#define BLK_F_DISCARD      VIRTIO_F(13)
#define BLK_F_WRITE_ZEROES VIRTIO_F(14)

/* Section 5.2.4, struct virtio_blk_config */
enum {
    CFG_CAPACITY = 0,
    CFG_SEG_MAX = 12,
    CFG_BLK_SIZE = 20,
    CFG_PHYSICAL_EXP = 24,
    CFG_MIN_IO = 26,
    CFG_WCE = 32,
    CFG_NUM_QUEUES = 34,
    CFG_DISCARD_MAX = 36,
    CFG_DISCARD_SEG = 40,
    CFG_DISCARD_ALIGN = 44,
    CFG_ZEROES_MAX = 48,
    CFG_ZEROES_SEG = 52,
    CFG_ZEROES_UNMAP = 56,
};

static int blk_after_load(void *obj, struct err *e)
{
    const struct blk_state *st = obj;

    if (st->held)
        return err_set(e, -EBADMSG, "saved while %u requests waited for room on the host's disk",
                       st->held);
    return 0;
}

STATE_TABLE(blk_state, BLK_STATE, .after_load = blk_after_load);

struct blk *blk_of(struct device *d)
{
    return container_of(vdev_of(d), struct blk, v);
}

/* ---- start and stop of the queues: from a vCPU, dev.lock held ---- */

struct start_args {
    struct blk_queue *q;
    int r;
};

static void start_queue(void *arg)
{
    struct start_args *a = arg;
    struct blk_queue *q = a->q;

    a->r = loop_fd_open(q->loop, &q->kick, q->b->v.kick[q->index], UV_READABLE, blk_on_kick, q);
    if (a->r < 0)
        return;
    q->active = true;
    if (!q->b->st.held)
        blk_drop_held(q); /* another state was loaded since they were taken */
    blk_retry_held(q);
    blk_serve(q);
}

static void drop_held(void *arg)
{
    blk_drop_held(arg);
}

static void stop_queue(void *arg)
{
    struct blk_queue *q = arg;

    loop_fd_close(&q->kick);
    disk_drain(q->disk);
    q->active = q->starved = false;
    if (q->b->pausing) {
        blk_notify(q);
        return;
    }
    q->unsignal = false;
    blk_drop_held(q);
}

static void set_durable(struct blk *b)
{
    /* Section 5.2.6.2: a driver that knows neither flushes nor the mode expects every write to be stable */
    bool writeback =
        vdev_has(&b->v, BLK_F_CONFIG_WCE) ? b->v.st.config[CFG_WCE] : vdev_has(&b->v, BLK_F_FLUSH);

    atomic_store(&b->durable, !writeback);
}

static void blk_deactivate(struct vdev *v)
{
    struct blk *b = container_of(v, struct blk, v);

    for (u16 i = 0; i < b->n_queues; i++)
        loop_call(b->queues[i].loop, stop_queue, &b->queues[i]);
}

static int blk_activate(struct vdev *v, struct err *e)
{
    struct blk *b = container_of(v, struct blk, v);

    set_durable(b);
    atomic_store(&b->failed, false);
    atomic_store(&b->full, false);
    for (u16 i = 0; i < b->n_queues; i++) {
        struct start_args a = { .q = &b->queues[i] };

        if (!v->q[i].started)
            continue;
        loop_call(a.q->loop, start_queue, &a);
        if (a.r < 0) {
            blk_deactivate(v);
            return err_code(e, a.r, "watch queue %u", i);
        }
    }
    b->st.held = 0;
    return 0;
}

static void blk_config_wrote(struct vdev *v, u32, u32)
{
    set_durable(container_of(v, struct blk, v));
}

/* Whatever the machine held back was the former driver's. */
static void blk_reset_own(struct vdev *v)
{
    struct blk *b = container_of(v, struct blk, v);

    for (u16 i = 0; i < b->n_queues; i++)
        loop_call(b->queues[i].loop, drop_held, &b->queues[i]);
    b->st.held = 0;
}

/* What the guest may do itself, and advice on sizes: it goes on with what it was told when the image's file is another one. */
static void clear_advice(u8 config[BLK_CONFIG_LEN])
{
    static const struct {
        u32 off, len;
    } rows[] = {
        { CFG_PHYSICAL_EXP, 1 }, { CFG_MIN_IO, 2 }, { CFG_WCE, 1 }, { CFG_DISCARD_ALIGN, 4 }
    };

    for_each_row(c, rows)
        memset(config + c->off, 0, c->len);
}

/* Another size, or another number of queues, is another disk. */
static int blk_loaded(struct vdev *v, const u8 *was, struct err *e)
{
    u8 now[BLK_CONFIG_LEN], old[BLK_CONFIG_LEN];

    memcpy(now, v->st.config, sizeof(now));
    memcpy(old, was, sizeof(old));
    clear_advice(now);
    clear_advice(old);
    if (v->st.config[CFG_WCE] > 1 || memcmp(now, old, sizeof(now)) != 0)
        return err_set(e, -EBADMSG,
                       "a disk of %llu sectors and %llu queues; this one has %llu, %llu",
                       le_load(now + CFG_CAPACITY, 8), le_load(now + CFG_NUM_QUEUES, 2),
                       le_load(old + CFG_CAPACITY, 8), le_load(old + CFG_NUM_QUEUES, 2));
    return 0;
}

static const struct vdev_def blk_vdef = {
    .type = VIRTIO_BLK,
    .class_code = 0x018000, /* mass storage, other */
    .features = BLK_F_SEG_MAX | BLK_F_RO | BLK_F_BLK_SIZE | BLK_F_FLUSH | BLK_F_TOPOLOGY |
                BLK_F_CONFIG_WCE | BLK_F_MQ | BLK_F_DISCARD | BLK_F_WRITE_ZEROES,
    .queue_size = BLK_QUEUE_SIZE,
    .activate = blk_activate,
    .deactivate = blk_deactivate,
    .reset = blk_reset_own,
    .config_wrote = blk_config_wrote,
    .loaded = blk_loaded,
};

/* ---- the device ---- */

static u64 offered(const struct blk *b)
{
    u64 f = blk_vdef.features;

    f &= b->disk->readonly ? ~(BLK_F_DISCARD | BLK_F_WRITE_ZEROES) : ~BLK_F_RO;
    if (!b->disk->discard)
        f &= ~BLK_F_DISCARD;
    return b->n_queues > 1 ? f : f & ~BLK_F_MQ;
}

static void fill_config(struct blk *b)
{
    /* clang-format off */
    const struct {
        u32 off, len;
        u64 value;
    } rows[] = {
        { CFG_CAPACITY,      8, b->capacity },
        { CFG_SEG_MAX,       4, BLK_QUEUE_SIZE - 2 }, /* header and status take two */
        { CFG_BLK_SIZE,      4, DISK_SECTOR },
        { CFG_PHYSICAL_EXP,  1, (u64)__builtin_ctz(b->disk->block / DISK_SECTOR) },
        { CFG_MIN_IO,        2, b->disk->block / DISK_SECTOR },
        { CFG_WCE,           1, 1 },
        { CFG_NUM_QUEUES,    2, b->n_queues },
        { CFG_DISCARD_MAX,   4, BLK_RANGE_MAX },
        { CFG_DISCARD_SEG,   4, 1 },
        { CFG_DISCARD_ALIGN, 4, max(b->disk->discard / DISK_SECTOR, 1u) },
        { CFG_ZEROES_MAX,    4, BLK_RANGE_MAX },
        { CFG_ZEROES_SEG,    4, 1 },
        { CFG_ZEROES_UNMAP,  1, 1 },
    };
    /* clang-format on */

    for_each_row(c, rows)
        le_store(b->v.st.config + c->off, c->len, c->value);
    b->v.config_len = BLK_CONFIG_LEN;
    b->v.config_writable[CFG_WCE] = 1;
}

static int start_thread(void *arg, struct loop *l)
{
    return machine_io_start(arg, l, IO_FILES);
}

int blk_queue_open(struct blk_queue *q, struct disk *d, bool no_threads, struct disk_queue **ret,
                   struct err *e)
{
    struct blk *b = q->b;
    const struct disk_queue_cfg cfg = {
        .loop = q->loop,
        .depth = BLK_QUEUE_SIZE,
        .batch = blk_on_batch,
        .arg = q,
        .thread_start = start_thread,
        .thread_arg = b->v.fn.dev.machine,
        .helper = b->has_helper ? &b->helper : NULL,
        .no_threads = no_threads,
    };

    return disk_limits_queue_open(b->limits, d, &cfg, ret, e);
}

static int open_queue(struct blk *b, u16 i, struct err *e)
{
    struct blk_queue *q = &b->queues[i];
    struct machine *m = b->v.fn.dev.machine;
    void *reqs = mmap(NULL, BLK_QUEUE_SIZE * sizeof(struct blk_req), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (reqs == MAP_FAILED)
        return err_errno(e, "requests of queue %u", i);
    q->reqs = reqs;
    q->b = b;
    q->index = i;
    q->vq = &b->v.q[i];
    q->loop = b->n_threads ? &b->threads[i % b->n_threads] : m->loop;
    q->held_end = &q->held;
    return blk_queue_open(q, b->disk, false, &q->disk, e);
}

static int open_disk(struct blk *b, const struct blk_cfg *cfg, struct err *e)
{
    const struct disk_cfg dc = {
        .file = cfg->file,
        .fd = cfg->fd ? (int)cfg->fd : -1,
        .readonly = cfg->readonly,
        .cache = (enum disk_cache)cfg->cache,
        .format = cfg->format,
    };
    int r;

    b->disk = cfg->disk;
    if (!b->disk) {
        if (!cfg->file && !cfg->fd)
            return err_set(e, -EINVAL, "'file' or 'fd' is missing");
        r = disk_open(&dc, &b->disk, e);
        if (r < 0)
            return r;
        b->limits = disk_limits_new(&(struct disk_limit){ cfg->bandwidth, cfg->iops, cfg->burst });
        b->disk_is_ours = true;
        b->cache = dc.cache;
    }
    b->capacity = b->disk->size / DISK_SECTOR;
    return 0;
}

static int open_helper(struct blk *b, struct err *e)
{
    int r = 0;

    if (b->disk_is_ours && !b->disk->readonly)
        r = loop_init(&b->helper, "disk");
    else
        return 0;
    b->has_helper = r == 0;
    if (r == 0)
        r = machine_io_start(b->v.fn.dev.machine, &b->helper, IO_FILES);
    return r < 0 ? err_code(e, r, "start a disk's thread") : 0;
}

static int open_threads(struct blk *b, u32 n, struct err *e)
{
    struct device *d = &b->v.fn.dev;

    while (b->n_threads < n) {
        struct loop *l = &b->threads[b->n_threads];
        int r = loop_init(l, d->name);

        if (r == 0) {
            b->n_threads++;
            r = machine_io_start(d->machine, l, IO_FILES);
        }
        if (r < 0)
            return err_code(e, r, "start an I/O thread");
    }
    return 0;
}

/* Also of a half-built one. */
static void release(struct blk *b)
{
    for (u16 i = 0; i < b->n_queues; i++) {
        struct blk_queue *q = &b->queues[i];

        disk_queue_close(q->disk);
        disk_queue_close(q->next);
        if (q->reqs)
            munmap(q->reqs, BLK_QUEUE_SIZE * sizeof(struct blk_req));
    }
    for (u16 i = 0; i < b->n_threads; i++)
        loop_fini(&b->threads[i]);
    blk_merge_close(&b->v.fn.dev);
    if (b->next)
        overlay_drop(b->next);
    if (b->disk_is_ours)
        disk_close(b->disk);
    disk_limits_free(b->limits);
    if (b->has_helper)
        loop_fini(&b->helper);
}

static int build(struct blk *b, const struct blk_cfg *cfg, struct err *e)
{
    const u32 n_queues = min(max((u32)cfg->queues, 1u), (u32)BLK_QUEUES_MAX);
    const u32 n_threads = min((u32)cfg->iothreads, n_queues);
    int r = open_disk(b, cfg, e);

    if (r == 0)
        r = open_helper(b, e);
    if (r == 0)
        r = open_threads(b, min(n_threads, (u32)BLK_THREADS_MAX), e);
    while (r == 0 && b->n_queues < n_queues)
        r = open_queue(b, b->n_queues++, e);
    if (r < 0)
        return r;
    if (cfg->serial)
        memcpy(b->id, cfg->serial, min(strlen(cfg->serial), sizeof(b->id)));
    fill_config(b);
    return vdev_start(&b->v, &blk_vdef, offered(b), b->n_queues, e);
}

static int blk_start(struct device *d, const void *cfg, struct err *e)
{
    struct blk *b = blk_of(d);
    int r = build(b, cfg, e);

    if (r < 0)
        release(b);
    return r;
}

static void blk_stop(struct device *d)
{
    struct blk *b = blk_of(d);

    vdev_stop(&b->v);
    release(b);
}

static void blk_reset(struct device *d)
{
    vdev_reset(vdev_of(d));
}

/* What is under way ends; what the host has no room for is kept for blk_resume. */
static void blk_pause(struct device *d)
{
    struct blk *b = blk_of(d);

    b->pausing = true;
    vdev_pause(&b->v);
    b->pausing = false;
    b->st.held = 0;
    for (u16 i = 0; i < b->n_queues; i++)
        b->st.held += b->queues[i].n_held;
}

static void blk_resume(struct device *d)
{
    vdev_resume(vdev_of(d));
}

static void blk_stats(struct device *d, void (*put)(void *arg, const char *name, u64 value),
                      void *arg)
{
#define X(name) #name,
    static const char *const names[] = { BLK_STATS(X) };
#undef X
    struct blk *b = blk_of(d);

    for (u32 s = 0; s < STATS; s++) {
        u64 sum = 0;

        for (u16 i = 0; i < b->n_queues; i++)
            sum += atomic_load_explicit(&b->queues[i].stats[s], memory_order_relaxed);
        put(arg, names[s], sum);
    }
}

static bool serial_ok(const char *s)
{
    size_t len = strlen(s);

    for (const char *p = s; *p; p++)
        if (*p < 0x20 || *p > 0x7e)
            return false;
    return len > 0 && len <= BLK_ID_LEN;
}

/* clang-format off */
const struct field blk_fields[] = {
    FIELD_STR(blk_cfg, file,      "image or block device", .first = true, .metavar = "FILE"),
    FIELD_INT(blk_cfg, fd,        "open file instead of `file`; 0: none", .max = 65535),
    FIELD_BOOL(blk_cfg, readonly, "the guest may not write"),
    FIELD_INT(blk_cfg, queues,    "request queues", .dflt = 1, .min = 1, .max = BLK_QUEUES_MAX),
    FIELD_INT(blk_cfg, iothreads, "threads that serve them; 0: the control loop", .dflt = 1, .max = BLK_THREADS_MAX),
    FIELD_STR(blk_cfg, serial,    "serial number that the guest sees", .ok = serial_ok,
              .want = "1 to 20 printable ASCII characters"),
    FIELD_ENUM(blk_cfg, cache,    disk_cache_words, "host cache: writeback, none of it, or ignoring even flushes"),
    FIELD_STR(blk_cfg, format,    "format of the image; none: what it looks like", .ok = disk_format_known,
              .want = "auto, raw, qcow2, vmdk, vdi, vhd or vhdx"),
    FIELD_BYTES(blk_cfg, bandwidth, "bytes a second that are read and written; 0: no limit"),
    FIELD_INT(blk_cfg, iops,      "requests a second; 0: no limit"),
    FIELD_INT(blk_cfg, burst,     "what was not used of the limits in so many ms may be used at once", .dflt = DISK_BURST_MS_DEFAULT,
              .min = DISK_BURST_MS_MIN, .max = DISK_BURST_MS_MAX),
    {},
};
/* clang-format on */

const struct device_def virtio_blk_def = {
    .name = "virtio-blk",
    .doc = "virtio disk",
    .size = sizeof(struct blk),
    .fields = blk_fields,
    .cfg_size = sizeof(struct blk_cfg),
    .parts = { VDEV_PARTS(blk, v), STATE_PART(blk, st, blk_state) },
    .start = blk_start,
    .stop = blk_stop,
    .reset = blk_reset,
    .pause = blk_pause,
    .resume = blk_resume,
    .stats = blk_stats,
};
