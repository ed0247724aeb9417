/*
 * dev/virtio/port_fuzz.c: any messages of a guest on any of the port's queues, and any bytes of the host, in any order.
 * Oracle: what is owed and kept stays bounded; a driver that keeps its rings in order gets only messages that there are; after all of it a
 * reset leaves nothing behind, and the port is found and works.
 */
#include "dev/virtio/port.h"

#include "dev/virtio/driver_fake.h"
#include "mem/mem.h"
#include "testlib/fuzz.h"

#include <sys/socket.h>
#include <unistd.h>

extern const struct device_def virtio_port_def;

enum { Q_TX0 = 1, Q_CONTROL_IN, Q_CONTROL_OUT, Q_RX, Q_TX, N_QUEUES };
enum { RING = 32, MULTIPORT = 2, STEPS_MAX = 200, DATA_MAX = 1024, TURNS = 8 };

static struct {
    struct fake_machine *f;
    struct device *d;
    struct driver_fake g;
    int host; /* the other end of the backend */
    bool wild;
} z;

static void open_once(void)
{
    char backend[24], name[] = PORT_GUEST_AGENT;
    int pair[2];

    if (z.f)
        return;
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    z.host = pair[0];
    str_fmt(backend, sizeof(backend), "fd:%d", pair[1]);
    z.f = fake_machine_new();
    must(device_new(&virtio_port_def, &z.f->m, "agent0", &(struct port_cfg){ backend, name }, &z.d,
                    NULL) == 0);
}

static void start(u64 features)
{
    /* Rings are believed to begin with zeroes; a wild driver makes the device write anywhere. */
    must(mem_discard(z.f->m.mem, 1 * MiB, 63 * MiB) == 0);
    z.wild = false;
    driver_fake_init(&z.g, z.f, z.d);
    must(driver_fake_negotiate(&z.g, features));
    for (u16 i = 0; i < N_QUEUES; i++)
        driver_fake_queue(&z.g, i, RING);
    driver_fake_ready(&z.g);
}

static u32 read_host(u8 *into, u32 room)
{
    u32 n = 0;
    ssize_t r;

    while (n < room && (r = read(z.host, into + n, room - n)) > 0)
        n += (u32)r;
    return n;
}

/* ---- steps ---- */

/* Mostly a message as the protocol has it. */
static void step_message(struct fuzz_in *in)
{
    u8 m[16] = {};
    u32 how = (u32)fuzz_take(in, 1), len = how & 0x80 ? (u32)fuzz_take(in, 1) % sizeof(m) : 8;

    le_store(m, 4, how & 0x40 ? fuzz_take(in, 4) : 1);
    le_store(m + 4, 2, how & 0x20 ? fuzz_take(in, 2) : (how & 7));
    le_store(m + 6, 2, how & 0x10 ? fuzz_take(in, 2) : !(how & 8));
    driver_fake_add(&z.g.q[Q_CONTROL_OUT],
                    &(struct driver_fake_buf){ driver_fake_put(&z.g, m, len), len, false }, 1);
    driver_fake_kick(&z.g, Q_CONTROL_OUT);
}

static void step_chain(struct fuzz_in *in)
{
    u16 queue = (u16)(fuzz_take(in, 1) % N_QUEUES);
    u32 len = (u32)fuzz_take(in, 2) % DATA_MAX;
    bool to_us = queue & 1;

    driver_fake_add(&z.g.q[queue],
                    &(struct driver_fake_buf){ driver_fake_alloc(&z.g, len, 1), len, !to_us }, 1);
    driver_fake_kick(&z.g, queue);
}

static void step_scribble(struct fuzz_in *in)
{
    u64 low = 1 * MiB, span = z.g.heap > low ? z.g.heap - low : 1;
    u64 at = low + fuzz_take(in, 3) % span, val = fuzz_take(in, 2);

    z.wild = true;
    mem_write(z.f->m.mem, at, &val, 2);
    driver_fake_kick(&z.g, (u16)(val % (N_QUEUES + 1)));
}

static void step_host(struct fuzz_in *in)
{
    static u8 data[DATA_MAX];

    if (fuzz_take(in, 1) & 1)
        (void)send(z.host, data, fuzz_take(in, 2) % DATA_MAX, MSG_NOSIGNAL);
    else
        read_host(data, sizeof(data));
}

static void check_messages(void)
{
    u16 id;
    u32 len;

    for (u32 q = 0; q < N_QUEUES && !z.wild; q++)
        while (driver_fake_used(&z.g.q[q], &id, &len))
            must(q != Q_CONTROL_IN || len <= 8 + strlen(PORT_GUEST_AGENT));
}

static void run(struct fuzz_in *in)
{
    for (u32 i = 0; i < STEPS_MAX && in->left; i++) {
        switch (fuzz_take(in, 1) % 8) {
        case 0:
        case 1:
        case 2:
            step_message(in);
            break;
        case 3:
        case 4:
            step_chain(in);
            break;
        case 5:
            step_host(in);
            break;
        case 6:
            if (fuzz_take(in, 1) == 0xff)
                step_scribble(in);
            break;
        default:
            device_pause(z.d);
            device_resume(z.d);
            break;
        }
        driver_fake_loop(&z.g);
        check_messages();
    }
}

/* ---- afterwards ---- */

static void say(u32 event)
{
    u8 m[8] = { 1, 0, 0, 0, (u8)event, 0, 1 };

    must(driver_fake_add(&z.g.q[Q_CONTROL_OUT],
                         &(struct driver_fake_buf){ driver_fake_put(&z.g, m, 8), 8, false },
                         1) >= 0);
    driver_fake_kick(&z.g, Q_CONTROL_OUT);
}

static u32 events(void)
{
    u32 mask = 0, len;
    u16 id;

    while (driver_fake_used(&z.g.q[Q_CONTROL_IN], &id, &len))
        mask = mask << 8 | len;
    return mask;
}

static void check_works(void)
{
    u64 out = driver_fake_put(&z.g, "!", 1);
    u8 byte = 0;

    for (u32 i = 0; i < 3; i++)
        must(driver_fake_add(&z.g.q[Q_CONTROL_IN],
                             &(struct driver_fake_buf){ driver_fake_alloc(&z.g, 64, 1), 64, true },
                             1) >= 0);
    say(0); /* DEVICE_READY */
    must(events() == 8);
    say(3); /* PORT_READY: its name, and that it is open */
    must(events() == ((8 + strlen(PORT_GUEST_AGENT)) << 8 | 8));
    must(driver_fake_add(&z.g.q[Q_TX], &(struct driver_fake_buf){ out, 1, false }, 1) >= 0);
    driver_fake_kick(&z.g, Q_TX);
    must(read_host(&byte, 1) == 1 && byte == '!');
}

FUZZ(port)
{
    struct fuzz_in in = { data, size };
    static u8 rest[64 * 1024];
    const u64 how = fuzz_take(&in, 1);

    open_once();
    start((how & 1 ? 0 : MULTIPORT) | (how & 2 ? VIRTIO_F_RING_PACKED : 0));
    run(&in);
    device_reset(z.d);
    for (u32 i = 0; i < TURNS; i++) { /* what both sides still had */
        driver_fake_loop(&z.g);
        while (read_host(rest, sizeof(rest)) > 0)
            continue;
    }
    start(MULTIPORT);
    check_works();
    device_reset(z.d);
}
