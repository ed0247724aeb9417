/*
 * cmd/ctl.c: `socle ctl SOCKET COMMAND [ARGUMENT]…`: one request to a machine's control socket, one reply, printed.
 * Request {"cmd": "inspect", "id": 1, "device": "disk0"}; reply {"id": 1, "ok": true, "result": …} or
 * {"id": 1, "ok": false, "error": "…"}; a line each.  A command that is not in the rows is sent as it is, its arguments as
 * NAME=VALUE, so that an older socle can speak with a newer socle-vm.
 */
#include "cmd/command.h"
#include "cmd/exit_status.h"
#include "cmd/profile.h"
#include "cmd/save.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    CTL_ARGS_MAX = 3,
    CTL_REPLY_MAX = 64 * 1024 * 1024,
    CTL_TIMEOUT_SECONDS = 30,
};

struct ctl_row {
    const char *name, *doc;
    struct {
        const char *name; /* in the request; NULL: no more */
        const char *usage;
        bool flag; /* "on" and "off", sent as true and false */
    } args[CTL_ARGS_MAX];
    unsigned required; /* so many arguments must be there */
    bool saves; /* the argument "file" is made here and handed in; it takes as long as it takes */
};

/* clang-format off */
static const struct ctl_row rows[] = {
    { "status",  "what the machine is and does",                      {}, 0 },
    { "pause",   "stop its CPUs",                                     {}, 0 },
    { "resume",  "let them go on",                                    {}, 0 },
    { "reset",   "as the reset button",                               {}, 0 },
    { "power",   "press the power button, or turn it off at once",    { { "action", "button|off", false } }, 1 },
    { "inspect", "a device's registers; without a name, the devices", { { "device", "DEVICE", false } }, 0 },
    { "stats",   "counters of each device and of each exit reason",   {}, 0 },
    { "jit",     "what the software engine's translator counts",       {}, 0 },
    { "balloon", "leave the guest so much memory",                    { { "bytes", "SIZE", false } }, 1 },
    { "nmi",     "interrupt the guest so that it shows where it is",  {}, 0 },
    { "profile", "where the guest spends its time, by page, or by function with --map",
                 { { "seconds", "SECONDS", false } }, 0 },
    { "suspend", "put its state into a file and end it; `run --restore FILE` goes on", { { "file", "FILE", false } }, 1, true },
    { "snapshot", "put its state into a file while it runs: all, all and note what changes from now on, or what has changed",
                 { { "file", "FILE", false }, { "mode", "full|base|diff", false } }, 1, true },
    { "trace",   "show the trace points, turn some on or off, or dump what they recorded",
                 { { "action", "list|set|dump", false }, { "pattern", "PATTERN", false }, { "on", "on|off", true } }, 0 },
};
/* clang-format on */

const char ctl_words[] =
    "status pause resume reset power inspect stats jit balloon nmi profile suspend snapshot trace";

struct ctl {
    char *map;
};

static const struct field ctl_fields[] = {
    FIELD_STR(ctl, map, "profile: the guest kernel's System.map, or a copy of its /proc/kallsyms",
              .metavar = "FILE"),
    {},
};

const struct opt ctl_opts[] = { { "map", ctl_fields, 0, "map", "FILE" }, {} };

static const struct ctl_row *find_row(const char *name)
{
    for_each_row(c, rows)
        if (strcmp(c->name, name) == 0)
            return c;
    return NULL;
}

void ctl_more(struct strbuf *out)
{
    strbuf_add(out, "Commands:\n");
    for_each_row(c, rows) {
        AUTO(strbuf) struct strbuf usage = {};

        strbuf_add(&usage, "%s", c->name);
        for (unsigned i = 0; i < CTL_ARGS_MAX && c->args[i].name; i++)
            strbuf_add(&usage, i < c->required ? " %s" : " [%s]", c->args[i].usage);
        strbuf_add(out, "  %-28s  %s\n", usage.text, c->doc);
    }
    strbuf_add(out, "Another command is sent as it is, with arguments NAME=VALUE.\n");
}

static int add_known(const struct ctl_row *c, json_t *request, const char *const *words, unsigned n,
                     struct err *e)
{
    for (unsigned i = 0; i < n; i++) {
        bool on = strcmp(words[i], "on") == 0;

        if (i == CTL_ARGS_MAX || !c->args[i].name)
            return err_set(e, -EINVAL, "%s: '%.60s' is one argument too many", c->name, words[i]);
        if (c->args[i].flag && !on && strcmp(words[i], "off") != 0)
            return err_set(e, -EINVAL, "%s: '%.60s' is not on or off", c->name, words[i]);
        if (json_object_set_new(request, c->args[i].name,
                                c->args[i].flag ? json_boolean(on) : json_string(words[i])) < 0)
            return err_set(e, -EINVAL, "%s: argument %u is not UTF-8 text", c->name, i + 1);
    }
    if (n < c->required)
        return err_set(e, -EINVAL, "%s needs %s", c->name, c->args[n].usage);
    return 0;
}

