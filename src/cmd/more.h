/*
 * cmd/more.h: what takes longer to load than `socle list` or the start of a machine may take: TLS (--host), the engines that
 * `socle doctor` measures, the full screen of `socle top`, a file's SHA-256.  `socle` has none of it: asked for it, it becomes
 * `socle-more`, the same commands linked with all of it.  In the one, more_exec.c has these functions; in the other, remote_curl.c,
 * transfer.c, verb_export.c, doctor.c and verb_top.c.
 */
#pragma once

#include "cmd/remote.h"
#include "cmd/verb.h"

enum { TRANSFER_SUM = 64 }; /* digits of a SHA-256 */

/* What the program was started with, for it to start the other. */
extern char **more_argv;

/* Connects to a remote that is known; its certificate is that of the fingerprint. */
int remote_open(struct rest *r, const char *name, struct err *e);
/* Connects to a URL, whoever is there; ret_fingerprint: whose certificate that is.  From then on it must be that one. */
int remote_open_new(struct rest *r, const char *url, char ret_fingerprint[100], struct err *e);

/* *ret: what stands for the file there, "upload:ID"; owned.  Goes on with one that was interrupted. */
int transfer_upload(struct rest *r, const char *file, char **ret, struct err *e);
/* A file there into a new file, which has its name when it is complete and its SHA-256 is right. */
struct transfer_get {
    char *path;                           /* of the API; owned */
    char sum[TRANSFER_SUM + 1], what[80]; /* sum "": not known; `what`: for messages */
    u64 size;
    const char *file;
    bool force; /* in place of a file that is there */
};
/* Is there room for the name?  -EEXIST. */
int transfer_check(const struct transfer_get *get, struct err *e);
/* Has an interrupted transfer_download left something of this file? */
bool transfer_is_begun(const struct transfer_get *get);
int transfer_download(struct rest *r, const struct transfer_get *get, struct err *e);

/* Verbs, as those of verb.h. */
int verb_export(struct verb *v, struct err *e);
int verb_pool_export(struct verb *v, struct err *e);
int verb_doctor(struct verb *v, struct err *e);
int verb_top(struct verb *v, struct err *e);
