/*
 * box/unit_test.c: which scope a container gets, and what systemd is asked of it.
 */
#include "box/unit.h"

#include "testlib/test.h"

#include <stdlib.h>

TEST(unit_names)
{
    static const struct {
        const char *why, *path;
        bool user;
        const char *slice, *name; /* name NULL: slice is part of the error */
    } rows[] = {
        { "podman's", "machine.slice:libpod:1a2b", false, "machine.slice", "libpod-1a2b.scope" },
        { "no slice", ":crio:x", false, "system.slice", "crio-x.scope" },
        { "a user's", ":crio:x", true, "user.slice", "crio-x.scope" },
        { "no prefix", "a-b.slice::x", false, "a-b.slice", "x.scope" },
        { "the root", "-.slice:p:x", false, "-.slice", "p-x.scope" },
        { "nothing", NULL, false, "system.slice", "socle-box-c1.scope" },
        { "empty", "", true, "user.slice", "socle-box-c1.scope" },
        { "a colon in the name", "a.slice:p:x:y", false, "a.slice", "p-x:y.scope" },
        { "a path", "/a/b", false, "is not SLICE:PREFIX:NAME", NULL },
        { "two parts", "a.slice:b", false, "is not SLICE:PREFIX:NAME", NULL },
        { "no slice's name", "a:b:c", false, "'a' is no name of a slice", NULL },
        { "a slice without a parent", "-a.slice:b:c", false, "is no name of a slice", NULL },
        { "an empty parent", "a--b.slice:b:c", false, "is no name of a slice", NULL },
        { "an empty child", "a-.slice:b:c", false, "is no name of a slice", NULL },
        { "a slice elsewhere", "../a.slice:b:c", false, "is no name of a slice", NULL },
        { "a scope elsewhere", "a.slice:b:../c", false, "is no name of a scope", NULL },
        { "a scope with a blank", "a.slice:b:c d", false, "is no name of a scope", NULL },
        { "no name at all", "a.slice::", false, "is no name of a scope", NULL },
    };

    for_each_row(c, rows) {
        struct unit u = {};
        struct err e = {};
        int r = unit_parse(&u, c->path, "c1", c->user, &e);

        ROW(c);
        if (!c->name) {
            CHECK_EQ(r, -EINVAL);
            CHECK_HAS(e.text, c->slice);
            CHECK(!u.name && !u.slice);
            continue;
        }
        CHECK_OK(r, &e);
        CHECK_STR(u.slice, c->slice);
        CHECK_STR(u.name, c->name);
        unit_fini(&u);
    }
}

TEST(unit_saved_names)
{
    CHECK(unit_name_ok("libpod-1.scope"));
    CHECK(!unit_name_ok(""));
    CHECK(!unit_name_ok(".scope"));
    CHECK(!unit_name_ok("ssh.service"));
    CHECK(!unit_name_ok("a/b.scope"));
}

