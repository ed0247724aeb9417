/*
 * layer/stream.c: from the packed bytes of a layer to its tar, by libarchive's filters with its "raw" format.
 */
#include "layer/stream.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdlib.h>

struct stream {
    struct blob *blob;
    struct watch *watch;
    struct stream_limits limits;
    struct archive *archive; /* NULL: it is not packed */
    struct digest packed, unpacked;
    const void *first; /* the blob's first bytes, looked at before anybody read them */
    size_t first_len;
    bool empty;     /* it unpacks to nothing */
    struct err err; /* of a callback, which cannot tell libarchive more than that it failed */
};

/* clang-format off */
static const struct packing {
    const char *magic;
    size_t len;
    int (*support)(struct archive *a);
} packings[] = {
    { "\x1f\x8b",             2, archive_read_support_filter_gzip },
    { "\x28\xb5\x2f\xfd",     4, archive_read_support_filter_zstd },
    { "\xfd" "7zXZ",          6, archive_read_support_filter_xz },
    { "BZh",                  3, archive_read_support_filter_bzip2 },
};
/* clang-format on */

static ssize_t read_packed(struct stream *s, const void **ret, struct err *e)
{
    ssize_t n = (ssize_t)s->first_len;
    int r;

    if (n) {
        *ret = s->first;
        s->first_len = 0;
    } else {
        n = s->blob->read(s->blob, ret, e);
    }
    if (n <= 0)
        return n;
    digest_add(&s->packed, *ret, (size_t)n);
    r = watch_step(s->watch, (u64)n, e);
    return r < 0 ? r : n;
}

static ssize_t on_read(struct archive *, void *opaque, const void **ret)
{
    struct stream *s = opaque;
    ssize_t n = read_packed(s, ret, &s->err);

    return n < 0 ? ARCHIVE_FATAL : n;
}

static int fail(struct stream *s, struct err *e)
{
    if (s->err.code)
        return err_set(e, s->err.code, "%s", s->err.text);
    return err_set(e, -EBADMSG, "it cannot be unpacked: %s", archive_error_string(s->archive));
}

static int open_packed(struct stream *s, const struct packing *p, struct err *e)
{
    struct archive_entry *entry;

    s->archive = archive_read_new();
    must(s->archive);
    archive_read_support_format_raw(s->archive);
    archive_read_support_format_empty(s->archive);
    if (p->support(s->archive) != ARCHIVE_OK)
        return err_set(e, -ENOTSUP, "this build cannot unpack it: %s",
                       archive_error_string(s->archive));
    if (archive_read_open(s->archive, s, NULL, on_read, NULL) != ARCHIVE_OK)
        return fail(s, e);
    if (archive_filter_count(s->archive) > 2) /* itself, and "none" */
        return err_set(e, -EBADMSG, "it is packed more than once");
    switch (archive_read_next_header(s->archive, &entry)) {
    case ARCHIVE_EOF:
        s->empty = true;
        return 0;
    case ARCHIVE_OK:
        return 0;
    default:
        return fail(s, e);
    }
}

int stream_open(struct blob *b, const struct stream_limits *limits, struct watch *w,
                struct stream **ret, struct err *e)
{
    AUTO(stream) struct stream *s = xnew(struct stream);
    ssize_t n;
    int r = 0;

    s->blob = b;
    s->watch = w;
    s->limits = *limits;
    digest_init(&s->packed);
    digest_init(&s->unpacked);
    n = b->read(b, &s->first, e);
    if (n < 0)
        return (int)n;
    s->first_len = (size_t)n;
    for_each_row(p, packings)
        if (s->first_len >= p->len && memcmp(s->first, p->magic, p->len) == 0)
            r = open_packed(s, p, e);
    if (r == 0)
        *ret = TAKE(s);
    return r;
}

bool stream_is_packed(const struct stream *s)
{
    return s->archive;
}

static int measure(struct stream *s, size_t n, struct err *e)
{
    const struct stream_limits *l = &s->limits;
    const u64 in = s->packed.len;
    u64 out = s->unpacked.len, most;

    if (!add_ok(&out, out, (u64)n) || out > l->bytes)
        return err_set(e, -EFBIG, "it unpacks to more than %llu bytes", l->bytes);
    if (s->archive && out > l->ratio_free && mul_ok(&most, in, l->ratio) && out > most)
        return err_set(e, -EFBIG,
                       "%llu bytes unpack to more than %llu, which is %llu times as much: allowed "
                       "are %llu times above %llu bytes",
                       in, out, out / max(in, 1ull), l->ratio, l->ratio_free);
    return 0;
}

ssize_t stream_read(struct stream *s, const void **ret, struct err *e)
{
    ssize_t n = 0;
    size_t len = 0;
    la_int64_t at;
    int r;

    if (!s->archive) {
        n = read_packed(s, ret, e);
    } else if (!s->empty) {
        do {
            r = archive_read_data_block(s->archive, ret, &len, &at);
            n = (ssize_t)len;
        } while (r == ARCHIVE_OK && !len);
        if (r == ARCHIVE_EOF)
            n = 0;
        else if (r != ARCHIVE_OK)
            return fail(s, e);
    }
    if (n <= 0)
        return n;
    r = measure(s, (size_t)n, e);
    if (r < 0)
        return r;
    digest_add(&s->unpacked, *ret, (size_t)n);
    return n;
}

int stream_end(struct stream *s, struct stream_sums *ret, struct err *e)
{
    const void *p;
    ssize_t n;

    while ((n = stream_read(s, &p, e)) > 0)
        ;
    while (n == 0 && (n = read_packed(s, &p, e)) > 0) /* behind the end of what is packed */
        n = 0;
    if (n < 0)
        return (int)n;
    ret->packed_len = s->packed.len;
    ret->unpacked_len = s->unpacked.len;
    digest_end(&s->packed, ret->packed);
    digest_end(&s->unpacked, ret->unpacked);
    return 0;
}

void stream_free(struct stream *s)
{
    if (!s)
        return;
    archive_read_free(s->archive);
    digest_fini(&s->packed);
    digest_fini(&s->unpacked);
    free(s);
}
