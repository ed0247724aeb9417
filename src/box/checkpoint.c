/*
 * box/checkpoint.c: `checkpoint`: what CRIU has to know of a running container is looked up, by descriptors inside its root, and told.
 *   (1) Nothing of the container is changed by us: when CRIU fails, it lets go of the processes, and they go on.
 *   (2) A checkpoint leaves a stopped container, which `delete` removes.
 */
#include "base/clock.h"
#include "box/criu.h"
#include "box/making.h"
#include "box/notify.h"
#include "box/path.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { END_WAIT_MS = 10000, NODES_MAX = DEFAULT_NODES + OCI_DEVICES_MAX };

struct dumping {
    const struct box_criu *opts;
    struct box_dir dir;
    struct box_state state;
    struct oci spec;
    struct criu_dirs dirs;
    struct criu_dump dump;
    struct criu_words words;
    int proc, root; /* /proc/PID, and its root */
    int pidfd;
    char *freezer;
};

/* Where in the container `path` is, links followed; NULL: it is not there.  With `file`, a directory is not what is meant. */
static char *place(int root, const char *path, bool file)
{
    AUTO(fd) int fd = path_open(root, path, O_PATH);
    char link[64], at[PATH_MAX];
    struct stat st;
    ssize_t n;

    if (fd < 0 || fstat(fd, &st) < 0 || (file && S_ISDIR(st.st_mode)))
        return NULL;
    str_fmt(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, at, sizeof(at) - 1);
    if (n <= 0 || *at != '/')
        return NULL;
    at[n] = 0;
    return xdup(at);
}

static bool is_bind(const struct oci_mount *m)
{
    struct err ignored = {};
    struct mount_plan p;
    bool bind;

    if (mount_plan_make(&p, m, &ignored) < 0)
        return false;
    bind = p.bind;
    mount_plan_fini(&p);
    return bind;
}

/* Device files that are copies of the host's: box/root.c binds them where they cannot be made. */
static void find_nodes(struct dumping *d)
{
    static const char *const names[] = { "/dev/null",   "/dev/zero",    "/dev/full",
                                         "/dev/random", "/dev/urandom", "/dev/tty" };
    u32 n = 0;

    if (!oci_ns(&d->spec, NS_USER))
        return;
    d->dump.nodes = xnew_n(char *, NODES_MAX + 1);
    for_each_row(name, names)
        d->dump.nodes[n++] = xdup(*name);
    for_each_of(const struct oci_device, dev, &d->spec.os.devices)
    {
        d->dump.nodes[n++] = xdup(dev->path);
    }
    d->dump.nodes[n] = NULL;
}

static void find_mounts(struct dumping *d)
{
    const struct oci_mount *mounts = d->spec.mounts.items;
    const struct field_strs *masks = &d->spec.os.maskedPaths;
    AUTO(free) char *notify = place(d->root, NOTIFY_PLACE, false);
    struct stat st;

    d->dump.mounts = xnew_n(char *, d->spec.mounts.n + 1);
    d->dump.masks = xnew_n(char *, masks->n + 1);
    for (u32 i = 0; i < d->spec.mounts.n; i++)
        d->dump.mounts[i] =
            is_bind(&mounts[i]) ? place(d->root, mounts[i].destination, false) : NULL;
    for (u32 i = 0; i < masks->n; i++)
        d->dump.masks[i] = place(d->root, masks->items[i], true);
    d->dump.notify = notify && fstatat(d->dir.fd, "notify", &st, AT_SYMLINK_NOFOLLOW) == 0;
    find_nodes(d);
}

static int find_namespaces(struct dumping *d, struct err *e)
{
    for_each_of(const struct oci_namespace, n, &d->spec.os.namespaces)
    {
        char path[32];
        struct stat st;

        if (!n->path || !*n->path)
            continue;
        str_fmt(path, sizeof(path), "ns/%s", ns_kinds[n->type].file);
        if (fstatat(d->proc, path, &st, 0) < 0)
            return err_errno(e, "look at its %s namespace", oci_ns_words[n->type]);
        d->dump.ns[n->type] = st.st_ino;
    }
    return 0;
}

/* CRIU stops all that is in there at once. */
static int find_cgroup(struct dumping *d, struct err *e)
{
    char link[64], at[PATH_MAX];
    struct cgroup g;
    ssize_t n = 0;
    int r;

    cgroup_init(&g);
    r = cgroup_open(&g, d->state.cgroup, e);
    if (r == 0 && g.fd >= 0) {
        str_fmt(link, sizeof(link), "/proc/self/fd/%d", g.fd);
        n = readlink(link, at, sizeof(at) - 1);
    }
    cgroup_fini(&g);
    if (n <= 0)
        return r;
    at[n] = 0;
    d->dump.freezer = d->freezer = xdup(at);
    return 0;
}

/* Beside the images: what descriptors 0 to 2 are, so that a restore has others for pipes. */
static int write_streams(struct dumping *d, struct err *e)
{
    json_t *list = json_array();
    AUTO(free) char *text = NULL;
    AUTO(fd) int fd = -1;
    int r;

    for (int i = 0; i < CRIU_STREAMS_MAX; i++) {
        char name[16], at[PATH_MAX];
        ssize_t n;

        str_fmt(name, sizeof(name), "fd/%d", i);
        n = readlinkat(d->proc, name, at, sizeof(at) - 1);
        at[max(n, 0)] = 0;
        if (json_array_append_new(list, json_string(at)) < 0) /* not UTF-8: no pipe */
            json_array_append_new(list, json_string(""));
    }
    text = json_dumps(list, JSON_COMPACT);
    json_decref(list);
    must(text);
    fd = openat(d->dirs.images, CRIU_STREAMS, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
                0600);
    r = fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
    return r < 0 ? err_code(e, r, "write '" CRIU_STREAMS "' to the images") : 0;
}

