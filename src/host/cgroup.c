/*
 * host/cgroup.c: control groups: found, made, written, read.
 */
#include "host/cgroup.h"

#include "host/host.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { CPU_PERIOD_US = 100000 };

/* ---- files ---- */

static int write_text(const char *folder, const char *name, const char *text)
{
    AUTO(free) char *path = str_new("%s/%s", folder, name);
    AUTO(fd) int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

/* "" when it cannot be read. */
static void read_text(const char *folder, const char *name, char *ret, size_t size)
{
    AUTO(free) char *path = str_new("%s/%s", folder, name);
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd < 0 ? 0 : read(fd, ret, size - 1);

    ret[n > 0 ? n : 0] = 0;
}

/* ---- where ---- */

/* What a group's children may have: each that there is; what the host does not give stays away. */
static void give_controllers(const char *folder)
{
    static const char *const wanted[] = { "+cpu", "+cpuset", "+io", "+memory", "+pids" };

    for_each_row(w, wanted)
        (void)write_text(folder, "cgroup.subtree_control", *w);
}

/* Whatever our umask says, or that of the socled which made it: a container's root, which mounts its own group, has to pass those above. */
static int make_group(const char *folder, struct err *e)
{
    const bool made = mkdir(folder, 0755) == 0;

    if (!made && errno != EEXIST)
        return err_errno(e, "make group '%s'", folder);
    return chmod(folder, 0755) < 0 && made ? err_errno(e, "mode of group '%s'", folder) : 0;
}

static bool is_delegated(const char *folder)
{
    static const char *const names[] = { "trusted.delegate", "user.delegate" };
    char value;

    for_each_row(n, names)
        if (getxattr(folder, *n, &value, 1) == 1 && value == '1')
            return true;
    return false;
}

/* A group with processes in it gives nothing to its children, so we move into a child ourselves; `own`: ours until now. */
static int make_room(const char *own, struct err *e)
{
    AUTO(free) char *child = str_new("%s/socled", own);
    int r = make_group(child, e);

    if (r >= 0 && (r = write_text(child, "cgroup.procs", "0")) < 0)
        err_code(e, r, "enter group '%s'", child);
    return r;
}

/* The folder for ours below group `unit`, which has no processes of its own. */
static char *make_base(const char *unit, const char *name, struct err *e)
{
    AUTO(free) char *base = str_new("%s/%s", unit, name);
    int r = make_group(base, e);

    if (r >= 0 && access(base, W_OK) < 0)
        r = err_errno(e, "group '%s'", base);
    if (r < 0)
        return NULL;
    give_controllers(unit);
    give_controllers(base);
    return TAKE(base);
}

char *cgroup_base(const char *top, const char *own, bool systemd, struct err *e)
{
    const bool moved = strlen(own) > 7 && strcmp(own + strlen(own) - 7, "/socled") == 0;
    AUTO(free)
    char *ours =
        systemd ? str_new("%s%.*s", top, (int)(strlen(own) - (moved ? 7 : 0)), own) : xdup(top);

    if (systemd && !is_delegated(ours)) {
        err_set(e, -EPERM, "group '%s' is systemd's, and was not delegated (Delegate=yes)", own);
        return NULL;
    }
    if (systemd && !moved && make_room(ours, e) < 0)
        return NULL;
    return make_base(ours, systemd ? "machines" : "socle", e);
}

char *cgroup_beside(const char *top, const char *own, struct err *e)
{
    const char *last = strrchr(own, '/');
    const int len = last ? (int)(last - own) : 0;
    AUTO(free) char *unit = str_new("%s%.*s/" CGROUP_UNIT, top, len, own);

    if (!is_delegated(unit)) {
        err_set(e, -ENOENT, "there is no '%s', or it was not delegated", unit);
        return NULL;
    }
    return make_base(unit, "machines", e);
}

const char *cgroup_top(void)
{
    static const char *const places[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
    struct statfs fs;

    for_each_row(p, places)
        if (statfs(*p, &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC)
            return *p;
    return NULL;
}

void cgroup_controllers(const char *folder, char *ret, size_t size)
{
    read_text(folder, "cgroup.controllers", ret, size);
}

/* Our own group, from the top; NULL, with `e`: version 2 is not there. */
static char *own_path(struct err *e)
{
    char text[4096], *path;

    read_text("/proc/self", "cgroup", text, sizeof(text));
    path = strstr(text, "0::");
    if (!path || !cgroup_top()) {
        err_set(e, -ENOENT, "version 2 is not mounted");
        return NULL;
    }
    path[strcspn(path, "\n")] = 0;
    return xdup(path + 3);
}

int cgroup_hold(struct err *e)
{
    AUTO(free) char *own = own_path(e);
    AUTO(free) char *base = own ? cgroup_base(cgroup_top(), own, true, e) : NULL;

    return base ? 0 : e->code;
}

/* NULL: there are none here, which is said once. */
static const char *base_locked(struct host *h)
{
    const bool systemd = access("/run/systemd/system", F_OK) == 0;
    AUTO(free) char *own = NULL;
    struct err e = {};

    if (h->cgroup_asked)
        return h->cgroup;
    h->cgroup_asked = true;
    own = own_path(&e);
    if (own && systemd)
        h->cgroup = cgroup_beside(cgroup_top(), own, &e);
    if (own && !h->cgroup)
        h->cgroup = cgroup_base(cgroup_top(), own, systemd, &e);
    if (!h->cgroup)
        log_notice("machines run without control groups: %s", e.text);
    return h->cgroup;
}

void cgroup_close(struct host *h)
{
    free(h->cgroup);
}

/* Owned; NULL: there are none here. */
static char *group_locked(const struct instance *i)
{
    const char *base = base_locked(i->host);

    return base ? str_new("%s/%04x-%s", base, i->host->mark, i->id) : NULL;
}

/* ---- limits ---- */

static int write_limit(const char *folder, const char *name, bool asked, const char *text,
                       struct err *e)
{
    int r = write_text(folder, name, text);

    if (r >= 0 || !asked)
        return 0; /* what is not there has no limit */
    return r == -ENOENT || r == -EACCES
               ? err_set(e, -EOPNOTSUPP, "this host has no '%s' for us", name)
               : err_code(e, r, "set '%s' to '%s'", name, text);
}

int cgroup_write(const char *folder, const struct instance_limits *l, u64 ram, struct err *e)
{
    char weight[16], quota[32] = "max 100000", memory[32] = "max", io[32], processes[16] = "max";
    int all = 0;

    str_fmt(weight, sizeof(weight), "%u", l->cpu_weight ? l->cpu_weight : 100);
    str_fmt(io, sizeof(io), "default %u", l->io_weight ? l->io_weight : 100);
    if (l->cpu_max)
        str_fmt(quota, sizeof(quota), "%llu %d", (u64)l->cpu_max * (CPU_PERIOD_US / 100),
                CPU_PERIOD_US);
    if (l->memory)
        str_fmt(memory, sizeof(memory), "%llu", ram + l->memory);
    if (l->processes)
        str_fmt(processes, sizeof(processes), "%u", l->processes);
    const struct {
        const char *name, *text;
        bool asked;
    } rows[] = {
        { "cpu.weight", weight, l->cpu_weight },
        { "cpu.max", quota, l->cpu_max },
        { "cpuset.cpus", l->cpu_set ? l->cpu_set : "\n", l->cpu_set },
        { "memory.max", memory, l->memory },
        { "io.weight", io, l->io_weight },
        { "pids.max", processes, l->processes },
    };

    for_each_row(row, rows) {
        int r = write_limit(folder, row->name, row->asked, row->text, all < 0 ? NULL : e);

        all = all < 0 ? all : r; /* the others are kept all the same */
    }
    return all;
}

/* A container's memory and CPUs are a limit of its group, as a machine's are by nature; and its processes, beside those that serve it. */
static struct instance_limits limits_of(const struct instance *i, u64 *ram)
{
    struct instance_limits l = i->cfg.limits;

    if (i->cfg.kind != INSTANCE_OS)
        return l;
    if (!l.memory) {
        l.memory = *ram;
        *ram = 0;
    }
    if (!l.cpu_max)
        l.cpu_max = i->cfg.spec.cpus * 100;
    l.processes = os_processes(&i->cfg) + OS_PROCESSES_BESIDE;
    return l;
}

static bool has_limits(const struct instance_limits *l)
{
    return l->cpu_weight || l->cpu_max || l->cpu_set || l->memory || l->io_weight || l->processes;
}

/* The container's own group, when it is there: socle-os does the same when it makes it. */
static void limit_box(const char *folder, const struct instance_cfg *c)
{
    AUTO(free) char *box = str_new("%s/box", folder);
    char processes[16];

    str_fmt(processes, sizeof(processes), "%u", os_processes(c));
    (void)write_text(box, "pids.max", processes);
}

void cgroup_apply_locked(const struct instance *i, u64 ram)
{
    AUTO(free) char *folder = group_locked(i);
    struct err e = { .text = "there are no control groups" };
    const struct instance_limits l = limits_of(i, &ram);
    int r = -ENOENT;

    if (folder)
        r = cgroup_write(folder, &l, ram, &e);
    if (folder && i->cfg.kind == INSTANCE_OS)
        limit_box(folder, &i->cfg);
    if (r < 0 && has_limits(&l))
        log_warn("machine '%s' runs without some of its limits: %s", i->cfg.spec.name, e.text);
}

/* What outlived socle-os, which is to remove it itself. */
static void end_box(const char *folder)
{
    static const char *const below[] = { "monitor", "box" };

    (void)write_text(folder, "cgroup.kill", "1");
    for_each_row(name, below) {
        AUTO(free) char *path = str_new("%s/%s", folder, *name);

        (void)rmdir(path);
    }
}

int cgroup_enter_locked(const struct instance *i, u64 ram)
{
    AUTO(free) char *folder = group_locked(i), *procs = NULL;
    struct err e = {};

    /*
     * A group that something was ended in by cgroup.kill, and that was not empty yet when it should have gone: Linux would end what is
     * started from there in a group that is younger (kill_seq of cgroup_post_fork).
     */
    if (folder && i->cfg.kind == INSTANCE_OS) {
        end_box(folder);
        (void)rmdir(folder);
    }
    if (folder && make_group(folder, &e) < 0) {
        log_warn("machine '%s': %s", i->cfg.spec.name, e.text);
        return -1;
    }
    cgroup_apply_locked(i, ram);
    if (!folder)
        return -1;
    if (i->cfg.kind == INSTANCE_OS) {
        AUTO(free) char *monitor = str_new("%s/monitor", folder);

        give_controllers(folder);
        if (make_group(monitor, &e) < 0)
            log_warn("instance '%s': %s", i->cfg.spec.name, e.text);
        procs = str_new("%s/cgroup.procs", monitor);
    } else {
        procs = str_new("%s/cgroup.procs", folder);
    }
    return open(procs, O_WRONLY | O_CLOEXEC);
}

char *cgroup_box_locked(const struct instance *i)
{
    AUTO(free) char *folder = group_locked(i);
    const char *top = cgroup_top();

    return folder && top ? str_new("%s/box", folder + strlen(top) + 1) : NULL;
}

/* The folder leaves with the last of the groups, and is made anew with the next. */
void cgroup_leave_locked(const struct instance *i)
{
    AUTO(free) char *folder = group_locked(i);
    struct host *h = i->host;

    if (folder && i->cfg.kind == INSTANCE_OS)
        end_box(folder);
    if (!folder || rmdir(folder) < 0 || rmdir(h->cgroup) < 0)
        return; /* there is none, or others are there: the kernel's own files do not count */
    free(TAKE(h->cgroup));
    h->cgroup_asked = false;
}

/* ---- use ---- */

int cgroup_usage(const char *folder, struct cgroup_usage *ret)
{
    char cpu[1024], memory[32];

    read_text(folder, "cpu.stat", cpu, sizeof(cpu));
    read_text(folder, "memory.current", memory, sizeof(memory));
    *ret = (struct cgroup_usage){};
    if (!str_u64_after(cpu, "usage_usec ", &ret->cpu_us))
        return -ENOENT;
    (void)str_u64_after(memory, "", &ret->memory);
    return 0;
}

bool cgroup_read_locked(const struct instance *i, struct cgroup_usage *ret)
{
    AUTO(free) char *folder = group_locked(i);

    return folder && cgroup_usage(folder, ret) >= 0;
}
