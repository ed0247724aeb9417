/*
 * cmd/socled.c: the program `socled`: keeps the instances of one folder, and answers the API there.
 * It may be killed at any instant: machines run on, and the next one finds them (doc/notes/016-daemon.md).
 */
#include "base/base.h"

#include "api/server.h"
#include "api/web.h"
#include "base/exit_status.h"
#include "cmd/socled_opts.h"
#include "host/cgroup.h"
#include "host/down.h"
#include "host/host.h"
#include "host/lock.h"
#include "host/shell.h"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* The loop has them until it is closed. */
struct signals {
    uv_signal_t term, interrupt;
};

static int show_help(void)
{
    AUTO(strbuf) struct strbuf out = {};

    strbuf_add(&out, "usage: socled [OPTION]…\n"
                     "Keep virtual machines that have names; `socle` starts one when it needs "
                     "it.\n\nOptions:\n");
    opt_help(socled_opts, &out);
    strbuf_add(
        &out,
        "\nWithout --dir: $SOCLE_DIR, /var/lib/socle of root, ~/.local/share/socle of others.\n"
        "A service manager may hand in the socket (LISTEN_FDS) and is told when we are ready "
        "(NOTIFY_SOCKET).\nSIGTERM ends it; machines run on.\n");
    return fd_write_all(STDOUT_FILENO, out.text, out.len) < 0 ? 1 : 0;
}

/*
 * What a service manager gave us: descriptor 3 of sd_listen_fds(3), and where sd_notify(3) is said.  It is ours alone: a container
 * whose runtime saw it would be told descriptors that are not there, and would wait for its program to say READY=1.
 */
struct manager {
    int listener; /* -1: none */
    char *notify;
};

static struct manager take_manager(void)
{
    static const char *const names[] = { "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES",
                                         "NOTIFY_SOCKET" };
    const char *pid = getenv("LISTEN_PID"), *n = getenv("LISTEN_FDS");
    const char *notify = getenv("NOTIFY_SOCKET");
    struct manager m = { .listener = -1, .notify = notify ? xdup(notify) : NULL };
    u64 v;

    if (pid && n && str_u64(pid, &v) == 0 && v == (u64)getpid() && strcmp(n, "1") == 0 &&
        fcntl(3, F_SETFD, FD_CLOEXEC) == 0)
        m.listener = 3;
    for_each_row(name, names)
        unsetenv(*name);
    return m;
}

/* Nobody may be there. */
static void notify(const struct manager *m, const char *text)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    AUTO(fd) int fd = -1;

    if (!m->notify || !str_copy(at.sun_path, sizeof(at.sun_path), m->notify))
        return;
    if (at.sun_path[0] == '@')
        at.sun_path[0] = 0;
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        (void)!sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&at,
                      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(m->notify)));
}

static void on_signal(uv_signal_t *s, int sig [[maybe_unused]])
{
    loop_stop(s->data);
}

static int serve(struct loop *l, struct host *h, const char *tls, const struct manager *m,
                 struct signals *s, struct err *e)
{
    AUTO(free) char *path = str_new("%s/api.sock", h->dir);
    struct server *server;
    int listener = m->listener, r;

    if (listener < 0)
        listener = server_listen(path, e);
    if (listener < 0)
        return listener;
    r = server_open(l, h, listener, tls, &server, e);
    if (r < 0)
        return r;
    server_serve(server, web_files);
    uv_signal_init(&l->uv, &s->term);
    uv_signal_init(&l->uv, &s->interrupt);
    s->term.data = s->interrupt.data = l;
    uv_signal_start(&s->term, on_signal, SIGTERM);
    uv_signal_start(&s->interrupt, on_signal, SIGINT);
    notify(m, "READY=1");
    loop_run(l);
    notify(m, "STOPPING=1");
    server_close(server);
    return 0;
}

static int run(const struct socled *s, const struct manager *m, struct err *e)
{
    struct loop *l = xnew(struct loop);
    struct host *h = xnew(struct host);
    struct signals signals;
    int r = loop_init(l, "socled");

    if (r < 0)
        return err_code(e, r, "make the loop");
    r = host_open(h, s->dir, l, e);
    if (r >= 0 && !s->no_terminal)
        h->shells = shells_new(l);
    if (r >= 0)
        r = s->stop ? host_down(h, s->timeout, e) : serve(l, h, s->listen, m, &signals, e);
    shells_free(TAKE(h->shells));
    host_close(h);
    loop_fini(l);
    free(h);
    free(l);
    return r;
}

/*
 * Linux lets no process into a group whose children are limited.  Were machines' groups below socled's own, the service manager could not
 * start the next socled while they run.
 */
_Noreturn static void hold_groups(const struct manager *m)
{
    struct err e = {};

    if (cgroup_hold(&e) < 0)
        log_notice("there are no control groups to keep: %s", e.text);
    notify(m, "READY=1");
    for (;;)
        pause(); /* until a signal ends us */
}

int main(int argc, char **argv)
{
    struct socled s = {};
    struct opt_args args = {};
    struct manager manager;
    struct err e = {};
    int r;

    log_set_name("socled");
    mallopt(M_ARENA_MAX, 2);
    umask(077);
    sigaction(SIGPIPE, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL);
    conf_defaults(socled_fields, &s);
    r = opt_parse(socled_opts, &s, argc - 1, argv + 1, &args, &e);
    if (r == 1)
        return show_help();
    if (r >= 0 && s.version)
        return printf("socled %s\n", SOCLE_VERSION) < 0;
    if (r >= 0 && args.n)
        r = err_set(&e, -EINVAL, "'%.60s': no arguments are expected", args.arg[0]);
    if (r >= 0 && !s.dir && !(s.dir = host_default_dir()))
        r = err_set(&e, -EINVAL, "no folder: give --dir DIR");
    if (r < 0) {
        log_error("%s", e.text);
        return EXIT_STATUS_USAGE;
    }
    log_set_level(s.verbose ? LOG_LEVEL_INFO : LOG_LEVEL_NOTICE);
    manager = take_manager();
    if (s.hold)
        hold_groups(&manager);
    /* One that `socle` started before there was a service would keep the folder from it for ever. */
    if (s.stop || manager.listener >= 0)
        r = lock_succeed(s.dir, &e);
    if (r >= 0)
        r = run(&s, &manager, &e);
    if (r < 0)
        log_error("%s", e.text);
    free(manager.notify);
    conf_fini(socled_fields, &s);
    return r < 0 ? 1 : 0;
}
