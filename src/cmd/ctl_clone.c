/*
 * cmd/ctl_clone.c: `socle ctl SOCKET clone N`: machines that go on from where a running one is, which goes on itself.
 * A snapshot is taken; each clone is a `socle run --restore STATE,clone` of its own session, with its control socket, console and messages
 * beside the original's control socket.  They share its memory and its disks of that instant, and go on when it, or we, have ended.
 */
#include "cmd/ctl_clone.h"

#include "base/clock.h"
#include "host/talk.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

struct clone {
    char *socket, *console, *log;
    pid_t pid; /* of its `socle run`; 0: not started */
};

static void clone_fini(struct clone *c)
{
    free(c->socket);
    free(c->console);
    free(c->log);
}

/* In the child: of nobody's terminal, with all that it says in its log. */
_Noreturn static void become(const struct clone *c, const char *state)
{
    AUTO(free) char *restore = str_new("file=%s,clone", state);
    AUTO(free) char *console = str_new("unix:%s", c->console);
    const char *const argv[] = { "socle",   "run",       "--restore", restore, "--control",
                                 c->socket, "--console", console,     NULL };
    AUTO(fd) int log = open(c->log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    AUTO(fd) int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

    setsid();
    if (log >= 0 && null >= 0) {
        dup2(null, STDIN_FILENO); /* tidy: allow banned: it must survive execve */
        dup2(log, STDOUT_FILENO); /* tidy: allow banned: it must survive execve */
        dup2(log, STDERR_FILENO); /* tidy: allow banned: it must survive execve */
        execv("/proc/self/exe", (char *const *)(uintptr_t)argv);
    }
    _exit(127);
}

static int start(struct clone *c, const char *socket, unsigned i, const char *state, struct err *e)
{
    c->socket = str_new("%s.%u", socket, i);
    c->console = str_new("%s.%u.console", socket, i);
    c->log = str_new("%s.%u.log", socket, i);
    c->pid = fork();
    if (c->pid < 0) {
        c->pid = 0;
        return err_errno(e, "start a process");
    }
    if (c->pid == 0)
        become(c, state);
    return 0;
}

/* The last line that it said. */
static int say_why(const struct clone *c, struct err *e)
{
    char text[512] = "";
    AUTO(fd) int fd = open(c->log, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;
    char *line;

    text[n > 0 ? n : 0] = 0;
    text[strcspn(text, "\n")] = 0;
    line = strstr(text, "error: ");
    return err_set(e, -ECHILD, "clone %s: %s", c->socket,
                   line ? line + strlen("error: ") : "it ended at once");
}

/* Waits until it answers; its status, owned. */
static json_t *wait_for(const struct clone *c, struct err *e)
{
    const u64 limit = clock_mono_ns() + TALK_SECONDS * NSEC_PER_SEC;

    while (clock_mono_ns() < limit) {
        json_t *status = NULL;
        struct talk t;

        if (talk_open(&t, c->socket, TALK_SECONDS, NULL) >= 0)
            status = talk_result(&t, "{\"cmd\": \"status\", \"id\": 1}", NULL, 0, NULL);
        talk_close(&t);
        if (status)
            return status;
        if (waitpid(c->pid, NULL, WNOHANG) == c->pid) {
            say_why(c, e);
            return NULL;
        }
        poll(NULL, 0, 1);
    }
    err_set(e, -ETIMEDOUT, "clone %s does not answer", c->socket);
    return NULL;
}

static json_t *describe(const struct clone *c, struct err *e)
{
    json_t *status = wait_for(c, e), *j;

    if (!status)
        return NULL;
    j = json_pack("{s:O, s:s, s:s, s:s, s:i}", "name", json_object_get(status, "name"), "control",
                  c->socket, "console", c->console, "log", c->log, "pid", (int)c->pid);
    json_decref(status);
    return j;
}

int ctl_clone_start(const char *socket, const char *state, unsigned n, struct err *e)
{
    AUTO(free) struct clone *clones = xnew_n(struct clone, n);
    AUTO(free) char *text = NULL;
    json_t *list = json_array();
    int r = 0;

    for (unsigned i = 0; i < n && r == 0; i++)
        r = start(&clones[i], socket, i + 1, state, e);
    for (unsigned i = 0; i < n && r == 0; i++) {
        json_t *j = describe(&clones[i], e);

        r = j ? json_array_append_new(list, j) : e->code;
    }
    for (unsigned i = 0; i < n; i++) {
        if (r < 0 && clones[i].pid > 0)
            kill(clones[i].pid, SIGTERM); /* all or none */
        clone_fini(&clones[i]);
    }
    text = json_dumps(list, JSON_INDENT(2));
    json_decref(list);
    if (r == 0)
        printf("%s\n", text ? text : "");
    return r;
}
