/*
 * cmd/verb_exec.c: `socle exec, host shell`: a program in a container or a machine, or a shell of the host; its terminal or pipes are ours (os/run.h).
 */
#include "cmd/term.h"
#include "cmd/verb.h"
#include "cmd/ws.h"
#include "os/exec.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { STATUS_NOT_STARTED = 125, CHUNK = 16 * 1024 };

struct exec {
    struct term term;
    int fd;
    struct strbuf got;
    bool in_open;
    bool ended;
    int status; /* of the program; a negative errno: it was not started */
};

static volatile sig_atomic_t resized;

static void on_resize(int number [[maybe_unused]])
{
    resized = 1;
}

static int send_frame(const struct exec *x, u8 kind, const void *data, size_t len)
{
    AUTO(strbuf) struct strbuf out = {};

    os_frame_add(&out, kind, data, len);
    return fd_write_all(x->fd, out.text, out.len);
}

static void send_size(const struct exec *x)
{
    struct winsize w;

    resized = 0;
    if (ioctl(STDIN_FILENO, TIOCGWINSZ, &w) == 0) {
        const u8 size[4] = { (u8)(w.ws_row >> 8), (u8)w.ws_row, (u8)(w.ws_col >> 8), (u8)w.ws_col };

        (void)send_frame(x, OS_FRAME_SIZE, size, sizeof(size));
    }
}

/* ---- from the instance ---- */

static void take_frame(struct exec *x, u8 kind, const u8 *data, size_t len, struct err *e)
{
    if (kind == OS_FRAME_OUT)
        (void)fd_write_all(STDOUT_FILENO, data, len);
    else if (kind == OS_FRAME_ERR)
        (void)fd_write_all(STDERR_FILENO, data, len);
    else if (kind == OS_FRAME_FAILED)
        x->status = err_set(e, -ECHILD, "%.*s", (int)min(len, (size_t)230), (const char *)data);
    else if (kind == OS_FRAME_END && len == 4)
        x->status = data[2] << 8 | data[3];
    else
        x->status = err_set(e, -EPROTO, "the answer is none (kind %u)", kind);
    x->ended = kind != OS_FRAME_OUT && kind != OS_FRAME_ERR;
}

static void take_frames(struct exec *x, struct err *e)
{
    const u8 *data;
    size_t at = 0, len;
    ssize_t n = 0;
    u8 kind;

    while (!x->ended && x->got.len > at &&
           (n = os_frame_parse((const u8 *)x->got.text + at, x->got.len - at, &kind, &data, &len)) >
               0) {
        take_frame(x, kind, data, len, e);
        at += (size_t)n;
    }
    memmove(x->got.text, x->got.text + at, x->got.len - at);
    x->got.len -= at;
    if (n < 0) {
        x->status = err_set(e, -EPROTO, "the answer is too long");
        x->ended = true;
    }
}

static void from_instance(struct exec *x, struct err *e)
{
    char buf[CHUNK];
    ssize_t n = read(x->fd, buf, sizeof(buf));

    if (n < 0 && errno == EINTR)
        return;
    if (n <= 0) {
        x->status = err_set(e, -EPIPE, "the instance ended, or its connection");
        x->ended = true;
        return;
    }
    strbuf_add_mem(&x->got, buf, (size_t)n);
    take_frames(x, e);
}

/* ---- to it ---- */

static void from_us(struct exec *x)
{
    char buf[CHUNK];
    ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));

    if (n < 0 && errno == EINTR)
        return;
    x->in_open = n > 0;
    (void)send_frame(x, OS_FRAME_IN, buf, n > 0 ? (size_t)n : 0);
}

/* A signal interrupts poll, and nothing else waits. */
static void relay(struct exec *x, struct err *e)
{
    while (!x->ended) {
        struct pollfd p[2] = { { x->fd, POLLIN, 0 },
                               { x->in_open ? STDIN_FILENO : -1, POLLIN, 0 } };

        if (resized)
            send_size(x);
        if (poll(p, 2, -1) < 0)
            continue;
        if (p[0].revents)
            from_instance(x, e);
        if (!x->ended && p[1].revents)
            from_us(x);
    }
}

