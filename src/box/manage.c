/*
 * box/manage.c: what is done with a container that is there: kill, delete, pause, resume, update.
 */
#include "base/clock.h"
#include "box/box.h"
#include "box/cgroup.h"
#include "box/hook.h"
#include "box/process.h"
#include "box/state.h"
#include "box/systemd.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { END_WAIT_MS = 10000 };

static int parse_signal(const char *text, int *ret, struct err *e)
{
    u64 n;

    if (str_u64(text, &n) == 0 && n > 0 && n <= (u64)SIGRTMAX) {
        *ret = (int)n;
        return 0;
    }
    text += strncasecmp(text, "SIG", 3) == 0 ? 3 : 0;
    for (int s = 1; s < NSIG; s++) {
        const char *name = sigabbrev_np(s);

        if (!name || strcasecmp(name, text) != 0)
            continue;
        *ret = s;
        return 0;
    }
    return err_set(e, -EINVAL, "unknown signal '%.40s'", text);
}

/* The signal to the process that `s` means, or -ESRCH: never to another that has its number now. */
static int send_signal(const struct box_state *s, int sig)
{
    AUTO(fd) int fd = (int)syscall(SYS_pidfd_open, s->pid, 0);

    if (fd < 0)
        return -errno;
    if (box_pid_started(s->pid) != s->pid_started)
        return -ESRCH;
    return syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0) < 0 ? -errno : 0;
}

static int signal_all(const struct cgroup *g, int sig)
{
    AUTO(free) pid_t *pids = NULL;
    int n;

    if (sig == SIGKILL)
        return cgroup_kill(g);
    n = cgroup_pids(g, &pids);
    for (int i = 0; i < n; i++)
        kill(pids[i], sig);
    return min(n, 0);
}

static int kill_one(const struct box_dir *d, const struct box_state *s, int sig, bool all,
                    struct err *e)
{
    const enum box_status status = box_status_of(d, s);
    struct cgroup g;
    int r = 0;

    cgroup_init(&g);
    if (all)
        r = cgroup_open(&g, s->cgroup, e);
    if (r == 0 && all && g.fd >= 0) {
        r = signal_all(&g, sig);
        if (r < 0)
            err_code(e, r, "kill all");
    } else if (r == 0 && status == BOX_STOPPED) {
        r = all ? 0 : err_set(e, -ESRCH, "container not running");
    } else if (r == 0) {
        r = send_signal(s, sig);
        if (r < 0)
            err_set(e, r, "container not running: %s", strerror(-r));
    }
    cgroup_fini(&g);
    return r;
}

int box_kill(const struct box_global *g, const char *id, const char *signal, bool all,
             struct err *e)
{
    struct box_state s;
    struct box_dir d;
    int sig = SIGTERM, r = box_open(&d, &s, g->root, id, false, e);

    if (r == 0 && signal)
        r = parse_signal(signal, &sig, e);
    if (r == 0)
        r = kill_one(&d, &s, sig, all, e);
    box_state_fini(&s);
    box_dir_fini(&d);
    return r;
}

/* Ends the first process, and waits until it is gone. */
static int end_first(const struct box_state *s, struct err *e)
{
    u64 end = clock_mono_ns() + END_WAIT_MS * NSEC_PER_MSEC;
    AUTO(fd) int fd = (int)syscall(SYS_pidfd_open, s->pid, 0);
    struct pollfd p = { .fd = fd, .events = POLLIN };
    int r = send_signal(s, SIGKILL);

    if (r == -ESRCH || fd < 0)
        return 0;
    if (r < 0)
        return err_code(e, r, "kill process %d", s->pid);
    while (box_pid_started(s->pid) == s->pid_started) {
        if (clock_mono_ns() > end)
            return err_set(e, -ETIMEDOUT, "process %d does not end", s->pid);
        poll(&p, 1, 100);
    }
    return 0;
}

static int remove_all(struct box_dir *d, const struct box_state *s, struct err *e)
{
    struct oci spec;
    struct cgroup g;
    struct err ignored = {};
    int r;

    cgroup_init(&g);
    r = cgroup_open(&g, s->cgroup, e);
    if (r == 0)
        r = cgroup_remove(&g, e);
    cgroup_fini(&g);
    if (r == 0 && s->scope)
        r = systemd_stop(s->scope, e);
    if (r < 0)
        return r;
    if (box_spec_load(d, &spec, &ignored) == 0) {
        AUTO(free) char *text = box_state_text(s, BOX_STOPPED, &spec.annotations);

        hooks_run_all(&spec, HOOK_POSTSTOP, text);
        oci_fini(&spec);
    }
    box_dir_remove(d);
    return 0;
}

static int delete (struct box_dir *d, const struct box_state *s, bool force, struct err *e)
{
    const enum box_status status = box_status_of(d, s);
    int r = 0;

    if (status != BOX_STOPPED && status != BOX_CREATED && !force)
        return err_set(e, -EBUSY, "cannot delete container %.60s that is not stopped: %s", d->id,
                       box_status_words[status]);
    if (status != BOX_STOPPED)
        r = end_first(s, e);
    return r < 0 ? r : remove_all(d, s, e);
}

