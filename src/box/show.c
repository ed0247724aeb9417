/*
 * box/show.c: what is told about containers: state, list, ps, events.
 */
#include "box/box.h"
#include "box/cgroup.h"
#include "box/path.h"
#include "box/state.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int print(const char *text, struct err *e)
{
    int r = fd_write_all(STDOUT_FILENO, text, strlen(text));

    return r < 0 ? err_code(e, r, "write to standard output") : 0;
}

static int print_json(json_t *json, size_t flags, struct err *e)
{
    AUTO(free) char *text = json_dumps(json, flags);
    AUTO(free) char *line = str_new("%s\n", text);

    must(text);
    json_decref(json);
    return print(line, e);
}

int box_state_print(const struct box_global *g, const char *id, struct err *e)
{
    AUTO(free) char *text = NULL;
    struct oci spec = {};
    struct box_state s;
    struct box_dir d;
    int r = box_open(&d, &s, g->root, id, false, e);

    if (r == 0)
        r = box_spec_load(&d, &spec, e);
    if (r == 0) {
        AUTO(free) char *state = box_state_text(&s, box_status_of(&d, &s), &spec.annotations);

        text = str_new("%s\n", state);
        r = print(text, e);
    }
    oci_fini(&spec);
    box_state_fini(&s);
    box_dir_fini(&d);
    return r;
}

/* One container as `list` has it; NULL: it went away or is being made. */
static json_t *list_entry(const struct box_global *g, const char *id)
{
    struct box_state s;
    struct box_dir d;
    struct err e = {};
    json_t *json = NULL;

    if (box_open(&d, &s, g->root, id, false, &e) == 0) {
        const enum box_status status = box_status_of(&d, &s);

        json = json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:s}", "ociVersion", BOX_OCI_VERSION, "id",
                         s.id, "pid", status == BOX_STOPPED ? 0 : s.pid, "status",
                         box_status_words[status], "bundle", s.bundle, "created", s.created,
                         "owner", s.owner);
    }
    box_state_fini(&s);
    box_dir_fini(&d);
    return json;
}

static json_t *list_all(const struct box_global *g)
{
    DIR *dir = opendir(g->root);
    json_t *list = json_array();
    struct dirent *entry;

    while (dir && json_array_size(list) < BOX_LIST_MAX && (entry = readdir(dir))) {
        json_t *one = entry->d_name[0] == '.' ? NULL : list_entry(g, entry->d_name);

        if (one)
            json_array_append_new(list, one);
    }
    if (dir)
        closedir(dir);
    return list;
}

static const char *text_of(const json_t *j, const char *name)
{
    return json_string_value(json_object_get(j, name));
}

int box_list_print(const struct box_global *g, const struct box_list *o, struct err *e)
{
    AUTO(strbuf) struct strbuf out = {};
    json_t *list = list_all(g), *one;
    size_t i;

    if (!o->quiet && o->format == 1)
        return print_json(list, JSON_COMPACT, e);
    if (!o->quiet)
        strbuf_add(&out, "%-24s %-10s %-10s %-32s %-32s %s\n", "ID", "PID", "STATUS", "BUNDLE",
                   "CREATED", "OWNER");
    json_array_foreach(list, i, one)
    {
        if (o->quiet)
            strbuf_add(&out, "%s\n", text_of(one, "id"));
        else
            strbuf_add(&out, "%-24s %-10lld %-10s %-32s %-32s #%s\n", text_of(one, "id"),
                       (long long)json_integer_value(json_object_get(one, "pid")),
                       text_of(one, "status"), text_of(one, "bundle"), text_of(one, "created"),
                       text_of(one, "owner"));
    }
    json_decref(list);
    return out.len ? print(out.text, e) : 0;
}

/* With the cgroup of a container that is there. */
static int open_one(struct box_dir *d, struct box_state *s, struct cgroup *g,
                    const struct box_global *global, const char *id, struct err *e)
{
    int r = box_open(d, s, global->root, id, false, e);

    cgroup_init(g);
    return r < 0 ? r : cgroup_open(g, s->cgroup, e);
}

static void close_one(struct box_dir *d, struct box_state *s, struct cgroup *g)
{
    cgroup_fini(g);
    box_state_fini(s);
    box_dir_fini(d);
}

