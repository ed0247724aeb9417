/*
 * layer/pool.h: a directory of layers, POOL/sha256-HEX of the layer's tar, which images and containers share.
 *   (1) A layer has its name only when it is complete and on the disk; until then it is ".new-…", and whoever makes it holds a
 *       lock (flock) on it.  So what a crash leaves is known: a ".new-…" that nobody has locked.
 *   (2) A layer that is there is never written again.
 *   (3) The pool is for its owner only (mode 0700): layers have set-uid programs of foreign make.
 */
#pragma once

#include "layer/digest.h"

enum { POOL_NAME = sizeof("sha256-") + DIGEST_HEX };

#define POOL_NEW ".new-"

struct pool_info {
    u64 entries, bytes, left_out, xattrs_left_out; /* as in struct unpack_stats */
};

/* A layer, or something else, that is being made. */
struct pool_new {
    int pool; /* borrowed */
    int fd;   /* the directory; -1: there is none */
    char name[64];
};

/* Opens the pool, which is made where there is none; the fd or a negative errno with `e`. */
int pool_open(const char *path, struct err *e);
/* The name of the layer with this digest, which is ok. */
void pool_name(const char *digest, char ret[POOL_NAME]);
/* Is the text such a name? */
bool pool_name_ok(const char *name);
/* 1 and what it has, 0, or a negative errno. */
int pool_find(int pool, const char *name, struct pool_info *ret);

/* Adds the name of each layer, and a line feed. */
int pool_list(int pool, struct strbuf *to, struct err *e);

/* An empty directory of mode 0755.  Finish with pool_new_fini, also after a failure. */
int pool_new(int pool, struct pool_new *ret, struct err *e);
/* It is complete.  1: it has the name now; 0: another one had it already, and it is the same. */
int pool_keep(struct pool_new *n, const char *name, const struct pool_info *info, struct err *e);
/* What was not kept is removed. */
void pool_new_fini(struct pool_new *n);

/* -ENOENT with `e` when there is none.  That nothing uses it is the caller's to know. */
int pool_remove(int pool, const char *name, struct err *e);
/* Removes what is left of imports that have ended; *ret_n of them. */
int pool_clean(int pool, u64 *ret_n, struct err *e);