static int add_other(json_t *request, const char *const *words, unsigned n, struct err *e)
{
    for (unsigned i = 0; i < n; i++) {
        const char *eq = strchr(words[i], '=');
        AUTO(free) char *name = eq ? xdup_mem(words[i], (size_t)(eq - words[i]) + 1) : NULL;
        json_t *value;

        if (!eq)
            return err_set(e, -EINVAL, "'%.60s': arguments of this command are NAME=VALUE",
                           words[i]);
        name[eq - words[i]] = 0;
        value = json_loads(eq + 1, JSON_DECODE_ANY, NULL); /* 5, true; else it is text */
        if (!value)
            value = json_string(eq + 1);
        if (json_object_set_new(request, name, value) < 0)
            return err_set(e, -EINVAL, "'%.60s' is not UTF-8 text", words[i]);
    }
    return 0;
}

/* The request's line, owned; NULL with `e`. */
static char *make_request(const char *const *words, unsigned n, struct err *e)
{
    const struct ctl_row *c = find_row(words[0]);
    json_t *request = json_object();
    char *text = NULL;
    int r = 0;

    if (json_object_set_new(request, "cmd", json_string(words[0])) < 0)
        r = err_set(e, -EINVAL, "the command is not UTF-8 text");
    json_object_set_new(request, "id", json_integer(1));
    if (r >= 0)
        r = c ? add_known(c, request, words + 1, n - 1, e)
              : add_other(request, words + 1, n - 1, e);
    if (r >= 0)
        text = json_dumps(request, JSON_COMPACT);
    json_decref(request);
    return text;
}

/* How long an answer may take: a profile lasts PROFILE_SECONDS_MAX (vm/profile.h) before it is told.  0: as long as it takes. */
static int limit_of(const char *command)
{
    const struct ctl_row *row = find_row(command);

    if (row && row->saves)
        return 0;
    return CTL_TIMEOUT_SECONDS + (strcmp(command, "profile") == 0 ? 60 : 0);
}

