/*
 * host/instance_test.c: what an instance may be, the machine that it means, and when memory is too short for one.
 */
#include "host/instance.h"

#include "host/guard.h"
#include "testlib/test.h"

#include <stdlib.h>

static int parse(const char *text, struct instance_cfg *c, struct err *e)
{
    json_t *j = json_loads(text, 0, NULL);
    int r;

    must(j);
    r = instance_parse(c, j, e);
    json_decref(j);
    return r;
}

TEST(instance_bodies)
{
    static const struct {
        const char *why, *text;
        int want;
        const char *says, *field;
    } rows[] = {
        { "least", "{\"name\": \"a\", \"kernel\": \"/k\"}", 0, NULL, "" },
        { "an image", "{\"name\": \"a\", \"image\": \"debian\"}", 0, NULL, "" },
        { "no name", "{\"kernel\": \"/k\"}", -EINVAL, "'name' is missing", "name" },
        { "a path as name", "{\"name\": \"../a\", \"kernel\": \"/k\"}", -EINVAL, "letters",
          "name" },
        { "a path as image", "{\"name\": \"a\", \"image\": \"..\"}", -EINVAL, "letters", "image" },
        { "nothing to boot", "{\"name\": \"a\"}", -EINVAL, "'image' or 'kernel'", "" },
        { "relative kernel", "{\"name\": \"a\", \"kernel\": \"k\"}", -EINVAL, "from the root", "" },
        { "relative disk", "{\"name\": \"a\", \"kernel\": \"/k\", \"disks\": [{\"file\": \"d\"}]}",
          -EINVAL, "from the root", "" },
        { "unknown", "{\"name\": \"a\", \"kernel\": \"/k\", \"x\": 1}", -EINVAL,
          "unknown field 'x'", "x" },
        { "socled's own", "{\"name\": \"a\", \"kernel\": \"/k\", \"control\": \"/s\"}", -EINVAL,
          "unknown field 'control'", "control" },
        { "no_jail", "{\"name\": \"a\", \"kernel\": \"/k\", \"no_jail\": true}", -EINVAL, "unknown",
          "no_jail" },
        { "type", "{\"name\": \"a\", \"kernel\": \"/k\", \"cpus\": \"2\"}", -EINVAL, "whole number",
          "cpus" },
        { "range", "{\"name\": \"a\", \"kernel\": \"/k\", \"cpus\": 65}", -EINVAL, "64", "cpus" },
        { "in a list",
          "{\"name\": \"a\", \"kernel\": \"/k\", \"disks\": [{\"file\": \"/d\", \"x\": 1}]}",
          -EINVAL, "unknown field 'x'", "disks" },
        { "what one row cannot say", "{\"name\": \"a\", \"kernel\": \"/k\", \"memory\": 1048577}",
          -EINVAL, "multiple", "" },
        { "firmware", "{\"name\": \"a\", \"kernel\": \"/k\", \"kind\": \"full\"}", -EINVAL,
          "firmware", "" },
        { "containers", "{\"name\": \"a\", \"kernel\": \"/k\", \"kind\": \"os\"}", -EINVAL,
          "'image' is missing", "image" },
        { "a container has no kernel",
          "{\"name\": \"a\", \"image\": \"i\", \"kernel\": \"/k\", \"kind\": \"os\"}", -EINVAL,
          "'kernel' is of machines", "kernel" },
        { "a container has no tap of the host's",
          "{\"name\": \"a\", \"image\": \"i\", \"kind\": \"os\", \"nets\": [{\"tap\": \"t\"}]}",
          -EINVAL, "is on a network", "nets" },
        { "a machine's processes are its own",
          "{\"name\": \"a\", \"kernel\": \"/k\", \"limits\": {\"processes\": 9}}", -EINVAL,
          "'processes' is 9; it is of kind os", "limits" },
        { "a container's processes",
          "{\"name\": \"a\", \"image\": \"i\", \"kind\": \"os\", \"limits\": {\"processes\": 9}}",
          0, NULL, "" },
        { "a mount of nowhere",
          "{\"name\": \"a\", \"image\": \"i\", \"kind\": \"os\", \"os\": {\"mounts\": "
          "[{\"source\": \"a\", \"target\": \"/b\"}]}}",
          -EINVAL, "a path from the root", "os" },
    };

    for_each_row(row, rows) {
        struct instance_cfg c = {};
        struct err e = {};

        ROW(row);
        CHECK_EQ(parse(row->text, &c, &e), row->want);
        if (row->says)
            CHECK_HAS(e.text, row->says);
        CHECK_STR(e.field, row->field);
        instance_cfg_fini(&c);
    }
}

