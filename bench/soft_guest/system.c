/*
 * bench/soft_guest/system.c: processes, page faults, pipes, system calls, files.
 */
#include "loads.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t fork_exec(uint32_t n)
{
    uint64_t sum = 0;

    while (n--) {
        int status = 0;
        pid_t child = fork();

        if (child == 0) {
            execl("/proc/self/exe", "exit", NULL);
            execl("/init", "exit", NULL);
            _exit(1);
        }
        waitpid(child, &status, 0);
        sum += (unsigned)WEXITSTATUS(status);
    }
    return sum;
}

static uint64_t faults(uint32_t n)
{
    enum { SIZE = 1 << 20 };
    uint64_t sum = 0;

    while (n--) {
        unsigned char *p =
            mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (p == MAP_FAILED)
            return 0;
        for (unsigned i = 0; i < SIZE; i += 4096)
            sum += ++p[i];
        munmap(p, SIZE);
    }
    return sum;
}

static uint64_t ping_pong(uint32_t n)
{
    int there[2], back[2];
    char c = 0;
    pid_t child;

    if (pipe(there) < 0 || pipe(back) < 0)
        return 0;
    child = fork();
    if (child == 0) {
        close(there[1]);
        while (read(there[0], &c, 1) == 1 && write(back[1], &c, 1) == 1) {
        }
        _exit(0);
    }
    for (uint32_t i = 0; i < n; i++)
        if (write(there[1], &c, 1) != 1 || read(back[0], &c, 1) != 1)
            return 0;
    close(there[1]);
    close(there[0]);
    waitpid(child, NULL, 0);
    close(back[0]);
    close(back[1]);
    return n;
}

static uint64_t system_calls(uint32_t n)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < n; i++)
        sum += syscall(SYS_getuid) == 0;
    return n + sum * 0;
}

static uint64_t file_read(uint32_t n)
{
    enum { SIZE = 4 << 20, PIECE = 64 << 10 };
    static char buf[PIECE];
    char path[] = "/tmp/loadXXXXXX";
    uint64_t sum = 0;
    int fd = mkstemp(path);

    unlink(path);
    for (unsigned i = 0; i < SIZE; i += PIECE) {
        buf[0] = (char)i;
        if (write(fd, buf, PIECE) != PIECE)
            return 0;
    }
    while (n--)
        for (unsigned i = 0; i < SIZE; i += PIECE)
            sum += pread(fd, buf, PIECE, i) == PIECE;
    close(fd);
    return sum;
}

const struct load system_loads[] = {
    { "fork-exec", fork_exec, 150 },  { "page-faults", faults, 60 },
    { "ping-pong", ping_pong, 5000 }, { "system-calls", system_calls, 300000 },
    { "file-read", file_read, 40 },   {},
};
