/*
 * disk/qcow2_rig_test.c: what the tests of qcow2 share.
 */
#include "disk/qcow2_rig.h"

#include "testlib/test.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs a program with its output in test_dir()/out; its status, -1 when it cannot be run. */
int rig_run(const char *const args[])
{
    char *argv[24] = {}; /* posix_spawn's have no const; it does not change them */
    posix_spawn_file_actions_t fa;
    char out[200];
    pid_t pid;
    int status = -1;

    for (u32 i = 0; args[i]; i++)
        argv[i] = (char *)(uintptr_t)args[i];
    str_fmt(out, sizeof(out), "%s/out", test_dir());
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_addopen(&fa, 1, out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&fa, 1, 2);
    if (posix_spawnp(&pid, argv[0], &fa, NULL, argv, environ) == 0)
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
    posix_spawn_file_actions_destroy(&fa);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void rig_show(void)
{
    char line[300], out[200];
    FILE *f;

    str_fmt(out, sizeof(out), "%s/out", test_dir());
    f = fopen(out, "re");
    while (f && fgets(line, sizeof(line), f))
        fputs(line, stderr);
    if (f)
        fclose(f);
}

bool rig_has_qemu(void)
{
    static int has = -1;

    if (has < 0)
        has = RIG_RUN("qemu-img", "--version") == 0;
    return has;
}

void rig_path(char path[200], const char *name)
{
    str_fmt(path, 200, "%s/%s", test_dir(), name);
}

void rig_create(const char *path, const struct qcow2_create_cfg *cfg)
{
    AUTO(fd) int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    struct err e = {};

    CHECK(fd >= 0);
    CHECK_OK(qcow2_create(fd, path, cfg, &e), &e);
}

int rig_open(const char *path, bool readonly, struct disk **ret, struct err *e)
{
    return disk_open(&(struct disk_cfg){ .file = path, .fd = -1, .readonly = readonly }, ret, e);
}

void rig_read(const char *path, u8 *buf, u64 size)
{
    AUTO(disk) struct disk *d = NULL;
    AUTO(disk_sync) struct disk_sync *s = NULL;
    struct err e = {};

    CHECK_OK(rig_open(path, true, &d, &e), &e);
    CHECK_EQ(d->size, size);
    CHECK_OK(disk_sync_open(d, &s, &e), &e);
    CHECK_EQ(disk_pread(s, buf, size, 0), 0);
}

void rig_patch(const char *path, u64 at, u32 len, u64 value)
{
    AUTO(fd) int fd = open(path, O_RDWR | O_CLOEXEC);
    u8 bytes[8];

    for (u32 i = 0; i < len; i++)
        bytes[i] = (u8)(value >> (8 * (len - 1 - i)));
    CHECK_EQ(fd_pwrite_all(fd, bytes, len, at), 0);
}

/* qemu-img finds nothing wrong, and reads the same as `want`, a file of the disk's bytes. */
void rig_judge(const char *path, const u8 *want, u64 size)
{
    char raw[200];
    int fd, r;

    if (!rig_has_qemu())
        return;
    r = RIG_RUN("qemu-img", "check", "-q", path);
    if (r)
        rig_show();
    CHECK_EQ(r, 0);
    rig_path(raw, "want.raw");
    fd = open(raw, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    CHECK_EQ(fd_write_all(fd, want, size), 0);
    close(fd);
    r = RIG_RUN("qemu-img", "compare", "-F", "raw", path, raw);
    if (r)
        rig_show();
    CHECK_EQ(r, 0);
}

void rig_say(void *, const char *text)
{
    fprintf(stderr, "    %s\n", text);
}

/* Our own check finds nothing. */
void rig_check(const char *path)
{
    struct qcow2_report rep = { .say = rig_say };
    struct err e = {};

    CHECK_OK(qcow2_check(&(struct disk_cfg){ .file = path, .fd = -1 }, 0, &rep, &e), &e);
    CHECK_EQ(rep.errors, 0);
    CHECK_EQ(rep.leaks, 0);
}

void rig_fill(u8 *p, u64 len, u64 *seed)
{
    for (u64 i = 0; i < len; i += 8) {
        u64 v = test_rand(seed);

        memcpy(p + i, &v, min(len - i, 8ull));
    }
}
