/*
 * layer/blob.c: bytes of a file, and a whole blob as text.
 */
#include "layer/blob.h"

#include <stdlib.h>
#include <unistd.h>

enum { CHUNK = 256 * 1024 };

struct file_blob {
    struct blob blob;
    int fd;
    bool own;
    u64 at;
    char buf[CHUNK];
};

static ssize_t file_read(struct blob *b, const void **ret, struct err *e)
{
    struct file_blob *f = container_of(b, struct file_blob, blob);
    ssize_t n;

    if (f->at >= b->size)
        return 0;
    do
        n = pread(f->fd, f->buf, (size_t)min((u64)CHUNK, b->size - f->at), (off_t)f->at);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return err_errno(e, "read the source");
    f->at += (u64)n;
    *ret = f->buf;
    return n;
}

static u64 file_skip(struct blob *b, u64 n)
{
    struct file_blob *f = container_of(b, struct file_blob, blob);
    const u64 can = min(n, b->size - f->at);

    f->at += can;
    return can;
}

static void file_free(struct blob *b)
{
    struct file_blob *f = container_of(b, struct file_blob, blob);

    if (f->own)
        fd_close(&f->fd);
    free(f);
}

static struct blob *of_file(int fd, u64 size, bool own)
{
    struct file_blob *f = xnew(struct file_blob);

    f->blob = (struct blob){ file_read, file_skip, file_free, size };
    f->fd = fd;
    f->own = own;
    return &f->blob;
}

struct blob *blob_of_file(int fd, u64 size)
{
    return of_file(fd, size, false);
}

struct blob *blob_of_own_file(int fd, u64 size)
{
    return of_file(fd, size, true);
}

void blob_free(struct blob *b)
{
    if (b)
        b->free(b);
}

int blob_text(struct blob *b, size_t max, struct strbuf *ret, struct err *e)
{
    const void *p = NULL;
    ssize_t n;

    while ((n = b->read(b, &p, e)) > 0) {
        if ((size_t)n > max - ret->len)
            return err_set(e, -EFBIG, "it has more than %zu bytes", max);
        strbuf_add_mem(ret, p, (size_t)n);
    }
    return (int)n;
}
