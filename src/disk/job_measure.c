/*
 * disk/job_measure.c: how many bytes will a copy need?  Only maps are read.
 */
#include "disk/job_copy.h"

/*
 * Tables and blocks of reference counts for `clusters` clusters and for themselves, in clusters.  (qcow2, "Host cluster
 * management")
 */
static u64 refcount_clusters(u64 clusters, u64 cluster, u32 bits)
{
    u64 per_block = cluster * 8 / bits, per_table = cluster / 8, all = 0, last;
    u64 blocks = 0, tables = 0;

    do {
        last = all;
        blocks = (clusters + tables + blocks - 1) / per_block + 1;
        tables = (blocks - 1) / per_table + 1;
        all = clusters + blocks + tables;
    } while (all != last);
    return blocks + tables;
}

/* Bytes of all metadata of an image with each cluster in use. */
static u64 qcow2_metadata(const struct qcow2_create_cfg *cfg)
{
    u64 cluster = cfg->cluster ? cfg->cluster : 64 * KiB, entry = cfg->extended_l2 ? 16 : 8;
    u64 data = (cfg->size - 1) / cluster + 1, l2, l1;
    u32 bits = cfg->refcount_bits ? cfg->refcount_bits : 16;

    l2 = (data * entry - 1) / cluster + 1;
    l1 = (l2 * 8 - 1) / cluster + 1;
    return (1 + l2 + l1 + refcount_clusters(1 + l2 + l1 + data, cluster, bits)) * cluster;
}

/* Bytes of the units that data touches and that are not counted yet: from *end on, which moves past them. */
static u64 count_units(u64 at, u64 len, u64 unit, u64 *end)
{
    u64 first = max(align_down(at, unit), *end), last = align_up(at + len, unit);

    *end = last;
    return last - min(first, last);
}

/* Bytes of the units in which the disk has data. */
static int count_data(struct job *j, struct disk *d, u64 unit, u64 *ret, struct err *e)
{
    u64 counted = 0, end = 0; /* units before `end` are counted */

    job_total(j, d->size);
    for (u64 at = 0; at < d->size;) {
        struct disk_extent x = {};
        int r = job_check(j, e);

        if (r == 0)
            r = disk_map_deep(d, at, d->size - at, &x, e);
        if (r < 0)
            return r;
        if (x.kind == DISK_MAP_DATA)
            counted += count_units(at, x.len, unit, &end);
        at += x.len;
        job_add(j, x.len);
    }
    *ret = counted;
    return 0;
}

int job_measure(struct job *j, struct job_measure *m, struct err *e)
{
    AUTO(disk) struct disk *d = NULL;
    struct qcow2_create_cfg cfg = m->to.cfg;
    u64 unit = !m->to.qcow2 ? 4096 : cfg.cluster ? cfg.cluster : 64 * KiB, data = 0, meta;
    int r = m->from ? job_open_image(m->from, true, &d, e) : 0;

    if (r == 0 && d && cfg.size < d->size)
        cfg.size = d->size;
    if (r == 0 && (cfg.size == 0 || cfg.size > 1ull << 62))
        r = err_set(e, -EINVAL, "a size of %llu", cfg.size);
    if (r == 0 && m->to.qcow2)
        r = qcow2_create_check(&cfg, e);
    if (r == 0 && d)
        r = count_data(j, d, unit, &data, e);
    if (r < 0)
        return r;
    meta = m->to.qcow2 ? qcow2_metadata(&cfg) : 0;
    m->full = meta + (m->to.qcow2 ? align_up(cfg.size, unit) : cfg.size);
    m->required = meta + min(data, m->full - meta);
    if (m->to.prealloc != JOB_PREALLOC_OFF)
        m->required = m->full;
    return 0;
}
