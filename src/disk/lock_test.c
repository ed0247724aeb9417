/*
 * disk/lock_test.c: who may open an image that is open already, and what the other is told.
 */
#include "disk/disk.h"
#include "testlib/test.h"

#include <fcntl.h>
#include <unistd.h>

TEST(lock_rows)
{
    static const struct {
        const char *why;
        bool first_readonly, second_readonly;
        int r;
        const char *text;
    } rows[] = {
        { "two readers", true, true, 0, NULL },
        { "two writers", false, false, -EAGAIN, "is in use by process" },
        { "reader, then writer", true, false, -EAGAIN, "is in use by process" },
        { "writer, then reader", false, true, -EAGAIN, "is being written by process" },
    };
    char path[200], pid[32];
    int fd;

    str_fmt(path, sizeof(path), "%s/l.img", test_dir());
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    CHECK_EQ(ftruncate(fd, 4096), 0);
    close(fd);
    str_fmt(pid, sizeof(pid), " process %d (", getpid());
    for_each_row(c, rows) {
        AUTO(disk) struct disk *a = NULL, *b = NULL;
        struct err e = {};

        ROW(c);
        CHECK_OK(
            disk_open(&(struct disk_cfg){ .file = path, .fd = -1, .readonly = c->first_readonly },
                      &a, &e),
            &e);
        CHECK_EQ(
            disk_open(&(struct disk_cfg){ .file = path, .fd = -1, .readonly = c->second_readonly },
                      &b, &e),
            c->r);
        if (!c->text)
            continue;
        CHECK_HAS(e.text, c->text);
        CHECK_HAS(e.text, pid);
        CHECK_HAS(e.text, path);
    }
}

/* A lock ends with its disk, so that the next one may have the image. */
TEST(lock_ends_with_the_disk)
{
    char path[200];
    struct err e;

    str_fmt(path, sizeof(path), "%s/l2.img", test_dir());
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    CHECK_EQ(ftruncate(fd, 4096), 0);
    close(fd);
    for (int i = 0; i < 2; i++) {
        AUTO(disk) struct disk *d = NULL;

        CHECK_OK(disk_open(&(struct disk_cfg){ .file = path, .fd = -1 }, &d, &e), &e);
    }
}
