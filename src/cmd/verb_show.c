/*
 * cmd/verb_show.c: `socle list, show, info, logs, event, pool list, task list, task show`: what prints.
 */
#include "base/clock.h"
#include "cmd/verb.h"
#include "cmd/yaml.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { COLUMNS_MAX = 8 };

void verb_print(const struct verb *v, const json_t *j)
{
    AUTO(strbuf) struct strbuf yaml = {};
    AUTO(free) char *json = NULL;

    if (v->output == VERB_YAML) {
        yaml_add(j, &yaml);
        printf("%s", yaml.text);
        return;
    }
    json = json_dumps(j, JSON_INDENT(2) | JSON_ENCODE_ANY);
    printf("%s\n", json ? json : "");
}

/* What a guest, a file or another client may have chosen never moves the cursor. */
static void add_printable(struct strbuf *out, const char *text)
{
    for (const char *p = text; *p; p++)
        strbuf_add(out, "%c", (u8)*p < 32 || *p == 127 ? '?' : *p);
}

static void print_size(const json_t *value, struct strbuf *out)
{
    const u64 v = (u64)json_integer_value(value);

    if (v >= GiB && v % GiB == 0)
        strbuf_add(out, "%lluG", v / GiB);
    else
        strbuf_add(out, "%lluM", v / MiB);
}

void verb_print_time(const json_t *value, struct strbuf *out)
{
    const time_t t = (time_t)json_integer_value(value);
    struct tm tm;
    char text[32];

    if (t && localtime_r(&t, &tm) && strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm))
        strbuf_add(out, "%s", text);
}

void verb_print_yes(const json_t *value, struct strbuf *out)
{
    strbuf_add(out, "%s", json_is_true(value) ? "yes" : "no");
}

/* The first of a list, and how many more there are. */
static void print_first(const json_t *value, struct strbuf *out)
{
    const char *first = json_string_value(json_array_get(value, 0));

    if (first)
        add_printable(out, first);
    if (json_array_size(value) > 1)
        strbuf_add(out, " +%zu", json_array_size(value) - 1);
}

static void add_cell(const struct column *c, const json_t *row, struct strbuf *out)
{
    const json_t *value = json_object_get(row, c->key);

    if (c->print)
        c->print(value, out);
    else if (json_is_string(value))
        add_printable(out, json_string_value(value));
    else if (json_is_integer(value))
        strbuf_add(out, "%lld", (long long)json_integer_value(value));
}

static void print_table(const json_t *list, const struct column *columns, u32 n)
{
    int width[COLUMNS_MAX];
    const json_t *row;
    size_t i;

    for (u32 c = 0; c < n; c++)
        width[c] = (int)strlen(columns[c].title);
    json_array_foreach(list, i, row) for (u32 c = 0; c < n; c++)
    {
        AUTO(strbuf) struct strbuf cell = {};

        add_cell(&columns[c], row, &cell);
        width[c] = max(width[c], (int)cell.len);
    }
    for (u32 c = 0; c < n; c++)
        printf("%-*s%s", c + 1 < n ? width[c] : 0, columns[c].title, c + 1 < n ? "  " : "\n");
    json_array_foreach(list, i, row) for (u32 c = 0; c < n; c++)
    {
        AUTO(strbuf) struct strbuf cell = {};

        add_cell(&columns[c], row, &cell);
        printf("%-*s%s", c + 1 < n ? width[c] : 0, cell.text ? cell.text : "",
               c + 1 < n ? "  " : "\n");
    }
}

void verb_print_rows(const struct verb *v, const json_t *list, const struct column *columns, u32 n)
{
    if (v->output != VERB_TABLE)
        verb_print(v, list);
    else
        print_table(list, columns, n);
}

