/*
 * cmd/profile.c: shows what `ctl SOCKET profile` found.
 */
#include "cmd/profile.h"

#include <fcntl.h>
#include <stdlib.h>

enum { MAP_SIZE_MAX = 64 * 1024 * 1024, LINES_SHOWN = 40 };

#define FUNCTION_SIZE_MAX \
    (1 * MiB) /* what is farther from its symbol is something else: a module, generated code */
#define PAGE_BYTES 4096ull

static int by_address(const void *a, const void *b)
{
    const struct symbol *x = a, *y = b;

    return x->at < y->at ? -1 : x->at > y->at;
}

/* "ffffffff81000000 T _stext\t[module]": the line is cut at its name's end.  False: no function. */
static bool parse_line(char *line, struct symbol *ret)
{
    char *type = strchr(line, ' '), *name = type ? strchr(type + 1, ' ') : NULL;
    char digits[24];

    if (!name || name != type + 2 || !strchr("tTwW", type[1]))
        return false;
    if (!str_fmt(digits, sizeof(digits), "0x%.*s", (int)min(type - line, (ptrdiff_t)20), line) ||
        str_u64(digits, &ret->at) < 0)
        return false;
    ret->name = name + 1;
    name[1 + strcspn(name + 1, " \t\r")] = 0;
    return true;
}

int symbols_parse(struct symbols *ret, const char *text, size_t len, struct err *e)
{
    struct symbols s = { .text = alloc_x(len + 1, 1) };
    size_t lines = 1;
    char *rest = s.text, *line;

    memcpy(s.text, text, len);
    for (size_t i = 0; i < len; i++)
        lines += text[i] == '\n';
    s.rows = xnew_n(struct symbol, lines);
    while ((line = strsep(&rest, "\n")))
        s.n += parse_line(line, &s.rows[s.n]);
    qsort(s.rows, s.n, sizeof(s.rows[0]), by_address);
    if (s.n && s.rows[s.n - 1].at) {
        *ret = s;
        return 0;
    }
    bool hidden = s.n > 0;
    symbols_fini(&s);
    return err_set(e, -EINVAL,
                   hidden ? "all its addresses are 0: only root may read them"
                          : "no line is 'address T name'");
}

int symbols_load(struct symbols *ret, const char *path, struct err *e)
{
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    AUTO(free) char *text = NULL;
    size_t len = 0;
    int r;

    if (fd < 0)
        return err_errno(e, "open '%s'", path);
    r = fd_read_whole(fd, MAP_SIZE_MAX, &text, &len);
    if (r == -EFBIG)
        return err_set(e, -EINVAL,
                       "'%s' has %zu bytes: 1 to %d are allowed (copy /proc/kallsyms first)", path,
                       len, MAP_SIZE_MAX);
    if (r < 0)
        return err_code(e, r, "read '%s'", path);
    r = symbols_parse(ret, text, len, e);
    return r < 0 ? err_wrap(e, "'%s'", path) : 0;
}

void symbols_fini(struct symbols *s)
{
    free(s->text);
    free(s->rows);
    *s = (struct symbols){};
}

const struct symbol *symbols_find(const struct symbols *s, u64 at)
{
    size_t low = 0, high = s->n; /* the first beyond `at` is in [low, high] */

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (s->rows[middle].at <= at)
            low = middle + 1;
        else
            high = middle;
    }
    if (!low || at - s->rows[low - 1].at > FUNCTION_SIZE_MAX)
        return NULL;
    return &s->rows[low - 1];
}

struct line {
    u64 key; /* a function's address, or a page's */
    u64 count;
};

static int by_key(const void *a, const void *b)
{
    const struct line *x = a, *y = b;

    return x->key < y->key ? -1 : x->key > y->key;
}

static int by_count(const void *a, const void *b)
{
    const struct line *x = a, *y = b;

    return x->count != y->count ? (x->count < y->count ? 1 : -1) : by_key(a, b);
}

/* One line for each function or page of `hits`, the most frequent first.  Owned; *ret_n of them. */
static struct line *make_lines(const json_t *hits, const struct symbols *s, size_t *ret_n)
{
    struct line *lines = xnew_n(struct line, json_array_size(hits) + 1);
    size_t i, n = 0, kept = 0;
    const json_t *hit;

    json_array_foreach(hits, i, hit)
    {
        const char *text = json_string_value(json_array_get(hit, 0));
        const struct symbol *sym;
        u64 at;

        if (!text || str_u64(text, &at) < 0)
            continue;
        sym = symbols_find(s, at);
        lines[n++] = (struct line){ sym ? sym->at : align_down(at, PAGE_BYTES),
                                    (u64)json_integer_value(json_array_get(hit, 1)) };
    }
    qsort(lines, n, sizeof(lines[0]), by_key);
    for (i = 0; i < n; i++) {
        if (kept && lines[kept - 1].key == lines[i].key)
            lines[kept - 1].count += lines[i].count;
        else
            lines[kept++] = lines[i];
    }
    qsort(lines, kept, sizeof(lines[0]), by_count);
    *ret_n = kept;
    return lines;
}

static u64 number_of(const json_t *result, const char *name)
{
    return (u64)json_integer_value(json_object_get(result, name));
}

static void add_line(u64 count, u64 all, const char *label, struct strbuf *out)
{
    u64 permille = count * 1000 / max(all, 1ull);

    strbuf_add(out, "%5llu.%llu %% %8llu  %s\n", permille / 10, permille % 10, count, label);
}

void profile_print(const json_t *result, const struct symbols *s, struct strbuf *out)
{
    u64 all = number_of(result, "samples"), others = number_of(result, "rest");
    AUTO(free) struct line *lines = NULL;
    size_t n;

    lines = make_lines(json_object_get(result, "hits"), s, &n);
    strbuf_add(out, "%llu samples in %llu seconds; %llu times a CPU was idle\n", all,
               number_of(result, "seconds"), number_of(result, "idle"));
    for (size_t i = 0; i < n; i++) {
        const struct symbol *sym = symbols_find(s, lines[i].key);
        char page[40];

        if (i >= LINES_SHOWN) {
            others += lines[i].count;
            continue;
        }
        str_fmt(page, sizeof(page), "0x%llx (page)", lines[i].key);
        add_line(lines[i].count, all, sym && sym->at == lines[i].key ? sym->name : page, out);
    }
    if (others)
        add_line(others, all, "all others", out);
}
