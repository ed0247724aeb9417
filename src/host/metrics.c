/*
 * host/metrics.c: the thread that measures, and what was measured last.
 *   (1) `lock` guards the meters; it may be taken inside the host's lock, never the other way round, and is never held while a file is
 *       read or written.  `files` keeps a row from being read while it is written.
 *   (2) Machines are asked by this thread, without a lock.  It alone makes and removes meters and files, so an instance that is deleted
 *       meanwhile leaves nothing.
 *   (3) When nothing is due it waits without a limit (metrics.h).
 */
#include "host/metrics.h"

#include "base/clock.h"
#include "host/talk.h"

#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ANSWER_SECONDS = 1, SILENT_SECONDS = 60 };
#define LEAST_NS (NSEC_PER_SEC / 2)   /* between two samples of which a rate is made */
#define MOST_NS  (150 * NSEC_PER_SEC) /* nobody measured in between */

/* Of the host, and of each machine that runs. */
struct meter {
    char id[24]; /* "host" */
    u32 pid;
    struct metric_now now;
    struct metric_sample minute; /* where the minute began */
    u64 minute_no;
    u64 looked, silent; /* CLOCK_MONOTONIC, seconds: looked at last; not asked before */
    struct meter *next;
};

struct metrics {
    pthread_mutex_t lock, files;
    pthread_cond_t wake;
    pthread_t thread;
    bool began, closing, poked;
    u64 collected; /* CLOCK_MONOTONIC, seconds; 0: never */
    struct meter *meters;
    struct gone *gone; /* instances whose files leave in the next round */
};

struct gone {
    char id[24];
    struct gone *next;
};

/* Of a round: machines that run, as they were when it began. */
struct machine {
    char id[24];
    u32 pid;
};

static u64 mono_seconds(void)
{
    return clock_mono_ns() / NSEC_PER_SEC + 1; /* 0 is never */
}

/* ---- what is due ---- */

static bool is_looked_at(const struct meter *m, u64 now)
{
    return m->looked && now < m->looked + METRICS_LOOK_SECONDS;
}

static bool is_collected(const struct metrics *s, u64 now)
{
    return s->collected && now < s->collected + METRICS_COLLECT_SECONDS;
}

static bool runs_any(const struct metrics *s)
{
    for (const struct meter *m = s->meters; m; m = m->next)
        if (m->pid)
            return true;
    return false;
}

/* Nanoseconds until the next round; 0: none is due. */
static u64 beat_ns(const struct metrics *s)
{
    const u64 now = mono_seconds(), real = clock_real_ns();
    u64 beat = is_collected(s, now) ? METRICS_COLLECT_BEAT : runs_any(s) ? 60 : 0;

    for (const struct meter *m = s->meters; m; m = m->next)
        if (is_looked_at(m, now))
            beat = 1;
    return beat ? beat * NSEC_PER_SEC - real % (beat * NSEC_PER_SEC) : 0;
}

static bool is_due(const struct metrics *s, const struct meter *m)
{
    const u64 now = mono_seconds(), real = clock_real_ns() / NSEC_PER_SEC;

    return !m->now.last.at_ns || is_looked_at(m, now) || real / 60 != m->minute_no ||
           (is_collected(s, now) &&
            clock_mono_ns() >= m->now.last.at_ns + (METRICS_COLLECT_BEAT - 1) * NSEC_PER_SEC);
}

/* ---- one meter ---- */

static bool ask_machine(const struct host *h, const struct machine *m, struct metric_sample *ret)
{
    AUTO(free) char *path = str_new("%s/instances/%s/control", h->dir, m->id);
    struct err e = {};
    struct talk t;
    json_t *stats = NULL;

    if (talk_open(&t, path, ANSWER_SECONDS, &e) >= 0)
        stats = talk_result(&t, "{\"cmd\": \"stats\", \"id\": 1}", NULL, 0, &e);
    talk_close(&t);
    metrics_read_stats(stats, ret);
    json_decref(stats);
    return stats != NULL;
}

static void begin_anew(struct meter *m, const struct metric_sample *s, u64 real)
{
    m->now = (struct metric_now){ .last = *s };
    m->minute = *s;
    m->minute_no = real / 60;
}

/* Rows that a sample makes. */
struct made {
    u64 at; /* seconds since 1970 */
    bool second, minute;
    double by_second[METRICS], by_minute[METRICS];
};

/* A minute's row is what was since the minute began, however often it was measured meanwhile. */
static void measured_locked(struct meter *m, const struct metric_sample *s, struct made *ret)
{
    const u64 real = clock_real_ns() / NSEC_PER_SEC, since = s->at_ns - m->now.last.at_ns;

    ret->at = real;
    if (!m->now.last.at_ns || since > MOST_NS) {
        begin_anew(m, s, real);
        return;
    }
    if (since >= LEAST_NS) {
        metrics_values(&m->now.last, s, m->now.value);
        m->now.at = real;
        m->now.last = *s;
        ret->second = true;
        memcpy(ret->by_second, m->now.value, sizeof(ret->by_second));
    }
    if (real / 60 == m->minute_no)
        return;
    metrics_values(&m->minute, s, ret->by_minute);
    m->minute = *s;
    m->minute_no = real / 60;
    ret->minute = true;
}

