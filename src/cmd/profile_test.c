/*
 * cmd/profile_test.c: symbols of a kernel, and histograms.
 */
#include "cmd/profile.h"

#include "testlib/test.h"

static const char map[] = "ffffffff81000000 T _stext\n"
                          "ffffffff81000100 t do_idle\n"
                          "ffffffff82000000 D some_data\n"
                          "ffffffffc0000000 t in_module\t[module]\n"
                          "ffffffff81000080 W weak\n"
                          "garbage\n"
                          "zz T what\n";

TEST(symbols_find)
{
    static const struct {
        const char *why;
        u64 at;
        const char *name; /* NULL: none */
    } rows[] = {
        { "the first byte", 0xffffffff81000000, "_stext" },
        { "inside", 0xffffffff8100007f, "_stext" },
        { "lines need not be sorted", 0xffffffff81000080, "weak" },
        { "data is no function", 0xffffffff82000000, NULL },
        { "before the first", 0x400000, NULL },
        { "a module's name is not part of it", 0xffffffffc0000010, "in_module" },
    };
    struct symbols s;
    struct err e = {};

    CHECK_OK(symbols_parse(&s, map, sizeof(map) - 1, &e), &e);
    CHECK_EQ(s.n, 4);
    for_each_row(c, rows) {
        const struct symbol *got = symbols_find(&s, c->at);

        ROW(c);
        CHECK_EQ(got != NULL, c->name != NULL);
        if (got)
            CHECK_STR(got->name, c->name);
    }
    symbols_fini(&s);
}

TEST(symbols_refuse_what_has_none)
{
    static const char hidden[] = "0000000000000000 T _stext\n";
    struct symbols s;
    struct err e = {};

    CHECK_EQ(symbols_parse(&s, "hello\n", 6, &e), -EINVAL);
    CHECK_HAS(e.text, "address T name");
    CHECK_EQ(symbols_parse(&s, hidden, sizeof(hidden) - 1, &e), -EINVAL);
    CHECK_HAS(e.text, "only root");
}

TEST(profile_prints_functions_and_pages)
{
    static const char result[] =
        "{\"seconds\": 2, \"samples\": 20, \"idle\": 3, \"rest\": 1, \"hits\": "
        "[[\"0xffffffff81000101\", 8], "
        "[\"0x401000\", 4], [\"0xffffffff81000104\", 4], [\"0x401ffe\", 3], [5, 1]]}";
    AUTO(strbuf) struct strbuf with = {}, without = {};
    json_t *j = json_loads(result, 0, NULL);
    struct symbols s, none = {};
    struct err e = {};

    CHECK_OK(symbols_parse(&s, map, sizeof(map) - 1, &e), &e);
    profile_print(j, &s, &with);
    CHECK_STR(with.text, "20 samples in 2 seconds; 3 times a CPU was idle\n"
                         "   60.0 %       12  do_idle\n"
                         "   35.0 %        7  0x401000 (page)\n"
                         "    5.0 %        1  all others\n");
    profile_print(j, &none, &without);
    CHECK_HAS(without.text, "0xffffffff81000000 (page)");
    json_decref(j);
    symbols_fini(&s);
}
