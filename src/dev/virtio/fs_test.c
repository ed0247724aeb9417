/*
 * dev/virtio/fs_test.c: a guest's requests through real queues to a server in a process of its own, and each way to get them wrong.
 */
#include "dev/virtio/fs.h"

#include "dev/virtio/driver_fake.h"
#include "mem/mem.h"
#include "share/link.h"
#include "testlib/test.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RING = 128, HIPRIO = 0, REQUEST = 1, ROOM = 8192, HANDLES = 16 };

struct rig {
    struct fake_machine *f;
    struct machine_ops ops;
    struct loop *loop; /* the device's */
    struct device *d;
    struct driver_fake g;
    char dir[120];
    pid_t server;
    int link; /* the device's end: for poll only */
    u64 unique;
};

static struct loop *given; /* by the device to its machine */

static int no_thread(void *, struct loop *l, enum io_role)
{
    given = l;
    return 0;
}

static void serve_dir(int link, const char *dir)
{
    struct share_cfg cfg = { .files_max = 512, .handles_max = HANDLES };
    struct share *s;
    struct err e;

    cfg.root = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    cfg.fds = open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
    must(cfg.root >= 0 && cfg.fds >= 0 && fchdir(cfg.fds) == 0);
    must(share_open(&cfg, &s, &e) == 0);
    share_run(s, link);
    share_free(s);
}

static int start_server(struct rig *t)
{
    int fds[2];

    must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) == 0);
    t->server = fork();
    must(t->server >= 0);
    if (t->server == 0) {
        close(fds[0]);
        serve_dir(fds[1], t->dir);
        _exit(0);
    }
    close(fds[1]);
    must(fcntl(fds[0], F_SETFL, O_NONBLOCK) == 0);
    return fds[0];
}

static void drive(struct rig *t, u64 ring)
{
    CHECK(driver_fake_negotiate(&t->g, ring | VIRTIO_F_INDIRECT_DESC));
    driver_fake_queue(&t->g, HIPRIO, RING);
    driver_fake_queue(&t->g, REQUEST, RING);
    driver_fake_ready(&t->g);
}

static void rig_init(struct rig *t, u64 ring)
{
    static char tag[] = "data";
    static u32 n;
    struct fs_cfg cfg = { .tag = tag, .files = HANDLES };
    struct err e = {};

    *t = (struct rig){ .f = fake_machine_new() };
    t->ops = *t->f->m.ops;
    t->ops.io_start = no_thread;
    t->f->m.ops = &t->ops;
    str_fmt(t->dir, sizeof(t->dir), "%s/fs%u", test_dir(), n++);
    must(mkdir(t->dir, 0755) == 0);
    t->link = start_server(t);
    cfg.link = (u32)t->link;
    CHECK_OK(device_new(&virtio_fs_def, &t->f->m, "share0", &cfg, &t->d, &e), &e);
    t->loop = given;
    driver_fake_init(&t->g, t->f, t->d);
    drive(t, ring);
}

static void rig_fini(struct rig *t)
{
    int status;

    device_free(t->d);
    must(waitpid(t->server, &status, 0) == t->server);
    fake_machine_free(t->f);
}

static void turn(struct rig *t)
{
    for (u32 i = 0; i < 3; i++)
        uv_run(&t->loop->uv, UV_RUN_NOWAIT);
}

struct req {
    u32 op;
    u64 node;
    const void *in;
    u32 in_len;
    const void *data;
    u32 data_len, room;
};

/* The reply of the request under way. */
static struct {
    u64 gpa;
    u32 len; /* used */
    struct fuse_out_header h;
} got;

/* Makes it available, its data in pieces of at most a page.  The chain's id. */
static int add(struct rig *t, u16 queue, const struct req *q)
{
    struct driver_fake_buf bufs[120];
    struct fuse_in_header h = { .opcode = q->op, .nodeid = q->node, .unique = ++t->unique };
    u32 n = 0;

    h.len = (u32)sizeof(h) + q->in_len + q->data_len;
    bufs[n++] = (struct driver_fake_buf){ driver_fake_put(&t->g, &h, sizeof(h)), sizeof(h), false };
    if (q->in_len)
        bufs[n++] =
            (struct driver_fake_buf){ driver_fake_put(&t->g, q->in, q->in_len), q->in_len, false };
    for (u32 at = 0; at < q->data_len; at += 4096) {
        u32 len = min(q->data_len - at, 4096u);

        bufs[n++] = (struct driver_fake_buf){ driver_fake_put(&t->g, (const u8 *)q->data + at, len),
                                              len, false };
    }
    got.gpa = q->room ? driver_fake_alloc(&t->g, q->room, 16) : 0;
    for (u32 at = 0; at < q->room; at += at ? 4096 : 16) /* the header alone, then pages */
        bufs[n++] =
            (struct driver_fake_buf){ got.gpa + at, min(q->room - at, at ? 4096u : 16u), true };
    return driver_fake_add_indirect(&t->g.q[queue], bufs, n);
}

