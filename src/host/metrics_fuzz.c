/*
 * host/metrics_fuzz.c: any bytes as a file of rows, and as what a machine says of itself: what is told is in order, and numbers.
 */
#include "host/metrics.h"

#include "base/endian.h"
#include "testlib/fuzz.h"

#include <math.h>
#include <sys/mman.h>
#include <unistd.h>

struct seen {
    u64 since, now, last;
};

static bool see(void *arg, u64 time, const double value[METRICS])
{
    struct seen *s = arg;

    must(time > s->last && time > s->since && time <= s->now);
    s->last = time;
    for (u32 k = 0; k < METRICS; k++) {
        json_t *j = metrics_number(value[k]);

        must(j && (json_is_null(j) || json_is_integer(j)));
        json_decref(j);
    }
    return true;
}

/* The input is where rows may be, from the place that its first bytes say. */
static void as_file(const u8 *data, size_t size)
{
    AUTO(fd) int fd = memfd_create("ring", MFD_CLOEXEC);
    struct seen s = {};

    if (fd < 0 || size < 12)
        return;
    s.now = le_load(data, 4);
    s.since = le_load(data + 4, 4);
    must(pwrite(fd, data + 12, size - 12, (off_t)(64 * (le_load(data + 8, 2) % 50000))) >= 0);
    metrics_ring_get(fd, data[10] & 1, s.since, s.now, see, &s);
}

FUZZ(metrics)
{
    struct metric_sample from = {}, to = { .at_ns = 1 };
    json_t *j = json_loadb((const char *)data, size, 0, NULL);
    double value[METRICS];

    as_file(data, size);
    metrics_read_stats(j, &to);
    json_decref(j);
    from.have = to.have;
    metrics_values(&from, &to, value);
    for (u32 k = 0; k < METRICS; k++)
        json_decref(metrics_number(value[k]));
}
