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

int image_load(const struct image *im, const struct image_part *p, struct mem *m, bool ram_is_zero,
               struct err *e)
{
    u64 end;
    u8 *at;
    int r;

    if (p->memsz < p->filesz || !add_ok(&end, p->gpa, p->memsz))
        return err_set(e, -EBADMSG, "damaged: its %s has %llu bytes in %llu at 0x%llx", p->what,
                       p->filesz, p->memsz, p->gpa);
    if (p->gpa < LAYOUT_HIGH_LOAD)
        return err_set(e, -EBADMSG,
                       "its %s wants to be at 0x%llx: below 1 MiB is the boot data's place",
                       p->what, p->gpa);
    at = mem_at_rw(m, p->gpa, p->memsz);
    if (!at)
        return err_set(
            e, -ENOMEM,
            "its %s needs memory from 0x%llx to 0x%llx, the guest has %llu MiB: give it more",
            p->what, p->gpa, end, mem_size(m) / MiB);
    r = image_read(im, p->at, at, p->filesz, p->what, e);
    if (r < 0)
        return r;
    if (!ram_is_zero)
        memset(at + p->filesz, 0, p->memsz - p->filesz);
    mem_dirty(m, p->gpa, p->memsz);
    return 0;
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
