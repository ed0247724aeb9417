/*
 * api/bulk.c: bodies that are files.
 */
#include "api/bulk.h"

#include "api/server_internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { BULK_HEAD_MAX = 2048 };

/* Of the loop's thread; while `working` the worker has `buf`, `len`, `at` and `synced`. */
struct bulk {
    uv_work_t uv;
    struct server *server;
    struct client *client; /* NULL: it went away */
    struct api_file *file;
    u64 at;           /* of `buf` in the file */
    u8 *buf;          /* with room for libwebsockets before it, when it is read */
    size_t len;       /* in it */
    u64 synced;       /* up to here it was sent on to the disk */
    int error;        /* negative errno */
    bool working;     /* a worker is at it */
    bool ended;       /* the whole body has come */
    bool held;        /* the client is not read */
    struct strbuf in; /* what came meanwhile */
};

static void bulk_free(struct bulk *b)
{
    api_file_free(b->file);
    strbuf_fini(&b->in);
    free(b->buf);
    free(b);
}

static struct bulk *bulk_new(struct client *c, struct api_file *file)
{
    struct bulk *b = xnew(struct bulk);

    *b = (struct bulk){ .server = c->server, .client = c, .file = file, .at = file->at };
    b->synced = file->at;
    c->bulk = b;
    return b;
}

static void work(struct bulk *b, void (*fn)(uv_work_t *), void (*done)(uv_work_t *, int))
{
    b->uv.data = b;
    b->working = true;
    b->server->n_bulks++;
    must(uv_queue_work(&b->server->loop->uv, &b->uv, fn, done) == 0);
}

/* ---- from the client to the file ---- */

/* The window that was begun before has to be on the disk. */
static void send_on(struct bulk *b, u64 end)
{
    const int fd = b->file->fd;

    while (end - b->synced >= BULK_WINDOW) {
        if (b->synced >= BULK_WINDOW)
            (void)sync_file_range(fd, (off_t)(b->synced - BULK_WINDOW), BULK_WINDOW,
                                  SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE |
                                      SYNC_FILE_RANGE_WAIT_AFTER);
        (void)sync_file_range(fd, (off_t)b->synced, BULK_WINDOW, SYNC_FILE_RANGE_WRITE);
        b->synced += BULK_WINDOW;
    }
}

static void on_write(uv_work_t *uv)
{
    struct bulk *b = uv->data;

    b->error = fd_pwrite_all(b->file->fd, b->buf, b->len, b->at);
    if (b->error == 0)
        send_on(b, b->at + b->len);
}

/* The answer is made; what else comes is not looked at. */
static void finish(struct bulk *b)
{
    struct client *c = b->client;

    b->file->done(b->server->host, b->file, b->error, &c->answer);
    c->end = b->error < 0;
    c->bulk = NULL;
    c->ready = true;
    bulk_free(b);
    lws_callback_on_writable(c->wsi);
}

static void on_wrote(uv_work_t *uv, int status);

static void write_next(struct bulk *b)
{
    if (b->working || !b->in.len || b->server->closing)
        return;
    free(b->buf);
    b->buf = (u8 *)b->in.text;
    b->len = b->in.len;
    b->in = (struct strbuf){};
    work(b, on_write, on_wrote);
}

static void hold(struct bulk *b, bool on)
{
    if (b->held == on)
        return;
    b->held = on;
    lws_rx_flow_control(b->client->wsi, !on);
}

static void on_wrote(uv_work_t *uv, int status [[maybe_unused]])
{
    struct bulk *b = uv->data;
    struct client *c = b->client;

    b->working = false;
    b->server->n_bulks--;
    if (b->error == 0) {
        b->at += b->len;
        b->file->wrote(b->server->host, b->file, b->at);
    }
    if (!c) {
        b->file->done(b->server->host, b->file, b->error, NULL);
        bulk_free(b);
        return;
    }
    if (!client_still_may(c) || !(c->rights & API_ADMIN)) {
        lws_set_timeout(c->wsi, PENDING_TIMEOUT_HTTP_CONTENT, LWS_TO_KILL_ASYNC);
        return;
    }
    if (!b->ended)
        lws_set_timeout(c->wsi, PENDING_TIMEOUT_HTTP_CONTENT, SERVER_SECONDS);
    if (b->in.len <= BULK_WAITS / 2 || b->error < 0)
        hold(b, false);
    if (b->error == 0)
        write_next(b);
    if (!b->working && (b->error < 0 || b->ended))
        finish(b);
}

void bulk_take(struct client *c)
{
    (void)bulk_new(c, TAKE(c->answer.takes));
}

