/*
 * dev/virtio/port_test.c: the guest finds the port by its name, and clients of the host are there only while a program has it open.
 */
#include "dev/virtio/port.h"

#include "dev/virtio/driver_fake.h"
#include "mem/mem.h"
#include "testlib/test.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

extern const struct device_def virtio_port_def;

enum { Q_TX0 = 1, Q_CONTROL_IN, Q_CONTROL_OUT, Q_RX, Q_TX, N_QUEUES };
enum { DEVICE_READY = 0, PORT_ADD = 1, PORT_READY = 3, PORT_OPEN = 6, PORT_NAME = 7 };
enum { MULTIPORT = 2, ROOM = 128 };

struct rig {
    struct fake_machine *f;
    struct device *d;
    struct driver_fake g;
    char path[100];
};

static void rig_open(struct rig *t, const char *socket, u64 features)
{
    char backend[120], name[] = PORT_GUEST_AGENT;
    struct err e = {};

    str_fmt(t->path, sizeof(t->path), "%s/%s", test_dir(), socket);
    str_fmt(backend, sizeof(backend), "unix:%s", t->path);
    t->f = fake_machine_new();
    CHECK_OK(device_new(&virtio_port_def, &t->f->m, "agent0", &(struct port_cfg){ backend, name },
                        &t->d, &e),
             &e);
    driver_fake_init(&t->g, t->f, t->d);
    driver_fake_msix(&t->g);
    CHECK_EQ(driver_fake_offered(&t->g) & 0xff, MULTIPORT);
    CHECK_EQ(driver_fake_config(&t->g, 4, 4), 2); /* ports */
    CHECK(driver_fake_negotiate(&t->g, features));
    for (u16 i = 0; i < N_QUEUES; i++)
        driver_fake_queue(&t->g, i, 16);
    driver_fake_ready(&t->g);
}

static void rig_close(struct rig *t)
{
    device_free(t->d);
    fake_machine_free(t->f);
    unlink(t->path);
}

static void say(struct rig *t, u32 id, u32 event, u32 value)
{
    u8 m[8];
    u16 chain;
    u32 len;

    le_store(m, 4, id);
    le_store(m + 4, 2, event);
    le_store(m + 6, 2, value);
    CHECK(driver_fake_add(
              &t->g.q[Q_CONTROL_OUT],
              &(struct driver_fake_buf){ driver_fake_put(&t->g, m, sizeof(m)), sizeof(m), false },
              1) >= 0);
    driver_fake_kick(&t->g, Q_CONTROL_OUT);
    CHECK(driver_fake_used(&t->g.q[Q_CONTROL_OUT], &chain, &len));
}

/* A buffer for the next message, which is then at the address. */
static u64 give(struct rig *t, u32 len)
{
    u64 gpa = driver_fake_alloc(&t->g, len, 8);

    CHECK(driver_fake_add(&t->g.q[Q_CONTROL_IN], &(struct driver_fake_buf){ gpa, len, true }, 1) >=
          0);
    driver_fake_kick(&t->g, Q_CONTROL_IN);
    return gpa;
}

static void check_said(struct rig *t, u64 gpa, u32 event, const char *text)
{
    char got[ROOM] = {};
    u16 chain;
    u32 len;

    CHECK(driver_fake_used(&t->g.q[Q_CONTROL_IN], &chain, &len));
    CHECK_EQ(len, 8 + strlen(text));
    CHECK_EQ(mem_read(t->f->m.mem, gpa, got, ROOM), 0);
    CHECK_EQ(le_load((u8 *)got, 4), 1);
    CHECK_EQ(le_load((u8 *)got + 4, 2), event);
    CHECK_EQ(le_load((u8 *)got + 6, 2), 1);
    CHECK_STR(got + 8, text);
}

static bool said_anything(struct rig *t)
{
    u16 chain;
    u32 len;

    return driver_fake_used(&t->g.q[Q_CONTROL_IN], &chain, &len);
}

static int dial(struct rig *t)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    CHECK(str_copy(at.sun_path, sizeof(at.sun_path), t->path));
    CHECK_EQ(connect(fd, (const struct sockaddr *)&at, sizeof(at)), 0);
    driver_fake_loop(&t->g);
    return fd;
}

static void shake_hands(struct rig *t)
{
    u64 add, name, open;

    say(t, ~0u, DEVICE_READY, 1);
    CHECK(!said_anything(t)); /* it waits for a buffer */
    say(t, ~0u, DEVICE_READY, 1);
    add = give(t, ROOM);
    check_said(t, add, PORT_ADD, "");
    CHECK(!said_anything(t)); /* once, however often it was asked */
    name = give(t, ROOM);
    open = give(t, ROOM);
    say(t, 1, PORT_READY, 1);
    check_said(t, name, PORT_NAME, PORT_GUEST_AGENT);
    check_said(t, open, PORT_OPEN, "");
}

