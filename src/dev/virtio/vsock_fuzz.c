/*
 * dev/virtio/vsock_fuzz.c: any packets of a guest, any programs of the host, in any order.
 * Oracle: the connections, their counts, buckets and lists agree after each step; resets stay bounded; after all of it a reset
 * leaves nothing behind and a connection can be made.
 */
#include "dev/virtio/driver_fake.h"
#include "dev/virtio/vsock_internal.h"
#include "mem/mem.h"
#include "testlib/fuzz.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { CID = 3, RING = 64, ROOM = 44 + 600, PROGRAMS = 8, STEPS_MAX = 200, DATA_MAX = 2048 };

static struct {
    struct fake_machine *f;
    struct machine_ops ops;
    struct device *d;
    struct vsock *s;
    struct driver_fake g;
    int dial;                /* the other end of the device's: answers are made here */
    struct sockaddr_un path; /* of the listener, which has no file */
    socklen_t path_len;
    int programs[PROGRAMS]; /* the host's ends of connections; -1 */
    bool wild;
} z;

static int no_thread(void *, struct loop *, enum io_role)
{
    return 0;
}

/* Instead of paths in a folder: a listener without a name, and a dialling process that is this function's socket. */
static void open_host(void)
{
    struct sockaddr_un any = { .sun_family = AF_UNIX };
    int pair[2];

    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    z.dial = pair[1];
    z.s->dial = pair[0];
    z.s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    must(bind(z.s->listener, (struct sockaddr *)&any, sizeof(sa_family_t)) == 0);
    must(listen(z.s->listener, PROGRAMS) == 0);
    z.path_len = sizeof(z.path);
    must(getsockname(z.s->listener, (struct sockaddr *)&z.path, &z.path_len) == 0);
    must(loop_fd_open(&z.s->loop, &z.s->listen_watch, z.s->listener, 0, vsock_on_listener, z.s) ==
         0);
    must(loop_fd_open(&z.s->loop, &z.s->dial_watch, z.s->dial, UV_READABLE, vsock_on_dial, z.s) ==
         0);
}

static void open_once(void)
{
    const struct vsock_cfg cfg = { .cid = CID };

    if (z.f)
        return;
    z.f = fake_machine_new();
    z.ops = *z.f->m.ops;
    z.ops.io_start = no_thread;
    z.f->m.ops = &z.ops;
    must(device_new(&virtio_vsock_def, &z.f->m, "vsock0", &cfg, &z.d, NULL) == 0);
    z.s = container_of(vdev_of(z.d), struct vsock, v);
    open_host();
    for_each_row(p, z.programs)
        *p = -1;
}

static void start(void)
{
    /* Rings are believed to begin with zeroes; a wild driver makes the device write anywhere. */
    must(mem_discard(z.f->m.mem, 1 * MiB, 63 * MiB) == 0);
    driver_fake_init(&z.g, z.f, z.d);
    must(driver_fake_negotiate(&z.g, 0));
    for (u16 i = 0; i < VSOCK_QUEUES; i++)
        driver_fake_queue(&z.g, i, RING);
    driver_fake_ready(&z.g);
}

static void turn(void)
{
    for (u32 i = 0; i < 3; i++)
        uv_run(&z.s->loop.uv, UV_RUN_NOWAIT);
}

static int *free_program(void)
{
    for_each_row(p, z.programs)
        if (*p < 0)
            return p;
    fd_close(&z.programs[0]);
    return &z.programs[0];
}

/* ---- steps ---- */

