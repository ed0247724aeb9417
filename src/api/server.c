/*
 * api/server.c: connections: two doors (the unix socket, TLS), who comes in, and what libwebsockets calls.
 * All of it is on the loop's thread; on_host_change is called on any, and only wakes the loop.
 */
#include "api/server_internal.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { HEADER_BYTES = 4096, CLOSE_TURNS = 1000 };

/* ---- streams are woken ---- */

static void on_changed(uv_async_t *a)
{
    struct server *s = a->data;

    events_changed(s);
    for (struct client *c = s->clients; c; c = c->next)
        if (c->mode == CLIENT_RELAY && !client_still_may(c))
            lws_set_timeout(c->wsi, PENDING_TIMEOUT_HTTP_CONTENT, LWS_TO_KILL_ASYNC);
}

static void on_host_change(void *arg)
{
    uv_async_send(&((struct server *)arg)->changed);
}

/* ---- connections ---- */

/* The address as text, and what is counted by: of IPv6 the network, because one customer has 2^64 addresses. */
static void name_peer(struct peer *p, const struct sockaddr_storage *at)
{
    const struct sockaddr_in6 *six = (const void *)at;
    const struct sockaddr_in *four = (const void *)at;
    struct in6_addr network = six->sin6_addr;

    if (at->ss_family == AF_INET) {
        inet_ntop(AF_INET, &four->sin_addr, p->from, sizeof(p->from));
        str_copy(p->network, sizeof(p->network), p->from);
    } else if (at->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&network)) {
        inet_ntop(AF_INET, &network.s6_addr[12], p->from, sizeof(p->from));
        str_copy(p->network, sizeof(p->network), p->from);
    } else if (at->ss_family == AF_INET6) {
        inet_ntop(AF_INET6, &network, p->from, sizeof(p->from));
        memset(&network.s6_addr[8], 0, 8);
        inet_ntop(AF_INET6, &network, p->network, sizeof(p->network));
    } else {
        str_copy(p->from, sizeof(p->from), "unix");
    }
}

/* However many come over TLS, the unix socket answers. */
static bool is_welcome(const struct server *s, const struct peer *new)
{
    u32 same = 0, tls = 0;

    for (const struct peer *p = s->peers; p; p = p->next) {
        same += p->tls && strcmp(p->network, new->network) == 0;
        tls += p->tls;
    }
    return s->n_peers < SERVER_CLIENTS_MAX &&
           (!new->tls ||
            (same < SERVER_ADDRESS_MAX && tls < SERVER_CLIENTS_MAX - SERVER_LOCAL_MIN));
}

static void peer_free(struct peer *p)
{
    struct server *s = p->server;
    struct peer **at = &s->peers;

    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    s->n_peers--;
    free(p);
}

static void on_peer(struct loop_fd *f, int events [[maybe_unused]])
{
    struct door *d = f->arg;
    struct server *s = d->server;
    struct sockaddr_storage at = {};
    socklen_t len = sizeof(at);
    AUTO(fd) int fd = accept4(d->fd, (struct sockaddr *)&at, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    struct peer peer = { .server = s, .tls = d->tls, .next = s->peers }, *p;
    struct lws *wsi;

    if (fd < 0)
        return;
    name_peer(&peer, &at);
    if (!is_welcome(s, &peer))
        return;
    if (d->tls)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    p = xdup_mem(&peer, sizeof(peer));
    s->peers = p;
    s->n_peers++;
    wsi = lws_adopt_socket_vhost(d->vhost, TAKE_FD(fd)); /* it closes it when it fails */
    if (wsi) {
        lws_set_opaque_user_data(wsi, p);
    } else {
        log_warn_limited("a client could not be taken");
        peer_free(p);
    }
}

/* ---- what libwebsockets calls ---- */

static struct client *client_of(struct lws *wsi, struct client *c)
{
    if (!c->server)
        client_init(c, wsi);
    return c;
}

static int on_http(struct lws *wsi, enum lws_callback_reasons reason, struct client *c, void *in,
                   size_t len)
{
    switch (reason) {
    case LWS_CALLBACK_HTTP:
        return client_on_request(client_of(wsi, c), in, len);
    case LWS_CALLBACK_HTTP_BODY:
        return client_on_body(c, in, len);
    case LWS_CALLBACK_HTTP_BODY_COMPLETION:
        return client_on_body_end(c);
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
        return client_on_upgrade(client_of(wsi, c));
    case LWS_CALLBACK_ESTABLISHED:
        lws_callback_on_writable(wsi);
        return 0;
    case LWS_CALLBACK_RECEIVE:
        return relay_on_message(c, in, len);
    case LWS_CALLBACK_HTTP_WRITEABLE:
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return c->server ? client_on_writable(c) : 0;
    case LWS_CALLBACK_HTTP_DROP_PROTOCOL:
    case LWS_CALLBACK_WS_SERVER_DROP_PROTOCOL:
    case LWS_CALLBACK_CLOSED_HTTP:
    case LWS_CALLBACK_CLOSED:
        if (c->server)
            client_fini(c);
        return 0;
    default:
        return 0;
    }
}

static int on_lws(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                  size_t len)
{
    struct peer *p;

    if (reason == LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS)
        tls_tune(user);
    if (reason == LWS_CALLBACK_WSI_DESTROY && (p = lws_get_opaque_user_data(wsi))) {
        lws_set_opaque_user_data(wsi, NULL);
        peer_free(p);
    }
    return user ? on_http(wsi, reason, user, in, len) : 0;
}

static const struct lws_protocols protocols[] = {
    { "socle", on_lws, sizeof(struct client), SERVER_CHUNK, 0, NULL, 0 },
    {},
};

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

static int open_context(struct server *s, struct err *e)
{
    void *loops[] = { &s->loop->uv };
    const struct lws_context_creation_info info = {
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS |
                   (s->tls.tls ? LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT : 0),
        .foreign_loops = loops,
        .user = s,
        .pcontext = &s->context,
        .gid = (gid_t)-1,
        .uid = (uid_t)-1,
        .timeout_secs = SERVER_SECONDS,
        .max_http_header_data = HEADER_BYTES,
        .max_http_header_pool = SERVER_CLIENTS_MAX,
        .pt_serv_buf_size = SERVER_CHUNK,
        .fd_limit_per_thread = SERVER_CLIENTS_MAX + 64,
    };

    lws_set_log_level(0, NULL);
    s->context = lws_create_context(&info);
    return s->context ? 0
                      : err_set(e, -EIO,
                                "libwebsockets does not start; is its libuv part "
                                "(libwebsockets-evlib-uv) installed");
}

static int open_door(struct server *s, struct door *d, const struct tls_files *files, struct err *e)
{
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN_SERVER,
        .vhost_name = files ? "tls" : "local",
        .protocols = protocols,
        .keepalive_timeout = SERVER_SECONDS,
        .timeout_secs = SERVER_SECONDS,
        .alpn = "http/1.1",
    };

    if (files) {
        info.options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
        info.ssl_cert_filepath = files->cert;
        info.ssl_private_key_filepath = files->key;
    }
    d->server = s;
    d->vhost = lws_create_vhost(s->context, &info);
    if (!d->vhost)
        return files ? err_set(e, -EINVAL, "'%s' and '%s' are no certificate and its key",
                               files->cert, files->key)
                     : err_set(e, -EIO, "libwebsockets does not start");
    return loop_fd_open(s->loop, &d->watch, d->fd, UV_READABLE, on_peer, d);
}

