/*
 * api/client.c: requests and answers of HTTP: who sent it, the request in pieces, the answer in pieces.
 *   (1) An answer is whole before its first byte is sent.
 *   (2) One that needs a password hashed comes later: at most two hashes at a time (each takes 64 MiB), the rest waits in order.
 */
#include "api/server_internal.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>

enum { HEAD_MAX = 2048, HASHES_AT_ONCE = 2 };

struct hash_job {
    uv_work_t uv;
    struct server *server;
    struct client *client; /* NULL: it went away */
    struct api_later *later;
    struct hash_job *next;
    bool running;
};

/* ---- the request ---- */

static const struct {
    enum lws_token_indexes token;
    const char *name;
} methods[] = {
    { WSI_TOKEN_GET_URI, "GET" },     { WSI_TOKEN_POST_URI, "POST" },
    { WSI_TOKEN_PATCH_URI, "PATCH" }, { WSI_TOKEN_DELETE_URI, "DELETE" },
    { WSI_TOKEN_PUT_URI, "PUT" },     { WSI_TOKEN_OPTIONS_URI, "OPTIONS" },
    { WSI_TOKEN_HEAD_URI, "HEAD" },
};

/* A header's text; "" when there is none or it is too long. */
static void header(struct lws *wsi, enum lws_token_indexes token, char *buf, size_t size)
{
    if (lws_hdr_copy(wsi, buf, (int)size, token) < 0)
        buf[0] = 0;
}

/* One "a=b", which libwebsockets has decoded, as it is written in a query.  The first "=" is no part of the name: it makes "_" of
 * those that were encoded there. */
