/*
 * layer/source_tar.c: a tar: is it an image, or a root file system?  And one file of it, wherever it lies.
 * Its first names decide: an image has only those that archive_names() knows, and a root file system has others.
 */
#include "layer/beneath.h"
#include "layer/source.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

/* A tar that is read from a blob, which can skip, or from what a stream unpacks. */
struct reader {
    struct archive *archive;
    struct blob *blob;
    struct stream *stream;
    struct watch *watch;
    struct err err;
};

static ssize_t on_read(struct archive *, void *opaque, const void **ret)
{
    struct reader *t = opaque;
    ssize_t n =
        t->stream ? stream_read(t->stream, ret, &t->err) : t->blob->read(t->blob, ret, &t->err);

    if (n > 0 && watch_step(t->watch, 0, &t->err) < 0)
        n = -1;
    return n < 0 ? ARCHIVE_FATAL : n;
}

static la_int64_t on_skip(struct archive *, void *opaque, la_int64_t n)
{
    struct reader *t = opaque;

    return t->stream || !t->blob->skip ? 0 : (la_int64_t)t->blob->skip(t->blob, (u64)n);
}

static int reader_fail(struct reader *t, struct err *e)
{
    if (t->err.code)
        return err_set(e, t->err.code, "%s", t->err.text);
    return err_set(e, -EBADMSG, "it is no tar that can be read: %s",
                   archive_error_string(t->archive));
}

static int reader_open(struct reader *t, struct err *e)
{
    t->archive = archive_read_new();
    must(t->archive);
    archive_read_support_format_tar(t->archive);
    archive_read_set_read_callback(t->archive, on_read);
    archive_read_set_skip_callback(t->archive, on_skip);
    archive_read_set_callback_data(t->archive, t);
    return archive_read_open1(t->archive) == ARCHIVE_OK ? 0 : reader_fail(t, e);
}

/* 1: *ret is the next entry; 0: there is none. */
static int reader_next(struct reader *t, struct archive_entry **ret, struct err *e)
{
    switch (archive_read_next_header(t->archive, ret)) {
    case ARCHIVE_OK:
    case ARCHIVE_WARN:
        return 1;
    case ARCHIVE_EOF:
        return 0;
    default:
        return reader_fail(t, e);
    }
}

static void reader_fini(struct reader *t)
{
    archive_read_free(t->archive);
}

/* A name without "./" before and "/" after it; NULL: it is "." itself or too long. */
static const char *plain_name(const char *name, char *buf, size_t size)
{
    size_t len;

    while (name && str_starts(name, "./"))
        name += 2;
    if (!name || !str_copy(buf, size, name))
        return NULL;
    len = strlen(buf);
    while (len && buf[len - 1] == '/')
        buf[--len] = 0;
    return *buf && strcmp(buf, ".") != 0 ? buf : NULL;
}

static bool is_hex(const char *s, size_t len)
{
    return strspn(s, "0123456789abcdef") >= len;
}

/* May an image's archive have it? */
static bool archive_names(const char *name)
{
    static const char *const fixed[] = { "oci-layout",   "index.json",  "manifest.json",
                                         "repositories", "blobs",       "blobs/sha256",
                                         "blobs/sha512", "blobs/sha384" };
    static const char *const after_hex[] = {
        "", ".json", ".tar", "/json", "/VERSION", "/layer.tar"
    };

    for_each_row(f, fixed)
        if (strcmp(name, *f) == 0)
            return true;
    if (str_starts(name, "blobs/sha"))
        return true;
    if (strlen(name) < DIGEST_HEX || !is_hex(name, DIGEST_HEX))
        return false;
    for_each_row(a, after_hex)
        if (strcmp(name + DIGEST_HEX, *a) == 0)
            return true;
    return false;
}

static bool has(const struct source *s, const char *name)
{
    for (u32 i = 0; i < s->n_entries; i++)
        if (strcmp(s->entries[i].name, name) == 0)
            return true;
    return false;
}

static int note(struct source *s, struct archive_entry *entry, const char *name, u64 place,
                struct err *e)
{
    const bool link = archive_entry_filetype(entry) == AE_IFLNK;
    struct source_entry *n;

    if (archive_entry_filetype(entry) == AE_IFDIR)
        return 0;
    if (has(s, name))
        return err_set(e, -EBADMSG, "the archive has '%.80s' twice", name);
    if (s->n_entries == SOURCE_ENTRIES_MAX)
        return err_set(e, -EFBIG, "the archive of an image has more than %d files",
                       SOURCE_ENTRIES_MAX);
    if (!s->entries)
        s->entries = xnew_n(struct source_entry, SOURCE_ENTRIES_MAX);
    n = s->entries + s->n_entries++;
    n->name = xdup(name);
    n->link = link ? xdup(archive_entry_symlink(entry) ? archive_entry_symlink(entry) : "") : NULL;
    n->size = (u64)max(archive_entry_size(entry), (la_int64_t)0);
    n->place = place;
    return 0;
}

