/*
 * os/view_fs.c: a small file system (FUSE) in a process of its own, which reads the container's control group when it is read.
 *   (1) What the container asks comes through the kernel's FUSE: names, offsets, sizes.  The process has /proc to read, the descriptors that it
 *       opened before, and the system calls of role "view".  What a file says is made when it is opened, so that reads in pieces fit.
 *   (2) A container opens as much as it likes: OPEN_MAX_HERE texts are kept, more are refused.
 *   (3) It ends with socle-os; then the files say ENOTCONN.
 *   (4) When it ends alone another one takes its place (os/mend.h): socle-os has the connection's descriptor, too, so that all mounts of it, in
 *       whatever namespace, go on.  What that one has to know of its predecessor is in struct view_shared.
 */
#define FUSE_USE_VERSION 314
#include "os/view_fs.h"

#include "base/clock.h"
#include "base/proc.h"
#include "jail/jail.h"
#include "os/child.h"

#include <fcntl.h>
#include <fuse3/fuse_lowlevel.h>
#include <linux/fuse.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    OPEN_MAX_HERE = 256,
    TEXT_MAX = 256 * 1024,
    FIRST_INODE = 2,
    SPARE = 64,
    FIRST_ASK_MAX = 256,
    NOTIFY_RESEND = 7, /* FUSE_NOTIFY_RESEND of Linux 6.9, newer than Debian 12's headers */
};

/*
 * What outlives the process, in memory that it shares with socle-os.  It has write access, so who reads it (the next one, before it serves)
 * believes no length.
 */
struct view_shared {
    atomic_ullong started_ns; /* the container */
    atomic_ullong unique;     /* the request that is being answered; 0: none */
    u32 life;                 /* of the process that is the how manieth */
    u32 first_ask_len;        /* what the kernel began the connection with: it says so once */
    char first_ask[FIRST_ASK_MAX];
};

/* Files of the control group that has the limits. */
enum group_file { MEMORY_MAX, MEMORY_NOW, MEMORY_STAT, CPU_MAX, CPU_STAT, PIDS_NOW, GROUP_FILES };
static const char *const group_names[GROUP_FILES] = {
    "memory.max", "memory.current", "memory.stat", "cpu.max", "cpu.stat", "pids.current",
};

struct source {
    const struct os_spec *spec;
    pid_t above; /* socle-os */
    int group[GROUP_FILES];
    int cpuinfo;
    u64 host_memory;
    u32 host_cpus;
    struct view_shared *shared;
    u64 start_seen; /* of that, the last; what the group had used then */
    u64 user_before, system_before;
    double load[3];
    u64 load_at_ns, load_us;
    u32 n_open, life;
    struct strbuf *texts[OPEN_MAX_HERE]; /* of open files */
};

/* ---- what is true now ---- */

/* A file of /proc or of a control group is made anew when it is read from its begin.  Owned; "" when there is none. */
static char *read_again(int fd, size_t max)
{
    char *text = xnew_n(char, max + 1);
    ssize_t n = 0, part;

    while (fd >= 0 && n < (ssize_t)max && (part = pread(fd, text + n, max - n, n)) > 0)
        n += part;
    text[n] = 0;
    return text;
}

static u64 number(const char *text, const char *word)
{
    u64 v;

    (void)str_u64_after(text, word, &v);
    return v;
}

static void add_memory(const struct source *s, struct view *v)
{
    AUTO(free) char *max = read_again(s->group[MEMORY_MAX], 64);
    AUTO(free) char *now = read_again(s->group[MEMORY_NOW], 64);
    AUTO(free) char *stat = read_again(s->group[MEMORY_STAT], 8192);
    u64 limit = s->spec->memory;

    if (str_u64_after(max, "", &v->memory))
        limit = v->memory;
    v->memory = min(limit ? limit : s->host_memory, s->host_memory);
    if (!str_u64_after(now, "", &v->used)) {
        v->used = proc_below((u32)s->above);
        return;
    }
    v->cached = number(stat, "active_file ") + number(stat, "\ninactive_file ");
    v->shared = number(stat, "shmem ");
}

