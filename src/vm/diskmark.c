/*
 * vm/diskmark.c: by what a disk is recognised when its machine goes on.
 * A file is recognised by its size and the time of its last change, which Linux keeps in nanoseconds and `cp -p` keeps as it is.  Two
 * changes within one tick of the kernel's clock (4 ms at most) look like one; a program that sets times can lie.
 */
#include "vm/diskmark.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int diskmark_open(const char *file, struct diskmark *ret, struct err *e)
{
    AUTO(fd) int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    char path[PATH_MAX];

    if (fd < 0 || !realpath(file, path))
        return err_errno(e, "disk '%s'", file);
    *ret = (struct diskmark){ TAKE_FD(fd), xdup(path) };
    return 0;
}

void diskmark_close(struct diskmark *d)
{
    fd_close(&d->fd);
    free(d->path);
    d->path = NULL;
}

int diskmark_get(const struct diskmark *d, struct state_disk *ret, struct err *e)
{
    struct stat st;
    off_t end;

    if (fstat(d->fd, &st) < 0 || (end = lseek(d->fd, 0, SEEK_END)) < 0)
        return err_errno(e, "disk '%s'", d->path);
    *ret = (struct state_disk){ .size = (u64)end };
    if (S_ISREG(st.st_mode))
        ret->mtime_ns = (u64)st.st_mtim.tv_sec * NSEC_PER_SEC + (u64)st.st_mtim.tv_nsec;
    return 0;
}

int diskmark_sync(const struct diskmark *d, struct err *e)
{
    return fsync(d->fd) < 0 ? err_errno(e, "flush disk '%s'", d->path) : 0;
}

/* "2026-11-28 14:03:20.123456789 UTC" */
static void time_text(u64 ns, char *text, size_t size)
{
    time_t t = (time_t)(ns / NSEC_PER_SEC);
    struct tm tm = {};
    char date[32] = "";

    gmtime_r(&t, &tm);
    strftime(date, sizeof(date), "%F %T", &tm);
    str_fmt(text, size, "%s.%09llu UTC", date, ns % NSEC_PER_SEC);
}

bool diskmark_is(const struct diskmark *d, u64 dev, u64 ino)
{
    struct stat st;

    return fstat(d->fd, &st) == 0 && st.st_dev == dev && st.st_ino == ino;
}

int diskmark_compare(const char *path, const struct state_disk *now, const struct state_disk *want,
                     struct err *e)
{
    char was[64], is[64];

    if (now->size != want->size)
        return err_set(e, -ESTALE, "disk '%s' has %llu bytes; the saved state knows it with %llu",
                       path, now->size, want->size);
    if (now->mtime_ns == want->mtime_ns || !want->mtime_ns)
        return 0;
    time_text(want->mtime_ns, was, sizeof(was));
    time_text(now->mtime_ns, is, sizeof(is));
    return err_set(e, -ESTALE,
                   "disk '%.60s' was changed at %s; the saved state knows it as of %s (force goes "
                   "on regardless, and what the guest believes of it is wrong)",
                   path, now->mtime_ns ? is : "a time that is unknown", was);
}

int diskmark_check(const struct diskmark *d, const struct state_disk *want, struct err *e)
{
    struct state_disk now = {};
    int r = diskmark_get(d, &now, e);

    return r < 0 ? r : diskmark_compare(d->path, &now, want, e);
}
