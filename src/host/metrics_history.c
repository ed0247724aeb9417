/*
 * host/metrics_history.c: rows of the files as they are told: after a time, averaged, so many.
 */
#include "base/clock.h"
#include "host/metrics.h"

#include <math.h>

/* An answer that grows. */
struct rows {
    json_t *list;
    const struct metrics_ask *ask;
    u64 bucket; /* time / step of what is summed */
    u64 time;   /* of the last of it */
    double sum[METRICS];
    u32 n[METRICS];
};

static void add_row(struct rows *r)
{
    json_t *row;

    if (!r->time)
        return;
    row = json_pack("[I]", (json_int_t)r->time);
    for (u32 k = 0; k < METRICS; k++)
        json_array_append_new(row, r->n[k] ? metrics_number(r->sum[k] / r->n[k]) : json_null());
    json_array_append_new(r->list, row);
    r->time = 0;
    memset(r->sum, 0, sizeof(r->sum));
    memset(r->n, 0, sizeof(r->n));
}

static bool on_row(void *arg, u64 time, const double value[METRICS])
{
    struct rows *r = arg;
    const u64 bucket = time / (r->ask->step ? r->ask->step : 1);

    if (bucket != r->bucket)
        add_row(r);
    if (json_array_size(r->list) >= r->ask->limit)
        return false;
    r->bucket = bucket;
    r->time = time;
    for (u32 k = 0; k < METRICS; k++)
        if (!isnan(value[k])) {
            r->sum[k] += value[k];
            r->n[k]++;
        }
    return true;
}

json_t *metrics_history(struct host *h, const char *id, const struct metrics_ask *ask)
{
    struct rows r = { .list = json_array(), .ask = ask };
    AUTO(free) char *path = metrics_path(h, id ? id : "host");
    AUTO(fd) int fd = metrics_ring_open(path, false);

    metrics_hold(h, true);
    if (fd >= 0)
        metrics_ring_get(fd, ask->minutes, ask->since, clock_real_ns() / NSEC_PER_SEC, on_row, &r);
    metrics_hold(h, false);
    if (json_array_size(r.list) < ask->limit)
        add_row(&r);
    return r.list;
}
