/*
 * layer/import_layer.c: one file of an image: text that is verified, or a layer that goes into the pool.
 */
#include "layer/import.h"
#include "layer/pack.h"
#include "layer/pool.h"
#include "layer/unpack.h"

#include <stdlib.h>

struct stream_limits import_limits(const struct import_cfg *cfg)
{
    return (struct stream_limits){
        .bytes = cfg->bytes_max ? cfg->bytes_max : IMPORT_BYTES_MAX,
        .ratio = IMPORT_RATIO_MAX,
        .ratio_free = IMPORT_RATIO_FREE,
    };
}

static int check_size(const struct import_want *want, const struct blob *b, struct err *e)
{
    if (want->size == UINT64_MAX || want->size == b->size)
        return 0;
    return err_set(e, -EBADMSG, "it has %llu bytes, and %llu are told of it", b->size, want->size);
}

static int check_digest(const char *what, const char *want, const char *found, struct err *e)
{
    if (!want || strcmp(want, found) == 0)
        return 0;
    return err_set(e, -EBADMSG, "its %s is %s, and %s is told of it", what, found, want);
}

int import_text(struct source *s, const struct import_want *want, struct strbuf *ret, struct err *e)
{
    AUTO(blob) struct blob *b = NULL;
    char found[DIGEST_TEXT];
    struct digest d;
    int r = source_blob(s, want->file, &b, e);

    if (r == 0)
        r = check_size(want, b, e);
    if (r == 0)
        r = blob_text(b, MANIFEST_JSON_MAX, ret, e);
    if (r < 0)
        return r;
    digest_init(&d);
    digest_add(&d, ret->text ? ret->text : "", ret->len);
    digest_end(&d, found);
    digest_fini(&d);
    return check_digest("SHA-256", want->digest, found, e);
}

static enum unpack_devices devices_of(const struct import_cfg *cfg, const struct import_want *want)
{
    if (cfg->devices)
        return UNPACK_DEVICES_MAKE;
    return want->file ? UNPACK_DEVICES_REFUSE : UNPACK_DEVICES_LEAVE_OUT;
}

/* The packed bytes of the layer. */
static int open_blob(const struct import_cfg *cfg, struct source *s, const struct import_want *want,
                     struct blob **ret, struct err *e)
{
    AUTO(fd) int fd = -1;
    u64 size;

    if (want->file)
        return source_blob(s, want->file, ret, e);
    if (s->is_tar) {
        *ret = blob_of_file(s->fd, s->size);
        return 0;
    }
    fd = pack_dir(s->fd, cfg->pool, &size, e);
    if (fd < 0)
        return fd;
    *ret = blob_of_own_file(TAKE_FD(fd), size);
    return 0;
}

/* A layer that is being made. */
struct making {
    struct pool_new dir;
    struct pool_info info;
    struct stream_sums sums;
};

/* Unpacks all of `st`, and compares what it was with what is wanted. */
static int fill(const struct import_cfg *cfg, const struct import_want *want, struct stream *st,
                struct making *m, struct err *e)
{
    const struct unpack_cfg how = {
        .devices = devices_of(cfg, want),
        .user_xattr = cfg->user_xattr,
        .single_id = cfg->single_id,
        .entries_max = cfg->entries_max ? cfg->entries_max : IMPORT_ENTRIES_MAX,
        .bytes_max = cfg->bytes_max ? cfg->bytes_max : IMPORT_BYTES_MAX,
    };
    struct unpack_stats stats;
    int r = unpack_layer(st, m->dir.fd, &how, &stats, e);

    if (r == 0)
        r = stream_end(st, &m->sums, e);
    if (r == 0)
        r = check_digest("SHA-256", want->digest, m->sums.packed, e);
    if (r == 0)
        r = check_digest("diff_id", want->diff_id, m->sums.unpacked, e);
    m->info =
        (struct pool_info){ stats.entries, stats.bytes, stats.left_out, stats.xattrs_left_out };
    return r;
}

static void tell(struct import_layer *l, const char *name, const struct pool_info *info,
                 bool reused)
{
    free(l->name);
    l->name = xdup(name);
    l->entries = info->entries;
    l->bytes = info->bytes;
    l->left_out = info->left_out;
    l->xattrs_left_out = info->xattrs_left_out;
    l->reused = reused;
}

static int make(const struct import_cfg *cfg, const struct import_want *want, struct stream *st,
                struct import_layer *ret, struct err *e)
{
    struct making m = {};
    char name[POOL_NAME];
    int r = pool_new(cfg->pool, &m.dir, e);

    if (r == 0)
        r = fill(cfg, want, st, &m, e);
    if (r == 0) {
        pool_name(m.sums.unpacked, name);
        r = pool_keep(&m.dir, name, &m.info, e);
    }
    pool_new_fini(&m.dir);
    if (r >= 0)
        tell(ret, name, &m.info, r == 0);
    return r < 0 ? r : 0;
}

int import_layer(const struct import_cfg *cfg, struct source *s, const struct import_want *want,
                 struct watch *w, struct import_layer *ret, struct err *e)
{
    AUTO(blob) struct blob *b = NULL;
    AUTO(stream) struct stream *st = NULL;
    const struct stream_limits limits = import_limits(cfg);
    char name[POOL_NAME];
    struct pool_info info;
    int r;

    if (want->diff_id) {
        pool_name(want->diff_id, name);
        r = pool_find(cfg->pool, name, &info);
        if (r < 0)
            return err_code(e, r, "look for layer '%s'", name);
        if (r > 0) {
            tell(ret, name, &info, true);
            return watch_step(w, want->size == UINT64_MAX ? 0 : want->size, e);
        }
    }
    r = open_blob(cfg, s, want, &b, e);
    if (r == 0)
        r = check_size(want, b, e);
    if (r == 0)
        r = stream_open(b, &limits, w, &st, e);
    return r < 0 ? r : make(cfg, want, st, ret, e);
}
