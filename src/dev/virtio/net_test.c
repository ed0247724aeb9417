/*
 * dev/virtio/net_test.c: a driver talks to the virtio network card, whose other side is a socket pair of ours.
 */
#include "dev/virtio/driver_fake.h"
#include "dev/virtio/net_internal.h"
#include "mem/mem.h"
#include "net/tap.h"
#include "testlib/test.h"

#include <sys/socket.h>
#include <unistd.h>

enum { RX, TX, CTRL, RING = 64, BUF = 512 };
#define F_BASE (NET_F_MAC | NET_F_STATUS | NET_F_CTRL_VQ | NET_F_CTRL_RX | NET_F_CTRL_MAC_ADDR)

struct rig {
    struct fake_machine *f;
    struct machine_ops ops;
    struct device *d;
    struct net *n;
    struct driver_fake g;
    int peer;
};

/* The card's loop is turned by the test, not by a thread. */
static int no_thread(void *, struct loop *, enum io_role)
{
    return 0;
}

static void rig_cfg(struct rig *t, const struct net_cfg *cfg)
{
    struct err e = {};

    t->f = fake_machine_new();
    t->ops = *t->f->m.ops;
    t->ops.io_start = no_thread;
    t->f->m.ops = &t->ops;
    CHECK_OK(device_new(&virtio_net_def, &t->f->m, "net0", cfg, &t->d, &e), &e);
    t->n = container_of(vdev_of(t->d), struct net, v);
    driver_fake_init(&t->g, t->f, t->d);
}

static void rig_init(struct rig *t)
{
    static char mac[] = "52:54:00:12:34:56";
    int pair[2];

    CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    t->peer = pair[1];
    rig_cfg(t, &(struct net_cfg){ .kind = NET_TAP, .fd = (u32)pair[0], .mac = mac, .mtu = 1400 });
}

static void rig_drive(struct rig *t, u64 features)
{
    CHECK(driver_fake_negotiate(&t->g, F_BASE | features));
    for (u16 i = RX; i <= CTRL; i++)
        driver_fake_queue(&t->g, i, RING);
    driver_fake_ready(&t->g);
}

static void rig_fini(struct rig *t)
{
    device_free(t->d);
    fake_machine_free(t->f);
    fd_close(&t->peer);
}

static void turn(struct rig *t)
{
    uv_run(&t->n->loop.uv, UV_RUN_NOWAIT);
    uv_run(&t->n->loop.uv, UV_RUN_NOWAIT);
}

static u64 stat_of(struct rig *t, enum net_stat s)
{
    return atomic_load(&t->n->pairs[0].stats[s]);
}

static void send_frame(struct rig *t, const u8 *bytes, u32 len)
{
    struct driver_fake_buf bufs[2] = {
        { driver_fake_put(&t->g, bytes, min(len, 12u)), min(len, 12u), false },
        { driver_fake_put(&t->g, bytes + min(len, 12u), len - min(len, 12u)), len - min(len, 12u),
          false },
    };

    CHECK(driver_fake_add(&t->g.q[TX], bufs, len > 12 ? 2 : 1) >= 0);
}

static u64 add_room(struct rig *t, u32 len)
{
    u64 gpa = driver_fake_alloc(&t->g, len, 16);

    CHECK(driver_fake_add(&t->g.q[RX], &(struct driver_fake_buf){ gpa, len, true }, 1) >= 0);
    return gpa;
}

static void fill(u8 *frame, u32 len)
{
    memset(frame, 0, NET_HDR);
    for (u32 i = NET_HDR; i < len; i++)
        frame[i] = (u8)(i * 7);
}

static u32 n_used(struct rig *t, u16 queue)
{
    u16 id;
    u32 len, n = 0;

    while (driver_fake_used(&t->g.q[queue], &id, &len))
        n++;
    return n;
}

