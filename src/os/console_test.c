/*
 * os/console_test.c: what a container writes, and who gets which part of it.
 */
#include "os/console.h"

#include "base/console_head.h"
#include "testlib/test.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { RECENT = 64 * 1024 };

struct rig {
    struct loop loop;
    struct os_console console;
    int container; /* the other end of what is plugged in as its terminal */
};

static void turn(struct rig *r)
{
    for (u32 i = 0; i < 8; i++)
        uv_run(&r->loop.uv, UV_RUN_NOWAIT);
}

static void rig_open(struct rig *r)
{
    struct err e = {};
    int pair[2];

    CHECK_EQ(loop_init(&r->loop, "test"), 0);
    CHECK_OK(os_console_open(&r->console, &r->loop, test_dir(), &e), &e);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    CHECK_OK(os_console_plug(&r->console, pair[0], &e), &e);
    r->container = pair[1];
}

static void forget_log(void)
{
    char log[100];

    str_fmt(log, sizeof(log), "%s/console.log", test_dir());
    unlink(log);
}

static void rig_close(struct rig *r)
{
    os_console_close(&r->console);
    close(r->container);
    loop_fini(&r->loop);
}

/* The container writes `n` bytes, each of them as its position says. */
static void says(struct rig *r, u64 *written, u32 n)
{
    for (u32 i = 0; i < n; i++, ++*written) {
        const u8 byte = (u8)(*written * 7 ^ *written >> 8);

        while (write(r->container, &byte, 1) != 1)
            turn(r);
        if (i % 512 == 0)
            turn(r);
    }
    turn(r);
}

static int dial(struct rig *r, bool head)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

    if (head)
        CHECK_EQ(console_head_ask(fd), 0);
    str_copy(at.sun_path, sizeof(at.sun_path), r->console.path);
    CHECK_EQ(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    turn(r);
    return fd;
}

/* All that `fd` has: how much, each byte of the position that follows. */
static u64 hears(struct rig *r, int fd, u64 position)
{
    const u64 from = position;
    u8 bytes[4096];
    ssize_t n;

    for (u32 idle = 0; idle < 2; turn(r)) {
        n = read(fd, bytes, sizeof(bytes));
        idle = n > 0 ? 0 : idle + 1;
        for (ssize_t i = 0; i < n; i++, position++)
            CHECK_EQ(bytes[i], (u8)(position * 7 ^ position >> 8));
    }
    return position - from;
}

static struct console_head head_of(int fd)
{
    u8 bytes[CONSOLE_HEAD_SIZE];
    struct console_head h = {};

    CHECK_EQ(read(fd, bytes, sizeof(bytes)), (ssize_t)sizeof(bytes));
    CHECK(console_head_get(bytes, sizeof(bytes), &h));
    return h;
}

TEST(os_console_heads_miss_nothing)
{
    struct console_head head;
    struct rig r = {};
    u64 written = 0, stream;
    int one, two;

    forget_log();
    rig_open(&r);
    one = dial(&r, true);
    head = head_of(one);
    stream = head.stream;
    CHECK_EQ(head.position, 0);
    CHECK_EQ(head.before, 0);
    for (u32 round = 0; round < 40; round++) {
        says(&r, &written, 1000 * round % 7919);
        two = dial(&r, true);
        head = head_of(two);
        CHECK_EQ(head.stream, stream);
        CHECK_EQ(head.position, written);
        CHECK_EQ(head.before, min(written, (u64)RECENT));
        says(&r, &written, 10);
        CHECK_EQ(hears(&r, two, head.position - head.before), head.before + 10);
        close(two);
        turn(&r);
    }
    CHECK(written > RECENT);
    CHECK_EQ(hears(&r, one, 0), written);
    close(one);
    rig_close(&r);
}

TEST(os_console_keeps_what_nobody_saw)
{
    struct rig r = {};
    u64 written = 0;
    int one, two;

    forget_log();
    rig_open(&r);
    says(&r, &written, 3 * RECENT);
    one = dial(&r, false);
    CHECK_EQ(hears(&r, one, written - RECENT), RECENT);
    two = dial(&r, false);
    CHECK_EQ(hears(&r, two, written), 0);
    close(one);
    close(two);
    turn(&r);
    says(&r, &written, 5);
    one = dial(&r, false);
    CHECK_EQ(hears(&r, one, written - 5), 5);
    close(one);
    rig_close(&r);
}

/* socle-os ends with its container; its log stays. */
TEST(os_console_begins_with_the_end_of_its_log)
{
    struct console_head head;
    struct rig r = {};
    u64 written = 0;
    int fd;

    forget_log();
    rig_open(&r);
    says(&r, &written, 20000);
    rig_close(&r);
    rig_open(&r);
    says(&r, &written, 7);
    fd = dial(&r, true);
    head = head_of(fd);
    CHECK_EQ(head.position, 16384 + 7);
    CHECK_EQ(head.before, 16384 + 7);
    CHECK_EQ(hears(&r, fd, written - head.before), head.before);
    close(fd);
    rig_close(&r);
}

/* Neither holds up the container; who can come again is hung up, the other lacks a part. */
TEST(os_console_slow_clients)
{
    enum { MUCH = 2 * 1024 * 1024 };
    struct rig r = {};
    u64 written = 0, got;
    int headed, plain;

    forget_log();
    rig_open(&r);
    headed = dial(&r, true);
    plain = dial(&r, false);
    says(&r, &written, MUCH);
    CHECK_EQ(head_of(headed).position, 0);
    got = hears(&r, headed, 0);
    CHECK(got > 0 && got < MUCH);
    CHECK_EQ(read(headed, &(u8){ 0 }, 1), 0);
    got = hears(&r, plain, 0);
    CHECK(got > 0 && got < MUCH);
    CHECK_EQ(read(plain, &(u8){ 0 }, 1), -1);
    close(headed);
    close(plain);
    rig_close(&r);
}
