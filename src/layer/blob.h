/*
 * layer/blob.h: bytes that come one after the other: of a file, of a part of an archive.  One reader, one thread.
 */
#pragma once

#include "base/base.h"

struct blob {
    /* The next bytes, which stay until the next call; 0: the end; or a negative errno with `e`. */
    ssize_t (*read)(struct blob *b, const void **ret, struct err *e);
    /* Skips at most `n`, whatever part can be skipped without being read; NULL: none can. */
    u64 (*skip)(struct blob *b, u64 n);
    void (*free)(struct blob *b);
    u64 size; /* as whoever has it says */
};

/* Of a regular file from its beginning; `fd` is borrowed, and its offset is not used. */
struct blob *blob_of_file(int fd, u64 size);
/* The same of a file that it closes at its end. */
struct blob *blob_of_own_file(int fd, u64 size);
/* Accepts NULL. */
void blob_free(struct blob *b);
AUTO_DEFINE(blob, struct blob *, blob_free)

/* All of it, at most `max` bytes, with a NUL after them; owned.  -EFBIG with `e` when there are more. */
int blob_text(struct blob *b, size_t max, struct strbuf *ret, struct err *e);
