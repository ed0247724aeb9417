/*
 * layer/registry_test.c: names of images in registries, what a registry asks for, and URLs of files.
 */
#include "layer/registry.h"

#include "layer/registry_http.h"
#include "layer/url.h"
#include "testlib/test.h"

#define HEX "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

TEST(names_of_images)
{
    /* clang-format off */
    static const struct {
        const char *why, *text, *host, *name, *want; /* host NULL: refused */
    } rows[] = {
        { "a tag",            "example.org/a/b:1.2_x",            "example.org",  "a/b", "1.2_x" },
        { "no tag",           "docker://example.org/a",           "example.org",  "a",   "latest" },
        { "a port",           "localhost:5000/a-b/c__d",          "localhost:5000", "a-b/c__d", "latest" },
        { "IPv6",             "[::1]:5000/a:t",                   "[::1]:5000",   "a",   "t" },
        { "a digest",         "h.x/a@sha256:" HEX,                "h.x",          "a",   "sha256:" HEX },
        { "another digest",   "h.x/a@sha512:" HEX,                NULL, NULL, NULL },
        { "no name",          "h.x/",                             NULL, NULL, NULL },
        { "no host",          "docker:///a",                      NULL, NULL, NULL },
        { "large letters",    "h.x/A",                            NULL, NULL, NULL },
        { "up",               "h.x/a/../b",                       NULL, NULL, NULL },
        { "two slashes",      "h.x/a//b",                         NULL, NULL, NULL },
        { "a query",          "h.x/a?b",                          NULL, NULL, NULL },
        { "a tag with more",  "h.x/a:b/c",                        NULL, NULL, NULL },
        { "an empty tag",     "h.x/a:",                           NULL, NULL, NULL },
        { "a user",           "docker://u@h.x/a",                 NULL, NULL, NULL },
        { "a port too large", "h:65536/a",                        NULL, NULL, NULL },
        { "a line feed",      "h.x/a\nb",                         NULL, NULL, NULL },
        { "a broken address", "[::1/a",                           NULL, NULL, NULL },
    };
    /* clang-format on */
    struct registry_ref ref;
    struct err e;

    for_each_row(row, rows) {
        int r = registry_parse(row->text, &ref, &e);

        ROW(row);
        CHECK_EQ(r, row->host ? 0 : -EINVAL);
        if (!row->host)
            continue;
        CHECK_STR(ref.host, row->host);
        CHECK_STR(ref.name, row->name);
        CHECK_STR(ref.want, row->want);
    }
}

TEST(a_name_is_not_a_path)
{
    CHECK(registry_is_ref("docker://a/b") && registry_is_ref("h.x/a") &&
          registry_is_ref("localhost/a") && registry_is_ref("h:1/a"));
    CHECK(!registry_is_ref("a/b") && !registry_is_ref("./h.x/a") && !registry_is_ref("/h.x/a") &&
          !registry_is_ref("../a") && !registry_is_ref("h.tar"));
}

TEST(parameters_of_a_challenge)
{
    static const char text[] = "Bearer realm=\"https://a/b\",service=\"x y\" , scope=\"\"";
    char value[16];

    CHECK(registry_http_param(text, "realm", value, sizeof(value)));
    CHECK_STR(value, "https://a/b");
    CHECK(registry_http_param(text, "SERVICE", value, sizeof(value)));
    CHECK_STR(value, "x y");
    CHECK(registry_http_param(text, "scope", value, sizeof(value)) && !*value);
    CHECK(!registry_http_param(text, "real", value, sizeof(value)));
    CHECK(!registry_http_param(text, "realm", value, 11));
    CHECK(!registry_http_param("Bearer realm=x", "realm", value, sizeof(value)));
    CHECK(!registry_http_param("Bearer realm=\"x", "realm", value, sizeof(value)));
    CHECK(!registry_http_param("Bearer", "realm", value, sizeof(value)));
    CHECK(!registry_http_param("", "realm", value, sizeof(value)));
}

TEST(urls)
{
    static const struct {
        const char *why, *url;
        bool ok, plain;
    } rows[] = {
        { "a file", "https://example.org/a/b.qcow2?x=1", true, false },
        { "a port", "https://[::1]:8443/a", true, false },
        { "plain", "http://example.org/a", true, true },
        { "a file of the host", "file:///etc/passwd", false, false },
        { "another protocol", "ftp://example.org/a", false, false },
        { "no host", "https:///a", false, false },
        { "nothing", "https://", false, false },
        { "a password, which would be in the records", "https://u:p@example.org/", false, false },
        { "an at-sign in the path", "https://example.org/a@b", true, false },
        { "a blank", "https://example.org/a b", false, false },
        { "a line feed", "https://example.org/a\nb", false, false },
        { "not ASCII", "https://example.org/\xc3\xa4", false, false },
        { "large letters", "HTTPS://example.org/", false, false },
        { "an option", "--insecure", false, false },
    };

    for_each_row(row, rows) {
        ROW(row);
        CHECK_EQ(url_ok(row->url), row->ok);
        if (row->ok)
            CHECK_EQ(url_is_plain(row->url), row->plain);
    }
}
