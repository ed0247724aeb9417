/*
 * host/metrics_test.c: values of samples, what a machine may say, rows that wrap, and what is told of them.
 */
#include "host/metrics.h"

#include "base/clock.h"
#include "host/host_rig.h"
#include "testlib/test.h"

#include <math.h>

#define HAVE(m) (1u << METRIC_##m)

TEST(metrics_values)
{
    static const struct {
        const char *why;
        enum metric of;
        struct metric_sample from, to;
        double want; /* -1: not known */
    } rows[] = {
        { "half a CPU for two seconds",
          METRIC_CPU,
          { .at_ns = 1, .have = HAVE(CPU), .raw[METRIC_CPU] = 5000 },
          { .at_ns = 1 + 2 * NSEC_PER_SEC,
            .have = HAVE(CPU),
            .raw[METRIC_CPU] = 5000 + NSEC_PER_SEC },
          500 },
        { "bytes a second",
          METRIC_READ_BYTES,
          { .at_ns = 7, .have = HAVE(READ_BYTES), .raw[METRIC_READ_BYTES] = 100 },
          { .at_ns = 7 + NSEC_PER_SEC / 2,
            .have = HAVE(READ_BYTES),
            .raw[METRIC_READ_BYTES] = 1100 },
          2000 },
        { "nanoseconds of three reads",
          METRIC_READ_US,
          { .at_ns = 1, .have = HAVE(READ_US), .raw = { [METRIC_READS] = 1 } },
          { .at_ns = 9,
            .have = HAVE(READ_US),
            .raw = { [METRIC_READS] = 4, [METRIC_READ_US] = 6000 } },
          2 },
        { "no read",
          METRIC_READ_US,
          { .at_ns = 1, .have = HAVE(READ_US) },
          { .at_ns = 9, .have = HAVE(READ_US) },
          -1 },
        { "a gauge",
          METRIC_MEMORY,
          { .at_ns = 1 },
          { .at_ns = 2, .have = HAVE(MEMORY), .raw[METRIC_MEMORY] = 42 },
          42 },
        { "it began anew",
          METRIC_EXITS,
          { .have = HAVE(EXITS), .raw[METRIC_EXITS] = 9 },
          { .at_ns = 9, .have = HAVE(EXITS) },
          -1 },
        { "not known then",
          METRIC_EXITS,
          { .at_ns = 1 },
          { .at_ns = 9, .have = HAVE(EXITS), .raw[METRIC_EXITS] = 9 },
          -1 },
        { "no time between",
          METRIC_EXITS,
          { .have = HAVE(EXITS) },
          { .have = HAVE(EXITS), .raw[METRIC_EXITS] = 9 },
          -1 },
    };

    for_each_row(row, rows) {
        double value[METRICS];

        ROW(row);
        metrics_values(&row->from, &row->to, value);
        if (row->want < 0)
            CHECK(isnan(value[row->of]));
        else
            CHECK(fabs(value[row->of] - row->want) < 0.001);
    }
}

TEST(metrics_of_a_machine)
{
    static const struct {
        const char *why, *stats;
        u32 have;
        u64 reads, in_bytes, exits;
    } rows[] = {
        { "several devices and CPUs",
          "{\"devices\": {\"disk0\": {\"reads\": 3}, \"disk1\": {\"reads\": 4}, \"net0\": "
          "{\"rx_bytes\": 5}, \"rng0\": {\"bytes\": 6}},"
          " \"exits\": {\"vcpu0\": {\"io\": 1, \"hlt\": 2}, \"vcpu1\": {\"io\": 3}}}",
          HAVE(READS) | HAVE(IN_BYTES) | HAVE(EXITS), 7, 5, 6 },
        { "nothing", "{}", 0 },
        { "a list", "[1]", 0 },
        { "other kinds", "{\"devices\": [], \"exits\": {\"vcpu0\": 7}}", 0 },
        { "below zero, and texts",
          "{\"devices\": {\"disk0\": {\"reads\": -3}, \"net0\": {\"rx_bytes\": \"x\"}}}",
          HAVE(READS) | HAVE(IN_BYTES), 0, 0, 0 },
    };

    for_each_row(row, rows) {
        json_t *j = json_loads(row->stats, 0, NULL);
        struct metric_sample s = {};

        ROW(row);
        CHECK(j);
        metrics_read_stats(j, &s);
        json_decref(j);
        CHECK_EQ(s.have, row->have);
        CHECK_EQ(s.raw[METRIC_READS], row->reads);
        CHECK_EQ(s.raw[METRIC_IN_BYTES], row->in_bytes);
        CHECK_EQ(s.raw[METRIC_EXITS], row->exits);
    }
    metrics_read_stats(NULL, &(struct metric_sample){}); /* no answer */
}

