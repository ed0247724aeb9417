/*
 * vm/spec_test.c: machines that can be and machines that cannot, and the small texts inside a spec.
 */
#include "vm/spec.h"

#include "testlib/test.h"

TEST(spec_parse)
{
    static const struct {
        const char *why, *text, *error; /* error NULL: it is a machine */
    } rows[] = {
        { "least", "{\"kernel\":\"k\"}", NULL },
        { "no kernel", "{}", "nothing to boot: 'kernel' is missing" },
        { "64 CPUs", "{\"kernel\":\"k\",\"cpus\":64}", NULL },
        { "65 CPUs", "{\"kernel\":\"k\",\"cpus\":65}", "'cpus' is 65; 1 to 64 is allowed" },
        { "bytes meant as megabytes", "{\"kernel\":\"k\",\"memory\":512}",
          "'memory' is 512; 1M to 4T is allowed" },
        { "odd memory", "{\"kernel\":\"k\",\"memory\":1048577}", "a multiple of 4K is needed" },
        { "odd memory in huge pages", "{\"kernel\":\"k\",\"memory\":\"3M\",\"hugepages\":true}",
          "a multiple of 2M is needed with hugepages" },
        { "bad name", "{\"kernel\":\"k\",\"name\":\"-a\"}", "a letter or digit first" },
        { "empty kernel", "{\"kernel\":\"\"}", "the name of a file is expected" },
        { "line feed in the command line", "{\"kernel\":\"k\",\"append\":\"a\\nb\"}",
          "without control characters" },
        { "uuid", "{\"kernel\":\"k\",\"uuid\":\"01234567-89ab-cdef-0123-456789ABCDEF\"}", NULL },
        { "short uuid", "{\"kernel\":\"k\",\"uuid\":\"01234567-89ab-cdef-0123\"}", "a UUID as" },
        { "long uuid", "{\"kernel\":\"k\",\"uuid\":\"01234567-89ab-cdef-0123-456789ABCDEF0\"}",
          "a UUID as" },
        { "serial too long",
          "{\"kernel\":\"k\",\"disks\":[{\"file\":\"a\",\"serial\":\"123456789012345678901\"}]}",
          "disks 0: 'serial' is" },
        { "tap without its name", "{\"kernel\":\"k\",\"nets\":[{\"kind\":\"tap\"}]}",
          "net 0: 'tap' is missing" },
        { "forward through a tap",
          "{\"kernel\":\"k\",\"nets\":[{},{\"tap\":\"t\",\"forward\":[{\"rule\":\"tcp:1:2\"}]}]}",
          "net 1: 'forward' is for user networks" },
        { "queues of a user network", "{\"kernel\":\"k\",\"nets\":[{\"queues\":2}]}",
          "only tap networks have more than 1" },
        { "none with more", "{\"kernel\":\"k\",\"nets\":[{\"kind\":\"none\",\"tap\":\"t\"}]}",
          "none has no other options" },
        { "group address", "{\"kernel\":\"k\",\"nets\":[{\"mac\":\"01:00:5e:00:00:01\"}]}",
          "of a unicast address, as 52:54:00:12:34:56" },
        { "interface with a slash", "{\"kernel\":\"k\",\"nets\":[{\"tap\":\"a/b\"}]}",
          "an interface name of 1 to 15 characters" },
        { "host's own context id", "{\"kernel\":\"k\",\"vsock\":{\"cid\":2}}",
          "'cid' is 2; 3 to 4294967294 are guests" },
        { "vsock", "{\"kernel\":\"k\",\"vsock\":{\"cid\":3,\"path\":\"v\"}}", NULL },
        { "vsock without an id", "{\"kernel\":\"k\",\"vsock\":{\"path\":\"v\"}}",
          "'cid' is missing" },
        { "guest agent", "{\"kernel\":\"k\",\"agent\":\"unix:/a\"}", NULL },
        { "guest agent on a terminal", "{\"kernel\":\"k\",\"agent\":\"pty\"}",
          "unix:PATH or none" },
        { "console that is not", "{\"kernel\":\"k\",\"console\":{\"backend\":\"tty\"}}",
          "stdio, pty, none, unix:PATH or file:PATH is expected" },
    };

    for_each_row(c, rows) {
        struct vm_spec s;
        struct err e = {};
        int r = spec_parse(&s, c->text, strlen(c->text), &e);

        ROW(c);
        if (c->error) {
            CHECK_EQ(r, -EINVAL);
            CHECK_HAS(e.text, c->error);
            CHECK(!s.name && !s.nets.items);
            CHECK_EQ(spec_parse(&s, c->text, strlen(c->text), NULL), -EINVAL);
            continue;
        }
        CHECK_OK(r, &e);
        spec_fini(&s);
    }
}

