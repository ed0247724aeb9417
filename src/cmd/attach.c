/*
 * cmd/attach.c: `socle console`: bytes between the terminal and a console's socket; the keys begin with Ctrl-A as those of `socle run`,
 * and x leaves: the machine runs on.
 */
#include "cmd/attach.h"

#include "cmd/term.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { ESCAPE = 1, LINGER_MS = 1000 };

struct attach {
    struct term term;
    int fd;
    bool escaped, left, in_open;
};

static const struct {
    char key;
    const char *doc;
} keys[] = {
    { 'x', "leave; the machine runs on" },
    { 'a', "send Ctrl-A to the guest (also: Ctrl-A Ctrl-A)" },
    { 'h', "show these keys" },
};

void attach_help(const char *indent, struct strbuf *out)
{
    for_each_row(k, keys)
        strbuf_add(out, "%sCtrl-A %c  %s\n", indent, k->key, k->doc);
}

static void show_keys(void)
{
    AUTO(strbuf) struct strbuf text = {};

    attach_help("\r\n", &text);
    dprintf(STDERR_FILENO, "%s\r", text.text);
}

static int dial(const char *path, struct err *e)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    AUTO(fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || !str_copy(at.sun_path, sizeof(at.sun_path), path))
        return err_set(e, -EINVAL, "'%.100s' is no socket's path", path);
    if (connect(fd, (const struct sockaddr *)&at, sizeof(at)) < 0)
        return err_errno(e, "its console '%s'", path);
    return TAKE_FD(fd);
}

static int put(struct attach *a, char c)
{
    return fd_write_all(a->fd, &c, 1);
}

static int typed(struct attach *a, char c)
{
    if (!a->escaped && a->term.is_tty && c == ESCAPE) {
        a->escaped = true;
        return 0;
    }
    if (!a->escaped)
        return put(a, c);
    a->escaped = false;
    if (c == 'x')
        a->left = true;
    else if (c == 'a' || c == ESCAPE)
        return put(a, ESCAPE);
    else
        show_keys();
    return 0;
}

static void on_in(struct attach *a)
{
    char buf[4096];
    ssize_t n = read(STDIN_FILENO, buf, sizeof(buf));

    a->in_open = n > 0 || (n < 0 && errno == EINTR);
    for (ssize_t i = 0; i < n && !a->left; i++)
        if (typed(a, buf[i]) < 0)
            a->left = true;
}

/* False: the console's end. */
static bool on_console(struct attach *a)
{
    char buf[65536];
    ssize_t n = read(a->fd, buf, sizeof(buf));

    return (n < 0 && errno == EINTR) || (n > 0 && fd_write_all(STDOUT_FILENO, buf, (size_t)n) >= 0);
}

/* When a pipe's input is over, what the guest answers within a while is still shown. */
static void relay(struct attach *a)
{
    while (!a->left) {
        struct pollfd p[2] = { { a->fd, POLLIN, 0 },
                               { a->in_open ? STDIN_FILENO : -1, POLLIN, 0 } };
        int n = poll(p, 2, a->in_open ? -1 : LINGER_MS);

        if (n == 0 || (n < 0 && errno != EINTR))
            return;
        if (n > 0 && p[0].revents && !on_console(a))
            return;
        if (n > 0 && p[1].revents)
            on_in(a);
    }
}

int attach_run(const char *socket, struct err *e)
{
    int fd = dial(socket, e);

    return fd < 0 ? fd : attach_run_fd(fd);
}

int attach_run_fd(int fd)
{
    struct attach a = { .fd = fd, .in_open = true };

    sigaction(SIGPIPE, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL);
    term_open(&a.term);
    term_raw(&a.term);
    if (a.term.raw)
        dprintf(STDERR_FILENO, "Ctrl-A x leaves, Ctrl-A h shows the keys\r\n");
    relay(&a);
    term_restore(&a.term);
    fd_close(&a.fd);
    return 0;
}
