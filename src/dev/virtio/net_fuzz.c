/*
 * dev/virtio/net_fuzz.c: any control commands, frames, buffers and pauses for a virtio network card whose other side is a socket.
 * Oracle: a control command comes back once with an answer; a frame in receive buffers is one that was sent, whole; after all
 * of it a reset makes the card work.  With the option WILD the driver also scribbles over its memory, and only the last counts.
 */
#include "dev/virtio/driver_fake.h"
#include "dev/virtio/net_internal.h"
#include "mem/mem.h"
#include "testlib/fuzz.h"

#include <sys/socket.h>
#include <unistd.h>

enum { RX, TX, CTRL, RING = 64, FRAME = 3000, STEPS_MAX = 96 };
enum { OPT_WILD = 1, OPT_PACKED = 2, OPT_EVENT_IDX = 4, OPT_INDIRECT = 8, OPT_MERGE = 16 };

struct room {
    u64 gpa;
    u32 len;
};

static struct {
    struct fake_machine *f;
    struct machine_ops ops;
    struct device *d;
    struct net *n;
    struct driver_fake g;
    int peer;
    u8 opts;
    struct room rooms[VQ_SIZE_MAX];
    u64 acks[VQ_SIZE_MAX];
} z;

static int no_thread(void *, struct loop *, enum io_role)
{
    return 0;
}

static void open_once(void)
{
    struct net_cfg cfg = { .kind = NET_TAP };
    int pair[2];

    if (z.f)
        return;
    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    z.peer = pair[1];
    cfg.fd = (u32)pair[0];
    z.f = fake_machine_new();
    z.ops = *z.f->m.ops;
    z.ops.io_start = no_thread;
    z.f->m.ops = &z.ops;
    must(device_new(&virtio_net_def, &z.f->m, "net0", &cfg, &z.d, NULL) == 0);
    z.n = container_of(vdev_of(z.d), struct net, v);
}

/* Rings are believed to begin with zeroes; a wild driver makes the device write anywhere. */
static void wipe(void)
{
    must(mem_discard(z.f->m.mem, 1 * MiB, 63 * MiB) == 0);
}

static void start(void)
{
    u64 f = NET_F_MAC | NET_F_STATUS | NET_F_CTRL_VQ | NET_F_CTRL_RX | NET_F_CTRL_RX_EXTRA |
            NET_F_CTRL_MAC_ADDR;

    f |= z.opts & OPT_PACKED ? VIRTIO_F_RING_PACKED : 0;
    f |= z.opts & OPT_EVENT_IDX ? VIRTIO_F_EVENT_IDX : 0;
    f |= z.opts & OPT_INDIRECT ? VIRTIO_F_INDIRECT_DESC : 0;
    f |= z.opts & OPT_MERGE ? NET_F_MRG_RXBUF : 0;
    wipe();
    driver_fake_init(&z.g, z.f, z.d);
    must(driver_fake_negotiate(&z.g, f));
    for (u16 i = RX; i <= CTRL; i++)
        driver_fake_queue(&z.g, i, RING);
    driver_fake_ready(&z.g);
}

static void turn(void)
{
    uv_run(&z.n->loop.uv, UV_RUN_NOWAIT);
    uv_run(&z.n->loop.uv, UV_RUN_NOWAIT);
}

static int add(u16 queue, const struct driver_fake_buf *bufs, u32 n)
{
    return z.opts & OPT_INDIRECT ? driver_fake_add_indirect(&z.g.q[queue], bufs, n)
                                 : driver_fake_add(&z.g.q[queue], bufs, n);
}

/* A frame says what it is: its length, then bytes that follow from it. */
static void make_frame(u8 *frame, u32 len)
{
    memset(frame, 0, NET_HDR);
    for (u32 i = NET_HDR; i < len; i++)
        frame[i] = (u8)(len + i * 31);
    if (len >= NET_HDR + 2)
        le_store(frame + NET_HDR, 2, len);
}

static bool is_frame(const u8 *frame, u32 len)
{
    static u8 want[FRAME + NET_HDR];

    if (len < NET_HDR + 2 || len > sizeof(want))
        return len < NET_HDR + 2;
    make_frame(want, len);
    return memcmp(want + NET_HDR, frame + NET_HDR, len - NET_HDR) == 0;
}

/* ---- steps ---- */

static void step_control(struct fuzz_in *in)
{
    u8 bytes[40];
    u32 n = (u32)fuzz_take(in, 1) % sizeof(bytes), cut = n ? (u32)fuzz_take(in, 1) % n : 0;
    u64 ack = driver_fake_put(&z.g, "\xee", 1), gpa;
    struct driver_fake_buf bufs[3];
    u32 n_bufs = 0;
    int id;

    for (u32 i = 0; i < n; i++)
        bytes[i] = (u8)fuzz_take(in, 1);
    gpa = driver_fake_put(&z.g, bytes, n);
    if (cut)
        bufs[n_bufs++] = (struct driver_fake_buf){ gpa, cut, false };
    if (n > cut)
        bufs[n_bufs++] = (struct driver_fake_buf){ gpa + cut, n - cut, false };
    bufs[n_bufs++] = (struct driver_fake_buf){ ack, 1, true };
    id = add(CTRL, bufs, n_bufs);
    if (id >= 0)
        z.acks[id] = ack;
}

