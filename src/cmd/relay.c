/*
 * cmd/relay.c: the loop of `socle run`: bytes both ways, escape keys, signals, deadlines, the end.
 * It is a poll(2) loop and not libuv: stdin may be a terminal, a pipe, a socket, /dev/null or a regular file, which poll takes
 * alike, and this process should start in a moment.
 *   (1) stdin and stdout are shared with others (the shell), so they are never set non-blocking: reads follow POLLIN, and
 *       writes follow POLLOUT and are at most PIPE_BUF bytes, which then do not block.
 *   (2) Nothing is read from the console while stdout still owes the bytes before; the guest waits for a slow reader.
 *   (3) From a pipe, stdin is read only when the guest takes it; from a terminal always, so that escape keys work, and what
 *       the guest does not take is dropped as a terminal drops it.
 *   (4) socle-vm has ended when its pidfd says so; then what is left in the sockets is written out, and only then we return.
 *
 *     RUNNING ── signal, Ctrl-A x (relay_stop) ──> STOPPING (power button) ── again ──> off at once ── again, or late ──> killed
 */
#include "cmd/relay.h"

#include "base/clock.h"
#include "base/exit_status.h"
#include "cmd/term.h"
#include "host/spawn.h"

#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum {
    ESCAPE = 1,             /* Ctrl-A */
    KILL_AGAIN_SECONDS = 5, /* from the second request to the kill */
    INPUT_MAX = 4096,       /* as a terminal's own buffer */
    OUTPUT_MAX = 64 * 1024,
    REPLY_MAX = 256 * 1024, /* one line of the control socket */
};

enum { P_SIGNAL, P_CHILD, P_CONSOLE, P_IN, P_OUT, P_CONTROL, P_MESSAGES, P_COUNT };

struct relay {
    struct spawn *vm;
    struct term term;
    int signals;           /* signalfd */
    bool in_open;          /* stdin has not ended */
    bool out_dead;         /* stdout takes no more: what the guest says is dropped */
    bool ended;            /* socle-vm */
    bool escaped;          /* the byte before was Ctrl-A */
    bool paused;           /* as far as our own keys know */
    bool timed_out;        /* --timeout */
    unsigned stops;        /* requests to stop so far */
    int stop_signal;       /* the first signal that asked, 0: none */
    u64 deadline_ns;       /* of --timeout, CLOCK_MONOTONIC; 0: none */
    u64 kill_ns;           /* when stopping has lasted too long; 0: not stopping */
    char input[INPUT_MAX]; /* for the guest */
    size_t in_len;
    char output[OUTPUT_MAX]; /* for stdout: [out_at, out_len) */
    size_t out_at, out_len;
    struct strbuf reply; /* a line of the control socket, so far */
    json_t
        *restore; /* the event that says from what the machine is to be started again; NULL: none */
};

struct key {
    char key;
    const char *doc;
    const char *command;         /* of the control socket, or NULL */
    const char *done;            /* what to say when it was done */
    void (*fn)(struct relay *r); /* else */
};

static const int taken_signals[] = { SIGINT,  SIGTERM, SIGHUP,  SIGQUIT,
                                     SIGTSTP, SIGCONT, SIGTTIN, SIGTTOU };

/* A line for the user, whatever the state of the terminal. */
__attribute__((format(printf, 2, 3))) static void say(struct relay *r, const char *fmt, ...)
{
    const char *eol = r->term.raw ? "\r\n" : "\n";
    char text[400];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    dprintf(STDERR_FILENO, "%ssocle: %s%s", r->term.raw ? "\r\n" : "", text, eol);
}

static void stop_at(struct relay *r, u32 seconds)
{
    r->kill_ns = clock_mono_ns() + seconds * NSEC_PER_SEC;
}

/* Someone wants the machine to end. */
static void relay_stop(struct relay *r, const char *why)
{
    switch (r->stops++) {
    case 0:
        say(r, "%s: asking the guest to shut down (again: off at once)", why);
        kill(r->vm->pid, SIGTERM);
        stop_at(r, SPAWN_KILL_SECONDS);
        break;
    case 1:
        say(r, "%s: turning the machine off", why);
        kill(r->vm->pid, SIGTERM);
        stop_at(r, KILL_AGAIN_SECONDS);
        break;
    default:
        kill(r->vm->pid, SIGKILL);
        break;
    }
}

static void key_help(struct relay *r);

static void key_quit(struct relay *r)
{
    relay_stop(r, "Ctrl-A x");
}