TEST(net_offers_what_its_backend_can)
{
    const u64 never = NET_F_CSUM | NET_F_GUEST_TSO4 | NET_F_MQ | NET_F_CTRL_GUEST_OFFLOADS;
    struct rig t;

    rig_init(&t);
    CHECK_EQ(driver_fake_offered(&t.g) & F_BASE, F_BASE);
    CHECK_EQ(driver_fake_offered(&t.g) & never, 0);
    CHECK(driver_fake_offered(&t.g) & NET_F_MTU);
    CHECK_EQ(driver_fake_config(&t.g, CFG_MAC, 4), 0x12005452);
    CHECK_EQ(driver_fake_config(&t.g, CFG_STATUS, 2), NET_STATUS_LINK_UP);
    CHECK_EQ(driver_fake_config(&t.g, CFG_MAX_PAIRS, 2), 1);
    CHECK_EQ(driver_fake_config(&t.g, CFG_MTU, 2), 1400);
    rig_fini(&t);
}

TEST(net_sends)
{
    u8 frame[NET_HDR + 100], got[200];
    struct rig t;

    rig_init(&t);
    rig_drive(&t, 0);
    fill(frame, sizeof(frame));
    for (u32 i = 0; i < 40; i++) {
        send_frame(&t, frame, sizeof(frame) - i);
        driver_fake_kick(&t.g, TX);
        turn(&t);
        CHECK_EQ(read(t.peer, got, sizeof(got)), sizeof(frame) - i);
        CHECK_MEM(got, frame, sizeof(frame) - i);
        CHECK_EQ(n_used(&t, TX), 1);
    }
    CHECK_EQ(stat_of(&t, STAT_tx_frames), 40);
    CHECK_EQ(stat_of(&t, STAT_tx_drops), 0);
    rig_fini(&t);
}

/* More than one budget's worth goes out without a second kick. */
TEST(net_sends_what_is_left_of_a_budget)
{
    u8 frame[NET_HDR + 14];
    struct rig t;
    u32 n = 0;

    rig_init(&t);
    CHECK(driver_fake_negotiate(&t.g, F_BASE));
    driver_fake_queue(&t.g, TX, 256);
    driver_fake_ready(&t.g);
    fill(frame, sizeof(frame));
    for (u32 i = 0; i < 2 * NET_BUDGET - 1; i++) {
        u64 gpa = driver_fake_put(&t.g, frame, sizeof(frame));

        driver_fake_add(&t.g.q[TX], &(struct driver_fake_buf){ gpa, sizeof(frame), false }, 1);
    }
    driver_fake_kick(&t.g, TX);
    uv_run(&t.n->loop.uv, UV_RUN_NOWAIT);
    CHECK_EQ(n_used(&t, TX), NET_BUDGET);
    while (read(t.peer, frame, sizeof(frame)) > 0)
        n++;
    turn(&t);
    CHECK_EQ(n_used(&t, TX), NET_BUDGET - 1);
    while (read(t.peer, frame, sizeof(frame)) > 0)
        n++;
    CHECK_EQ(n + stat_of(&t, STAT_tx_drops), 2 * NET_BUDGET - 1);
    rig_fini(&t);
}

TEST(net_receives)
{
    u8 frame[NET_HDR + 100], got[sizeof(frame)];
    struct rig t;
    u16 id;
    u32 len;
    u64 gpa;

    rig_init(&t);
    rig_drive(&t, 0);
    fill(frame, sizeof(frame));
    frame[0] = 2; /* DATA_VALID, which this driver does not know */
    CHECK_EQ(write(t.peer, frame, sizeof(frame)), sizeof(frame));
    turn(&t); /* nothing to put it in: it waits outside */
    gpa = add_room(&t, 1526);
    driver_fake_kick(&t.g, RX);
    turn(&t);
    CHECK(driver_fake_used(&t.g.q[RX], &id, &len));
    CHECK_EQ(len, sizeof(frame));
    frame[0] = 0;
    frame[10] = 1; /* buffers */
    mem_read(t.f->m.mem, gpa, got, sizeof(got));
    CHECK_MEM(got, frame, sizeof(frame));
    CHECK_EQ(stat_of(&t, STAT_rx_frames), 1);
    CHECK_EQ(stat_of(&t, STAT_rx_bytes), 100);
    rig_fini(&t);
}

