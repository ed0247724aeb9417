/*
 * os/os_test.c: what is written for an instance of kind os, who its users are, frames.
 */
#include "os/bundle.h"
#include "os/exec.h"
#include "os/ids.h"
#include "os/user.h"
#include "testlib/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

TEST(os_signals)
{
    static const struct {
        const char *why, *name;
        int number;
    } rows[] = {
        { "a name", "SIGTERM", 15 },
        { "a short name", "QUIT", 3 },
        { "a number", "9", 9 },
        { "systemd's halt", "SIGRTMIN+3", 37 },
        { "the last one", "RTMIN+30", 64 },
        { "beyond the last one", "RTMIN+31", 0 },
        { "no number", "65", 0 },
        { "zero is none", "0", 0 },
        { "no name", "SIGNOTHING", 0 },
        { "nothing", "", 0 },
    };

    for_each_row(c, rows) {
        ROW(c);
        CHECK_EQ(os_signal(c->name), c->number);
    }
}

TEST(os_specs)
{
    static const struct {
        const char *why, *text, *error; /* NULL: it is one */
    } rows[] = {
        { "the least",
          "{\"name\": \"a\", \"folder\": \"/f\", \"layers\": [\"/l\"], \"runtime\": \"/r\"}",
          NULL },
        { "no layer", "{\"name\": \"a\", \"folder\": \"/f\", \"runtime\": \"/r\"}",
          "'layers' is empty" },
        { "a folder of nowhere",
          "{\"name\": \"a\", \"folder\": \"f\", \"layers\": [\"/l\"], \"runtime\": \"/r\"}",
          "path from the root" },
        { "no such signal",
          "{\"name\": \"a\", \"folder\": \"/f\", \"layers\": [\"/l\"], \"runtime\": \"/r\", "
          "\"stop_signal\": \"X\"}",
          "'stop_signal' is 'X'" },
        { "a card without an address",
          "{\"name\": \"a\", \"folder\": \"/f\", \"layers\": [\"/l\"], \"runtime\": \"/r\", "
          "\"nets\": [{\"link\": \"x\"}]}",
          "'mac'" },
    };

    for_each_row(c, rows) {
        struct os_spec s;
        struct err e = {};

        ROW(c);
        CHECK_EQ(os_spec_parse(&s, c->text, strlen(c->text), &e) == 0, !c->error);
        CHECK(!c->error || strstr(e.text, c->error));
        os_spec_fini(&s);
    }
}

static void write_file(const char *name, const char *text)
{
    AUTO(free) char *path = str_new("%s/root/etc/%s", test_dir(), name);
    AUTO(fd) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    CHECK(fd >= 0 && fd_write_all(fd, text, strlen(text)) == 0);
}

