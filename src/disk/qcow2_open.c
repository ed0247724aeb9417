/*
 * disk/qcow2_open.c: opens a qcow2 image: header, tables, the files it names; closes it.
 */
#include "disk/qcow2_internal.h"

#include <stdlib.h>

static void q2_close(struct disk *d);
static int q2_resize_op(struct disk *d, u64 size, struct err *e);

const struct disk_ops q2_ops = {
    .format = "qcow2",
    .close = q2_close,
    .queue_open = q2_queue_open,
    .queue_close = q2_queue_close,
    .submit = q2_submit,
    .kick = q2_kick,
    .wait = q2_wait,
    .map = q2_map,
    .resize = q2_resize_op,
};

static int q2_resize_op(struct disk *d, u64 size, struct err *e)
{
    return q2_resize(q2_of(d), size, e);
}

bool disk_is_qcow2(const struct disk *d)
{
    return d->ops == &q2_ops;
}

int q2_claim(struct qcow2 *q, const char *what, struct err *e)
{
    int r = 0;

    if (q->disk.readonly)
        return err_set(e, -EROFS, "%s: disk '%s' was opened for reading only", what, q->disk.name);
    pthread_mutex_lock(&q->lock);
    if (atomic_load(&q->n_active) || q->flights || q->allocs)
        r = -EBUSY;
    pthread_mutex_unlock(&q->lock);
    if (r < 0)
        return err_set(e, r, "%s: disk '%s' has requests under way", what, q->disk.name);
    r = q2_sync_all(q);
    return r < 0 ? err_code(e, r, "%s: write back disk '%s'", what, q->disk.name) : 0;
}

void q2_damage(struct qcow2 *q)
{
    if (q->damaged)
        return;
    q->damaged = true;
    if (!q->disk.readonly && q2_header_mark(q, Q2_I_CORRUPT, true) < 0)
        log_warn("disk '%s': it cannot be marked corrupt", q->disk.name);
    log_error("disk '%s': damaged: it can only be read from now on; check it", q->disk.name);
}

static void q2_close(struct disk *d)
{
    struct qcow2 *q = q2_of(d);
    int r = 0;

    q2_flusher_stop(q);
    if (q->ready && !d->readonly)
        r = q2_settle(q);
    if (r < 0)
        log_warn("disk '%s': closed with metadata that could not be written: %s", d->name,
                 strerror(-r));
    q2_round_fini(q);
    q2_tables_fini(q);
    q2_refs_fini(q);
    q2_header_fini(&q->h);
    disk_close(d->backing);
    if (q->data_apart)
        disk_close(q->data);
    disk_close(q->file);
    pthread_cond_destroy(&q->cond);
    pthread_mutex_destroy(&q->round);
    pthread_mutex_destroy(&q->lock);
    free(q->l1);
    free(q->l1_dirty);
    free(q->head);
    free(q);
}

static int read_head(struct qcow2 *q, struct err *e)
{
    int r;

    q->head = aligned_alloc(4096, Q2_HEAD_MAX);
    must(q->head);
    r = q->file->ops->now(q->file, DISK_READ, q->head, Q2_HEAD_MAX, 0);
    if (r < 0)
        return err_code(e, r, "read the header");
    r = q2_header_parse(q->head, Q2_HEAD_MAX, q->file->size, &q->h, e);
    if (r < 0)
        return r;
    q->bits = q->h.cluster_bits;
    q->cluster = 1ull << q->bits;
    q->head_len = (u32)min(q->cluster, Q2_HEAD_MAX);
    q->ext = q->h.incompatible & Q2_I_EXT_L2;
    q->entry_words = q->ext ? 2 : 1;
    q->l2_bits = q2_entries_bits(q->bits, q->ext);
    q->unit_bits = q->ext ? q->bits - 5 : q->bits;
    q->unit = 1ull << q->unit_bits;
    q->data_raw = q->h.autoclear & Q2_A_RAW_DATA;
    q->data_apart = q->h.incompatible & Q2_I_DATA_FILE;
    q->lazy = q->h.compatible & Q2_C_LAZY;
    q->data = q->data_apart ? NULL : q->file;
    q->disk.size = q->h.size;
    q->disk.block =
        q->file->block; /* not the cluster: guests take it for the size of physical sectors */
    q->disk.discard = q->disk.readonly ? 0 : (u32)q->cluster;
    return 0;
}

