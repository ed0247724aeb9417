/*
 * dev/virtio/console_test.c: characters arrive whole and in order, whatever the other side does meanwhile.
 */
#include "dev/virtio/console.h"

#include "dev/virtio/driver_fake.h"
#include "mem/mem.h"
#include "testlib/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

extern const struct device_def virtio_console_def;

enum { Q_RX, Q_TX };

struct cfg {
    char *backend;
    u16 cols, rows;
    char *log;
};

struct rig {
    struct fake_machine *f;
    struct device *d;
    struct driver_fake g;
    int host; /* the other end of the backend */
};

static void start_driver(struct rig *t, u64 features)
{
    CHECK(driver_fake_negotiate(&t->g, features | (driver_fake_offered(&t->g) & 0xff)));
    driver_fake_queue(&t->g, Q_RX, 16);
    driver_fake_queue(&t->g, Q_TX, 16);
    driver_fake_ready(&t->g);
}

static void rig_open(struct rig *t, u64 features, u16 cols)
{
    char backend[32];
    int pair[2];
    struct err e = {};

    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    t->host = pair[0];
    str_fmt(backend, sizeof(backend), "fd:%d", pair[1]);
    t->f = fake_machine_new();
    CHECK_OK(device_new(&virtio_console_def, &t->f->m, "console0",
                        &(struct cfg){ backend, cols, 25 }, &t->d, &e),
             &e);
    driver_fake_init(&t->g, t->f, t->d);
    driver_fake_msix(&t->g);
    if (features != ~0ull)
        start_driver(t, features);
}

static void rig_close(struct rig *t)
{
    device_free(t->d);
    fake_machine_free(t->f);
    fd_close(&t->host);
}

static void check_output(u64 features)
{
    struct rig t;
    const struct driver_fake_buf bufs[] = { { 0x8000, 3, false }, { 0x9000, 4, false } };
    char got[16] = {};
    u16 id;
    u32 len;

    rig_open(&t, features, 0);
    CHECK_EQ(mem_write(t.f->m.mem, 0x8000, "abc", 3), 0);
    CHECK_EQ(mem_write(t.f->m.mem, 0x9000, "defg", 4), 0);
    CHECK(driver_fake_add(&t.g.q[Q_TX], bufs, 2) >= 0);
    CHECK(driver_fake_add(&t.g.q[Q_TX], bufs, 1) >= 0);
    driver_fake_kick(&t.g, Q_TX);
    CHECK(driver_fake_used(&t.g.q[Q_TX], &id, &len));
    CHECK(driver_fake_used(&t.g.q[Q_TX], &id, &len));
    CHECK_EQ(read(t.host, got, sizeof(got)), 10);
    CHECK_STR(got, "abcdefgabc");
    rig_close(&t);
}

TEST(virtio_console_output)
{
    check_output(0);
    check_output(VIRTIO_F_RING_PACKED | VIRTIO_F_EVENT_IDX);
}

/* A reader that is slow: nothing is lost or doubled, over pauses too, and the guest gets its buffers when they are out. */
static void check_slow_reader(u64 features)
{
    enum { LEN = 300000, CHUNKS = 4 };
    struct rig t;
    u8 *text = xnew_n(u8, LEN), *got = xnew_n(u8, LEN * CHUNKS);
    struct driver_fake_buf buf = { 4 * MiB, LEN, false };
    u32 n = 0, back = 0, len;
    u64 seed = 99;
    u16 id;

    rig_open(&t, features, 0);
    for (u32 i = 0; i < LEN; i++)
        text[i] = (u8)test_rand(&seed);
    CHECK_EQ(mem_write(t.f->m.mem, buf.gpa, text, LEN), 0);
    for (u32 i = 0; i < CHUNKS; i++)
        CHECK(driver_fake_add(&t.g.q[Q_TX], &buf, 1) >= 0);
    driver_fake_kick(&t.g, Q_TX);
    for (u32 turn = 0; turn < 2000 && n < LEN * CHUNKS; turn++) {
        ssize_t r = read(t.host, got + n, min(LEN * CHUNKS - n, 5000u));

        n += r > 0 ? (u32)r : 0;
        driver_fake_loop(&t.g);
        if (turn % 16 == 3) {
            device_pause(t.d);
            driver_fake_loop(&t.g);
            device_resume(t.d);
        }
        while (driver_fake_used(&t.g.q[Q_TX], &id, &len))
            back++;
        CHECK(back <= n / LEN + 1); /* no more than is out, but for what the backend's rings hold */
    }
    CHECK_EQ(n, LEN * CHUNKS);
    CHECK_EQ(back, CHUNKS);
    for (u32 i = 0; i < CHUNKS; i++)
        CHECK_MEM(got + i * LEN, text, LEN);
    rig_close(&t);
    free(text);
    free(got);
}

