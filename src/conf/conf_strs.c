/*
 * conf/conf_strs.c: fields that are several texts: lists of them, and objects whose members are texts.
 */
#include "conf/conf_value.h"

#include <stdlib.h>

static u32 words_each(const struct field *f)
{
    return f->kind == FIELD_KIND_MAP ? 2 : 1;
}

void conf_strs_fini(const struct field *f, struct field_strs *strs)
{
    for (u32 i = 0; i < strs->n * words_each(f); i++)
        free(strs->items[i]);
    free(strs->items);
    *strs = (struct field_strs){};
}

/* Room for `n` in all; -EINVAL where the row allows fewer. */
static int make_room(const struct field *f, void *obj, size_t n, struct err *e)
{
    struct field_strs *strs = conf_member(f, obj);

    if (n > f->list_max)
        return err_set(e, -EINVAL, "'%s' has %zu elements; at most %u are allowed", f->name, n,
                       f->list_max);
    conf_strs_fini(f, strs);
    strs->items = n ? xnew_n(char *, n *words_each(f)) : NULL;
    return 0;
}

/* jansson checked that it is UTF-8 and has no zero byte. */
static int copy_text(const struct field *f, const json_t *j, char **ret, struct err *e)
{
    if (!json_is_string(j))
        return err_set(e, -EINVAL, "'%s' holds %s; text is expected", f->name, conf_type_word(j));
    if (json_string_length(j) > CONF_STR_MAX)
        return err_set(e, -EINVAL, "'%s' holds a text of %zu bytes; at most %d are allowed",
                       f->name, json_string_length(j), CONF_STR_MAX);
    *ret = xdup(json_string_value(j));
    return 0;
}

int conf_strs_parse(const struct field *f, void *obj, const json_t *j, struct err *e)
{
    struct field_strs *strs = conf_member(f, obj);
    int r;

    if (!json_is_array(j))
        return err_set(e, -EINVAL, "'%s' is %s; a list is expected", f->name, conf_type_word(j));
    r = make_room(f, obj, json_array_size(j), e);
    for (size_t i = 0; i < json_array_size(j) && r == 0; i++) {
        r = copy_text(f, json_array_get(j, i), &strs->items[i], e);
        strs->n += r == 0;
    }
    return r;
}

int conf_map_parse(const struct field *f, void *obj, const json_t *j, struct err *e)
{
    struct field_strs *strs = conf_member(f, obj);
    json_t *map = (json_t *)(uintptr_t)j; /* the iterator does not write, but is not declared so */
    int r;

    if (!json_is_object(j))
        return err_set(e, -EINVAL, "'%s' is %s; an object is expected", f->name, conf_type_word(j));
    r = make_room(f, obj, json_object_size(j), e);
    for (void *it = json_object_iter(map); it && r == 0; it = json_object_iter_next(map, it)) {
        char **at = strs->items + 2 * (size_t)strs->n;

        r = copy_text(f, json_object_iter_value(it), &at[1], e);
        if (r < 0)
            break;
        at[0] = xdup(json_object_iter_key(it));
        strs->n++;
    }
    return r;
}

void conf_strs_copy(const struct field *f, struct field_strs *to, const struct field_strs *from)
{
    const u32 n = from->n * words_each(f);

    *to = (struct field_strs){ .items = n ? xnew_n(char *, n) : NULL, .n = from->n };
    for (u32 i = 0; i < n; i++)
        to->items[i] = xdup(from->items[i]);
}

json_t *conf_strs_print(const struct field *f, const struct field_strs *strs)
{
    json_t *out = f->kind == FIELD_KIND_MAP ? json_object() : json_array();

    for (u32 i = 0; i < strs->n; i++) {
        if (f->kind == FIELD_KIND_MAP)
            json_object_set_new(out, strs->items[2 * i], json_string(strs->items[2 * i + 1]));
        else
            json_array_append_new(out, json_string(strs->items[i]));
    }
    return out;
}

bool conf_strs_add(const struct field *f, void *obj, const char *value)
{
    struct field_strs *strs = conf_member(f, obj);
    char **more;

    must(f->kind == FIELD_KIND_STRS);
    if (strs->n >= f->list_max)
        return false;
    more = xnew_n(char *, (size_t)strs->n + 1);
    if (strs->n)
        memcpy(more, strs->items, strs->n * sizeof(*more));
    free(strs->items);
    strs->items = more;
    strs->items[strs->n++] = xdup(value);
    return true;
}

int conf_strs_set(const struct field *f, void *obj, const char *value, struct err *e)
{
    json_t *utf8;

    if (f->kind == FIELD_KIND_MAP)
        return err_set(e, -EINVAL, "'%s' cannot be written on a command line", f->name);
    utf8 = strlen(value) <= CONF_STR_MAX ? json_string(value) : NULL;
    json_decref(utf8);
    if (!utf8)
        return err_set(e, -EINVAL, "'%s' holds what is not UTF-8 text of at most %d bytes", f->name,
                       CONF_STR_MAX);
    if (!conf_strs_add(f, obj, value))
        return err_set(e, -EINVAL, "more than %u of '%s'; at most so many are allowed", f->list_max,
                       f->name);
    return 0;
}
