/*
 * host/talk.h: a conversation with a machine's control socket (doc/control.md).
 */
#pragma once

#include "base/base.h"

#include <jansson.h>
#include <sys/types.h>

enum {
    TALK_SECONDS = 30,   /* that an answer may take, unless it is said otherwise */
    TALK_FILES_MAX = 64, /* handed in with one request */
};

struct talk {
    const char *path;  /* of the socket; borrowed */
    int fd, seconds;   /* seconds: without a byte, until it gives up; 0: never */
    struct strbuf got; /* what was read; lines before `at` are taken */
    size_t at;
};

/* A socket connected to `path`, where nothing takes longer than so many seconds (0: no limit); owned. */
int talk_dial(const char *path, int seconds, struct err *e);
/* Finish with talk_close, also after a failure. */
int talk_open(struct talk *t, const char *path, int seconds, struct err *e);
void talk_close(struct talk *t);
/* The process that listens. */
pid_t talk_peer(const struct talk *t);
/* The result of a request that went well, owned; NULL with `e`. */
json_t *talk_result(struct talk *t, const char *request, const int *files, u32 n, struct err *e);
struct talk_request {
    const char *text;
    const int *files;
    u32 n_files;
    int (*tick)(void *arg, struct err *e);
    void *arg;
};
/* As talk_result, of one that takes long: `tick` is called ten times a second meanwhile.  What it returns, if negative, ends the wait and the
 * conversation: the machine cancels what it does for a client that goes. */
json_t *talk_wait(struct talk *t, const struct talk_request *rq, struct err *e);
/* Sends a request, which has "id": 1, and files; the reply, whatever it says.  Owned; NULL with `e`. */
json_t *talk_ask(struct talk *t, const char *request, const int *files, u32 n, struct err *e);
