/*
 * layer/fetcher.c: the process that has the network: what it may, and how it is waited for.
 */
#include "layer/fetcher.h"

#include "jail/jail.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NOBODY = 65534 };

/* What names, addresses and certificates are found by. */
static const char *const needed[] = { "/etc", "/usr", "/lib", "/lib64", "/run/systemd/resolve",
                                      "/dev" };

static int confine(const struct fetcher *cfg, int tell_fd, struct err *e)
{
    struct jail_dir dirs[ARRAY_LEN(needed) + 1] = { { cfg->dir, true } };
    int fds[ARRAY_LEN(needed) + 2] = { cfg->dir, tell_fd };
    struct jail_cfg jail = {
        .keep = fds, .keep_net = true, .keep_root = true, .dirs = dirs, .n_dirs = 1
    };
    struct jail_report report;
    int r;

    for_each_row(path, needed) {
        int fd = open(*path, O_PATH | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
            continue;
        fds[jail.n_dirs + 1] = fd;
        dirs[jail.n_dirs++] = (struct jail_dir){ fd, false };
    }
    jail.n_keep = jail.n_dirs + 1;
    r = jail_enter(&jail, &report, e);
    if (r == 0 &&
        prctl(PR_SET_PDEATHSIG, SIGKILL) < 0) /* after the change of user, which resets it */
        r = err_errno(e, "follow the parent");
    return r;
}

static _Noreturn void be_fetcher(const struct fetcher *cfg, int tell_fd, pid_t parent)
{
    struct fetcher_told told = {};
    struct err e = {};
    int r = confine(cfg, tell_fd, &e);

    if (r == 0 && getppid() != parent)
        _exit(1);
    if (r == 0)
        r = cfg->fn(cfg->arg, tell_fd, &told, &e);
    told.err = e;
    told.err.code = r;
    (void)fd_write_all(tell_fd, &told, sizeof(told));
    _exit(r < 0);
}

/* Up to the last of what the child tells. */
static int follow(int fd, struct watch *w, struct fetcher_told *last, struct err *e)
{
    struct fetcher_told told;
    size_t have = 0;

    for (;;) {
        ssize_t n = read(fd, (char *)&told + have, sizeof(told) - have);
        int r;

        if (n == 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return err_errno(e, "hear from what fetches");
        have += n > 0 ? (size_t)n : 0;
        if (have == sizeof(told)) {
            *last = told;
            have = 0;
            w->total = told.total + told.more;
            w->done = told.done;
        }
        r = watch_step(w, 0, e);
        if (r < 0)
            return r;
    }
}

/* It is a child that the network may have taken over: its texts end, and its numbers are no more than a message. */
static int judge(struct fetcher_told *last, int status, struct err *e)
{
    last->err.text[sizeof(last->err.text) - 1] = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (last->err.code < 0 && last->err.code > -4096)
        return err_set(e, last->err.code, "%s", last->err.text);
    return err_set(e, -EIO, "what fetched it ended with status 0x%x", (unsigned)status);
}

int fetcher_run(const struct fetcher *cfg, struct watch *w, struct err *e)
{
    struct fetcher_told last = {};
    const pid_t self = getpid();
    int fds[2], status = 0, r;
    pid_t child;

    if (geteuid() == 0 && fchown(cfg->dir, NOBODY, NOBODY) < 0)
        return err_errno(e, "give a folder to what fetches");
    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_errno(e, "pipe");
    child = fork();
    if (child == 0) {
        const struct sigaction dfl = { .sa_handler = SIG_DFL };

        sigaction(SIGTERM, &dfl, NULL);
        sigaction(SIGINT, &dfl, NULL);
        be_fetcher(cfg, fds[1], self);
    }
    close(fds[1]);
    r = child < 0 ? err_errno(e, "fork") : follow(fds[0], w, &last, e);
    close(fds[0]);
    if (child < 0)
        return r;
    if (r < 0)
        kill(child, SIGKILL);
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return err_errno(e, "wait for what fetches");
    if (r == 0)
        r = judge(&last, status, e);
    w->done = w->total = last.done; /* the rest of the way is the importer's */
    return r;
}