static int dial(const char *path, int seconds, struct err *e)
{
    const struct timeval limit = { .tv_sec = seconds };
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    AUTO(fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return err_errno(e, "make a socket");
    if (!str_copy(at.sun_path, sizeof(at.sun_path), path))
        return err_set(e, -EINVAL, "'%.60s…': a socket's path has at most %zu bytes", path,
                       sizeof(at.sun_path) - 1);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    if (connect(fd, (const struct sockaddr *)&at, sizeof(at)) < 0)
        return err_errno(e, "connect to '%s'", path);
    return TAKE_FD(fd);
}

/* What was read of a socket; lines before `at` are taken. */
struct reader {
    int fd, seconds; /* seconds: without a byte, until it gives up */
    struct strbuf got;
    size_t at;
};

/* Reads what there is. */
static int read_more(struct reader *rd, struct err *e)
{
    char buf[16384];
    ssize_t n = recv(rd->fd, buf, sizeof(buf), 0);

    if (n < 0 && errno == EINTR)
        return 0;
    if (n < 0 && errno == EAGAIN)
        return err_set(e, -ETIMEDOUT, "no answer in %d seconds", rd->seconds);
    if (n < 0)
        return err_errno(e, "read the answer");
    if (n == 0)
        return err_set(e, -EPIPE, "the machine ended before it answered");
    if (rd->got.len > CTL_REPLY_MAX)
        return err_set(e, -EBADMSG, "an answer of more than %d bytes", CTL_REPLY_MAX);
    strbuf_add_mem(&rd->got, buf, (size_t)n);
    return 0;
}

/* The next line as JSON, owned; NULL with `e`. */
static json_t *read_object(struct reader *rd, struct err *e)
{
    const char *line, *eol = NULL;
    json_t *j;

    while (!eol) {
        if (rd->got.len > rd->at)
            eol = memchr(rd->got.text + rd->at, '\n', rd->got.len - rd->at);
        if (!eol && read_more(rd, e) < 0)
            return NULL;
    }
    line = rd->got.text + rd->at;
    j = json_loadb(line, (size_t)(eol - line), 0, NULL);
    rd->at = (size_t)(eol + 1 - rd->got.text);
    if (json_is_object(j))
        return j;
    json_decref(j);
    err_set(e, -EBADMSG, "the answer is not JSON: is it a control socket");
    return NULL;
}

/* Sends a line; `file` ≥ 0 is handed in with it (unix(7), SCM_RIGHTS). */
static int send_line(int fd, const char *text, int file, struct err *e)
{
    AUTO(free) char *line = str_new("%s\n", text);
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control = { .head = { .cmsg_len = CMSG_LEN(sizeof(int)),
                            .cmsg_level = SOL_SOCKET,
                            .cmsg_type = SCM_RIGHTS } };
    struct iovec iov = { line, strlen(line) };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (file >= 0) {
        memcpy(CMSG_DATA(&control.head), &file, sizeof(file));
        m.msg_control = &control;
        m.msg_controllen = sizeof(control);
    }
    if (sendmsg(fd, &m, MSG_NOSIGNAL) != (ssize_t)iov.iov_len)
        return err_errno(e, "send the command");
    return 0;
}

/* The reply whose id is ours; other lines are events.  Owned; NULL with `e`. */
static json_t *exchange(struct reader *rd, const char *request, int file, struct err *e)
{
    json_t *reply;

    if (send_line(rd->fd, request, file, e) < 0)
        return NULL;
    while ((reply = read_object(rd, e))) {
        if (json_integer_value(json_object_get(reply, "id")) == 1)
            break;
        json_decref(reply);
    }
    return reply;
}

static void print_json(const json_t *j)
{
    char *text = json_dumps(j, JSON_INDENT(2) | JSON_ENCODE_ANY);

    printf("%s\n", text ? text : "");
    free(text);
}

/* One "name: value" a line; what has an inside, as JSON. */
static void print_lines(json_t *result)
{
    const char *name;
    json_t *value;

    json_object_foreach(result, name, value)
    {
        printf("%s: ", name);
        if (json_is_string(value))
            printf("%s\n", json_string_value(value));
        else
            print_json(value);
    }
}

static void print_profile(const json_t *result, const struct symbols *s)
{
    AUTO(strbuf) struct strbuf out = {};

    profile_print(result, s, &out);
    printf("%s", out.text);
}

static int print_reply(const char *command, const struct symbols *s, const json_t *reply)
{
    json_t *result = json_object_get(reply, "result");
    const char *error = json_string_value(json_object_get(reply, "error"));

    if (!json_is_true(json_object_get(reply, "ok"))) {
        log_error("%s: %s", command, error ? error : "refused without a reason");
        return 1;
    }
    if (strcmp(command, "status") == 0 && json_is_object(result))
        print_lines(result);
    else if (strcmp(command, "profile") == 0 && json_is_object(result))
        print_profile(result, s);
    else if (json_is_string(result))
        printf("%s\n", json_string_value(result));
    else if (result && !json_is_null(result))
        print_json(result);
    return 0;
}

/* A suspended machine waits for this before it ends: its file has its name now. */
static const char end_request[] = "{\"cmd\": \"suspend\", \"action\": \"end\", \"id\": 1}";

/* The request, and the file that it is about, which gets its name when the machine says that it is complete. */
static json_t *save(struct reader *rd, const char *command, const char *request,
                    struct save_file *f, struct err *e)
{
    json_t *reply = exchange(rd, request, f->fd, e), *last = NULL;
    bool suspend = strcmp(command, "suspend") == 0;

    if (!json_is_true(json_object_get(reply, "ok")))
        return reply;
    if (save_file_keep(f, e) >= 0 && (!suspend || (last = exchange(rd, end_request, -1, e)))) {
        json_decref(last);
        return reply;
    }
    json_decref(reply);
    return NULL;
}

/* Sends the words and prints the reply; an exit status, or negative with `e`.  `f` is open when they are about a file. */
static int talk(const char *socket, const char *const *words, unsigned n, struct save_file *f,
                const struct symbols *s, struct err *e)
{
    AUTO(free) char *request = make_request(words, n, e);
    AUTO(fd) int fd = -1;
    struct reader rd = { .seconds = limit_of(words[0]) };
    json_t *reply = NULL;
    int r;

    if (!request)
        return command_usage_error("ctl", e);
    rd.fd = fd = dial(socket, rd.seconds, e);
    if (fd >= 0)
        reply = f->fd >= 0 ? save(&rd, words[0], request, f, e) : exchange(&rd, request, -1, e);
    strbuf_fini(&rd.got);
    if (!reply)
        return e->code;
    r = print_reply(words[0], s, reply);
    json_decref(reply);
    return r;
}

/* What the words ask for; an exit status. */
static int do_command(const struct opt_args *args, const struct symbols *s)
{
    const char *words[OPT_ARGS_MAX];
    const unsigned n = args->n - 1;
    const struct ctl_row *row = find_row(args->arg[1]);
    struct save_file f = { .fd = -1 };
    struct err e = {};
    int r = 0;

    memcpy(words, args->arg + 1, n * sizeof(words[0]));
    if (row && row->saves && n > 1) {
        r = save_file_open(&f, words[1], &e);
        words[1] = f.path; /* what the machine remembers for differential snapshots */
    }
    if (r >= 0)
        r = talk(args->arg[0], words, n, &f, s, &e);
    save_file_fini(&f);
    if (r < 0)
        log_error("%s", e.text);
    return r < 0 ? 1 : r;
}

int ctl_main(int argc, char **argv)
{
    struct opt_args args = {};
    struct symbols symbols = {};
    struct ctl ctl = {};
    struct err e = {};
    int r = opt_parse(ctl_opts, &ctl, argc, argv, &args, &e);

    if (r == 0 && args.n < 2)
        r = err_set(&e, -EINVAL, "SOCKET and COMMAND are needed");
    if (r == 0 && ctl.map && symbols_load(&symbols, ctl.map, &e) < 0)
        r = err_wrap(&e, "--map");
    if (r < 0)
        r = command_usage_error("ctl", &e);
    else
        r = r == 1 ? command_help("ctl") : do_command(&args, &symbols);
    symbols_fini(&symbols);
    conf_fini(ctl_fields, &ctl);
    return r;
}
