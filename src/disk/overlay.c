/*
 * disk/overlay.c: an open disk goes on in an overlay.
 */
#include "disk/overlay.h"

#include "disk/qcow2_internal.h"
#include "disk/raw.h"

#include <sys/stat.h>
#include <unistd.h>

bool overlay_is_empty(const struct disk *d)
{
    const struct qcow2 *q;

    if (!disk_is_qcow2(d))
        return false;
    q = q2_of(d);
    for (u32 i = 0; i < q->h.l1_size; i++)
        if (q->l1[i])
            return false;
    return !q->h.n_snapshots && !q->data_apart;
}

struct disk *overlay_raw(struct disk *d)
{
    return disk_is_qcow2(d) ? q2_of(d)->file : d;
}

int overlay_file(const struct disk *d, struct overlay_file *ret)
{
    struct stat st;
    int fd = raw_fd(disk_is_qcow2(d) ? q2_of(d)->file : d);

    if (fd < 0)
        return -EOPNOTSUPP;
    if (fstat(fd, &st) < 0)
        return -errno;
    *ret = (struct overlay_file){ st.st_dev, st.st_ino, S_ISREG(st.st_mode) };
    return 0;
}

static int check(const struct disk *d, const struct disk *below, struct err *e)
{
    u32 depth = 1;

    for (const struct disk *b = below; b; b = b->backing)
        depth++;
    if (depth > DISK_CHAIN_MAX)
        return err_set(e, -EMLINK, "disk '%s' would be a chain of more than %u images", below->name,
                       DISK_CHAIN_MAX);
    if (d->size != below->size)
        return err_set(e, -EINVAL, "an overlay of %llu bytes for disk '%s' of %llu", d->size,
                       below->name, below->size);
    if (!overlay_is_empty(d) || !q2_of(d)->h.backing)
        return err_set(e, -EINVAL, "the overlay for disk '%s' is not an empty one", below->name);
    return 0;
}

int overlay_open(struct disk *below, const struct overlay_cfg *cfg, struct disk **ret,
                 struct err *e)
{
    AUTO(disk) struct disk *d = NULL;
    AUTO(fd) int lock_fd = cfg->lock_fd;
    const struct disk_cfg dc = {
        .file = cfg->name,
        .fd = cfg->fd,
        .cache = cfg->cache,
        .engine = cfg->engine,
        .format = "qcow2",
        .no_backing = true,
        .no_data = true,
        .share = true, /* the lock is in lock_fd already */
    };
    struct overlay_file was = {}, now = {};
    int r = disk_open(&dc, &d, e);

    if (r < 0)
        return r;
    if (overlay_file(d, &now) == 0 && overlay_file(below, &was) == 0 && now.dev == was.dev &&
        now.ino == was.ino)
        return err_set(e, -EINVAL, "disk '%s' cannot be its own overlay", below->name);
    r = check(d, below, e);
    if (r < 0)
        return r;
    raw_locked_by(overlay_raw(d), TAKE_FD(lock_fd));
    d->backing = below;
    atomic_store(&q2_of(d)->flush_below, true);
    *ret = TAKE(d);
    return 0;
}

void overlay_drop(struct disk *overlay)
{
    if (overlay)
        overlay->backing = NULL;
    disk_close(overlay);
}

int overlay_seal(struct disk *overlay, struct err *e)
{
    struct disk *d = overlay->backing;
    int r = 0;

    if (disk_is_qcow2(d))
        r = q2_settle(q2_of(d));
    else if (fdatasync(raw_fd(d)) < 0)
        r = -errno;
    return r < 0 ? err_code(e, r, "flush disk '%s'", d->name) : 0;
}

void overlay_settle(struct disk *overlay)
{
    struct disk *d = overlay->backing;

    atomic_store(&q2_of(overlay)->flush_below, false);
    d->readonly = true;
    raw_set_readonly(overlay_raw(d));
}
