/*
 * layer/registry.h: images from a registry, by the OCI distribution protocol: what is fetched becomes an image layout in a folder, which
 * is then imported like any other.
 *   (1) A child fetches, which has the network and nothing else (layer/fetcher.h).  The process that unpacks has no network at all.
 *   (2) What is fetched has the size and the SHA-256 that the manifest tells, or is not kept; the importer checks both again.
 *   (3) Layers that the pool has are not fetched.
 *   (4) TLS, unless the registry is on this host or --insecure says otherwise; redirects do not lead from TLS to plain HTTP.
 */
#pragma once

#include "layer/fetcher.h"

enum {
    REGISTRY_TRIES =
        4, /* of each request that the network or the registry failed, 1, 2, 4 seconds apart */
    REGISTRY_TOKEN_MAX = 64 * 1024, /* bytes of an answer with a token */
    REGISTRY_CREDENTIALS_MAX = 4096,
};

/* "[docker://]HOST[:PORT]/NAME[:TAG|@DIGEST]" */
struct registry_ref {
    char host[256], name[256], want[160]; /* `want`: a tag, or a digest */
};

/* Does the text name a registry, and no file?  "docker://", or a host with a dot, a port, or "localhost", before the first '/'. */
bool registry_is_ref(const char *text);
/* -EINVAL with `e` that says what is wrong. */
int registry_parse(const char *text, struct registry_ref *ret, struct err *e);

struct registry_cfg {
    const struct registry_ref *ref;
    bool insecure;           /* HTTP */
    const char *credentials; /* "USER:PASSWORD"; NULL: none */
    const char *have;        /* names of the pool's layers, each with a line feed after it */
    int dir;                 /* an empty directory */
};

/* Starts the child and waits for it; `w` tells how far it is, and ends it when it is canceled. */
int registry_fetch(const struct registry_cfg *cfg, struct watch *w, struct err *e);

/* layer/registry_pull.c: in the child.  `told` goes to `tell_fd` whenever it changes. */
int registry_pull(const struct registry_cfg *cfg, int tell_fd, struct fetcher_told *told,
                  struct err *e);