json_t *verb_all(struct verb *v, const char *path, struct err *e)
{
    json_t *all = json_array();
    AUTO(free) char *next = xdup(path);

    while (next) {
        json_t *j = verb_ask(v, "GET", next, NULL, e);
        const char *after = json_string_value(json_object_get(j, "next"));

        free(next);
        next = after ? str_new("%s%cafter=%s", path, strchr(path, '?') ? '&' : '?', after) : NULL;
        if (!j) {
            json_decref(all);
            return NULL;
        }
        (void)json_array_extend(all, json_object_get(j, "list"));
        json_decref(j);
    }
    return all;
}

int verb_print_list(struct verb *v, const char *path, const struct column *columns, u32 n,
                    struct err *e)
{
    json_t *all = verb_all(v, path, e);

    if (!all)
        return e->code;
    verb_print_rows(v, all, columns, n);
    json_decref(all);
    return 0;
}

/* What a tag may have beside letters and digits means something else in a query. */
static void add_query(struct strbuf *out, const char *name, const char *value)
{
    strbuf_add(out, "%c%s=", strchr(out->text, '?') ? '&' : '?', name);
    for (const char *p = value; *p; p++)
        strbuf_add(out, isalnum((unsigned char)*p) ? "%c" : "%%%02x", (unsigned char)*p);
}

int verb_list(struct verb *v, struct err *e)
{
    AUTO(strbuf) struct strbuf path = {};
    static const struct column columns[] = {
        { "NAME", "name", NULL },           { "KIND", "kind", NULL },
        { "STATE", "state", NULL },         { "CPUS", "cpus", NULL },
        { "MEMORY", "memory", print_size }, { "ADDRESS", "addresses", print_first },
    };

    strbuf_add(&path, "/1.0/instances");
    if (v->state)
        add_query(&path, "state", instance_states_wanted[v->state]);
    if (v->kind)
        add_query(&path, "kind", instance_kinds_wanted[v->kind]);
    if (v->tag)
        add_query(&path, "tag", v->tag);
    return verb_print_list(v, path.text, columns, ARRAY_LEN(columns), e);
}

int verb_uploads(struct verb *v, struct err *e)
{
    static const struct column columns[] = {
        { "ID", "id", NULL },
        { "NAME", "name", NULL },
        { "SIZE", "size", NULL },
        { "RECEIVED", "received", NULL },
        { "UNTIL", "expires", verb_print_time },
    };

    return verb_print_list(v, "/1.0/uploads", columns, ARRAY_LEN(columns), e);
}

int verb_images(struct verb *v, struct err *e)
{
    static const struct column columns[] = {
        { "NAME", "name", NULL },
        { "KIND", "kind", NULL },
        { "DISK", "disk", verb_print_yes },
        { "SIZE", "size", print_size },
        { "CREATED", "created", verb_print_time },
        { "FROM", "origin", NULL },
    };

    return verb_print_list(v, "/1.0/images", columns, ARRAY_LEN(columns), e);
}

static void print_state(const json_t *status, struct strbuf *out)
{
    const char *state = json_string_value(json_object_get(status, "state"));
    const char *why = json_string_value(json_object_get(status, "why"));

    add_printable(out, state ? state : "");
    if (why) {
        strbuf_add(out, ": ");
        add_printable(out, why);
    }
}

int verb_networks(struct verb *v, struct err *e)
{
    static const struct column columns[] = {
        { "NAME", "name", NULL }, { "KIND", "kind", NULL },           { "IPV4", "ipv4", NULL },
        { "IPV6", "ipv6", NULL }, { "STATE", "status", print_state },
    };

    return verb_print_list(v, "/1.0/networks", columns, ARRAY_LEN(columns), e);
}

int verb_tasks(struct verb *v, struct err *e)
{
    static const struct column columns[] = {
        { "NUMBER", "number", NULL },
        { "TASK", "what", NULL },
        { "NAME", "name", NULL },
        { "STATE", "state", NULL },
        { "ASKED", "created", verb_print_time },
        { "BY", "user", NULL },
        { "ERROR", "error", NULL },
    };

    return verb_print_list(v, "/1.0/tasks", columns, ARRAY_LEN(columns), e);
}

