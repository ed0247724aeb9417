/*
 * box/sync_test.c: errors and files travel; a hostile or a dead other end is an error.
 */
#include "box/sync.h"

#include "testlib/test.h"

#include <sys/socket.h>
#include <unistd.h>

TEST(sync_messages)
{
    struct err e = {}, got = {};
    pid_t pid = 0;
    int fd[2], file;

    CHECK_OK(sync_pair(fd, &e), &e);
    CHECK_EQ(sync_send(fd[0], SYNC_PID, 77), 0);
    CHECK_EQ(sync_wait(fd[1], &pid, &e), SYNC_PID);
    CHECK_EQ(pid, 77);
    err_set(&e, -EPERM, "no '%s'", "way");
    sync_fail(fd[1], &e);
    CHECK_EQ(sync_wait(fd[0], NULL, &got), -EPERM);
    CHECK_STR(got.text, "no 'way'");
    CHECK_EQ(sync_send_fd(fd[0], 2, "x"), 0);
    file = sync_take_fd(fd[1]);
    CHECK(file > 2);
    close(file);
    CHECK_EQ(send(fd[0], "short", 5, 0), 5);
    CHECK_EQ(sync_wait(fd[1], NULL, &got), -EPIPE);
    CHECK_EQ(send(fd[0], "no file", 7, 0), 7);
    CHECK_EQ(sync_take_fd(fd[1]), -EPIPE);
    close(fd[0]);
    CHECK_EQ(sync_wait(fd[1], NULL, &got), -EPIPE);
    CHECK_HAS(got.text, "ended while");
    CHECK(sync_send(fd[1], SYNC_GO, 0) < 0);
    close(fd[1]);
}
