/*
 * disk/job.c: jobs on threads of their own, and what all jobs share.
 */
#include "disk/job.h"

#include "base/clock.h"

const char *const job_prealloc_words[] = { "off", "metadata", "falloc", NULL };

static void *job_main(void *arg)
{
    struct job *j = arg;

    pthread_setname_np(pthread_self(), "job");
    j->result = j->fn(j, j->arg, &j->err);
    return NULL;
}

int job_start(struct job *j, int (*fn)(struct job *j, void *arg, struct err *e), void *arg)
{
    j->fn = fn;
    j->arg = arg;
    return -pthread_create(&j->thread, NULL, job_main, j);
}

bool job_wait(struct job *j, u64 ns)
{
    u64 until = clock_mono_ns() + ns;
    const struct timespec t = { .tv_sec = (time_t)(until / NSEC_PER_SEC),
                                .tv_nsec = (long)(until % NSEC_PER_SEC) };

    if (!j->joined)
        j->joined = pthread_clockjoin_np(j->thread, NULL, CLOCK_MONOTONIC, &t) == 0;
    return j->joined;
}

int job_join(struct job *j, struct err *e)
{
    if (!j->joined)
        pthread_join(j->thread, NULL);
    j->joined = true;
    if (e)
        *e = j->err;
    return j->result;
}

int job_check(const struct job *j, struct err *e)
{
    if (atomic_load_explicit(&j->cancel, memory_order_relaxed))
        return err_set(e, -ECANCELED, "cancelled");
    return 0;
}

int job_open_image(const struct job_image *ref, bool readonly, struct disk **ret, struct err *e)
{
    const struct disk_cfg cfg = {
        .file = ref->file,
        .fd = -1,
        .readonly = readonly,
        .cache = ref->cache,
        .engine = ref->engine,
        .format = ref->format,
        .snapshot = ref->snapshot,
        .alone = ref->alone,
    };

    return disk_open(&cfg, ret, e);
}

static int on_step(void *arg, u64 done, u64 total)
{
    struct job *j = arg;

    job_total(j, total);
    atomic_store_explicit(&j->done, done, memory_order_relaxed);
    return job_check(j, NULL);
}

int job_examine(struct job *j, const struct job_image *image, u32 repair, struct qcow2_report *rep,
                struct err *e)
{
    const struct disk_cfg cfg = {
        .file = image->file, .fd = -1, .cache = image->cache, .engine = image->engine
    };

    rep->step = on_step;
    rep->arg = j;
    return qcow2_check(&cfg, repair, rep, e);
}
