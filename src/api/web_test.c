/*
 * api/web_test.c: which file is found for what is asked, and what the answer says beside it.
 */
#include "api/web.h"

#include "testlib/test.h"

static const struct web_file files[] = {
    { "/index.html", "text/html", "\"aa\"", false, true, 1, (const u8 *)"i" },
    { "/assets/app-1.js", "text/javascript", "\"bb\"", true, true, 1, (const u8 *)"a" },
    { "/favicon.svg", "image/svg+xml", "\"cc\"", false, false, 1, (const u8 *)"f" },
    {},
};

TEST(web_paths)
{
    static const struct {
        const char *path;
        bool web;
    } rows[] = {
        { "/", true },       { "/instances/1.0", true }, { "/1.0", false },
        { "/1.0/x", false }, { "/1.01", true },          { "/1.", true },
    };

    for_each_row(r, rows)
        CHECK_EQ(web_is_path(r->path), r->web);
}

TEST(web_found)
{
    static const struct {
        const char *why, *method, *path, *accept, *match;
        int status;
        const char *file;
    } rows[] = {
        { "root", "GET", "/", "gzip", "", 200, "/index.html" },
        { "a page of the program", "GET", "/instances/web1/console", "br, gzip", "", 200,
          "/index.html" },
        { "a name with a dot", "GET", "/instances/web.1", "gzip", "", 200, "/index.html" },
        { "a file", "GET", "/assets/app-1.js", "gzip, br", "", 200, "/assets/app-1.js" },
        { "an old file", "GET", "/assets/app-0.js", "gzip", "", 404, NULL },
        { "a way out", "GET", "/assets/../../etc/passwd", "gzip", "", 404, NULL },
        { "head", "HEAD", "/", "gzip", "", 200, "/index.html" },
        { "post", "POST", "/", "gzip", "", 405, NULL },
        { "unchanged", "GET", "/", "gzip", "\"aa\"", 304, "/index.html" },
        { "unchanged, one of two", "GET", "/", "gzip", "\"zz\", W/\"aa\"", 304, "/index.html" },
        { "any", "GET", "/", "gzip", "*", 304, "/index.html" },
        { "changed", "GET", "/", "gzip", "\"bb\"", 200, "/index.html" },
        { "says nothing of encodings", "GET", "/", "", "", 200, "/index.html" },
        { "takes any", "GET", "/", "*", "", 200, "/index.html" },
        { "does not take it", "GET", "/", "identity", "", 406, NULL },
        { "refuses it", "GET", "/", "br, gzip;q=0", "", 406, NULL },
        { "needs none", "GET", "/favicon.svg", "identity", "", 200, "/favicon.svg" },
    };

    for_each_row(r, rows) {
        const struct web_request rq = { r->method, r->path, r->accept, r->match };
        const struct web_file *f;

        ROW(r);
        CHECK_EQ(web_find(files, &rq, &f), r->status);
        CHECK_EQ(f != NULL, r->file != NULL);
        if (f && r->file)
            CHECK_STR(f->path, r->file);
    }
}

static const char *header(const struct web_file *f, const char *name)
{
    static struct web_header all[WEB_HEADERS];

    web_headers(f, all);
    for (const struct web_header *h = all; h->name; h++)
        if (strcmp(h->name, name) == 0)
            return h->value;
    return "";
}

TEST(web_headers_are_strict)
{
    for (const struct web_file *f = files; f->path; f++) {
        const char *policy = header(f, "content-security-policy:");

        CHECK(str_starts(policy, "default-src 'none'; "));
        CHECK(!strstr(policy, "unsafe") && !strstr(policy, "http"));
        CHECK(strstr(policy, "frame-ancestors 'none'") != NULL);
        CHECK_STR(header(f, "etag:"), f->etag);
        CHECK_STR(header(f, "content-encoding:"), f->gzip ? "gzip" : "");
    }
    CHECK(strstr(header(&files[1], "cache-control:"), "immutable") != NULL);
    CHECK_STR(header(&files[0], "cache-control:"), "no-cache");
}