static void encode(struct strbuf *out, const char *part, size_t len)
{
    bool value = false;

    for (size_t i = 0; i < len; i++) {
        const u8 ch = (u8)part[i];
        const bool plain = (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') ||
                           (ch >= '0' && ch <= '9') || memchr("-._~", ch, 4) ||
                           (ch == '=' && !value);

        value |= ch == '=';
        strbuf_add(out, plain ? "%c" : "%%%02X", ch);
    }
}

/* libwebsockets has the parts apart, and decoded; the API decodes them again, so they are encoded anew.  False: it is too long. */
static bool read_query(struct client *c)
{
    AUTO(strbuf) struct strbuf out = {};
    char part[API_PATH_MAX];
    int n;

    c->query[0] = 0;
    if (lws_hdr_total_length(c->wsi, WSI_TOKEN_HTTP_URI_ARGS) >= API_PATH_MAX)
        return false;
    for (int i = 0;; i++) {
        n = lws_hdr_copy_fragment(c->wsi, part, sizeof(part), WSI_TOKEN_HTTP_URI_ARGS, i);
        if (n < 0)
            break; /* there is no further part */
        if (i)
            strbuf_add(&out, "&");
        encode(&out, part, (size_t)n);
    }
    return str_copy(c->query, sizeof(c->query), out.text ? out.text : "");
}

static void read_once(struct client *c)
{
    static const char name[] = "idempotency-key:";
    const int len = lws_hdr_custom_length(c->wsi, name, sizeof(name) - 1);

    c->once[0] = 0;
    c->bad_once = len >= 0 && (lws_hdr_custom_copy(c->wsi, c->once, sizeof(c->once), name,
                                                   sizeof(name) - 1) < 0 ||
                               !once_key_ok(c->once));
}

static void read_head(struct client *c, const char *path, size_t len)
{
    char text[32];

    c->method[0] = 0;
    for_each_row(m, methods)
        if (lws_hdr_total_length(c->wsi, m->token))
            str_copy(c->method, sizeof(c->method), m->name);
    str_fmt(c->path, sizeof(c->path), "%.*s", (int)len, path);
    c->too_long = !read_query(c);
    header(c->wsi, WSI_TOKEN_HTTP_IF_MATCH, c->if_match, sizeof(c->if_match));
    if (!c->query[0] && lws_hdr_custom_copy(c->wsi, text, sizeof(text), "last-event-id:", 14) > 0)
        str_fmt(c->query, sizeof(c->query), "since=%s", text);
    read_once(c);
    header(c->wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH, text, sizeof(text));
    c->expected = 0;
    if (text[0] && str_u64(text, &c->expected) < 0)
        c->expected = ~0ull;
}

/* ---- who ---- */

static void identify_local(struct client *c)
{
    struct ucred peer = { .uid = UINT32_MAX };
    socklen_t len = sizeof(peer);

    (void)getsockopt(lws_get_socket_fd(c->wsi), SOL_SOCKET, SO_PEERCRED, &peer, &len);
    c->known = peer.uid == c->server->host->uid || peer.uid == 0;
    c->rights = c->known ? API_ALL : 0;
    c->uid = peer.uid;
    c->who = (struct access_who){};
    str_fmt(c->who.name, sizeof(c->who.name), "uid %u", peer.uid);
    if (!c->known)
        err_set(&c->denied, -EACCES, "user %u has no rights here", peer.uid);
}

static void identify_remote(struct client *c, bool websocket)
{
    char authorization[ACCESS_KEY_MAX + 16], cookie[ACCESS_HEADER_MAX], origin[300], host[300];
    const struct access_claim claim = {
        .method = c->method,
        .authorization = authorization,
        .cookie = cookie,
        .origin = origin,
        .host = host,
        .websocket = websocket,
        .marked = lws_hdr_custom_length(c->wsi, "x-socle:", 8) > 0,
    };

    header(c->wsi, WSI_TOKEN_HTTP_AUTHORIZATION, authorization, sizeof(authorization));
    header(c->wsi, WSI_TOKEN_HTTP_COOKIE, cookie, sizeof(cookie));
    header(c->wsi, WSI_TOKEN_ORIGIN, origin, sizeof(origin));
    header(c->wsi, WSI_TOKEN_HOST, host, sizeof(host));
    c->rights = 0;
    c->uid = c->server->host->uid;
    c->denied = (struct err){};
    c->known = access_identify(&c->server->access, &claim, &c->who, &c->rights, &c->denied) >= 0;
    if (!c->known)
        c->rights = 0;
    sodium_memzero(authorization, sizeof(authorization));
    sodium_memzero(cookie, sizeof(cookie));
}

static void identify(struct client *c, bool websocket)
{
    if (c->peer->tls)
        identify_remote(c, websocket);
    else
        identify_local(c);
}

bool client_still_may(struct client *c)
{
    struct host *h = c->server->host;
    struct access *a = &c->server->access;
    const struct instance *i;
    struct key *k;
    bool may;

    if (!access_again(a, &c->who, &c->rights))
        return false;
    k = access_key(a, c->who.key);
    if (k)
        access_key_touch(a, k);
    if (c->mode == CLIENT_RELAY && c->relay.shell)
        return c->rights & API_SHELL;
    if (c->mode != CLIENT_RELAY)
        return (c->rights & API_VIEW) || access_rights_any(&c->who);
    host_lock(h);
    i = host_by_id_locked(h, c->relay.subject);
    may = (c->rights & API_OPERATE) || (i && (access_rights_on(&c->who, i) & API_OPERATE));
    host_unlock(h);
    return may;
}

/* ---- the answer ---- */

int client_write(struct client *c, const char *data, size_t len, enum lws_write_protocol how)
{
    AUTO(free) u8 *buf = xnew_n(u8, LWS_PRE + len);

    memcpy(buf + LWS_PRE, data, len);
    return lws_write(c->wsi, buf + LWS_PRE, len, how) < 0 ? -1 : 0;
}

static int add_header(struct client *c, const char *name, const char *value, u8 **p, u8 *end)
{
    return lws_add_http_header_by_name(c->wsi, (const u8 *)name, (const u8 *)value,
                                       (int)strlen(value), p, end);
}

static bool is_head(const struct client *c)
{
    return strcmp(c->method, "HEAD") == 0;
}

static int write_file_head(struct client *c)
{
    u8 buf[LWS_PRE + HEAD_MAX], *start = buf + LWS_PRE, *p = start, *end = buf + sizeof(buf) - 1;
    struct web_header all[WEB_HEADERS];

    if (lws_add_http_common_headers(c->wsi, (unsigned)c->answer.status, c->file->type, c->file->len,
                                    &p, end))
        return -1;
    web_headers(c->file, all);
    for (const struct web_header *h = all; h->name; h++)
        if (add_header(c, h->name, h->value, &p, end))
            return -1;
    return lws_finalize_write_http_header(c->wsi, start, &p, end);
}

static int write_head(struct client *c)
{
    u8 buf[LWS_PRE + HEAD_MAX], *start = buf + LWS_PRE, *p = start, *end = buf + sizeof(buf) - 1;
    const lws_filepos_t len =
        c->answer.stream ? LWS_ILLEGAL_HTTP_CONTENT_LEN : (lws_filepos_t)c->answer.body.len;
    char etag[32];

    if (lws_add_http_common_headers(c->wsi, (unsigned)c->answer.status,
                                    c->answer.stream ? "text/event-stream" : c->answer.type, len,
                                    &p, end))
        return -1;
    if (c->answer.etag) {
        str_fmt(etag, sizeof(etag), "\"%llu\"", c->answer.etag);
        if (add_header(c, "etag:", etag, &p, end))
            return -1;
    }
    if (c->answer.cookie[0] && add_header(c, "set-cookie:", c->answer.cookie, &p, end))
        return -1;
    if (c->peer->tls && (add_header(c, "cache-control:", "no-store", &p, end) ||
                         add_header(c, "x-content-type-options:", "nosniff", &p, end)))
        return -1;
    return lws_finalize_write_http_header(c->wsi, start, &p, end);
}

static void answer_fini(struct client *c)
{
    if (c->answer.secret && c->answer.body.text)
        sodium_memzero(c->answer.body.text, c->answer.body.len);
    strbuf_fini(&c->answer.body);
    free(c->answer.relay);
    if (c->answer.relay_fd)
        fd_close(&c->answer.relay_fd);
    if (c->answer.takes)
        c->answer.takes->done(c->server->host, c->answer.takes, -EPIPE, NULL);
    api_file_free(c->answer.takes);
    api_file_free(c->answer.gives);
    c->file = NULL;
    sodium_memzero(&c->answer, sizeof(c->answer));
}

static void refuse(struct client *c, int status, const char *code, const char *why)
{
    struct err e = {};

    err_set(&e, -EINVAL, "%s", why);
    api_error(&c->answer, status, code, &e);
    c->end = true;
}

static void too_many_streams(struct client *c)
{
    struct err e = {};

    answer_fini(c);
    err_set(&e, -EAGAIN, "%d clients follow events or consoles; more are not allowed",
            SERVER_STREAMS_MAX);
    api_error(&c->answer, 503, "try_later", &e);
}

static void on_gone(struct loop_fd *f, int events [[maybe_unused]])
{
    struct client *c = f->arg;

    loop_fd_close(&c->gone);
    lws_set_timeout(c->wsi, PENDING_TIMEOUT_HTTP_CONTENT, LWS_TO_KILL_ASYNC);
}

int client_watch(struct client *c)
{
    if (c->gone_fd >= 0)
        return 0;
    c->gone_fd = fcntl(lws_get_socket_fd(c->wsi), F_DUPFD_CLOEXEC, 3);
    return c->gone_fd < 0 ? -1
                          : loop_fd_open(c->server->loop, &c->gone, c->gone_fd,
                                         UV_READABLE | UV_DISCONNECT, on_gone, c);
}

/* The next request may come. */
static int complete(struct client *c)
{
    answer_fini(c);
    c->answering = false;
    if (c->end)
        return -1;
    return lws_http_transaction_completed(c->wsi) ? -1 : 0;
}

static int write_file(struct client *c)
{
    const int r = bulk_write(c);

    return r > 0 ? complete(c) : r;
}

static int write_body(struct client *c)
{
    const char *body = c->file ? (const char *)c->file->data : c->answer.body.text;
    const size_t all = c->file ? c->file->len : c->answer.body.len,
                 len = is_head(c) || c->answer.status == 304 ? 0 : all, left = len - c->sent,
                 n = min(left, (size_t)SERVER_CHUNK);

    if (n &&
        client_write(c, body + c->sent, n, n == left ? LWS_WRITE_HTTP_FINAL : LWS_WRITE_HTTP) < 0)
        return -1;
    c->sent += n;
    if (c->sent < len || lws_partial_buffered(c->wsi)) {
        lws_set_timeout(c->wsi, PENDING_TIMEOUT_HTTP_CONTENT, SERVER_SECONDS);
        if (client_watch(c) < 0)
            return -1;
    }
    if (c->sent < len) {
        lws_callback_on_writable(c->wsi);
        return 0;
    }
    return complete(c);
}

/* Sends the head, and asks to be called for the rest. */
static int answer(struct client *c)
{
    if (c->answer.stream && c->server->n_streams == SERVER_STREAMS_MAX)
        too_many_streams(c);
    c->ready = false;
    c->answering = true;
    c->sent = 0;
    if (c->answer.gives)
        return bulk_give(c);
    if (c->file ? write_file_head(c) : write_head(c))
        return -1;
    if (c->answer.stream) {
        c->mode = CLIENT_SSE;
        c->server->n_streams++;
        if (events_begin(c) < 0)
            return -1;
    }
    if (!c->answer.stream && (is_head(c) || !c->answer.body.len) && !c->file)
        return write_body(c); /* at once: nothing tells the client to wait with its next request */
    lws_callback_on_writable(c->wsi);
    return 0;
}

/* ---- answers that come later ---- */

static void on_hash(uv_work_t *uv)
{
    struct hash_job *j = uv->data;

    j->later->work(j->later);
}

static void on_hashed(uv_work_t *uv, int status);

static void start_hashes(struct server *s)
{
    for (struct hash_job *j = s->hashes; j && s->n_hashing < HASHES_AT_ONCE; j = j->next) {
        if (j->running)
            continue;
        must(uv_queue_work(&s->loop->uv, &j->uv, on_hash, on_hashed) == 0);
        j->running = true;
        s->n_hashing++;
    }
}

static void on_hashed(uv_work_t *uv, int status [[maybe_unused]])
{
    struct hash_job *j = uv->data, **p = &j->server->hashes;
    struct server *s = j->server;
    struct client *c = j->client, nobody = {};
    struct client *to = c ? c : &nobody;

    while (*p != j)
        p = &(*p)->next;
    *p = j->next;
    s->n_hashing--;
    api_finish(j->later, &to->answer);
    free(j);
    start_hashes(s);
    if (!c) {
        answer_fini(&nobody);
        return;
    }
    c->hashing = NULL;
    c->ready = true;
    lws_callback_on_writable(c->wsi);
}

static int hash_later(struct client *c)
{
    struct server *s = c->server;
    struct hash_job *j = xnew(struct hash_job), **p = &s->hashes;
    struct err e = {};
    u32 n = 0;

    for (; *p; p = &(*p)->next)
        n++;
    if (n == SERVER_HASHES_MAX || s->closing) {
        free(j);
        c->answer.later->free(c->answer.later);
        err_set(&e, -EAGAIN, "%u passwords wait to be looked at; try again later", n);
        api_error(&c->answer, 503, "try_later", &e);
        return answer(c);
    }
    *j = (struct hash_job){ .server = s, .client = c, .later = TAKE(c->answer.later) };
    j->uv.data = j;
    *p = j;
    c->hashing = j;
    start_hashes(s);
    return client_watch(c);
}

void client_end_hashes(struct server *s)
{
    s->closing = true;
    while (s->hashes)
        uv_run(&s->loop->uv, UV_RUN_ONCE);
}

/* ---- from one to the other ---- */

static void handle(struct client *c, bool websocket)
{
    char range[80], if_range[100];

    header(c->wsi, WSI_TOKEN_HTTP_RANGE, range, sizeof(range));
    header(c->wsi, WSI_TOKEN_HTTP_IF_RANGE, if_range, sizeof(if_range));
    const struct api_request rq = {
        .method = c->method,
        .path = c->path,
        .query = c->query,
        .if_match = c->if_match[0] ? c->if_match : NULL,
        .once = c->once[0] ? c->once : NULL,
        .body = c->body.text ? c->body.text : "",
        .body_len = c->body.len,
        .rights = c->rights,
        .uid = c->uid,
        .who = c->known ? &c->who : NULL,
        .denied = c->known ? NULL : &c->denied,
        .access = &c->server->access,
        .from = c->peer->from,
        .websocket = websocket,
        .bytes = c->expected,
        .range = range,
        .if_range = if_range[0] ? if_range : NULL,
    };

    answer_fini(c);
    api_handle(c->server->host, &rq, &c->answer);
    if (c->body.text)
        sodium_memzero(c->body.text, c->body.len);
    strbuf_fini(&c->body);
}

static int answer_file(struct client *c)
{
    static const struct {
        int status;
        const char *code, *why;
    } refusals[] = {
        { 404, "not_found", "there is no such file" },
        { 405, "method", "a page is only read" },
        { 406, "invalid", "pages are sent compressed by gzip" },
    };
    char accept[200], match[200];
    const struct web_request rq = { c->method, c->path, accept, match };
    struct err e = {};

    header(c->wsi, WSI_TOKEN_HTTP_ACCEPT_ENCODING, accept, sizeof(accept));
    header(c->wsi, WSI_TOKEN_HTTP_IF_NONE_MATCH, match, sizeof(match));
    strbuf_fini(&c->body);
    answer_fini(c);
    c->answer.status = web_find(c->server->web, &rq, &c->file);
    for_each_row(r, refusals)
        if (r->status == c->answer.status) {
            err_set(&e, -EINVAL, "%s", r->why);
            api_error(&c->answer, r->status, r->code, &e);
        }
    return answer(c);
}

static int respond(struct client *c)
{
    if (c->server->web && web_is_path(c->path))
        return answer_file(c);
    if (c->bad_once) { /* its body has come, so that the client is listening */
        refuse(c, 400, "invalid", "an Idempotency-Key is 1 to 255 printable characters");
        return answer(c);
    }
    handle(c, false);
    return c->answer.later ? hash_later(c) : answer(c);
}

static bool body_allowed(const struct client *c)
{
    return strcmp(c->method, "POST") == 0 || strcmp(c->method, "PATCH") == 0 ||
           strcmp(c->method, "PUT") == 0;
}

/* The request is answered before its body comes, or takes it. */
static int take_bytes(struct client *c)
{
    handle(c, false);
    if (c->answer.takes) {
        bulk_take(c);
        return 0;
    }
    c->refused = c->expected <= BULK_SWALLOWED;
    if (c->refused)
        return 0;
    c->end = true;
    return answer(c);
}

int client_on_request(struct client *c, const char *path, size_t len)
{
    bool bytes;

    if (c->answering || c->hashing || c->bulk)
        return -1; /* one at a time */
    read_head(c, path, len);
    identify(c, false);
    bytes = c->expected && api_takes_bytes(c->method, c->path);
    if (len >= API_PATH_MAX || c->too_long)
        refuse(c, 414, "too_large", "the path or its query is too long");
    else if (lws_hdr_total_length(c->wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING))
        refuse(c, 411, "invalid", "a body is sent with its length");
    else if (bytes && c->expected <= INT64_MAX)
        return take_bytes(c);
    else if (c->expected > API_BODY_MAX)
        refuse(c, 413, "too_large", "the body is larger than 256 KiB, or its length is none");
    else if (c->expected && !body_allowed(c))
        refuse(c, 400, "invalid", "nothing but an empty body is expected");
    else if (c->expected)
        return 0; /* the body comes */
    else
        return respond(c);
    return answer(c);
}

int client_on_body(struct client *c, const void *data, size_t len)
{
    if (c->answering || c->ready || c->refused)
        return 0;
    if (c->bulk)
        return bulk_on_body(c, data, len);
    if (c->body.len + len > c->expected)
        return -1;
    strbuf_add_mem(&c->body, data, len);
    return 0;
}

/* libwebsockets tells it once more, and for ever, when another request comes behind it. */
int client_on_body_end(struct client *c)
{
    if (c->complete)
        return -1;
    c->complete = true;
    if (c->refused)
        return answer(c);
    if (c->bulk)
        return client_watch(c) < 0 ? -1 : bulk_on_body_end(c);
    return c->answering || c->hashing || c->ready ? 0 : respond(c);
}

int client_on_writable(struct client *c)
{
    switch (c->mode) {
    case CLIENT_SSE:
    case CLIENT_EVENTS:
        return events_write(c);
    case CLIENT_RELAY:
        return relay_write(c);
    case CLIENT_REQUEST:
        break;
    }
    if (c->ready)
        return answer(c);
    if (c->answering && c->bulk)
        return write_file(c);
    return c->answering ? write_body(c) : 0;
}

/* The answer of an upgrade that is refused. */
static int refuse_upgrade(struct client *c)
{
    c->answer.stream = false;
    if (write_head(c) == 0 && c->answer.body.len)
        (void)client_write(c, c->answer.body.text, c->answer.body.len, LWS_WRITE_HTTP_FINAL);
    return -1;
}

int client_on_upgrade(struct client *c)
{
    struct err e = {};
    char path[API_PATH_MAX];

    header(c->wsi, WSI_TOKEN_GET_URI, path, sizeof(path));
    read_head(c, path, strlen(path));
    str_copy(c->method, sizeof(c->method), "GET");
    identify(c, true);
    if (c->too_long || !path[0])
        refuse(c, 414, "too_large", "the path or its query is too long");
    else
        handle(c, true);
    if (c->answer.status < 300 && c->server->n_streams == SERVER_STREAMS_MAX)
        too_many_streams(c);
    if (c->answer.status >= 300)
        return refuse_upgrade(c);
    if (!c->answer.stream && !c->answer.relay && !c->answer.relay_fd && !c->answer.shell) {
        refuse(c, 400, "invalid", "this is no WebSocket");
        return refuse_upgrade(c);
    }
    c->mode = c->answer.stream ? CLIENT_EVENTS : CLIENT_RELAY;
    c->server->n_streams++;
    if (c->mode == CLIENT_EVENTS)
        return events_begin(c);
    if (relay_begin(c, &e) >= 0)
        return 0;
    answer_fini(c);
    api_error(&c->answer, 409, "busy", &e);
    return refuse_upgrade(c);
}

/* ---- begin and end ---- */

void client_init(struct client *c, struct lws *wsi)
{
    struct peer *peer = lws_get_opaque_user_data(wsi);

    *c = (struct client){ .server = peer->server,
                          .wsi = wsi,
                          .peer = peer,
                          .next = peer->server->clients,
                          .gone_fd = -1,
                          .relay.fd = -1 };
    peer->server->clients = c;
}

void client_fini(struct client *c)
{
    struct client **p = &c->server->clients;

    if (c->hashing)
        c->hashing->client = NULL;
    bulk_leave(c);
    if (c->mode != CLIENT_REQUEST)
        c->server->n_streams--;
    loop_fd_close(&c->gone);
    fd_close(&c->gone_fd);
    events_end(c);
    relay_end(c);
    if (c->body.text)
        sodium_memzero(c->body.text, c->body.len);
    strbuf_fini(&c->body);
    answer_fini(c);
    while (*p != c)
        p = &(*p)->next;
    *p = c->next;
    c->server = NULL;
}
