/*
 * bench/soft_guest/main.c: runs the loads of bench/soft.sh: as a guest's /init, or natively.  It says "ready NAME", waits for a
 * line, says "done NAME NUMBER" after the load, and so on; "end" is the last.  The host reads the CPU time it has used in between.
 * Arguments (of the kernel's command line, too): "loads=NAME,NAME" and "share=PER CENT" of the rounds.
 */
#include "loads.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *wanted;
static uint32_t share = 100;

static bool is_wanted(const char *name)
{
    size_t n = strlen(name);

    for (const char *p = wanted; p && *p; p += strcspn(p, ",") + (p[strcspn(p, ",")] == ','))
        if (strcspn(p, ",") == n && strncmp(p, name, n) == 0)
            return true;
    return !wanted;
}

static void ready(const char *name)
{
    char line[16];

    printf("ready %s\n", name);
    fflush(stdout);
    if (!fgets(line, sizeof(line), stdin))
        printf("no answer\n");
}

static uint32_t rounds(uint32_t n)
{
    uint32_t r = (uint32_t)((uint64_t)n * share / 100);

    return r ? r : 1;
}

static void run(const struct load *l)
{
    uint64_t ret;

    if (!is_wanted(l->name))
        return;
    ready(l->name);
    ret = l->run(rounds(l->n));
    printf("done %s %llx\n", l->name, (unsigned long long)ret);
    fflush(stdout);
}

static void *one_thread(void *arg)
{
    const struct load *l = arg;

    l->run(rounds(l->n));
    return NULL;
}

/* ms that `n` threads take for the same work each. */
static double threads(const struct load *l, unsigned n)
{
    struct timespec a, b;
    pthread_t t[2];

    clock_gettime(CLOCK_MONOTONIC, &a);
    for (unsigned i = 0; i < n; i++)
        pthread_create(&t[i], NULL, one_thread, (void *)(uintptr_t)l);
    for (unsigned i = 0; i < n; i++)
        pthread_join(t[i], NULL);
    clock_gettime(CLOCK_MONOTONIC, &b);
    return (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6;
}

/* "smp ONE TWO": wall-clock ms of one thread, and of two that do as much each. */
static void smp(void)
{
    const struct load *l = compute_loads;

    if (!is_wanted("smp"))
        return;
    ready("smp");
    threads(l, 1);
    printf("smp %.1f %.1f\n", threads(l, 1), threads(l, 2));
    fflush(stdout);
}

static uint32_t number(const char *text)
{
    uint32_t n = 0;

    for (; *text >= '0' && *text <= '9'; text++)
        n = n * 10 + (uint32_t)(*text - '0');
    return n;
}

int main(int argc, char **argv)
{
    bool init = getpid() == 1;

    if (strcmp(argv[0], "exit") == 0)
        return 3;
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "loads=", 6) == 0)
            wanted = argv[i] + 6;
        if (strncmp(argv[i], "share=", 6) == 0)
            share = number(argv[i] + 6);
    }
    if (init) {
        mkdir("/tmp", 0700);
        mount("none", "/tmp", "tmpfs", 0, NULL);
    }
    for (const struct load *l = system_loads; l->name; l++)
        run(l);
    for (const struct load *l = compute_loads; l->name; l++)
        run(l);
    smp();
    printf("end\n");
    fflush(stdout);
    if (init)
        reboot(RB_POWER_OFF);
    return 0;
}