static bool take_used(struct rig *t, u16 queue)
{
    u16 id;

    if (!driver_fake_used(&t->g.q[queue], &id, &got.len))
        return false;
    if (got.gpa && got.len >= sizeof(got.h))
        must(mem_read(t->f->m.mem, got.gpa, &got.h, sizeof(got.h)) == 0);
    return true;
}

/* Until the device gives something back. */
static void wait_used(struct rig *t, u16 queue)
{
    struct pollfd p = { .fd = t->link, .events = POLLIN };

    turn(t);
    for (u32 i = 0; !take_used(t, queue); i++) {
        CHECK(i < 2000);
        poll(&p, 1, 10); /* it may be the device itself that has more to do */
        turn(t);
    }
}

/* The reply's error. */
static int ask(struct rig *t, const struct req *q)
{
    CHECK(add(t, REQUEST, q) >= 0);
    driver_fake_kick(&t->g, REQUEST);
    wait_used(t, REQUEST);
    if (q->room < sizeof(got.h))
        return 1;
    CHECK_EQ(got.h.unique, t->unique);
    CHECK_EQ(got.h.len, got.len);
    return got.h.error;
}

static void read_reply(struct rig *t, u32 at, void *to, u32 len)
{
    must(mem_read(t->f->m.mem, got.gpa + sizeof(got.h) + at, to, len) == 0);
}

static int init_session(struct rig *t)
{
    const struct fuse_init_in in = { .major = 7, .minor = 38, .flags = ~0u };

    return ask(t, &(struct req){ FUSE_INIT, 0, &in, sizeof(in), NULL, 0, ROOM });
}

static int create(struct rig *t, const char *name, u64 *ret_fh)
{
    const struct fuse_create_in in = { .flags = O_RDWR, .mode = S_IFREG | 0644 };
    int r =
        ask(t, &(struct req){ FUSE_CREATE, 1, &in, sizeof(in), name, (u32)strlen(name) + 1, ROOM });
    struct fuse_open_out out;

    read_reply(t, sizeof(struct fuse_entry_out), &out, sizeof(out));
    *ret_fh = out.fh;
    return r;
}

static int read_at(struct rig *t, u64 fh, u64 at, u32 size, u32 room)
{
    const struct fuse_read_in in = { .fh = fh, .offset = at, .size = size };

    return ask(t, &(struct req){ FUSE_READ, 1, &in, sizeof(in), NULL, 0, room });
}

static int write_at(struct rig *t, u64 fh, u64 at, const void *data, u32 len)
{
    const struct fuse_write_in in = { .fh = fh, .offset = at, .size = len };

    return ask(t, &(struct req){ FUSE_WRITE, 1, &in, sizeof(in), data, len, ROOM });
}

static u32 written(struct rig *t)
{
    struct fuse_write_out out;

    read_reply(t, 0, &out, sizeof(out));
    return out.size;
}

static void check_files(u64 ring)
{
    enum { BYTES = 300 * 1024 };
    static u8 data[BYTES], back[BYTES];
    struct rig t;
    struct fuse_release_in rel = {};
    u64 fh, seed = 7;

    rig_init(&t, ring);
    for (u32 i = 0; i < BYTES; i++)
        data[i] = (u8)test_rand(&seed);
    CHECK_EQ(driver_fake_config(&t.g, 0, 4), le_load((const u8 *)"data", 4));
    CHECK_EQ(driver_fake_config(&t.g, 36, 4), 1);
    CHECK_EQ(read_at(&t, 0, 0, 100, ROOM), -EBADF);
    CHECK_EQ(init_session(&t), 0);
    CHECK_EQ(create(&t, "f", &fh), 0);
    CHECK_EQ(write_at(&t, fh, 100, data, BYTES), 0);
    CHECK_EQ(written(&t), BYTES);
    CHECK_EQ(read_at(&t, fh, 100, BYTES, BYTES + 16), 0);
    CHECK_EQ(got.len, BYTES + 16);
    read_reply(&t, 0, back, BYTES);
    CHECK_MEM(back, data, BYTES);
    CHECK_EQ(read_at(&t, fh, 100 + BYTES - 10, 4096, ROOM), 0); /* to its end */
    CHECK_EQ(got.len, 26);
    CHECK_EQ(read_at(&t, fh, 0, ~0u, 100), 0); /* as much as there is room for */
    CHECK_EQ(got.len, 100);
    rel.fh = fh;
    CHECK_EQ(ask(&t, &(struct req){ FUSE_RELEASE, 1, &rel, sizeof(rel), NULL, 0, ROOM }), 0);
    CHECK_EQ(read_at(&t, fh, 0, 100, ROOM), -EBADF);
    CHECK_EQ(write_at(&t, fh, 0, data, 100), -EBADF);
    rig_fini(&t);
}