/* clang-format off */
static const struct key keys[] = {
    { 'h', "show these keys",                                           NULL,     NULL,                  key_help },
    { 'x', "end: shut the guest down; a second time: turn it off",      NULL,     NULL,                  key_quit },
    { 'b', "press the power button",                                    "power",  "power button pressed", NULL },
    { 'p', "pause, and resume",                                         "pause",  "paused",               NULL },
    { 'r', "reset the machine",                                         "reset",  "reset",                NULL },
    { 's', "show the machine's state",                                  "status", NULL,                   NULL },
    { 'a', "send Ctrl-A to the guest (also: Ctrl-A Ctrl-A)",            NULL,     NULL,                   NULL },
};
/* clang-format on */

static void key_help(struct relay *r)
{
    for_each_row(k, keys)
        say(r, "Ctrl-A %c  %s", k->key, k->doc);
}

void relay_help(const char *indent, struct strbuf *out)
{
    for_each_row(k, keys)
        strbuf_add(out, "%sCtrl-A %c  %s\n", indent, k->key, k->doc);
}

/* The request's id is the place of the key, which tells what its reply is about. */
static void send_command(struct relay *r, const struct key *k)
{
    const char *command = k->command;
    char line[64];
    size_t len;

    if (k->key == 'p' && r->paused)
        command = "resume";
    if (k->key == 'p')
        r->paused = !r->paused;
    str_fmt(line, sizeof(line), "{\"cmd\":\"%s\",\"id\":%d}\n", command, (int)(k - keys));
    len = strlen(line);
    if (r->vm->control < 0 || write(r->vm->control, line, len) != (ssize_t)len)
        say(r, "the machine does not take commands");
}

static void put_input(struct relay *r, char c)
{
    if (r->in_len < sizeof(r->input))
        r->input[r->in_len++] = c;
}

static void escape_key(struct relay *r, char c)
{
    if (c == ESCAPE)
        c = 'a';
    for_each_row(k, keys) {
        if (k->key != c)
            continue;
        if (k->command)
            send_command(r, k);
        else if (k->fn)
            k->fn(r);
        else
            put_input(r, ESCAPE);
        return;
    }
    say(r, "no such key; Ctrl-A h shows them");
}

/* What was typed or piped in. */
static void feed(struct relay *r, const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (r->escaped) {
            r->escaped = false;
            escape_key(r, p[i]);
        } else if (r->term.is_tty && p[i] == ESCAPE) {
            r->escaped = true;
        } else {
            put_input(r, p[i]);
        }
    }
}

static void on_in(struct relay *r, short)
{
    char buf[INPUT_MAX];
    size_t room = r->term.is_tty ? sizeof(buf) : sizeof(buf) - r->in_len;
    ssize_t n = read(STDIN_FILENO, buf, room);

    if (n > 0)
        feed(r, buf, (size_t)n);
    else if (n == 0 || (errno != EINTR && errno != EAGAIN))
        r->in_open = false; /* the guest goes on without */
}

/* Reads what the guest said, when stdout owes nothing.  False when there is no more now. */
static bool read_console(struct relay *r)
{
    ssize_t n;

    if (r->vm->console < 0)
        return false;
    n = read(r->vm->console, r->output, sizeof(r->output));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) {
        fd_close(&r->vm->console);
        return false;
    }
    r->out_at = 0;
    r->out_len = r->out_dead ? 0 : (size_t)n;
    return true;
}

static void write_console(struct relay *r)
{
    ssize_t n = write(r->vm->console, r->input, r->in_len);

    if (n <= 0)
        return; /* an error shows as the end when we read */
    r->in_len -= (size_t)n;
    memmove(r->input, r->input + n, r->in_len);
}

static void on_console(struct relay *r, short events)
{
    if ((events & POLLOUT) && r->in_len)
        write_console(r);
    if ((events & (POLLIN | POLLHUP | POLLERR)) && r->out_at == r->out_len)
        read_console(r);
}

/* One write of at most PIPE_BUF bytes.  False when stdout is lost. */
static bool write_out(struct relay *r)
{
    ssize_t n =
        write(STDOUT_FILENO, r->output + r->out_at, min(r->out_len - r->out_at, (size_t)PIPE_BUF));

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return true;
    if (n < 0) {
        r->out_dead = true;
        r->out_at = r->out_len = 0;
        return false;
    }
    r->out_at += (size_t)n;
    return true;
}

static void on_out(struct relay *r, short)
{
    if (r->out_at == r->out_len || write_out(r) || r->stops)
        return;
    r->stop_signal = SIGPIPE;
    relay_stop(r, "nobody reads standard output");
}

