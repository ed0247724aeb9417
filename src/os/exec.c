/*
 * os/exec.c: programs in the container: the socket where they are asked for, and how they are started there.
 */
#include "os/exec.h"

#include "os/bundle.h"
#include "os/door.h"
#include "os/runtime.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- a program ---- */

static int make_pipes(int fds[3][2], struct err *e)
{
    for (u32 i = 0; i < 3; i++)
        fds[i][0] = fds[i][1] = -1;
    for (u32 i = 0; i < 3; i++)
        if (pipe2(fds[i], O_CLOEXEC) < 0)
            return err_errno(e, "make a pipe");
    return 0;
}

static int not_blocking(int fd)
{
    return fcntl(fd, F_SETFL, O_NONBLOCK) < 0 ? -errno : fd;
}

/* Without a terminal: three pipes. */
static int start_plain(const struct os_spec *spec, json_t *process, struct os_started *ret,
                       struct err *e)
{
    struct os_box_exec x = { .process = process };
    int fds[3][2], none, r = make_pipes(fds, e);

    if (r >= 0) {
        x.stdio[0] = fds[0][0];
        x.stdio[1] = fds[1][1];
        x.stdio[2] = fds[2][1];
        if ((r = not_blocking(fds[0][1])) < 0 || (r = not_blocking(fds[1][0])) < 0 ||
            (r = not_blocking(fds[2][0])) < 0)
            err_code(e, r, "its pipes");
    }
    if (r >= 0)
        r = os_box_exec(spec, &x, &ret->pid, &none, e);
    if (r >= 0) {
        ret->in = TAKE_FD(fds[0][1]);
        ret->out = TAKE_FD(fds[1][0]);
        ret->err = TAKE_FD(fds[2][0]);
    }
    for (u32 i = 0; i < 3; i++) {
        fd_close(&fds[i][0]);
        fd_close(&fds[i][1]);
    }
    return r;
}

/* One descriptor is read and written; the loop watches each way by one of its own. */
static int start_terminal(const struct os_spec *spec, json_t *process, struct os_started *ret,
                          struct err *e)
{
    const struct os_box_exec x = { .process = process, .terminal = true };
    int master, r = os_box_exec(spec, &x, &ret->pid, &master, e);

    if (r < 0)
        return r;
    ret->terminal = true;
    ret->out = master;
    ret->in = fcntl(master, F_DUPFD_CLOEXEC, 0);
    return ret->in < 0 ? err_errno(e, "its terminal") : 0;
}

static int start(void *arg, const u8 *text, size_t len, struct os_started *ret, struct err *e)
{
    const struct os_exec *x = ((struct os_exec_place *)arg)->x;
    struct os_program what = {};
    json_t *process = NULL;
    int r = conf_parse_text(os_program_fields, &what, (const char *)text, len, e);

    if (r >= 0 && !x->ready)
        r = err_set(e, -EBUSY, "the instance is not running");
    if (r >= 0 && !(process = os_bundle_process(x->spec, &what, e)))
        r = e->code;
    if (r >= 0)
        r = what.terminal ? start_terminal(x->spec, process, ret, e)
                          : start_plain(x->spec, process, ret, e);
    json_decref(process);
    conf_fini(os_program_fields, &what);
    return r;
}

/* The program, if it runs, is told that its terminal hung up; it stays our child until its end. */
static void gone(void *arg, pid_t pid)
{
    if (pid > 0)
        kill(pid, SIGHUP);
    ((struct os_exec_place *)arg)->run = NULL;
}

/* ---- all ---- */

static void on_door(struct loop_fd *f, int events [[maybe_unused]])
{
    struct os_exec *x = f->arg;
    AUTO(fd) int fd = accept4(x->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return;
    for_each_row(p, x->place) {
        if (p->run)
            continue;
        p->x = x;
        p->run = os_run_new(&x->by, p, TAKE_FD(fd));
        return;
    } /* who comes then is sent away */
}

int os_exec_open(struct os_exec *x, struct loop *l, const struct os_spec *s, struct err *e)
{
    int r;

    *x = (struct os_exec){ .by = { l, start, gone },
                           .spec = s,
                           .path = str_new("%s/exec", s->folder) };
    x->listener = os_listen(x->path, e);
    if (x->listener < 0)
        return x->listener;
    r = loop_fd_open(l, &x->door, x->listener, UV_READABLE, on_door, x);
    return r < 0 ? err_code(e, r, "watch '%s'", x->path) : 0;
}

bool os_exec_ended(struct os_exec *x, pid_t pid, int status)
{
    for_each_row(p, x->place) {
        if (!p->run || os_run_pid(p->run) != pid)
            continue;
        os_run_ended(p->run, status);
        return true;
    }
    return false;
}

void os_exec_close(struct os_exec *x)
{
    for_each_row(p, x->place)
        if (p->run)
            os_run_free(p->run);
    loop_fd_close(&x->door);
    if (x->path && x->listener >= 0)
        unlink(x->path);
    fd_close(&x->listener);
    free(TAKE(x->path));
}
