/*
 * conf/conf_fuzz.c: any bytes as options (first byte 'o') or JSON text (else): what parses prints to JSON that parses to the same.
 */
#include "conf/conf.h"

#include "testlib/fuzz.h"

#include <stdlib.h>

struct z_rule {
    char *rule;
    u8 small;
};
struct z_main {
    u64 big;
    u64 bytes;
    u16 ranged;
    bool flag;
    int word;
    char *text;
    char *odd;
    struct z_rule one;
    struct field_list list;
    struct field_strs words, notes;
    s32 level;
};

static bool odd_ok(const char *s)
{
    return strlen(s) % 2 == 1;
}

static const char *const words[] = { "none", "some", "all", NULL };
static const struct field rule_fields[] = {
    FIELD_STR(z_rule, rule, "rule", .first = true),
    FIELD_INT(z_rule, small, "small"),
    {},
};
static const struct field main_fields[] = {
    FIELD_INT(z_main, big, "big"),
    FIELD_BYTES(z_main, bytes, "bytes", .dflt = 4096, .min = 16, .max = TiB),
    FIELD_INT(z_main, ranged, "ranged", .dflt = 3, .min = 2, .max = 999),
    FIELD_BOOL(z_main, flag, "flag", .dflt = 1),
    FIELD_ENUM(z_main, word, words, "word", .dflt = 2),
    FIELD_STR(z_main, text, "text", .first = true),
    FIELD_STR(z_main, odd, "odd", .sdflt = "odd", .ok = odd_ok),
    FIELD_OBJ(z_main, one, rule_fields, "one"),
    FIELD_LIST(z_main, list, rule_fields, z_rule, 5, "list"),
    FIELD_STRS(z_main, words, 4, "words"),
    FIELD_MAP(z_main, notes, 4, "notes"),
    FIELD_SINT(z_main, level, "level", .min = (u64)-9, .max = 9),
    {},
};

static int parse(struct z_main *m, const u8 *data, size_t size, struct err *e)
{
    char *text;
    int r;

    if (size == 0 || data[0] != 'o')
        return conf_parse_text(main_fields, m, (const char *)data, size, e);
    text = xdup_mem(data, size);
    text[size - 1] = 0; /* the command line's strings end so */
    r = conf_parse_options(main_fields, m, text + 1, e);
    free(text);
    return r;
}

FUZZ(conf)
{
    static const struct z_main zero;
    struct z_main m, again;
    struct err e = {};
    json_t *first, *second;
    char *text;

    if (size == 1 && data[0] == 'o')
        return;
    if (parse(&m, data, size, &e) < 0) {
        must(e.code < 0 && e.text[0]);
        must(m.text == zero.text && m.odd == zero.odd && !m.list.items && !m.one.rule);
        return;
    }
    must(m.ranged >= 2 && m.ranged <= 999 && m.bytes >= 16 && m.bytes <= TiB && m.list.n <= 5);
    must(m.words.n <= 4 && m.notes.n <= 4 && m.level >= -9 && m.level <= 9);
    must(m.odd && odd_ok(m.odd));
    first = conf_print(main_fields, &m);
    text = json_dumps(first, JSON_COMPACT);
    must(text);
    must(conf_parse_text(main_fields, &again, text, strlen(text), &e) == 0);
    second = conf_print(main_fields, &again);
    must(json_equal(first, second));
    free(text);
    json_decref(first);
    json_decref(second);
    conf_fini(main_fields, &m);
    conf_fini(main_fields, &again);
}