static void step_room(struct fuzz_in *in)
{
    u32 len = (u32)fuzz_take(in, 2) % (FRAME + 100) + NET_HDR + 1;
    u64 gpa = driver_fake_alloc(&z.g, len, 1);
    int id = add(RX, &(struct driver_fake_buf){ gpa, len, true }, 1);

    if (id >= 0)
        z.rooms[id] = (struct room){ gpa, len };
}

static void step_send(struct fuzz_in *in)
{
    static u8 frame[FRAME + NET_HDR];
    u32 len = (u32)fuzz_take(in, 2) % FRAME + NET_HDR + 1, cut = (u32)fuzz_take(in, 1) + 1;
    u64 gpa;

    make_frame(frame, len);
    gpa = driver_fake_put(&z.g, frame, len);
    cut = min(cut, len - 1);
    add(TX, (struct driver_fake_buf[]){ { gpa, cut, false }, { gpa + cut, len - cut, false } }, 2);
}

static void step_arrive(struct fuzz_in *in)
{
    static u8 frame[FRAME + NET_HDR];
    u32 len = (u32)fuzz_take(in, 2) % FRAME + NET_HDR;

    make_frame(frame, len);
    frame[0] = (u8)fuzz_take(in, 1);
    frame[1] = (u8)(fuzz_take(in, 1) & 1);
    while (write(z.peer, frame, len) < 0 && errno == EINTR)
        ;
}

static void step_scribble(struct fuzz_in *in)
{
    u64 low = 1 * MiB, span = z.g.heap > low ? z.g.heap - low : 1;
    u64 at = low + fuzz_take(in, 3) % span, val = fuzz_take(in, 2);

    if (z.opts & OPT_WILD)
        mem_write(z.f->m.mem, at, &val, 2);
}

/* ---- what came of it ---- */

static void check_control(void)
{
    u16 id;
    u32 len;
    u8 ack;

    while (driver_fake_used(&z.g.q[CTRL], &id, &len)) {
        must(len == 1 && mem_read(z.f->m.mem, z.acks[id], &ack, 1) == 0);
        must(ack <= 1);
    }
}

/* Puts a frame together from its buffers. */
static void check_received(void)
{
    static u8 frame[(FRAME + 200) * 2];
    u16 id;
    u32 len, have = 0, left = 0;

    while (driver_fake_used(&z.g.q[RX], &id, &len)) {
        must(len <= z.rooms[id].len && have + len <= sizeof(frame));
        must(mem_read(z.f->m.mem, z.rooms[id].gpa, frame + have, len) == 0);
        if (have == 0)
            left = (u32)le_load(frame + 10, 2);
        must(left > 0 && (left == 1 || z.opts & OPT_MERGE));
        have += len;
        if (--left > 0)
            continue;
        must(is_frame(frame, have));
        have = 0;
    }
    must(have == 0); /* the buffers of a frame come together */
}

static u32 check_sent(void)
{
    static u8 frame[FRAME + 2 * NET_HDR];
    u32 n = 0, len;
    ssize_t r;
    u16 id;

    while (driver_fake_used(&z.g.q[TX], &id, &len))
        ;
    while ((r = read(z.peer, frame, sizeof(frame))) > 0) {
        must(z.opts & OPT_WILD || is_frame(frame, (u32)r));
        n++;
    }
    return n;
}

static void settle(void)
{
    for (u16 i = RX; i <= CTRL; i++)
        driver_fake_kick(&z.g, i);
    turn();
    if (z.opts & OPT_WILD) {
        static u8 sink[FRAME + 2 * NET_HDR];

        while (read(z.peer, sink, sizeof(sink)) > 0)
            ;
        return;
    }
    check_control();
    check_received();
    check_sent();
}

static void run(struct fuzz_in *in)
{
    for (u32 i = 0; i < STEPS_MAX && in->left; i++) {
        switch (fuzz_take(in, 1) % 8) {
        case 0:
            step_control(in);
            break;
        case 1:
            step_room(in);
            break;
        case 2:
            step_send(in);
            break;
        case 3:
            step_arrive(in);
            break;
        case 4:
            step_scribble(in);
            break;
        case 5:
            device_pause(z.d);
            device_resume(z.d);
            break;
        case 6:
            net_link_set(z.d, fuzz_take(in, 1) & 1);
            break;
        default:
            settle();
            break;
        }
    }
    settle();
}

FUZZ(net)
{
    struct fuzz_in in = { data, size };
    struct driver_fake_queue *q = &z.g.q[TX];
    u8 frame[NET_HDR + 60];
    u64 gpa;

    open_once();
    z.opts = (u8)fuzz_take(&in, 1);
    start();
    run(&in);
    device_reset(z.d);
    net_link_set(z.d, true);
    z.opts &= (u8)~OPT_WILD;
    start();
    for (u32 i = 0; i < STEPS_MAX; i++) /* takes what waited outside, drops it */
        step_room(&(struct fuzz_in){ (const u8 *)"\xff\xff", 2 });
    settle();
    make_frame(frame, sizeof(frame));
    gpa = driver_fake_put(&z.g, frame, sizeof(frame));
    must(driver_fake_add(q, &(struct driver_fake_buf){ gpa, sizeof(frame), false }, 1) >= 0);
    driver_fake_kick(&z.g, TX);
    turn();
    must(check_sent() == 1);
    device_reset(z.d);
}
