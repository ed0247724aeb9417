/*
 * box/unit_note.c: properties that annotations set, `org.systemd.property.NAME`.  Their values are written as GVariant's text form:
 *     true   15   uint64 90000000   'done'   "it's"   ['a.service', 'b.service']   @as []
 * A number without a type is an int32.  NAMESec, in seconds, is what D-Bus has as NAMEUSec.
 */
#include "box/unit.h"

#include <stdlib.h>

enum { TEXT_MAX = 4096, LIST_MAX = 256 };

/* clang-format off */
static const struct number { const char *word, *type; s64 min; u64 max; } numbers[] = {
    { "byte ",   "y", 0,         UINT8_MAX },
    { "int16 ",  "n", INT16_MIN, INT16_MAX },
    { "uint16 ", "q", 0,         UINT16_MAX },
    { "int32 ",  "i", INT32_MIN, INT32_MAX },
    { "uint32 ", "u", 0,         UINT32_MAX },
    { "int64 ",  "x", INT64_MIN, INT64_MAX },
    { "uint64 ", "t", 0,         UINT64_MAX },
    { "",        "i", INT32_MIN, INT32_MAX }, /* matches all: last */
};
/* clang-format on */

static void skip(const char **at)
{
    *at += strspn(*at, " ");
}

/* Ours are given by the specification's own fields. */
static bool is_ours(const char *name)
{
    static const char *const ours[] = { "PIDs", "Slice", "Delegate" };

    for_each_row(o, ours)
        if (strcmp(name, *o) == 0)
            return true;
    return false;
}

static bool name_ok(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

    return name[0] >= 'A' && name[0] <= 'Z' && strspn(name, letters) == strlen(name) &&
           strlen(name) < 64;
}

/* 'text' or "text", in which a backslash takes the next character as it is. */
static json_t *take_text(const char **at)
{
    const char quote = **at, *from = *at + 1;
    char text[TEXT_MAX];
    size_t len = 0;

    if (quote != '\'' && quote != '"')
        return NULL;
    for (; *from && *from != quote; from++) {
        from += *from == '\\' && from[1];
        text[len++] = *from; /* the whole value is shorter than that */
    }
    if (*from != quote)
        return NULL;
    *at = from + 1;
    return json_stringn(text, len); /* NULL where it is no UTF-8 */
}

static json_t *take_list(const char **at)
{
    json_t *list = json_array();
    bool good = true;

    ++*at;
    skip(at);
    while (good && **at != ']') {
        good = json_array_append_new(list, take_text(at)) == 0;
        skip(at);
        if (good && **at == ',') {
            ++*at;
            skip(at);
        } else {
            good = good && **at == ']';
        }
    }
    if (!good) {
        json_decref(list);
        return NULL;
    }
    ++*at;
    return list;
}

/* The whole rest; above 2^63 as the negative number that has the same bits. */
static json_t *take_number(const char **at, const struct number *n)
{
    const bool negative = **at == '-';
    u64 v;

    if (str_u64(*at + negative, &v) < 0 || v > (negative ? -(u64)n->min : n->max))
        return NULL;
    *at += strlen(*at);
    return json_integer((json_int_t)(negative ? -v : v));
}

/* ["TYPE", VALUE]; NULL where it is nothing of that. */
static json_t *take_value(const char **at)
{
    const struct number *n = numbers;

    if (str_starts(*at, "@as "))
        *at += 4;
    if (**at == '[')
        return json_pack("[s, o*]", "as", take_list(at));
    if (**at == '\'' || **at == '"')
        return json_pack("[s, o*]", "s", take_text(at));
    if (str_starts(*at, "true") || str_starts(*at, "false")) {
        const bool on = **at == 't';

        *at += on ? 4 : 5;
        return json_pack("[s, b]", "b", on);
    }
    while (!str_starts(*at, n->word))
        n++;
    *at += strlen(n->word);
    return json_pack("[s, o*]", n->type, take_number(at, n));
}

/* NAMESec, a number of seconds, becomes NAMEUSec. */
static json_t *in_microseconds(json_t *value)
{
    const json_t *seconds = json_array_get(value, 1);
    const json_int_t s = json_integer_value(seconds);
    const bool good = json_is_integer(seconds) && s >= 0 && s <= INT64_MAX / 1000000;

    json_decref(value);
    return good ? json_pack("[s, I]", "t", s * 1000000) : NULL;
}

int unit_note(const char *name, const char *text, json_t *properties, struct err *e)
{
    const size_t len = strlen(name);
    const bool seconds =
        len > 3 && strcmp(name + len - 3, "Sec") == 0 && (len < 4 || name[len - 4] != 'U');
    AUTO(free) char *full = seconds ? str_new("%.*sUSec", (int)len - 3, name) : xdup(name);
    const char *at = text;
    json_t *value;

    if (!name_ok(name) || is_ours(name))
        return err_set(e, -EINVAL, "annotation '" UNIT_NOTES "%.60s': %s", name,
                       is_ours(name) ? "linux.cgroupsPath and the runtime say that"
                                     : "this is no property's name");
    skip(&at);
    value = strlen(text) < TEXT_MAX ? take_value(&at) : NULL;
    skip(&at);
    if (value && json_array_size(value) == 2 && seconds)
        value = in_microseconds(value);
    if (!value || json_array_size(value) != 2 || *at) {
        json_decref(value);
        return err_set(e, -EINVAL,
                       "annotation '" UNIT_NOTES "%.60s' is '%.60s'; allowed are: true, "
                       "false, 'TEXT', ['TEXT', …], [TYPE] NUMBER",
                       name, text);
    }
    json_object_set_new(properties, full, value);
    return 0;
}
