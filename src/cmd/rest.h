/*
 * cmd/rest.h: the client's side of the API: on a unix socket, and socled started when none answers; or on another machine (remote.h).
 */
#pragma once

#include "base/base.h"

#include <jansson.h>

enum {
    REST_SECONDS = 60, /* that an answer may take */
    REST_ANSWER_MAX = 64 * 1024 * 1024,
};

struct rest;

/* How bytes go to and from a socled. */
struct rest_link {
    int (*open)(struct rest *r, struct err *e);
    int (*send)(struct rest *r, const char *data, size_t len);
    /* 0: the end; -EAGAIN: nothing in REST_SECONDS */
    ssize_t (*recv)(struct rest *r, void *buf, size_t size);
    /* 0: nothing comes for so long; -1: for ever */
    int (*wait)(struct rest *r, int ms);
    void (*close)(struct rest *r);
};

struct rest {
    const struct rest_link *link;
    char *dir;         /* of our own socled; NULL: it is on another machine */
    const char *token; /* that is shown to it; NULL: none */
    bool never_starts; /* one that does not answer is not started */
    int fd;            /* of the request that is under way; -1: none */
    void *conn;        /* what belongs to it */
    struct strbuf got;
    size_t at; /* what is before it was taken */
};

/* `dir` NULL: the user's own.  Connects, or starts socled and waits until it answers.  `host` not NULL: a remote's name or URL.
 * Finish with rest_close, also after a failure. */
int rest_open(struct rest *r, const char *dir, const char *host, struct err *e);
/* The user's own, if it answers. */
int rest_open_running(struct rest *r, struct err *e);
void rest_close(struct rest *r);
/* The next request makes another connection: before what takes longer than one waits. */
void rest_hang_up(struct rest *r);

/* Bytes of a file as a body. */
struct rest_feed {
    int fd;
    u64 at, end;
    void (*told)(void *arg, u64 at); /* how far it is */
    void *arg;
};

struct rest_request {
    const char *method, *path;
    const json_t *body;     /* NULL: none */
    u64 etag;               /* for If-Match; 0: none */
    const char *more;       /* headers of an upgrade; NULL: it is none */
    const char *headers;    /* that are sent besides; NULL: none */
    struct rest_feed *feed; /* in place of `body`; NULL: none */
    const char *once;       /* Idempotency-Key; rest_ask makes one for what is no GET */
};
/* Sent again while the connection is lost, for 20 seconds: it is done once.
 * The answer's JSON, a new reference (null when it has no body); NULL with `e`, which has the server's sentence.  ret_etag may be NULL. */
json_t *rest_ask(struct rest *r, const struct rest_request *rq, u64 *ret_etag, struct err *e);
/* An answer whose body goes to `take` as it comes, which ends it by a negative value. */
struct rest_bytes {
    int (*take)(void *arg, const void *p, size_t len);
    void *arg;
    int status; /* of the answer: 200, or 206 for a part */
};
int rest_bytes(struct rest *r, const struct rest_request *rq, struct rest_bytes *to, struct err *e);
/* Was it the connection, not the answer? */
bool rest_is_lost(int code);
/* As text; owned. */
char *rest_text(struct rest *r, const char *path, size_t *ret_len, struct err *e);

/* Waits for the end of a task, which {"task": N, "revision": R} is about; draws its progress when stderr is a terminal.  -ECHILD: it
 * failed, with its reason in `e`.  Goes on when socled is restarted meanwhile. */
int rest_wait(struct rest *r, const json_t *started, struct err *e);
/* Calls fn with each event after a revision (0: from now on), until it returns other than 0, or the connection ends: -EPIPE. */
int rest_follow(struct rest *r, u64 since, int (*fn)(void *arg, const json_t *event), void *arg,
                struct err *e);
/* The connection becomes a WebSocket: what comes after the answer's head is left in r->got. */
int rest_upgrade(struct rest *r, const char *path, struct err *e);