/* "name: value" a line; what has an inside, as JSON. */
static void print_lines(json_t *j)
{
    const char *name;
    json_t *value;

    json_object_foreach(j, name, value)
    {
        AUTO(strbuf) struct strbuf text = {};
        char *dump = NULL;

        if (json_is_string(value))
            add_printable(&text, json_string_value(value));
        else
            dump = json_dumps(value, JSON_ENCODE_ANY);
        printf("%s: %s\n", name, dump ? dump : text.text ? text.text : "");
        free(dump);
    }
}

/* Of a task: a line for each. */
static void print_log(const json_t *log)
{
    const json_t *line;
    size_t i;

    if (json_array_size(log))
        printf("log:\n");
    json_array_foreach(log, i, line)
    {
        AUTO(strbuf) struct strbuf text = {};
        const char *what = json_string_value(json_object_get(line, "text"));

        strbuf_add(&text, "  ");
        verb_print_time(json_object_get(line, "time"), &text);
        strbuf_add(&text, "  ");
        add_printable(&text, what ? what : "");
        printf("%s\n", text.text);
    }
}

static int show(struct verb *v, const char *kind, struct err *e)
{
    AUTO(free) char *path = verb_path(kind, v->args.arg[0], "", e);
    json_t *j = path ? verb_ask(v, "GET", path, NULL, e) : NULL, *status, *log;

    if (!j)
        return e->code;
    status = json_object_get(j, "status");
    if (v->output != VERB_TABLE) {
        verb_print(v, j);
    } else {
        json_incref(status);
        json_object_del(j, "status");
        print_lines(status);
        log = json_incref(json_object_get(j, "log"));
        json_object_del(j, "log");
        print_lines(j);
        print_log(log);
        json_decref(log);
        json_decref(status);
    }
    json_decref(j);
    return 0;
}

int verb_show(struct verb *v, struct err *e)
{
    return show(v, "instances", e);
}

int verb_network_show(struct verb *v, struct err *e)
{
    return show(v, "networks", e);
}

int verb_task_show(struct verb *v, struct err *e)
{
    return show(v, "tasks", e);
}

int verb_info(struct verb *v, struct err *e)
{
    json_t *j = verb_ask(v, "GET", "/1.0", NULL, e);

    if (!j)
        return e->code;
    if (v->output != VERB_TABLE)
        verb_print(v, j);
    else
        print_lines(j);
    json_decref(j);
    return 0;
}

int verb_logs(struct verb *v, struct err *e)
{
    AUTO(free)
    char *more =
        str_new("/log?which=%s&bytes=%llu", v->messages ? "messages" : "console", v->bytes);
    AUTO(free) char *path = verb_path("instances", v->args.arg[0], more, e), *text = NULL;
    size_t len = 0;

    if (!path || !(text = rest_text(&v->rest, path, &len, e)))
        return e->code;
    return fd_write_all(STDOUT_FILENO, text, len) < 0
               ? err_set(e, -EIO, "standard output takes nothing")
               : 0;
}

/* The file is of who asks, also when socled is of another machine. */
int verb_support(struct verb *v, struct err *e)
{
    const char *file = v->args.arg[0];
    const bool out = strcmp(file, "-") == 0;
    AUTO(free) char *text = NULL;
    AUTO(fd) int fd = -1;
    size_t len = 0;

    text = rest_text(&v->rest, "/1.0/support", &len, e);
    if (!text)
        return e->code;
    if (!out && (fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0)
        return err_errno(e, "make '%s'", file);
    return fd_write_all(out ? STDOUT_FILENO : fd, text, len) < 0 ? err_errno(e, "write '%s'", file)
                                                                 : 0;
}

static int print_event(void *arg [[maybe_unused]], const json_t *event)
{
    char *text = json_dumps(event, JSON_COMPACT);
    const bool lost = printf("%s\n", text ? text : "{}") < 0 || fflush(stdout) != 0;

    free(text);
    return lost ? -EIO : 0;
}

int verb_event(struct verb *v, struct err *e)
{
    return rest_follow(&v->rest, v->since, print_event, NULL, e);
}
