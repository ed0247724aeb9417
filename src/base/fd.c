/*
 * base/fd.c: file descriptors: closing, whole reads and writes, eventfds.
 */
#include "base/fd.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

void fd_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void auto_fd(int *fd)
{
    int saved = errno;

    fd_close(fd);
    errno = saved;
}

int fd_write_all(int fd, const void *buf, size_t len)
{
    const char *p = buf;

    while (len) {
        ssize_t n = write(fd, p, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int fd_pwrite_all(int fd, const void *buf, size_t len, u64 at)
{
    const char *p = buf;

    while (len) {
        ssize_t n = pwrite(fd, p, len, (off_t)at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        p += n;
        at += (u64)n;
        len -= (size_t)n;
    }
    return 0;
}

int fd_pread_all(int fd, void *buf, size_t len, u64 at)
{
    char *p = buf;

    while (len) {
        ssize_t n = pread(fd, p, len, (off_t)at);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return -ENODATA;
        p += n;
        at += (u64)n;
        len -= (size_t)n;
    }
    return 0;
}

int fd_read_whole(int fd, size_t max, char **ret, size_t *ret_len)
{
    AUTO(free) char *text = NULL;
    struct stat st;
    int r;

    if (fstat(fd, &st) < 0)
        return -errno;
    *ret_len = (size_t)st.st_size;
    text = try_new(char, *ret_len, max);
    if (!text)
        return -EFBIG;
    r = fd_pread_all(fd, text, *ret_len, 0);
    if (r < 0)
        return r;
    *ret = TAKE(text);
    return 0;
}

int fd_eventfd(void)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    return fd < 0 ? -errno : fd;
}

void fd_event_signal(int fd)
{
    u64 one = 1;
    ssize_t n = write(fd, &one, sizeof(one));

    must(n == sizeof(one) ||
         errno == EAGAIN); /* EAGAIN: the counter is full, so the reader is woken anyway */
}

u64 fd_event_take(int fd)
{
    u64 v = 0;

    return read(fd, &v, sizeof(v)) == sizeof(v) ? v : 0;
}

char *fd_read_virtual(const char *path, size_t max)
{
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    AUTO(strbuf) struct strbuf text = {};
    char buf[4096];
    ssize_t n = fd;

    while (fd >= 0 && text.len < max && (n = read(fd, buf, sizeof(buf))) > 0)
        strbuf_add_mem(&text, buf, (size_t)n);
    return n < 0 || !text.len ? NULL : TAKE(text.text);
}
