/*
 * api/server.c: HTTP connections: who it is, the request in pieces, the answer in pieces; event streams.
 *   (1) All of it is on the loop's thread; on_change is called on any, and only wakes the loop.
 *   (2) An answer is whole before its first byte is sent.  A stream reads the store as its client takes it, so a slow client costs
 *       nothing, and one that falls behind what the store keeps is dropped.
 */
#include "api/server.h"

#include "api/api.h"
#include "base/loop.h"

#include <fcntl.h>
#include <libwebsockets.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    HEAD_MAX = 1024,
    CHUNK = 64 * 1024,
    EVENTS_AT_ONCE = 64,
    HEADER_BYTES = 4096,
    CLOSE_TURNS = 1000
};

struct server {
    struct loop *loop;
    struct host *host;
    struct lws_context *context;
    struct lws_vhost *vhost;
    int listener;
    struct loop_fd watch;
    uv_async_t changed;
    struct session *sessions;
    u32 n_clients, n_streams;
};

/* Of a connection; libwebsockets gives it zeroed. */
struct session {
    struct server *server;
    struct lws *wsi;
    struct session *next;
    char method[12], path[API_PATH_MAX], query[API_PATH_MAX], if_match[32];
    struct strbuf body;
    u64 expected; /* of the body */
    struct api_answer answer;
    size_t sent;
    bool too_long;                  /* the query */
    bool answering, streaming, end; /* end: the connection closes after the answer */
    u64 from;
    int gone_fd; /* of a stream: the socket once more, to see that its client went away */
    struct loop_fd gone;
};

/* ---- requests ---- */

static const struct {
    enum lws_token_indexes token;
    const char *name;
} methods[] = {
    { WSI_TOKEN_GET_URI, "GET" },     { WSI_TOKEN_POST_URI, "POST" },
    { WSI_TOKEN_PATCH_URI, "PATCH" }, { WSI_TOKEN_DELETE_URI, "DELETE" },
    { WSI_TOKEN_PUT_URI, "PUT" },     { WSI_TOKEN_OPTIONS_URI, "OPTIONS" },
    { WSI_TOKEN_HEAD_URI, "HEAD" },
};

static struct ucred peer_of(struct lws *wsi)
{
    struct ucred peer = { .uid = UINT32_MAX };
    socklen_t len = sizeof(peer);

    (void)getsockopt(lws_get_socket_fd(wsi), SOL_SOCKET, SO_PEERCRED, &peer, &len);
    return peer;
}

/* A header's text; "" when there is none or it is too long. */
static void header(struct lws *wsi, enum lws_token_indexes token, char *buf, size_t size)
{
    if (lws_hdr_copy(wsi, buf, (int)size, token) < 0)
        buf[0] = 0;
}

/* "a=b&c=d"; libwebsockets has the parts apart.  False: it is too long. */
static bool read_query(struct session *s)
{
    size_t at = 0;
    int n;

    s->query[0] = 0;
    if (lws_hdr_total_length(s->wsi, WSI_TOKEN_HTTP_URI_ARGS) > API_PATH_MAX / 2)
        return false; /* with the "&" between the parts it fits */
    for (int i = 0;; i++) {
        if (at + 2 > sizeof(s->query))
            return false;
        if (i)
            s->query[at] = '&';
        n = lws_hdr_copy_fragment(s->wsi, s->query + at + (i ? 1 : 0),
                                  (int)(sizeof(s->query) - at - (i ? 1 : 0)),
                                  WSI_TOKEN_HTTP_URI_ARGS, i);
        if (n < 0) {
            s->query[at] = 0;
            return true; /* there is no further part */
        }
        at += (size_t)n + (i ? 1 : 0);
    }
}

static void read_head(struct session *s, const char *path, size_t len)
{
    char text[32];

    s->method[0] = 0;
    for_each_row(m, methods)
        if (lws_hdr_total_length(s->wsi, m->token))
            str_copy(s->method, sizeof(s->method), m->name);
    str_fmt(s->path, sizeof(s->path), "%.*s", (int)len, path);
    s->too_long = !read_query(s);
    header(s->wsi, WSI_TOKEN_HTTP_IF_MATCH, s->if_match, sizeof(s->if_match));
    if (!s->query[0] && lws_hdr_custom_copy(s->wsi, text, sizeof(text), "last-event-id:", 14) > 0)
        str_fmt(s->query, sizeof(s->query), "since=%s", text);
    header(s->wsi, WSI_TOKEN_HTTP_CONTENT_LENGTH, text, sizeof(text));
    s->expected = 0;
    if (text[0] && str_u64(text, &s->expected) < 0)
        s->expected = ~0ull;
}

