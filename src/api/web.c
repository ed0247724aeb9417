/*
 * api/web.c: the files of the console in the browser.
 *   (1) Every path that names no file and cannot be one's is the program's own page: index.html, which looks at it itself.
 *   (2) A page may load and reach nothing but this server, run no script and no style that stands in it, and be in no frame.
 */
#include "api/web.h"

static const char policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src "
    "'self'; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'";

bool web_is_path(const char *path)
{
    return !str_starts(path, "/1.0") || (path[4] && path[4] != '/');
}

static const struct web_file *find(const struct web_file *files, const char *path)
{
    for (; files->path; files++)
        if (strcmp(files->path, path) == 0)
            return files;
    return NULL;
}

/* One element of a list as RFC 9110 has it: "gzip;q=0" is a refusal. */
static bool takes_gzip(const char *accept)
{
    const char *at = strstr(accept, "gzip");

    if (!accept[0] || strchr(accept, '*'))
        return true; /* who says nothing takes anything */
    return at && !str_starts(at + 4, ";q=0") && !str_starts(at + 4, "; q=0");
}

int web_find(const struct web_file *files, const struct web_request *rq,
             const struct web_file **ret_file)
{
    const struct web_file *f = find(files, rq->path);

    *ret_file = NULL;
    if (strcmp(rq->method, "GET") != 0 && strcmp(rq->method, "HEAD") != 0)
        return 405;
    if (!f && !str_starts(rq->path, "/assets/"))
        f = find(files, "/index.html");
    if (!f)
        return 404;
    if (f->gzip && !takes_gzip(rq->accept_encoding))
        return 406;
    *ret_file = f;
    return strstr(rq->if_none_match, f->etag) || strcmp(rq->if_none_match, "*") == 0 ? 304 : 200;
}

void web_headers(const struct web_file *f, struct web_header ret[static WEB_HEADERS])
{
    const struct web_header all[] = {
        { "etag:", f->etag },
        { "cache-control:", f->fixed ? "public, max-age=31536000, immutable" : "no-cache" },
        { "content-security-policy:", policy },
        { "x-content-type-options:", "nosniff" },
        { "x-frame-options:", "DENY" },
        { "referrer-policy:", "no-referrer" },
        { "cross-origin-opener-policy:", "same-origin" },
        { "cross-origin-resource-policy:", "same-origin" },
        { "vary:", "accept-encoding" },
        { f->gzip ? "content-encoding:" : NULL, "gzip" },
        {},
    };

    static_assert(sizeof(all) / sizeof(*all) <= WEB_HEADERS, "WEB_HEADERS");
    memcpy(ret, all, sizeof(all));
}
