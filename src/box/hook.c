/*
 * box/hook.c: runs a hook as a child with the container's state on its stdin, and ends it when its time is over.
 */
#include "box/hook.h"

#include "box/child.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int state_file(const char *state)
{
    int fd = memfd_create("state", MFD_CLOEXEC), r;

    if (fd < 0)
        return -errno;
    r = fd_write_all(fd, state, strlen(state));
    if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
        r = -errno;
    if (r < 0)
        fd_close(&fd);
    return r < 0 ? r : fd;
}

/* A copy with NULL at its end; the texts are borrowed. */
static char **vector(const struct field_strs *words, char *first)
{
    char **v = xnew_n(char *, (size_t)words->n + 2);

    if (words->n)
        memcpy(v, words->items, words->n * sizeof(*v));
    else
        v[0] = first;
    return v;
}

static int start(const struct oci_hook *h, int state, pid_t *ret)
{
    AUTO(free) char **argv = vector(&h->args, h->path);
    AUTO(free) char **envp = vector(&h->env, NULL);

    return child_start(h->path, argv, envp, state, STDIN_FILENO, ret);
}

static int wait_for(const struct oci_hook *h, pid_t pid, int *ret_status)
{
    AUTO(fd) int fd = h->timeout ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    struct pollfd p = { .fd = fd, .events = POLLIN };
    int r = 1;

    while (fd >= 0 && (r = poll(&p, 1, (int)h->timeout * 1000)) < 0 && errno == EINTR)
        ;
    if (r == 0)
        kill(pid, SIGKILL);
    while (waitpid(pid, ret_status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return r == 0 ? -ETIMEDOUT : 0;
}

static int run(const struct oci_hook *h, const char *name, u32 number, int state, struct err *e)
{
    int status = 0, r;
    pid_t pid;

    r = start(h, state, &pid);
    if (r == 0)
        r = wait_for(h, pid, &status);
    if (r == -ETIMEDOUT)
        return err_set(e, r, "error running %s hook #%u '%.80s': no end after %u s", name, number,
                       h->path, h->timeout);
    if (r < 0)
        return err_code(e, r, "error running %s hook #%u '%.80s'", name, number, h->path);
    if (status)
        return err_set(e, -EIO, "error running %s hook #%u '%.80s': %s %d", name, number, h->path,
                       WIFSIGNALED(status) ? "signal" : "exit status",
                       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    return 0;
}

static int run_kind(const struct oci *spec, unsigned kind, const char *state, bool all,
                    struct err *e)
{
    const struct field_list *list = &spec->hooks.kind[kind];
    u32 number = 0;

    for_each_of(const struct oci_hook, h, list)
    {
        AUTO(fd) int file = state_file(state);
        int r = file < 0 ? err_code(e, file, "state of a hook")
                         : run(h, oci_hook_words[kind], number++, file, e);

        if (r < 0 && !all)
            return r;
        if (r < 0)
            log_warn("%s", e->text);
    }
    return 0;
}

int hooks_run(const struct oci *spec, unsigned kind, const char *state, struct err *e)
{
    return run_kind(spec, kind, state, false, e);
}

void hooks_run_all(const struct oci *spec, unsigned kind, const char *state)
{
    struct err e = {};

    run_kind(spec, kind, state, true, &e);
}