static void keep(const struct host *h, const char *id, const struct made *made)
{
    AUTO(free) char *path = metrics_path(h, id);
    AUTO(fd) int fd = -1;

    if (!made->second && !made->minute)
        return;
    fd = metrics_ring_open(path, true);
    if (fd < 0) {
        log_warn_limited("'%s': %s", path, strerror(-fd));
        return;
    }
    metrics_hold(h, true);
    if (made->second)
        metrics_ring_put(fd, false, made->at, made->by_second);
    if (made->minute)
        metrics_ring_put(fd, true, made->at, made->by_minute);
    metrics_hold(h, false);
}

/* A meter and its id are this thread's: nobody else removes it. */
static void measured(struct host *h, struct meter *m, const struct metric_sample *sample)
{
    struct made made = {};

    pthread_mutex_lock(&h->metrics->lock);
    measured_locked(m, sample, &made);
    pthread_mutex_unlock(&h->metrics->lock);
    keep(h, m->id, &made);
}

static struct meter *find_locked(const struct metrics *s, const char *id)
{
    struct meter *m = s->meters;

    while (m && strcmp(m->id, id) != 0)
        m = m->next;
    return m;
}

static struct meter *add_locked(struct metrics *s, const char *id)
{
    struct meter *m = xnew(struct meter);

    str_copy(m->id, sizeof(m->id), id);
    m->next = s->meters;
    s->meters = m;
    return m;
}

/* ---- a round ---- */

static int by_id(const void *a, const void *b)
{
    return strcmp(((const struct machine *)a)->id, ((const struct machine *)b)->id);
}

/* All instances, those that do not run with pid 0, in the order of ids; owned. */
static struct machine *list_machines(struct host *h, u32 *ret_n)
{
    struct machine *list;

    host_lock(h);
    list = xnew_n(struct machine, h->n + 1);
    for (u32 i = 0; i < h->n; i++) {
        const struct instance *inst = h->list[i];

        str_copy(list[i].id, sizeof(list[i].id), inst->id);
        list[i].pid = host_is_alive(inst) ? inst->run.pid : 0;
    }
    *ret_n = h->n;
    host_unlock(h);
    qsort(list, *ret_n, sizeof(*list), by_id);
    return list;
}

static const struct machine *machine_of(const struct machine *list, u32 n, const char *id)
{
    struct machine key;

    str_copy(key.id, sizeof(key.id), id);
    return bsearch(&key, list, n, sizeof(key), by_id);
}

/* Those of machines that ended, or are another process now, leave. */
static void drop_stale_locked(struct metrics *s, const struct machine *list, u32 n)
{
    struct meter **p = &s->meters, *m;

    while ((m = *p)) {
        const struct machine *is = machine_of(list, n, m->id);

        if (strcmp(m->id, "host") == 0 || (is && is->pid && is->pid == m->pid)) {
            p = &m->next;
            continue;
        }
        *p = m->next;
        free(m);
    }
}

static void gone_free(const struct host *h, struct gone *list, bool with_file)
{
    struct gone *g;

    while ((g = list)) {
        AUTO(free) char *path = metrics_path(h, g->id);

        if (with_file)
            unlink(path);
        list = g->next;
        free(g);
    }
}

/* NULL: it is not due.  Valid until the next round, as nobody else removes meters. */
static struct meter *begin(struct metrics *s, const char *id, u32 pid, bool *ret_silent)
{
    struct meter *m;

    pthread_mutex_lock(&s->lock);
    m = find_locked(s, id);
    if (!m)
        m = add_locked(s, id);
    m->pid = pid;
    *ret_silent = m->silent > mono_seconds();
    if (s->closing || !is_due(s, m))
        m = NULL;
    pthread_mutex_unlock(&s->lock);
    return m;
}

static void measure_machine(struct host *h, const struct machine *mc)
{
    struct metric_sample sample = { .at_ns = clock_mono_ns() };
    struct metrics *s = h->metrics;
    bool silent;
    struct meter *m = begin(s, mc->id, mc->pid, &silent);

    if (!m)
        return;
    metrics_read_process(mc->pid, &sample);
    if (!silent && !ask_machine(h, mc, &sample))
        m->silent = mono_seconds() + SILENT_SECONDS; /* this thread's alone */
    measured(h, m, &sample);
}

static void measure_host(struct host *h)
{
    struct metric_sample sample;
    struct metrics *s = h->metrics;
    bool silent;
    struct meter *m = begin(s, "host", 0, &silent);

    if (!m)
        return;
    metrics_read_host(&sample);
    measured(h, m, &sample);
}

static void round_of(struct host *h)
{
    AUTO(free) struct machine *list = NULL;
    struct gone *gone;
    u32 n;

    list = list_machines(h, &n);
    pthread_mutex_lock(&h->metrics->lock);
    drop_stale_locked(h->metrics, list, n);
    gone = TAKE(h->metrics->gone);
    pthread_mutex_unlock(&h->metrics->lock);
    gone_free(h, gone, true);
    measure_host(h);
    for (u32 i = 0; i < n; i++)
        if (list[i].pid)
            measure_machine(h, &list[i]);
}

