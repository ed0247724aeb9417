/*
 * api/once.h: requests with an Idempotency-Key: however often one is sent, it is done once, and answered the same.
 *   (1) What a request is answered with is recorded in the same transaction as what it does, so no kill is between them.
 *   (2) What was refused did nothing, and is not recorded: it is looked at anew.
 *   (3) A secret is not recorded: who sends such a request again is told that it was done.
 *   (4) Neither keys nor bodies are in the records: of a key a hash, of the request one that needs the key.
 * A record stays for ONCE_KEPT_SECONDS, unless ONCE_MAX of all or ONCE_USER_MAX of its user are newer.  All of it is on the loop's thread.
 */
#pragma once

#include "host/host.h"

enum {
    ONCE_KEY_MAX = 255, /* printable ASCII */
    ONCE_KEPT_SECONDS = 24 * 3600,
    ONCE_MAX = 10000,
    ONCE_USER_MAX = 2000,
    ONCE_BODY_MAX = 32 * 1024, /* of an answer; a larger one is not recorded */
    ONCE_WHO = 16,             /* hex digits of whose it is, then as many of the key's hash */
    ONCE_ID = ONCE_WHO + 1 + 32,
};

struct api_answer;
struct api_request;

/* Those that are recorded, the oldest first. */
struct once_table {
    struct host *host;
    struct once_slot {
        char id[ONCE_ID + 1];
        u64 at; /* seconds since 1970 */
    } * slot;
    u32 n, room;
};

/* Record once/ID. */
struct once_rec {
    char *sum;  /* of method, path, query, If-Match and body */
    u64 at;     /* seconds since 1970 */
    u32 status; /* of the answer */
    char *body; /* NULL: none, or not kept */
    u64 etag;   /* 0: none */
};

/* A request that has a key. */
struct once {
    struct host_rider rider;
    struct once_table *all;
    char id[ONCE_ID + 1];
    struct once_rec rec;
    char old[2][ONCE_ID + 1]; /* that leave with the change; "": none */
};

/* Reads the records.  Finish with once_close, also after a failure. */
int once_open(struct once_table *all, struct host *h, struct err *e);
void once_close(struct once_table *all);

bool once_key_ok(const char *key);
/* `status`: of success. */
struct once *once_new(const struct api_request *rq, int status, u64 now);
/* Accepts NULL. */
void once_free(struct once *o);
/* 1: it was done, and *ret is the answer; 0: it was not; -ENOTUNIQ: the key is another request's; -EALREADY: it was done, and its answer
 * is not kept. */
int once_find(struct once_table *all, struct once *o, struct api_answer *ret, struct err *e);
/* It was run (`r`), with its rider. */
void once_keep(struct once_table *all, struct once *o, int r, struct api_answer *ret);