static int load_l1(struct qcow2 *q, struct err *e)
{
    u64 bytes = q->h.l1_size * 8ull, sectors = (bytes + DISK_SECTOR - 1) / DISK_SECTOR;
    AUTO(free) be64 *raw = NULL;
    int r;

    raw = aligned_alloc(4096, align_up(bytes + DISK_SECTOR, 4096));
    q->l1 = try_new(u64, sectors * DISK_SECTOR / 8, Q2_L1_BYTES_MAX + DISK_SECTOR);
    q->l1_dirty = xnew_n(u8, sectors);
    if (!raw || !q->l1)
        return err_set(e, -ENOMEM, "memory for an L1 table of %llu bytes", bytes);
    r = q->file->ops->now(q->file, DISK_READ, raw, sectors * DISK_SECTOR, q->h.l1_at);
    if (r < 0)
        return err_code(e, r, "read the L1 table");
    for (u32 i = 0; i < q->h.l1_size; i++)
        q->l1[i] = be64_get(raw[i]);
    return 0;
}

static int open_data(struct qcow2 *q, const struct disk_cfg *cfg, struct err *e)
{
    if (!q->data_apart || cfg->no_data)
        return 0;
    if (!q->h.data_file)
        return err_set(e, -EINVAL, "disk '%s': its data is in a file that it does not name",
                       q->disk.name);
    return disk_open_data(cfg, q->h.data_file, &q->data, e);
}

static int open_backing(struct qcow2 *q, const struct disk_cfg *cfg, const struct disk_above *above,
                        struct err *e)
{
    if (!q->h.backing || cfg->no_backing)
        return 0;
    return disk_open_backing(cfg, above, q->h.backing, q->h.backing_format, &q->disk.backing, e);
}

/* Autoclear bits that we do not know, or do not keep true: bitmaps are not updated here. */
static int clear_auto(struct qcow2 *q, struct err *e)
{
    u64 keep = q->h.autoclear & Q2_A_RAW_DATA;

    if (q->h.autoclear == keep)
        return 0;
    q->h.autoclear = keep;
    return q2_header_rewrite(q, e);
}

/* What must be in order before anything is written. */
static int make_writable(struct qcow2 *q, const struct disk_cfg *cfg, struct err *e)
{
    struct qcow2_report rep = {};
    int r;

    if (q->disk.readonly || cfg->repair)
        return 0;
    if (q->h.incompatible & Q2_I_CORRUPT)
        return err_set(e, -EROFS,
                       "the image is marked corrupt: it may only be read, or checked with repair");
    if (q->h.incompatible & Q2_I_DIRTY) {
        log_info("disk '%s': it was not closed; its refcounts are made anew", q->disk.name);
        r = q2_check(q, QCOW2_REPAIR_LEAKS | QCOW2_REPAIR_ERRORS, &rep, e);
        if (r < 0)
            return r;
        if (rep.errors != rep.errors_fixed)
            return err_set(e, -EBADMSG, "%llu errors that cannot be repaired",
                           rep.errors - rep.errors_fixed);
    }
    return clear_auto(q, e);
}

static int set_up(struct qcow2 *q, const char *snapshot, struct err *e)
{
    int r = read_head(q, e);

    if (r < 0)
        return r;
    q->file_len = q->file->size;
    q->alloc_end = align_up(q->file_len, q->cluster);
    q->fresh_from = q->file->zero_grown ? q->alloc_end : Q2_HOST_END;
    if (snapshot)
        r = q2_snap_select(q, snapshot, e);
    if (r == 0)
        r = load_l1(q, e);
    if (r == 0)
        r = q2_refs_init(q, e);
    if (r == 0)
        r = q2_tables_init(q, e);
    if (r == 0)
        r = q2_round_init(q, e);
    return r;
}