static void on_child(struct relay *r, short)
{
    r->ended = true;
}

/* Ctrl-Z of a program that runs us, or `kill -TSTP`: in raw mode the terminal itself sends none. */
static void suspend(struct relay *r)
{
    term_restore(&r->term);
    raise(SIGSTOP);
    term_raw(&r->term);
}

static void on_signal(struct relay *r, short)
{
    struct signalfd_siginfo si;
    int sig;

    if (read(r->signals, &si, sizeof(si)) != sizeof(si))
        return;
    sig = (int)si.ssi_signo;
    switch (sig) {
    case SIGTSTP:
        suspend(r);
        break;
    case SIGCONT:
        term_raw(&r->term); /* we may be in the foreground now */
        break;
    case SIGTTIN:
    case SIGTTOU:
        break;
    default:
        r->stop_signal = r->stop_signal ? r->stop_signal : sig;
        relay_stop(r, strsignal(sig));
        break;
    }
}

static void one_reply(struct relay *r, const char *line)
{
    json_t *j = json_loads(line, 0, NULL);
    json_int_t id = json_integer_value(json_object_get(j, "id"));
    const char *error = json_string_value(json_object_get(j, "error"));
    const char *state = json_string_value(json_object_get(json_object_get(j, "result"), "state"));
    const struct key *k = id >= 0 && id < (json_int_t)ARRAY_LEN(keys) ? &keys[id] : NULL;

    if (!j || !json_object_get(j, "id") || !k) {
        const char *event = json_string_value(json_object_get(j, "event"));

        if (event && strcmp(event, "restore") == 0 && !r->restore)
            r->restore = json_incref(j);
        json_decref(j);
        return;
    }
    if (error)
        say(r, "%s", error);
    else if (k->key == 'p')
        say(r, "%s", r->paused ? "paused; Ctrl-A p resumes" : "running");
    else if (k->done || state)
        say(r, "%s", k->done ? k->done : state);
    json_decref(j);
}

/* False when there is no more now. */
static bool read_control(struct relay *r)
{
    char buf[4096];
    ssize_t n;
    char *eol;

    if (r->vm->control < 0)
        return false;
    n = read(r->vm->control, buf, sizeof(buf));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0 || r->reply.len + (size_t)n > REPLY_MAX) {
        fd_close(&r->vm->control);
        return false;
    }
    strbuf_add_mem(&r->reply, buf, (size_t)n);
    while ((eol = memchr(r->reply.text, '\n', r->reply.len))) {
        size_t len = (size_t)(eol + 1 - r->reply.text);

        *eol = 0;
        one_reply(r, r->reply.text);
        memmove(r->reply.text, r->reply.text + len, r->reply.len - len + 1);
        r->reply.len -= len;
    }
    return true;
}

static void on_control(struct relay *r, short)
{
    read_control(r);
}

/* Lines of socle-vm for the user: a raw terminal needs the carriage return that it would add otherwise. */
static bool read_messages(struct relay *r)
{
    char buf[1024];
    ssize_t n;

    if (r->vm->messages < 0)
        return false;
    n = read(r->vm->messages, buf, sizeof(buf));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) {
        fd_close(&r->vm->messages);
        return false;
    }
    for (ssize_t at = 0; at < n;) {
        const char *eol = memchr(buf + at, '\n', (size_t)(n - at));
        ssize_t end = eol ? eol - buf : n;

        (void)fd_write_all(STDERR_FILENO, buf + at, (size_t)(end - at));
        if (eol)
            (void)fd_write_all(STDERR_FILENO, r->term.raw ? "\r\n" : "\n", r->term.raw ? 2 : 1);
        at = end + 1;
    }
    return true;
}

static void on_messages(struct relay *r, short)
{
    read_messages(r);
}

static void (*const on_ready[P_COUNT])(struct relay *, short) = {
    [P_SIGNAL] = on_signal, [P_CHILD] = on_child,     [P_CONSOLE] = on_console,   [P_IN] = on_in,
    [P_OUT] = on_out,       [P_CONTROL] = on_control, [P_MESSAGES] = on_messages,
};

static bool wants_input(const struct relay *r)
{
    if (!r->in_open || r->vm->console < 0)
        return false;
    return r->term.is_tty ? r->term.raw : r->in_len < sizeof(r->input);
}

