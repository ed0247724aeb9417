/*
 * cmd/remote.h: socleds of other machines: their names, and how they are reached.
 * `socle` itself has no TLS, which takes longer to load than `socle list` may take: with --host it becomes `socle-remote`, the same
 * commands linked with libcurl.  remote_exec.c is in the one, remote_curl.c in the other.
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

/* ---- remote_exec.c, remote_curl.c ---- */

/* Connects to a remote that is known; its certificate is that of the fingerprint. */
int remote_open(struct rest *r, const char *name, struct err *e);
/* Connects to a URL, whoever is there; ret_fingerprint: whose certificate that is.  From then on it must be that one. */
int remote_open_new(struct rest *r, const char *url, char ret_fingerprint[100], struct err *e);
/* ---- files: remote_exec.c, transfer.c ---- */

/* *ret: what stands for the file there, "upload:ID"; owned.  Goes on with one that was interrupted. */
int transfer_upload(struct rest *r, const char *file, char **ret, struct err *e);
/* A file of an image, `part`: "disk", …, into a new file, which is there when it is complete and its SHA-256 is right. */
struct transfer_get {
    const char *image, *part, *file;
    bool force; /* in place of a file that is there */
};
int transfer_download(struct rest *r, const struct transfer_get *get, struct err *e);
/* Of the program, for remote_exec.c. */
extern char **remote_argv;
