/*
 * os/runtime.c: runs socle-box, as container engines do: one command, a pid file, a socket on which the terminal comes.
 * What it makes becomes our child when it ends, because we are a subreaper (os/os.c).
 */
#include "os/runtime.h"

#include "os/door.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORDS_MAX = 24, SAID_MAX = 64 * 1024 };

struct command {
    const char *program;
    const char *words[WORDS_MAX];
    u32 n;
    int stdio[3]; /* -1: /dev/null */
};

static void say(struct command *c, const char *word)
{
    must(c->n < WORDS_MAX - 1);
    c->words[c->n++] = word;
}

static int start(const struct command *c, pid_t *ret, struct err *e)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t how;
    sigset_t none;
    int r;

    sigemptyset(&none);
    posix_spawnattr_init(&how);
    posix_spawnattr_setsigmask(&how, &none);
    posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGMASK);
    posix_spawn_file_actions_init(&files);
    for (int i = 0; i < 3; i++) {
        if (c->stdio[i] >= 0)
            posix_spawn_file_actions_adddup2(&files, c->stdio[i], i);
        else
            posix_spawn_file_actions_addopen(&files, i, "/dev/null", O_RDWR, 0);
    }
    r = posix_spawn(ret, c->program, &files, &how, (char *const *)(uintptr_t)c->words, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&how);
    return r ? err_code(e, -r, "start '%s'", c->program) : 0;
}

