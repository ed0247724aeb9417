/*
 * fw/kernel_cache.c: unpacked kernels on disk.
 * A file is one page of `struct head`, then the vmlinux.
 *   (1) The name is a hash of the key; the key in the head decides.
 *   (2) A file is complete and on disk before it has its name.
 *   (3) Only files of ours (or root's) that nobody else may write are believed: they become a guest's kernel.
 *   (4) The vmlinux itself is not summed, for that would cost as much as loading it: (2) and (3) are the trust.
 *   (5) Pages of zeroes are holes, so that nobody has to read them.
 */
#include "fw/kernel_cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { HEAD_SIZE = 4096, PATH_SIZE = 4096, FILES_MAX = 8 };

#define CACHE_VERSION 2
#define CACHE_PREFIX  "vmlinux-"

static const char cache_magic[8] = "SOCLEKC";

struct key {
    le64 dev, ino, size, mtime_ns, version;
};

struct head {
    char magic[8];
    struct key key;
    le64 len;
    le64 head_sum; /* over what is before it */
};

static struct key key_of(const struct stat *st)
{
    return (struct key){ le64_of((u64)st->st_dev), le64_of((u64)st->st_ino),
                         le64_of((u64)st->st_size),
                         le64_of((u64)st->st_mtim.tv_sec * NSEC_PER_SEC + (u64)st->st_mtim.tv_nsec),
                         le64_of(CACHE_VERSION) };
}

static bool path_of(const char *dir, const struct stat *st, char path[PATH_SIZE])
{
    struct key key = key_of(st);

    return str_fmt(path, PATH_SIZE, "%s/" CACHE_PREFIX "%016llx", dir,
                   image_sum(0, &key, sizeof(key)));
}

/* Is this head whole, and for this key and this file length? */
static bool head_ok(const struct head *h, const struct stat *kernel, const struct stat *cached)
{
    struct key key = key_of(kernel);

    return memcmp(h->magic, cache_magic, sizeof(h->magic)) == 0 &&
           memcmp(&h->key, &key, sizeof(key)) == 0 &&
           le64_get(h->head_sum) == image_sum(0, h, offsetof(struct head, head_sum)) &&
           (u64)cached->st_size > HEAD_SIZE && le64_get(h->len) == (u64)cached->st_size - HEAD_SIZE;
}

static bool owner_ok(const struct stat *st)
{
    return S_ISREG(st->st_mode) && (st->st_uid == geteuid() || st->st_uid == 0) &&
           !(st->st_mode & 022);
}

bool kernel_cache_open(const char *dir, const struct stat *st, struct image *ret,
                       struct elf *ret_elf)
{
    AUTO(fd) int fd = -1;
    char path[PATH_SIZE];
    struct stat cached;
    struct head h;
    struct elf elf;

    if (!path_of(dir, st, path))
        return false;
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &cached) < 0 || !owner_ok(&cached))
        return false;
    if (fd_pread_all(fd, &h, sizeof(h), 0) < 0 || !head_ok(&h, st, &cached))
        return false;
    struct image im = { .fd = fd, .base = HEAD_SIZE, .size = le64_get(h.len) };
    if (elf_parse(&im, &elf, NULL) < 0)
        return false;
    *ret = im;
    *ret_elf = elf;
    (void)TAKE_FD(fd);
    return true;
}

/* Writes what is not zero of [p, p + len), block by block; the file is long enough already. */
static int write_sparse(int fd, const u8 *p, u64 len)
{
    static const u8 zeroes[HEAD_SIZE];
    int r = 0;

    for (u64 at = 0, n; r == 0 && at < len; at += n) {
        n = min(len - at, (u64)sizeof(zeroes));
        if (memcmp(p + at, zeroes, n) != 0)
            r = fd_pwrite_all(fd, p + at, n, HEAD_SIZE + at);
    }
    return r;
}

static int write_file(int fd, const struct stat *st, const struct image *im)
{
    union {
        struct head h;
        u8 bytes[HEAD_SIZE];
    } head = { .bytes = {} };
    int r;

    memcpy(head.h.magic, cache_magic, sizeof(head.h.magic));
    head.h.key = key_of(st);
    head.h.len = le64_of(im->size);
    head.h.head_sum = le64_of(image_sum(0, &head.h, offsetof(struct head, head_sum)));
    r = fd_pwrite_all(fd, &head, sizeof(head), 0);
    if (r == 0 && ftruncate(fd, (off_t)(HEAD_SIZE + im->size)) < 0)
        r = -errno;
    if (r == 0)
        r = write_sparse(fd, im->mem, im->size);
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    return r;
}

/* Removes the file that was written longest ago when there are more than FILES_MAX: kernels of upgrades long past. */
static void prune(const char *dir)
{
    DIR *d = opendir(dir);
    char oldest[NAME_MAX + 1] = "";
    struct timespec when = {};
    unsigned n = 0;
    struct dirent *f;

    if (!d)
        return;
    while ((f = readdir(d))) {
        struct stat st;

        if (!str_starts(f->d_name, CACHE_PREFIX) ||
            fstatat(dirfd(d), f->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        n++;
        if (oldest[0] && (st.st_mtim.tv_sec > when.tv_sec ||
                          (st.st_mtim.tv_sec == when.tv_sec && st.st_mtim.tv_nsec >= when.tv_nsec)))
            continue;
        when = st.st_mtim;
        str_copy(oldest, sizeof(oldest), f->d_name);
    }
    if (n > FILES_MAX)
        unlinkat(dirfd(d), oldest, 0);
    closedir(d);
}

bool kernel_cache_save(const char *dir, const struct stat *st, const struct image *im)
{
    AUTO(fd) int fd = -1;
    char path[PATH_SIZE], temporary[PATH_SIZE];

    must(im->mem);
    if (!path_of(dir, st, path) ||
        !str_fmt(temporary, sizeof(temporary), "%s/" CACHE_PREFIX "XXXXXX", dir))
        return false;
    fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return false;
    if (write_file(fd, st, im) < 0 || rename(temporary, path) < 0) {
        unlink(temporary);
        return false;
    }
    prune(dir);
    return true;
}

void kernel_cache_drop(const char *dir, const struct stat *st)
{
    char path[PATH_SIZE];

    if (path_of(dir, st, path))
        unlink(path);
}