static void respond(struct session *s)
{
    const struct ucred peer = peer_of(s->wsi);
    const bool may = peer.uid == s->server->host->uid || peer.uid == 0;
    const struct api_request rq = {
        .method = s->method,
        .path = s->path,
        .query = s->query,
        .if_match = s->if_match[0] ? s->if_match : NULL,
        .body = s->body.text ? s->body.text : "",
        .body_len = s->body.len,
        .rights = may ? API_ALL : 0,
        .uid = peer.uid,
    };

    api_handle(s->server->host, &rq, &s->answer);
}

static void refuse(struct session *s, int status, const char *code, const char *why)
{
    struct err e = {};

    err_set(&e, -EINVAL, "%s", why);
    api_error(&s->answer, status, code, &e);
    s->end = true;
}

static int write_head(struct session *s)
{
    u8 buf[LWS_PRE + HEAD_MAX], *start = buf + LWS_PRE, *p = start, *end = buf + sizeof(buf) - 1;
    const lws_filepos_t len =
        s->answer.stream ? LWS_ILLEGAL_HTTP_CONTENT_LEN : (lws_filepos_t)s->answer.body.len;
    char etag[32];

    if (lws_add_http_common_headers(s->wsi, (unsigned)s->answer.status,
                                    s->answer.stream ? "text/event-stream" : s->answer.type, len,
                                    &p, end))
        return -1;
    if (s->answer.etag) {
        str_fmt(etag, sizeof(etag), "\"%llu\"", s->answer.etag);
        if (lws_add_http_header_by_token(s->wsi, WSI_TOKEN_HTTP_ETAG, (const u8 *)etag,
                                         (int)strlen(etag), &p, end))
            return -1;
    }
    return lws_finalize_write_http_header(s->wsi, start, &p, end);
}

static void on_gone(struct loop_fd *f, int events [[maybe_unused]])
{
    struct session *s = f->arg;

    loop_fd_close(&s->gone);
    lws_set_timeout(s->wsi, PENDING_TIMEOUT_HTTP_CONTENT, LWS_TO_KILL_ASYNC);
}

/* libwebsockets does not read from a stream's client any more, but is woken for what it sends, and for its end, without end.  It has
 * nothing to say: when it does, or goes, the connection closes. */
static int begin_stream(struct session *s)
{
    s->streaming = true;
    s->from = s->answer.from;
    s->server->n_streams++;
    s->gone_fd = fcntl(lws_get_socket_fd(s->wsi), F_DUPFD_CLOEXEC, 3);
    if (s->gone_fd < 0 || loop_fd_open(s->server->loop, &s->gone, s->gone_fd,
                                       UV_READABLE | UV_DISCONNECT, on_gone, s) < 0)
        return -1;
    return lws_http_mark_sse(s->wsi) ? -1 : 0;
}

/* Sends the head, and asks to be called for the rest. */
static int answer(struct session *s)
{
    if (s->answer.stream && s->server->n_streams == SERVER_STREAMS_MAX) {
        struct err e = {};

        err_set(&e, -EAGAIN, "%d clients follow events; more are not allowed", SERVER_STREAMS_MAX);
        api_error(&s->answer, 503, "try_later", &e);
    }
    s->answering = true;
    s->sent = 0;
    if (write_head(s))
        return -1;
    if (s->answer.stream && begin_stream(s) < 0)
        return -1;
    lws_callback_on_writable(s->wsi);
    return 0;
}

static bool body_allowed(const struct session *s)
{
    return strcmp(s->method, "POST") == 0 || strcmp(s->method, "PATCH") == 0 ||
           strcmp(s->method, "PUT") == 0;
}

static int on_request(struct session *s, const char *path, size_t len)
{
    read_head(s, path, len);
    if (len >= API_PATH_MAX || s->too_long)
        refuse(s, 414, "too_large", "the path or its query is too long");
    else if (lws_hdr_total_length(s->wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING))
        refuse(s, 411, "invalid", "a body is sent with its length");
    else if (s->expected > API_BODY_MAX)
        refuse(s, 413, "too_large", "the body is larger than 256 KiB, or its length is none");
    else if (s->expected && !body_allowed(s))
        refuse(s, 400, "invalid", "nothing but an empty body is expected");
    else if (s->expected)
        return 0; /* the body comes */
    else
        respond(s);
    return answer(s);
}