/* What it wrote into its log: an object a line. */
static int take_reason(const char *log, int status, struct err *e)
{
    AUTO(fd) int fd = open(log, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    AUTO(free) char *text = NULL;
    json_t *j = NULL;
    const char *said;
    size_t len;
    int r;

    if (fd >= 0 && fd_read_whole(fd, SAID_MAX, &text, &len) >= 0)
        j = json_loadb(text, len, JSON_DISABLE_EOF_CHECK, NULL);
    said = json_string_value(json_object_get(j, "msg"));
    r = said ? err_set(e, -EIO, "%s", said)
             : err_set(e, -EIO, "socle-box ended with status %d",
                       WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    json_decref(j);
    return r;
}

static int run(const struct command *c, const char *log, struct err *e)
{
    pid_t pid;
    int status, r = start(c, &pid, e);

    if (r < 0)
        return r;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return err_errno(e, "wait for socle-box");
    return status ? take_reason(log, status, e) : 0;
}

/* Of each command: where its state and its log are. */
struct call {
    struct command c;
    char *root, *log; /* owned */
};

static void call_init(struct call *k, const struct os_spec *s, const char *verb)
{
    *k = (struct call){ .root = str_new("%s/box", s->folder),
                        .log = str_new("%s/box.log", s->folder),
                        .c = { .program = s->runtime, .stdio = { -1, -1, -1 } } };
    say(&k->c, "socle-box");
    say(&k->c, "--root");
    say(&k->c, k->root);
    say(&k->c, "--log");
    say(&k->c, k->log);
    say(&k->c, "--log-format");
    say(&k->c, "json");
    if (!s->cgroup) {
        say(&k->c, "--cgroup-manager");
        say(&k->c, "disabled");
    }
    say(&k->c, verb);
}

static void call_fini(struct call *k)
{
    unlink(k->log);
    free(k->root);
    free(k->log);
}

static int call(struct call *k, struct err *e)
{
    int r = run(&k->c, k->log, e);

    call_fini(k);
    return r;
}

static int simple(const struct os_spec *s, const char *verb, const char *option, struct err *e)
{
    struct call k;

    call_init(&k, s, verb);
    if (option)
        say(&k.c, option);
    say(&k.c, OS_BOX_ID);
    return call(&k, e);
}

int os_box_start(const struct os_spec *s, struct err *e)
{
    return simple(s, "start", NULL, e);
}

int os_box_pause(const struct os_spec *s, bool on, struct err *e)
{
    return simple(s, on ? "pause" : "resume", NULL, e);
}

int os_box_delete(const struct os_spec *s, struct err *e)
{
    return simple(s, "delete", "--force", e);
}

/* ---- terminals ---- */

/* What socle-box sent before it ended. */
static int take_master(int listener, struct err *e)
{
    AUTO(fd) int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {};
    char text[64];
    struct iovec iov = { text, sizeof(text) };
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
    };
    struct cmsghdr *h;
    int master;

    if (fd < 0 || recvmsg(fd, &m, MSG_CMSG_CLOEXEC) < 0)
        return err_errno(e, "take the terminal");
    h = CMSG_FIRSTHDR(&m);
    if (!h || h->cmsg_type != SCM_RIGHTS || h->cmsg_len != CMSG_LEN(sizeof(int)))
        return err_set(e, -EPROTO, "socle-box sent no terminal");
    memcpy(&master, CMSG_DATA(h), sizeof(master));
    if (fcntl(master, F_SETFL, O_RDWR | O_NONBLOCK) < 0) {
        close(master);
        return err_errno(e, "the terminal");
    }
    return master;
}

static int read_pid(const char *path, pid_t *ret, struct err *e)
{
    AUTO(fd) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    char text[16] = "";
    u64 v;

    if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
        return err_errno(e, "read '%s'", path);
    if (str_u64(text, &v) < 0 || v == 0 || v > INT32_MAX)
        return err_set(e, -EBADMSG, "'%s' has no process number", path);
    *ret = (pid_t)v;
    return 0;
}

/* A command that makes a process: its number, and the terminal when it has one. */
static int make(struct call *k, const char *folder, bool terminal, pid_t *ret_pid, int *ret_master,
                struct err *e)
{
    AUTO(free)
    char *pid_file = str_new("%s/box.pid", folder), *path = str_new("%s/box.tty", folder);
    AUTO(fd) int listener = terminal ? os_listen(path, e) : -1;
    int r = terminal ? min(listener, 0) : 0;

    say(&k->c, "--pid-file");
    say(&k->c, pid_file);
    if (terminal) {
        say(&k->c, "--console-socket");
        say(&k->c, path);
    }
    say(&k->c, OS_BOX_ID);
    if (r >= 0)
        r = run(&k->c, k->log, e);
    if (r >= 0)
        r = read_pid(pid_file, ret_pid, e);
    *ret_master = -1;
    if (r >= 0 && terminal)
        r = *ret_master = take_master(listener, e);
    unlink(path);
    unlink(pid_file);
    return min(r, 0);
}

int os_box_create(const struct os_spec *s, pid_t *ret_pid, int *ret_master, struct err *e)
{
    AUTO(free) char *bundle = str_new("%s/bundle", s->folder);
    struct call k;
    int r;

    call_init(&k, s, "create");
    say(&k.c, "--bundle");
    say(&k.c, bundle);
    r = make(&k, s->folder, true, ret_pid, ret_master, e);
    call_fini(&k);
    return r;
}

static int write_process(const char *path, const json_t *process, struct err *e)
{
    AUTO(free) char *text = json_dumps(process, JSON_COMPACT);
    AUTO(fd) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    int r = fd < 0 ? -errno : fd_write_all(fd, text ? text : "", text ? strlen(text) : 0);

    return r < 0 ? err_code(e, r, "write '%s'", path) : 0;
}

int os_box_exec(const struct os_spec *s, const struct os_box_exec *x, pid_t *ret_pid,
                int *ret_master, struct err *e)
{
    AUTO(free) char *path = str_new("%s/exec.json", s->folder);
    struct call k;
    int r = write_process(path, x->process, e);

    if (r < 0)
        return r;
    call_init(&k, s, "exec");
    say(&k.c, "--detach");
    say(&k.c, "--process");
    say(&k.c, path);
    for (int i = 0; i < 3 && !x->terminal; i++)
        k.c.stdio[i] = x->stdio[i];
    r = make(&k, s->folder, x->terminal, ret_pid, ret_master, e);
    call_fini(&k);
    unlink(path);
    return r;
}
