/*
 * fw/image.c: the bytes of a kernel or initrd, and the checked way from there into guest RAM.
 */
#include "fw/image.h"

#include "fw/layout.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK (256 * KiB) /* stays in the cache between reading, summing and writing */

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

u64 image_sum_chunks(u64 sum, const u8 *p, u64 len)
{
    for (u64 n; len > 0; p += n, len -= n) {
        n = min(len, CHUNK);
        sum = image_sum(sum, p, n);
    }
    return sum;
}

static bool all_zero(const u8 *p, u64 len)
{
    return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

/*
 * Writes by way of the memfd: half the price of touching fresh pages through the mapping, and a host without memory is an
 * error here and a SIGBUS there.  Pages of 2 MiB cannot be written so (hugetlbfs).
 */
static int write_fresh(struct mem *m, u64 gpa, const u8 *p, u64 len)
{
    unsigned n;
    const struct mem_region *r = mem_regions(m, &n);
    int result;

    while (gpa < r->gpa || gpa - r->gpa >= r->size)
        r++; /* the caller found it to be RAM */
    result = fd_pwrite_all(mem_fd(m), p, len, r->fd_offset + (gpa - r->gpa));
    return result == -EINVAL || result == -EBADF ? mem_write(m, gpa, p, len) : result;
}

/* RAM is zero: what is zero is left alone, page by page.  A third of a Linux kernel is. */
static int put_fresh(struct mem *m, u64 gpa, const u8 *p, u64 len)
{
    u64 run = 0; /* bytes before `at` that are to be written */
    int r = 0;

    for (u64 at = 0, n; at < len && r == 0; at += n) {
        n = min(len - at, MEM_PAGE - (gpa + at) % MEM_PAGE);
        if (!all_zero(p + at, n)) {
            run += n;
            continue;
        }
        if (run > 0)
            r = write_fresh(m, gpa + at - run, p + at - run, run);
        run = 0;
    }
    return r == 0 && run > 0 ? write_fresh(m, gpa + len - run, p + len - run, run) : r;
}

/* The part's bytes, a chunk at a time. */
static int copy_part(const struct image *im, const struct image_part *p, const struct image_to *to,
                     struct err *e)
{
    AUTO(free) u8 *buf = im->mem ? NULL : xnew_n(u8, CHUNK);
    u64 sum = to->sum ? *to->sum : 0;

    for (u64 done = 0, n; done < p->filesz; done += n) {
        const u8 *bytes = im->mem ? im->mem + p->at + done : buf;
        int r = 0;

        n = min(p->filesz - done, CHUNK);
        if (!im->mem)
            r = image_read(im, p->at + done, buf, n, p->what, e);
        if (r < 0)
            return r;
        if (to->sum)
            sum = image_sum(sum, bytes, n);
        r = to->is_zero ? put_fresh(to->m, p->gpa + done, bytes, n)
                        : mem_write(to->m, p->gpa + done, bytes, n);
        if (r < 0)
            return err_code(e, r, "write its %s to the guest's memory", p->what);
    }
    if (to->sum)
        *to->sum = sum;
    return 0;
}

int image_load(const struct image *im, const struct image_part *p, const struct image_to *to,
               struct err *e)
{
    u64 end;
    u8 *at;
    int r;

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
    r = copy_part(im, p, to, e);
    if (r < 0)
        return r;
    if (!to->is_zero)
        memset(at + p->filesz, 0, p->memsz - p->filesz);
    mem_dirty(to->m, p->gpa, p->memsz);
    return 0;
}
