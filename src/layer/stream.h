/*
 * layer/stream.h: from the packed bytes of a layer to its tar: unpacked by libarchive, hashed on both sides, and measured.
 *   (1) What comes out is bounded: in bytes, and in proportion to what went in (a bomb).
 *   (2) A layer is packed once, by gzip, zstd, xz or bzip2, or not at all; its first bytes say how.
 */
#pragma once

#include "layer/blob.h"
#include "layer/digest.h"
#include "layer/watch.h"

struct stream_limits {
    u64 bytes;      /* of what comes out */
    u64 ratio;      /* so many times what went in */
    u64 ratio_free; /* up to so many bytes no ratio is looked at */
};

struct stream_sums {
    char packed[DIGEST_TEXT], unpacked[DIGEST_TEXT];
    u64 packed_len, unpacked_len;
};

struct stream;

/* `b` and `w` (which may be NULL) are borrowed until stream_free. */
int stream_open(struct blob *b, const struct stream_limits *limits, struct watch *w,
                struct stream **ret, struct err *e);
bool stream_is_packed(const struct stream *s);
/* The next bytes of the tar, which stay until the next call; 0: the end; or a negative errno with `e`. */
ssize_t stream_read(struct stream *s, const void **ret, struct err *e);
/* Reads what is left on both sides, within the limits, and says what it was.  Once. */
int stream_end(struct stream *s, struct stream_sums *ret, struct err *e);
/* Accepts NULL. */
void stream_free(struct stream *s);
AUTO_DEFINE(stream, struct stream *, stream_free)
