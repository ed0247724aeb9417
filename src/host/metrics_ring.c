/*
 * host/metrics_ring.c: a file with the rows of an hour by seconds, then of a month by minutes.
 *   (1) The place of a row follows from its time, and its time is in it: a row of another time is none.
 *   (2) Nothing is synced.  A kill loses no row, a power cut the last ones; what it leaves is believed only as far as (1) goes.
 *   (3) The file has holes where nothing was measured, and never more than 3 MiB.
 */
#include "base/endian.h"
#include "host/metrics.h"

#include <fcntl.h>
#include <math.h>
#include <unistd.h>

enum { METRICS_VERSION = 1, AT_ONCE = 256 };

struct ring_row {
    le32 time;
    le32 value[METRICS]; /* of a float, its bits */
};
static_assert(sizeof(struct ring_row) == 64, "a row crosses no page");

static const char magic[sizeof(struct ring_row)] = { 's', 'o', 'c',
                                                     'l', 'e', 'm',
                                                     'e', 't', METRICS_VERSION };

struct ring {
    u64 first, n, seconds; /* rows of the file; of one, its seconds */
};

static struct ring ring_of(bool minutes)
{
    return minutes ? (struct ring){ 1 + METRICS_KEPT, METRICS_KEPT_MINUTES, 60 }
                   : (struct ring){ 1, METRICS_KEPT, 1 };
}

char *metrics_path(const struct host *h, const char *id)
{
    return str_new("%s/metrics/%s", h->dir, id);
}

int metrics_ring_open(const char *path, bool create)
{
    AUTO(fd)
    int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (create ? O_CREAT : 0), 0600);
    char head[sizeof(magic)];

    if (fd < 0)
        return -errno;
    if (pread(fd, head, sizeof(head), 0) == sizeof(head) && memcmp(head, magic, sizeof(head)) == 0)
        return TAKE_FD(fd);
    if (!create)
        return -ENOENT;
    if (ftruncate(fd, 0) < 0 || pwrite(fd, magic, sizeof(magic), 0) != sizeof(magic))
        return -EIO;
    return TAKE_FD(fd);
}

void metrics_ring_put(int fd, bool minutes, u64 time, const double value[METRICS])
{
    const struct ring g = ring_of(minutes);
    struct ring_row row = { .time = le32_of((u32)time) };

    for (u32 k = 0; k < METRICS; k++) {
        const float f = (float)value[k];
        u32 bits;

        memcpy(&bits, &f, sizeof(bits));
        row.value[k] = le32_of(bits);
    }
    /* a full disk: the row is missing */
    (void)!pwrite(fd, &row, sizeof(row), (off_t)((g.first + time / g.seconds % g.n) * sizeof(row)));
}

static void unpack(const struct ring_row *row, double ret[METRICS])
{
    for (u32 k = 0; k < METRICS; k++) {
        const u32 bits = le32_get(row->value[k]);
        float f;

        memcpy(&f, &bits, sizeof(f));
        ret[k] = isfinite(f) ? (double)f : (double)NAN;
    }
}

/* From one row to the end of what was read, at most to the ring's end; false: `each` has enough. */
static u64 read_rows(int fd, const struct ring *g, u64 number, struct ring_row *rows)
{
    const u64 at = number % g->n, want = min(g->n - at, (u64)AT_ONCE);
    const ssize_t n =
        pread(fd, rows, want * sizeof(*rows), (off_t)((g->first + at) * sizeof(*rows)));

    memset((u8 *)rows + max(n, (ssize_t)0), 0, want * sizeof(*rows) - (size_t)max(n, (ssize_t)0));
    return want;
}

void metrics_ring_get(int fd, bool minutes, u64 since, u64 now,
                      bool (*each)(void *arg, u64 time, const double value[METRICS]), void *arg)
{
    const struct ring g = ring_of(minutes);
    const u64 last = now / g.seconds, oldest = last >= g.n ? last - g.n + 1 : 0;
    struct ring_row rows[AT_ONCE];
    double value[METRICS];
    u64 n;

    for (u64 number = max(oldest, since / g.seconds); number <= last; number += n) {
        n = read_rows(fd, &g, number, rows);
        for (u64 k = 0; k < n && number + k <= last; k++) {
            const u64 time = le32_get(rows[k].time);

            if (time / g.seconds != number + k || time <= since || time > now)
                continue;
            unpack(&rows[k], value);
            if (!each(arg, time, value))
                return;
        }
    }
}
