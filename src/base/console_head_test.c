/*
 * base/console_head_test.c: who asks for a head is known by his name, and a head is read as it was written.
 */
#include "base/console_head.h"

#include "base/base.h"

#include "testlib/test.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

TEST(console_head_there_and_back)
{
    static const struct console_head rows[] = { { 1, 0, 0 },
                                                { 0x0102030405060708, 70000, 65536 },
                                                { UINT64_MAX, UINT64_MAX, UINT32_MAX } };
    u8 bytes[CONSOLE_HEAD_SIZE];
    struct console_head got;

    for_each_row(h, rows) {
        console_head_put(bytes, h);
        CHECK(console_head_get(bytes, sizeof(bytes), &got));
        CHECK_EQ(got.stream, h->stream);
        CHECK_EQ(got.position, h->position);
        CHECK_EQ(got.before, h->before);
        CHECK(!console_head_get(bytes, sizeof(bytes) - 1, &got));
        bytes[7]++;
        CHECK(!console_head_get(bytes, sizeof(bytes), &got));
    }
}

TEST(console_head_refuses)
{
    static const struct console_head rows[] = { { 0, 5, 5 }, { 1, 4, 5 } };
    u8 bytes[CONSOLE_HEAD_SIZE];
    struct console_head got;

    for_each_row(h, rows) {
        console_head_put(bytes, h);
        CHECK(!console_head_get(bytes, sizeof(bytes), &got));
    }
}

TEST(console_head_is_asked_for_by_name)
{
    static const struct {
        const char *why;
        u32 len;
        bool asked;
    } rows[] = {
        { "", 0, false },
        { "\0socle-console-hea", 18, false },
        { "\0socle-console-head-", 20, true },
        { "\0socle-console-heaD-x", 21, false },
        { "\0another", 8, false },
    };
    int pair[2], listener = socket(AF_UNIX, SOCK_STREAM, 0), fd, other;
    struct sockaddr_un at = { .sun_family = AF_UNIX };

    str_fmt(at.sun_path, sizeof(at.sun_path), "%s/asked.sock", test_dir());
    CHECK_EQ(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
    CHECK_EQ(listen(listener, 8), 0);
    for_each_row(c, rows) {
        struct sockaddr_un own = { .sun_family = AF_UNIX };

        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        memcpy(own.sun_path, c->why, c->len);
        if (c->len)
            CHECK_EQ(bind(fd, (struct sockaddr *)&own, (socklen_t)sizeof(sa_family_t) + c->len), 0);
        CHECK_EQ(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
        other = accept(listener, NULL, NULL);
        CHECK_EQ(console_head_is_asked(other), c->asked);
        close(fd);
        close(other);
    }
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    CHECK(!console_head_is_asked(pair[0]));
    CHECK(!console_head_is_asked(-1));
    close(pair[0]);
    close(pair[1]);
    for (u32 i = 0; i < 3; i++) { /* each has a name of his own */
        fd = socket(AF_UNIX, SOCK_STREAM, 0);
        other = socket(AF_UNIX, SOCK_STREAM, 0);
        CHECK_EQ(console_head_ask(fd), 0);
        CHECK_EQ(console_head_ask(other), 0);
        CHECK_EQ(console_head_ask(fd), -EINVAL);
        CHECK_EQ(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
        close(other);
        other = accept(listener, NULL, NULL);
        CHECK(console_head_is_asked(other));
        close(fd);
        close(other);
    }
    close(listener);
}
