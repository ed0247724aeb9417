/*
 * cmd/progress.c: runs a job while the user watches.
 */
#include "cmd/progress.h"

#include "base/clock.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

enum { BAR = 24, TICK_MS = 100 };

void progress_line(const char *what, u64 done, u64 total, u64 ns, struct strbuf *out)
{
    double part = total ? (double)min(done, total) / (double)total : 0;
    double seconds = (double)ns / 1e9, rate = seconds > 0 ? (double)done / seconds : 0;
    u32 full = (u32)(part * BAR);

    strbuf_add(out, "%s  [", what);
    for (u32 i = 0; i < BAR; i++)
        strbuf_add(out, "%c", i < full ? '#' : ' ');
    strbuf_add(out, "] %3.0f %%", part * 100);
    if (total && done >= total) {
        strbuf_add(out, "  finishing"); /* what was written is being synced: that is no rate */
        return;
    }
    strbuf_add(out, "  %.0f MiB/s", rate / (double)MiB);
    if (rate > 0) {
        u64 left = (u64)((double)(total - done) / rate);

        strbuf_add(out, "  %llu:%02llu left", left / 60, left % 60);
    }
}

static void draw(const char *what, const struct job *j, u64 ns)
{
    AUTO(strbuf) struct strbuf line = {};
    u64 total = atomic_load_explicit(&j->total, memory_order_relaxed);

    if (!total)
        return;
    strbuf_add(&line, "\r");
    progress_line(what, atomic_load_explicit(&j->done, memory_order_relaxed), total, ns, &line);
    strbuf_add(&line, "\033[K"); /* ECMA-48, "EL": to the end of the line */
    fd_write_all(STDERR_FILENO, line.text, line.len);
}

/* What would end us; not what we were told to ignore, as by nohup. */
static void fill_set(sigset_t *set)
{
    static const int signals[] = { SIGINT, SIGTERM, SIGHUP };

    sigemptyset(set);
    for_each_row(s, signals) {
        struct sigaction old;

        if (sigaction(*s, NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            sigaddset(set, *s);
    }
}

int progress_run(const char *what, int (*fn)(struct job *j, void *arg, struct err *e), void *arg,
                 int *ret_signal, struct err *e)
{
    static const struct timespec now;
    struct job job = {};
    sigset_t set, before;
    bool shown = what && isatty(STDERR_FILENO);
    u64 start = clock_mono_ns();
    int r, got = 0;

    fill_set(&set);
    pthread_sigmask(SIG_BLOCK, &set, &before); /* before the job's threads, which inherit it */
    r = job_start(&job, fn, arg);
    if (r < 0) {
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        return err_code(e, r, "start a thread");
    }
    while (!job_wait(&job, TICK_MS * NSEC_PER_MSEC)) {
        int sig = sigtimedwait(&set, NULL, &now);

        if (sig > 0) {
            got = sig;
            atomic_store(&job.cancel, true);
        }
        if (shown)
            draw(what, &job, clock_mono_ns() - start);
    }
    if (shown)
        fd_write_all(STDERR_FILENO, "\r\033[K", 4);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    *ret_signal = job.result == -ECANCELED ? got : 0;
    *e = job.err;
    return job.result;
}