TEST(instance_as_a_machine)
{
    const struct instance_paths p = { "/d/instances/i1", "/d/images", "/d/cache" };
    const struct image_cfg image = { .append = (char[]){ "quiet" }, .initrd = true, .disk = true };
    struct instance_cfg c = {};
    struct vm_spec s = {};
    struct err e = {};

    CHECK_OK(
        parse("{\"name\": \"web\", \"image\": \"deb\", \"cpus\": 2, \"console\": \"virtio\", "
              "\"disks\": [{\"file\": \"/data\"}], \"nets\": [{\"mac\": \"52:54:00:00:00:01\"}]}",
              &c, &e),
        &e);
    instance_identify(&c);
    CHECK_OK(instance_spec(&c, &p, &image, &s, &e), &e);
    CHECK_STR(s.name, "web");
    CHECK_EQ(s.cpus, 2);
    CHECK_STR(s.kernel, "/d/images/deb/kernel");
    CHECK_STR(s.initrd, "/d/images/deb/initrd");
    CHECK_STR(s.append, "console=hvc0 quiet root=/dev/vda");
    CHECK_EQ(s.disks.n, 2);
    CHECK_STR(spec_disk(&s, 0)->file, "/d/instances/i1/disk");
    CHECK_STR(spec_disk(&s, 1)->file, "/data");
    CHECK_STR(s.console.backend, "unix:/d/instances/i1/console");
    CHECK_STR(s.console.log, "/d/instances/i1/console.log");
    CHECK_STR(s.control, "/d/instances/i1/control");
    CHECK_STR(s.agent, "unix:/d/instances/i1/agent");
    CHECK_STR(s.uuid, c.spec.uuid);
    CHECK_STR(spec_net(&s, 0)->mac, spec_net(&c.spec, 0)->mac);
    spec_fini(&s);
    instance_cfg_fini(&c);
}

/* The bus is full: the guest agent's port is what there is no room for. */
TEST(instance_with_all_devices)
{
    const struct instance_paths p = { "/i", "/d/images", "/d/cache" };

    for (u32 nets = 4; nets <= 5; nets++) {
        AUTO(strbuf) struct strbuf text = {};
        struct instance_cfg c = {};
        struct vm_spec s = {};
        struct err e = {};

        strbuf_add(&text, "{\"name\": \"a\", \"kernel\": \"/k\", \"disks\": [");
        for (u32 i = 0; i < SPEC_DISKS_MAX; i++)
            strbuf_add(&text, "%s{\"file\": \"/%u\"}", i ? ", " : "", i);
        strbuf_add(&text, "], \"nets\": [");
        for (u32 i = 0; i < nets; i++)
            strbuf_add(&text, "%s{}", i ? ", " : "");
        strbuf_add(&text, "]}");
        CHECK_OK(parse(text.text, &c, &e), &e);
        CHECK_OK(instance_spec(&c, &p, NULL, &s, &e), &e);
        CHECK_EQ(s.agent != NULL, nets == 4);
        spec_fini(&s);
        instance_cfg_fini(&c);
    }
}

/* What is printed is what was parsed: records, bodies and answers are the same fields. */
TEST(instance_round_trip)
{
    struct instance_cfg c = {}, again = {};
    struct err e = {};
    json_t *a, *b;

    CHECK_OK(
        parse("{\"name\": \"a\", \"kernel\": \"/k\", \"memory\": \"2G\", \"tags\": [{\"tag\": "
              "\"x:y\"}], "
              "\"notes\": \"n\", \"protected\": true, \"hpet\": true, \"vsock\": {\"cid\": 5}, "
              "\"cloud\": {\"user_data\": \"#!/bin/sh\", \"keys\": [{\"key\": \"ssh-rsa AAAA\"}]}, "
              "\"restart\": \"always\"}",
              &c, &e),
        &e);
    instance_identify(&c);
    a = conf_print(instance_fields(), &c);
    CHECK_OK(instance_parse(&again, a, &e), &e);
    b = conf_print(instance_fields(), &again);
    CHECK(json_equal(a, b));
    json_decref(a);
    json_decref(b);
    instance_cfg_fini(&c);
    instance_cfg_fini(&again);
}