/* Until something is due; false: it ends. */
static bool wait_locked(struct metrics *s)
{
    const u64 ns = beat_ns(s), at = clock_mono_ns() + ns;
    const struct timespec until = { .tv_sec = (time_t)(at / NSEC_PER_SEC),
                                    .tv_nsec = (long)(at % NSEC_PER_SEC) };
    int r = 0;

    while (!s->poked && !s->closing && r == 0)
        r = ns ? pthread_cond_timedwait(&s->wake, &s->lock, &until)
               : pthread_cond_wait(&s->wake, &s->lock);
    s->poked = false;
    return !s->closing;
}

static void *metrics_main(void *arg)
{
    struct host *h = arg;
    struct metrics *s = h->metrics;

    pthread_mutex_lock(&s->lock);
    while (wait_locked(s)) {
        pthread_mutex_unlock(&s->lock);
        round_of(h);
        pthread_mutex_lock(&s->lock);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

/* ---- open and close ---- */

/* Files of instances that were deleted when nobody measured any more. */
static void remove_orphans(struct host *h)
{
    AUTO(free) struct machine *list = NULL;
    AUTO(free) char *folder = metrics_path(h, "");
    DIR *d = opendir(folder);
    struct dirent *de;
    u32 n;

    list = list_machines(h, &n);
    while (d && (de = readdir(d))) {
        AUTO(free) char *path = metrics_path(h, de->d_name);

        if (de->d_name[0] != '.' && strcmp(de->d_name, "host") != 0 &&
            !machine_of(list, n, de->d_name))
            unlink(path);
    }
    if (d)
        closedir(d);
}

void metrics_open(struct host *h)
{
    struct metrics *s = xnew(struct metrics);
    pthread_condattr_t mono;

    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->files, NULL);
    pthread_condattr_init(&mono);
    pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &mono);
    pthread_condattr_destroy(&mono);
    (void)add_locked(s, "host");
    h->metrics = s;
}

void metrics_begin(struct host *h)
{
    struct metrics *s = h->metrics;

    remove_orphans(h);
    s->poked = true; /* machines that run already */
    s->began = pthread_create(&s->thread, NULL, metrics_main, h) == 0;
    if (!s->began)
        log_warn("nothing is measured: no thread");
}

void metrics_close(struct host *h)
{
    struct metrics *s = h->metrics;
    struct meter *m;

    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->closing = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
    if (s->began)
        pthread_join(s->thread, NULL);
    while ((m = s->meters)) {
        s->meters = m->next;
        free(m);
    }
    gone_free(h, s->gone, false); /* the next socled removes the files */
    pthread_mutex_destroy(&s->files);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->lock);
    free(TAKE(h->metrics));
}

void metrics_poke(struct host *h)
{
    struct metrics *s = h->metrics;

    pthread_mutex_lock(&s->lock);
    s->poked = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->lock);
}

void metrics_hold(const struct host *h, bool hold)
{
    if (hold)
        pthread_mutex_lock(&h->metrics->files);
    else
        pthread_mutex_unlock(&h->metrics->files);
}

void metrics_forget(struct host *h, const char *id)
{
    struct metrics *s = h->metrics;
    struct gone *g = xnew(struct gone);

    str_copy(g->id, sizeof(g->id), id);
    pthread_mutex_lock(&s->lock);
    g->next = s->gone;
    s->gone = g;
    pthread_mutex_unlock(&s->lock);
    metrics_poke(h);
}

/* ---- who looks ---- */

/* What is older than anything that is measured is not what is now. */
static bool tell_locked(struct metrics *s, const char *id, struct metric_now *ret)
{
    const struct meter *m = find_locked(s, id ? id : "host");

    *ret = (struct metric_now){};
    if (m && clock_mono_ns() - m->now.last.at_ns <= MOST_NS)
        *ret = m->now;
    for (u32 k = 0; k < METRICS && !ret->at; k++)
        ret->value[k] = (double)NAN;
    return m != NULL;
}

bool metrics_look(struct host *h, const char *id, struct metric_now *ret)
{
    struct metrics *s = h->metrics;
    const u64 now = mono_seconds();
    struct meter *m;
    bool found;

    pthread_mutex_lock(&s->lock);
    m = find_locked(s, id ? id : "host");
    if (m && !is_looked_at(m, now)) {
        s->poked = true; /* it slept longer */
        pthread_cond_signal(&s->wake);
    }
    if (m)
        m->looked = now;
    found = tell_locked(s, id, ret);
    pthread_mutex_unlock(&s->lock);
    return found;
}

bool metrics_collect(struct host *h, const char *id, struct metric_now *ret)
{
    struct metrics *s = h->metrics;
    const u64 now = mono_seconds();
    bool found;

    pthread_mutex_lock(&s->lock);
    if (!is_collected(s, now)) {
        s->poked = true;
        pthread_cond_signal(&s->wake);
    }
    s->collected = now;
    found = tell_locked(s, id, ret);
    pthread_mutex_unlock(&s->lock);
    return found;
}