static void step_packet(struct fuzz_in *in)
{
    static const u8 fill[DATA_MAX];
    u32 what = (u32)fuzz_take(in, 1), len = what & 8 ? (u32)fuzz_take(in, 2) % DATA_MAX : 0;
    u32 live = (u32)fuzz_take(in, 1);
    struct vsock_conn *c = &z.s->conns[z.s->n_fresh ? live % z.s->n_fresh : 0];
    struct vsock_hdr h = {
        .src_cid = le64_of(what == 0xff ? fuzz_take(in, 8) : CID),
        .dst_cid = le64_of(what == 0xfe ? fuzz_take(in, 8) : VSOCK_CID_HOST),
        .src_port = le32_of(what & 0x10 ? c->guest_port : live % 8),
        .dst_port = le32_of(what & 0x10 ? c->host_port : live / 8),
        .len = le32_of(what == 0xfd ? (u32)fuzz_take(in, 4) : len),
        .type = le16_of(what == 0xfc ? (u16)fuzz_take(in, 2) : VSOCK_STREAM),
        .op = le16_of(what & 7 ? what & 7 : (u16)fuzz_take(in, 1)),
        .flags = le32_of(what & 0x20 ? 3 : (u32)fuzz_take(in, 1)),
        .buf_alloc = le32_of(what & 0x40 ? 0x10000 : (u32)fuzz_take(in, 4)),
        .fwd_cnt = le32_of(what & 0x80 ? c->sent : (u32)fuzz_take(in, 4)),
    };
    struct driver_fake_buf bufs[2] = { { driver_fake_put(&z.g, &h, sizeof(h)), sizeof(h), false } };

    bufs[1] = (struct driver_fake_buf){ driver_fake_put(&z.g, fill, len), len, false };
    driver_fake_add(&z.g.q[VSOCK_TX], bufs, len ? 2 : 1);
    driver_fake_kick(&z.g, VSOCK_TX);
}

static void step_room(u32 n)
{
    for (; n; n--) {
        u64 gpa = driver_fake_alloc(&z.g, ROOM, 1);

        driver_fake_add(&z.g.q[VSOCK_RX], &(struct driver_fake_buf){ gpa, ROOM, true }, 1);
    }
    driver_fake_kick(&z.g, VSOCK_RX);
}

/* As net/dial.c on the wire: {cookie, number, 0} is answered by {cookie, code, 0} and a descriptor. */
static void step_answer(struct fuzz_in *in)
{
    u8 message[16];
    struct iovec iov = { message, sizeof(message) };
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = { .align = { .cmsg_len = CMSG_LEN(sizeof(int)),
                             .cmsg_level = SOL_SOCKET,
                             .cmsg_type = SCM_RIGHTS } };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
    int pair[2] = { -1, -1 };

    if (read(z.dial, message, sizeof(message)) != sizeof(message))
        return;
    if (fuzz_take(in, 1) & 1) {
        le_store(message + 8, 4, (u32)-ECONNREFUSED);
        must(sendmsg(z.dial, &m, MSG_NOSIGNAL) == sizeof(message));
        return;
    }
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    le_store(message + 8, 4, 0);
    memcpy(CMSG_DATA(&control.align), &pair[0], sizeof(int));
    m.msg_control = control.bytes;
    m.msg_controllen = sizeof(control.bytes);
    must(sendmsg(z.dial, &m, MSG_NOSIGNAL) == sizeof(message));
    close(pair[0]);
    *free_program() = pair[1];
}

static void step_program(struct fuzz_in *in)
{
    static char data[DATA_MAX];
    u32 how = (u32)fuzz_take(in, 1);
    int *p = &z.programs[how % PROGRAMS];
    char text[64];

    switch (how / PROGRAMS % 6) {
    case 0:
        p = free_program();
        *p = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (connect(*p, (struct sockaddr *)&z.path, z.path_len) < 0)
            fd_close(p);
        break;
    case 1:
        str_fmt(text, sizeof(text), "CONNECT %u\n", (u32)fuzz_take(in, 1));
        send(*p, text, strlen(text), MSG_NOSIGNAL);
        break;
    case 2:
        send(*p, data, fuzz_take(in, 2) % DATA_MAX, MSG_NOSIGNAL);
        break;
    case 3:
        while (recv(*p, data, sizeof(data), 0) > 0)
            ;
        break;
    case 4:
        shutdown(*p, fuzz_take(in, 1) & 1 ? SHUT_WR : SHUT_RD);
        break;
    default:
        fd_close(p);
        break;
    }
}

static void step_scribble(struct fuzz_in *in)
{
    u64 low = 1 * MiB, span = z.g.heap > low ? z.g.heap - low : 1;
    u64 at = low + fuzz_take(in, 3) % span, val = fuzz_take(in, 2);

    z.wild = true;
    mem_write(z.f->m.mem, at, &val, 2);
}

