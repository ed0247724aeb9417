/*
 * cmd/top.c: the lines of `socle top`, from what the API tells.
 */
#include "cmd/top.h"

#include <ctype.h>
#include <stdlib.h>

typedef void print_fn(u64 v, struct strbuf *out);

static void print_percent(u64 v, struct strbuf *out)
{
    strbuf_add(out, "%llu.%llu", v / 10, v % 10);
}

static void print_count(u64 v, struct strbuf *out)
{
    if (v < 100000)
        strbuf_add(out, "%llu", v);
    else if (v < 10000000)
        strbuf_add(out, "%lluk", v / 1000);
    else
        strbuf_add(out, "%lluM", v / 1000000);
}

/* Three digits that count. */
static void print_size(u64 v, struct strbuf *out)
{
    static const char units[] = "BKMGTPE";
    u32 unit = 0;
    u64 rest = 0;

    for (; v >= 1024 && unit + 2 < sizeof(units); unit++) {
        rest = v % 1024 * 10 / 1024;
        v /= 1024;
    }
    if (unit && v < 10)
        strbuf_add(out, "%llu.%llu%c", v, rest, units[unit]);
    else
        strbuf_add(out, "%llu%c", v, units[unit]);
}

static void print_us(u64 v, struct strbuf *out)
{
    if (v < 10000)
        strbuf_add(out, "%lluus", v);
    else if (v < 10000000)
        strbuf_add(out, "%llums", v / 1000);
    else
        strbuf_add(out, "%llus", v / 1000000);
}

/* clang-format off */
static const struct top_column {
    const char *title;
    int width;
    const char *of, *and; /* members; `and` is added */
    print_fn *print;
    char key; /* 0: nothing is sorted by it */
    const char *key_doc;
} columns[] = {
    { "CPU%",    7, "cpu",         NULL,          print_percent, 'c', "CPU" },
    { "STEAL%",  7, "steal",       NULL,          print_percent, 's', "steal" },
    { "MEMORY",  7, "memory",      NULL,          print_size,    'm', "memory" },
    { "BALLOON", 8, "balloon",     NULL,          print_size,    0,   NULL },
    { "READ/s",  7, "read_bytes",  NULL,          print_size,    0,   NULL },
    { "WRITE/s", 8, "write_bytes", NULL,          print_size,    0,   NULL },
    { "IO/s",    7, "reads",       "writes",      print_count,   'd', "disks" },
    { "READ",    7, "read_us",     NULL,          print_us,      0,   NULL },
    { "WRITE",   7, "write_us",    NULL,          print_us,      0,   NULL },
    { "IN/s",    7, "in_bytes",    NULL,          print_size,    0,   NULL },
    { "OUT/s",   7, "out_bytes",   NULL,          print_size,    0,   NULL },
    { "PKT/s",   7, "in_frames",   "out_frames",  print_count,   'w', "network" },
    { "EXIT/s",  7, "exits",       NULL,          print_count,   'e', "exits" },
};
/* clang-format on */

enum { NAME_WIDTH = 20 };

void top_keys(struct strbuf *out)
{
    strbuf_add(out, "n name");
    for_each_row(c, columns)
        if (c->key)
            strbuf_add(out, ", %c %s", c->key, c->key_doc);
}

static u64 number(const json_t *of, const char *name)
{
    const json_int_t v = json_integer_value(json_object_get(of, name));

    return v > 0 ? (u64)v : 0;
}

static u64 value_of(const struct top_column *c, const json_t *row)
{
    return number(row, c->of) + (c->and ? number(row, c->and) : 0);
}

static const char *text(const json_t *of, const char *name)
{
    const char *s = json_string_value(json_object_get(of, name));

    return s ? s : "";
}

static bool runs(const json_t *row)
{
    static const char *const alive[] = { "starting", "running", "paused", "stopping" };

    for_each_row(a, alive)
        if (strcmp(text(row, "state"), *a) == 0)
            return true;
    return false;
}

/* ---- order ---- */

static const struct top_column *sorted_by; /* of by_value, which qsort gives no argument */

static int by_value(const void *a, const void *b)
{
    const json_t *const *x = a, *const *y = b;
    const u64 v = sorted_by ? value_of(sorted_by, *x) : 0;
    const u64 w = sorted_by ? value_of(sorted_by, *y) : 0;

    return v != w ? (v > w ? -1 : 1) : strcmp(text(*x, "name"), text(*y, "name"));
}

bool top_sort(json_t *list, char key)
{
    const size_t n = json_array_size(list);
    AUTO(free) json_t **rows = xnew_n(json_t *, n + 1);

    sorted_by = NULL;
    for_each_row(c, columns)
        if (c->key && c->key == key)
            sorted_by = c;
    if (!sorted_by && key != 'n')
        return false;
    for (size_t i = 0; i < n; i++)
        rows[i] = json_incref(json_array_get(list, i));
    qsort(rows, n, sizeof(*rows), by_value);
    json_array_clear(list);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, rows[i]);
    return true;
}

/* ---- lines ---- */

static void add_pair(struct strbuf *out, const char *before, const json_t *of, const char *name,
                     print_fn *print)
{
    strbuf_add(out, "%s", before);
    if (json_object_get(of, name))
        print(number(of, name), out);
    else
        strbuf_add(out, "-");
}

static void host_lines(const json_t *host, size_t n, struct strbuf *out)
{
    if (!host) {
        strbuf_add(out, "%zu machines\n\n", n);
        return;
    }
    strbuf_add(out, "%llu of %zu machines run; %llu CPUs", number(host, "running"), n,
               number(host, "cpus"));
    add_pair(out, ": ", host, "cpu", print_percent);
    add_pair(out, "%, steal ", host, "steal", print_percent);
    add_pair(out, "%; memory ", host, "memory", print_size);
    add_pair(out, " of ", host, "ram", print_size);
    add_pair(out, "\ndisks: read ", host, "read_bytes", print_size);
    add_pair(out, "/s, written ", host, "write_bytes", print_size);
    add_pair(out, "/s; network: in ", host, "in_bytes", print_size);
    add_pair(out, "/s, out ", host, "out_bytes", print_size);
    strbuf_add(out, "/s\n");
}

/* A name is another's text: no byte of it moves the cursor. */
static void add_name(const char *name, struct strbuf *out)
{
    char shown[NAME_WIDTH + 1];
    size_t n = 0;

    for (; name[n] && n < NAME_WIDTH; n++)
        shown[n] = isgraph((u8)name[n]) ? name[n] : '?';
    shown[n] = 0;
    strbuf_add(out, "%-*s", NAME_WIDTH, shown);
}

static void machine_line(const json_t *row, struct strbuf *out)
{
    add_name(text(row, "name"), out);
    for_each_row(c, columns) {
        AUTO(strbuf) struct strbuf cell = {};

        if (json_object_get(row, c->of))
            c->print(value_of(c, row), &cell);
        strbuf_add(out, " %*s", c->width, cell.text ? cell.text : "-");
    }
    strbuf_add(out, "\n");
}

void top_lines(const json_t *host, const json_t *list, struct strbuf *out)
{
    const json_t *row;
    size_t i;

    host_lines(host, json_array_size(list), out);
    strbuf_add(out, "%-*s", NAME_WIDTH, "NAME");
    for_each_row(c, columns)
        strbuf_add(out, " %*s", c->width, c->title);
    strbuf_add(out, "\n");
    json_array_foreach(list, i, row) if (runs(row)) machine_line(row, out);
}
