/*
 * layer/unpack.c: one layer: reads the tar by libarchive, and has each entry made (layer/entry.c).
 */
#include "layer/unpack.h"

#include "layer/entry.h"

#include <locale.h>
#include <stdlib.h>

/* libarchive reads from `stream`, whose error it cannot tell. */
struct feed {
    struct stream *stream;
    struct err err;
};

static ssize_t on_read(struct archive *, void *opaque, const void **ret)
{
    struct feed *f = opaque;
    ssize_t n = stream_read(f->stream, ret, &f->err);

    return n < 0 ? ARCHIVE_FATAL : n;
}

static int not_tar(struct unpack *u, const struct feed *f, struct err *e)
{
    if (f->err.code)
        return err_set(e, f->err.code, "%s", f->err.text);
    return err_set(e, -EBADMSG, "it is no tar that can be read: %s",
                   archive_error_string(u->archive));
}

static int count_entry(struct unpack *u, struct archive_entry *entry, struct err *e)
{
    const s64 size = archive_entry_size_is_set(entry) ? archive_entry_size(entry) : 0;

    if (++u->stats->entries > u->cfg->entries_max)
        return err_set(e, -EFBIG, "it has more than %llu entries", u->cfg->entries_max);
    if (size < 0 || (u64)size > u->cfg->bytes_max - min(u->stats->bytes, u->cfg->bytes_max))
        return err_set(e, -EFBIG, "its files have more than %llu bytes", u->cfg->bytes_max);
    return 0;
}

static int unpack_all(struct unpack *u, struct feed *f, struct err *e)
{
    struct archive_entry *entry;
    int r;

    for (;;) {
        r = archive_read_next_header(u->archive, &entry);
        if (r == ARCHIVE_EOF)
            return 0;
        if (r != ARCHIVE_OK && r != ARCHIVE_WARN) /* a warning: a name that is not ASCII */
            return not_tar(u, f, e);
        r = count_entry(u, entry, e);
        if (r == 0)
            r = entry_make(u, entry, e);
        if (r < 0 && f->err.code)
            return not_tar(u, f, e); /* the reason why its data ended */
        if (r < 0)
            return r;
    }
}

int unpack_layer(struct stream *s, int dir, const struct unpack_cfg *cfg, struct unpack_stats *ret,
                 struct err *e)
{
    struct unpack u = { .root = dir, .cfg = cfg, .stats = ret, .archive = archive_read_new() };
    struct feed f = { .stream = s };
    /*
     * Names are bytes.  libarchive makes pax names, which are UTF-8, fit the locale, and in one of UTF-8 it would compose letters
     * and accents, so that two names become one.  In "C" it gives up at the first letter that is not ASCII, and uses the bytes.
     */
    locale_t bytes = newlocale(LC_ALL_MASK, "C", (locale_t)0), before = (locale_t)0;
    int r;

    must(u.archive);
    *ret = (struct unpack_stats){};
    if (bytes)
        before = uselocale(bytes);
    archive_read_support_format_tar(u.archive);
    archive_read_support_format_empty(u.archive);
    r = archive_read_open(u.archive, &f, NULL, on_read, NULL) == ARCHIVE_OK ? 0
                                                                            : not_tar(&u, &f, e);
    if (r == 0)
        r = entry_note_dir(&u, "", ENTRY_DIR_IMPLIED, e);
    if (r == 0)
        r = unpack_all(&u, &f, e);
    if (r == 0)
        r = entry_finish_dirs(&u, e);
    archive_read_free(u.archive);
    strbuf_fini(&u.dir_names);
    strbuf_fini(&u.dirs);
    if (bytes) {
        uselocale(before);
        freelocale(bytes);
    }
    return r;
}