TEST(virtio_console_slow_reader)
{
    check_slow_reader(0);
    check_slow_reader(VIRTIO_F_RING_PACKED);
}

static void check_input(u64 features)
{
    struct rig t;
    const struct driver_fake_buf small = { 0x8000, 4, true }, large = { 0x9000, 4096, true };
    static const char many[5000];
    AUTO(strbuf) struct strbuf shown = {};
    char got[8] = {};
    u32 len, sum = 0;
    u16 id;

    rig_open(&t, ~0ull, 0);
    CHECK_EQ(write(t.host, "typed", 5), 5); /* before there is a driver: it is not lost */
    driver_fake_loop(&t.g);
    start_driver(&t, features);
    driver_fake_loop(&t.g);
    device_inspect(t.d, &shown);
    CHECK_HAS(shown.text, "\"n_input\": 5,");
    CHECK(driver_fake_add(&t.g.q[Q_RX], &small, 1) >= 0);
    driver_fake_kick(&t.g, Q_RX);
    driver_fake_loop(&t.g);
    CHECK(driver_fake_used(&t.g.q[Q_RX], &id, &len));
    CHECK_EQ(len, 4);
    CHECK_EQ(mem_read(t.f->m.mem, 0x8000, got, 4), 0);
    CHECK_STR(got, "type");
    device_pause(t.d); /* the last character waits in the state */
    device_resume(t.d);
    CHECK(driver_fake_add(&t.g.q[Q_RX], &small, 1) >= 0);
    driver_fake_kick(&t.g, Q_RX);
    CHECK(driver_fake_used(&t.g.q[Q_RX], &id, &len));
    CHECK_EQ(len, 1);
    CHECK_EQ(write(t.host, many, sizeof(many)), 5000); /* more than the device holds */
    driver_fake_loop(&t.g);
    for (u32 i = 0; i < 20 && sum < 5000; i++) {
        CHECK(driver_fake_add(&t.g.q[Q_RX], &large, 1) >= 0);
        driver_fake_kick(&t.g, Q_RX);
        driver_fake_loop(&t.g);
        while (driver_fake_used(&t.g.q[Q_RX], &id, &len))
            sum += len;
    }
    CHECK_EQ(sum, 5000);
    rig_close(&t);
}

TEST(virtio_console_input)
{
    check_input(0);
    check_input(VIRTIO_F_EVENT_IDX);
    check_input(VIRTIO_F_RING_PACKED | VIRTIO_F_EVENT_IDX);
}

TEST(virtio_console_emergency_write)
{
    struct rig t;
    char c = 0;

    rig_open(&t, ~0ull, 0);
    driver_fake_config_write(&t.g, 8, 4, '!');
    CHECK_EQ(read(t.host, &c, 1), 1);
    CHECK_EQ(c, '!');
    rig_close(&t);
}

TEST(virtio_console_size)
{
    struct rig t;

    rig_open(&t, 0, 0);
    CHECK_EQ(driver_fake_offered(&t.g) & 0xff, 4);
    console_resize(t.d, 90, 30); /* not wanted */
    CHECK_EQ(driver_fake_config(&t.g, 0, 2), 0);
    rig_close(&t);
    rig_open(&t, 0, 80);
    CHECK_EQ(driver_fake_offered(&t.g) & 0xff, 5);
    CHECK_EQ(driver_fake_config(&t.g, 0, 4), 25 << 16 | 80);
    driver_fake_write(&t.g, 0x10, 2, 0);
    console_resize(t.d, 132, 43);
    CHECK_EQ(t.f->msis, 1);
    CHECK_EQ(driver_fake_config(&t.g, 0, 4), 43 << 16 | 132);
    rig_close(&t);
}
