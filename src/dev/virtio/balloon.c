/*
 * dev/virtio/balloon.c: memory that the guest gives back: the balloon, its statistics, reports of free pages.
 * (virtio 1.2, 5.5)  Served on the vCPU that kicks, or on the control loop; always with dev.lock held.
 *   (1) What the guest names is discarded only through mem_discard, which checks it; naming pages in use hurts the guest alone.
 *   (2) A chain of the inflate queue counts for its first PFNS_MAX pages: one kick costs a bounded time.  Not to take a page is
 *       allowed; Linux sends at most 256.
 *   (3) The driver lends us one chain of the statistics queue; giving it back asks for new figures.  That we hold it is state.
 * Queues stand without gaps, as QEMU and Linux have them: 0 inflate, 1 deflate, 2 statistics, 3 reports.
 */
#include "dev/virtio/balloon.h"

#include "base/base.h"

#include "base/clock.h"
#include "conf/conf.h"
#include "dev/virtio/vdev.h"
#include "mem/mem.h"

#include <stdlib.h>

enum {
    Q_INFLATE,
    Q_DEFLATE,
    Q_STATS,
    Q_REPORT,
    BALLOON_QUEUE = 128,
    PFNS_MAX = 1024,
    STAT_LEN = 10, /* le16 tag, le64 value */
    STATS_MAX = 64,
    CFG_NUM_PAGES = 0,
    CFG_ACTUAL = 4,
    CFG_LEN = 8,
};
#define BALLOON_F_STATS_VQ       VIRTIO_F(1)
#define BALLOON_F_DEFLATE_ON_OOM VIRTIO_F(2)
#define BALLOON_F_REPORTING      VIRTIO_F(5)

struct balloon_cfg {
    bool deflate_on_oom, reporting;
    u32 poll;
};

static const struct field balloon_fields[] = {
    FIELD_BOOL(balloon_cfg, deflate_on_oom,
               "let the guest take pages back rather than kill a process", .dflt = 1),
    FIELD_BOOL(balloon_cfg, reporting, "let the guest report free pages, which go back to the host",
               .dflt = 1),
    FIELD_INT(balloon_cfg, poll, "seconds between statistics; 0: when asked", .max = 86400),
    {},
};

#define BALLOON_STATE(F, S)                                                           \
    F(S, VAL, bool, stats_held, "a chain of the statistics queue is with the device") \
    F(S, VAL, u16, stats_head, "its descriptor or buffer id")                         \
    F(S, VAL, u16, stats_n_desc, "its ring entries")
STATE_STRUCT(balloon_state, BALLOON_STATE);

static int check_balloon(void *obj, struct err *e)
{
    const struct balloon_state *s = obj;

    if (s->stats_head >= VQ_SIZE_MAX || s->stats_n_desc > BALLOON_QUEUE ||
        s->stats_held != (s->stats_n_desc > 0))
        return err_set(e, -EBADMSG, "statistics chain %u of %u entries, held %d", s->stats_head,
                       s->stats_n_desc, s->stats_held);
    return 0;
}
STATE_TABLE(balloon_state, BALLOON_STATE, .after_load = check_balloon);

struct balloon {
    struct vdev v;
    struct balloon_state st;
    struct balloon_stats stats; /* of the host's view: target and ballooned are filled when asked */
    uv_timer_t *timer;          /* of the control loop; NULL while not polled */
    u32 poll;                   /* config: seconds, as the machine last said */
};

static struct balloon *balloon_of(struct vdev *v)
{
    return container_of(v, struct balloon, v);
}

/* ---- inflate and deflate ---- */

static void discard(struct balloon *b, u64 gpa, u64 len)
{
    if (len > 0 && mem_discard(b->v.fn.dev.machine->mem, gpa, len) == 0)
        b->stats.discarded += len;
}

/* Runs of neighbours, in either direction, are discarded at once. */
static void serve_inflate(struct vdev *v, struct chain *c)
{
    u64 start = 0, len = 0;
    le32 pfn;

    for (u32 n = 0; n < PFNS_MAX && chain_get(c, &pfn, sizeof(pfn)) == 0; n++) {
        u64 gpa = (u64)le32_get(pfn) * MEM_PAGE;

        if (len > 0 && gpa == start + len) {
            len += MEM_PAGE;
        } else if (len > 0 && gpa + MEM_PAGE == start) {
            start = gpa;
            len += MEM_PAGE;
        } else {
            discard(balloon_of(v), start, len);
            start = gpa;
            len = MEM_PAGE;
        }
    }
    discard(balloon_of(v), start, len);
}

