/*
 * cmd/yaml.c: what is plain and cannot be taken for something else is written plainly, all other texts between quotes as JSON has them.
 */
#include "cmd/yaml.h"

#include <ctype.h>
#include <stdlib.h>
#include <strings.h>

enum { DEPTH_MAX = 32 /* what is deeper is written as JSON, which YAML includes */ };

/* Words that a YAML 1.1 parser takes for truth values and nothing. */
static bool is_special(const char *s)
{
    static const char *const words[] = {
        "y", "n", "yes", "no", "true", "false", "on", "off", "null"
    };

    for_each_row(w, words)
        if (strcasecmp(s, *w) == 0)
            return true;
    return false;
}

/* A letter first, so it is no number, date or mark. */
static bool is_plain(const char *s)
{
    if (!isalpha((u8)*s) || is_special(s))
        return false;
    for (; *s; s++)
        if (!isalnum((u8)*s) && !strchr("-_./", *s))
            return false;
    return true;
}

/* Between quotes YAML takes JSON's escapes, but wants more to be escaped: DEL, and what Unicode has as controls and marks beyond. */
static void add_quoted(const char *s, struct strbuf *out)
{
    static const struct {
        const char *utf8, *escape;
    } rows[] = {
        { "\x7f", "\\x7f" },           { "\xe2\x80\xa8", "\\u2028" }, { "\xe2\x80\xa9", "\\u2029" },
        { "\xef\xbb\xbf", "\\ufeff" }, { "\xef\xbf\xbe", "\\ufffe" }, { "\xef\xbf\xbf", "\\uffff" },
    };
    json_t *j = json_string(s);
    AUTO(free) char *text = json_dumps(j, JSON_ENCODE_ANY);

    json_decref(j);
    must(text);
    for (const char *p = text; *p;) {
        const char *escape = NULL;
        size_t len = 1;

        for_each_row(row, rows)
            if (str_starts(p, row->utf8)) {
                escape = row->escape;
                len = strlen(row->utf8);
            }
        if ((u8)p[0] == 0xc2 && (u8)p[1] < 0xa0) { /* U+0080 to U+009F */
            strbuf_add(out, "\\x%02x", (u8)p[1]);
            len = 2;
        } else if (escape) {
            strbuf_add(out, "%s", escape);
        } else {
            strbuf_add_mem(out, p, 1);
        }
        p += len;
    }
}

static void add_text(const char *s, struct strbuf *out)
{
    if (is_plain(s))
        strbuf_add(out, "%s", s);
    else
        add_quoted(s, out);
}

static void add_flow(const json_t *j, struct strbuf *out)
{
    AUTO(free) char *text = json_dumps(j, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);

    must(text);
    strbuf_add(out, "%s", text);
}

static bool is_block(const json_t *j, u32 depth)
{
    return depth < DEPTH_MAX && (json_array_size(j) || json_object_size(j));
}

static void add_value(const json_t *j, u32 depth, struct strbuf *out);

static void add_line_start(u32 depth, bool first, struct strbuf *out)
{
    if (!first)
        strbuf_add(out, "%*s", (int)(2 * depth), "");
}

/* `first`: of what the line has already its "- ". */
static void add_block(const json_t *j, u32 depth, bool first, struct strbuf *out)
{
    json_t *all = (json_t *)(uintptr_t)j, *value;
    const char *name;
    size_t i;

    json_array_foreach(j, i, value)
    {
        add_line_start(depth, first, out);
        strbuf_add(out, "- ");
        if (is_block(value, depth + 1))
            add_block(value, depth + 1, true, out);
        else
            add_value(value, depth + 1, out);
        first = false;
    }
    json_object_foreach(all, name, value)
    {
        add_line_start(depth, first, out);
        add_text(name, out);
        strbuf_add(out, is_block(value, depth + 1) ? ":\n" : ": ");
        add_value(value, depth + 1, out);
        first = false;
    }
}

/* Calls of itself go down to DEPTH_MAX. */
static void add_value(const json_t *j, u32 depth, struct strbuf *out)
{
    if (is_block(j, depth)) {
        add_block(j, depth, false, out);
        return;
    }
    if (json_is_string(j))
        add_text(json_string_value(j), out);
    else
        add_flow(j, out);
    strbuf_add(out, "\n");
}

void yaml_add(const json_t *j, struct strbuf *out)
{
    add_value(j, 0, out);
}