TEST(net_drops_what_does_not_fit)
{
    u8 frame[NET_HDR + 1000];
    struct rig t;

    rig_init(&t);
    rig_drive(&t, 0);
    fill(frame, sizeof(frame));
    add_room(&t, BUF);
    add_room(&t, BUF);
    driver_fake_kick(&t.g, RX);
    CHECK_EQ(write(t.peer, frame, sizeof(frame)), sizeof(frame));
    frame[1] = 1; /* a segment for a driver that wants none */
    CHECK_EQ(write(t.peer, frame, 100), 100);
    CHECK_EQ(write(t.peer, frame, 5), 5);
    turn(&t);
    CHECK_EQ(n_used(&t, RX), 0);
    CHECK_EQ(stat_of(&t, STAT_rx_drops), 3);
    frame[1] = 0;
    CHECK_EQ(write(t.peer, frame, 100), 100);
    turn(&t);
    CHECK_EQ(n_used(&t, RX), 1); /* the buffer that was tried is used next */
    rig_fini(&t);
}

static void merge(u64 ring)
{
    enum { LEN = NET_HDR + 1300 };
    u8 frame[LEN], got[3 * BUF];
    u64 gpa[4];
    struct rig t;
    u16 id;
    u32 len;

    rig_init(&t);
    rig_drive(&t, NET_F_MRG_RXBUF | ring);
    fill(frame, LEN);
    for (u32 round = 0; round < 50; round++) {
        gpa[0] = add_room(&t, BUF);
        gpa[1] = add_room(&t, BUF);
        driver_fake_kick(&t.g, RX);
        CHECK_EQ(write(t.peer, frame, LEN), LEN);
        turn(&t);
        CHECK_EQ(n_used(&t, RX), 0); /* not before all of it is there */
        gpa[2] = add_room(&t, BUF);
        driver_fake_kick(&t.g, RX);
        turn(&t);
        for (u32 i = 0; i < 3; i++) {
            CHECK(driver_fake_used(&t.g.q[RX], &id, &len));
            CHECK_EQ(len, i < 2 ? BUF : LEN - 2 * BUF);
            mem_read(t.f->m.mem, gpa[i], got + i * BUF, len);
        }
        frame[10] = 3;
        CHECK_MEM(got, frame, LEN);
        CHECK_EQ(n_used(&t, RX), 0);
    }
    CHECK_EQ(stat_of(&t, STAT_rx_frames), 50);
    rig_fini(&t);
}

TEST(net_merges_buffers)
{
    merge(0);
    merge(VIRTIO_F_RING_PACKED);
    merge(VIRTIO_F_EVENT_IDX);
    merge(VIRTIO_F_EVENT_IDX | VIRTIO_F_RING_PACKED | VIRTIO_F_INDIRECT_DESC);
}

static void pause_while_waiting(u64 ring)
{
    enum { LEN = NET_HDR + 1300 };
    u8 frame[LEN];
    struct rig t;

    rig_init(&t);
    rig_drive(&t, NET_F_MRG_RXBUF | ring);
    fill(frame, LEN);
    add_room(&t, BUF);
    add_room(&t, BUF);
    driver_fake_kick(&t.g, RX);
    CHECK_EQ(write(t.peer, frame, LEN), LEN);
    turn(&t);
    device_pause(t.d);
    CHECK_EQ(stat_of(&t, STAT_rx_drops), 1); /* state is only what the guest can see */
    device_resume(t.d);
    CHECK_EQ(write(t.peer, frame, 2 * BUF), 2 * BUF);
    turn(&t);
    CHECK_EQ(n_used(&t, RX), 2);
    CHECK_EQ(driver_fake_status(&t.g) & VIRTIO_NEEDS_RESET, 0);
    rig_fini(&t);
}

TEST(net_gives_buffers_back_at_a_pause)
{
    pause_while_waiting(0);
    pause_while_waiting(VIRTIO_F_RING_PACKED);
}

TEST(net_cable_out)
{
    u8 frame[NET_HDR + 100], got[200];
    struct rig t;

    rig_init(&t);
    rig_drive(&t, 0);
    fill(frame, sizeof(frame));
    net_link_set(t.d, false);
    CHECK_EQ(driver_fake_config(&t.g, CFG_STATUS, 2), 0);
    send_frame(&t, frame, sizeof(frame));
    driver_fake_kick(&t.g, TX);
    add_room(&t, BUF);
    driver_fake_kick(&t.g, RX);
    CHECK_EQ(write(t.peer, frame, sizeof(frame)), sizeof(frame));
    turn(&t);
    CHECK_EQ(n_used(&t, TX), 1);
    CHECK_EQ(n_used(&t, RX), 0);
    CHECK(read(t.peer, got, sizeof(got)) < 0);
    CHECK_EQ(stat_of(&t, STAT_tx_drops), 1);
    CHECK_EQ(stat_of(&t, STAT_rx_drops), 1);
    net_link_set(t.d, true);
    send_frame(&t, frame, sizeof(frame));
    driver_fake_kick(&t.g, TX);
    turn(&t);
    CHECK_EQ(read(t.peer, got, sizeof(got)), sizeof(frame));
    rig_fini(&t);
}

