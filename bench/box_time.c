/*
 * bench/box_time.c: runs commands in turn and says what each costs.  Usage: box_time ROUNDS NAME COMMAND… -- NAME COMMAND… [-- …]
 * Prints a line for each: NAME, median and least wall time in microseconds, CPU time of one run (with its children), peak memory in KiB.
 * Exit status 1 when a command fails.
 */
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { COMMANDS_MAX = 8, ROUNDS_MAX = 10000, WARM_UP = 5 };

static struct command {
    char **argv; /* name, then the command */
    long wall_us[ROUNDS_MAX], cpu_us, rss_kib;
} commands[COMMANDS_MAX];

static long now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1'000'000l + t.tv_nsec / 1000;
}

static long us(struct timeval t)
{
    return t.tv_sec * 1'000'000l + t.tv_usec;
}

/* One run; into place `at` of its times, or nowhere when it is negative. */
static int run(struct command *c, int at)
{
    long begin = now_us();
    struct rusage used;
    int status;
    pid_t pid;

    if (posix_spawnp(&pid, c->argv[1], NULL, NULL, c->argv + 1, environ) != 0 ||
        wait4(pid, &status, 0, &used) < 0)
        return -1;
    if (status)
        return -1;
    if (at < 0)
        return 0;
    c->wall_us[at] = now_us() - begin;
    c->cpu_us += us(used.ru_utime) + us(used.ru_stime);
    c->rss_kib = used.ru_maxrss > c->rss_kib ? used.ru_maxrss : c->rss_kib;
    return 0;
}

static int by_size(const void *a, const void *b)
{
    return (*(const long *)a > *(const long *)b) - (*(const long *)a < *(const long *)b);
}

int main(int argc, char **argv)
{
    /* tidy: allow banned: this program links nothing of src/ */
    int rounds = argc > 2 ? (int)strtol(argv[1], NULL, 10) : 0, n = 0;

    for (int i = 2; i < argc && n < COMMANDS_MAX; i++) {
        commands[n++].argv = argv + i;
        while (i < argc && strcmp(argv[i], "--") != 0)
            i++;
        argv[i] = NULL;
    }
    if (rounds < 1 || rounds > ROUNDS_MAX || n == 0)
        return 2;
    for (int round = -WARM_UP; round < rounds; round++) {
        for (int i = 0; i < n; i++) {
            if (run(&commands[i], round) < 0) {
                fprintf(stderr, "box_time: %s failed\n", commands[i].argv[0]);
                return 1;
            }
        }
    }
    for (int i = 0; i < n; i++) {
        struct command *c = &commands[i];

        qsort(c->wall_us, (size_t)rounds, sizeof(long), by_size);
        printf("%s %ld %ld %ld %ld\n", c->argv[0], c->wall_us[rounds / 2], c->wall_us[0],
               c->cpu_us / rounds, c->rss_kib);
    }
    return 0;
}
