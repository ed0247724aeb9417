/*
 * os/files.c: a process for each conversation about files.
 *   (1) A file system in a container can hang for ever (FUSE), and its names lead where they like.  So a child looks at them, from within:
 *       in the container's user and mount namespaces, as its user 0, with five capabilities there.  Whatever a name leads to, the
 *       container could have done itself.  It keeps two descriptors, the connection and the root, and the system calls of role "unpack".
 *   (2) socle-os keeps the connection, too: when the client goes, the child is killed; when the child ended without a word, it says so.
 *   (3) Who closes with something unread takes back what was said: the client closes, when it has the last word.
 */
#include "os/files.h"

#include "box/path.h"
#include "jail/jail.h"
#include "os/child.h"
#include "os/door.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CAP(name) (1ull << (name))

/* ---- in the process ---- */

static int pull_one(int root, const char *path, struct copy_from *f, struct err *e)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    AUTO(fd) int at = path_open(root, path, O_PATH);
    AUTO(fd) int fd = -1;
    struct stat st;

    if (at < 0 || fstat(at, &st) < 0)
        return err_code(e, at < 0 ? at : -errno, "'%.120s'", path);
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        return err_set(e, -EINVAL, "'%.120s' is neither a file nor a folder", path);
    fd = path_open(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return err_code(e, fd, "open '%.120s'", path);
    if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        name = "root";
    return copy_send(f, fd, name, e);
}

static int pull(int conn, int root, const struct os_files_ask *a, struct err *e)
{
    struct copy_from f = { .conn = conn, .recursive = a->recursive };
    u8 skipped[4];
    int r = 0;

    for (u32 i = 0; i < a->paths.n && r >= 0; i++)
        r = pull_one(root, a->paths.items[i], &f, e);
    for (u32 i = 0; i < 4; i++)
        skipped[i] = (u8)(f.n_skipped >> (24 - 8 * i));
    return r < 0 ? r : copy_say(conn, COPY_DONE, skipped, sizeof(skipped));
}

/* The folder in which the last name of `path` is to be; the name is left in it. */
static int open_parent(int root, char *path, bool create, const char **ret_name, struct err *e)
{
    static char name[256];
    char *slash = strrchr(path, '/');
    int fd;

    if (create) {
        fd = path_make_parent(root, path, name);
        *ret_name = name;
        return fd < 0 ? err_code(e, fd, "make the folders of '%.120s'", path) : fd;
    }
    *ret_name = slash ? slash + 1 : path;
    if (!**ret_name || strcmp(*ret_name, ".") == 0 || strcmp(*ret_name, "..") == 0)
        return err_set(e, -EINVAL, "'%.120s' is no name of a file", path);
    if (slash)
        *slash = 0;
    fd = path_open(root, slash && slash != path ? path : "/", O_PATH | O_DIRECTORY);
    return fd < 0 ? err_code(e, fd, "folder '%.120s'", slash ? path : "/") : fd;
}

static int push(struct copy_in *in, int root, const struct os_files_ask *a, struct err *e)
{
    struct copy_to t = {
        .in = in, .uid = a->uid, .gid = a->gid, .mode = a->mode, .mode_mask = 07777, .out = -1
    };
    AUTO(fd) int dir = -1;
    int r;

    if (a->paths.n != 1)
        return err_set(e, -EINVAL, "'paths' has %u elements; files are put at one", a->paths.n);
    dir = path_open(root, a->paths.items[0], O_PATH | O_DIRECTORY);
    if (dir < 0 && a->into && a->create)
        dir = path_make(root, a->paths.items[0], false);
    if (dir < 0 && a->into)
        return err_code(e, dir, "folder '%.120s'", a->paths.items[0]);
    if (dir < 0) {
        r = dir = open_parent(root, a->paths.items[0], a->create, &t.first, e);
        if (r < 0)
            return r;
    }
    t.dir = dir;
    r = copy_receive(&t, e);
    return r < 0 ? r : copy_say(in->fd, OS_FRAME_END, NULL, 0);
}

static int converse(int conn, int root, struct err *e)
{
    struct copy_in in = { .fd = conn };
    struct os_files_ask a = {};
    const u8 *data;
    size_t len;
    int r = copy_next(&in, &data, &len, e);

    if (r > 0)
        r = err_set(e, -EPROTO, "the first frame is of kind %d; what is wanted is expected", r);
    if (r >= 0)
        r = conf_parse_text(os_files_fields, &a, (const char *)data, len, e);
    if (r >= 0)
        r = a.push ? push(&in, root, &a, e) : pull(conn, root, &a, e);
    conf_fini(os_files_fields, &a);
    copy_in_fini(&in);
    return r;
}

/* Not ours any more: who we are, and what "/" is. */
static int enter(const struct os_files *f, int pidfd, int *ret_root, struct err *e)
{
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0) /* before others could see us there */
        return err_errno(e, "hide from the container");
    if (f->user >= 0 && setns(f->user, CLONE_NEWUSER) < 0)
        return err_errno(e, "enter its user namespace");
    if (setns(pidfd, CLONE_NEWNS) < 0)
        return err_errno(e, "enter its mount namespace");
    if (f->user >= 0 &&
        (setgroups(0, NULL) < 0 || setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0))
        return err_errno(e, "become its user 0");
    *ret_root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return *ret_root < 0 ? err_errno(e, "open its root") : 0;
}

