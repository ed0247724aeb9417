/*
 * dev/virtio/vsock_test.c: a guest's sockets and unix sockets of the host talk to each other; each way to get it wrong.
 */
#include "dev/virtio/driver_fake.h"
#include "dev/virtio/vsock_internal.h"
#include "mem/mem.h"
#include "testlib/test.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { CID = 5, RING = 128, ROOM = 44 + 4096, GUEST_ALLOC = 1 << 20 };

struct rig {
    struct fake_machine *f;
    struct machine_ops ops;
    struct device *d;
    struct vsock *s;
    struct driver_fake g;
    char path[100];
    u64 room_gpa[RING]; /* of each receive chain, by its id */
    u64 tx_gpa;         /* one place for what is sent: packets are taken at once */
    u32 fwd;            /* bytes received */
};

static int no_thread(void *, struct loop *, enum io_role)
{
    return 0;
}

static void drive(struct rig *t, u64 ring)
{
    CHECK(driver_fake_negotiate(&t->g, ring));
    for (u16 i = 0; i < VSOCK_QUEUES; i++)
        driver_fake_queue(&t->g, i, RING);
    driver_fake_ready(&t->g);
}

static void rig_init(struct rig *t)
{
    static u32 n;
    struct vsock_cfg cfg = { .cid = CID, .path = t->path };
    struct err e = {};

    *t = (struct rig){ .f = fake_machine_new() };
    t->ops = *t->f->m.ops;
    t->ops.io_start = no_thread;
    t->f->m.ops = &t->ops;
    str_fmt(t->path, sizeof(t->path), "%s/v%u", test_dir(), n++);
    CHECK_OK(device_new(&virtio_vsock_def, &t->f->m, "vsock0", &cfg, &t->d, &e), &e);
    t->s = container_of(vdev_of(t->d), struct vsock, v);
    driver_fake_init(&t->g, t->f, t->d);
    t->tx_gpa = driver_fake_alloc(&t->g, 44 + VSOCK_BUF, 16);
    drive(t, 0);
}

static void rig_fini(struct rig *t)
{
    device_free(t->d);
    fake_machine_free(t->f);
}

static void turn(struct rig *t)
{
    for (u32 i = 0; i < 3; i++)
        uv_run(&t->s->loop.uv, UV_RUN_NOWAIT);
}

static bool dialling(const struct rig *t)
{
    for (u32 i = 0; i < t->s->n_fresh; i++)
        if (t->s->conns[i].state == CONN_DIALLING)
            return true;
    return false;
}

/* Until the dialling process has answered. */
static void turn_dialled(struct rig *t)
{
    struct pollfd p = { .fd = t->s->dial, .events = POLLIN };

    turn(t);
    while (dialling(t)) {
        CHECK_EQ(poll(&p, 1, 10000), 1);
        turn(t);
    }
}

static void add_rooms(struct rig *t, u32 n)
{
    for (; n; n--) {
        u64 gpa = driver_fake_alloc(&t->g, ROOM, 16);
        int id =
            driver_fake_add(&t->g.q[VSOCK_RX], &(struct driver_fake_buf){ gpa, ROOM, true }, 1);

        CHECK(id >= 0);
        t->room_gpa[id] = gpa;
    }
    driver_fake_kick(&t->g, VSOCK_RX);
}

struct packet {
    u32 host_port, guest_port;
    u16 op;
    u32 flags;
    const void *data;
    u32 len;
};

static void send_raw(struct rig *t, const struct vsock_hdr *h, const void *data, u32 len)
{
    u16 id;
    u32 used;

    mem_write(t->f->m.mem, t->tx_gpa, h, sizeof(*h));
    if (len > 0)
        mem_write(t->f->m.mem, t->tx_gpa + sizeof(*h), data, len);
    CHECK(driver_fake_add(&t->g.q[VSOCK_TX],
                          (struct driver_fake_buf[]){ { t->tx_gpa, 44, false },
                                                      { t->tx_gpa + 44, len, false } },
                          len ? 2 : 1) >= 0);
    driver_fake_kick(&t->g, VSOCK_TX);
    turn(t);
    while (driver_fake_used(&t->g.q[VSOCK_TX], &id, &used))
        ;
}