/* ---- what must hold ---- */

static void check_counts(void)
{
    u32 used = 0, live = 0, free_ones = 0, chained = 0, owing = 0;
    const struct vsock *s = z.s;

    for (u32 i = 0; i < s->n_fresh; i++) {
        const struct vsock_conn *c = &s->conns[i];

        used += c->state != CONN_FREE;
        live += c->state != CONN_FREE && c->state != CONN_GREETING;
        must(c->buf_len <= VSOCK_BUF && (c->state != CONN_FREE || c->fd < 0));
        owing += c->owing;
        must(!c->owe || c->owing);
    }
    must(used == s->n_used && live == s->n_live);
    for (u16 i = s->free; i; i = s->conns[i - 1].next)
        must(++free_ones <= s->n_fresh);
    must(free_ones + used == s->n_fresh);
    for (u32 b = 0; b < VSOCK_BUCKETS; b++)
        for (u16 i = s->buckets[b]; i; i = s->conns[i - 1].next)
            must(++chained <= live && s->conns[i - 1].state != CONN_FREE);
    must(chained == live);
    for (u16 i = s->owing; i; i = s->conns[i - 1].next_owing)
        must(owing-- > 0);
    must(owing == 0 && s->n_resets <= VSOCK_RESETS_MAX);
}

static void settle(void)
{
    u16 id;
    u32 len;

    turn();
    for (u32 q = 0; q < VSOCK_QUEUES && !z.wild; q++)
        while (driver_fake_used(&z.g.q[q], &id, &len))
            must(len <= ROOM);
    check_counts();
}

static void run(struct fuzz_in *in)
{
    for (u32 i = 0; i < STEPS_MAX && in->left; i++) {
        switch (fuzz_take(in, 1) % 8) {
        case 0:
        case 1:
            step_packet(in);
            break;
        case 2:
            step_room((u32)fuzz_take(in, 1) % 16);
            break;
        case 3:
            step_answer(in);
            break;
        case 4:
        case 5:
            step_program(in);
            break;
        case 6:
            if (fuzz_take(in, 1) == 0xff)
                step_scribble(in);
            break;
        default:
            device_pause(z.d);
            z.s->st.live += fuzz_take(in, 1) == 0xff; /* another's state */
            device_resume(z.d);
            break;
        }
        settle();
    }
}

static void check_works(void)
{
    static const u8 yes[1];
    struct vsock_hdr h = { .src_cid = le64_of(CID),
                           .dst_cid = le64_of(VSOCK_CID_HOST),
                           .src_port = le32_of(1),
                           .dst_port = le32_of(2),
                           .type = le16_of(VSOCK_STREAM),
                           .op = le16_of(VSOCK_OP_REQUEST) };
    u64 gpa = driver_fake_put(&z.g, &h, sizeof(h));
    u16 id;
    u32 len;

    step_room(1);
    must(driver_fake_add(&z.g.q[VSOCK_TX], &(struct driver_fake_buf){ gpa, sizeof(h), false }, 1) >=
         0);
    driver_fake_kick(&z.g, VSOCK_TX);
    turn();
    step_answer(&(struct fuzz_in){ yes, 1 });
    turn();
    must(driver_fake_used(&z.g.q[VSOCK_RX], &id, &len) && len == sizeof(h));
    must(z.s->n_live == 1);
}

FUZZ(vsock)
{
    struct fuzz_in in = { data, size };
    u8 question[16];

    open_once();
    z.wild = false;
    start();
    run(&in);
    device_reset(z.d);
    for_each_row(p, z.programs)
        fd_close(p);
    while (read(z.dial, question, sizeof(question)) > 0)
        ;
    z.wild = false;
    start();
    for (u32 i = 0; i <= VSOCK_LINE_MAX; i++) /* programs that called, byte by byte, and went */
        turn();
    must(z.s->n_used == 0 && z.s->n_live == 0 && z.s->n_resets == 0);
    check_works();
    device_reset(z.d);
    must(z.s->n_used == 0);
    for_each_row(p, z.programs)
        fd_close(p);
}