static int confine(int conn, int root, struct err *e)
{
    const int keep[] = { conn, root };
    const struct jail_dir dir = { root, true };
    const struct jail_cfg cfg = {
        .keep = keep,
        .n_keep = ARRAY_LEN(keep),
        .keep_ids = true,
        .keep_root = true,
        .keep_caps = CAP(CAP_CHOWN) | CAP(CAP_DAC_OVERRIDE) | CAP(CAP_DAC_READ_SEARCH) |
                     CAP(CAP_FOWNER) | CAP(CAP_FSETID),
        .dirs = &dir,
        .n_dirs = 1,
    };
    struct jail_report report;
    int r = jail_enter(&cfg, &report, e);

    if (r < 0)
        return r;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
        return err_errno(e, "end with socle-os");
    umask(022);
    return jail_seccomp(JAIL_UNPACK, e);
}

_Noreturn static void serve(const struct os_files *f, int conn)
{
    const int pidfd = (int)syscall(SYS_pidfd_open, *f->of, 0), keep[] = { conn, pidfd, f->user };
    struct err e = {};
    int root = -1, r = pidfd < 0 ? err_errno(&e, "find the container") : 0;

    if (r >= 0)
        r = os_child_settle(keep, ARRAY_LEN(keep), &e);
    if (r >= 0 && fcntl(conn, F_SETFL, 0) < 0)
        r = err_errno(&e, "the connection");
    if (r >= 0)
        r = enter(f, pidfd, &root, &e);
    if (r >= 0)
        r = confine(conn, root, &e);
    if (r >= 0)
        r = converse(conn, root, &e);
    if (r < 0)
        (void)copy_say(conn, OS_FRAME_FAILED, e.text, strlen(e.text));
    _exit(0);
}

/* ---- its parent ---- */

struct os_files_client {
    struct os_files *f;
    u32 place;
    int fd;
    struct loop_fd watch;
    pid_t pid; /* 0: it ended */
};

static void client_free(struct os_files_client *c)
{
    if (c->pid > 0)
        kill(c->pid, SIGKILL); /* and is waited for as any child */
    loop_fd_close(&c->watch);
    fd_close(&c->fd);
    c->f->client[c->place] = NULL;
    free(c);
}

/* The client goes.  What it still says after the last word is read, and nobody's. */
static void on_client(struct loop_fd *w, int events)
{
    struct os_files_client *c = w->arg;
    char buf[4096];
    ssize_t n = -1;

    if (c->pid == 0) {
        n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);
        if (n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR)))
            return;
    } else if (!(events & UV_DISCONNECT)) {
        return;
    }
    client_free(c);
}

/* `said`: in place of what the process did not say; NULL: it did. */
static void end(struct os_files_client *c, const char *said)
{
    c->pid = 0;
    if (said)
        (void)copy_say(c->fd, OS_FRAME_FAILED, said, strlen(said));
    (void)shutdown(c->fd, SHUT_WR);
    loop_fd_events(&c->watch, UV_READABLE);
}

static void begin(struct os_files_client *c)
{
    struct os_files *f = c->f;

    if (loop_fd_open(f->loop, &c->watch, c->fd, UV_DISCONNECT, on_client, c) < 0) {
        client_free(c);
        return;
    }
    c->pid = *f->of ? fork() : 0;
    if (*f->of && c->pid == 0)
        serve(f, c->fd);
    if (c->pid <= 0)
        end(c, *f->of ? "no process can be started" : "the instance is not running");
}

static void on_door(struct loop_fd *w, int events [[maybe_unused]])
{
    struct os_files *f = w->arg;
    AUTO(fd) int fd = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct os_files_client *c;
    u32 place = 0;

    while (place < OS_FILES_MAX && f->client[place])
        place++;
    if (fd < 0 || place == OS_FILES_MAX)
        return; /* who comes then is sent away */
    c = xnew(struct os_files_client);
    *c = (struct os_files_client){ .f = f, .place = place, .fd = TAKE_FD(fd) };
    f->client[place] = c;
    begin(c);
}

int os_files_open(struct os_files *f, struct loop *l, const struct os_spec *s, struct err *e)
{
    int r;

    f->loop = l;
    f->spec = s;
    f->path = str_new("%s/files", s->folder);
    f->listener = os_listen(f->path, e);
    if (f->listener < 0)
        return f->listener;
    r = loop_fd_open(l, &f->door, f->listener, UV_READABLE, on_door, f);
    return r < 0 ? err_code(e, r, "watch '%s'", f->path) : 0;
}

bool os_files_ended(struct os_files *f, pid_t pid, int status)
{
    for_each_row(c, f->client) {
        char said[64];

        if (!*c || (*c)->pid != pid)
            continue;
        str_fmt(said, sizeof(said), "its process was ended by signal %d", WTERMSIG(status));
        if (WIFEXITED(status) && WEXITSTATUS(status))
            str_fmt(said, sizeof(said), "its process ended with status %d", WEXITSTATUS(status));
        end(*c, WIFEXITED(status) && WEXITSTATUS(status) == 0 ? NULL : said);
        return true;
    }
    return false;
}

void os_files_close(struct os_files *f)
{
    for_each_row(c, f->client)
        if (*c)
            client_free(*c);
    loop_fd_close(&f->door);
    if (f->path && f->listener >= 0)
        unlink(f->path);
    fd_close(&f->listener);
    free(TAKE(f->path));
}
