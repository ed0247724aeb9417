/*
 * conf/conf_test.c: each kind of field in each form, limits, and messages that say what was found and what is allowed.
 */
#include "conf/conf.h"

#include "testlib/test.h"

#include <stdlib.h>

struct t_rule {
    char *rule;
};
struct t_disk {
    char *file;
    bool readonly;
    u16 queues;
    int cache;
    struct field_list forward;
};
struct t_console {
    char *backend;
    u8 level;
};
struct t_vm {
    u64 memory, seed;
    u32 cpus;
    char *name;
    struct field_list disks;
    struct t_console console;
};

static bool name_ok(const char *s)
{
    return *s && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(s);
}

static const char *const caches[] = { "none", "writeback", "unsafe", NULL };
static const struct field rule_fields[] = {
    FIELD_STR(t_rule, rule, "a rule", .required = true, .first = true),
    {},
};
static const struct field disk_fields[] = {
    FIELD_STR(t_disk, file, "image or block device", .required = true, .first = true,
              .metavar = "FILE"),
    FIELD_BOOL(t_disk, readonly, "refuse writes"),
    FIELD_INT(t_disk, queues, "virtqueues", .dflt = 1, .min = 1, .max = 64),
    FIELD_ENUM(t_disk, cache, caches, "host cache", .dflt = 1),
    FIELD_LIST(t_disk, forward, rule_fields, t_rule, 2, "rules"),
    {},
};
static const struct field console_fields[] = {
    FIELD_STR(t_console, backend, "where", .sdflt = "stdio", .first = true),
    FIELD_INT(t_console, level, "how much"),
    {},
};
static const struct field vm_fields[] = {
    FIELD_BYTES(t_vm, memory, "RAM", .dflt = GiB, .min = 16 * MiB, .max = 4 * TiB),
    FIELD_INT(t_vm, seed, "seed"),
    FIELD_INT(t_vm, cpus, "CPUs", .dflt = 1, .min = 1, .max = 64),
    FIELD_STR(t_vm, name, "name", .sdflt = "vm", .ok = name_ok, .want = "a-z, 0-9 and -"),
    FIELD_LIST(t_vm, disks, disk_fields, t_disk, 3, "disks"),
    FIELD_OBJ(t_vm, console, console_fields, "console"),
    {},
};

static const struct field *field_of(const char *name)
{
    const struct field *f = vm_fields;

    while (strcmp(f->name, name) != 0)
        f++;
    return f;
}

struct t_share {
    char *tag, *path;
    bool readonly;
};

TEST(options_in_pairs)
{
    static const struct field fields[] = {
        FIELD_STR(t_share, tag, "name", .required = true, .first = true, .also = "path",
                  .ok = name_ok, .want = "a-z"),
        FIELD_STR(t_share, path, "folder", .required = true),
        FIELD_BOOL(t_share, readonly, "refuse writes"),
        {},
    };
    static const struct {
        const char *why, *text, *tag, *path; /* tag NULL: refused */
        bool readonly;
    } rows[] = {
        { "both at once", "a=/b", "a", "/b", false },
        { "more behind", "a=/b,readonly", "a", "/b", true },
        { "a second =", "a=/b=c", "a", "/b=c", false },
        { "by name", "tag=a,path=/b", "a", "/b", false },
        { "only at the beginning", "readonly,a=/b", NULL, NULL, false },
        { "the second is missing", "a", NULL, NULL, false },
        { "the second is given again", "a=/b,path=/c", NULL, NULL, false },
        { "a field's name is that field", "path=/b", NULL, NULL, false },
        { "the first is no name", "A=/b", NULL, NULL, false },
        { "the first is empty", "=/b", NULL, NULL, false },
    };

    for_each_row(c, rows) {
        struct t_share s;
        struct err e = {};
        int r = conf_parse_options(fields, &s, c->text, &e);

        ROW(c);
        CHECK_EQ(r, c->tag ? 0 : -EINVAL);
        if (r < 0)
            continue;
        CHECK_STR(s.tag, c->tag);
        CHECK_STR(s.path, c->path);
        CHECK_EQ(s.readonly, c->readonly);
        conf_fini(fields, &s);
    }
}

