/*
 * fw/image.c: the bytes of a kernel or initrd, and the checked way from there into guest RAM.
 */
#include "fw/image.h"

#include "fw/layout.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

int image_open(const char *path, struct image *ret, struct err *e)
{
    /* O_NONBLOCK: a FIFO must be refused, not waited for. */
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat st;

    if (fd < 0)
        return err_set(e, -errno, "%s", strerror(errno));
    if (fstat(fd, &st) < 0)
        return err_set(e, -errno, "%s", strerror(errno));
    if (S_ISDIR(st.st_mode))
        return err_set(e, -EISDIR, "is a directory");
    if (!S_ISREG(st.st_mode))
        return err_set(e, -EINVAL, "is not a regular file");
    *ret = (struct image){ .fd = TAKE_FD(fd), .size = (u64)st.st_size };
    return 0;
}

static int truncated(const struct image *im, u64 at, u64 len, const char *what, struct err *e)
{
    return err_set(e, -ENOEXEC, "truncated: its %s needs %llu bytes at %llu, the file has %llu",
                   what, len, at, im->size);
}

int image_read(const struct image *im, u64 at, void *buf, u64 len, const char *what, struct err *e)
{
    int r;

    if (!range_ok(at, len, im->size))
        return truncated(im, at, len, what, e);
    if (im->mem) {
        memcpy(buf, im->mem + at, len);
        return 0;
    }
    r = fd_pread_all(im->fd, buf, len, im->base + at);
    if (r == -ENODATA) /* it shrank since we opened it */
        return truncated(im, at, len, what, e);
    return r < 0 ? err_code(e, r, "read its %s", what) : 0;
}

u64 image_sum(u64 sum, const void *p, u64 len)
{
    const u64 prime =
        0x100000001b3; /* FNV-1a's, on whole words: a byte at a time would cost a tenth of a second */
    u64 lane[4] = { sum, sum + 1, sum + 2, sum + 3 };
    const u8 *at = p;

    for (; len >= sizeof(lane); at += sizeof(lane), len -= sizeof(lane))
        for (unsigned i = 0; i < ARRAY_LEN(lane); i++)
            lane[i] = ((lane[i] ^ le_load(at + 8 * i, 8)) * prime) ^ (lane[i] >> 32);
    for (; len > 0; at++, len--)
        lane[0] = (lane[0] ^ *at) * prime;
    for (unsigned i = 1; i < ARRAY_LEN(lane); i++)
        lane[0] = ((lane[0] ^ lane[i]) * prime) ^ (lane[0] >> 32);
    return lane[0];
}

static bool all_zero(const u8 *p, u64 len)
{
    return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

/* RAM is zero: what is zero is left alone, page by page.  A third of a Linux kernel is. */
static void copy_fresh(u8 *to, const u8 *from, u64 len)
{
    for (u64 at = 0, n; at < len; at += n) {
        n = min(len - at, MEM_PAGE - (uintptr_t)(to + at) % MEM_PAGE);
        if (!all_zero(from + at, n))
            memcpy(to + at, from + at, n);
    }
}

/*
 * The next run of a file's bytes that is no hole, in [*at, end).  False: there is none.  A file system that knows no holes has
 * one run.
 */
static bool next_data(int fd, u64 *at, u64 end, u64 *ret_len)
{
    off_t data = lseek(fd, (off_t)*at, SEEK_DATA), hole;

    if (data < 0 && errno != ENXIO)
        data = (off_t)*at;
    if (data < 0 || (u64)data >= end)
        return false;
    hole = lseek(fd, data, SEEK_HOLE);
    *at = (u64)data;
    *ret_len = (hole > data ? min((u64)hole, end) : end) - *at;
    return true;
}

/* Reads around the holes into RAM that is zero. */
static int read_fresh(const struct image *im, const struct image_part *p, u8 *to, struct err *e)
{
    const u64 begin = im->base + p->at, end = begin + p->filesz;
    u64 len;
    int r = 0;

    for (u64 at = begin; r == 0 && at < end && next_data(im->fd, &at, end, &len); at += len)
        r = image_read(im, at - im->base, to + (at - begin), len, p->what, e);
    if (r == 0 && lseek(im->fd, 0, SEEK_END) < (off_t)end) /* it shrank since we opened it */
        return truncated(im, p->at, p->filesz, p->what, e);
    return r;
}

int image_load(const struct image *im, const struct image_part *p, const struct image_to *to,
               struct err *e)
{
    u64 end;
    u8 *at;
    int r = 0;

    if (p->memsz < p->filesz || !add_ok(&end, p->gpa, p->memsz))
        return err_set(e, -EBADMSG, "damaged: its %s has %llu bytes in %llu at 0x%llx", p->what,
                       p->filesz, p->memsz, p->gpa);
    if (!range_ok(p->at, p->filesz, im->size))
        return truncated(im, p->at, p->filesz, p->what, e);
    if (p->gpa < LAYOUT_HIGH_LOAD)
        return err_set(e, -EBADMSG,
                       "its %s wants to be at 0x%llx: below 1 MiB is the boot data's place",
                       p->what, p->gpa);
    at = mem_at_rw(to->m, p->gpa, p->memsz);
    if (!at)
        return err_set(
            e, -ENOMEM,
            "its %s needs memory from 0x%llx to 0x%llx, the guest has %llu MiB: give it more",
            p->what, p->gpa, end, mem_size(to->m) / MiB);
    if (!to->is_zero) {
        r = image_read(im, p->at, at, p->filesz, p->what, e);
        memset(at + p->filesz, 0, p->memsz - p->filesz);
    } else if (im->mem) {
        copy_fresh(at, im->mem + p->at, p->filesz);
    } else {
        r = read_fresh(im, p, at, e);
    }
    if (r < 0)
        return r;
    mem_dirty(to->m, p->gpa, p->memsz);
    return 0;
}
