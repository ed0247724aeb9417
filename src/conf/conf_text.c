/*
 * conf/conf_text.c: the command line's form of a struct, "value,name=value,flag", and the help text of a table.
 * A comma inside a value is written ",,".  A value that is itself such a list (an element of a list in a list) was written with
 * its commas doubled and is read again by the same rules.
 */
#include "conf/conf_value.h"

#include <stdio.h>

static const struct {
    const char *word;
    bool value;
} bool_words[] = {
    { "on", true },     { "off", false }, { "true", true },
    { "false", false }, { "yes", true },  { "no", false },
};

static int set_bool(const struct field *f, void *obj, const char *value, struct err *e)
{
    for_each_row(w, bool_words) {
        if (strcmp(w->word, value) != 0)
            continue;
        conf_put(f, obj, w->value);
        return 0;
    }
    return err_set(e, -EINVAL, "'%s' is '%.40s'; on or off is expected", f->name, value);
}

static int add_to_list(const struct field *f, void *obj, const char *value, struct err *e)
{
    void *item = conf_list_add(f, obj);
    int r;

    if (!item)
        return err_set(e, -EINVAL, "more than %u of '%s'; at most so many are allowed", f->list_max,
                       f->name);
    conf_fini(f->sub, item); /* the parser sets its own defaults */
    r = conf_parse_options(f->sub, item, value, e);
    if (r < 0)
        conf_list_drop(f, obj);
    return r;
}

int conf_set(const struct field *f, void *obj, const char *value, struct err *e)
{
    switch (f->kind) {
    case FIELD_KIND_INT:
        return conf_put_int_text(f, obj, value, e);
    case FIELD_KIND_BOOL:
        return set_bool(f, obj, value, e);
    case FIELD_KIND_STR:
        return conf_put_str(f, obj, value, strlen(value), e);
    case FIELD_KIND_ENUM:
        return conf_put_word(f, obj, value, e);
    case FIELD_KIND_LIST:
        return add_to_list(f, obj, value, e);
    case FIELD_KIND_OBJ:
        conf_fini(f->sub, conf_member(f, obj));
        return conf_parse_options(f->sub, conf_member(f, obj), value, e);
    case FIELD_KIND_STRS:
    case FIELD_KIND_MAP:
        return conf_strs_set(f, obj, value, e);
    }
    return -EINVAL;
}

/* Moves one item out of *text, its doubled commas single.  False at the end. */
static bool next_item(const char **text, struct strbuf *item)
{
    const char *s = *text;

    if (!s)
        return false;
    strbuf_fini(item);
    strbuf_add_mem(item, "", 0);
    for (; *s; s++) {
        if (s[0] == ',' && s[1] != ',')
            break;
        s += s[0] == ',' ? 1 : 0;
        strbuf_add_mem(item, s, 1);
    }
    *text = *s ? s + 1 : NULL;
    return true;
}

/* The field that an item is about; *ret_value is its value, or NULL for a flag.  NULL: none. */
static const struct field *find_field(const struct field *fields, char *item, bool is_first,
                                      const char **ret_value)
{
    char *eq = strchr(item, '=');

    if (is_first && !eq) {
        for (const struct field *f = fields; f->name; f++) {
            *ret_value = item;
            if (f->first)
                return f;
        }
    }
    if (eq)
        *eq = 0;
    *ret_value = eq ? eq + 1 : NULL;
    for (const struct field *f = fields; f->name; f++)
        if (strcmp(f->name, item) == 0)
            return f;
    return NULL;
}

static int unknown_option(const struct field *fields, const char *name, struct err *e)
{
    AUTO(strbuf) struct strbuf all = {};

    for (const struct field *f = fields; f->name; f++)
        strbuf_add(&all, "%s%s", all.len ? ", " : "", f->name);
    if (!*name)
        return err_set(e, -EINVAL, "empty option (a comma inside a value is written twice)");
    return err_set(e, -EINVAL, "unknown option '%.40s'; allowed: %s", name, all.text);
}

static int parse_item(const struct field *fields, void *obj, char *item, u64 *seen, struct err *e)
{
    const char *value;
    const struct field *f = find_field(fields, item, *seen == 0, &value);
    u64 bit;

    if (!f)
        return unknown_option(fields, item, e);
    bit = 1ull << (f - fields);
    if ((*seen & bit) && !conf_repeats(f))
        return err_set(e, -EINVAL, "'%s' is given twice", f->name);
    *seen |= bit;
    if (!value && f->kind != FIELD_KIND_BOOL)
        return err_set(e, -EINVAL, "'%s' needs a value: %s=…", f->name, f->name);
    return conf_set(f, obj, value ? value : "on", e);
}