/* The host fills a page when it is touched again; there is nothing to do. */
static void serve_deflate(struct vdev *, struct chain *)
{
}

/* 5.5.6.5: the chain's buffers are the free pages themselves; contents and used length do not matter. */
static void serve_report(struct vdev *v, struct chain *c)
{
    for (u32 i = c->n_out; i < (u32)c->n_out + c->n_in; i++)
        discard(balloon_of(v), c->gpas[i], c->iov[i].iov_len);
}

/* ---- statistics ---- */

static void take_stats(struct balloon *b, struct chain *c)
{
    static const u32 at[] = {
#define BALLOON_STAT_AT(name, doc) offsetof(struct balloon_stats, name),
        BALLOON_STATS(BALLOON_STAT_AT)
#undef BALLOON_STAT_AT
    };
    u8 bytes[STAT_LEN];

    for (u32 n = 0; n < STATS_MAX && chain_get(c, bytes, sizeof(bytes)) == 0; n++) {
        u64 tag = le_load(bytes, 2);

        if (tag >= ARRAY_LEN(at)) /* of a newer driver */
            continue;
        *(u64 *)((u8 *)&b->stats + at[tag]) = le_load(bytes + 2, 8);
        b->stats.have |= 1u << tag;
        b->stats.updated_ns = clock_mono_ns();
    }
}

/* Gives the held chain back, which asks the driver for new figures. */
static void ask_stats(struct balloon *b)
{
    struct vq *q = &b->v.q[Q_STATS];

    if (!b->st.stats_held || !b->v.active || !q->started || b->st.stats_n_desc > q->st.size)
        return;
    vq_push_len(q, b->st.stats_head, b->st.stats_n_desc, 0);
    b->st = (struct balloon_state){};
    vdev_notify(&b->v, Q_STATS);
}

static void stats_kicked(struct balloon *b)
{
    struct vq *q = &b->v.q[Q_STATS];
    struct chain c;
    int r = 0;

    for (u32 n = 0; n < VDEV_SERVE_MAX && (r = vq_pop(q, &c)) == 1; n++) {
        ask_stats(b); /* 5.5.6.3.1: one at a time; a driver that sends more gets the older back */
        take_stats(b, &c);
        b->st = (struct balloon_state){ true, c.head, c.n_desc };
    }
    if (r < 0)
        vdev_fail(&b->v, "malformed statistics ring");
    if (vq_kicks(q, true))
        vdev_kick_later(&b->v);
}

static void balloon_kicked(struct vdev *v, u16 queue)
{
    static void (*const serve[])(struct vdev *, struct chain *) = {
        [Q_INFLATE] = serve_inflate,
        [Q_DEFLATE] = serve_deflate,
        [Q_REPORT] = serve_report,
    };

    if (queue == Q_STATS)
        stats_kicked(balloon_of(v));
    else
        vdev_serve(v, queue, serve[queue]);
}

static void on_timer(uv_timer_t *t)
{
    struct balloon *b = t->data;

    pthread_mutex_lock(&b->v.fn.dev.lock);
    ask_stats(b);
    pthread_mutex_unlock(&b->v.fn.dev.lock);
}

static void on_timer_closed(uv_handle_t *h)
{
    free(h);
}

/* On the control loop: makes the timer what b->poll says. */
static void set_timer(void *arg)
{
    struct balloon *b = arg;
    u64 period_ms = b->poll * 1000ull;

    if (b->timer)
        uv_close((uv_handle_t *)b->timer, on_timer_closed);
    b->timer = NULL;
    if (b->poll == 0)
        return;
    b->timer = xnew(uv_timer_t);
    uv_timer_init(&b->v.fn.dev.machine->loop->uv, b->timer);
    b->timer->data = b;
    uv_timer_start(b->timer, on_timer, period_ms, period_ms);
}

/* ---- what the machine asks ---- */

void balloon_poll(struct device *d, u32 seconds)
{
    struct balloon *b = balloon_of(vdev_of(d));

    b->poll = seconds;
    loop_call(d->machine->loop, set_timer, b);
}