TEST(options)
{
    static const struct {
        const char *why, *text, *json; /* json NULL: refused, and `error` is in the message */
        const char *error;
    } rows[] = {
        { "first value", "a.img",
          "{\"file\":\"a.img\",\"readonly\":false,\"queues\":1,\"cache\":\"writeback\",\"forward\":"
          "[]}",
          NULL },
        { "all kinds", "file=a,readonly,queues=0x10,cache=none,forward=x,forward=y",
          "{\"file\":\"a\",\"readonly\":true,\"queues\":16,\"cache\":\"none\",\"forward\":"
          "[{\"rule\":\"x\"},{\"rule\":\"y\"}]}",
          NULL },
        { "doubled comma", "a,,b,readonly=off,queues=2",
          "{\"file\":\"a,b\",\"readonly\":false,\"queues\":2,\"cache\":\"writeback\",\"forward\":[]"
          "}",
          NULL },
        { "three commas: one in the value, one after it", "a,,,readonly=yes",
          "{\"file\":\"a,\",\"readonly\":true,\"queues\":1,\"cache\":\"writeback\",\"forward\":[]}",
          NULL },
        { "a list in a list", "a,forward=rule=x,,,,y",
          "{\"file\":\"a\",\"readonly\":false,\"queues\":1,\"cache\":\"writeback\",\"forward\":"
          "[{\"rule\":\"x,y\"}]}",
          NULL },
        { "value with =", "file=a=b",
          "{\"file\":\"a=b\",\"readonly\":false,\"queues\":1,\"cache\":\"writeback\",\"forward\":[]"
          "}",
          NULL },
        { "unknown", "a,qeues=2", NULL, "unknown option 'qeues'; allowed: file, readonly, queues" },
        { "missing", "readonly=on", NULL, "'file' is missing (image or block device)" },
        { "empty", "", NULL, "'file' is missing" },
        { "trailing comma", "a,", NULL, "empty option" },
        { "too large", "a,queues=65", NULL, "'queues' is 65; 1 to 64 is allowed" },
        { "too small", "a,queues=0", NULL, "'queues' is 0; 1 to 64 is allowed" },
        { "negative", "a,queues=-3", NULL, "'queues' is -3; 1 to 64 is allowed" },
        { "over 64 bits", "a,queues=99999999999999999999", NULL, "1 to 64 is allowed" },
        { "no number", "a,queues=two", NULL, "'queues' is 'two'; a whole number is expected" },
        { "no value", "a,queues", NULL, "'queues' needs a value" },
        { "bad flag", "a,readonly=maybe", NULL, "'readonly' is 'maybe'; on or off is expected" },
        { "bad word", "a,cache=some", NULL, "'cache' is 'some'; allowed: none, writeback, unsafe" },
        { "twice", "a,queues=1,queues=1", NULL, "'queues' is given twice" },
        { "list too long", "a,forward=x,forward=y,forward=z", NULL, "more than 2 of 'forward'" },
        { "not UTF-8", "a\xff", NULL, "'file' is not UTF-8" },
    };

    for_each_row(c, rows) {
        struct t_disk d;
        struct err e = {};
        int r = conf_parse_options(disk_fields, &d, c->text, &e);
        json_t *j;
        char *text;

        ROW(c);
        if (!c->json) {
            CHECK_EQ(r, -EINVAL);
            CHECK_HAS(e.text, c->error);
            CHECK(!d.file && !d.forward.items && !d.queues);
            continue;
        }
        CHECK_OK(r, &e);
        j = conf_print(disk_fields, &d);
        text = json_dumps(j, JSON_COMPACT);
        CHECK_STR(text, c->json);
        free(text);
        json_decref(j);
        conf_fini(disk_fields, &d);
        CHECK(!d.file);
    }
}