TEST(fs_reads_and_writes_files)
{
    check_files(0);
    check_files(VIRTIO_F_RING_PACKED | VIRTIO_F_EVENT_IDX);
}

TEST(fs_answers_what_is_malformed)
{
    static u8 large[SHARE_REQUEST_MAX + 4096];
    struct rig t;
    const u32 few = 0;
    struct fuse_write_in write = { .size = 4096 };
    u64 fh;
    u16 id;
    u32 len;

    rig_init(&t, 0);
    CHECK_EQ(init_session(&t), 0);
    CHECK_EQ(create(&t, "f", &fh), 0);
    write.fh = fh;
    CHECK_EQ(ask(&t, &(struct req){ FUSE_READ, 1, &few, 4, NULL, 0, ROOM }), -EINVAL);
    CHECK_EQ(ask(&t, &(struct req){ FUSE_WRITE, 1, &few, 4, NULL, 0, ROOM }), -EINVAL);
    CHECK_EQ(ask(&t, &(struct req){ FUSE_WRITE, 1, &write, sizeof(write), "x", 1, ROOM }), -EINVAL);
    CHECK_EQ(read_at(&t, fh, ~0ull, 1, ROOM), -EINVAL);
    CHECK_EQ(read_at(&t, ~0ull, 0, 1, ROOM), -EBADF);
    CHECK_EQ(ask(&t, &(struct req){ FUSE_LOOKUP, 1, NULL, 0, large, sizeof(large), ROOM }), -E2BIG);
    CHECK_EQ(ask(&t, &(struct req){ FUSE_LOOKUP, 1, NULL, 0, "f", 2, 100 }), -EINVAL);
    CHECK_EQ(ask(&t, &(struct req){ FUSE_LOOKUP, 1, NULL, 0, "f", 2, 8 }),
             1); /* no room for an answer */
    CHECK_EQ(got.len, 0);
    CHECK_EQ(ask(&t, &(struct req){ FUSE_FORGET, 2, large, 8, NULL, 0, 0 }), 1);
    CHECK_EQ(got.len, 0);
    CHECK(driver_fake_add(&t.g.q[HIPRIO], &(struct driver_fake_buf){ 0x8000, 3, false }, 1) >= 0);
    driver_fake_kick(&t.g, HIPRIO);
    turn(&t);
    CHECK(driver_fake_used(&t.g.q[HIPRIO], &id, &len));
    CHECK(driver_fake_add(&t.g.q[HIPRIO], &(struct driver_fake_buf){ 1ull << 40, 3, false }, 1) >=
          0);
    driver_fake_kick(&t.g, HIPRIO);
    turn(&t);
    CHECK(driver_fake_status(&t.g) & VIRTIO_NEEDS_RESET);
    rig_fini(&t);
}

/* More than are let wait, and forgets between them. */
static void add_many(struct rig *t, u32 n)
{
    const struct fuse_forget_in forget = { .nlookup = 1 };

    for (u32 i = 0; i < n; i++) {
        CHECK(add(t, REQUEST, &(struct req){ FUSE_LOOKUP, 1, NULL, 0, "f", 2, 256 }) >= 0);
        CHECK(add(t, HIPRIO,
                  &(struct req){ FUSE_FORGET, 2, &forget, sizeof(forget), NULL, 0, 0 }) >= 0);
    }
    got.gpa = 0; /* only their number is looked at */
    driver_fake_kick(&t->g, HIPRIO);
    driver_fake_kick(&t->g, REQUEST);
}