TEST(spec_shares)
{
    static const struct {
        const char *why, *text;
        const char *error; /* NULL: it is allowed */
    } rows[] = {
        { "shares",
          "{\"kernel\":\"k\",\"shares\":[{\"tag\":\"a\",\"path\":\"/"
          "a\"},{\"tag\":\"b\",\"path\":\"/a\","
          "\"readonly\":true}]}",
          NULL },
        { "share without a folder", "{\"kernel\":\"k\",\"shares\":[{\"tag\":\"a\"}]}",
          "'path' is missing" },
        { "share with a tag that is none",
          "{\"kernel\":\"k\",\"shares\":[{\"tag\":\"a b\",\"path\":\"/a\"}]}",
          "1 to 36 letters, digits" },
        { "two shares of one tag",
          "{\"kernel\":\"k\",\"shares\":[{\"tag\":\"a\",\"path\":\"/"
          "a\"},{\"tag\":\"a\",\"path\":\"/b\"}]}",
          "share 'a' is given twice" },
    };

    for_each_row(c, rows) {
        struct vm_spec s;
        struct err e = {};
        int r = spec_parse(&s, c->text, strlen(c->text), &e);

        ROW(c);
        CHECK_EQ(r, c->error ? -EINVAL : 0);
        if (c->error)
            CHECK_HAS(e.text, c->error);
        else
            spec_fini(&s);
    }
}

TEST(spec_check_settles_the_nets)
{
    static const char text[] =
        "{\"kernel\":\"k\",\"nets\":[{\"kind\":\"none\"},{\"tap\":\"tap0\"},{\"kind\":\"none\"},"
        "{\"forward\":[{\"rule\":\"tcp:2222:22\"}]}]}";
    struct vm_spec s;
    struct err e = {};

    CHECK_OK(spec_parse(&s, text, strlen(text), &e), &e);
    CHECK_EQ(s.nets.n, 2);
    CHECK_EQ(spec_net(&s, 0)->kind, SPEC_NET_TAP);
    CHECK_STR(spec_net(&s, 0)->tap, "tap0");
    CHECK_EQ(spec_net(&s, 1)->kind, SPEC_NET_USER);
    CHECK_EQ(spec_net(&s, 1)->forward.n, 1);
    CHECK(s.balloon && s.rng && !s.hpet && !s.testdev);
    CHECK_EQ(s.memory, GiB);
    spec_fini(&s);
}

TEST(spec_forward)
{
    static const struct {
        const char *why, *rule;
        int r;
        struct spec_rule want;
    } rows[] = {
        { "two ports", "tcp:2222:22", 0, { false, "127.0.0.1", 2222, 22, true } },
        { "address", "udp:0.0.0.0:53:5353", 0, { true, "0.0.0.0", 53, 5353, false } },
        { "highest port", "tcp:65535:65535", 0, { false, "127.0.0.1", 65535, 65535, true } },
        { "one port", "tcp:22", -EINVAL, {} },
        { "port 0", "tcp:0:22", -EINVAL, {} },
        { "port too high", "tcp:65536:22", -EINVAL, {} },
        { "port with letters", "tcp:22x:22", -EINVAL, {} },
        { "no protocol", "2222:22", -EINVAL, {} },
        { "other protocol", "sctp:1:2", -EINVAL, {} },
        { "name for an address", "tcp:localhost:1:2", -EINVAL, {} },
        { "empty address", "tcp::1:2", -EINVAL, {} },
        { "too many parts", "tcp:1.2.3.4:1:2:3", -EINVAL, {} },
        { "nothing", "", -EINVAL, {} },
        { "only the protocol", "tcp:", -EINVAL, {} },
    };

    for_each_row(c, rows) {
        struct spec_rule got = { .host_port = 7 };

        ROW(c);
        CHECK_EQ(spec_forward(c->rule, &got), c->r);
        CHECK_EQ(got.host_port, c->r ? 7 : c->want.host_port);
        CHECK_EQ(got.guest_port, c->want.guest_port);
        CHECK_EQ(got.udp, c->want.udp);
        CHECK_EQ(got.any, c->want.any);
        CHECK_STR(got.address, c->want.address);
    }
}

TEST(spec_mac)
{
    static const u8 want[6] = { 0x52, 0x54, 0, 0x12, 0xab, 0xff };
    static const char *const bad[] = {
        "",
        "52:54:00:12:ab",
        "52:54:00:12:ab:ff:00",
        "52-54-00-12-ab-ff",
        "5:54:00:12:ab:ff",
        "53:54:00:12:ab:ff",
        "52:54:00:12:ab:fg",
        "52:54:00:12:ab:f",
    };
    u8 mac[6];

    CHECK_EQ(spec_mac("52:54:00:12:aB:ff", mac), 0);
    CHECK_MEM(mac, want, 6);
    for_each_row(b, bad)
        CHECK_EQ(spec_mac(*b, mac), -EINVAL);
}

TEST(spec_console_fds)
{
    static const char *const bad[] = { "fd",       "fd:",     "fd:1",
                                       "fd::1",    "fd:1:",   "fd:a:1",
                                       "fd:1:2:3", "fd:-1:2", "fd:1:99999999999999999999",
                                       "pty" };
    int in = 0, out = 0;

    CHECK_EQ(spec_console_fds("fd:3:14", &in, &out), 0);
    CHECK_EQ(in, 3);
    CHECK_EQ(out, 14);
    for_each_row(b, bad)
        CHECK_EQ(spec_console_fds(*b, &in, &out), -EINVAL);
}

TEST(spec_has_param)
{
    CHECK(spec_has_param("root=/dev/vda", "root="));
    CHECK(spec_has_param("quiet root=/dev/vda", "root="));
    CHECK(!spec_has_param("nfsroot=x netroot=y", "root="));
    CHECK(spec_has_param("nfsroot=x root=y", "root="));
    CHECK(!spec_has_param("", "root="));
    CHECK(!spec_has_param(NULL, "root="));
}