/* What is run, and whether on a terminal. */
struct wish {
    json_t *first; /* taken */
    bool terminal, no_input;
};

static int run(int fd, void *arg, struct err *e)
{
    const struct wish *w = arg;
    struct exec x = { .fd = fd, .in_open = !w->no_input };
    AUTO(free) char *text = json_dumps(w->first, JSON_COMPACT);

    json_decref(w->first);
    sigaction(SIGPIPE, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL);
    if (!text || strlen(text) > OS_FRAME_MAX) {
        fd_close(&x.fd);
        return err_set(e, -EINVAL, "the command has more than %d bytes, or is not UTF-8",
                       OS_FRAME_MAX);
    }
    (void)send_frame(&x, OS_FRAME_RUN, text, strlen(text));
    if (!x.in_open)
        (void)send_frame(&x, OS_FRAME_IN, NULL, 0);
    term_open(&x.term);
    if (w->terminal) {
        sigaction(SIGWINCH, &(struct sigaction){ .sa_handler = on_resize }, NULL);
        term_raw(&x.term);
    }
    relay(&x, e);
    term_restore(&x.term);
    strbuf_fini(&x.got);
    fd_close(&x.fd);
    return x.status;
}

/* In a machine only a shell needs a terminal, which is refused with what has one; what is typed here is no program's input, since that would
 * have to end before the program begins. */
static int look_at_kind(struct verb *v, struct err *e)
{
    AUTO(free) char *path = verb_path("instances", v->args.arg[0], "", e);
    json_t *j = path ? verb_ask(v, "GET", path, NULL, e) : NULL;
    const char *kind = json_string_value(json_object_get(j, "kind"));

    if (!j)
        return e->code;
    if (kind && strcmp(kind, instance_kinds[INSTANCE_OS]) != 0) {
        v->program.terminal &= v->args.n_rest == 0;
        v->no_input = true;
    }
    json_decref(j);
    return 0;
}

static int take_command(struct verb *v, struct err *e)
{
    const struct field *f = conf_field_at(os_program_fields, offsetof(struct os_program, command));
    struct os_program *p = &v->program;
    struct winsize w;

    for (u32 i = 0; i < v->args.n_rest; i++)
        if (!conf_strs_add(f, p, v->args.rest[i]))
            return err_set(e, -EINVAL, "the command has more than %u words", f->list_max);
    if (v->args.n_rest == 0)
        (void)conf_strs_add(f, p, "/bin/sh");
    p->terminal = !v->no_terminal && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    if (p->terminal && ioctl(STDIN_FILENO, TIOCGWINSZ, &w) == 0) {
        p->rows = w.ws_row;
        p->columns = w.ws_col;
    }
    return isatty(STDIN_FILENO) ? look_at_kind(v, e) : 0;
}

/* `path` is asked for a conversation about what is wished. */
static int converse(struct verb *v, const char *path, struct wish *w, struct err *e)
{
    int r = rest_upgrade(&v->rest, path, e);

    if (r >= 0)
        r = ws_run(&v->rest, run, w, e);
    else
        json_decref(w->first);
    if (r >= 0)
        return r;
    log_error("%s", e->text);
    return STATUS_NOT_STARTED;
}

int verb_exec(struct verb *v, struct err *e)
{
    AUTO(free) char *path = verb_path("instances", v->args.arg[0], "/exec", e);
    int r = path ? take_command(v, e) : e->code;

    if (r < 0) {
        log_error("%s", e->text);
        return STATUS_NOT_STARTED;
    }
    return converse(v, path,
                    &(struct wish){ .first = conf_print(os_program_fields, &v->program),
                                    .terminal = v->program.terminal,
                                    .no_input = v->no_input },
                    e);
}

int verb_host_shell(struct verb *v, struct err *e)
{
    struct winsize w = {};
    const bool terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    json_t *first = json_pack("{s:b}", "terminal", terminal);

    if (terminal && ioctl(STDIN_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_row && w.ws_col) {
        json_object_set_new(first, "rows", json_integer(w.ws_row));
        json_object_set_new(first, "columns", json_integer(w.ws_col));
    }
    return converse(v, "/1.0/host/terminal", &(struct wish){ first, terminal }, e);
}