static int on_body(struct session *s, const void *data, size_t len)
{
    if (s->body.len + len > s->expected)
        return -1;
    strbuf_add_mem(&s->body, data, len);
    return 0;
}

static void session_reset(struct session *s)
{
    strbuf_fini(&s->body);
    strbuf_fini(&s->answer.body);
    s->answer = (struct api_answer){};
    s->answering = false;
    if (!s->streaming)
        return;
    s->streaming = false;
    s->server->n_streams--;
    loop_fd_close(&s->gone);
    fd_close(&s->gone_fd);
}

/* ---- answers ---- */

/* libwebsockets writes its own bytes before ours. */
static int write_bytes(struct session *s, const char *data, size_t len, enum lws_write_protocol how)
{
    AUTO(free) u8 *buf = xnew_n(u8, LWS_PRE + len);

    memcpy(buf + LWS_PRE, data, len);
    return lws_write(s->wsi, buf + LWS_PRE, len, how) < 0 ? -1 : 0;
}

static int write_body(struct session *s)
{
    const size_t left = s->answer.body.len - s->sent, n = min(left, (size_t)CHUNK);

    if (n && write_bytes(s, s->answer.body.text + s->sent, n,
                         n == left ? LWS_WRITE_HTTP_FINAL : LWS_WRITE_HTTP) < 0)
        return -1;
    s->sent += n;
    if (s->sent < s->answer.body.len) {
        lws_callback_on_writable(s->wsi);
        return 0;
    }
    session_reset(s);
    if (s->end)
        return -1;
    return lws_http_transaction_completed(s->wsi) ? -1 : 0;
}

static void add_event(struct strbuf *out, const struct store_rec *r, bool last_of_revision)
{
    json_t *j = api_event(r);
    char *text;

    if (!j)
        return;
    text = json_dumps(j, JSON_COMPACT);
    /* the id is of what is complete: who resumes gets the rest of a transaction again, rather than never */
    if (last_of_revision)
        strbuf_add(out, "id: %llu\n", r->rev);
    strbuf_add(out, "data: %s\n\n", text ? text : "{}");
    free(text);
    json_decref(j);
}

static int write_events(struct session *s)
{
    struct host *h = s->server->host;
    AUTO(strbuf) struct strbuf out = {};
    AUTO(store_list) struct store_list l = {};
    int r;

    if (s->sent == 0)
        strbuf_add(&out, ": from revision %llu\n\n", s->from);
    s->sent = 1;
    host_lock(h);
    r = store_changes(h->store, s->from, EVENTS_AT_ONCE, &l, NULL);
    host_unlock(h);
    if (r < 0)
        return -1;
    for (u32 i = 0; i < l.n; i++) {
        add_event(&out, &l.rec[i], i + 1 == l.n || l.rec[i + 1].rev != l.rec[i].rev);
        s->from = l.rec[i].rev;
    }
    if (l.more)
        lws_callback_on_writable(s->wsi);
    return out.len ? write_bytes(s, out.text, out.len, LWS_WRITE_HTTP) : 0;
}

static void on_changed(uv_async_t *a)
{
    struct server *s = a->data;

    for (struct session *c = s->sessions; c; c = c->next)
        if (c->streaming)
            lws_callback_on_writable(c->wsi);
}

static void on_host_change(void *arg)
{
    uv_async_send(&((struct server *)arg)->changed);
}

/* ---- connections ---- */

static void session_new(struct session *s, struct lws *wsi)
{
    struct server *server = lws_context_user(lws_get_context(wsi));

    *s = (struct session){ .server = server, .wsi = wsi, .next = server->sessions };
    server->sessions = s;
}

static void session_drop(struct session *s)
{
    struct session **p = &s->server->sessions;

    session_reset(s);
    while (*p && *p != s)
        p = &(*p)->next;
    if (*p)
        *p = s->next;
    s->server = NULL;
}

static void count_client(struct lws *wsi, bool more)
{
    struct server *s = lws_context_user(lws_get_context(wsi));

    s->n_clients += more ? 1 : 0;
    s->n_clients -= more || s->n_clients == 0 ? 0 : 1;
}