static void check_port(u64 ring)
{
    struct rig t;
    char text[8] = {}, byte;
    u64 in, out;
    int fd;

    rig_open(&t, "port.sock", MULTIPORT | ring);
    shake_hands(&t);
    fd = dial(&t);
    CHECK_EQ(read(fd, &byte, 1), 0); /* nobody has it open */
    close(fd);
    say(&t, 1, PORT_OPEN, 1);
    fd = dial(&t);
    CHECK_EQ(write(fd, "ask", 3), 3);
    in = driver_fake_alloc(&t.g, 16, 1);
    CHECK(driver_fake_add(&t.g.q[Q_RX], &(struct driver_fake_buf){ in, 16, true }, 1) >= 0);
    driver_fake_kick(&t.g, Q_RX);
    driver_fake_loop(&t.g);
    CHECK_EQ(mem_read(t.f->m.mem, in, text, 3), 0);
    CHECK_STR(text, "ask");
    out = driver_fake_put(&t.g, "answer", 6);
    CHECK(driver_fake_add(&t.g.q[Q_TX], &(struct driver_fake_buf){ out, 6, false }, 1) >= 0);
    driver_fake_kick(&t.g, Q_TX);
    CHECK_EQ(read(fd, text, sizeof(text)), 6);
    CHECK_MEM(text, "answer", 6);
    say(&t, 1, PORT_OPEN, 0); /* it ended */
    driver_fake_loop(&t.g);
    CHECK_EQ(read(fd, &byte, 1), 0);
    close(fd);
    rig_close(&t);
}

TEST(virtio_port)
{
    check_port(0);
    check_port(VIRTIO_F_RING_PACKED | VIRTIO_F_EVENT_IDX);
}

/* What a hostile driver may say, to no effect. */
TEST(virtio_port_ignores_nonsense)
{
    static const struct {
        const char *why;
        u32 id, event, value;
    } rows[] = {
        { "not ready", ~0u, DEVICE_READY, 0 }, { "another port", 0, PORT_READY, 1 },
        { "no port", 2, PORT_READY, 1 },       { "failed", 1, PORT_READY, 0 },
        { "another opened", 2, PORT_OPEN, 1 }, { "what we say", 1, PORT_ADD, 1 },
        { "unknown", 1, 0xffff, 1 },           { "half open", 1, PORT_OPEN, 2 },
    };
    struct rig t;
    char byte;
    int fd;

    rig_open(&t, "nonsense.sock", MULTIPORT);
    give(&t, ROOM);
    for_each_row(c, rows) {
        ROW(c);
        say(&t, c->id, c->event, c->value);
        CHECK(!said_anything(&t));
        fd = dial(&t);
        CHECK_EQ(read(fd, &byte, 1), 0);
        close(fd);
    }
    CHECK(driver_fake_add(&t.g.q[Q_CONTROL_OUT],
                          &(struct driver_fake_buf){ driver_fake_put(&t.g, "short", 5), 5, false },
                          1) >= 0);
    driver_fake_kick(&t.g, Q_CONTROL_OUT);
    CHECK(!said_anything(&t));
    CHECK_EQ(driver_fake_status(&t.g) & VIRTIO_NEEDS_RESET, 0);
    rig_close(&t);
}

TEST(virtio_port_message_longer_than_its_buffer)
{
    struct rig t;
    u16 chain;
    u32 len;

    rig_open(&t, "small.sock", MULTIPORT);
    give(&t, 12);
    give(&t, 4);
    say(&t, 1, PORT_READY, 1);
    CHECK(driver_fake_used(&t.g.q[Q_CONTROL_IN], &chain, &len));
    CHECK_EQ(len, 12);
    CHECK(driver_fake_used(&t.g.q[Q_CONTROL_IN], &chain, &len));
    CHECK_EQ(len, 4);
    rig_close(&t);
}

/* Without MULTIPORT it is a console that nobody reads: what is written there goes on. */
TEST(virtio_port_driver_without_ports)
{
    struct rig t;
    u64 text;
    u16 chain;
    u32 len;

    rig_open(&t, "old.sock", 0);
    text = driver_fake_put(&t.g, "hello", 5);
    CHECK(driver_fake_add(&t.g.q[Q_TX0], &(struct driver_fake_buf){ text, 5, false }, 1) >= 0);
    driver_fake_kick(&t.g, Q_TX0);
    CHECK(driver_fake_used(&t.g.q[Q_TX0], &chain, &len));
    rig_close(&t);
}

/* Who has it open, and what is still to be said, is in the state; a reset ends it. */
TEST(virtio_port_state)
{
    struct rig t;
    AUTO(strbuf) struct strbuf shown = {};
    char byte;
    u64 add;
    int fd;

    rig_open(&t, "state.sock", MULTIPORT);
    say(&t, 1, PORT_OPEN, 1);
    say(&t, ~0u, DEVICE_READY, 1);
    device_pause(t.d);
    device_inspect(t.d, &shown);
    CHECK_HAS(shown.text, "\"owed\": 1, \"open\": true");
    fd = dial(&t);
    CHECK_EQ(read(fd, &byte, 1), -1); /* a machine that stands still turns nobody away */
    device_resume(t.d);
    add = give(&t, ROOM);
    check_said(&t, add, PORT_ADD, "");
    device_reset(t.d);
    driver_fake_loop(&t.g);
    CHECK_EQ(read(fd, &byte, 1), 0);
    close(fd);
    rig_close(&t);
}