int box_delete(const struct box_global *g, const char *id, bool force, struct err *e)
{
    struct box_state s;
    struct box_dir d;
    int r = box_open(&d, &s, g->root, id, true, e);

    if (r == -ENOENT && force) { /* nothing there, or only half made when its runtime was killed */
        box_dir_remove(&d);
        r = 0;
    } else if (r == 0) {
        r = launch_close_inherited(0, e);
        if (r == 0)
            r = delete (&d, &s, force, e);
    }
    box_state_fini(&s);
    box_dir_fini(&d);
    return r;
}

/* Opens a container that runs, and its cgroup. */
static int open_running(struct box_dir *d, struct box_state *s, struct cgroup *g,
                        const struct box_global *global, const char *id, struct err *e)
{
    int r = box_open(d, s, global->root, id, true, e);

    cgroup_init(g);
    if (r == 0 && box_status_of(d, s) == BOX_STOPPED)
        r = err_set(e, -ESRCH, "container not running");
    if (r == 0)
        r = cgroup_open(g, s->cgroup, e);
    if (r == 0 && g->fd < 0)
        r = err_set(e, -ENOENT, "the container has no cgroup");
    return r;
}

static void close_running(struct box_dir *d, struct box_state *s, struct cgroup *g)
{
    cgroup_fini(g);
    box_state_fini(s);
    box_dir_fini(d);
}

int box_pause(const struct box_global *global, const char *id, bool on, struct err *e)
{
    struct box_state s;
    struct box_dir d;
    struct cgroup g;
    int r = open_running(&d, &s, &g, global, id, e);

    if (r == 0 && !on && cgroup_is_frozen(&g) != 1)
        r = err_set(e, -EINVAL, "container not paused");
    else if (r == 0)
        r = cgroup_freeze(&g, on, e);
    close_running(&d, &s, &g);
    return r;
}

/* From --resources, then from the options. */
static int read_update(const struct box_update *o, struct oci_resources *res, struct err *e)
{
    enum { MAX = 1024 * 1024 };
    const bool standard = o->resources && strcmp(o->resources, "-") == 0;
    AUTO(strbuf) struct strbuf text = {};
    AUTO(fd) int fd = -1;
    char part[4096];
    ssize_t n;

    conf_defaults(oci_resources_fields, res);
    if (!o->resources)
        return 0;
    fd = standard ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0)
                  : open(o->resources, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, "--resources '%.120s'", o->resources);
    while ((n = read(fd, part, sizeof(part))) > 0 && text.len < MAX)
        strbuf_add_mem(&text, part, (size_t)n);
    if (n < 0)
        return err_errno(e, "--resources '%.120s'", o->resources);
    if (!text.len)
        return err_set(e, -EINVAL, "--resources '%.120s' is empty", o->resources);
    conf_fini(oci_resources_fields, res);
    return oci_parse_part(oci_resources_fields, "linux.resources", res, text.text, text.len, e);
}

static void apply_options(const struct box_update *o, struct oci_resources *res)
{
    const struct {
        s64 value;
        s64 *at;
    } rows[] = {
        { o->memory, &res->memory.limit },     { o->memory_reservation, &res->memory.reservation },
        { o->memory_swap, &res->memory.swap }, { o->cpu_share, &res->cpu.shares },
        { o->cpu_quota, &res->cpu.quota },     { o->cpu_period, &res->cpu.period },
        { o->cpu_idle, &res->cpu.idle },       { o->pids_limit, &res->pids.limit },
    };

    for_each_row(row, rows)
        if (row->value != BOX_UNSET)
            *row->at = row->value;
    if (o->blkio_weight != BOX_UNSET)
        res->blockIO.weight = (u32)o->blkio_weight;
    if (o->cpuset_cpus) {
        free(res->cpu.cpus);
        res->cpu.cpus = xdup(o->cpuset_cpus);
    }
    if (o->cpuset_mems) {
        free(res->cpu.mems);
        res->cpu.mems = xdup(o->cpuset_mems);
    }
}

/* What a limit of no process means is a matter of the version (oci_load.c). */
static int read_zero(const struct box_dir *d, struct oci_resources *res, struct err *e)
{
    struct oci spec;
    int r = res->pids.limit == 0 ? box_spec_load(d, &spec, e) : 1;

    if (r != 0)
        return min(r, 0);
    if (!oci_follows(&spec, 3))
        res->pids.limit = BOX_UNSET;
    oci_fini(&spec);
    return 0;
}

int box_update(const struct box_global *global, const struct box_update *o, const char *id,
               struct err *e)
{
    struct oci_resources res;
    struct box_state s;
    struct box_dir d;
    struct cgroup g;
    int r = open_running(&d, &s, &g, global, id, e);

    if (r == 0) {
        r = read_update(o, &res, e);
        if (r == 0) {
            apply_options(o, &res);
            r = read_zero(&d, &res, e);
        }
        if (r == 0) {
            r = oci_check_resources(&res, e);
        }
        if (r == 0 && res.devices.n)
            log_warn("linux.resources.devices stay as they were at the start");
        if (r == 0 && s.scope)
            r = systemd_set(s.scope, &res, e);
        if (r == 0)
            r = cgroup_apply(&g, &res, e);
        conf_fini(oci_resources_fields, &res);
    }
    close_running(&d, &s, &g);
    return r;
}