TEST(fs_serves_many_at_once_and_none_after_reset)
{
    struct rig t;
    u64 fh;

    rig_init(&t, 0);
    CHECK_EQ(init_session(&t), 0);
    CHECK_EQ(create(&t, "f", &fh), 0);
    add_many(&t, RING);
    for (u32 i = 0; i < RING; i++)
        wait_used(&t, REQUEST);
    for (u32 i = 0; i < RING; i++)
        wait_used(&t, HIPRIO);
    add_many(&t, RING / 2);
    turn(&t);
    driver_fake_reset(&t.g); /* with requests under way */
    drive(&t, 0);
    CHECK_EQ(read_at(&t, fh, 0, 100, ROOM), -EBADF);
    CHECK_EQ(ask(&t, &(struct req){ FUSE_LOOKUP, 1, NULL, 0, "f", 2, ROOM }), -ENOTCONN);
    CHECK_EQ(init_session(&t), 0);
    CHECK_EQ(ask(&t, &(struct req){ FUSE_LOOKUP, 1, NULL, 0, "f", 2, ROOM }), 0);
    rig_fini(&t);
}

TEST(fs_answers_in_the_queue_that_asked)
{
    const struct fuse_forget_in forget = { .nlookup = 1 };
    struct rig t;
    u64 fh;

    rig_init(&t, 0);
    CHECK_EQ(init_session(&t), 0);
    CHECK_EQ(create(&t, "f", &fh), 0);
    kill(t.server, SIGSTOP);
    for (u32 i = 0; i < RING; i++)
        CHECK(add(&t, REQUEST, &(struct req){ FUSE_LOOKUP, 1, NULL, 0, "f", 2, 256 }) >= 0);
    driver_fake_kick(&t.g, REQUEST);
    turn(&t); /* as many wait for the server as may */
    CHECK(add(&t, HIPRIO, &(struct req){ FUSE_FORGET, 2, &forget, sizeof(forget), NULL, 0, 0 }) >=
          0);
    got.gpa = 0; /* only their number is looked at */
    driver_fake_kick(&t.g, HIPRIO);
    turn(&t);
    kill(t.server, SIGCONT);
    for (u32 i = 0; i < RING; i++)
        wait_used(&t, REQUEST);
    wait_used(&t, HIPRIO);
    rig_fini(&t);
}

TEST(fs_pauses_with_nothing_under_way)
{
    struct rig t;
    u64 fh;

    rig_init(&t, 0);
    CHECK_EQ(init_session(&t), 0);
    CHECK_EQ(create(&t, "f", &fh), 0);
    add_many(&t, 8);
    turn(&t);
    device_pause(t.d);
    for (u32 i = 0; i < 8; i++)
        CHECK(take_used(&t, REQUEST));
    device_resume(t.d);
    CHECK_EQ(write_at(&t, fh, 0, "x", 1), 0); /* what is open stays so */
    rig_fini(&t);
}

TEST(fs_fails_requests_when_its_server_is_gone)
{
    struct rig t;
    u64 fh;

    rig_init(&t, 0);
    CHECK_EQ(init_session(&t), 0);
    CHECK_EQ(create(&t, "f", &fh), 0);
    kill(t.server, SIGSTOP);
    add_many(&t, 4);
    turn(&t);
    kill(t.server, SIGKILL);
    for (u32 i = 0; i < 4; i++)
        wait_used(&t, REQUEST);
    CHECK_EQ(ask(&t, &(struct req){ FUSE_LOOKUP, 1, NULL, 0, "f", 2, ROOM }), -EIO);
    CHECK_EQ(write_at(&t, fh, 0, "x", 1), 0); /* the file itself is here */
    driver_fake_reset(&t.g);
    drive(&t, 0);
    CHECK_EQ(init_session(&t), -EIO);
    rig_fini(&t);
}

TEST(fs_has_the_server_write_where_set_id_bits_stay)
{
    static u8 large[SHARE_DATA_MAX + 4096];
    char path[160];
    struct stat st;
    struct rig t;
    u64 fh;

    if (geteuid() != 0)
        test_skip("needs root, who keeps them");
    rig_init(&t, 0);
    CHECK_EQ(init_session(&t), 0);
    CHECK_EQ(create(&t, "f", &fh), 0);
    str_fmt(path, sizeof(path), "%s/f", t.dir);
    must(chmod(path, 04755) == 0);
    CHECK_EQ(write_at(&t, fh, 0, large, sizeof(large)), 0);
    CHECK_EQ(written(&t), SHARE_DATA_MAX);
    must(stat(path, &st) == 0);
    CHECK_EQ(st.st_mode, S_IFREG | 04755);
    CHECK_EQ(st.st_size, SHARE_DATA_MAX);
    rig_fini(&t);
}

TEST(fs_tags_are_names)
{
    CHECK(fs_tag_ok("a") && fs_tag_ok("Data-1.x_y") &&
          fs_tag_ok("123456789012345678901234567890123456"));
    CHECK(!fs_tag_ok("") && !fs_tag_ok("a b") &&
          !fs_tag_ok("1234567890123456789012345678901234567"));
}