static int open_process(struct dumping *d, struct err *e)
{
    AUTO(free) char *path = str_new("/proc/%d", d->state.pid);

    d->pidfd = (int)syscall(SYS_pidfd_open, d->state.pid, 0);
    d->proc = open(path, O_DIRECTORY | O_PATH | O_CLOEXEC);
    if (d->pidfd < 0 || d->proc < 0 || box_pid_started(d->state.pid) != d->state.pid_started)
        return err_set(e, -ESRCH, "container not running");
    d->root = openat(d->proc, "root", O_DIRECTORY | O_PATH | O_CLOEXEC);
    return d->root < 0 ? err_errno(e, "open the container's root") : 0;
}

static int look(struct dumping *d, struct err *e)
{
    int r = open_process(d, e);

    if (r == 0)
        r = find_namespaces(d, e);
    if (r == 0)
        r = find_cgroup(d, e);
    if (r == 0)
        r = write_streams(d, e);
    if (r < 0)
        return r;
    find_mounts(d);
    d->dump.pid = d->state.pid;
    d->dump.images = d->dirs.images;
    d->dump.work = d->dirs.work;
    criu_words_dump(&d->words, &d->spec, d->opts, &d->dump);
    return 0;
}

static int dump(struct dumping *d, struct err *e)
{
    int sync[2], pidfd = -1, r = sync_pair(sync, e);
    pid_t pid;

    if (r < 0)
        return r;
    pid = ns_clone(0, -1, &pidfd);
    if (pid == 0) {
        const int fds[] = { d->dirs.images, d->dirs.work };
        const struct criu_call call = { .verb = d->opts->pre_dump ? "pre-dump" : "dump",
                                        .words = &d->words,
                                        .sync = sync[1],
                                        .console = -1,
                                        .fds = fds,
                                        .n_fds = ARRAY_LEN(fds) };
        struct err why = {};

        criu_exec(&call, &why);
        sync_fail(sync[1], &why);
        _exit(1);
    }
    close(sync[1]);
    r = pid < 0 ? ns_clone_failed(pid, "a process", e) : sync_wait(sync[0], NULL, e);
    close(sync[0]);
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    fd_close(&pidfd);
    if (r >= 0 && r != SYNC_READY)
        r = err_set(e, -EPROTO, "unexpected message %d", r);
    return min(r, 0);
}

/* CRIU ended it; who is its parent has yet to hear of that. */
static int wait_gone(const struct dumping *d, struct err *e)
{
    struct pollfd p = { .fd = d->pidfd, .events = POLLIN };
    const u64 end = clock_mono_ns() + END_WAIT_MS * NSEC_PER_MSEC;

    while (box_pid_started(d->state.pid) == d->state.pid_started) {
        if (clock_mono_ns() > end)
            return err_set(e, -ETIMEDOUT, "process %d does not end", d->state.pid);
        poll(&p, 1, 100);
    }
    return 0;
}

static int check_status(const struct dumping *d, struct err *e)
{
    const enum box_status status = box_status_of(&d->dir, &d->state);

    if (status == BOX_STOPPED)
        return err_set(e, -ESRCH, "container not running");
    if (status == BOX_CREATED)
        return err_set(e, -EINVAL, "the container's program has not been started yet");
    return 0;
}

static int checkpoint(struct dumping *d, struct err *e)
{
    int r = check_status(d, e);

    if (r == 0 && making_unprivileged())
        r = err_set(e, -EPERM, "checkpoint needs root, and no user namespace: CRIU does");
    if (r == 0)
        r = box_spec_load(&d->dir, &d->spec, e);
    if (r == 0)
        r = criu_check(&d->spec, d->opts, e);
    if (r == 0)
        r = criu_dirs_open(&d->dirs, d->opts, true, e);
    if (r == 0)
        r = look(d, e);
    if (r < 0)
        return r;
    r = dump(d, e);
    if (r < 0)
        return criu_failed(&d->dirs, CRIU_DUMPED, e);
    return d->opts->leave_running || d->opts->pre_dump ? 0 : wait_gone(d, e);
}

static void free_texts(char **texts, u32 n)
{
    for (u32 i = 0; texts && i < n; i++)
        free(texts[i]);
    free(texts);
}

static void dumping_fini(struct dumping *d)
{
    free_texts(d->dump.mounts, d->spec.mounts.n);
    free_texts(d->dump.masks, d->spec.os.maskedPaths.n);
    free_texts(d->dump.nodes, d->dump.nodes ? DEFAULT_NODES + d->spec.os.devices.n : 0);
    free(d->freezer);
    criu_words_fini(&d->words);
    criu_dirs_close(&d->dirs);
    fd_close(&d->pidfd);
    fd_close(&d->root);
    fd_close(&d->proc);
    oci_fini(&d->spec);
    box_state_fini(&d->state);
    box_dir_fini(&d->dir);
}

int box_checkpoint(const struct box_global *g, const struct box_criu *o, const char *id,
                   struct err *e)
{
    struct dumping d = {
        .opts = o, .dirs = { .images = -1, .work = -1 }, .proc = -1, .root = -1, .pidfd = -1
    };
    int r = box_open(&d.dir, &d.state, g->root, id, true, e);

    if (r == 0)
        r = launch_close_inherited(0, e);
    if (r == 0 && d.state.isolate)
        r = err_set(e, -ENOTSUP, "'%.80s' is a machine: it cannot be written to a checkpoint", id);
    if (r == 0)
        r = checkpoint(&d, e);
    dumping_fini(&d);
    return r;
}
