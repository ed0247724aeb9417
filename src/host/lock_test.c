/*
 * host/lock_test.c: the folder's lock, when its holder lives, and when it was killed with a child that has it still.
 */
#include "host/lock.h"

#include "testlib/test.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A pid that was a process's, and is no one's. */
static pid_t dead_pid(void)
{
    const pid_t pid = fork();

    if (pid == 0)
        _exit(0);
    CHECK(pid > 0 && waitpid(pid, NULL, 0) == pid);
    return pid;
}

static void *let_go(void *arg)
{
    (void)poll(NULL, 0, 60);
    (void)flock(*(int *)arg, LOCK_UN);
    return NULL;
}

TEST(lock_held)
{
    static const struct {
        const char *why;
        bool alive, goes;
        int r;
    } rows[] = {
        { "another socled runs", true, false, -EBUSY },
        { "it runs, and ends later", true, true, -EBUSY },
        { "it was killed, and its child lets go", false, true, 0 },
    };

    for_each_row(c, rows) {
        AUTO(free)
        char *dir = str_new("%s/lock-%d-%d", test_dir(), c->alive, c->goes),
             *path = str_new("%s/lock", dir),
             *pid = str_new("%d\n", (int)(c->alive ? getpid() : dead_pid()));
        AUTO(fd) int held = -1, fd = -1;
        struct err e = {};
        pthread_t thread;

        ROW(c);
        CHECK_EQ(mkdir(dir, 0700), 0);
        held = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        CHECK_EQ(fd_write_all(held, pid, strlen(pid)), 0);
        CHECK_EQ(flock(held, LOCK_EX), 0);
        if (c->goes)
            CHECK_EQ(pthread_create(&thread, NULL, let_go, &held), 0);
        fd = lock_take(dir, &e);
        if (c->goes)
            pthread_join(thread, NULL);
        CHECK_EQ(min(fd, 0), c->r);
        if (c->r)
            CHECK_HAS(e.text, "in use by another socled");
    }
}