TEST(metrics_of_this_host)
{
    struct metric_sample host = {}, own = {};

    metrics_read_host(&host);
    CHECK(host.have & HAVE(CPU) && host.have & HAVE(MEMORY));
    CHECK(host.raw[METRIC_MEMORY] > MiB && host.raw[METRIC_MEMORY] < 1ull << 50);
    metrics_read_process((u32)getpid(), &own);
    CHECK(own.have & HAVE(CPU) && own.raw[METRIC_CPU] > 0);
    CHECK(own.raw[METRIC_MEMORY] > 64 * KiB && own.raw[METRIC_MEMORY] < host.raw[METRIC_MEMORY]);
    metrics_read_process(0x7ffffff0, &(struct metric_sample){}); /* it is gone */
}

/* ---- rows ---- */

struct seen {
    u32 n;
    u64 first, last, most;
    double value; /* of METRIC_CPU, the last */
};

static bool see(void *arg, u64 time, const double value[METRICS])
{
    struct seen *s = arg;

    CHECK(s->n == 0 || time > s->last);
    s->first = s->n ? s->first : time;
    s->last = time;
    s->value = value[METRIC_CPU];
    CHECK(isnan(value[METRIC_STEAL]));
    return ++s->n != s->most;
}

static struct seen rows_of(int fd, bool minutes, u64 since, u64 now, u32 most)
{
    struct seen s = { .most = most };

    metrics_ring_get(fd, minutes, since, now, see, &s);
    return s;
}

static void put(int fd, bool minutes, u64 time, double cpu)
{
    double value[METRICS] = {};

    value[METRIC_CPU] = cpu;
    value[METRIC_STEAL] = (double)NAN;
    metrics_ring_put(fd, minutes, time, value);
}

TEST(metrics_ring)
{
    AUTO(free) char *path = str_new("%s/ring", test_dir());
    AUTO(fd) int fd = metrics_ring_open(path, false);
    const u64 now = 1800000000;
    struct seen s;

    CHECK_EQ(fd, -ENOENT);
    fd = metrics_ring_open(path, true);
    CHECK(fd >= 0);
    CHECK_EQ(rows_of(fd, false, 0, now, 0).n, 0);
    for (u64 t = now - 5000; t <= now; t++) /* more than it holds */
        put(fd, false, t, (double)(t % 1000));
    s = rows_of(fd, false, 0, now, 0);
    CHECK_EQ(s.n, METRICS_KEPT);
    CHECK_EQ(s.first, now - METRICS_KEPT + 1);
    CHECK_EQ(s.last, now);
    CHECK(s.value == (double)(now % 1000));
    CHECK_EQ(rows_of(fd, false, now - 10, now, 0).n, 10);
    CHECK_EQ(rows_of(fd, false, 0, now, 7).n, 7);
    CHECK_EQ(rows_of(fd, false, 0, now + 3000, 0).n, METRICS_KEPT - 3000);
    CHECK_EQ(rows_of(fd, false, 0, now - 100, 0).n, METRICS_KEPT - 100); /* the clock went back */
    CHECK_EQ(rows_of(fd, true, 0, now, 0).n, 0);
    for (u64 m = 0; m < 10; m++)
        put(fd, true, now - m * 60 - 7, 1.5);
    s = rows_of(fd, true, 0, now, 0);
    CHECK_EQ(s.n, 10);
    CHECK(s.value == 1.5 && s.last == now - 7);
    CHECK_EQ(rows_of(fd, false, 0, now, 0).n, METRICS_KEPT);
    fd_close(&fd);
    fd = metrics_ring_open(path, true); /* it stays */
    CHECK_EQ(rows_of(fd, true, 0, now, 0).n, 10);
    CHECK(pwrite(fd, "x", 1, 3) == 1); /* another version */
    fd_close(&fd);
    CHECK_EQ(metrics_ring_open(path, false), -ENOENT);
    fd = metrics_ring_open(path, true);
    CHECK_EQ(rows_of(fd, true, 0, now, 0).n, 0);
}