TEST(json)
{
    static const struct {
        const char *why, *text, *error;
    } rows[] = {
        { "defaults", "{}", NULL },
        { "nested", "{\"disks\":[{\"file\":\"a\"},{\"file\":\"b\",\"readonly\":true}]}", NULL },
        { "object", "{\"console\":{\"backend\":\"pty\",\"level\":255}}", NULL },
        { "size as text", "{\"memory\":\"2G\"}", NULL },
        { "64 bits as text", "{\"seed\":\"0xffffffffffffffff\"}", NULL },
        { "number as text", "{\"cpus\":\"2\"}", "'cpus' is text; a whole number is expected" },
        { "suffix where none may be", "{\"seed\":\"2G\"}", "'seed' is '2G'; a whole number" },
        { "fraction", "{\"cpus\":1.5}", "'cpus' is a fraction" },
        { "negative", "{\"cpus\":-1}", "'cpus' is -1; 1 to 64 is allowed" },
        { "range in units", "{\"memory\":4096}", "'memory' is 4K; 16M to 4T is allowed" },
        { "type's own end", "{\"console\":{\"level\":256}}",
          "console: 'level' is 256; 0 to 255 is allowed" },
        { "unknown", "{\"cpu\":1}", "unknown field 'cpu'" },
        { "unknown below", "{\"disks\":[{\"file\":\"a\"},{\"file\":\"b\",\"x\":1}]}",
          "disks 1: unknown field 'x'" },
        { "missing below", "{\"disks\":[{}]}", "disks 0: 'file' is missing" },
        { "no object", "[]", "found a list; an object is expected" },
        { "no list", "{\"disks\":{}}", "'disks' is an object; a list is expected" },
        { "null", "{\"name\":null}", "'name' is null; text is expected" },
        { "no bool", "{\"disks\":[{\"file\":\"a\",\"readonly\":1}]}", "true or false is expected" },
        { "further check", "{\"name\":\"A b\"}", "'name' is 'A b'; a-z, 0-9 and - is expected" },
        { "list too long", "{\"disks\":[{\"file\":\"a\"},{\"file\":\"a\"},{\"file\":\"a\"},{}]}",
          "'disks' has 4 elements; at most 3 are allowed" },
        { "twice", "{\"cpus\":1,\"cpus\":2}", "not JSON: duplicate object key" },
        { "rest", "{} x", "not JSON" },
        { "too deep", "[[[[[[[[[[[[[[[[[0]]]]]]]]]]]]]]]]]", "nested deeper than 16" },
        { "brackets in text are not depth", "{\"name\":\"[[[[[[[[[[[[[[[[[[[[\\\"[[\"}",
          "'name' is '[[[" },
    };

    for_each_row(c, rows) {
        struct t_vm vm;
        struct err e = {};
        int r = conf_parse_text(vm_fields, &vm, c->text, strlen(c->text), &e);

        ROW(c);
        if (c->error) {
            CHECK_EQ(r, -EINVAL);
            CHECK_HAS(e.text, c->error);
            CHECK(!vm.disks.items && !vm.disks.n);
            CHECK(!vm.name && !vm.console.backend);
            CHECK_EQ(conf_parse_text(vm_fields, &vm, c->text, strlen(c->text), NULL), -EINVAL);
            continue;
        }
        CHECK_OK(r, &e);
        conf_fini(vm_fields, &vm);
        conf_fini(vm_fields, &vm); /* harmless on zeroed memory */
    }
}

TEST(json_prints_what_was_parsed)
{
    static const char text[] = "{\"memory\":\"2G\",\"seed\":\"18446744073709551615\",\"cpus\":4,"
                               "\"disks\":[{\"file\":\"a\",\"cache\":\"unsafe\"}]}";
    struct t_vm vm, again;
    struct err e = {};
    json_t *j, *k;

    CHECK_OK(conf_parse_text(vm_fields, &vm, text, strlen(text), &e), &e);
    CHECK_EQ(vm.memory, 2 * GiB);
    CHECK_EQ(vm.seed, ~0ull);
    CHECK_EQ(vm.disks.n, 1);
    CHECK_EQ(((struct t_disk *)vm.disks.items)[0].cache, 2);
    CHECK_STR(vm.console.backend, "stdio");
    j = conf_print(vm_fields, &vm);
    CHECK_OK(conf_parse(vm_fields, &again, j, &e), &e);
    k = conf_print(vm_fields, &again);
    CHECK(json_equal(j, k));
    json_decref(j);
    json_decref(k);
    conf_fini(vm_fields, &vm);
    conf_fini(vm_fields, &again);
}

TEST(set_one_field)
{
    struct t_vm vm;
    struct err e = {};

    conf_defaults(vm_fields, &vm);
    CHECK_OK(conf_set(field_of("memory"), &vm, "512M", &e), &e);
    CHECK_EQ(vm.memory, 512 * MiB);
    CHECK_OK(conf_set(field_of("name"), &vm, "web-1", &e), &e);
    CHECK_STR(vm.name, "web-1");
    CHECK_EQ(conf_set(field_of("name"), &vm, "Web", &e), -EINVAL);
    CHECK_STR(vm.name, "web-1"); /* unchanged by what was refused */
    CHECK_OK(conf_set(field_of("console"), &vm, "pty,level=3", &e), &e);
    CHECK_OK(conf_set(field_of("console"), &vm, "level=4", &e), &e);
    CHECK_STR(vm.console.backend, "stdio"); /* the whole object is set anew */
    CHECK_OK(conf_set(field_of("disks"), &vm, "a,queues=2", &e), &e);
    CHECK_EQ(conf_set(field_of("disks"), &vm, "b,queues=0", &e), -EINVAL);
    CHECK_OK(conf_set(field_of("disks"), &vm, "c", &e), &e);
    CHECK_EQ(vm.disks.n, 2);
    CHECK_STR(((struct t_disk *)vm.disks.items)[0].file, "a");
    CHECK_STR(((struct t_disk *)vm.disks.items)[1].file, "c");
    CHECK_OK(conf_set(field_of("disks"), &vm, "d", &e), &e);
    CHECK_EQ(conf_set(field_of("disks"), &vm, "e", &e), -EINVAL);
    CHECK(!conf_list_add(field_of("disks"), &vm));
    conf_fini(vm_fields, &vm);
}

