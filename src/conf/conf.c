/*
 * conf/conf.c: structs of a field table: defaults, release, and from JSON.
 * Calls of itself go down the tables that the program declares, so their depth is ours, whatever the input holds.
 *   (1) A member is changed only by a value that passed all checks of its row.
 *   (2) After any failure the fields own nothing and are zero.
 */
#include "conf/conf_value.h"

#include <stdlib.h>

static void field_default(const struct field *f, void *obj)
{
    void *at = conf_member(f, obj);

    switch (f->kind) {
    case FIELD_KIND_INT:
    case FIELD_KIND_BOOL:
    case FIELD_KIND_ENUM:
        conf_put(f, obj, f->dflt);
        break;
    case FIELD_KIND_STR:
        *(char **)at = f->sdflt ? xdup(f->sdflt) : NULL;
        break;
    case FIELD_KIND_LIST:
        *(struct field_list *)at = (struct field_list){};
        break;
    case FIELD_KIND_OBJ:
        conf_defaults(f->sub, at);
        break;
    case FIELD_KIND_STRS:
    case FIELD_KIND_MAP:
        *(struct field_strs *)at = (struct field_strs){};
        break;
    }
}

void conf_defaults(const struct field *fields, void *obj)
{
    for (const struct field *f = fields; f->name; f++)
        field_default(f, obj);
}

static void *list_at(const struct field *f, const struct field_list *list, u32 i)
{
    return (u8 *)list->items + (size_t)i * f->sub_size;
}

static void list_fini(const struct field *f, struct field_list *list)
{
    for (u32 i = 0; i < list->n; i++)
        conf_fini(f->sub, list_at(f, list, i));
    free(list->items);
    *list = (struct field_list){};
}

static void field_fini(const struct field *f, void *obj)
{
    void *at = conf_member(f, obj);

    switch (f->kind) {
    case FIELD_KIND_INT:
    case FIELD_KIND_BOOL:
    case FIELD_KIND_ENUM:
        conf_put(f, obj, 0);
        break;
    case FIELD_KIND_STR:
        free(*(char **)at);
        *(char **)at = NULL;
        break;
    case FIELD_KIND_LIST:
        list_fini(f, at);
        break;
    case FIELD_KIND_OBJ:
        conf_fini(f->sub, at);
        break;
    case FIELD_KIND_STRS:
    case FIELD_KIND_MAP:
        conf_strs_fini(f, at);
        break;
    }
}

void conf_fini(const struct field *fields, void *obj)
{
    for (const struct field *f = fields; f->name; f++)
        field_fini(f, obj);
}

void *conf_list_add(const struct field *f, void *obj)
{
    struct field_list *list = conf_member(f, obj);
    void *item;

    must(f->kind == FIELD_KIND_LIST);
    if (list->n >= f->list_max)
        return NULL;
    if (list->n == 0 || is_pow2(list->n)) { /* full: there is room for the next power of two */
        void *more = alloc_x(list->n ? 2 * (size_t)list->n : 1, f->sub_size);

        if (list->n)
            memcpy(more, list->items, (size_t)list->n * f->sub_size);
        free(list->items);
        list->items = more;
    }
    item = list_at(f, list, list->n++);
    memset(item, 0, f->sub_size);
    conf_defaults(f->sub, item);
    return item;
}

const struct field *conf_field_at(const struct field *fields, size_t at)
{
    while (fields->at != at)
        fields++;
    return fields;
}

void conf_list_drop(const struct field *f, void *obj)
{
    struct field_list *list = conf_member(f, obj);

    must(list->n > 0);
    list->n--;
    if (list->n == 0)
        list_fini(f, list);
}

void conf_list_remove(const struct field *f, void *obj, u32 i)
{
    struct field_list *list = conf_member(f, obj);
    u8 *items = list->items, *gone = items + (size_t)i * f->sub_size;

    must(f->kind == FIELD_KIND_LIST && i < list->n);
    conf_fini(f->sub, gone);
    memmove(gone, items + (size_t)(list->n - 1) * f->sub_size, f->sub_size);
    conf_list_drop(f, obj);
}