static json_t *history(struct rig *r, const struct metrics_ask *ask)
{
    return metrics_history(&r->host, "i1", ask);
}

TEST(metrics_history)
{
    const u64 now = clock_real_ns() / NSEC_PER_SEC, from = (now - 600) / 60 * 60;
    AUTO(free) char *path = NULL;
    AUTO(fd) int fd = -1;
    struct err e = {};
    struct rig r;
    json_t *j;
    u64 task;

    rig_open(&r, test_dir(), "history");
    /* its file: one that is no instance's is removed when the measuring begins */
    CHECK_OK(rig_create(&r, "{\"name\": \"a\", \"kernel\": \"/k\"}", &task, &e), &e);
    CHECK_EQ(rig_wait(&r, task), TASK_DONE);
    path = metrics_path(&r.host, "i1");
    fd = metrics_ring_open(path, true);
    CHECK(fd >= 0);
    for (u64 t = 0; t < 120; t++)
        put(fd, false, from + t, t < 60 ? 10 : 31);
    j = history(&r, &(struct metrics_ask){ .limit = 1000 });
    CHECK_EQ(json_array_size(j), 120);
    CHECK_EQ(json_integer_value(json_array_get(json_array_get(j, 0), 0)), from);
    CHECK_EQ(json_integer_value(json_array_get(json_array_get(j, 0), 1 + METRIC_CPU)), 10);
    CHECK(json_is_null(json_array_get(json_array_get(j, 0), 1 + METRIC_STEAL)));
    json_decref(j);
    j = history(&r, &(struct metrics_ask){ .since = from + 49, .step = 60, .limit = 1000 });
    CHECK_EQ(json_array_size(j), 2);
    CHECK_EQ(json_integer_value(json_array_get(json_array_get(j, 0), 0)), from + 59);
    CHECK_EQ(json_integer_value(json_array_get(json_array_get(j, 1), 1 + METRIC_CPU)), 31);
    json_decref(j);
    j = history(&r, &(struct metrics_ask){ .step = 120, .limit = 1 });
    CHECK_EQ(json_array_size(j), 1);
    json_decref(j);
    j = history(&r, &(struct metrics_ask){ .limit = 5 });
    CHECK_EQ(json_array_size(j), 5);
    json_decref(j);
    rig_close(&r);
}

/* The file of an instance that is gone leaves: at its end, and what a kill left when the next socled begins. */
TEST(metrics_files_leave)
{
    AUTO(free) char *dir = str_new("%s/leave", test_dir());
    struct err e = {};
    struct rig r;
    u64 task;

    rig_open(&r, test_dir(), "leave");
    rig_make(&r, "a");
    rig_make(&r, "b");
    rig_close(&r);
    rig_write(dir, "metrics/i1", "a's");
    rig_write(dir, "metrics/i3", "b's");
    rig_write(dir, "metrics/i99", "nobody's");
    rig_open(&r, test_dir(), "leave");
    CHECK_OK(rig_act(&r, "a", TASK_DELETE, &task, &e), &e);
    CHECK_EQ(rig_wait(&r, task), TASK_DONE);
    rig_close(&r);
    rig_open(&r, test_dir(), "leave");
    rig_make(&r, "c"); /* it began */
    rig_close(&r);
    CHECK(rig_exists(dir, "metrics/i3"));
    CHECK(!rig_exists(dir, "metrics/i1"));
    CHECK(!rig_exists(dir, "metrics/i99"));
}