int box_ps_print(const struct box_global *global, const char *id, bool json, struct err *e)
{
    AUTO(strbuf) struct strbuf out = {};
    AUTO(free) pid_t *pids = NULL;
    json_t *list = json_array();
    struct box_state s;
    struct box_dir d;
    struct cgroup g;
    int n = 0, r = open_one(&d, &s, &g, global, id, e);

    if (r == 0) {
        n = cgroup_pids(&g, &pids);
        r = n < 0 ? err_code(e, n, "processes of '%s'", id) : 0;
    }
    strbuf_add(&out, "PID\n");
    for (int i = 0; i < n; i++) {
        json_array_append_new(list, json_integer(pids[i]));
        strbuf_add(&out, "%d\n", pids[i]);
    }
    close_one(&d, &s, &g);
    if (r == 0 && json)
        return print_json(list, JSON_COMPACT, e);
    json_decref(list);
    return r < 0 ? r : print(out.text, e);
}

/* ---- events: the counters of a cgroup, in runc's form ---- */

/* The number in a file, or after "word " in it; 0 where there is none, UINT64_MAX as INT64_MAX for "max". */
static json_t *number(const struct cgroup *g, const char *file, const char *word, u64 scale)
{
    char text[4096];
    const char *at = text;
    u64 v = 0;

    if (path_read(g->fd, file, text, sizeof(text)) < 0)
        return json_integer(0);
    if (word) {
        AUTO(free) char *line = str_new("\n%s ", word);
        size_t len = strlen(line);

        at = strncmp(text, line + 1, len - 1) == 0 ? text + len - 1 : strstr(text, line);
        at = at && at != text + len - 1 ? at + len : at;
    }
    if (!at)
        return json_integer(0);
    if (str_starts(at, "max"))
        return json_integer(INT64_MAX);
    while (*at >= '0' && *at <= '9' && v < INT64_MAX / 10)
        v = 10 * v + (u64)(*at++ - '0');
    return json_integer((json_int_t)(v * scale));
}

static json_t *stats(const struct cgroup *g)
{
    json_t *cpu = json_pack("{s:o, s:o, s:o}", "total", number(g, "cpu.stat", "usage_usec", 1000),
                            "kernel", number(g, "cpu.stat", "system_usec", 1000), "user",
                            number(g, "cpu.stat", "user_usec", 1000));
    json_t *throttling =
        json_pack("{s:o, s:o, s:o}", "periods", number(g, "cpu.stat", "nr_periods", 1),
                  "throttledPeriods", number(g, "cpu.stat", "nr_throttled", 1), "throttledTime",
                  number(g, "cpu.stat", "throttled_usec", 1000));
    json_t *memory =
        json_pack("{s:o, s:o, s:o}", "usage", number(g, "memory.current", NULL, 1), "limit",
                  number(g, "memory.max", NULL, 1), "max", number(g, "memory.peak", NULL, 1));
    json_t *swap = json_pack("{s:o, s:o}", "usage", number(g, "memory.swap.current", NULL, 1),
                             "limit", number(g, "memory.swap.max", NULL, 1));

    return json_pack("{s:{s:o, s:o}, s:{s:o, s:o, s:o}, s:{s:o, s:o}}", "cpu", "usage", cpu,
                     "throttling", throttling, "memory", "usage", memory, "swap", swap, "cache",
                     number(g, "memory.stat", "file", 1), "pids", "current",
                     number(g, "pids.current", NULL, 1), "limit", number(g, "pids.max", NULL, 1));
}

int box_events_print(const struct box_global *global, const char *id, bool once, u32 interval,
                     struct err *e)
{
    struct box_state s;
    struct box_dir d;
    struct cgroup g;
    int r = open_one(&d, &s, &g, global, id, e);

    if (r == 0 && (box_status_of(&d, &s) == BOX_STOPPED || g.fd < 0))
        r = err_set(e, -ESRCH, "container with id %.60s is not running", id);
    while (r == 0) {
        AUTO(fd) int process = (int)syscall(SYS_pidfd_open, s.pid, 0);
        struct pollfd p = { .fd = process, .events = POLLIN };

        r = print_json(json_pack("{s:s, s:s, s:o}", "type", "stats", "id", id, "data", stats(&g)),
                       JSON_COMPACT, e);
        if (r < 0 || once || process < 0 || poll(&p, 1, (int)interval * 1000) > 0)
            break;
    }
    close_one(&d, &s, &g);
    return r;
}
