/*
 * layer/url.c: a file from a web server: whole, or from where it stopped.
 */
#include "layer/url.h"

#include "layer/fetcher.h"
#include "layer/http.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MARK_MAX = 256 };

/* In the child. */
struct getting {
    const struct url_cfg *cfg;
    CURL *curl;
    int body, tell_fd;
    struct fetcher_told *told;
    u64 at;              /* bytes that are there */
    char mark[MARK_MAX]; /* of the version that they are of; "": not known */
    char now[MARK_MAX];  /* of the answer that comes */
    bool etag;           /* `now` is one */
    bool began;          /* a body comes, and where it belongs is known */
    int code;            /* negative: it was ended by us */
    char error[CURL_ERROR_SIZE];
};

/* ---- which version it is of ---- */

static void read_mark(struct getting *g)
{
    AUTO(fd) int fd = openat(g->cfg->dir, "mark", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    AUTO(free) char *text = NULL;
    size_t len;

    if (fd >= 0 && fd_read_whole(fd, MARK_MAX - 1, &text, &len) == 0)
        str_fmt(g->mark, sizeof(g->mark), "%.*s", (int)len, text);
}

static int write_mark(struct getting *g)
{
    AUTO(fd)
    int fd =
        openat(g->cfg->dir, "mark", O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

    str_copy(g->mark, sizeof(g->mark), g->now);
    return fd < 0 ? -errno : fd_write_all(fd, g->mark, strlen(g->mark));
}

/* ---- what comes ---- */

/* A header's value into `now`. */
static bool take_header(struct getting *g, const char *p, size_t len, const char *name)
{
    size_t at = strlen(name), n;

    if (len <= at || strncasecmp(p, name, at) != 0)
        return false;
    while (at < len && p[at] == ' ')
        at++;
    n = len - at;
    while (n && (p[at + n - 1] == '\r' || p[at + n - 1] == '\n'))
        n--;
    return n && n < sizeof(g->now) && str_fmt(g->now, sizeof(g->now), "%.*s", (int)n, p + at);
}

/* Of each answer, also of a redirect: the last one's stay.  A weak ETag is of no use here (RFC 9110, 13.1.5). */
static size_t on_header(char *p, size_t, size_t len, void *opaque)
{
    struct getting *g = opaque;

    if (len > 5 && strncmp(p, "HTTP/", 5) == 0) {
        g->now[0] = 0;
        g->etag = false;
    }
    if (len > 7 && strncasecmp(p, "etag: W", 7) == 0)
        return len;
    if (take_header(g, p, len, "etag:"))
        g->etag = true;
    else if (!g->etag)
        (void)take_header(g, p, len, "last-modified:");
    return len;
}

/* Before the first byte: they go on (206), or are all of it (200). */
static int begin(struct getting *g)
{
    curl_off_t left = -1;
    long status = 0;

    g->began = true;
    curl_easy_getinfo(g->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(g->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &left);
    if (status != 206) {
        g->at = 0;
        if (ftruncate(g->body, 0) < 0)
            return -errno;
    }
    g->told->total = left >= 0 ? g->at + (u64)left : 0;
    if (left >= 0 && g->at + (u64)left > g->cfg->max)
        return -EFBIG;
    return write_mark(g);
}

static size_t on_body(char *p, size_t, size_t len, void *opaque)
{
    struct getting *g = opaque;

    if (!g->began)
        g->code = begin(g);
    if (g->code == 0 && len > g->cfg->max - min(g->at, g->cfg->max))
        g->code = -EFBIG;
    if (g->code == 0)
        g->code = fd_pwrite_all(g->body, p, len, g->at);
    if (g->code == 0) {
        g->at += len;
        g->told->done = g->at;
        g->code = fd_write_all(g->tell_fd, g->told, sizeof(*g->told));
    }
    return g->code < 0 ? 0 : len;
}

/* ---- requests ---- */

static int end_of(struct getting *g, CURLcode code, long status, struct err *e)
{
    if (g->code == -EFBIG)
        return err_set(e, -EFBIG, "it has more than %llu MiB, for which there is room",
                       g->cfg->max / MiB);
    if (g->code < 0)
        return err_code(e, g->code, "keep what was fetched");
    if (code == CURLE_HTTP_RETURNED_ERROR)
        return err_set(e, status == 404 ? -ENOENT : -EIO, "the server answers with status %ld",
                       status);
    return err_set(e,
                   code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_UNSUPPORTED_PROTOCOL
                       ? -EPERM
                       : -EIO,
                   "%s", g->error[0] ? g->error : curl_easy_strerror(code));
}

/* One request.  1: all has come; 0: another may have more; negative: none has. */
static int request(struct getting *g, struct err *e)
{
    const bool goes_on = g->at && g->mark[0];
    AUTO(free) char *line = str_new("If-Range: %s", g->mark);
    struct curl_slist *headers = goes_on ? curl_slist_append(NULL, line) : NULL;
    long status = 0;
    CURLcode code;
    int r;

    http_begin(g->curl, g->cfg->url, g->cfg->plain, g->error);
    curl_easy_setopt(g->curl, CURLOPT_FAILONERROR, 1l);
    curl_easy_setopt(g->curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(g->curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(g->curl, CURLOPT_HEADERDATA, g);
    curl_easy_setopt(g->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(g->curl, CURLOPT_WRITEDATA, g);
    if (goes_on) {
        AUTO(free) char *range = str_new("%llu-", g->at);

        curl_easy_setopt(g->curl, CURLOPT_RANGE, range);
    }
    g->began = false;
    g->error[0] = 0;
    code = curl_easy_perform(g->curl);
    curl_easy_getinfo(g->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    if (code == CURLE_OK && g->code == 0)
        return 1;
    if (status ==
        416) { /* there is nothing more, or another version: once more from the beginning */
        g->at = 0;
        g->mark[0] = 0;
        return 0;
    }
    r = end_of(g, code, status, e);
    return r == -EIO && (status < 400 || status == 429 || status >= 500) ? 0 : r;
}

static int get(void *arg, int tell_fd, struct fetcher_told *told, struct err *e)
{
    const struct url_cfg *cfg = arg;
    AUTO(fd) int body = openat(cfg->dir, "body", O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
    struct getting g = { .cfg = cfg, .body = body, .tell_fd = tell_fd, .told = told };
    struct stat st;
    u32 tries = 0;
    int r = 0;

    if (body < 0 || fstat(body, &st) < 0)
        return err_errno(e, "make a file");
    g.curl = curl_easy_init();
    must(g.curl);
    g.at = (u64)st.st_size;
    read_mark(&g);
    while (r == 0 && tries < URL_TRIES) {
        const u64 before = g.at;

        if (tries)
            (void)poll(NULL, 0, 1000 << (tries - 1));
        r = request(&g, e);
        tries = g.at > before ? 1 : tries + 1;
    }
    curl_easy_cleanup(g.curl);
    if (r == 1 && fsync(body) < 0)
        r = err_errno(e, "write the file");
    return r == 1 ? 0 : r < 0 ? r : e->code;
}

int url_fetch(const struct url_cfg *cfg, struct watch *w, u64 *ret_bytes, struct err *e)
{
    struct url_cfg copy = *cfg;
    const struct fetcher f = { .dir = cfg->dir, .fn = get, .arg = &copy };
    struct stat st;
    int r;

    if (!url_ok(cfg->url))
        return err_set(e, -EINVAL, "'%.100s' is no URL of a file: https://HOST/…", cfg->url);
    if (url_is_plain(cfg->url) && !cfg->plain)
        return err_set(e, -EINVAL, "'%.100s' is no HTTPS", cfg->url);
    r = fetcher_run(&f, w, e);
    if (r < 0)
        return r;
    if (fstatat(cfg->dir, "body", &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
        return err_set(e, -EIO, "what was fetched is no file");
    if (st.st_size == 0)
        return err_set(e, -ENODATA, "the file is empty");
    *ret_bytes = (u64)st.st_size;
    return 0;
}