int bulk_on_body(struct client *c, const void *data, size_t len)
{
    struct bulk *b = c->bulk;

    if (len > b->file->end - b->at - b->in.len - (b->working ? b->len : 0))
        return -1;
    strbuf_add_mem(&b->in, data, len);
    lws_set_timeout(c->wsi, PENDING_TIMEOUT_HTTP_CONTENT, SERVER_SECONDS);
    if (b->in.len > BULK_WAITS)
        hold(b, true);
    write_next(b);
    return 0;
}

int bulk_on_body_end(struct client *c)
{
    struct bulk *b = c->bulk;

    b->ended = true;
    lws_set_timeout(c->wsi, NO_PENDING_TIMEOUT, 0);
    if (!b->working)
        finish(b);
    return 0;
}

/* ---- from the file to the client ---- */

static void on_read(uv_work_t *uv)
{
    struct bulk *b = uv->data;
    const size_t len = (size_t)min(b->file->end - b->at, (u64)BULK_PIECE);

    b->error = fd_pread_all(b->file->fd, b->buf + LWS_PRE, len, b->at);
    b->len = b->error < 0 ? 0 : len;
}

static void on_had(uv_work_t *uv, int status [[maybe_unused]])
{
    struct bulk *b = uv->data;

    b->working = false;
    b->server->n_bulks--;
    if (!b->client)
        bulk_free(b);
    else
        lws_callback_on_writable(b->client->wsi);
}

static int add(struct client *c, const char *name, const char *value, u8 **p, u8 *end)
{
    return lws_add_http_header_by_name(c->wsi, (const u8 *)name, (const u8 *)value,
                                       (int)strlen(value), p, end);
}

/* RFC 6266: the name is ours, and of letters that need no quoting. */
static int add_headers(struct client *c, const struct api_file *f, u8 **p, u8 *end)
{
    const bool part = c->answer.status == 206;
    char etag[90], range[80], name[120];

    str_fmt(etag, sizeof(etag), "\"%s\"", f->etag);
    str_fmt(range, sizeof(range), "bytes %llu-%llu/%llu", f->at, f->end - 1, f->size);
    str_fmt(name, sizeof(name), "attachment; filename=\"%s\"", f->name);
    if (add(c, "etag:", etag, p, end) || add(c, "accept-ranges:", "bytes", p, end) ||
        (part && add(c, "content-range:", range, p, end)) ||
        add(c, "content-disposition:", name, p, end) ||
        add(c, "x-content-type-options:", "nosniff", p, end))
        return -1;
    return 0;
}

int bulk_give(struct client *c)
{
    u8 buf[LWS_PRE + BULK_HEAD_MAX], *start = buf + LWS_PRE, *p = start,
                                     *end = buf + sizeof(buf) - 1;
    const struct api_file *f = c->answer.gives;
    struct bulk *b;

    if (lws_add_http_common_headers(c->wsi, (unsigned)c->answer.status, "application/octet-stream",
                                    f->end - f->at, &p, end) ||
        add_headers(c, f, &p, end) || lws_finalize_write_http_header(c->wsi, start, &p, end))
        return -1;
    b = bulk_new(c, TAKE(c->answer.gives));
    b->buf = xnew_n(u8, LWS_PRE + BULK_PIECE);
    work(b, on_read, on_had);
    return client_watch(c);
}

int bulk_write(struct client *c)
{
    struct bulk *b = c->bulk;
    bool last;

    if (b->working)
        return 0;
    if (b->error < 0)
        return -1; /* the length was told: only the connection's end says that it is not all */
    last = b->at + b->len == b->file->end;
    if (b->len && lws_write(c->wsi, b->buf + LWS_PRE, b->len,
                            last ? LWS_WRITE_HTTP_FINAL : LWS_WRITE_HTTP) < 0)
        return -1;
    lws_set_timeout(c->wsi, PENDING_TIMEOUT_HTTP_CONTENT, SERVER_SECONDS);
    b->at += b->len;
    b->len = 0;
    if (last) {
        c->bulk = NULL;
        bulk_free(b);
        return 1;
    }
    if (!b->server->closing)
        work(b, on_read, on_had);
    return 0;
}

/* ---- the end ---- */

void bulk_leave(struct client *c)
{
    struct bulk *b = c->bulk;

    c->bulk = NULL;
    if (!b)
        return;
    b->client = NULL;
    if (b->working)
        return;
    if (b->file->done)
        b->file->done(b->server->host, b->file, b->error, NULL);
    bulk_free(b);
}

void bulk_end_all(struct server *s)
{
    while (s->n_bulks)
        uv_run(&s->loop->uv, UV_RUN_ONCE);
}
