/*
 * cmd/more.h: what takes longer to load than `socle list` or the start of a machine may take: TLS (--host), the engines that
 * `socle doctor` measures, the full screen of `socle top`, a file's SHA-256.  `socle` has none of it: asked for it, it becomes
 * `socle-more`, the same commands linked with all of it.  In the one, more_exec.c has these functions; in the other, remote_curl.c,
 * transfer.c, doctor.c and verb_top.c.
 */
#pragma once

#include "cmd/remote.h"
#include "cmd/verb.h"

/* What the program was started with, for it to start the other. */
extern char **more_argv;

/* Connects to a remote that is known; its certificate is that of the fingerprint. */
int remote_open(struct rest *r, const char *name, struct err *e);
/* Connects to a URL, whoever is there; ret_fingerprint: whose certificate that is.  From then on it must be that one. */
int remote_open_new(struct rest *r, const char *url, char ret_fingerprint[100], struct err *e);

/* *ret: what stands for the file there, "upload:ID"; owned.  Goes on with one that was interrupted. */
int transfer_upload(struct rest *r, const char *file, char **ret, struct err *e);
/* A file of an image, `part`: "disk", …, into a new file, which is there when it is complete and its SHA-256 is right. */
struct transfer_get {
    const char *image, *part, *file;
    bool force; /* in place of a file that is there */
};
int transfer_download(struct rest *r, const struct transfer_get *get, struct err *e);

/* Verbs, as those of verb.h. */
int verb_doctor(struct verb *v, struct err *e);
int verb_top(struct verb *v, struct err *e);