static void add_cpus(struct source *s, struct view *v)
{
    AUTO(free) char *max = read_again(s->group[CPU_MAX], 64);
    AUTO(free) char *stat = read_again(s->group[CPU_STAT], 4096);
    u64 quota[2], cpus = s->spec->cpus, user = number(stat, "user_usec "),
                  system = number(stat, "system_usec ");
    const u64 started = atomic_load(&s->shared->started_ns);

    if (str_take_u64s(max, quota, 2) == 2 && quota[1])
        cpus = (quota[0] + quota[1] - 1) / quota[1];
    v->cpus = (u32)min(max(cpus ? cpus : s->host_cpus, 1ull), (u64)s->host_cpus);
    if (started != s->start_seen) {
        s->start_seen = s->load_at_ns = started;
        s->user_before = user;
        s->system_before = system;
        s->load_us = 0;
        memset(s->load, 0, sizeof(s->load));
    }
    v->user_us = user - min(user, s->user_before);
    v->system_us = system - min(system, s->system_before);
}

/* Nobody samples: what was used since it was read last is taken as even. */
static void add_load(struct source *s, struct view *v)
{
    const u64 now = clock_mono_ns(), used = v->user_us + v->system_us, ns = now - s->load_at_ns;

    if (ns >= NSEC_PER_SEC) {
        view_load(s->load, (double)(used - min(used, s->load_us)) * 1000 / (double)ns, ns);
        s->load_at_ns = now;
        s->load_us = used;
    }
    memcpy(v->load, s->load, sizeof(v->load));
    v->up_ns = now - s->start_seen;
}

/* Owned text of a file. */
static void make_text(struct source *s, enum view_file f, struct strbuf *out)
{
    AUTO(free) char *cpuinfo = read_again(f == VIEW_CPUINFO ? s->cpuinfo : -1, TEXT_MAX);
    AUTO(free) char *pids = read_again(s->group[PIDS_NOW], 64);
    struct view v = { .host_cpuinfo = cpuinfo };
    struct timespec now;

    add_memory(s, &v);
    add_cpus(s, &v);
    add_load(s, &v);
    clock_gettime(CLOCK_REALTIME, &now);
    v.now_s = (u64)now.tv_sec;
    v.tasks = (u32)max(number(pids, ""), 1ull);
    view_print(f, &v, out);
}

/* ---- the file system ---- */

static struct source *source_of(fuse_req_t rq)
{
    return fuse_req_userdata(rq);
}

static const char *name_of(u32 file)
{
    return strrchr(view_paths[file], '/') + 1;
}

/*
 * A read looks at no size (direct_io), but sendfile(2) does, as busybox's cat uses it: the kernel takes it down to what a read gave, and never
 * up.  So it is what the file has now, and room for digits.
 */
static u64 size_of(struct source *s, fuse_ino_t ino)
{
    AUTO(strbuf) struct strbuf text = {};

    make_text(s, (enum view_file)(ino - FIRST_INODE), &text);
    return text.len + SPARE;
}

static bool attr_of(struct source *s, fuse_ino_t ino, struct stat *ret)
{
    const bool is_file = ino >= FIRST_INODE && ino < FIRST_INODE + VIEW_FILES;

    *ret = (struct stat){ .st_ino = ino,
                          .st_mode = is_file ? S_IFREG | 0444 : S_IFDIR | 0555,
                          .st_nlink = is_file ? 1 : 2,
                          .st_uid = s->spec->uid_first,
                          .st_gid = s->spec->uid_first };
    if (is_file)
        ret->st_size = (off_t)size_of(s, ino);
    return is_file || ino == FUSE_ROOT_ID;
}