static int open_root(void)
{
    AUTO(free) char *root = str_new("%s/root", test_dir()), *etc = str_new("%s/etc", root);

    (void)mkdir(root, 0755);
    (void)mkdir(etc, 0755);
    return open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

TEST(os_ids_maps)
{
    static const struct {
        const char *why, *map;
        bool has; /* group 5 */
    } rows[] = {
        { "everybody", "         0          0 4294967295\n", true },
        { "one's own", "         0       1000          1\n", false },
        { "one's own and a range",
          "         0       1000          1\n         1     100000      65536\n", true },
        { "up to it", "0 1000 5\n", false },
        { "it alone", "5 1000 1\n", true },
        { "behind it", "6 1000 10\n", false },
        { "nobody yet", "", false },
        { "half a line", "0 1000", false },
        { "no numbers", "x y z\n", false },
    };

    for_each_row(c, rows) {
        AUTO(free) char *map = xdup(c->map);

        ROW(c);
        CHECK_EQ(os_ids_in_map(map, 5), c->has);
    }
}

TEST(os_users)
{
    static const struct {
        const char *why, *who, *home, *error;
        u32 uid, gid, groups;
    } rows[] = {
        { "nobody said", NULL, "/root", NULL, 0, 0, 0 },
        { "a name", "web", "/srv", NULL, 33, 34, 2 },
        { "a number with an account", "33", "/srv", NULL, 33, 34, 0 },
        { "a number without", "4711", "/", NULL, 4711, 4711, 0 },
        { "a name and a group", "web:adm", "/srv", NULL, 33, 4, 0 },
        { "two numbers", "1:2", "/", NULL, 1, 2, 0 },
        { "an account without a home", "lost", "/", NULL, 7, 7, 0 },
        { "a broken line is none", "broken", NULL, "no user 'broken'", 0, 0, 0 },
        { "no such user", "x", NULL, "no user 'x'", 0, 0, 0 },
        { "no such group", "web:x", NULL, "no group 'x'", 0, 0, 0 },
        { "a number that is none", "4294967295", NULL, "no user", 0, 0, 0 },
    };
    AUTO(fd) int root = open_root();

    CHECK(root >= 0);
    write_file("passwd", "root:x:0:0:root:/root:/bin/sh\n\n:::\nbroken:x:one:1:::\nweb:x:33:34::/"
                         "srv:/bin/sh\nlost:x:7:7:::\n");
    write_file("group", "adm:x:4:web\nweb:x:34:\nbroken\nsudo:x:27:other,web\n");
    for_each_row(c, rows) {
        struct os_user u = {};
        struct err e = {};
        const int r = os_user_find(root, c->who, &u, &e);

        ROW(c);
        CHECK_EQ(r == 0, !c->error);
        if (c->error) {
            CHECK(strstr(e.text, c->error));
            continue;
        }
        CHECK_EQ(u.uid, c->uid);
        CHECK_EQ(u.gid, c->gid);
        CHECK_EQ(u.n_groups, c->groups);
        CHECK_STR(u.home, c->home);
    }
}

/* Files of the container are its own to choose. */
TEST(os_users_of_hostile_files)
{
    AUTO(fd) int root = open_root();
    AUTO(free) char *passwd = str_new("%s/root/etc/passwd", test_dir());
    struct os_user u;
    struct err e = {};

    unlink(passwd);
    CHECK_EQ(symlink("../../../../../../etc/passwd", passwd), 0); /* itself, in its root */
    CHECK(os_user_find(root, "root", &u, &e) < 0);
    unlink(passwd);
    CHECK_EQ(mkfifo(passwd, 0600), 0);
    CHECK(os_user_find(root, "root", &u, &e) < 0 && strstr(e.text, "no regular file"));
    unlink(passwd);
    CHECK_EQ(os_user_find(root, NULL, &u, &e), 0); /* none at all: 0 is 0 */
    CHECK_EQ(u.uid, 0);
}

TEST(os_frames)
{
    AUTO(strbuf) struct strbuf out = {};
    const u8 *data;
    size_t len;
    u8 kind;

    os_frame_add(&out, OS_FRAME_IN, "hello", 5);
    os_frame_add(&out, OS_FRAME_IN, NULL, 0);
    for (size_t n = 0; n < OS_FRAME_HEAD + 5; n++)
        CHECK_EQ(os_frame_parse((u8 *)out.text, n, &kind, &data, &len), 0);
    CHECK_EQ(os_frame_parse((u8 *)out.text, out.len, &kind, &data, &len), OS_FRAME_HEAD + 5);
    CHECK(kind == OS_FRAME_IN && len == 5 && memcmp(data, "hello", 5) == 0);
    CHECK_EQ(os_frame_parse((u8 *)out.text + 10, 5, &kind, &data, &len), OS_FRAME_HEAD);
    CHECK_EQ(len, 0);
    out.text[1] = 1; /* 16 MiB and more */
    CHECK_EQ(os_frame_parse((u8 *)out.text, out.len, &kind, &data, &len), -EBADMSG);
}

static bool has_text(const json_t *list, const char *text)
{
    json_t *one;
    size_t i;

    json_array_foreach(list, i, one) if (strcmp(json_string_value(one), text) == 0) return true;
    return false;
}

/* What is said first counts: the client's, the instance's, ours. */
TEST(os_programs)
{
    static const char text[] =
        "{\"name\": \"a\", \"folder\": \"%s\", \"layers\": [\"/l\"], \"runtime\": \"/r\", \"env\": "
        "[\"A=1\", \"B=1\", \"A=0\"], \"cwd\": \"/srv\"}";
    AUTO(free) char *spec_text = str_new(text, test_dir());
    AUTO(fd) int root = open_root();
    struct os_program p = {};
    struct os_spec s;
    struct err e = {};
    const json_t *env;
    json_t *j;

    CHECK(root >= 0);
    CHECK_OK(os_spec_parse(&s, spec_text, strlen(spec_text), &e), &e);
    CHECK(!os_bundle_process(&s, &p, &e)); /* nothing to run */
    CHECK_OK(conf_parse_options(os_program_fields, &p, "command=ls,env=B=2,user=5:6", &e), &e);
    j = os_bundle_process(&s, &p, &e);
    CHECK(j);
    env = json_object_get(j, "env");
    CHECK(has_text(env, "A=1") && !has_text(env, "A=0") && has_text(env, "B=2") &&
          !has_text(env, "B=1"));
    CHECK_STR(json_string_value(json_object_get(j, "cwd")), "/srv");
    CHECK_EQ(json_integer_value(json_object_get(json_object_get(j, "user"), "uid")), 5);
    CHECK(json_is_true(json_object_get(j, "noNewPrivileges")));
    CHECK_EQ(json_array_size(json_object_get(json_object_get(j, "capabilities"), "effective")), 0);
    json_decref(j);
    conf_fini(os_program_fields, &p);
    os_spec_fini(&s);
}
