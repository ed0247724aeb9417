/*
 * conf/conf_print.c: structs of a field table as JSON, whole or without what is secret, and copied.
 */
#include "conf/conf_value.h"

static json_t *print_fields(const struct field *fields, const void *obj, bool secrets);

static json_t *print_list(const struct field *f, const struct field_list *list, bool secrets)
{
    json_t *array = json_array();

    for (u32 i = 0; i < list->n; i++)
        json_array_append_new(
            array, print_fields(f->sub, (u8 *)list->items + (size_t)i * f->sub_size, secrets));
    return array;
}

static json_t *print_int(const struct field *f, u64 v)
{
    char text[24];

    if (!conf_in_range(f, v))
        return NULL;
    if (v <= INT64_MAX || f->is_signed)
        return json_integer((json_int_t)v);
    conf_int_text(f, v, text); /* more than a JSON number of ours holds */
    return json_string(text);
}

static json_t *print_field(const struct field *f, const void *obj, bool secrets)
{
    const void *at = (const u8 *)obj + f->at;
    const char *text;

    switch (f->kind) {
    case FIELD_KIND_INT:
        return print_int(f, conf_get(f, obj));
    case FIELD_KIND_BOOL:
        return json_boolean(conf_get(f, obj));
    case FIELD_KIND_STR:
        text = *(const char *const *)at;
        return text ? json_string(text) : NULL;
    case FIELD_KIND_ENUM:
        return json_string(f->words[conf_get(f, obj)]);
    case FIELD_KIND_LIST:
        return print_list(f, at, secrets);
    case FIELD_KIND_OBJ:
        return print_fields(f->sub, at, secrets);
    case FIELD_KIND_STRS:
    case FIELD_KIND_MAP:
        return conf_strs_print(f, at);
    }
    return NULL;
}

static json_t *print_fields(const struct field *fields, const void *obj, bool secrets)
{
    json_t *json = json_object();

    for (const struct field *f = fields; f->name; f++) {
        json_t *value = f->secret && !secrets ? NULL : print_field(f, obj, secrets);

        if (value)
            json_object_set_new(json, f->name, value);
    }
    return json;
}

json_t *conf_print(const struct field *fields, const void *obj)
{
    return print_fields(fields, obj, true);
}

json_t *conf_show(const struct field *fields, const void *obj)
{
    return print_fields(fields, obj, false);
}

static void copy_list(const struct field *f, void *to, const struct field_list *from)
{
    for (u32 i = 0; i < from->n; i++) {
        void *item = conf_list_add(f, to);

        must(item);
        conf_fini(f->sub, item);
        conf_copy(f->sub, item, (const u8 *)from->items + (size_t)i * f->sub_size);
    }
}

static void copy_field(const struct field *f, void *to, const void *from)
{
    const void *at = (const u8 *)from + f->at;
    void *into = conf_member(f, to);
    const char *text;

    switch (f->kind) {
    case FIELD_KIND_INT:
    case FIELD_KIND_BOOL:
    case FIELD_KIND_ENUM:
        conf_put(f, to, conf_get(f, from));
        break;
    case FIELD_KIND_STR:
        text = *(const char *const *)at;
        *(char **)into = text ? xdup(text) : NULL;
        break;
    case FIELD_KIND_LIST:
        *(struct field_list *)into = (struct field_list){};
        copy_list(f, to, at);
        break;
    case FIELD_KIND_OBJ:
        conf_copy(f->sub, into, at);
        break;
    case FIELD_KIND_STRS:
    case FIELD_KIND_MAP:
        conf_strs_copy(f, into, at);
        break;
    }
}

void conf_copy(const struct field *fields, void *to, const void *from)
{
    for (const struct field *f = fields; f->name; f++)
        copy_field(f, to, from);
}