TEST(a_long_string_is_refused)
{
    struct t_vm vm;
    struct err e = {};
    char *s = xnew_n(char, CONF_STR_MAX + 2);

    conf_defaults(vm_fields, &vm);
    memset(s, 'a', CONF_STR_MAX + 1);
    CHECK_EQ(conf_set(field_of("name"), &vm, s, &e), -EINVAL);
    CHECK_HAS(e.text, "'name' has 65537 bytes; at most 65536 are allowed");
    s[CONF_STR_MAX] = 0;
    CHECK_OK(conf_set(field_of("name"), &vm, s, &e), &e);
    free(s);
    conf_fini(vm_fields, &vm);
}

TEST(help_has_limits_and_defaults)
{
    AUTO(strbuf) struct strbuf out = {};

    conf_help(disk_fields, "  ", &out);
    conf_help(vm_fields, "", &out);
    CHECK_HAS(out.text, "  [file=]FILE               image or block device\n");
    CHECK_HAS(out.text, "readonly[=on|off]         refuse writes (default off)\n");
    CHECK_HAS(out.text, "queues=N                  virtqueues (default 1, 1 to 64)\n");
    CHECK_HAS(out.text, "cache=none|writeback|unsafe  host cache (default writeback)\n");
    CHECK_HAS(out.text, "memory=SIZE               RAM (default 1G, 16M to 4T)\n");
    CHECK_HAS(out.text, "(repeatable)");
}

TEST(help_has_no_empty_default)
{
    static const struct field fields[] = {
        FIELD_STR(t_vm, name, "its name", .sdflt = ""),
        {},
    };
    AUTO(strbuf) struct strbuf out = {};

    conf_help_doc(fields, &out);
    CHECK_STR(out.text, "its name");
}

/* ---- lists and maps of texts, signed numbers ---- */

struct t_more {
    struct field_strs words, notes;
    s64 wide;
    s32 small;
};
static const struct field more_fields[] = {
    FIELD_STRS(t_more, words, 3, "words"),
    FIELD_MAP(t_more, notes, 2, "notes"),
    FIELD_SINT(t_more, wide, "wide", .dflt = (u64)-5),
    FIELD_SINT(t_more, small, "small", .min = (u64)-20, .max = 19),
    {},
};

static int parse_more(struct t_more *m, const char *text, struct err *e)
{
    return conf_parse_text(more_fields, m, text, strlen(text), e);
}

TEST(conf_strs)
{
    struct t_more m;
    struct err e = {};
    json_t *json;
    char *text;

    CHECK_OK(parse_more(&m, "{\"words\":[\"a\",\"b\"],\"notes\":{\"k\":\"v\"},\"small\":-20}", &e),
             &e);
    CHECK_EQ(m.words.n, 2);
    CHECK_STR(m.words.items[1], "b");
    CHECK_EQ(m.notes.n, 1);
    CHECK_STR(m.notes.items[0], "k");
    CHECK_STR(m.notes.items[1], "v");
    CHECK(m.wide == -5 && m.small == -20);
    CHECK_OK(conf_set(&more_fields[0], &m, "c", &e), &e);
    CHECK(conf_set(&more_fields[0], &m, "d", &e) < 0);
    CHECK_HAS(e.text, "more than 3");
    CHECK_OK(conf_set(&more_fields[2], &m, "-9223372036854775808", &e), &e);
    CHECK(m.wide == INT64_MIN);
    CHECK(conf_set(&more_fields[2], &m, "9223372036854775808", &e) < 0);
    CHECK(conf_set(&more_fields[3], &m, "-21", &e) < 0);
    CHECK_HAS(e.text, "-20 to 19 is allowed");
    json = conf_print(more_fields, &m);
    text = json_dumps(json, JSON_COMPACT);
    CHECK_STR(text, "{\"words\":[\"a\",\"b\",\"c\"],\"notes\":{\"k\":\"v\"},\"wide\":-"
                    "9223372036854775808,\"small\":-20}");
    free(text);
    json_decref(json);
    conf_fini(more_fields, &m);
}