TEST(unit_limits)
{
    static const struct {
        const char *why, *resources, *want; /* want: JSON, or part of an error */
    } rows[] = {
        { "nothing", "{}", "{}" },
        { "memory", "{\"memory\":{\"limit\":1000,\"swap\":1500,\"reservation\":500}}",
          "{\"MemoryMax\":[\"t\",1000],\"MemorySwapMax\":[\"t\",500],\"MemoryLow\":[\"t\",500]}" },
        { "no swap", "{\"memory\":{\"limit\":1000,\"swap\":1000}}",
          "{\"MemoryMax\":[\"t\",1000],\"MemorySwapMax\":[\"t\",0]}" },
        { "no limits", "{\"memory\":{\"limit\":-1,\"swap\":-1},\"pids\":{\"limit\":-1}}",
          "{\"MemoryMax\":[\"t\",-1],\"MemorySwapMax\":[\"t\",-1],\"TasksMax\":[\"t\",-1]}" },
        { "processes", "{\"pids\":{\"limit\":7}}", "{\"TasksMax\":[\"t\",7]}" },
        { "the usual share", "{\"cpu\":{\"shares\":1024}}", "{\"CPUWeight\":[\"t\",39]}" },
        { "idle", "{\"cpu\":{\"shares\":1024,\"idle\":1}}", "{\"CPUWeight\":[\"t\",0]}" },
        { "half a CPU", "{\"cpu\":{\"quota\":50000,\"period\":100000}}",
          "{\"CPUQuotaPerSecUSec\":[\"t\",500000],\"CPUQuotaPeriodUSec\":[\"t\",100000]}" },
        { "no less than asked", "{\"cpu\":{\"quota\":1001,\"period\":1000000}}",
          "{\"CPUQuotaPerSecUSec\":[\"t\",10000],\"CPUQuotaPeriodUSec\":[\"t\",1000000]}" },
        { "a quota without a period", "{\"cpu\":{\"quota\":200000}}",
          "{\"CPUQuotaPerSecUSec\":[\"t\",2000000],\"CPUQuotaPeriodUSec\":[\"t\",100000]}" },
        { "no quota", "{\"cpu\":{\"quota\":-1}}",
          "{\"CPUQuotaPerSecUSec\":[\"t\",-1],\"CPUQuotaPeriodUSec\":[\"t\",100000]}" },
        { "CPUs", "{\"cpu\":{\"cpus\":\"0-2,9\",\"mems\":\"0\"}}",
          "{\"AllowedCPUs\":[\"ay\",[7,2]],\"AllowedMemoryNodes\":[\"ay\",[1]]}" },
        { "weight of block devices", "{\"blockIO\":{\"weight\":10}}", "{\"IOWeight\":[\"t\",1]}" },
        { "files",
          "{\"unified\":{\"memory.high\":\"5\",\"pids.max\":\"max\",\"cpu.max\":\"max 50000\","
          "\"memory.oom.group\":\"1\",\"cpuset.cpus\":\"1\"}}",
          "{\"MemoryHigh\":[\"t\",5],\"TasksMax\":[\"t\",-1],\"CPUQuotaPerSecUSec\":[\"t\",-1],"
          "\"CPUQuotaPeriodUSec\":[\"t\",50000],\"AllowedCPUs\":[\"ay\",[2]]}" },
        { "no list", "{\"cpu\":{\"cpus\":\"2-1\"}}", "linux.resources.cpu.cpus: '2-1'" },
        { "no list in a file", "{\"unified\":{\"cpuset.mems\":\"\"}}", "'cpuset.mems': ''" },
    };

    for_each_row(c, rows) {
        struct oci_resources res;
        json_t *p = NULL, *want;
        struct err e = {};
        int r = oci_parse_part(oci_resources_fields, "linux.resources", &res, c->resources,
                               strlen(c->resources), &e);

        ROW(c);
        CHECK_OK(r, &e);
        r = unit_limits(&res, &p, &e);
        want = json_loads(c->want, 0, NULL);
        if (want) {
            AUTO(free) char *got = json_dumps(p, JSON_COMPACT);

            CHECK_OK(r, &e);
            CHECK(json_equal(p, want));
            if (!json_equal(p, want))
                CHECK_STR(got, c->want);
        } else {
            CHECK_EQ(r, -EINVAL);
            CHECK_HAS(e.text, c->want);
        }
        json_decref(p);
        json_decref(want);
        conf_fini(oci_resources_fields, &res);
    }
}

