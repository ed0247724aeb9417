/*
 * box/path_test.c: names that an attacker chose lead nowhere but into the root.
 */
#include "box/path.h"

#include "testlib/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* A root with links of all kinds; outside of it a file "secret". */
static int new_root(void)
{
    static unsigned n;
    char *dir = str_new("%s/%u", test_dir(), n++), *root = str_new("%s/root", dir);
    char *secret = str_new("%s/secret", dir);
    int fd;

    must(mkdir(dir, 0700) == 0 && mkdir(root, 0700) == 0);
    fd = open(secret, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    must(fd >= 0);
    close(fd);
    fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    must(fd >= 0 && mkdirat(fd, "etc", 0755) == 0 && symlinkat("/etc", fd, "inside") == 0);
    must(symlinkat("../secret", fd, "up") == 0 && symlinkat(secret, fd, "out") == 0);
    must(symlinkat("/proc/self/root", fd, "magic") == 0 &&
         symlinkat("nowhere", fd, "dangling") == 0);
    must(symlinkat("loop", fd, "loop") == 0);
    free(root);
    free(secret);
    free(dir);
    return fd;
}

TEST(path_stays_inside)
{
    static const struct {
        const char *why, *path;
        int want; /* 0: opens */
    } rows[] = {
        { "a directory", "/etc", 0 },
        { "the root itself", "/", 0 },
        { "above the root is the root", "../../../..", 0 },
        { "a link to what is inside", "inside", 0 },
        { "a link upwards", "up", -ENOENT },
        { "a link to the host", "out", -ENOENT },
        { "a link of /proc", "magic", -ENOENT },
        { "a link to nothing", "dangling", -ENOENT },
        { "a link to itself", "loop", -ELOOP },
    };
    int root = new_root();

    for_each_row(row, rows) {
        int fd = path_open(root, row->path, O_PATH);

        ROW(row);
        CHECK_EQ(min(fd, 0), row->want);
        fd_close(&fd);
    }
    close(root);
}

TEST(path_magic_links)
{
    AUTO(fd) int proc = open("/", O_PATH | O_CLOEXEC);
    int fd = path_open(proc, "/proc/self/root/etc", O_PATH);

    CHECK_EQ(fd, -ELOOP);
    CHECK_EQ(path_open_here("/proc/self/exe", O_PATH), -ELOOP);
    CHECK_EQ(path_open(proc, "/proc/self/fd/0", O_PATH), -ELOOP);
}

TEST(path_beneath)
{
    int root = new_root();

    CHECK(path_open_beneath(root, "../secret", O_PATH) == -EXDEV);
    CHECK(path_open_beneath(root, "/etc", O_PATH) == -EXDEV);
    CHECK(path_open_beneath(root, "inside", O_PATH) == -ELOOP);
    close(root);
}

TEST(path_make_dirs)
{
    int root = new_root(), fd;
    struct stat st;

    fd = path_make(root, "/a/b/c", false);
    CHECK(fd >= 0);
    CHECK(fstat(fd, &st) == 0 && S_ISDIR(st.st_mode));
    close(fd);
    fd = path_make(root, "inside/new/file", true);
    CHECK(fd >= 0);
    CHECK(fstat(fd, &st) == 0 && S_ISREG(st.st_mode));
    close(fd);
    CHECK(fstatat(root, "etc/new/file", &st, AT_SYMLINK_NOFOLLOW) == 0);
    /* A link to nothing is not followed to make something (CVE-2024-45310). */
    CHECK(path_make(root, "dangling", true) < 0);
    CHECK(path_make(root, "dangling/x", false) < 0);
    CHECK(path_make(root, "out", true) < 0);
    CHECK(path_make(root, "out/x", false) < 0);
    CHECK(path_make(root, "a/../../x/..", false) < 0);
    CHECK(fstatat(root, "nowhere", &st, AT_SYMLINK_NOFOLLOW) < 0);
    close(root);
}