/* Their messages name them. */
static int open_others(struct qcow2 *q, const struct disk_cfg *cfg, const struct disk_above *above,
                       struct err *e)
{
    int r = open_data(q, cfg, e);

    return r < 0 ? r : open_backing(q, cfg, above, e);
}

static int q2_open(struct disk *file, const struct disk_cfg *cfg, const struct disk_above *above,
                   struct disk **ret, struct err *e)
{
    struct qcow2 *q = xnew(struct qcow2);
    struct err inner = {};
    int r;

    pthread_mutex_init(&q->lock, NULL);
    pthread_mutex_init(&q->round, NULL);
    pthread_cond_init(&q->cond, NULL);
    q->flush_event = -1;
    q->disk.ops = &q2_ops;
    q->disk.readonly = cfg->readonly;
    str_copy(q->disk.name, sizeof(q->disk.name), file->name);
    q->file = file;
    must(cfg->readonly || !cfg->snapshot);
    r = set_up(q, cfg->snapshot, &inner);
    if (r < 0)
        err_set(e, r, "disk '%s': %s", file->name, inner.text);
    else
        r = open_others(q, cfg, above, e);
    if (r == 0) {
        r = make_writable(q, cfg, &inner);
        if (r < 0)
            err_set(e, r, "disk '%s': %s", file->name, inner.text);
    }
    if (r < 0) {
        q2_close(&q->disk);
        return r;
    }
    q->ready = true;
    *ret = &q->disk;
    return 0;
}

static bool q2_probe(const u8 head[DISK_SECTOR])
{
    be32 magic;

    memcpy(&magic, head, sizeof(magic));
    return be32_get(magic) == Q2_MAGIC;
}

const struct disk_format qcow2_format = { .name = "qcow2", .probe = q2_probe, .open = q2_open };

void qcow2_info(const struct disk *d, struct qcow2_info *ret)
{
    const struct q2_header *h = &q2_of(d)->h;

    *ret = (struct qcow2_info){
        .version = h->version,
        .cluster = 1u << h->cluster_bits,
        .refcount_bits = 1u << h->refcount_order,
        .n_snapshots = h->n_snapshots,
        .compression = (enum qcow2_compression)h->compression,
        .lazy_refcounts = h->compatible & Q2_C_LAZY,
        .extended_l2 = h->incompatible & Q2_I_EXT_L2,
        .dirty = h->incompatible & Q2_I_DIRTY,
        .corrupt = h->incompatible & Q2_I_CORRUPT,
        .data_raw = h->autoclear & Q2_A_RAW_DATA,
        .bitmaps = h->has_bitmaps,
        .backing = h->backing,
        .backing_format = h->backing_format,
        .data_file = h->data_file,
    };
}

int qcow2_set_backing(struct disk *d, const char *backing, const char *format, struct err *e)
{
    struct qcow2 *q = q2_of(d);
    char *old = q->h.backing, *old_format = q->h.backing_format;
    int r = q2_claim(q, "set the backing file", e);

    if (r < 0)
        return r;
    if (backing && (!backing[0] || strlen(backing) > DISK_NAME_MAX))
        return err_set(e, -EINVAL, "a backing file's name has 1 to %u bytes", DISK_NAME_MAX);
    if (backing && q->data_raw)
        return err_set(e, -EINVAL, "an image with a raw data file has no backing file");
    q->h.backing = backing ? xdup(backing) : NULL;
    q->h.backing_format = backing && format ? xdup(format) : NULL;
    r = q2_header_rewrite(q, e);
    if (r < 0) {
        free(q->h.backing);
        free(q->h.backing_format);
        q->h.backing = old;
        q->h.backing_format = old_format;
        return r;
    }
    free(old);
    free(old_format);
    return 0;
}