void balloon_set_target(struct device *d, u64 bytes)
{
    u64 ram = mem_size(d->machine->mem);
    le32 pages = le32_of((u32)((ram - min(bytes, ram)) / MEM_PAGE));

    vdev_config_set(vdev_of(d), CFG_NUM_PAGES, &pages, sizeof(pages));
}

void balloon_stats(struct device *d, struct balloon_stats *ret)
{
    struct balloon *b = balloon_of(vdev_of(d));
    const u8 *cfg = b->v.st.config;

    pthread_mutex_lock(&d->lock);
    ask_stats(b);
    *ret = b->stats;
    pthread_mutex_lock(&b->v.fn.irq_lock);
    ret->target = mem_size(d->machine->mem) - le_load(cfg + CFG_NUM_PAGES, 4) * MEM_PAGE;
    ret->ballooned = le_load(cfg + CFG_ACTUAL, 4) * MEM_PAGE;
    pthread_mutex_unlock(&b->v.fn.irq_lock);
    pthread_mutex_unlock(&d->lock);
}

/* ---- life ---- */

static void balloon_reset_own(struct vdev *v)
{
    balloon_of(v)->st = (struct balloon_state){};
}

/* Another host may have given the guest another size of memory; a balloon cannot be larger than that. */
static int balloon_loaded(struct vdev *v, const u8 *, struct err *e)
{
    u64 pages = le_load(v->st.config + CFG_NUM_PAGES, 4);

    if (pages > mem_size(v->fn.dev.machine->mem) / MEM_PAGE)
        return err_set(e, -EBADMSG, "a balloon of %llu pages; the machine has %llu", pages,
                       mem_size(v->fn.dev.machine->mem) / MEM_PAGE);
    return 0;
}

static const struct vdev_def balloon_vdef = {
    .type = VIRTIO_BALLOON,
    .class_code = 0x00ff00, /* unclassified */
    .queue_size = BALLOON_QUEUE,
    .kicked = balloon_kicked,
    .reset = balloon_reset_own,
    .loaded = balloon_loaded,
};

static int balloon_start(struct device *d, const void *cfg, struct err *e)
{
    const struct balloon_cfg *c = cfg;
    struct balloon *b = balloon_of(vdev_of(d));
    u64 features = BALLOON_F_STATS_VQ;
    int r;

    if (c->deflate_on_oom)
        features |= BALLOON_F_DEFLATE_ON_OOM;
    if (c->reporting)
        features |= BALLOON_F_REPORTING;
    b->v.config_len = CFG_LEN;
    memset(b->v.config_writable + CFG_ACTUAL, 0xff, 4);
    r = vdev_start(&b->v, &balloon_vdef, features, c->reporting ? 4 : 3, e);
    if (r == 0 && c->poll)
        balloon_poll(d, c->poll);
    return r;
}

static void balloon_stop(struct device *d)
{
    balloon_poll(d, 0);
    vdev_stop(vdev_of(d));
}

static void balloon_reset(struct device *d)
{
    vdev_reset(vdev_of(d));
}

static void balloon_pause(struct device *d)
{
    vdev_pause(vdev_of(d));
}

static void balloon_resume(struct device *d)
{
    vdev_resume(vdev_of(d));
}

/* The guest's own are those that it sent last; it is asked for new ones. */
static void balloon_put(struct device *d, void (*put)(void *arg, const char *name, u64 value),
                        void *arg)
{
    struct balloon_stats s;

    balloon_stats(d, &s);
    put(arg, "target", s.target);
    put(arg, "ballooned", s.ballooned);
    put(arg, "discarded", s.discarded);
#define BALLOON_STAT_PUT(name, doc) put(arg, #name, s.name);
    BALLOON_STATS(BALLOON_STAT_PUT)
#undef BALLOON_STAT_PUT
}

extern const struct device_def virtio_balloon_def;
const struct device_def virtio_balloon_def = {
    .name = "virtio-balloon",
    .doc = "memory that the guest gives back",
    .size = sizeof(struct balloon),
    .fields = balloon_fields,
    .cfg_size = sizeof(struct balloon_cfg),
    .parts = { VDEV_PARTS(balloon, v), STATE_PART(balloon, st, balloon_state) },
    .start = balloon_start,
    .stop = balloon_stop,
    .reset = balloon_reset,
    .pause = balloon_pause,
    .resume = balloon_resume,
    .stats = balloon_put,
};