/* What makes the driver at fault; then a reset, after which the card works. */
TEST(net_stops_for_a_bad_driver)
{
    enum { SHORT_TX, NO_HEADER, SHORT_RX, NO_ACK, CASES };
    u8 frame[NET_HDR + 100], got[200];
    struct rig t;

    rig_init(&t);
    fill(frame, sizeof(frame));
    for (u32 i = 0; i < CASES; i++) {
        rig_drive(&t, 0);
        if (i == SHORT_TX || i == NO_HEADER)
            send_frame(&t, frame, i == SHORT_TX ? NET_HDR : 3);
        if (i == SHORT_RX)
            add_room(&t, NET_HDR);
        if (i == NO_ACK)
            driver_fake_add(
                &t.g.q[CTRL],
                &(struct driver_fake_buf){ driver_fake_put(&t.g, "\1\1abcdef", 8), 8, false }, 1);
        for (u16 q = RX; q <= CTRL; q++)
            driver_fake_kick(&t.g, q);
        CHECK_EQ(write(t.peer, frame, sizeof(frame)), sizeof(frame));
        turn(&t);
        CHECK(driver_fake_status(&t.g) & VIRTIO_NEEDS_RESET);
        turn(&t);
        driver_fake_reset(&t.g);
    }
    rig_drive(&t, 0);
    send_frame(&t, frame, sizeof(frame));
    driver_fake_kick(&t.g, TX);
    turn(&t);
    CHECK_EQ(read(t.peer, got, sizeof(got)), sizeof(frame));
    rig_fini(&t);
}

static u8 control(struct rig *t, const void *bytes, u32 len)
{
    u64 ack = driver_fake_put(&t->g, "\xee", 1);
    struct driver_fake_buf bufs[] = {
        { driver_fake_put(&t->g, bytes, 2), 2, false },
        { driver_fake_put(&t->g, (const u8 *)bytes + 2, len - 2), len - 2, false },
        { ack, 1, true },
    };
    u8 got = 0;

    CHECK(driver_fake_add(&t->g.q[CTRL], bufs, 3) >= 0);
    driver_fake_kick(&t->g, CTRL);
    turn(t);
    CHECK_EQ(n_used(t, CTRL), 1);
    mem_read(t->f->m.mem, ack, &got, 1);
    return got;
}

TEST(net_control_commands)
{
    /* clang-format off */
    static const struct {
        const char *why;
        const char *bytes;
        u32 len;
        u8 ack;
    } rows[] = {
        { "promiscuous",              "\0\0\1",                                    3,  0 },
        { "all multicast off",        "\0\1\0",                                    3,  0 },
        { "neither on nor off",       "\0\0\2",                                    3,  1 },
        { "an extra that was not negotiated", "\0\3\1",                            3,  1 },
        { "no such RX command",       "\0\6\1",                                    3,  1 },
        { "address",                  "\1\1\x52\x54\0\1\2\3",                      8,  0 },
        { "multicast address",        "\1\1\x53\x54\0\1\2\3",                      8,  1 },
        { "half an address",          "\1\1\x52\x54\0",                            5,  1 },
        { "address tables",           "\1\0\1\0\0\0\x52\x54\0\1\2\3\0\0\0\0",      16, 0 },
        { "one table",                "\1\0\1\0\0\0\x52\x54\0\1\2\3",              12, 1 },
        { "a table that is not there", "\1\0\xff\xff\xff\xff\0\0",                 8,  1 },
        { "pairs without MQ",         "\4\0\1\0",                                  4,  1 },
        { "offloads without offloads", "\5\0\0\0\0\0\0\0\0\0",                     10, 1 },
        { "no such class",            "\x77\0\0",                                  3,  1 },
    };
    /* clang-format on */
    struct rig t;

    rig_init(&t);
    rig_drive(&t, 0);
    for_each_row(r, rows) {
        ROW(r);
        CHECK_EQ(control(&t, r->bytes, r->len), r->ack);
    }
    test_row(NULL);
    CHECK_EQ(t.n->st.rx_mode, 1);
    CHECK_EQ(driver_fake_config(&t.g, CFG_MAC, 4), 0x01005452);
    driver_fake_reset(&t.g);
    CHECK_EQ(driver_fake_config(&t.g, CFG_MAC, 4), 0x12005452); /* the permanent one */
    CHECK_EQ(t.n->st.rx_mode, 0);
    rig_fini(&t);
}