TEST(unit_notes)
{
    static const struct {
        const char *why, *name, *text, *want; /* want NULL: refused */
    } rows[] = {
        { "a flag", "DefaultDependencies", "true", "{\"DefaultDependencies\":[\"b\",true]}" },
        { "another", "A", " false ", "{\"A\":[\"b\",false]}" },
        { "a number", "KillSignal", "15", "{\"KillSignal\":[\"i\",15]}" },
        { "below zero", "A", "int64 -9", "{\"A\":[\"x\",-9]}" },
        { "all bits", "A", "uint64 18446744073709551615", "{\"A\":[\"t\",-1]}" },
        { "microseconds", "TimeoutStopUSec", "uint64 9", "{\"TimeoutStopUSec\":[\"t\",9]}" },
        { "seconds", "TimeoutStopSec", "9", "{\"TimeoutStopUSec\":[\"t\",9000000]}" },
        { "a text", "CollectMode", "'inactive'", "{\"CollectMode\":[\"s\",\"inactive\"]}" },
        { "quotes", "A", "\"it's \\\"x\\\"\"", "{\"A\":[\"s\",\"it's \\\"x\\\"\"]}" },
        { "a list", "After", "['a.service', \"b\"]", "{\"After\":[\"as\",[\"a.service\",\"b\"]]}" },
        { "an empty list", "After", "@as []", "{\"After\":[\"as\",[]]}" },
        { "a text without quotes", "A", "inactive", NULL },
        { "more after it", "A", "true false", NULL },
        { "nothing", "A", "", NULL },
        { "an open text", "A", "'a", NULL },
        { "an open list", "A", "['a'", NULL },
        { "no comma", "A", "['a' 'b']", NULL },
        { "a list of numbers", "A", "[1]", NULL },
        { "too large", "A", "byte 256", NULL },
        { "too small", "A", "int16 -32769", NULL },
        { "a sign where there is none", "A", "uint32 -1", NULL },
        { "a fraction", "A", "1.5", NULL },
        { "seconds of no number", "TimeoutStopSec", "'a'", NULL },
        { "seconds below zero", "TimeoutStopSec", "-1", NULL },
        { "no name", "", "1", NULL },
        { "no property's name", "a", "1", NULL },
        { "dots", "A.B", "1", NULL },
        { "what is ours", "Slice", "'a.slice'", NULL },
        { "processes are ours", "PIDs", "[]", NULL },
    };

    for_each_row(c, rows) {
        json_t *p = json_object(), *want = json_loads(c->want ? c->want : "{}", 0, NULL);
        struct err e = {};
        int r = unit_note(c->name, c->text, p, &e);

        ROW(c);
        CHECK_EQ(r, c->want ? 0 : -EINVAL);
        CHECK(json_equal(p, want));
        CHECK_EQ(e.text[0] != 0, !c->want);
        json_decref(p);
        json_decref(want);
    }
}

TEST(unit_of_a_container)
{
    static const char config[] =
        "{\"ociVersion\":\"1.2.0\",\"root\":{\"path\":\"r\"},\"process\":{\"args\":[\"x\"],"
        "\"cwd\":\"/\"},\"annotations\":{\"a\":\"b\",\"org.systemd.property.CollectMode\":"
        "\"'inactive'\"},\"linux\":{\"namespaces\":[{\"type\":\"mount\"}],\"resources\":"
        "{\"pids\":{\"limit\":5}}}}";
    const struct unit u = { .slice = (char[]){ "a.slice" } };
    struct err e = {};
    json_t *p = NULL;
    struct oci spec;

    CHECK_OK(oci_parse(&spec, config, strlen(config), &e), &e);
    CHECK_OK(unit_properties(&spec, &u, "c1", 42, &p, &e), &e);
    CHECK_STR(json_string_value(json_array_get(json_object_get(p, "Slice"), 1)), "a.slice");
    CHECK_STR(json_string_value(json_array_get(json_object_get(p, "CollectMode"), 1)), "inactive");
    CHECK_EQ(json_integer_value(json_array_get(json_object_get(p, "TasksMax"), 1)), 5);
    CHECK_EQ(json_integer_value(json_array_get(json_array_get(json_object_get(p, "PIDs"), 1), 0)),
             42);
    CHECK(json_is_true(json_array_get(json_object_get(p, "Delegate"), 1)));
    json_decref(p);
    oci_fini(&spec);
}