static void on_lookup(fuse_req_t rq, fuse_ino_t parent, const char *name)
{
    struct fuse_entry_param entry = { .entry_timeout = 3600 };

    for (u32 i = 0; parent == FUSE_ROOT_ID && i < VIEW_FILES; i++)
        if (strcmp(name, name_of(i)) == 0) {
            entry.ino = FIRST_INODE + i;
            (void)attr_of(source_of(rq), entry.ino, &entry.attr);
            fuse_reply_entry(rq, &entry);
            return;
        }
    fuse_reply_err(rq, ENOENT);
}

static void on_getattr(fuse_req_t rq, fuse_ino_t ino, struct fuse_file_info *fi [[maybe_unused]])
{
    struct stat st;

    if (attr_of(source_of(rq), ino, &st))
        fuse_reply_attr(rq, &st, 0);
    else
        fuse_reply_err(rq, ENOENT);
}

/* A handle is our life's number, and a place in `texts`. */
static struct strbuf **text_of(struct source *s, u64 handle)
{
    const u32 at = (u32)handle;

    return handle >> 32 == s->life && at < OPEN_MAX_HERE && s->texts[at] ? &s->texts[at] : NULL;
}

static u64 keep_text(struct source *s, struct strbuf *text)
{
    u32 at = 0;

    while (s->texts[at]) { /* n_open says that there is room */
        at++;
    }
    s->texts[at] = text;
    s->n_open++;
    return (u64)s->life << 32 | at;
}

static void drop_text(struct source *s, u64 handle)
{
    struct strbuf **text = text_of(s, handle);

    if (!text)
        return; /* of a predecessor */
    strbuf_fini(*text);
    free(*text);
    *text = NULL;
    s->n_open--;
}

static void on_open(fuse_req_t rq, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct source *s = source_of(rq);
    struct strbuf *text;

    if (ino < FIRST_INODE || ino >= FIRST_INODE + VIEW_FILES ||
        (fi->flags & O_ACCMODE) != O_RDONLY || s->n_open == OPEN_MAX_HERE) {
        fuse_reply_err(rq, s->n_open == OPEN_MAX_HERE ? ENFILE : EACCES);
        return;
    }
    text = xnew(struct strbuf);
    make_text(s, (enum view_file)(ino - FIRST_INODE), text);
    fi->fh = keep_text(s, text);
    fi->direct_io = 1;               /* nothing is kept */
    if (fuse_reply_open(rq, fi) < 0) /* who opened it is gone: there will be no release */
        drop_text(s, fi->fh);
}

/* What a predecessor made for an open file is gone with it: such a one is told what is true now. */
static void on_read(fuse_req_t rq, fuse_ino_t ino, size_t size, off_t at, struct fuse_file_info *fi)
{
    AUTO(strbuf) struct strbuf now = {};
    struct strbuf **kept = text_of(source_of(rq), fi->fh);
    const struct strbuf *text = kept ? *kept : &now;
    size_t from;

    if (!kept && ino >= FIRST_INODE && ino < FIRST_INODE + VIEW_FILES)
        make_text(source_of(rq), (enum view_file)(ino - FIRST_INODE), &now);
    from = at < 0 ? text->len : min((size_t)at, text->len);
    fuse_reply_buf(rq, text->len ? text->text + from : "", min(size, text->len - from));
}

static void on_release(fuse_req_t rq, fuse_ino_t ino [[maybe_unused]], struct fuse_file_info *fi)
{
    drop_text(source_of(rq), fi->fh);
    fuse_reply_err(rq, 0);
}

static const struct fuse_lowlevel_ops ops = {
    .lookup = on_lookup,
    .getattr = on_getattr,
    .open = on_open,
    .read = on_read,
    .release = on_release,
};

/* ---- in the process ---- */