/* All names, or those up to the first that an image does not have. */
static int read_names(struct source *s, struct reader *t, struct err *e)
{
    struct archive_entry *entry;
    char buf[512];
    int r;

    s->kind = SOURCE_TAR;
    for (u64 place = 0; (r = reader_next(t, &entry, e)) > 0; place++) {
        const char *raw = archive_entry_pathname(entry);
        const char *name = plain_name(raw, buf, sizeof(buf));

        if (!name && raw && (strcmp(raw, "./") == 0 || strcmp(raw, ".") == 0))
            continue;
        if (!name || !archive_names(name))
            return 0;
        r = note(s, entry, name, place, e);
        if (r < 0)
            return r;
    }
    if (r == 0 && has(s, "oci-layout") && has(s, "index.json"))
        s->kind = SOURCE_OCI;
    else if (r == 0 && has(s, "manifest.json"))
        s->kind = SOURCE_DOCKER;
    return r;
}

/* What the packed archive has, in a file without a name. */
static int spool_all(struct source *s, int spool, struct stream *from, struct watch *w,
                     struct err *e)
{
    AUTO(fd) int fd = beneath_open(spool, ".", O_TMPFILE | O_RDWR, 0600);
    const void *p;
    ssize_t n;
    u64 at = 0;
    int r = 0;

    if (fd < 0)
        return err_code(e, fd, "make a file for what the archive has");
    while (r == 0 && (n = stream_read(from, &p, e)) != 0) {
        if (n < 0)
            return (int)n;
        r = watch_step(w, 0, e);
        if (r == 0 && (r = fd_pwrite_all(fd, p, (size_t)n, at)) < 0)
            err_code(e, r, "write what the archive has");
        at += (u64)n;
    }
    if (r < 0)
        return r;
    fd_close(&s->fd);
    s->fd = TAKE_FD(fd);
    s->size = at;
    return 0;
}

static int unpack_archive(struct source *s, int spool, const struct stream_limits *limits,
                          struct watch *w, struct err *e)
{
    AUTO(blob) struct blob *b = blob_of_file(s->fd, s->size);
    AUTO(stream) struct stream *from = NULL;
    int r = stream_open(b, limits, NULL, &from, e);

    return r < 0 ? r : spool_all(s, spool, from, w, e);
}

int source_tar_look(struct source *s, int spool, const struct stream_limits *limits,
                    struct watch *w, struct err *e)
{
    AUTO(blob) struct blob *first = blob_of_file(s->fd, s->size);
    AUTO(blob) struct blob *second = blob_of_file(s->fd, s->size);
    AUTO(stream) struct stream *stream = NULL;
    struct reader t = { .blob = second, .watch = w };
    bool packed;
    int r = stream_open(first, limits, NULL, &stream, e);

    if (r < 0)
        return r;
    packed = stream_is_packed(stream);
    if (packed)
        t.stream = stream;
    r = reader_open(&t, e);
    if (r == 0)
        r = read_names(s, &t, e);
    reader_fini(&t);
    if (r < 0 || s->kind == SOURCE_TAR || !packed)
        return r;
    return unpack_archive(s, spool, limits, w, e);
}

struct entry_blob {
    struct blob blob;
    struct reader reader;
};

static ssize_t entry_read(struct blob *b, const void **ret, struct err *e)
{
    struct reader *t = &container_of(b, struct entry_blob, blob)->reader;
    la_int64_t at;
    size_t len = 0;
    int r;

    do
        r = archive_read_data_block(t->archive, ret, &len, &at);
    while (r == ARCHIVE_OK && !len);
    if (r == ARCHIVE_EOF)
        return 0;
    return r == ARCHIVE_OK ? (ssize_t)len : reader_fail(t, e);
}

static void entry_free(struct blob *b)
{
    struct entry_blob *n = container_of(b, struct entry_blob, blob);

    reader_fini(&n->reader);
    blob_free(n->reader.blob);
    free(n);
}

int source_tar_blob(struct source *s, const struct source_entry *at, struct blob **ret,
                    struct err *e)
{
    struct entry_blob *n = xnew(struct entry_blob);
    AUTO(blob) struct blob *b = &n->blob;
    struct archive_entry *entry;
    int r;

    n->blob = (struct blob){ entry_read, NULL, entry_free, at->size };
    n->reader.blob = blob_of_file(s->fd, s->size);
    r = reader_open(&n->reader, e);
    for (u64 i = 0; r >= 0 && i <= at->place; i++) {
        r = reader_next(&n->reader, &entry, e);
        if (r == 0)
            r = err_set(e, -EBADMSG, "the archive changed meanwhile");
    }
    if (r < 0)
        return r;
    *ret = TAKE(b);
    return 0;
}
