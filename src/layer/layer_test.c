/*
 * layer/layer_test.c: pools, sources, folders as layers, an image's JSON, and a user's ids.
 */
#include "layer/beneath.h"
#include "layer/ids.h"
#include "layer/import.h"
#include "layer/layer_rig.h"
#include "layer/pack.h"
#include "layer/pool.h"
#include "testlib/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int new_pool(void)
{
    AUTO(free) char *path = str_new("%s/pool-XXXXXX", test_dir());
    struct err e;
    int fd;

    must(mkdtemp(path));
    fd = pool_open(path, &e);
    must(fd >= 0);
    return fd;
}

static bool exists(int dir, const char *name)
{
    return faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

#define HEX_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

TEST(digests)
{
    char text[DIGEST_TEXT];
    struct digest d;

    digest_init(&d);
    digest_add(&d, "a", 1);
    digest_add(&d, "bc", 2);
    digest_end(&d, text);
    digest_fini(&d);
    CHECK_STR(text, "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    CHECK(digest_ok(text));
    text[10] = 'A';
    CHECK(!digest_ok(text));
    CHECK(!digest_ok("sha256:" HEX_A "a") && !digest_ok("sha256:") && !digest_ok("sha512:" HEX_A));
    CHECK(pool_name_ok("sha256-" HEX_A) && !pool_name_ok("sha256:" HEX_A) &&
          !pool_name_ok("sha256-" HEX_A "/"));
}

TEST(a_layer_has_its_name_when_it_is_complete)
{
    AUTO(fd) int pool = new_pool();
    const struct pool_info info = { 1, 2, 3, 4 };
    struct pool_info found;
    struct pool_new n;
    struct err e;
    u64 removed;

    CHECK_EQ(pool_find(pool, "sha256-" HEX_A, &found), 0);
    CHECK_OK(pool_new(pool, &n, &e), &e);
    CHECK(mkdirat(n.fd, "inside", 0755) == 0);
    CHECK_OK(pool_clean(pool, &removed, &e), &e);
    CHECK_EQ(removed, 0); /* it is held */
    CHECK(exists(pool, n.name));
    CHECK_EQ(pool_keep(&n, "sha256-" HEX_A, &info, &e), 1);
    pool_new_fini(&n);
    CHECK_EQ(pool_find(pool, "sha256-" HEX_A, &found), 1);
    CHECK_MEM(&found, &info, sizeof(info));
    CHECK_OK(pool_new(pool, &n, &e), &e);
    CHECK_EQ(pool_keep(&n, "sha256-" HEX_A, &info, &e), 0); /* somebody was quicker */
    pool_new_fini(&n);
    CHECK(!exists(pool, n.name) && exists(pool, "sha256-" HEX_A "/inside"));
    CHECK_OK(pool_remove(pool, "sha256-" HEX_A, &e), &e);
    CHECK(!exists(pool, "sha256-" HEX_A));
    CHECK_EQ(pool_remove(pool, "sha256-" HEX_A, &e), -ENOENT);
    CHECK_EQ(pool_remove(pool, "..", &e), -EINVAL);
}

TEST(what_a_crash_left_is_removed)
{
    AUTO(fd) int pool = new_pool();
    struct pool_new n;
    struct err e;
    u64 removed = 0;

    for (unsigned i = 0; i < 3; i++) {
        CHECK_OK(pool_new(pool, &n, &e), &e);
        CHECK(mkdirat(n.fd, "a", 0) == 0);
        fd_close(&n.fd); /* as the end of its process does */
    }
    CHECK(mkdirat(pool, "other", 0755) == 0);
    CHECK_OK(pool_clean(pool, &removed, &e), &e);
    CHECK_EQ(removed, 3);
    CHECK(exists(pool, "other"));
}

TEST(a_deep_tree_is_removed_and_no_link_in_it_is_followed)
{
    AUTO(fd) int dir = open(test_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    AUTO(fd) int at = -1;

    CHECK(mkdirat(dir, "precious", 0755) == 0 && mkdirat(dir, "precious/x", 0755) == 0);
    CHECK(mkdirat(dir, "deep", 0755) == 0);
    at = openat(dir, "deep", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (unsigned i = 0; i < 2000; i++) {
        int below;

        CHECK(symlinkat("../precious", at, "link") == 0 && mkdirat(at, "other", 0) == 0);
        CHECK(mkdirat(at, "sub", 0755) == 0);
        below = openat(at, "sub", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        CHECK(below >= 0);
        fd_close(&at);
        at = below;
    }
    CHECK_EQ(beneath_remove(dir, "deep"), 0);
    CHECK(!exists(dir, "deep") && exists(dir, "precious/x"));
    CHECK(symlinkat("precious", dir, "link") == 0);
    CHECK_EQ(beneath_remove(dir, "link"), 0);
    CHECK(exists(dir, "precious/x") && !exists(dir, "link"));
    CHECK_EQ(beneath_remove(dir, "link"), 0);
}

TEST(names_lead_nowhere_but_down)
{
    AUTO(fd) int dir = new_pool();
    int r;

    CHECK(symlinkat("/etc", dir, "abs") == 0 && symlinkat("..", dir, "up") == 0);
    r = beneath_open(dir, "abs/passwd", O_RDONLY, 0);
    CHECK_EQ(r, -ELOOP);
    r = beneath_open(dir, "up", O_RDONLY, 0);
    CHECK_EQ(r, -ELOOP);
    r = beneath_open(dir, "../x", O_RDONLY, 0);
    CHECK_EQ(r, -EXDEV);
    r = beneath_open(dir, "/etc", O_RDONLY, 0);
    CHECK_EQ(r, -EXDEV);
}

/* A source of these bytes. */
static int open_bytes(const void *p, size_t len, int pool, struct source **ret, struct err *e)
{
    const struct stream_limits limits = { .bytes = 1 * GiB, .ratio = 1000, .ratio_free = 1 * GiB };
    int fd = beneath_open(pool, ".", O_TMPFILE | O_RDWR, 0600);

    must(fd >= 0 && fd_write_all(fd, p, len) == 0);
    return source_open(fd, pool, &limits, NULL, ret, e);
}

TEST(what_a_tar_is)
{
    /* clang-format off */
    static const struct {
        const char *why, *names[4];
        int want;
    } rows[] = {
        { "a layout",            { "oci-layout", "index.json", "blobs/sha256/" HEX_A }, SOURCE_OCI },
        { "with its own root",   { "./blobs", "./index.json", "./oci-layout" },         SOURCE_OCI },
        { "docker save",         { HEX_A "/layer.tar", HEX_A ".json", "manifest.json" }, SOURCE_DOCKER },
        { "both",                { "oci-layout", "index.json", "manifest.json" },       SOURCE_OCI },
        { "a root",              { "bin/sh", "etc/passwd" },                            SOURCE_TAR },
        { "a root with a trap",  { "index.json", "oci-layout", "etc/passwd" },          SOURCE_TAR },
        { "no layout",           { "index.json" },                                      SOURCE_TAR },
        { "the same twice",      { "oci-layout", "index.json", "./index.json" },        -EBADMSG },
    };
    /* clang-format on */
    AUTO(fd) int pool = new_pool();

    for_each_row(row, rows) {
        AUTO(strbuf) struct strbuf tar = {};
        AUTO(source) struct source *s = NULL;
        struct err e = {};
        int r;

        ROW(row);
        for (unsigned i = 0; i < ARRAY_LEN(row->names) && row->names[i]; i++)
            tar_add(&tar, '0', row->names[i], row->names[i], "");
        tar_end(&tar);
        r = open_bytes(tar.text, tar.len, pool, &s, &e);
        CHECK_EQ(r < 0 ? r : (int)s->kind, row->want);
    }
}

TEST(a_file_of_an_archive_and_a_link_to_it)
{
    AUTO(strbuf) struct strbuf tar = {};
    AUTO(strbuf) struct strbuf text = {};
    AUTO(fd) int pool = new_pool();
    AUTO(source) struct source *s = NULL;
    struct blob *b = NULL;
    struct err e;

    tar_add(&tar, '2', HEX_A "/layer.tar", "", "../" HEX_A ".tar");
    tar_add(&tar, '0', "manifest.json", "[]", "");
    tar_add(&tar, '0', HEX_A ".tar", "data", "");
    tar_end(&tar);
    CHECK_OK(open_bytes(tar.text, tar.len, pool, &s, &e), &e);
    CHECK_OK(source_blob(s, HEX_A "/layer.tar", &b, &e), &e);
    CHECK_EQ(b->size, 4);
    CHECK_OK(blob_text(b, 10, &text, &e), &e);
    CHECK_STR(text.text, "data");
    blob_free(TAKE(b));
    CHECK_EQ(source_blob(s, "index.json", &b, &e), -ENOENT);
}

static int import_bytes(const struct strbuf *tar, int pool, struct import_image *ret, struct err *e)
{
    const struct import_cfg cfg = { .pool = pool, .user_xattr = true, .single_id = true };
    AUTO(source) struct source *s = NULL;
    int r = open_bytes(tar->text, tar->len, pool, &s, e);

    *ret = (struct import_image){};
    return r < 0 ? r : import_run(&cfg, s, NULL, ret, e);
}

TEST(a_folder_is_the_layer_that_it_was_made_of)
{
    AUTO(strbuf) struct strbuf tar = {};
    AUTO(fd) int pool = new_pool();
    AUTO(fd) int dir = -1;
    struct import_image first, second, third;
    const struct import_cfg cfg = { .pool = pool, .user_xattr = true, .single_id = true };
    struct source *s = NULL;
    struct err e;

    tar_add(&tar, '5', "d", "", "");
    tar_add(&tar, '0', "d/f", "content", "");
    tar_add(&tar, '1', "hard", "", "d/f");
    tar_add(&tar, '2', "soft", "", "nowhere");
    tar_add(&tar, '6', "pipe", "", "");
    tar_end(&tar);
    CHECK_OK(import_bytes(&tar, pool, &first, &e), &e);
    for (unsigned i = 0; i < 2; i++) {
        struct import_image *im = i ? &third : &second;

        dir = openat(pool, ((struct import_layer *)first.layers.items)->name, O_RDONLY | O_CLOEXEC);
        CHECK_OK(source_open(TAKE_FD(dir), pool, &(struct stream_limits){ .bytes = 1 * MiB }, NULL,
                             &s, &e),
                 &e);
        CHECK_OK(import_run(&cfg, s, NULL, im, &e), &e);
        CHECK_EQ(im->kind, SOURCE_DIR);
        CHECK_EQ(((struct import_layer *)im->layers.items)->reused, i);
        CHECK_EQ(((struct import_layer *)im->layers.items)->bytes, 7);
        source_free(TAKE(s));
    }
    CHECK_STR(((struct import_layer *)third.layers.items)->name,
              ((struct import_layer *)second.layers.items)->name);
    conf_fini(import_image_fields, &first);
    conf_fini(import_image_fields, &second);
    conf_fini(import_image_fields, &third);
}

#define DESC(digest, more) \
    "{\"mediaType\":\"m\",\"digest\":\"sha256:" digest "\",\"size\":1" more "}"
#define NAMED(name) ",\"annotations\":{\"" MANIFEST_REF_NAME "\":\"" name "\"}"
#define FOR(os, arch) \
    ",\"platform\":{\"os\":\"" os "\",\"architecture\":\"" arch "\",\"features\":[1]}"
#define HEX_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

TEST(which_manifest_is_meant)
{
    /* clang-format off */
    static const struct {
        const char *why, *text, *tag, *want; /* NULL: refused */
    } rows[] = {
        { "the only one",       DESC(HEX_A, ""),                                            NULL,  HEX_A },
        { "by name",            DESC(HEX_A, NAMED("a")) "," DESC(HEX_B, NAMED("b")),        "b",   HEX_B },
        { "by its tag",         DESC(HEX_A, NAMED("x/y:1")) "," DESC(HEX_B, NAMED("x/y:2")), "2",  HEX_B },
        { "names to choose of", DESC(HEX_A, NAMED("a")) "," DESC(HEX_B, NAMED("b")),        NULL,  NULL },
        { "no such name",       DESC(HEX_A, NAMED("a")),                                    "c",   NULL },
        { "for this machine",   DESC(HEX_A, FOR("linux", "arm64")) "," DESC(HEX_B, FOR("linux", "amd64")), NULL, HEX_B },
        { "and by name",        DESC(HEX_A, FOR("linux", "arm64") NAMED("a")) "," DESC(HEX_B, FOR("linux", "amd64") NAMED("a")), "a", HEX_B },
        { "for others only",    DESC(HEX_A, FOR("windows", "amd64")),                       NULL,  NULL },
        { "two for this",       DESC(HEX_A, FOR("linux", "amd64")) "," DESC(HEX_B, FOR("linux", "amd64")), NULL, HEX_A },
        { "none",               "",                                                         NULL,  NULL },
    };
    /* clang-format on */

    for_each_row(row, rows) {
        AUTO(free)
        char *text =
            str_new("{\"schemaVersion\":2,\"manifests\":[%s],\"x\":{\"y\":null}}", row->text);
        const struct manifest_desc *d = NULL;
        struct manifest_index index;
        struct err e = {};
        int r;

        ROW(row);
        CHECK_OK(manifest_index_parse(text, strlen(text), &index, &e), &e);
        CHECK(manifest_is_index(text, strlen(text)));
        r = manifest_pick(&index, row->tag, &d, &e);
        CHECK_EQ(r == 0, row->want != NULL);
        if (row->want && d)
            CHECK_STR(digest_hex(d->digest), row->want);
        conf_fini(manifest_index_fields, &index);
    }
}

TEST(a_configuration_and_what_it_may_not_have)
{
    static const char good[] =
        "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Env\":[\"A=b\"],\"Cmd\":null,"
        "\"ExposedPorts\":{\"80/tcp\":{}},\"Labels\":{\"k\":\"v\"},\"OnBuild\":[]},"
        "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:" HEX_A "\"]},\"history\":[{}]}";
    static const char *const bad[] = {
        "{\"rootfs\":{\"diff_ids\":[\"sha256:../x\"]}}",
        "{\"rootfs\":{\"diff_ids\":[1]}}",
        "{\"rootfs\":{}}",
        "{}",
        "[]",
        "{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"Env\":\"x\"}}",
        "{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"Labels\":{\"a\":1}}}",
    };
    struct manifest_config c;
    struct err e;

    CHECK_OK(manifest_config_parse(good, sizeof(good) - 1, &c, &e), &e);
    CHECK_EQ(c.config.Env.n, 1);
    CHECK_STR(c.config.ExposedPorts.items[0], "80/tcp");
    CHECK_STR(c.config.Labels.items[1], "v");
    conf_fini(manifest_config_fields, &c);
    for_each_row(text, bad) {
        test_row(*text);
        CHECK(manifest_config_parse(*text, strlen(*text), &c, &e) < 0);
        CHECK(!c.architecture && !c.rootfs.diff_ids.items);
    }
    test_row(NULL);
}

TEST(ranges_of_a_user)
{
    /* clang-format off */
    static const struct {
        const char *why, *text;
        u32 first, n;
    } rows[] = {
        { "by name",          "x:1:2\nme:100000:65536\n", 100000, 65536 },
        { "by number",        "1000:7:8",                 7,      8 },
        { "the first",        "me:5:6\nme:9:9\n",         5,      6 },
        { "another's",        "you:1:2\n",                0,      0 },
        { "a name in a name", "me2:1:2\nm:1:2",           0,      0 },
        { "too many",         "me:4294967295:2",          0,      0 },
        { "root is no range", "me:0:10",                  0,      0 },
        { "no number",        "me:a:10\nme::\nme:1",      0,      0 },
        { "nothing",          "",                         0,      0 },
    };
    /* clang-format on */

    for_each_row(row, rows) {
        struct ids_range r = ids_parse(row->text, "me", 1000);

        ROW(row);
        CHECK_EQ(r.first, row->first);
        CHECK_EQ(r.n, row->n);
    }
}
