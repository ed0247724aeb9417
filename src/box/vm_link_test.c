/*
 * box/vm_link_test.c: frames between a host and a container that is a machine: in parts, more than fit, and what is none.
 */
#include "box/vm_link.h"

#include "testlib/test.h"

#include <sys/socket.h>
#include <unistd.h>

static void pair(int fd[2])
{
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
}

TEST(vm_link_frames)
{
    struct vm_link a, b;
    const char *data;
    char big[VM_PART_MAX];
    u32 len;
    int fd[2];

    pair(fd);
    memset(big, 'x', sizeof(big));
    vm_link_init(&a, fd[0], VM_PART_MAX);
    vm_link_init(&b, fd[1], VM_PART_MAX);
    vm_link_add(&a, VM_OUTPUT, "hello", 5);
    vm_link_add(&a, VM_INPUT, NULL, 0);
    vm_link_add(&a, VM_ERROR, big, sizeof(big));
    CHECK_EQ(vm_link_pump(&a), 0);
    CHECK_EQ(vm_link_next(&b, &data, &len), 0);
    CHECK_EQ(vm_link_pump(&b), 0);
    CHECK_EQ(vm_link_next(&b, &data, &len), VM_OUTPUT);
    CHECK(len == 5 && memcmp(data, "hello", 5) == 0);
    vm_link_drop(&b);
    CHECK_EQ(vm_link_next(&b, &data, &len), VM_INPUT);
    CHECK_EQ(len, 0);
    vm_link_drop(&b);
    CHECK_EQ(vm_link_next(&b, &data, &len), 0); /* the rest has not come */
    CHECK_EQ(vm_link_pump(&b), 0);
    CHECK_EQ(vm_link_next(&b, &data, &len), VM_ERROR);
    CHECK(len == sizeof(big) && memcmp(data, big, len) == 0);
    vm_link_drop(&b);
    CHECK_EQ(b.in.len, 0);
    close(fd[0]);
    CHECK_EQ(vm_link_pump(&b), 0);
    CHECK(b.ended);
    close(fd[1]);
    vm_link_fini(&a);
    vm_link_fini(&b);
}

TEST(vm_link_room)
{
    struct vm_link a;
    char part[VM_PART_MAX] = "";
    int fd[2];

    pair(fd);
    vm_link_init(&a, fd[0], VM_PART_MAX);
    for (int i = 0; i < 4; i++) {
        CHECK(vm_link_has_room(&a));
        vm_link_add(&a, VM_OUTPUT, part, sizeof(part));
    }
    CHECK(!vm_link_has_room(&a));
    close(fd[1]);
    CHECK(vm_link_pump(&a) < 0);
    close(fd[0]);
    vm_link_fini(&a);
}

TEST(vm_link_hostile)
{
    static const struct {
        const char *why, *bytes;
        int next;
    } rows[] = {
        { "no kind", "\0\0\0\0\0", -EBADMSG },
        { "an unknown kind", "\x09\0\0\0\0", -EBADMSG },
        { "too long", "\x05\x01\x40\0\0", -EBADMSG },
        { "very long", "\x05\xff\xff\xff\xff", -EBADMSG },
        { "as long as may be, and not here", "\x05\0\x40\0\0", 0 },
        { "empty", "\x05\0\0\0\0", VM_OUTPUT },
    };

    for_each_row(row, rows) {
        struct vm_link l;
        const char *data;
        u32 len;

        ROW(row);
        vm_link_init(&l, -1, VM_PART_MAX);
        strbuf_add_mem(&l.in, row->bytes, 5);
        CHECK_EQ(vm_link_next(&l, &data, &len), row->next);
        vm_link_fini(&l);
    }
}
