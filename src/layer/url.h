/*
 * layer/url.h: a file from a web server, fetched by a process that has the network and nothing else (layer/fetcher.h).
 *   (1) It is the file `body` of a folder; beside it `mark` says which version of the file its bytes are of (ETag, or Last-Modified).
 *   (2) After a break it goes on at the byte where it stopped, if the server still has that version, else from its beginning.
 *   (3) HTTPS; plain HTTP only to who compares what came with a SHA-256.
 */
#pragma once

#include "layer/watch.h"

enum { URL_MAX = 2048, URL_TRIES = 5 /* in a row without a byte, 1, 2, 4 … seconds apart */ };
#define URL_BYTES_MAX (16 * TiB)

struct url_cfg {
    const char *url;
    bool plain; /* HTTP is allowed */
    u64 max;    /* bytes */
    int dir;    /* the folder */
};

/* "https://…", or "http://…", without blanks, control characters, and a password. */
bool url_ok(const char *text);
static inline bool url_is_plain(const char *text)
{
    return text[4] == ':';
}
int url_fetch(const struct url_cfg *cfg, struct watch *w, u64 *ret_bytes, struct err *e);