/* What to wait for; a negative descriptor is left out by poll. */
static void watch(const struct relay *r, struct pollfd p[P_COUNT])
{
    bool owes = r->out_at < r->out_len;
    short console = (short)((owes ? 0 : POLLIN) | (r->in_len ? POLLOUT : 0));

    p[P_SIGNAL] = (struct pollfd){ r->signals, POLLIN, 0 };
    p[P_CHILD] = (struct pollfd){ r->vm->pidfd, POLLIN, 0 };
    /* without events it would still report its end, again and again */
    p[P_CONSOLE] = (struct pollfd){ console ? r->vm->console : -1, console, 0 };
    p[P_IN] = (struct pollfd){ wants_input(r) ? STDIN_FILENO : -1, POLLIN, 0 };
    p[P_OUT] = (struct pollfd){ owes ? STDOUT_FILENO : -1, POLLOUT, 0 };
    p[P_CONTROL] = (struct pollfd){ r->vm->control, POLLIN, 0 };
    p[P_MESSAGES] = (struct pollfd){ r->vm->messages, POLLIN, 0 };
}

/* Milliseconds to the next deadline; -1: there is none. */
static int wait_ms(const struct relay *r)
{
    u64 now = clock_mono_ns(), next = ~0ull;

    if (r->deadline_ns)
        next = min(next, r->deadline_ns);
    if (r->kill_ns)
        next = min(next, r->kill_ns);
    if (next == ~0ull)
        return -1;
    return next <= now ? 0 : (int)min((next - now) / NSEC_PER_MSEC + 1, 3600000ull);
}

static void check_deadlines(struct relay *r)
{
    u64 now = clock_mono_ns();

    if (r->deadline_ns && now >= r->deadline_ns) {
        say(r, "time is over: stopping the machine");
        r->timed_out = true;
        r->deadline_ns = 0;
        kill(r->vm->pid, SIGKILL);
    }
    if (r->kill_ns && now >= r->kill_ns) {
        say(r, "socle-vm does not end: killing it");
        r->kill_ns = 0;
        kill(r->vm->pid, SIGKILL);
    }
}

static void loop(struct relay *r)
{
    struct pollfd p[P_COUNT];

    while (!r->ended) {
        watch(r, p);
        if (poll(p, P_COUNT, wait_ms(r)) < 0 && errno != EINTR)
            break;
        for (unsigned i = 0; i < P_COUNT; i++)
            if (p[i].revents)
                on_ready[i](r, p[i].revents);
        check_deadlines(r);
    }
}

/* After the end: nothing that it said is lost.  Signals have their usual effect, in case nobody reads stdout. */
static void drain(struct relay *r)
{
    do {
        while (r->out_at < r->out_len && write_out(r))
            continue;
    } while (read_console(r));
    while (read_messages(r) || read_control(r))
        continue;
}

static void signal_set(sigset_t *set)
{
    sigemptyset(set);
    for_each_row(s, taken_signals)
        sigaddset(set, *s);
}

void relay_block_signals(void)
{
    sigset_t set;

    signal_set(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
    sigaction(SIGPIPE, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL);
}

/* The status to report: for a machine that was stopped by force, who wanted it; else socle-vm's. */
static int result(const struct relay *r, int status)
{
    bool forced = status == EXIT_STATUS_SIGNAL + SIGKILL || status == EXIT_STATUS_SIGNAL + SIGTERM;

    if (r->timed_out)
        return EXIT_STATUS_TIMEOUT;
    if (status > EXIT_STATUS_SIGNAL && r->stops == 0 && r->vm->killed_by)
        log_error("socle-vm was ended by signal %d (%s)", r->vm->killed_by,
                  strsignal(r->vm->killed_by));
    return forced && r->stop_signal ? EXIT_STATUS_SIGNAL + r->stop_signal : status;
}

int relay_run(struct spawn *vm, u32 timeout_s, json_t **ret_restore)
{
    struct relay *r = xnew(struct relay);
    sigset_t set;
    int status;

    r->vm = vm;
    r->in_open = true;
    if (timeout_s)
        r->deadline_ns = clock_mono_ns() + timeout_s * NSEC_PER_SEC;
    signal_set(&set);
    r->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    must(r->signals >= 0);
    term_open(&r->term);
    if (r->term.is_tty && vm->console >= 0) {
        term_raw(&r->term);
        say(r, "Ctrl-A h shows the keys, Ctrl-A x ends");
    }
    loop(r);
    term_restore(&r->term);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    drain(r);
    status = result(r, spawn_wait(vm));
    fd_close(&r->signals);
    strbuf_fini(&r->reply);
    *ret_restore = r->restore;
    free(r);
    return status;
}