static struct vsock_hdr header(const struct rig *t, const struct packet *p)
{
    return (struct vsock_hdr){ .src_cid = le64_of(CID),
                               .dst_cid = le64_of(2),
                               .src_port = le32_of(p->guest_port),
                               .dst_port = le32_of(p->host_port),
                               .len = le32_of(p->len),
                               .type = le16_of(1),
                               .op = le16_of(p->op),
                               .flags = le32_of(p->flags),
                               .buf_alloc = le32_of(GUEST_ALLOC),
                               .fwd_cnt = le32_of(t->fwd) };
}

static void send_packet(struct rig *t, const struct packet *p)
{
    struct vsock_hdr h = header(t, p);

    send_raw(t, &h, p->data, p->len);
}

/* The next packet of the device; its op, 0 when there is none.  Its data goes to `data`, of ROOM bytes. */
static u32 receive(struct rig *t, struct vsock_hdr *h, void *data)
{
    u16 id;
    u32 len;

    if (!driver_fake_used(&t->g.q[VSOCK_RX], &id, &len))
        return 0;
    mem_read(t->f->m.mem, t->room_gpa[id], h, sizeof(*h));
    CHECK_EQ(len, 44 + le32_get(h->len));
    CHECK_EQ(le64_get(h->src_cid), 2);
    CHECK_EQ(le64_get(h->dst_cid), CID);
    CHECK_EQ(le16_get(h->type), 1);
    CHECK_EQ(le32_get(h->buf_alloc), VSOCK_BUF);
    mem_read(t->f->m.mem, t->room_gpa[id] + 44, data, le32_get(h->len));
    if (le16_get(h->op) == VSOCK_OP_RW)
        t->fwd += le32_get(h->len);
    return le16_get(h->op);
}

static u32 next_op(struct rig *t)
{
    u8 data[ROOM];
    struct vsock_hdr h;

    return receive(t, &h, data);
}

