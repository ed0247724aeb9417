/*
 * cmd/remote.h: socleds of other machines: their names, and how they are reached.
 * Connecting to one needs TLS, which only `socle-more` has (cmd/more.h).
 */
#pragma once

#include "cmd/rest.h"

enum { REMOTES_MAX = 64, REMOTE_URL_MAX = 300 };

/* Of the user's remotes.json, which only the user can read. */
struct remote {
    char *name, *url, *fingerprint, *token;
};
void remote_fini(struct remote *r);
/* By name or URL; -ENOENT with `e`: there is none. */
int remote_find(const char *name, struct remote *ret, struct err *e);
/* Adds it, or puts it in the place of one of its name; `r` with a name alone: removes. */
int remote_put(const struct remote *r, struct err *e);
/* A new reference: [{"name", "url", "fingerprint"}, …] */
json_t *remote_list(struct err *e);