const char *conf_type_word(const json_t *j)
{
    static const char *const words[] = {
        [JSON_OBJECT] = "an object", [JSON_ARRAY] = "a list",    [JSON_STRING] = "text",
        [JSON_INTEGER] = "a number", [JSON_REAL] = "a fraction", [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",      [JSON_NULL] = "null",
    };

    return words[json_typeof(j)];
}

static int wrong_type(const struct field *f, const json_t *j, const char *want, struct err *e)
{
    return err_set(e, -EINVAL, "'%s' is %s; %s is expected", f->name, conf_type_word(j), want);
}

static int parse_int(const struct field *f, void *obj, const json_t *j, struct err *e)
{
    bool text_ok = f->bytes || f->size == sizeof(u64); /* JSON numbers end at 2^63 */
    char found[24];

    if (json_is_string(j) && text_ok)
        return conf_put_int_text(f, obj, json_string_value(j), e);
    if (!json_is_integer(j))
        return wrong_type(f, j, "a whole number", e);
    if (f->is_signed)
        return conf_put_int(f, obj, (u64)json_integer_value(j), e);
    if (json_integer_value(j) >= 0)
        return conf_put_int(f, obj, (u64)json_integer_value(j), e);
    str_fmt(found, sizeof(found), "%lld", (long long)json_integer_value(j));
    return conf_put_int_text(f, obj, found, e);
}

static int parse_list(const struct field *f, void *obj, const json_t *j, struct err *e)
{
    if (!json_is_array(j))
        return wrong_type(f, j, "a list", e);
    for (size_t i = 0; i < json_array_size(j); i++) {
        void *item = conf_list_add(f, obj);
        int r;

        if (!item)
            return err_set(e, -EINVAL, "'%s' has %zu elements; at most %u are allowed", f->name,
                           json_array_size(j), f->list_max);
        conf_fini(f->sub, item); /* the parser sets its own defaults */
        r = conf_parse(f->sub, item, json_array_get(j, i), e);
        if (r < 0) {
            err_wrap(e, "%s %zu", f->name, i);
            return r;
        }
    }
    return 0;
}

static int parse_obj(const struct field *f, void *obj, const json_t *j, struct err *e)
{
    int r;

    conf_fini(f->sub, conf_member(f, obj));
    r = conf_parse(f->sub, conf_member(f, obj), j, e);
    if (r < 0)
        err_wrap(e, "%s", f->name);
    return r;
}

static int parse_field(const struct field *f, void *obj, const json_t *j, struct err *e)
{
    switch (f->kind) {
    case FIELD_KIND_INT:
        return parse_int(f, obj, j, e);
    case FIELD_KIND_BOOL:
        if (!json_is_boolean(j))
            return wrong_type(f, j, "true or false", e);
        conf_put(f, obj, json_is_true(j));
        return 0;
    case FIELD_KIND_STR:
        if (!json_is_string(j))
            return wrong_type(f, j, "text", e);
        return conf_put_str(f, obj, json_string_value(j), json_string_length(j), e);
    case FIELD_KIND_ENUM:
        if (!json_is_string(j))
            return wrong_type(f, j, "text", e);
        return conf_put_word(f, obj, json_string_value(j), e);
    case FIELD_KIND_LIST:
        return parse_list(f, obj, j, e);
    case FIELD_KIND_OBJ:
        return parse_obj(f, obj, j, e);
    case FIELD_KIND_STRS:
        return conf_strs_parse(f, obj, j, e);
    case FIELD_KIND_MAP:
        return conf_map_parse(f, obj, j, e);
    }
    return -EINVAL;
}

/* The object has a member without a row: names it. */
static int unknown_member(const struct field *fields, const json_t *json, struct err *e)
{
    json_t *j = (json_t *)(uintptr_t)json; /* the iterator does not write, but is not declared so */

    for (void *it = json_object_iter(j); it; it = json_object_iter_next(j, it)) {
        const struct field *f = fields;

        while (f->name && strcmp(f->name, json_object_iter_key(it)) != 0)
            f++;
        if (!f->name) {
            err_set(e, -EINVAL, "unknown field '%.60s'", json_object_iter_key(it));
            return err_field(e, json_object_iter_key(it));
        }
    }
    return err_set(e, -EINVAL, "a field with a name that cannot be");
}

static int parse_members(const struct field *fields, void *obj, const json_t *json, struct err *e)
{
    size_t seen = 0;

    if (!json_is_object(json))
        return err_set(e, -EINVAL, "found %s; an object is expected", conf_type_word(json));
    for (const struct field *f = fields; f->name; f++) {
        const json_t *j = json_object_get(json, f->name);
        int r = 0;

        if (!j && f->required)
            r = err_set(e, -EINVAL, "'%s' is missing (%s)", f->name, f->doc);
        if (j)
            r = parse_field(f, obj, j, e);
        if (r < 0)
            return err_field(e, f->name); /* the outermost stays */
        seen += j ? 1 : 0;
    }
    return seen == json_object_size(json) ? 0 : unknown_member(fields, json, e);
}

int conf_parse(const struct field *fields, void *obj, const json_t *json, struct err *e)
{
    int r;

    conf_defaults(fields, obj);
    r = parse_members(fields, obj, json, e);
    if (r < 0)
        conf_fini(fields, obj);
    return r;
}

/* jansson calls itself for each level of nesting, so the text is measured before it sees it. */
static bool depth_ok(const char *text, size_t len)
{
    unsigned depth = 0;
    bool in_string = false;

    for (size_t i = 0; i < len; i++) {
        char c = text[i];

        if (in_string) {
            i += c == '\\' ? 1 : 0;
            in_string = c != '"';
        } else if (c == '"') {
            in_string = true;
        } else if ((c == '{' || c == '[') && ++depth > CONF_DEPTH_MAX) {
            return false;
        } else if (c == '}' || c == ']') {
            depth -= depth ? 1 : 0;
        }
    }
    return true;
}

int conf_load(const char *text, size_t len, json_t **ret, struct err *e)
{
    json_error_t je;
    json_t *json;

    if (!depth_ok(text, len))
        return err_set(e, -EINVAL, "JSON nested deeper than %d levels", CONF_DEPTH_MAX);
    json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &je);
    if (!json)
        return err_set(e, -EINVAL, "not JSON: %s at line %d column %d", je.text, je.line,
                       je.column);
    *ret = json;
    return 0;
}

int conf_parse_text(const struct field *fields, void *obj, const char *text, size_t len,
                    struct err *e)
{
    json_t *json;
    int r;

    conf_defaults(fields, obj);
    conf_fini(fields, obj);
    r = conf_load(text, len, &json, e);
    if (r < 0)
        return r;
    r = conf_parse(fields, obj, json, e);
    json_decref(json);
    return r;
}