/* "VALUE=OTHER" in first place, where the first field has another beside it and VALUE is not the name of a field.  1: it was no such. */
static int parse_pair(const struct field *fields, void *obj, char *item, u64 *seen, struct err *e)
{
    const struct field *first = fields, *also = fields;
    char *eq = strchr(item, '=');
    int r;

    while (first->name && !first->also)
        first++;
    if (!first->name || !eq || *seen)
        return 1;
    for (const struct field *f = fields; f->name; f++)
        if (strlen(f->name) == (size_t)(eq - item) && memcmp(f->name, item, strlen(f->name)) == 0)
            return 1;
    while (strcmp(also->name, first->also) != 0)
        also++;
    *eq = 0;
    *seen |= 1ull << (first - fields) | 1ull << (also - fields);
    r = conf_set(first, obj, item, e);
    return r < 0 ? r : conf_set(also, obj, eq + 1, e);
}

static int parse_items(const struct field *fields, void *obj, const char *text, struct err *e)
{
    AUTO(strbuf) struct strbuf item = {};
    u64 seen = 0;
    int r;

    if (strlen(text) > CONF_STR_MAX)
        return err_set(e, -EINVAL, "options of %zu bytes; at most %d are allowed", strlen(text),
                       CONF_STR_MAX);
    text = *text ? text : NULL;
    while (next_item(&text, &item)) {
        r = parse_pair(fields, obj, item.text, &seen, e);
        if (r > 0)
            r = parse_item(fields, obj, item.text, &seen, e);
        if (r < 0)
            return r;
    }
    for (unsigned i = 0; fields[i].name; i++)
        if (fields[i].required && !(seen & 1ull << i))
            return err_set(e, -EINVAL, "'%s' is missing (%s)", fields[i].name, fields[i].doc);
    return 0;
}

int conf_parse_options(const struct field *fields, void *obj, const char *text, struct err *e)
{
    int r;

    must(conf_count(fields) <= CONF_FIELDS_MAX);
    conf_defaults(fields, obj);
    r = parse_items(fields, obj, text, e);
    if (r < 0)
        conf_fini(fields, obj);
    return r;
}

void conf_help_value(const struct field *f, struct strbuf *out)
{
    static const char *const metavars[] = {
        [FIELD_KIND_INT] = "N",         [FIELD_KIND_BOOL] = "on|off", [FIELD_KIND_STR] = "TEXT",
        [FIELD_KIND_LIST] = "LIST",     [FIELD_KIND_OBJ] = "LIST",    [FIELD_KIND_STRS] = "TEXT",
        [FIELD_KIND_MAP] = "KEY=VALUE",
    };

    if (f->metavar || f->kind != FIELD_KIND_ENUM) {
        strbuf_add(out, "%s", f->metavar ? f->metavar : f->bytes ? "SIZE" : metavars[f->kind]);
        return;
    }
    for (unsigned i = 0; f->words[i]; i++)
        strbuf_add(out, "%s%s", i ? "|" : "", f->words[i]);
}

/* "[file=]FILE", "queues=N", "readonly[=on|off]" */
static void add_usage(const struct field *f, struct strbuf *out)
{
    bool flag = f->kind == FIELD_KIND_BOOL;

    strbuf_add(out, "%s%s%s", f->first ? "[" : "", f->name, flag ? "[=" : f->first ? "=]" : "=");
    conf_help_value(f, out);
    strbuf_add(out, "%s", flag ? "]" : "");
}

void conf_help_doc(const struct field *f, struct strbuf *out)
{
    char low[24], high[24], dflt[24];

    strbuf_add(out, "%s", f->doc);
    conf_int_text(f, f->min, low);
    conf_int_text(f, conf_int_max(f), high);
    conf_int_text(f, f->dflt, dflt);
    if (f->kind == FIELD_KIND_INT && f->required)
        strbuf_add(out, " (%s to %s)", low, high);
    else if (f->kind == FIELD_KIND_INT && (f->max || f->min))
        strbuf_add(out, " (default %s, %s to %s)", dflt, low, high);
    else if (f->kind == FIELD_KIND_BOOL)
        strbuf_add(out, " (default %s)", f->dflt ? "on" : "off");
    else if (f->kind == FIELD_KIND_ENUM && !f->required)
        strbuf_add(out, " (default %s)", f->words[f->dflt]);
    else if (f->kind == FIELD_KIND_STR && f->sdflt && *f->sdflt)
        strbuf_add(out, " (default %s)", f->sdflt);
    else if (conf_repeats(f))
        strbuf_add(out, " (repeatable)");
}

void conf_help(const struct field *fields, const char *indent, struct strbuf *out)
{
    for (const struct field *f = fields; f->name; f++) {
        AUTO(strbuf) struct strbuf usage = {};

        add_usage(f, &usage);
        strbuf_add(out, "%s%-24s  ", indent, usage.text);
        conf_help_doc(f, out);
        strbuf_add(out, "\n");
    }
}
