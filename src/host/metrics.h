/*
 * host/metrics.h: what machines and the host use: measured, kept for a month, and told.
 * When it is measured:
 *   (1) Nobody looks: each machine that runs is asked once a minute.  None runs: nobody is asked, and nothing wakes up.
 *   (2) Somebody looks (in the last METRICS_LOOK_SECONDS): what is looked at, each second.
 *   (3) Somebody collects (in the last METRICS_COLLECT_SECONDS): all, every METRICS_COLLECT_BEAT seconds.
 *   (4) A machine that does not answer within a second is not asked again for a minute.
 * Where: DIR/metrics/ID, and `host` of the host, of a fixed size (metrics_ring.c).  A machine that is off has what it had.
 */
#pragma once

#include "host/host.h"

enum {
    METRICS_LOOK_SECONDS = 10,
    METRICS_COLLECT_SECONDS = 300,
    METRICS_COLLECT_BEAT = 10,
    METRICS_KEPT = 3600,          /* rows of an hour by seconds */
    METRICS_KEPT_MINUTES = 43200, /* of a month by minutes */
    METRICS_ROWS_MAX = 3600,      /* of one answer */
};

/* A column of 4 bytes each in a row of the files: who adds one changes METRICS_VERSION (metrics_ring.c). */
enum metric {
    METRIC_CPU,
    METRIC_STEAL,
    METRIC_MEMORY,
    METRIC_BALLOON,
    METRIC_READ_BYTES,
    METRIC_WRITE_BYTES,
    METRIC_READS,
    METRIC_WRITES,
    METRIC_READ_US,
    METRIC_WRITE_US,
    METRIC_IN_BYTES,
    METRIC_OUT_BYTES,
    METRIC_IN_FRAMES,
    METRIC_OUT_FRAMES,
    METRIC_EXITS,
    METRICS,
};

struct metric_row {
    const char *name, *doc;
    bool is_gauge;         /* as it is; else it is counted, and the value is a rate */
    bool no_host;          /* the host itself has none */
    int per;               /* enum metric: the value is per one of these, and not per second; -1 */
    double scale;          /* of the value */
    const char *collected; /* its name for Prometheus, after "socle_instance_" or "socle_host_" */
    double collected_scale;
};
extern const struct metric_row metric_rows[METRICS];

/* What was read at an instant: counters since the start of the machine or the host, and gauges. */
struct metric_sample {
    u64 at_ns; /* CLOCK_MONOTONIC; 0: nothing */
    u32 have;  /* a bit of each that is known */
    u64 raw[METRICS];
};

/* Of a machine that runs, or of the host, now. */
struct metric_now {
    u64 at;                /* seconds since 1970; 0: it was not measured twice yet */
    double value[METRICS]; /* NAN: not known */
    struct metric_sample last;
};

void metrics_open(struct host *h);
/* The thread begins. */
void metrics_begin(struct host *h);
void metrics_close(struct host *h);
/* A machine began or ended to run.  Any thread. */
void metrics_poke(struct host *h);
/* The instance is gone: its file leaves.  Any thread. */
void metrics_forget(struct host *h, const char *id);

/* ---- for who looks; NULL instead of an id: the host ---- */

/* False: nothing is known of it.  It is looked at from now on. */
bool metrics_look(struct host *h, const char *id, struct metric_now *ret);
/* The same for who collects. */
bool metrics_collect(struct host *h, const char *id, struct metric_now *ret);

struct metrics_ask {
    bool minutes;    /* by minutes, else by seconds */
    u64 since, step; /* rows after this time; averages of so many seconds, 0 or 1: none */
    u32 limit;
};
/* A new reference: [[time, value, …], …], the oldest first; null: not known. */
json_t *metrics_history(struct host *h, const char *id, const struct metrics_ask *ask);

/* ---- what its files share ---- */

/* Of its file; owned. */
char *metrics_path(const struct host *h, const char *id);
/* Nobody writes rows meanwhile. */
void metrics_hold(const struct host *h, bool hold);

/* ---- host/metrics_read.c ---- */

/* Values from two samples, the later in `to`. */
void metrics_values(const struct metric_sample *from, const struct metric_sample *to,
                    double ret[METRICS]);
/* A value as a whole number, a new reference: null when it is not known. */
json_t *metrics_number(double value);
void metrics_read_host(struct metric_sample *ret);
/* Of a process: what Linux says. */
void metrics_read_process(u32 pid, struct metric_sample *ret);
/* The answer of a control socket to `stats`, which may say anything. */
void metrics_read_stats(const json_t *stats, struct metric_sample *ret);

/* ---- host/metrics_ring.c ---- */

/* A file of rows; made, or made anew when it is of another version.  Owned fd. */
int metrics_ring_open(const char *path, bool create);
void metrics_ring_put(int fd, bool minutes, u64 time, const double value[METRICS]);
/* Rows of times after `since` up to `now`, the oldest first. */
void metrics_ring_get(int fd, bool minutes, u64 since, u64 now,
                      bool (*each)(void *arg, u64 time, const double value[METRICS]), void *arg);
