/*
 * bench/stopwatch.c: times a command from its start to a line of its output, and to its end.
 * Usage: stopwatch MARKER SECONDS COMMAND [ARGUMENT]...
 * Prints "MARKER_US END_US", microseconds, on standard output; the command's output goes to standard error.
 * Exit status: 0; 1 when the marker never came or the command had to be ended after SECONDS; 2 wrong use.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WINDOW = 8192 };

static long long now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1'000'000ll + t.tv_nsec / 1000;
}

/* The command with its output in *ret_fd and nothing to read.  It leads a process group, so that all of it can be ended. */
static pid_t start(char **argv, int *ret_fd)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -1;

    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDONLY);
        setpgid(0, 0);
        dup3(null, 0, 0);
        dup3(ends[1], 1, 0);
        dup3(ends[1], 2, 0);
        execvp(argv[0], argv);
        perror(argv[0]);
        _exit(127);
    }
    close(ends[1]);
    *ret_fd = ends[0];
    return pid;
}

/* Time of the marker, 0 when the output ended or the deadline passed without it; reads on until the end. */
static long long watch(int fd, const char *marker, long long deadline)
{
    static char seen[WINDOW + 1];
    size_t have = 0, keep = strlen(marker);
    long long at = 0;

    for (;;) {
        struct pollfd p = { .fd = fd, .events = POLLIN };
        long long left = deadline - now_us();
        if (left <= 0 || poll(&p, 1, (int)(left / 1000) + 1) < 0)
            return at;
        if (p.revents == 0)
            continue;

        ssize_t n = read(fd, seen + have, WINDOW - have);
        if (n <= 0)
            return at;
        if (write(2, seen + have, (size_t)n) < 0)
            return at;
        have += (size_t)n;
        if (!at && memmem(seen, have, marker, keep))
            at = now_us();

        /* The marker may come in two reads: its possible beginning stays. */
        size_t rest = have < keep ? have : keep;
        memmove(seen, seen + have - rest, rest);
        have = rest;
    }
}

int main(int argc, char **argv)
{
    long long seconds = 0; /* tidy: allow banned: this program links nothing of src/ */
    if (argc < 4 || (seconds = strtoll(argv[2], NULL, 10)) <= 0 || strlen(argv[1]) == 0 ||
        strlen(argv[1]) > WINDOW / 2) {
        fprintf(stderr, "usage: stopwatch MARKER SECONDS COMMAND [ARGUMENT]...\n");
        return 2;
    }

    int fd = -1, status = 0;
    long long begin = now_us(), deadline = begin + seconds * 1'000'000;
    pid_t pid = start(argv + 3, &fd);
    if (pid < 0) {
        perror("stopwatch");
        return 2;
    }

    long long at = watch(fd, argv[1], deadline);
    if (now_us() >= deadline)
        kill(-pid, SIGKILL);
    waitpid(pid, &status, 0);

    long long end = now_us();
    if (!at || end >= deadline)
        return 1;
    printf("%lld %lld\n", at - begin, end - begin);
    return 0;
}