TEST(guard_rule)
{
    static const struct {
        const char *why;
        struct guard_host host;
        struct guard_vm vm[2];
        u32 n;
        u64 room;
    } rows[] = {
        { "5 % are kept", { 100 * GiB, 50 * GiB, ~0ull }, {}, 0, 45 * GiB - GUARD_OVERHEAD },
        { "at least 512 MiB are kept",
          { 4 * GiB, 2 * GiB, ~0ull },
          {},
          0,
          1536 * MiB - GUARD_OVERHEAD },
        { "nothing is left", { 4 * GiB, 256 * MiB, ~0ull }, {}, 0, 0 },
        { "the cgroup has less", { 100 * GiB, 50 * GiB, GiB }, {}, 0, GiB - GUARD_OVERHEAD },
        { "what a machine has is not counted twice",
          { 100 * GiB, 50 * GiB, ~0ull },
          { { 10 * GiB, 4 * GiB }, { GiB, GiB + GUARD_OVERHEAD } },
          2,
          45 * GiB - 6 * GiB - 2 * (u64)GUARD_OVERHEAD },
        { "more resident than configured",
          { 100 * GiB, 50 * GiB, ~0ull },
          { { GiB, 9 * GiB } },
          1,
          45 * GiB - GUARD_OVERHEAD },
        { "all is promised", { 100 * GiB, 50 * GiB, ~0ull }, { { 60 * GiB, 0 } }, 1, 0 },
    };
    struct err e = {};

    for_each_row(row, rows) {
        ROW(row);
        CHECK_EQ(guard_room(&row->host, row->vm, row->n), row->room);
        CHECK_EQ(guard_check(&row->host, row->vm, row->n, "a", row->room, &e), 0);
        CHECK_EQ(guard_check(&row->host, row->vm, row->n, "a", row->room + MiB, &e), -ENOMEM);
        CHECK_HAS(e.text, "would fit");
    }
    CHECK_OK(guard_read_host(&(struct guard_host){}, &e), &e);
}

TEST(instance_folders)
{
    static const struct {
        const char *why, *path;
        bool there;
    } rows[] = {
        { "a folder", "/proc/self", true },
        { "a file", "/proc/self/stat", false },
        { "nothing", "/nowhere/at/all", false },
    };

    for_each_row(c, rows) {
        struct instance_cfg cfg;
        struct err e = {};
        json_t *j = json_pack("{s:s, s:s, s:[{s:s, s:s}]}", "name", "a", "kernel", "/k", "shares",
                              "tag", "data", "path", c->path);

        ROW(c);
        CHECK_OK(instance_parse(&cfg, j, &e), &e); /* a record is read whether it is there or not */
        json_decref(j);
        CHECK_EQ(instance_check_folders(&cfg, &e), c->there ? 0 : -EINVAL);
        if (!c->there)
            CHECK_HAS(e.text, "share 'data': there is no folder");
        instance_cfg_fini(&cfg);
    }
}

TEST(instance_shares)
{
    static const struct {
        const char *why, *text, *says, *field;
    } rows[] = {
        { "a shared folder by a path of nobody's",
          "{\"name\": \"a\", \"kernel\": \"/k\", \"shares\": [{\"tag\": \"d\", \"path\": "
          "\"data\"}]}",
          "a path from the root is needed", "" },
        { "two of one tag",
          "{\"name\": \"a\", \"kernel\": \"/k\", \"shares\": [{\"tag\": \"d\", \"path\": \"/a\"}, "
          "{\"tag\": \"d\", "
          "\"path\": \"/b\"}]}",
          "share 'd' is given twice", "" },
        { "a container has no shared folders",
          "{\"name\": \"a\", \"image\": \"i\", \"kind\": \"os\", \"shares\": [{\"tag\": \"d\", "
          "\"path\": \"/a\"}]}",
          "'shares' is of machines", "shares" },
    };

    for_each_row(row, rows) {
        struct instance_cfg c = {};
        struct err e = {};

        ROW(row);
        CHECK_EQ(parse(row->text, &c, &e), -EINVAL);
        CHECK_HAS(e.text, row->says);
        CHECK_STR(e.field, row->field);
    }
}
