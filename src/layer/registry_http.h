/*
 * layer/registry_http.h: requests to a registry, with whatever it wants to know first (a token, a password).
 */
#pragma once

#include "layer/digest.h"
#include "layer/registry.h"

struct registry_http;

/* Where the body of an answer goes. */
struct registry_sink {
    int fd;             /* -1: into `text` */
    struct strbuf text; /* owned by the caller */
    u64 max, len;       /* more bytes are an error */
    struct digest sum;
    int (*told)(void *opaque, u64 len); /* after each piece; negative ends it; NULL */
    void *opaque;
    int code; /* of the write that failed */
};

struct registry_http *registry_http_new(const struct registry_cfg *cfg);
/* Accepts NULL. */
void registry_http_free(struct registry_http *h);
AUTO_DEFINE(registry_http, struct registry_http *, registry_http_free)

/* GET /v2/NAME/`path`, again when the network failed.  The sink begins anew for each try; its `text` and sum are of the last. */
int registry_http_get(struct registry_http *h, const char *path, const char *accept,
                      struct registry_sink *to, struct err *e);

/* The value of a parameter in a challenge `Bearer realm="…",service="…"`; false: it has none, or a larger one. */
bool registry_http_param(const char *challenge, const char *name, char *ret, size_t size);
