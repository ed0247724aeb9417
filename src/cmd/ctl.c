/*
 * cmd/ctl.c: `socle ctl SOCKET COMMAND [ARGUMENT]…`: one request to a machine's control socket, one reply, printed.
 * Request {"cmd": "inspect", "id": 1, "device": "disk0"}; reply {"id": 1, "ok": true, "result": …} or
 * {"id": 1, "ok": false, "error": "…"}; a line each.  A command that is not in the rows is sent as it is, its arguments as
 * NAME=VALUE, so that an older socle can speak with a newer socle-vm.
 */
#include "base/exit_status.h"
#include "cmd/command.h"
#include "cmd/profile.h"
#include "cmd/snapshot.h"
#include "host/newfile.h"
#include "host/talk.h"

#include <stdio.h>
#include <stdlib.h>

enum { CTL_ARGS_MAX = 3 };

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
    { "perf-map", "names of translated code, to be put into /tmp/perf-PID.map for perf(1)", {}, 0 },
    { "balloon", "leave the guest so much memory",                    { { "bytes", "SIZE", false } }, 1 },
    { "nmi",     "interrupt the guest so that it shows where it is",  {}, 0 },
    { "profile", "where the guest spends its time, by page, or by function with --map",
                 { { "seconds", "SECONDS", false } }, 0 },
    { "suspend", "put its state into a file and end it; `run --restore FILE` goes on", { { "file", "FILE", false } }, 1, true },
    { "snapshot", "keep what it and its disks are at this instant, under a NAME; or its state alone in a FILE, which has a '/' (./FILE): "
                 "all, all and note what changes from now on, or what has changed",
                 { { "file", "NAME|FILE", false }, { "mode", "full|disks|base|diff", false } }, 1, true },
    { "record-pages", "which memory it needed since --restore FILE; as FILE.pages it makes the next restore quicker", { { "file", "FILE.pages", false } }, 1, true },
    { "snapshots", "the tree of its snapshots",                       {}, 0 },
    { "restore", "go back to a snapshot, its disks, too; or to the state in a FILE, which has a '/'", { { "name", "NAME|FILE", false } }, 1 },
    { "clone", "start so many machines that go on from where it is", { { "number", "N", false } }, 1 },
    { "delete-snapshot", "delete one; what others need of it is kept", { { "name", "NAME", false } }, 1 },
    { "disks",   "its disks, and the files that it writes to",        {}, 0 },
    { "trace",   "show the trace points, turn some on or off, or dump what they recorded",
                 { { "action", "list|set|dump", false }, { "pattern", "PATTERN", false }, { "on", "on|off", true } }, 0 },
};
/* clang-format on */

const char ctl_words[] =
    "status pause resume reset power inspect stats jit perf-map balloon nmi profile "
    "suspend snapshot record-pages snapshots restore clone delete-snapshot disks trace";

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
    return TALK_SECONDS + (strcmp(command, "profile") == 0 ? 60 : 0);
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
static json_t *save(struct talk *t, const char *command, const char *request, struct newfile *f,
                    struct err *e)
{
    json_t *reply = talk_ask(t, request, &f->fd, 1, e), *last = NULL;
    bool suspend = strcmp(command, "suspend") == 0;

    if (!json_is_true(json_object_get(reply, "ok")))
        return reply;
    if (newfile_keep(f, e) >= 0 && (!suspend || (last = talk_ask(t, end_request, NULL, 0, e)))) {
        json_decref(last);
        return reply;
    }
    json_decref(reply);
    return NULL;
}

/* Sends the words and prints the reply; an exit status, or negative with `e`.  `f` is open when they are about a file. */
static int talk(const char *socket, const char *const *words, unsigned n, struct newfile *f,
                const struct symbols *s, struct err *e)
{
    AUTO(free) char *request = make_request(words, n, e);
    struct talk t = { .fd = -1 };
    json_t *reply = NULL;
    int r;

    if (!request)
        return command_usage_error("ctl", e);
    if (talk_open(&t, socket, limit_of(words[0]), e) >= 0)
        reply = f->fd >= 0 ? save(&t, words[0], request, f, e) : talk_ask(&t, request, NULL, 0, e);
    talk_close(&t);
    if (!reply)
        return e->code;
    r = print_reply(words[0], s, reply);
    json_decref(reply);
    return r;
}

static int talk_of_tree(const char *socket, ctl_tree_fn *fn, const char *const *words, unsigned n,
                        struct err *e)
{
    struct talk t;
    int r = talk_open(&t, socket, 0, e);

    if (r >= 0)
        r = fn(&t, words, n, e);
    talk_close(&t);
    return r < 0 ? err_wrap(e, "%s", words[0]) : r;
}

/* What the words ask for; an exit status. */
static int do_command(const struct opt_args *args, const struct symbols *s)
{
    const char *words[OPT_ARGS_MAX];
    const unsigned n = args->n - 1;
    const struct ctl_row *row = find_row(args->arg[1]);
    struct newfile f = { .fd = -1 };
    struct err e = {};
    ctl_tree_fn *fn;
    int r = 0;

    memcpy(words, args->arg + 1, n * sizeof(words[0]));
    fn = ctl_tree_find(words, n);
    if (!fn && row && row->saves && n > 1) {
        r = newfile_open(&f, words[1], &e);
        words[1] = f.path; /* what the machine remembers for differential snapshots */
    }
    if (fn)
        r = talk_of_tree(args->arg[0], fn, words, n, &e);
    else if (r >= 0)
        r = talk(args->arg[0], words, n, &f, s, &e);
    newfile_fini(&f);
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
