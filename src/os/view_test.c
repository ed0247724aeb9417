/*
 * os/view_test.c: what a container is shown of itself.
 */
#include "os/view.h"

#include "base/clock.h"
#include "testlib/test.h"

static const struct view usual = {
    .memory = 64 * MiB,
    .used = 20 * MiB,
    .cached = 4 * MiB,
    .shared = 2 * MiB,
    .cpus = 2,
    .up_ns = 100 * NSEC_PER_SEC,
    .user_us = 30000000,
    .system_us = 10000000,
    .now_s = 1000100,
    .load = { 1.5, 0.25, 0 },
    .tasks = 7,
    .host_cpuinfo = "processor\t: 0\nmodel\t: x\n\nprocessor\t: 1\n\nprocessor\t: 2\n\n",
};

TEST(view_texts)
{
    static const struct {
        const char *why;
        enum view_file file;
        const char *has;
    } rows[] = {
        { "its memory", VIEW_MEMINFO,
          "MemTotal:          65536 kB\nMemFree:           45056 kB\nMemAvailable:      49152 "
          "kB\n" },
        { "files and tmpfs", VIEW_MEMINFO, "\nCached:             6144 kB\n" },
        { "no swap", VIEW_MEMINFO, "\nSwapTotal:             0 kB\n" },
        { "as many CPUs as it has", VIEW_CPUINFO,
          "processor\t: 0\nmodel\t: x\n\nprocessor\t: 1\n\n" },
        { "their time", VIEW_STAT, "cpu  3000 0 1000 16000 0 0 0 0 0 0\ncpu0 1500 0 500 8000 " },
        { "when it began", VIEW_STAT, "\nbtime 1000000\n" },
        { "since then", VIEW_UPTIME, "100.00 160.00\n" },
        { "its load", VIEW_LOADAVG, "1.50 0.25 0.00 1/7 7\n" },
        { "no swap device", VIEW_SWAPS, "Filename" },
        { "numbers of CPUs", VIEW_ONLINE, "0-1\n" },
    };

    for_each_row(c, rows) {
        AUTO(strbuf) struct strbuf out = {};

        ROW(c);
        view_print(c->file, &usual, &out);
        CHECK_HAS(out.text, c->has);
        CHECK(c->file != VIEW_CPUINFO || !strstr(out.text, ": 2"));
        CHECK(c->file != VIEW_STAT || !strstr(out.text, "cpu2"));
    }
}

/* Numbers of the kernel are read one after the other, so they may contradict each other. */
TEST(view_of_contradictions)
{
    const struct view odd = { .memory = MiB,
                              .used = 9 * MiB,
                              .cached = 8 * MiB,
                              .shared = 7 * MiB,
                              .cpus = 1,
                              .up_ns = NSEC_PER_SEC,
                              .user_us = 99000000,
                              .now_s = 5,
                              .host_cpuinfo = "" };
    AUTO(strbuf) struct strbuf all = {};

    for (u32 f = 0; f < VIEW_FILES; f++)
        view_print((enum view_file)f, &odd, &all);
    CHECK_HAS(all.text, "MemFree:               0 kB");
    CHECK_HAS(all.text, "MemAvailable:       1024 kB");
    CHECK_HAS(all.text, "1.00 0.00\n");
    CHECK_HAS(all.text, "\n0\n");
    CHECK(!strstr(all.text, "-"));
    for (const char *at = all.text; (at = strpbrk(at, "0123456789"));
         at += strspn(at, "0123456789"))
        CHECK(strspn(at, "0123456789") < 11); /* nothing went below 0 */
}

TEST(view_loads)
{
    double load[3] = {};

    view_load(load, 2, 60 * NSEC_PER_SEC);
    CHECK(load[0] > 1.26 && load[0] < 1.27); /* 2 (1 - 1/e) */
    CHECK(load[1] > load[2] && load[1] < load[0] && load[2] > 0);
    view_load(load, 2, 3600 * NSEC_PER_SEC);
    CHECK(load[0] > 1.99 && load[0] <= 2 && load[2] > 1.9);
    view_load(load, 0, 3600 * NSEC_PER_SEC);
    CHECK(load[0] < 0.01);
}