static int on_http(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                   size_t len)
{
    struct session *s = user;

    switch (reason) {
    case LWS_CALLBACK_WSI_CREATE:
        count_client(wsi, true);
        return 0;
    case LWS_CALLBACK_WSI_DESTROY:
        count_client(wsi, false);
        return 0;
    case LWS_CALLBACK_HTTP:
        if (!s->server)
            session_new(s, wsi);
        session_reset(s);
        return on_request(s, in, len);
    case LWS_CALLBACK_HTTP_BODY:
        return s->answering ? 0 : on_body(s, in, len);
    case LWS_CALLBACK_HTTP_BODY_COMPLETION:
        if (s->answering)
            return 0;
        respond(s);
        return answer(s);
    case LWS_CALLBACK_HTTP_WRITEABLE:
        if (!s || !s->server || !s->answering)
            return 0;
        return s->streaming ? write_events(s) : write_body(s);
    case LWS_CALLBACK_HTTP_DROP_PROTOCOL:
    case LWS_CALLBACK_CLOSED_HTTP:
        if (s && s->server)
            session_drop(s);
        return 0;
    default:
        return 0;
    }
}

static void on_client(struct loop_fd *f, int events [[maybe_unused]])
{
    struct server *s = f->arg;
    AUTO(fd) int fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0 || s->n_clients >= SERVER_CLIENTS_MAX)
        return;
    if (!lws_adopt_socket_vhost(s->vhost, fd)) {
        log_warn_limited("a client could not be taken");
        return;
    }
    TAKE_FD(fd);
}

/* ---- open and close ---- */

int server_listen(const char *path, struct err *e)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    AUTO(fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct stat st;

    if (!str_copy(at.sun_path, sizeof(at.sun_path), path))
        return err_set(e, -ENAMETOOLONG, "socket '%s': its path is too long", path);
    if (fd < 0)
        return err_errno(e, "make a socket");
    if (lstat(path, &st) == 0 && !S_ISSOCK(st.st_mode))
        return err_set(e, -EEXIST, "'%s' is something else than a socket", path);
    unlink(path); /* the folder is locked: nobody listens there */
    /* bind gives the file the mode of the socket */
    if (fchmod(fd, 0600) < 0 || bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0 ||
        listen(fd, SERVER_CLIENTS_MAX) < 0)
        return err_errno(e, "listen on '%s'", path);
    return TAKE_FD(fd);
}

static const struct lws_protocols protocols[] = {
    { "http", on_http, sizeof(struct session), 0, 0, NULL, 0 },
    {},
};

static int open_context(struct server *s, struct err *e)
{
    void *loops[] = { &s->loop->uv };
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .protocols = protocols,
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_DISABLE_IPV6,
        .foreign_loops = loops,
        .user = s,
        .pcontext = &s->context,
        .gid = (gid_t)-1,
        .uid = (uid_t)-1,
        .timeout_secs = SERVER_SECONDS,
        .keepalive_timeout = SERVER_SECONDS,
        .max_http_header_data = HEADER_BYTES,
        .max_http_header_pool = SERVER_CLIENTS_MAX,
        .pt_serv_buf_size = CHUNK,
        .fd_limit_per_thread = SERVER_CLIENTS_MAX + 64,
    };

    lws_set_log_level(0, NULL);
    s->context = lws_create_context(&info);
    s->vhost = s->context ? lws_get_vhost_by_name(s->context, "default") : NULL;
    return s->vhost ? 0
                    : err_set(e, -EIO,
                              "libwebsockets does not start; is its libuv part "
                              "(libwebsockets-evlib-uv) installed");
}

int server_open(struct loop *l, struct host *h, int listener, struct server **ret, struct err *e)
{
    struct server *s = xnew(struct server);
    int r;

    *s = (struct server){ .loop = l, .host = h, .listener = listener };
    uv_async_init(&l->uv, &s->changed, on_changed);
    s->changed.data = s;
    r = api_check(e);
    if (r >= 0)
        r = open_context(s, e);
    if (r >= 0)
        r = loop_fd_open(l, &s->watch, listener, UV_READABLE, on_client, s);
    if (r < 0) {
        server_close(s);
        return r;
    }
    h->on_change_arg = s;
    h->on_change = on_host_change;
    *ret = s;
    return 0;
}

static void on_async_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void server_close(struct server *s)
{
    if (!s)
        return;
    host_lock(s->host);
    s->host->on_change = NULL;
    host_unlock(s->host);
    loop_fd_close(&s->watch);
    fd_close(&s->listener);
    if (s->context)
        lws_context_destroy(s->context);
    /* it closes its handles by the loop, and clears our pointer in the end */
    for (u32 i = 0; s->context && i < CLOSE_TURNS; i++)
        uv_run(&s->loop->uv, UV_RUN_NOWAIT);
    uv_close((uv_handle_t *)&s->changed, on_async_closed); /* frees us */
}