static int at_path(const char *path, bool listens)
{
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    CHECK(str_copy(sa.sun_path, sizeof(sa.sun_path), path));
    if (listens) {
        CHECK_EQ(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
        CHECK_EQ(listen(fd, 8), 0);
    } else {
        CHECK_EQ(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
    }
    CHECK_EQ(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

/* The other end is closed: soon, for the dialling process has a copy of it for a moment. */
static bool at_end(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };
    u8 byte;

    return poll(&p, 1, 10000) == 1 && read(fd, &byte, 1) == 0;
}

/* The guest's port 1000 connected to the host's 99; the program's end. */
static int connect_guest(struct rig *t)
{
    char path[120];
    int listener, fd;

    str_fmt(path, sizeof(path), "%s_99", t->path);
    listener = at_path(path, true);
    add_rooms(t, 32);
    send_packet(t, &(struct packet){ 99, 1000, VSOCK_OP_REQUEST });
    turn_dialled(t);
    CHECK_EQ(next_op(t), VSOCK_OP_RESPONSE);
    fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    CHECK(fd >= 0);
    close(listener);
    return fd;
}

TEST(vsock_guest_connects)
{
    struct rig t;
    struct vsock_hdr h;
    u8 got[ROOM];
    int fd;

    rig_init(&t);
    CHECK_EQ(driver_fake_config(&t.g, 0, 4), CID);
    fd = connect_guest(&t);
    send_packet(&t, &(struct packet){ 99, 1000, VSOCK_OP_RW, 0, "hello", 5 });
    CHECK_EQ(read(fd, got, sizeof(got)), 5);
    CHECK_MEM(got, "hello", 5);
    CHECK_EQ(write(fd, "goodbye", 7), 7);
    turn(&t);
    CHECK_EQ(receive(&t, &h, got), VSOCK_OP_RW);
    CHECK_EQ(le32_get(h.len), 7);
    CHECK_MEM(got, "goodbye", 7);
    CHECK_EQ(le32_get(h.src_port), 99);
    CHECK_EQ(le32_get(h.dst_port), 1000);
    CHECK_EQ(le32_get(h.fwd_cnt), 5);
    send_packet(&t, &(struct packet){ 99, 1000, VSOCK_OP_CREDIT_REQUEST });
    CHECK_EQ(next_op(&t), VSOCK_OP_CREDIT_UPDATE);
    send_packet(&t, &(struct packet){ 99, 1000, VSOCK_OP_SHUTDOWN, VSOCK_SHUT_BOTH });
    CHECK_EQ(next_op(&t), VSOCK_OP_RST);
    CHECK(at_end(fd));
    CHECK_EQ(t.s->n_used, 0);
    CHECK_EQ(next_op(&t), 0);
    close(fd);
    rig_fini(&t);
}

TEST(vsock_half_closes)
{
    struct rig t;
    u8 got[16];
    int fd;

    rig_init(&t);
    fd = connect_guest(&t);
    CHECK_EQ(shutdown(fd, SHUT_WR), 0);
    turn(&t);
    CHECK_EQ(next_op(&t), VSOCK_OP_SHUTDOWN);
    send_packet(&t, &(struct packet){ 99, 1000, VSOCK_OP_RW, 0, "late", 4 });
    CHECK_EQ(read(fd, got, sizeof(got)), 4);
    CHECK_EQ(read(fd, got, sizeof(got)), -1);
    send_packet(&t, &(struct packet){ 99, 1000, VSOCK_OP_SHUTDOWN, VSOCK_SHUT_SEND });
    CHECK(at_end(fd));
    CHECK_EQ(next_op(&t), VSOCK_OP_RST); /* both are done */
    close(fd);
    rig_fini(&t);
}

TEST(vsock_program_vanishes)
{
    struct rig t;
    int fd;

    rig_init(&t);
    fd = connect_guest(&t);
    close(fd);
    turn(&t);
    CHECK_EQ(next_op(&t), VSOCK_OP_SHUTDOWN);
    send_packet(&t, &(struct packet){ 99, 1000, VSOCK_OP_RW, 0, "x", 1 });
    CHECK_EQ(next_op(&t), VSOCK_OP_RST);
    CHECK_EQ(t.s->n_used, 0);
    rig_fini(&t);
}

TEST(vsock_nobody_listens)
{
    struct rig t;

    rig_init(&t);
    add_rooms(&t, 4);
    send_packet(&t, &(struct packet){ 98, 1000, VSOCK_OP_REQUEST });
    turn_dialled(&t);
    CHECK_EQ(next_op(&t), VSOCK_OP_RST);
    CHECK_EQ(t.s->n_used, 0);
    /* a guest that does not wait for the answer */
    send_packet(&t, &(struct packet){ 98, 1001, VSOCK_OP_REQUEST });
    send_packet(&t, &(struct packet){ 98, 1001, VSOCK_OP_RST });
    turn(&t);
    CHECK_EQ(t.s->n_used, 0);
    rig_fini(&t);
}

TEST(vsock_host_connects)
{
    struct rig t;
    struct vsock_hdr h;
    u8 got[ROOM];
    char want[32];
    int fd;

    rig_init(&t);
    add_rooms(&t, 8);
    fd = at_path(t.path, false);
    CHECK_EQ(write(fd, "CONN", 4), 4);
    turn(&t);
    CHECK_EQ(next_op(&t), 0);
    CHECK_EQ(write(fd, "ECT 77\nearly", 12), 12);
    turn(&t);
    CHECK_EQ(receive(&t, &h, got), VSOCK_OP_REQUEST);
    CHECK_EQ(le32_get(h.dst_port), 77);
    CHECK_EQ(next_op(&t), 0);
    CHECK_EQ(read(fd, got, sizeof(got)), -1); /* not yet */
    send_packet(&t, &(struct packet){ le32_get(h.src_port), 77, VSOCK_OP_RESPONSE });
    str_fmt(want, sizeof(want), "OK %u\n", le32_get(h.src_port));
    CHECK_EQ(read(fd, got, sizeof(got)), strlen(want));
    CHECK_MEM(got, want, strlen(want));
    turn(&t);
    CHECK_EQ(receive(&t, &h, got), VSOCK_OP_RW);
    CHECK_MEM(got, "early", 5);
    send_packet(&t, &(struct packet){ le32_get(h.src_port), 77, VSOCK_OP_RST });
    CHECK(at_end(fd));
    close(fd);
    rig_fini(&t);
}

TEST(vsock_host_says_nonsense)
{
    static const char *const lines[] = {
        "CONNECT\n", "CONNECT x\n", "CONNECT 4294967296\n",
        "HELLO 1\n", "\n",          "CONNECT 1111111111111111111111111111111111111111111\n"
    };
    struct rig t;
    u8 byte;

    rig_init(&t);
    add_rooms(&t, 8);
    for_each_row(line, lines) {
        int fd = at_path(t.path, false);

        test_row(*line);
        CHECK_EQ(write(fd, *line, strlen(*line)), strlen(*line));
        turn(&t);
        turn(&t);
        CHECK(read(fd, &byte, 1) <= 0);
        CHECK_EQ(t.s->n_used, 0);
        CHECK_EQ(next_op(&t), 0);
        close(fd);
    }
    test_row(NULL);
    rig_fini(&t);
}

TEST(vsock_host_does_not_wait)
{
    struct rig t;
    struct vsock_hdr h;
    u8 got[ROOM];
    int fd;

    rig_init(&t);
    fd = at_path(t.path, false);
    CHECK_EQ(write(fd, "CONNECT 1\n", 10), 10);
    turn(&t);
    CHECK_EQ(t.s->n_used, 1);
    close(fd);
    turn(&t);
    CHECK_EQ(t.s->n_used, 0);
    add_rooms(&t, 4);
    turn(&t);
    CHECK_EQ(next_op(&t), 0); /* the guest never heard of it */
    fd = at_path(t.path, false);
    CHECK_EQ(write(fd, "CONNECT 1\n", 10), 10);
    turn(&t);
    CHECK_EQ(receive(&t, &h, got), VSOCK_OP_REQUEST);
    close(fd);
    turn(&t);
    CHECK_EQ(next_op(&t), VSOCK_OP_RST);
    rig_fini(&t);
}

/* A guest that obeys its credit moves any amount through a program that reads slowly. */
TEST(vsock_credit_of_the_guest)
{
    enum { TOTAL = 2 * 1024 * 1024, PART = 3000 };
    static u8 data[PART], got[TOTAL];
    u32 sent = 0, told = 0, have = 0;
    struct rig t;
    u8 scratch[ROOM];
    struct vsock_hdr h;
    int fd,
        small = 8192; /* so that the host's socket takes little, and the device keeps the rest */

    rig_init(&t);
    fd = connect_guest(&t);
    CHECK_EQ(setsockopt(t.s->conns[0].fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
    while (have < TOTAL) {
        u32 part = min((u32)PART, TOTAL - sent);
        ssize_t r;

        if (part > 0 && sent + part - told <= VSOCK_BUF) {
            for (u32 i = 0; i < part; i++)
                data[i] = (u8)((sent + i) * 13 >> 3);
            send_packet(&t, &(struct packet){ 99, 1000, VSOCK_OP_RW, 0, data, part });
            sent += part;
        } else {
            r = read(fd, got + have, min((u32)10007, TOTAL - have));
            CHECK(r > 0);
            have += (u32)r;
            turn(&t);
        }
        while (receive(&t, &h, scratch)) {
            CHECK_EQ(le16_get(h.op), VSOCK_OP_CREDIT_UPDATE);
            told = le32_get(h.fwd_cnt);
            add_rooms(&t, 1);
        }
    }
    for (u32 i = 0; i < TOTAL; i++)
        if (got[i] != (u8)(i * 13 >> 3))
            CHECK_EQ(i, TOTAL);
    CHECK_EQ(t.s->n_used, 1);
    close(fd);
    rig_fini(&t);
}

TEST(vsock_guest_beyond_its_credit)
{
    static u8 data[VSOCK_BUF];
    struct rig t;
    u32 op = 0, n = 0;
    int fd;

    rig_init(&t);
    fd = connect_guest(&t);
    while (n++ < 100 && op != VSOCK_OP_RST) {
        send_packet(&t, &(struct packet){ 99, 1000, VSOCK_OP_RW, 0, data, sizeof(data) });
        op = next_op(&t);
    }
    CHECK(n < 100);
    CHECK_EQ(t.s->n_used, 0);
    close(fd);
    rig_fini(&t);
}

TEST(vsock_credit_of_the_host)
{
    struct rig t;
    struct vsock_hdr h;
    u8 got[ROOM];
    int fd;

    rig_init(&t);
    fd = connect_guest(&t);
    h = header(&t, &(struct packet){ 99, 1000, VSOCK_OP_CREDIT_UPDATE });
    h.buf_alloc = le32_of(10);
    send_raw(&t, &h, NULL, 0);
    CHECK_EQ(write(fd, "0123456789abc", 13), 13);
    turn(&t);
    CHECK_EQ(receive(&t, &h, got), VSOCK_OP_RW);
    CHECK_EQ(le32_get(h.len), 10);
    CHECK_EQ(next_op(&t), VSOCK_OP_CREDIT_REQUEST);
    CHECK_EQ(next_op(&t), 0);
    h = header(&t, &(struct packet){ 99, 1000, VSOCK_OP_CREDIT_UPDATE });
    h.buf_alloc = le32_of(10);
    h.fwd_cnt = le32_of(7777); /* more than there was: no room, not a lot of it */
    send_raw(&t, &h, NULL, 0);
    turn(&t);
    CHECK_EQ(next_op(&t), 0);
    h.fwd_cnt = le32_of(10);
    send_raw(&t, &h, NULL, 0);
    turn(&t);
    CHECK_EQ(receive(&t, &h, got), VSOCK_OP_RW);
    CHECK_MEM(got, "abc", 3);
    close(fd);
    rig_fini(&t);
}

TEST(vsock_odd_packets)
{
    /* clang-format off */
    static const struct {
        const char *why;
        u64 src, dst;
        u16 type, op;
        u32 len, answer;
    } rows[] = {
        { "data for nobody",       CID,     2,          1, VSOCK_OP_RW,       0, VSOCK_OP_RST },
        { "response to nobody",    CID,     2,          1, VSOCK_OP_RESPONSE, 0, VSOCK_OP_RST },
        { "reset of nothing",      CID,     2,          1, VSOCK_OP_RST,      0, 0 },
        { "no such operation",     CID,     2,          1, 99,                0, VSOCK_OP_RST },
        { "no such type",          CID,     2,          2, VSOCK_OP_REQUEST,  0, VSOCK_OP_RST },
        { "a reset of that type",  CID,     2,          2, VSOCK_OP_RST,      0, 0 },
        { "from somebody else",    CID + 1, 2,          1, VSOCK_OP_REQUEST,  0, 0 },
        { "to somebody else",      CID,     CID,        1, VSOCK_OP_REQUEST,  0, 0 },
        { "to a huge id",          CID,     2ull << 32, 1, VSOCK_OP_REQUEST,  0, 0 },
        { "data that is not there", CID,    2,          1, VSOCK_OP_RW,       9, 0 },
    };
    /* clang-format on */
    struct rig t;

    rig_init(&t);
    add_rooms(&t, 32);
    for_each_row(r, rows) {
        struct vsock_hdr h = header(&t, &(struct packet){ 7, 8, r->op });

        ROW(r);
        h.src_cid = le64_of(r->src);
        h.dst_cid = le64_of(r->dst);
        h.type = le16_of(r->type);
        h.len = le32_of(r->len);
        send_raw(&t, &h, NULL, 0);
        CHECK_EQ(next_op(&t), r->answer);
        CHECK_EQ(next_op(&t), 0);
        CHECK_EQ(t.s->n_used, 0);
    }
    test_row(NULL);
    rig_fini(&t);
}

TEST(vsock_stops_for_a_bad_driver)
{
    struct rig t;
    u64 gpa;
    int fd;

    rig_init(&t);
    fd = connect_guest(&t);
    gpa = driver_fake_alloc(&t.g, 44, 16);
    while (next_op(&t))
        ;
    for (u32 i = 0; i < 40; i++) /* what is left of the good buffers, and one bad */
        driver_fake_add(&t.g.q[VSOCK_RX], &(struct driver_fake_buf){ gpa, 44, true }, 1);
    driver_fake_kick(&t.g, VSOCK_RX);
    for (u32 i = 0; i < 40; i++) {
        CHECK_EQ(write(fd, "x", 1), 1);
        turn(&t);
    }
    CHECK(driver_fake_status(&t.g) & VIRTIO_NEEDS_RESET);
    driver_fake_reset(&t.g);
    CHECK_EQ(t.s->n_used, 0);
    close(fd);
    rig_fini(&t);
}

/* A guest that provokes resets and takes none is not listened to; none is lost. */
TEST(vsock_resets_wait)
{
    enum { N = 300 };
    struct rig t;
    u64 gpa;
    struct vsock_hdr h;
    u32 sent = 0, got = 0;
    u16 id;
    u32 len;

    rig_init(&t);
    h = header(&t, &(struct packet){ 7, 8, VSOCK_OP_RW });
    gpa = driver_fake_put(&t.g, &h, sizeof(h));
    while (got < N) {
        while (sent < N && driver_fake_add(&t.g.q[VSOCK_TX],
                                           &(struct driver_fake_buf){ gpa, 44, false }, 1) >= 0)
            sent++;
        driver_fake_kick(&t.g, VSOCK_TX);
        turn(&t);
        turn(&t);
        while (driver_fake_used(&t.g.q[VSOCK_TX], &id, &len))
            ;
        CHECK(t.s->n_resets <= VSOCK_RESETS_MANY);
        if (sent == N || t.s->n_resets == VSOCK_RESETS_MANY) {
            add_rooms(&t, 20);
            turn(&t);
            while (next_op(&t) == VSOCK_OP_RST)
                got++;
        }
    }
    CHECK_EQ(got, N);
    CHECK_EQ(next_op(&t), 0);
    rig_fini(&t);
}

/* The dialling process is replaced by a socket at which nobody answers. */
TEST(vsock_has_a_limit_of_connections)
{
    struct rig t;
    int pair[2];
    u8 question[64];

    rig_init(&t);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
    loop_fd_close(&t.s->dial_watch);
    close(t.s->dial);
    t.s->dial = pair[0];
    add_rooms(&t, 4);
    for (u32 i = 0; i < VSOCK_CONNS_MAX; i++) {
        send_packet(&t, &(struct packet){ 1, i, VSOCK_OP_REQUEST });
        CHECK(read(pair[1], question, sizeof(question)) > 0);
    }
    CHECK_EQ(t.s->n_used, VSOCK_CONNS_MAX);
    CHECK_EQ(next_op(&t), 0);
    send_packet(&t, &(struct packet){ 1, VSOCK_CONNS_MAX, VSOCK_OP_REQUEST });
    CHECK_EQ(next_op(&t), VSOCK_OP_RST);
    send_packet(&t, &(struct packet){ 1, 500, VSOCK_OP_RST });
    send_packet(&t, &(struct packet){ 1, VSOCK_CONNS_MAX, VSOCK_OP_REQUEST });
    CHECK_EQ(t.s->n_used, VSOCK_CONNS_MAX);
    CHECK_EQ(next_op(&t), 0);
    driver_fake_reset(&t.g);
    CHECK_EQ(t.s->n_used, 0);
    CHECK_EQ(t.s->n_live, 0);
    close(pair[1]);
    rig_fini(&t);
}

/* Connections outlive a pause; a guest that was saved with connections and is loaded elsewhere hears that they are gone. */
TEST(vsock_pause_and_load)
{
    struct rig t;
    u8 got[ROOM];
    u64 gpa;
    u16 id;
    u32 len;
    int fd;

    rig_init(&t);
    fd = connect_guest(&t);
    device_pause(t.d);
    CHECK_EQ(t.s->st.live, 1);
    CHECK_EQ(write(fd, "x", 1), 1);
    turn(&t);
    device_resume(t.d);
    turn(&t);
    CHECK_EQ(next_op(&t), VSOCK_OP_RW);
    device_pause(t.d);
    t.s->st.live = 3; /* as if loaded */
    device_resume(t.d);
    turn(&t);
    CHECK(at_end(fd));
    CHECK_EQ(t.s->n_used, 0);
    device_pause(t.d);
    CHECK_EQ(t.s->st.live, 1); /* still owed */
    device_resume(t.d);
    gpa = driver_fake_put(&t.g, "\xee\xee\xee\xee", 4);
    driver_fake_add(&t.g.q[VSOCK_EVENT], &(struct driver_fake_buf){ gpa, 4, true }, 1);
    driver_fake_kick(&t.g, VSOCK_EVENT);
    turn(&t);
    CHECK(driver_fake_used(&t.g.q[VSOCK_EVENT], &id, &len));
    CHECK_EQ(len, 4);
    mem_read(t.f->m.mem, gpa, got, 4);
    CHECK_MEM(got, "\0\0\0\0", 4);
    device_pause(t.d);
    CHECK_EQ(t.s->st.live, 0);
    close(fd);
    rig_fini(&t);
}

TEST(vsock_refuses_wrong_configurations)
{
    struct fake_machine *f = fake_machine_new();
    char *taken = str_new("%s/taken", test_dir());
    const struct {
        const char *why;
        struct vsock_cfg cfg;
        const char *text;
    } rows[] = {
        { "the host's id", { 2, NULL }, "'cid' is 2" },
        { "a folder that is not there", { 3, (char[]){ "/nonexistent/vsock" } }, "listen at" },
        { "somebody listens there", { 3, taken }, "in use" },
    };
    int fd = at_path(taken, true);

    for_each_row(r, rows) {
        struct device *d = NULL;
        struct err e = {};

        ROW(r);
        CHECK(device_new(&virtio_vsock_def, &f->m, "vsock0", &r->cfg, &d, &e) < 0);
        CHECK_HAS(e.text, r->text);
    }
    test_row(NULL);
    close(fd);
    auto_free(&taken);
    fake_machine_free(f);
}