TEST(net_on_a_tap_has_offloads_and_pairs)
{
    struct net_cfg cfg = { .kind = NET_TAP, .ifname = (char[]){ "soclemq%d" }, .queues = 3 };
    struct rig t = { .peer = -1 };
    struct net_backend *probe;

    if (access("/dev/net/tun", R_OK | W_OK) < 0)
        test_skip("no /dev/net/tun");
    if (tap_open(cfg.ifname, 1, &probe, NULL) < 0)
        test_skip("no right to make a tap interface");
    net_free(probe);
    rig_cfg(&t, &cfg);
    CHECK(driver_fake_negotiate(&t.g, F_BASE | NET_F_MQ | NET_F_CSUM | NET_F_GUEST_CSUM |
                                          NET_F_GUEST_TSO4 | NET_F_HOST_TSO4 |
                                          NET_F_CTRL_GUEST_OFFLOADS | NET_F_MRG_RXBUF));
    for (u16 i = 0; i <= 6; i++)
        driver_fake_queue(&t.g, i, RING);
    driver_fake_ready(&t.g);
    CHECK_EQ(t.n->st.offloads, NET_F_GUEST_CSUM | NET_F_GUEST_TSO4);
    driver_fake_add(&t.g.q[6],
                    (struct driver_fake_buf[]){
                        { driver_fake_put(&t.g, "\4\0\3\0", 4), 4, false },
                        { driver_fake_alloc(&t.g, 1, 1), 1, true },
                    },
                    2);
    driver_fake_kick(&t.g, 6);
    turn(&t);
    CHECK_EQ(t.n->st.pairs, 3);
    CHECK_EQ(driver_fake_status(&t.g) & VIRTIO_NEEDS_RESET, 0);
    device_pause(t.d);
    device_resume(t.d);
    CHECK_EQ(t.n->st.pairs, 3);
    driver_fake_reset(&t.g);
    CHECK_EQ(t.n->st.pairs, 1);
    rig_fini(&t);
}

TEST(net_refuses_wrong_configurations)
{
    /* clang-format off */
    static const struct {
        const char *why;
        struct net_cfg cfg;
        const char *text;
    } rows[] = {
        { "several pairs of a user network", { .kind = NET_USER, .queues = 2 },                      "'queues'" },
        { "a tap without a name",            { .kind = NET_TAP },                                    "'ifname' or 'fd'" },
        { "a file that is not open",         { .kind = NET_TAP, .fd = 999 },                         "fd 999" },
        { "an MTU that IP forbids",          { .kind = NET_NONE, .mtu = 67 },                        "'mtu' is 67" },
        { "no address",                      { .kind = NET_NONE, .mac = (char *)(uintptr_t)"52:54" }, "'mac' is '52:54'" },
        { "a group's address",               { .kind = NET_NONE, .mac = (char *)(uintptr_t)"53:54:00:00:00:00" }, "'mac'" },
    };
    /* clang-format on */
    struct fake_machine *f = fake_machine_new();

    for_each_row(r, rows) {
        struct device *d = NULL;
        struct err e = {};

        ROW(r);
        CHECK(device_new(&virtio_net_def, &f->m, "net0", &r->cfg, &d, &e) < 0);
        CHECK_HAS(e.text, r->text);
    }
    test_row(NULL);
    fake_machine_free(f);
}

/* The whole of it, with its own thread and libslirp. */
TEST(net_user_starts_and_stops)
{
    struct net_cfg cfg = { .kind = NET_USER };
    struct fake_machine *f = fake_machine_new();
    struct device *d;
    struct err e = {};

    CHECK_OK(device_new(&virtio_net_def, &f->m, "net0", &cfg, &d, &e), &e);
    device_pause(d);
    device_resume(d);
    device_free(d);
    fake_machine_free(f);
}