TEST(conf_copy)
{
    static const char text[] =
        "{\"name\":\"web\",\"cpus\":4,\"seed\":\"0xfffffffffffffff0\",\"console\":{\"level\":7},"
        "\"disks\":[{\"file\":\"a\",\"forward\":[{\"rule\":\"x\"},{\"rule\":\"y\"}]},"
        "{\"file\":\"b\",\"readonly\":true,\"cache\":\"unsafe\"}]}";
    struct t_vm from, to;
    struct t_more words, more;
    struct err e = {};
    json_t *a, *b;

    memset(&to, 0xa5, sizeof(to)); /* any content */
    CHECK_OK(conf_parse_text(vm_fields, &from, text, sizeof(text) - 1, &e), &e);
    conf_copy(vm_fields, &to, &from);
    a = conf_print(vm_fields, &from);
    conf_fini(vm_fields, &from); /* nothing is shared */
    b = conf_print(vm_fields, &to);
    CHECK(json_equal(a, b));
    CHECK(
        conf_list_add(conf_field_at(vm_fields, offsetof(struct t_vm, disks)), &to)); /* it grows */
    CHECK_EQ(to.disks.n, 3);
    json_decref(a);
    json_decref(b);
    conf_fini(vm_fields, &to);

    CHECK_OK(parse_more(&words, "{\"words\":[\"a\",\"b\"],\"notes\":{\"k\":\"v\"}}", &e), &e);
    conf_copy(more_fields, &more, &words);
    CHECK(more.words.items[1] != words.words.items[1]);
    CHECK_STR(more.words.items[1], "b");
    CHECK_STR(more.notes.items[1], "v");
    conf_fini(more_fields, &words);
    conf_fini(more_fields, &more);
}

TEST(conf_show)
{
    static const struct field inner[] = {
        FIELD_STR(t_disk, file, "shown"),
        FIELD_INT(t_disk, queues, "not shown", .secret = true),
        {},
    };
    static const struct field outer[] = {
        FIELD_STR(t_vm, name, "not shown", .secret = true),
        FIELD_INT(t_vm, cpus, "shown"),
        FIELD_LIST(t_vm, disks, inner, t_disk, 2, "in part"),
        {},
    };
    static const char all[] =
        "{\"name\":\"n\",\"cpus\":2,\"disks\":[{\"file\":\"f\",\"queues\":3}]}";
    struct t_vm vm;
    struct err e = {};
    json_t *json;
    char *text;

    CHECK_OK(conf_parse_text(outer, &vm, all, sizeof(all) - 1, &e), &e);
    json = conf_show(outer, &vm);
    text = json_dumps(json, JSON_COMPACT);
    CHECK_STR(text, "{\"cpus\":2,\"disks\":[{\"file\":\"f\"}]}");
    free(text);
    json_decref(json);
    json = conf_print(outer, &vm);
    text = json_dumps(json, JSON_COMPACT);
    CHECK_STR(text, all);
    free(text);
    json_decref(json);
    conf_fini(outer, &vm);
}

TEST(conf_strs_refused)
{
    static const struct {
        const char *why, *text, *error;
    } rows[] = {
        { "no list", "{\"words\":\"a\"}", "a list is expected" },
        { "no text in it", "{\"words\":[\"a\",1]}", "holds a number; text is expected" },
        { "too many", "{\"words\":[\"\",\"\",\"\",\"\"]}", "has 4 elements; at most 3" },
        { "no object", "{\"notes\":[]}", "an object is expected" },
        { "no text in the object", "{\"notes\":{\"a\":{}}}", "holds an object; text is expected" },
        { "below", "{\"small\":-21}", "'small' is -21; -20 to 19 is allowed" },
        { "above", "{\"small\":20}", "'small' is 20; -20 to 19 is allowed" },
    };

    for_each_row(row, rows) {
        struct t_more m;
        struct err e = {};

        ROW(row);
        CHECK_EQ(parse_more(&m, row->text, &e), -EINVAL);
        CHECK_HAS(e.text, row->error);
        CHECK(!m.words.items && !m.notes.items);
    }
}