static int open_tls(struct server *s, const char *where, struct err *e)
{
    struct tls_files files = {};
    int r = tls_files_open(s->host->dir, &files, e);

    if (r >= 0)
        r = s->tls.fd = tls_listen(where, s->access.listen, sizeof(s->access.listen), e);
    if (r >= 0)
        r = open_door(s, &s->tls, &files, e);
    if (r >= 0) {
        str_copy(s->access.fingerprint, sizeof(s->access.fingerprint), files.fingerprint);
        log_notice("HTTPS on %s, fingerprint %s", s->access.listen, files.fingerprint);
        access_setup_begin(&s->access);
        if (s->access.setup[0])
            log_notice("there are no users; setup code %s makes the first one in a browser",
                       s->access.setup);
    }
    tls_files_fini(&files);
    return r;
}

int server_open(struct loop *l, struct host *h, int listener, const char *tls, struct server **ret,
                struct err *e)
{
    struct server *s = xnew(struct server);
    int r;

    *s = (struct server){ .loop = l, .host = h, .local.fd = listener, .tls.fd = -1 };
    s->tls.tls = tls != NULL;
    uv_async_init(&l->uv, &s->changed, on_changed);
    s->changed.data = s;
    events_open(s);
    uv_timer_init(&l->uv, &s->relay_look);
    s->relay_look.data = s;
    r = access_open(&s->access, h, e);
    if (r >= 0)
        r = api_check(e);
    if (r >= 0)
        r = open_context(s, e);
    if (r >= 0)
        r = open_door(s, &s->local, NULL, e);
    if (r >= 0 && tls)
        r = open_tls(s, tls, e);
    if (r < 0) {
        server_close(s);
        return r;
    }
    h->on_change_arg = s;
    h->on_change = on_host_change;
    *ret = s;
    return 0;
}

void server_serve(struct server *s, const struct web_file *files)
{
    s->web = files;
}

/* Of its three own, which are part of it: the last frees it. */
static void on_handle_closed(uv_handle_t *handle)
{
    struct server *s = handle->data;

    if (--s->n_handles == 0)
        free(s);
}

void server_close(struct server *s)
{
    struct loop *l = s ? s->loop : NULL;

    if (!s)
        return;
    loop_hold(l); /* tasks go on, and watch what they started */
    host_lock(s->host);
    s->host->on_change = NULL;
    host_unlock(s->host);
    loop_fd_close(&s->local.watch);
    loop_fd_close(&s->tls.watch);
    fd_close(&s->local.fd);
    fd_close(&s->tls.fd);
    client_end_hashes(s);
    bulk_end_all(s);
    if (s->context)
        lws_context_destroy(s->context);
    /* it closes its handles by the loop, and clears our pointer in the end */
    for (u32 i = 0; s->context && i < CLOSE_TURNS; i++)
        uv_run(&s->loop->uv, UV_RUN_NOWAIT);
    events_close(s);
    access_close(&s->access);
    s->n_handles = 3;
    uv_close((uv_handle_t *)&s->relay_look, on_handle_closed);
    uv_close((uv_handle_t *)&s->event_gap, on_handle_closed);
    uv_close((uv_handle_t *)&s->changed, on_handle_closed);
    loop_release(l);
}
