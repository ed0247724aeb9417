/*
 * cmd/top_test.c: what `socle top` shows and in which order, and texts as YAML.
 */
#include "cmd/top.h"

#include "cmd/yaml.h"
#include "testlib/test.h"

#include <stdlib.h>

static json_t *load(const char *text)
{
    json_t *j = json_loads(text, JSON_DECODE_ANY, NULL);

    must(j);
    return j;
}

TEST(top_lines)
{
    static const char machines[] =
        "[{\"name\": \"a\", \"state\": \"off\"},"
        " {\"name\": \"b\", \"state\": \"running\", \"cpu\": 1503, \"steal\": 0, \"memory\": "
        "268435456, \"balloon\": 0,"
        "  \"read_bytes\": 1536, \"write_bytes\": 2147483648, \"reads\": 3, \"writes\": 4, "
        "\"read_us\": 250, \"write_us\": 12000,"
        "  \"in_bytes\": 1, \"out_bytes\": 1023, \"in_frames\": 100000, \"out_frames\": 0, "
        "\"exits\": 12345678},"
        " {\"name\": \"c\\u001b[2J\", \"state\": \"paused\"}]";
    json_t *host = load("{\"running\": 2, \"cpus\": 8, \"cpu\": 4000, \"steal\": 10, \"memory\": "
                        "1073741824, \"ram\": 4294967296,"
                        " \"read_bytes\": 0, \"write_bytes\": 0, \"in_bytes\": 0}");
    json_t *list = load(machines);
    AUTO(strbuf) struct strbuf out = {}, alone = {};

    top_lines(host, list, &out);
    CHECK_STR(out.text, "2 of 3 machines run; 8 CPUs: 400.0%, steal 1.0%; memory 1.0G of 4.0G\n"
                        "disks: read 0B/s, written 0B/s; network: in 0B/s, out -/s\n"
                        "NAME                    CPU%  STEAL%  MEMORY  BALLOON  READ/s  WRITE/s    "
                        "IO/s    READ   WRITE    IN/s   OUT/s   PKT/s  EXIT/s\n"
                        "b                      150.3     0.0    256M       0B    1.5K     2.0G    "
                        "   7   250us    12ms      1B   1023B    100k     12M\n"
                        "c?[2J                      -       -       -        -       -        -    "
                        "   -       -       -       -       -       -       -\n");
    json_array_clear(list);
    top_lines(NULL, list, &alone);
    CHECK_HAS(alone.text, "0 machines\n\nNAME ");
    json_decref(host);
    json_decref(list);
}

TEST(top_order)
{
    static const struct {
        const char *why;
        char key;
        bool ok;
        const char *order;
    } rows[] = {
        { "by CPU, then name", 'c', true, "bacd" }, { "by name", 'n', true, "abcd" },
        { "by memory", 'm', true, "dabc" },         { "by disks: both ways", 'd', true, "cabd" },
        { "by nothing", 'z', false, "dcba" },       { "a column without a key", 0, false, "dcba" },
    };

    for_each_row(row, rows) {
        json_t *list = load(
            "[{\"name\": \"d\", \"memory\": 9}, {\"name\": \"c\", \"reads\": 1, \"writes\": 2},"
            " {\"name\": \"b\", \"cpu\": 7}, {\"name\": \"a\", \"writes\": 2}]");
        char order[5] = "";

        ROW(row);
        CHECK_EQ(top_sort(list, row->key), row->ok);
        for (size_t i = 0; i < 4; i++)
            order[i] = *json_string_value(json_object_get(json_array_get(list, i), "name"));
        CHECK_STR(order, row->order);
        json_decref(list);
    }
}

TEST(yaml)
{
    static const struct {
        const char *why, *json, *yaml;
    } rows[] = {
        { "members", "{\"a\": 1, \"b\": true, \"c\": null}", "a: 1\nb: true\nc: null\n" },
        { "inside", "{\"a\": {\"b\": [1, {\"c\": 2, \"d\": 3}, [4]]}}",
          "a:\n  b:\n    - 1\n    - c: 2\n      d: 3\n    - - 4\n" },
        { "empty", "{\"a\": [], \"b\": {}}", "a: []\nb: {}\n" },
        { "empty itself", "[]", "[]\n" },
        { "plain texts", "[\"web1\", \"a-b_c.d/e\"]", "- web1\n- a-b_c.d/e\n" },
        { "words that YAML 1.1 takes for truth", "[\"yes\", \"No\", \"on\", \"null\", \"y\"]",
          "- \"yes\"\n- \"No\"\n- \"on\"\n- \"null\"\n- \"y\"\n" },
        { "what looks like something else",
          "[\"1.5\", \"\", \"a: b\", \"# x\", \"- x\", \"52:54:00\", \"0x1\"]",
          "- \"1.5\"\n- \"\"\n- \"a: b\"\n- \"# x\"\n- \"- x\"\n- \"52:54:00\"\n- \"0x1\"\n" },
        { "lines and quotes", "[\"a\\nb\\\"\\\\\"]", "- \"a\\nb\\\"\\\\\"\n" },
        { "controls", "[\"\\u001b\\u007f\\u0085\\u2028\\ufeff\"]",
          "- \"\\u001B\\x7f\\x85\\u2028\\ufeff\"\n" },
        { "other alphabets", "[\"\\u00e4\\ud83d\\ude00\"]", "- \"\xc3\xa4\xf0\x9f\x98\x80\"\n" },
        { "a text alone", "\"x\"", "x\n" },
        { "a name as a number", "{\"1\": \"x\"}", "\"1\": x\n" },
    };

    for_each_row(row, rows) {
        AUTO(strbuf) struct strbuf out = {};
        json_t *j = load(row->json);

        ROW(row);
        yaml_add(j, &out);
        CHECK_STR(out.text, row->yaml);
        json_decref(j);
    }
}

/* However deep: it ends, and what is deepest is there. */
TEST(yaml_deep)
{
    AUTO(strbuf) struct strbuf text = {}, out = {};
    json_t *j;

    for (u32 i = 0; i < 1000; i++)
        strbuf_add(&text, "[");
    strbuf_add(&text, "\"deep\"");
    for (u32 i = 0; i < 1000; i++)
        strbuf_add(&text, "]");
    j = load(text.text);
    yaml_add(j, &out);
    CHECK_HAS(out.text, "[[[\"deep\"]]]");
    json_decref(j);
}
