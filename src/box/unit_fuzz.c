/*
 * box/unit_fuzz.c: any bytes as an annotation's value, as linux.cgroupsPath, and as the name of a scope that was saved: what is accepted is a
 * value of the type that it says, and names that lead nowhere else.
 */
#include "box/unit.h"

#include "testlib/fuzz.h"

#include <stdlib.h>

static void check_value(const json_t *pair)
{
    const char *type = json_string_value(json_array_get(pair, 0));
    const json_t *value = json_array_get(pair, 1);
    const json_t *item;
    size_t i;

    must(json_array_size(pair) == 2 && type);
    if (strcmp(type, "as") == 0) {
        must(json_is_array(value));
        json_array_foreach(value, i, item) must(json_is_string(item));
    } else if (*type == 's') {
        must(json_is_string(value));
    } else if (*type == 'b') {
        must(json_is_boolean(value));
    } else {
        must(type[0] && !type[1] && strchr("ynqiuxt", type[0]) && json_is_integer(value));
    }
}

static void check_note(const char *text)
{
    static const char *const names[] = { "A", "ASec" };

    for_each_row(name, names) {
        json_t *p = json_object(), *pair;
        struct err e = {};
        const char *key;

        if (unit_note(*name, text, p, &e) < 0)
            must(e.code < 0 && e.text[0] && json_object_size(p) == 0);
        else
            must(json_object_size(p) == 1);
        json_object_foreach(p, key, pair) check_value(pair);
        json_decref(p);
    }
}

FUZZ(unit)
{
    char *text = xnew_n(char, size + 1);
    struct err e = {};
    struct unit u = {};

    if (size)
        memcpy(text, data, size);
    text[size] = 0;
    check_note(text);
    if (unit_parse(&u, text, "c", false, &e) < 0) {
        must(e.code < 0 && e.text[0] && !u.name && !u.slice);
    } else {
        must(unit_name_ok(u.name) && !strchr(u.name, '/') && !strchr(u.slice, '/'));
        must(strlen(u.name) <= UNIT_NAME_MAX && strlen(u.slice) <= UNIT_NAME_MAX);
    }
    must(!unit_name_ok(text) || (!strchr(text, '/') && strlen(text) <= UNIT_NAME_MAX));
    unit_fini(&u);
    free(text);
}
