/*
 * disk/raw.c: opens a file or a block device as a disk, and finds out what it can.
 */
#include "disk/raw.h"

#include "disk/lock.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

static void raw_close(struct disk *d)
{
    struct raw *w = container_of(d, struct raw, disk);

    workers_free(w->pool);
    fd_close(&w->lock_fd);
    fd_close(&w->fd);
    free(w);
}

static const struct disk_ops raw_ops = {
    .format = "raw",
    .close = raw_close,
    .queue_open = raw_queue_open,
    .queue_close = raw_queue_close,
    .submit = raw_submit,
    .kick = raw_kick,
    .wait = raw_wait,
    .map = raw_map,
    .resize = raw_resize,
    .now = raw_now,
};

/*
 * O_NONBLOCK: a FIFO must not make us wait for a writer.  O_EXCL: a block device that is mounted is refused, and discards of
 * one that we do not hold are too (-EBUSY).
 */
static int open_file(const struct disk_cfg *cfg, struct err *e)
{
    int flags = (cfg->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
    struct stat st;
    int fd;

    if (!cfg->readonly && stat(cfg->file, &st) == 0 && S_ISBLK(st.st_mode))
        flags |= O_EXCL;
    fd = open(cfg->file, flags);
    if (fd >= 0)
        return fd;
    if (errno == EISDIR)
        return err_set(e, -EISDIR, "disk '%s' is a directory; a file or a block device is wanted",
                       cfg->file);
    if (errno == EBUSY)
        return err_set(e, -EBUSY, "disk '%s' is in use by the host (mounted?)", cfg->file);
    return err_errno(e, "open disk '%s'%s", cfg->file, cfg->readonly ? "" : " for writing");
}

/* What kind of thing it is, and how many bytes. */
static int probe_size(struct raw *w, const char *name, struct err *e)
{
    struct stat st;
    u64 size;

    if (fstat(w->fd, &st) < 0)
        return err_errno(e, "look at disk '%s'", name);
    w->device = S_ISBLK(st.st_mode);
    if (S_ISDIR(st.st_mode))
        return err_set(e, -EISDIR, "disk '%s' is a directory; a file or a block device is wanted",
                       name);
    if (!w->device && !S_ISREG(st.st_mode))
        return err_set(e, -EINVAL, "disk '%s' is neither a file nor a block device", name);
    size = (u64)st.st_size;
    if (w->device && ioctl(w->fd, BLKGETSIZE64, &size) < 0)
        return err_errno(e, "size of disk '%s'", name);
    w->disk.size = size;
    w->disk.zero_grown = !w->device;
    w->disk.block = (u32)min((u64)st.st_blksize, 64 * KiB);
    return 0;
}

static int check_size(const struct raw *w, const char *name, struct err *e)
{
    if (w->disk.size == 0)
        return err_set(e, -EINVAL, "disk '%s' is empty: it has 0 bytes", name);
    if (w->disk.size % DISK_SECTOR)
        return err_set(e, -EINVAL, "disk '%s' has %llu bytes, which is no multiple of %u", name,
                       w->disk.size, DISK_SECTOR);
    return 0;
}

static void probe_block(struct raw *w)
{
    unsigned physical;

    if (w->device && ioctl(w->fd, BLKPBSZGET, &physical) == 0)
        w->disk.block = physical;
    if (w->disk.block < DISK_SECTOR || !is_pow2(w->disk.block))
        w->disk.block = 4096;
    w->disk.discard = w->disk.readonly ? 0 : w->disk.block;
}

/* O_DIRECT must take what a guest's driver may send: any sector, in memory aligned as one. */
static int set_direct(struct raw *w, const char *name, struct err *e)
{
    static alignas(4096) u8 buf[2 * DISK_SECTOR]; /* what is read is not looked at */
    int flags = fcntl(w->fd, F_GETFL);

    if (flags < 0 || fcntl(w->fd, F_SETFL, flags | O_DIRECT) < 0)
        return err_errno(e, "disk '%s' has no direct I/O, cache=writeback may do", name);
    if (pread(w->fd, buf + DISK_SECTOR, DISK_SECTOR, 0) < 0)
        return err_errno(e, "disk '%s': direct I/O of single sectors, cache=writeback may do",
                         name);
    w->direct = true;
    return 0;
}

/* The end of a long name says more than its beginning. */
static void set_name(struct disk *d, const char *name)
{
    size_t len = strlen(name);

    if (len >= sizeof(d->name))
        name += len - (sizeof(d->name) - 1);
    str_copy(d->name, sizeof(d->name), name);
}

/*
 * The lock stands on an open file of its own: an io_uring lets go of a registered file some time after it, or its process, is
 * gone, and who starts the machine again at once would find its own image locked.
 */
static int lock(struct raw *w, const struct disk_cfg *cfg, const char *name, struct err *e)
{
    bool alone = !w->disk.readonly && !cfg->beside_readers;
    char path[32];

    str_fmt(path, sizeof(path), "/proc/self/fd/%d", w->fd);
    w->lock_fd = open(path, (w->disk.readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
    return lock_image(w->lock_fd >= 0 ? w->lock_fd : w->fd, alone, name, e);
}

static int prepare(struct raw *w, const struct disk_cfg *cfg, const char *name, struct err *e)
{
    int flags = fcntl(w->fd, F_GETFL), r;

    if (flags < 0)
        return err_errno(e, "disk '%s'", name);
    if (!cfg->readonly && (flags & O_ACCMODE) != O_RDWR)
        return err_set(e, -EACCES, "disk '%s' was handed in read-only", name);
    r = probe_size(w, name, e);
    if (r == 0 && !w->disk.store)
        r = check_size(w, name, e);
    if (r == 0 && !cfg->share)
        r = lock(w, cfg, name, e);
    if (r < 0)
        return r;
    fcntl(w->fd, F_SETFL, flags & ~O_NONBLOCK);
    probe_block(w);
    return cfg->cache == DISK_DIRECT ? set_direct(w, name, e) : 0;
}

int raw_open(const struct disk_cfg *cfg, struct disk **ret, struct err *e)
{
    struct raw *w = xnew(struct raw);
    char handed[24];
    const char *name = cfg->file;
    int r;

    str_fmt(handed, sizeof(handed), "fd %d", cfg->fd);
    if (cfg->fd >= 0 && !name)
        name = handed;
    must(name);
    w->lock_fd = -1;
    w->disk.ops = &raw_ops;
    raw_zero_init(w);
    w->disk.readonly = cfg->readonly;
    w->disk.store = cfg->store;
    w->unsafe = cfg->cache == DISK_UNSAFE;
    w->engine = cfg->engine;
    set_name(&w->disk, name);
    r = w->fd = cfg->fd >= 0 ? cfg->fd : open_file(cfg, e);
    if (r >= 0)
        r = prepare(w, cfg, name, e);
    if (r < 0) {
        raw_close(&w->disk);
        return r;
    }
    *ret = &w->disk;
    return 0;
}

int raw_settle(struct disk *d, bool guard, struct err *e)
{
    struct raw *w = container_of(d, struct raw, disk);

    d->store = false;
    w->guard = guard && !d->readonly;
    return check_size(w, d->name, e);
}

int raw_identity(struct disk *d, dev_t *dev, ino_t *ino)
{
    struct stat st;

    if (fstat(raw_fd(d), &st) < 0)
        return -errno;
    *dev = S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev;
    *ino = S_ISBLK(st.st_mode) ? 0 : st.st_ino;
    return 0;
}

void raw_locked_by(struct disk *d, int fd)
{
    struct raw *w = container_of(d, struct raw, disk);

    fd_close(&w->lock_fd);
    w->lock_fd = fd;
}

int raw_lock_take(struct disk *d)
{
    return TAKE_FD(container_of(d, struct raw, disk)->lock_fd);
}

void raw_set_readonly(struct disk *d)
{
    struct raw *w = container_of(d, struct raw, disk);
    struct flock l = { .l_type = F_RDLCK, .l_whence = SEEK_SET };

    d->readonly = true;
    /* to turn a writer's lock into a reader's never waits; where there are no locks, none is needed */
    (void)fcntl(w->lock_fd >= 0 ? w->lock_fd : w->fd, F_OFD_SETLK, &l);
}

int raw_fd(const struct disk *d)
{
    return d->ops == &raw_ops ? container_of(d, struct raw, disk)->fd : -1;
}
