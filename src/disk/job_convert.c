/*
 * disk/job_convert.c: new images: empty ones, and copies of others.
 */
#include "disk/format.h"
#include "disk/job_copy.h"
#include "disk/job_file.h"
#include "disk/raw.h"
#include "disk/vmdk.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

static int check_new(const struct job_new *to, struct err *e)
{
    u64 size = to->cfg.size;

    if (size == 0 || size % DISK_SECTOR || size > 1ull << 62)
        return err_set(e, -EINVAL, "'%s': a size of %llu; multiples of %u up to 2^62 are allowed",
                       to->file, size, DISK_SECTOR);
    if (to->vmdk && to->prealloc != JOB_PREALLOC_OFF)
        return err_set(e, -EINVAL, "'%s': nothing of a vmdk is preallocated", to->file);
    if (!to->qcow2 && to->prealloc == JOB_PREALLOC_METADATA)
        return err_set(e, -EINVAL, "'%s': a raw image has no metadata to preallocate", to->file);
    return 0;
}

/* The file's contents are those of an empty image. */
static int format_new(const struct job_file *f, const struct job_new *to, struct err *e)
{
    static const enum qcow2_prealloc prealloc[] = { QCOW2_PREALLOC_OFF, QCOW2_PREALLOC_METADATA,
                                                    QCOW2_PREALLOC_FALLOC };
    struct qcow2_create_cfg cfg = to->cfg;
    off_t size = (off_t)cfg.size;

    cfg.prealloc = prealloc[to->prealloc];
    cfg.backing_format = disk_format_written(cfg.backing_format);
    if (to->qcow2)
        return qcow2_create(f->fd, to->file, &cfg, e);
    if (ftruncate(f->fd, size) < 0)
        return err_errno(e, "make '%s' %lld bytes long", to->file, (long long)size);
    if (to->prealloc == JOB_PREALLOC_FALLOC && fallocate(f->fd, 0, 0, size) < 0)
        return err_errno(e, "preallocate '%s'", to->file);
    return 0;
}

static int refuse_device(const struct job_file *f, struct err *e)
{
    if (!f->device)
        return 0;
    return err_set(e, -EINVAL, "'%s' is a block device; it can only be the target of a raw copy",
                   f->path);
}

int job_create(struct job *j, const struct job_new *to, struct err *e)
{
    struct job_file f = { .fd = -1, .replaced = -1 };
    int r = to->vmdk
                ? err_set(e, -EINVAL, "'%s': a vmdk is written as a whole; it can only be a copy",
                          to->file)
                : check_new(to, e);

    if (r == 0)
        r = job_file_open(&f, to->file, to->replace, e);
    if (r == 0)
        r = refuse_device(&f, e);
    if (r == 0)
        r = format_new(&f, to, e);
    if (r == 0)
        r = job_check(j, e);
    if (r == 0)
        r = job_file_commit(&f, e);
    job_file_fini(&f);
    return r;
}

/* The new file as a disk to be filled; a device is opened by its name. */
static int open_new(const struct job_file *f, const struct job_new *to, struct disk **ret,
                    struct err *e)
{
    struct disk_cfg cfg = {
        .file = to->file,
        .fd = -1,
        .cache = to->cache,
        .format = to->qcow2 ? "qcow2" : "raw",
    };

    if (!f->device) {
        cfg.fd = fcntl(f->fd, F_DUPFD_CLOEXEC, 0);
        if (cfg.fd < 0)
            return err_errno(e, "'%s'", to->file);
    }
    return disk_open(&cfg, ret, e);
}

/* A file system that can shares the bytes: a raw copy of a raw file is done at once.  False: it cannot, or not of these. */
static bool share_bytes(const struct disk *from, const struct job_file *f, const struct job_new *to)
{
    const struct raw *w = container_of(from, struct raw, disk);

    if (to->qcow2 || to->vmdk || to->prealloc != JOB_PREALLOC_OFF || f->device ||
        strcmp(from->ops->format, "raw") != 0 || w->device)
        return false;
    return ioctl(f->fd, FICLONE, w->fd) == 0 && ftruncate(f->fd, (off_t)to->cfg.size) == 0;
}

static int fill(struct job *j, const struct job_convert *c, struct disk *from,
                const struct job_file *f, const struct job_new *to, struct err *e)
{
    AUTO(disk) struct disk *d = NULL;
    struct copy copy = { .from = from,
                         .len = from->size,
                         .to_zero = !f->device,
                         .compress = c->compress,
                         .threads = c->threads };
    AUTO(disk_sync) struct disk_sync *s = NULL;
    int r = open_new(f, to, &d, e);

    if (r < 0)
        return r;
    must(d);
    if (d->size < from->size)
        return err_set(e, -ENOSPC, "'%s' has %llu bytes, the source %llu", to->file, d->size,
                       from->size);
    if (d->backing)
        return job_keep(j, d, from, d->backing, e);
    copy.to = d;
    copy.granule = copy_granule(d);
    r = job_copy(j, &copy, e);
    if (r == 0)
        r = disk_sync_open(d, &s, e);
    if (r < 0)
        return r;
    r = disk_flush(s);
    return r < 0 ? err_code(e, r, "flush '%s'", to->file) : 0;
}

static int check_convert(const struct job_convert *c, const struct job_new *to, u64 least,
                         struct err *e)
{
    if (c->compress && !to->qcow2)
        return err_set(e, -EINVAL, "'%s': only qcow2 has compression", to->file);
    if (to->cfg.backing && (!to->qcow2 || c->compress))
        return err_set(e, -EINVAL, "'%s': only qcow2 has a backing file, and not with compression",
                       to->file);
    if (to->cfg.size < least)
        return err_set(e, -EINVAL, "'%s': a size of %llu; the source has %llu", to->file,
                       to->cfg.size, least);
    return check_new(to, e);
}

int job_convert(struct job *j, const struct job_convert *c, struct err *e)
{
    struct job_file f = { .fd = -1, .replaced = -1 };
    AUTO(disk) struct disk *from = NULL;
    struct job_new to = c->to;
    int r = job_open_image(&c->from, true, &from, e);

    if (r < 0)
        return r;
    job_total(j, from->size);
    if (to.cfg.size == 0)
        to.cfg.size = from->size;
    r = check_convert(c, &to, from->size, e);
    if (r == 0)
        r = job_file_open(&f, to.file, to.replace, e);
    if (r == 0 && (to.qcow2 || to.vmdk))
        r = refuse_device(&f, e);
    if (r == 0 && share_bytes(from, &f, &to)) {
        job_add(j, from->size);
    } else if (r == 0 && to.vmdk) {
        r = vmdk_write(j, from, to.cfg.size, f.fd, to.file, e);
    } else if (r == 0) {
        r = f.device ? 0 : format_new(&f, &to, e);
        if (r == 0)
            r = fill(j, c, from, &f, &to, e);
    }
    if (r == 0)
        r = job_file_commit(&f, e);
    job_file_fini(&f);
    return r;
}
