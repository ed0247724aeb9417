/*
 * disk/raw_now.c: what is done to a raw disk's file on the calling thread: metadata of formats above, maps, new sizes.
 */
#include "disk/raw.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

static struct raw *raw_of(struct disk *d)
{
    return container_of(d, struct raw, disk);
}

/* After the end of the file there are zeroes. */
static int now_read(const struct raw *w, u8 *buf, u64 len, u64 offset)
{
    while (len) {
        ssize_t n = pread(w->fd, buf, len, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0 || (w->direct && n % DISK_SECTOR)) {
            memset(buf + n, 0, len - (u64)n);
            return 0;
        }
        buf += n;
        len -= (u64)n;
        offset += (u64)n;
    }
    return 0;
}

static int now_write(const struct raw *w, const u8 *buf, u64 len, u64 offset)
{
    while (len) {
        ssize_t n = pwrite(w->fd, buf, len, (off_t)offset);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (w->direct)
            n = align_down(n, DISK_SECTOR); /* the next try must be aligned again */
        if (n == 0)
            return -EIO;
        buf += n;
        len -= (u64)n;
        offset += (u64)n;
    }
    return 0;
}

/* A hint: what the host does not want is no error. */
static int now_discard(const struct raw *w, u64 len, u64 offset)
{
    u64 range[2] = { offset, len };
    int r = w->device ? ioctl(w->fd, BLKDISCARD, range)
                      : fallocate(w->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                                  (off_t)len);

    if (r == 0 || errno == EOPNOTSUPP || errno == ENOTTY || errno == EINVAL || errno == EBUSY)
        return 0;
    return -errno;
}

static int now_zero(const struct raw *w, u64 len, u64 offset)
{
    static alignas(4096) const u8 zeroes[64 * KiB];
    int how[] = { FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, FALLOC_FL_ZERO_RANGE };

    for_each_row(h, how)
        if (fallocate(w->fd, *h, (off_t)offset, (off_t)len) == 0)
            return 0;
    while (len) {
        u64 part = min(len, (u64)sizeof(zeroes));
        int r = now_write(w, zeroes, part, offset);

        if (r < 0)
            return r;
        offset += part;
        len -= part;
    }
    return 0;
}

int raw_now(struct disk *d, enum disk_op op, void *buf, u64 len, u64 offset)
{
    struct raw *w = raw_of(d);

    must(d->store && is_aligned(offset | len, DISK_SECTOR));
    must(op == DISK_READ || op == DISK_FLUSH || !d->readonly);
    must(!w->direct || is_aligned((uintptr_t)buf, DISK_SECTOR));
    switch (op) {
    case DISK_READ:
        return now_read(w, buf, len, offset);
    case DISK_WRITE:
        return now_write(w, buf, len, offset);
    case DISK_FLUSH:
        return w->unsafe || d->readonly || fdatasync(w->fd) == 0 ? 0 : -errno;
    case DISK_DISCARD:
        return now_discard(w, len, offset);
    case DISK_ZERO:
        return now_zero(w, len, offset);
    case DISK_FILL:
        return 0; /* nothing is absent */
    }
    return -EINVAL;
}

int raw_map(struct disk *d, u64 offset, u64 len, struct disk_extent *ret, struct err *)
{
    struct raw *w = raw_of(d);
    off_t data = w->device ? -1 : lseek(w->fd, (off_t)offset, SEEK_DATA), hole = -1;

    *ret = (struct disk_extent){ .kind = DISK_MAP_DATA, .len = len, .allocated = true };
    ret->where = d;
    ret->at = offset;
    if (w->device || (data < 0 && errno != ENXIO))
        return 0; /* who cannot tell has data */
    if (data < 0 || (u64)data > offset) {
        ret->kind = DISK_MAP_ZERO;
        ret->allocated = false;
        if (data >= 0)
            ret->len = min(len, align_down((u64)data, DISK_SECTOR) - offset);
        if (ret->len)
            return 0;
        /* the hole ends inside this sector */
        *ret = (struct disk_extent){ .kind = DISK_MAP_DATA, .len = DISK_SECTOR };
        ret->where = d;
        ret->at = offset;
        ret->allocated = true;
        return 0;
    }
    hole = lseek(w->fd, (off_t)offset, SEEK_HOLE);
    if (hole > 0 && (u64)hole > offset)
        ret->len = min(len, align_up((u64)hole, DISK_SECTOR) - offset);
    return 0;
}

int raw_resize(struct disk *d, u64 size, struct err *e)
{
    struct raw *w = raw_of(d);

    if (w->device)
        return err_set(e, -ENOTSUP, "disk '%s' is a block device: its size is not ours to change",
                       d->name);
    if (ftruncate(w->fd, (off_t)size) < 0)
        return err_errno(e, "resize disk '%s' to %llu bytes", d->name, size);
    d->size = size;
    return 0;
}
