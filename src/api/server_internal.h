/*
 * api/server_internal.h: what the files of the transport share: server.c (connections), client.c (requests and answers), events.c
 * (streams of events), relay.c (consoles), tls.c (the certificate).  All of it is on the loop's thread.
 */
#pragma once

#include "api/api.h"
#include "api/bulk.h"
#include "api/server.h"
#include "api/web.h"
#include "base/loop.h"

#include <libwebsockets.h>

enum { SERVER_CHUNK = 64 * 1024, RELAY_IN_MAX = 64 * 1024 };

struct hash_job;

/* Of a listener. */
struct door {
    struct server *server;
    struct lws_vhost *vhost;
    int fd;
    struct loop_fd watch;
    bool tls;
};

/* Of a connection, from its acceptance to its end. */
struct peer {
    struct server *server;
    bool tls;
    char from[64];    /* its address; "unix" */
    char network[64]; /* what SERVER_ADDRESS_MAX counts by */
    struct peer *next;
};

struct server {
    struct loop *loop;
    struct host *host;
    const struct web_file *web; /* NULL: no console */
    struct access access;
    struct lws_context *context;
    struct door local, tls;
    uv_async_t changed;
    uv_timer_t relay_look;      /* relay.c: runs while there is a shell of the host */
    uv_timer_t event_gap;       /* events.c, with the next two */
    u64 told_ns;                /* when streams were told last */
    struct event_batch *events; /* owned */
    struct client *clients;
    struct peer *peers;
    u32 n_peers, n_streams;
    struct hash_job *hashes; /* the oldest first */
    u32 n_hashing;
    u32 n_bulks; /* whose worker is at them */
    bool closing;
    u32 n_handles; /* closing: that are not closed yet */
};

enum client_mode {
    CLIENT_REQUEST, /* of HTTP, one after the other */
    CLIENT_SSE,     /* events without end as the body of an answer */
    CLIENT_EVENTS,  /* events as messages of a WebSocket */
    CLIENT_RELAY,   /* a WebSocket and a unix socket */
};

/* What a console's WebSocket sent and its socket did not take. */
struct relay {
    int fd; /* -1: none */
    struct loop_fd watch;
    struct strbuf in;
    bool held; /* the client was told to wait */
    bool head_due;
    bool shell; /* of the host */
    u64 since;  /* seconds since 1970 */
    char subject[24];
};

/* Of a request, or what became of it; libwebsockets gives it zeroed. */
struct client {
    struct server *server;
    struct lws *wsi;
    struct peer *peer;
    struct client *next;
    enum client_mode mode;
    /* the request */
    char method[12], path[API_PATH_MAX], query[3 * API_PATH_MAX], if_match[32];
    char once[ONCE_KEY_MAX + 1]; /* Idempotency-Key; "": none */
    bool bad_once;               /* it has one that cannot be */
    struct strbuf body;
    u64 expected;  /* of the body */
    bool too_long; /* the query */
    struct access_who who;
    bool known; /* `who` is somebody */
    u32 rights;
    uid_t uid; /* as whom tasks are recorded */
    struct err denied;
    /* the answer */
    struct api_answer answer;
    const struct web_file *file; /* in its place */
    struct hash_job *hashing;    /* it comes when this is done */
    struct bulk *bulk;           /* its body, or the request's, is a file's */
    size_t sent;
    bool complete;              /* its body has come */
    bool refused;               /* there is an answer, which waits for the end of the body */
    bool ready, answering, end; /* end: the connection closes after the answer */
    /* a stream */
    u64 from;
    json_t *seen; /* IDs of instances that a stream showed to who may not see all */
    int gone_fd;  /* the socket once more: client_watch */
    struct loop_fd gone;
    struct relay relay;
};

/* ---- client.c ---- */

void client_init(struct client *c, struct lws *wsi);
void client_fini(struct client *c);
int client_on_request(struct client *c, const char *path, size_t len);
int client_on_body(struct client *c, const void *data, size_t len);
int client_on_body_end(struct client *c);
int client_on_writable(struct client *c);
/* A request to become a WebSocket: other than 0 when it was refused, and answered. */
int client_on_upgrade(struct client *c);
/* Has the one that opened a stream still the right to it?  Notes that its key is in use. */
bool client_still_may(struct client *c);
/* libwebsockets does not read while it answers, but is woken without end by what the client sends, and by its end.  From now on a client
 * that does either is dropped. */
int client_watch(struct client *c);
/* libwebsockets writes its own bytes before ours. */
int client_write(struct client *c, const char *data, size_t len, enum lws_write_protocol how);
/* Waits until no password is being hashed. */
void client_end_hashes(struct server *s);

/* ---- events.c ---- */

void events_open(struct server *s);
void events_close(struct server *s);
/* Something changed in the store: streams are told, now or soon. */
void events_changed(struct server *s);

int events_begin(struct client *c);
void events_end(struct client *c);
int events_write(struct client *c);

/* ---- relay.c ---- */

int relay_begin(struct client *c, struct err *e);
void relay_end(struct client *c);
int relay_on_message(struct client *c, const void *data, size_t len);
int relay_write(struct client *c);

/* ---- tls.c ---- */

/* Paths of certificate and key in DIR/tls, made if they are missing, and the certificate's fingerprint. */
struct tls_files {
    char *cert, *key;
    char fingerprint[100]; /* SHA-256, "AB:CD:…" */
};
int tls_files_open(const char *dir, struct tls_files *ret, struct err *e);
void tls_files_fini(struct tls_files *f);
/* What libwebsockets leaves to its user: versions, and that tickets do not outlive a restart. */
void tls_tune(void *ssl_ctx);
/* A socket that listens; `ret_name` is where. */
int tls_listen(const char *where, char *ret_name, size_t size, struct err *e);
