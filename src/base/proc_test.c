/*
 * base/proc_test.c: memory of this process, and of those below it.
 */
#include "base/proc.h"

#include "testlib/test.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TOUCHED = 32 << 20 };

static void touch(bool shared)
{
    char *p = mmap(NULL, TOUCHED, PROT_READ | PROT_WRITE,
                   MAP_ANONYMOUS | (shared ? MAP_SHARED : MAP_PRIVATE), -1, 0);

    must(p != MAP_FAILED);
    memset(p, 1, TOUCHED);
}

/* In a child: a grandchild has the memory; it is told when it is there. */
_Noreturn static void family(int ready, bool shared)
{
    pid_t pid = fork();

    if (pid == 0) {
        touch(shared);
        must(write(ready, "x", 1) == 1);
        for (;;)
            pause();
    }
    pause();
    kill(pid, SIGKILL);
    _exit(0);
}

static void on_term(int number [[maybe_unused]])
{
}

static u64 below_with(bool shared)
{
    int fds[2];
    u64 bytes;
    char byte;
    pid_t pid;

    CHECK_EQ(pipe(fds), 0);
    sigaction(SIGTERM, &(struct sigaction){ .sa_handler = on_term }, NULL);
    pid = fork();
    if (pid == 0)
        family(fds[1], shared);
    CHECK_EQ(read(fds[0], &byte, 1), 1);
    bytes = proc_below((u32)getpid());
    kill(pid, SIGTERM);
    waitpid(pid, NULL, 0);
    close(fds[0]);
    close(fds[1]);
    return bytes;
}

TEST(proc_memory)
{
    const u64 before = proc_resident((u32)getpid());

    CHECK(before > 0 && before < TiB);
    CHECK_EQ(proc_resident(0x7ffffff0), 0);
    CHECK_EQ(proc_below((u32)getpid()), 0);
    CHECK(below_with(false) >= TOUCHED);
    CHECK(below_with(true) < TOUCHED); /* it may be others', too */
    touch(false);
    CHECK(proc_resident((u32)getpid()) >= before + TOUCHED / 2);
    CHECK_EQ(proc_below((u32)getpid()), 0); /* its own is not below it */
}
