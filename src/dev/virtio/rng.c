/*
 * dev/virtio/rng.c: entropy from the host's kernel.  (virtio 1.2, 5.4)
 * Served on the vCPU that kicks: getrandom is short, and a chain gets at most RNG_CHUNK bytes, whatever its size, which the
 * specification allows (5.4.6.2: the driver looks at the used length).
 */
#include "dev/virtio/vdev.h"

#include <sys/random.h>

enum {
    RNG_CHUNK = 4096, /* bytes a chain */
    RNG_QUEUE = 64,
};

struct rng {
    struct vdev v;
    u64 bytes; /* given, for statistics */
};

/* Fills the chain's in part. */
static void serve(struct vdev *v, struct chain *c)
{
    struct rng *r = container_of(v, struct rng, v);
    u8 buf[256]; /* up to so many getrandom is never interrupted */
    u32 left = min(c->in_len, (u32)RNG_CHUNK);

    while (left > 0) {
        u32 n = min(left, (u32)sizeof(buf));

        if (getrandom(buf, n, GRND_NONBLOCK) != (ssize_t)n)
            break; /* the host has none yet: give what there is, the guest asks again */
        must(chain_put(c, buf, n) == 0);
        r->bytes += n;
        left -= n;
    }
}

static void rng_kicked(struct vdev *v, u16 queue)
{
    vdev_serve(v, queue, serve);
}

static const struct vdev_def rng_vdef = {
    .type = VIRTIO_RNG,
    .class_code = 0x00ff00, /* unclassified */
    .queue_size = RNG_QUEUE,
    .kicked = rng_kicked,
};

static int rng_start(struct device *d, const void *, struct err *e)
{
    return vdev_start(vdev_of(d), &rng_vdef, 0, 1, e);
}

static void rng_stop(struct device *d)
{
    vdev_stop(vdev_of(d));
}

static void rng_reset(struct device *d)
{
    vdev_reset(vdev_of(d));
}

static void rng_pause(struct device *d)
{
    vdev_pause(vdev_of(d));
}

static void rng_resume(struct device *d)
{
    vdev_resume(vdev_of(d));
}

static void rng_stats(struct device *d, void (*put)(void *arg, const char *name, u64 value),
                      void *arg)
{
    put(arg, "bytes", container_of(vdev_of(d), struct rng, v)->bytes);
}

extern const struct device_def virtio_rng_def;
const struct device_def virtio_rng_def = {
    .name = "virtio-rng",
    .doc = "entropy from the host",
    .size = sizeof(struct rng),
    .parts = { VDEV_PARTS(rng, v) },
    .start = rng_start,
    .stop = rng_stop,
    .reset = rng_reset,
    .pause = rng_pause,
    .resume = rng_resume,
    .stats = rng_stats,
};