/* The limits are of the group above the container's, which socled made and which outlives it. */
static void open_source(struct source *s)
{
    static const char *const tops[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
    const char *own = s->spec->cgroup, *slash = own ? strrchr(own, '/') : NULL;
    AUTO(free) char *meminfo = fd_read_virtual("/proc/meminfo", TEXT_MAX);

    for (u32 i = 0; i < GROUP_FILES; i++) {
        s->group[i] = -1;
        for_each_row(top, tops) {
            AUTO(free)
            char *path = str_new("%s/%.*s/%s", *top, slash ? (int)(slash - own) : 0,
                                 slash ? own : "", group_names[i]);

            if (slash && s->group[i] < 0)
                s->group[i] = open(path, O_RDONLY | O_CLOEXEC);
        }
    }
    s->cpuinfo = open("/proc/cpuinfo", O_RDONLY | O_CLOEXEC);
    s->host_memory = meminfo ? number(meminfo, "MemTotal:") * KiB : 0;
    s->host_cpus = (u32)max(sysconf(_SC_NPROCESSORS_ONLN), 1l);
    s->start_seen = ~0ull;
}

static int confine(struct err *e)
{
    AUTO(fd) int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    const struct jail_dir dir = { proc, false };
    const struct jail_cfg cfg = { .keep_root = true, .dirs = &dir, .n_dirs = 1 };
    struct jail_report report;
    int r = proc < 0 ? err_errno(e, "open '/proc'") : jail_enter(&cfg, &report, e);

    if (r < 0)
        return r;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return err_errno(e, "end with socle-os");
    return jail_seccomp(JAIL_VIEW, e);
}

/* `fuse`: mounted already. */
static int make_session(struct source *s, int fuse, struct fuse_session **ret, struct err *e)
{
    char name[] = "socle-view", at[32];
    char *argv[] = { name, NULL };
    struct fuse_args args = { 1, argv, 0 };

    str_fmt(at, sizeof(at), "/dev/fd/%d", fuse);
    *ret = fuse_session_new(&args, &ops, sizeof(ops), s);
    if (!*ret || fuse_session_mount(*ret, at) < 0)
        return err_set(e, -EIO, "libfuse refuses its file system");
    return 0;
}

/*
 * A predecessor may have read a question and not answered it, and have ended of it: that one fails.  Others that it has read the kernel asks
 * again, where it can; it began the connection once, long ago, so libfuse is told that again, and its answer is to nobody.
 */
static void take_over(struct source *s, struct fuse_session *session, int fuse)
{
    const struct fuse_out_header failed = { sizeof(failed), -EIO, atomic_load(&s->shared->unique) };
    const struct fuse_out_header again = { sizeof(again), NOTIFY_RESEND, 0 };
    const u32 len = min(s->shared->first_ask_len, (u32)FIRST_ASK_MAX);
    char first[FIRST_ASK_MAX];
    struct fuse_buf buf = { .size = len, .mem = first };

    s->life = ++s->shared->life;
    if (len < sizeof(struct fuse_in_header))
        return; /* nothing was asked yet */
    if (failed.unique)
        (void)!write(fuse, &failed,
                     sizeof(failed)); /* it may be answered, or nobody wait any more */
    (void)!write(fuse, &again, sizeof(again));
    memcpy(first, s->shared->first_ask, len);
    fuse_session_process_buf(session, &buf);
}

static void note(struct source *s, const struct fuse_buf *buf, size_t n)
{
    struct fuse_in_header head = {};

    memcpy(&head, buf->mem, min(n, sizeof(head)));
    if (head.opcode == FUSE_INIT) {
        s->shared->first_ask_len = (u32)min(n, sizeof(s->shared->first_ask));
        memcpy(s->shared->first_ask, buf->mem, s->shared->first_ask_len);
    }
    atomic_store(&s->shared->unique, head.unique);
}

/* As fuse_session_loop, and what a successor has to know is noted. */
static void answer(struct source *s, struct fuse_session *session)
{
    struct fuse_buf buf = {};
    int n = -EINTR;

    while (!fuse_session_exited(session) && (n > 0 || n == -EINTR)) {
        n = fuse_session_receive_buf(session, &buf);
        if (n <= 0)
            continue;
        note(s, &buf, (size_t)n);
        fuse_session_process_buf(session, &buf);
        atomic_store(&s->shared->unique, 0);
    }
    free(buf.mem);
}

struct serving {
    struct source *source;
    int fuse;
};

_Noreturn static void serve(void *arg, int said)
{
    const struct serving *v = arg;
    const int keep[] = { v->fuse, said };
    struct fuse_session *session = NULL;
    struct err e = {};
    int r = os_child_settle(keep, ARRAY_LEN(keep), &e);

    if (r >= 0) {
        open_source(v->source);
        r = make_session(v->source, v->fuse, &session, &e);
    }
    if (r >= 0)
        r = confine(&e);
    e.code = r;
    if (write(said, &e, sizeof(e)) != sizeof(e) || r < 0)
        _exit(1);
    close(said);
    take_over(v->source, session, v->fuse);
    answer(v->source, session);
    _exit(0);
}

/* ---- its parent ---- */

static int mount_it(const struct os_spec *s, int *ret_fd, struct err *e)
{
    AUTO(free) char *at = str_new("%s/l/view", s->folder);
    AUTO(fd) int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    char options[128];

    if (fd < 0)
        return err_errno(e, "open '/dev/fuse'");
    if (mkdir(at, 0755) < 0 && errno != EEXIST)
        return err_errno(e, "make folder '%s'", at);
    str_fmt(options, sizeof(options),
            "fd=%d,rootmode=40555,user_id=0,group_id=0,allow_other,default_permissions", fd);
    if (mount("socle", at, "fuse", MS_NOSUID | MS_NODEV | MS_NOEXEC, options) < 0)
        return err_errno(e, "mount '%s'", at);
    *ret_fd = TAKE_FD(fd);
    return 0;
}

static int share(struct view_fs *v, struct err *e)
{
    void *p =
        mmap(NULL, sizeof(*v->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (p == MAP_FAILED)
        return err_errno(e, "share memory");
    v->shared = p;
    view_fs_restart(v);
    return 0;
}

int view_fs_open(struct view_fs *v, const struct os_spec *s, struct err *e)
{
    int r;

    *v = (struct view_fs){ .fuse = -1 };
    r = mount_it(s, &v->fuse, e);
    if (r >= 0)
        r = share(v, e);
    if (r >= 0)
        r = view_fs_start(v, s, e);
    if (r < 0)
        view_fs_close(v);
    return r;
}

int view_fs_start(struct view_fs *v, const struct os_spec *s, struct err *e)
{
    struct source *source;
    struct serving serving = { .fuse = v->fuse };
    int r;

    if (v->fuse < 0 || v->pid)
        return 0;
    source = xnew(struct source);
    *source = (struct source){ .spec = s, .above = getpid(), .shared = v->shared };
    serving.source = source;
    r = os_child_start(&v->pid, serve, &serving, e);
    free(source);
    return r < 0 ? err_wrap(e, "its own /proc") : 0;
}

void view_fs_restart(struct view_fs *v)
{
    if (v->shared)
        atomic_store(&v->shared->started_ns, clock_mono_ns());
}

bool view_fs_ended(struct view_fs *v, pid_t pid, int status)
{
    if (!v->pid || pid != v->pid)
        return false;
    v->pid = 0;
    log_warn("the process that shows the container its own /proc ended (%s %d); another one is "
             "started",
             WIFEXITED(status) ? "status" : "signal",
             WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    return true;
}

void view_fs_close(struct view_fs *v)
{
    if (v->pid > 0) {
        kill(v->pid, SIGKILL);
        (void)waitpid(v->pid, NULL, 0);
    }
    if (v->shared)
        munmap(v->shared, sizeof(*v->shared));
    fd_close(&v->fuse);
    *v = (struct view_fs){ .fuse = -1 };
}
