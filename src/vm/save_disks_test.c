/*
 * vm/save_disks_test.c: snapshots that take a machine's disks along: what is refused, what goes on, what a restore insists on.
 */
#include "vm/save_disks.h"

#include "dev/virtio/blk.h"
#include "disk/job.h"
#include "disk/lock.h"
#include "disk/overlay.h"
#include "testlib/test.h"
#include "vm/save.h"
#include "vm/state_rig.h"

#include <sys/stat.h>

enum { DISK_SIZE = 1024 * 1024 };

static char *in_dir(const char *name)
{
    return str_new("%s/%s", test_dir(), name);
}

static int make_file(const char *name, u64 size)
{
    AUTO(free) char *path = in_dir(name);
    int fd;

    unlink(path);
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && ftruncate(fd, (off_t)size) == 0);
    return fd;
}

/* A machine with a disk d0 that is written to, under a limit that is never reached, and one that is not. */
static int new_machine(struct state_rig *r, const char *more, struct err *e)
{
    AUTO(free)
    char *members = str_new("\"memory\": 16777216, \"engine\": \"soft\", \"kernel\": "
                            "\"%s/kernel\", \"disks\": [{\"file\": \"%s/d0\", \"iops\": 1000000}, "
                            "{\"file\": \"%s/d1\", \"readonly\": true}]%s",
                            test_dir(), test_dir(), test_dir(), more);

    return state_rig_new(r, members, e);
}

static void boot(struct state_rig *r)
{
    AUTO(fd) int kernel = make_file("kernel", 0);
    AUTO(fd) int d0 = make_file("d0", DISK_SIZE);
    AUTO(fd) int d1 = make_file("d1", DISK_SIZE);
    AUTO(free) char *image = in_dir("d0.s1");
    struct err e = {};

    unlink(image);
    CHECK_EQ(fd_write_all(kernel, rig_payload, sizeof(rig_payload)), 0);
    CHECK(d0 >= 0 && d1 >= 0);
    CHECK_OK(new_machine(r, "", &e), &e);
    state_rig_run(r);
}

/* As a client does it: d0 gets the name `image`, and an overlay its name.  Two open files. */
static void make_overlay(const char *image, u64 size, int fds[2])
{
    AUTO(free) char *head = in_dir("d0");
    AUTO(free) char *to = in_dir(image);
    struct err e = {};

    CHECK_EQ(rename(head, to), 0);
    fds[0] = make_file("d0", 0);
    CHECK_OK(qcow2_create(fds[0], head,
                          &(struct qcow2_create_cfg){ .size = size, .backing = image }, &e),
             &e);
    fds[1] = open(head, O_RDWR | O_CLOEXEC);
    CHECK_OK(lock_image(fds[1], true, head, &e), &e);
}

static void close_all(int *fds, u32 n)
{
    for (u32 i = 0; i < n; i++)
        fd_close(&fds[i]);
}

static void snapshot(struct state_rig *r, const char *mode, const char *state, const char *image)
{
    AUTO(free)
    char *line = str_new("{\"cmd\": \"snapshot\", \"mode\": \"%s\", \"overlays\": [{\"disk\": 0, "
                         "\"image\": \"%s\"}]}",
                         mode, image);
    int fds[3], n = 0;
    char answer[400];

    if (state)
        fds[n++] = make_file(state, 0);
    make_overlay(image, DISK_SIZE, fds + n);
    state_rig_send_files(r, line, fds, (u32)n + 2);
    state_rig_answer(r, answer, sizeof(answer));
    CHECK_HAS(answer, "\"ok\": true");
    close_all(fds, (u32)n + 2);
}

static const struct disk *disk_of(const struct state_rig *r)
{
    return blk_disk(save_get_disks(r->vm->save)->disk[0].dev);
}

static int try_restore(struct state_rig *r, const char *more, struct err *e)
{
    AUTO(free)
    char *members = str_new(", \"restore\": {\"file\": \"%s/state\"%s}", test_dir(), more);

    return new_machine(r, members, e);
}

TEST(save_disks_go_on_in_overlays)
{
    struct state_rig r;
    char answer[1000];

    boot(&r);
    snapshot(&r, "full", "state", "d0.s1");
    CHECK_STR(disk_of(&r)->ops->format, "qcow2");
    CHECK_STR(disk_of(&r)->backing->ops->format, "raw");
    snapshot(&r, "disks", NULL, "d0.s2");
    CHECK_STR(disk_of(&r)->backing->ops->format, "qcow2");
    CHECK(disk_of(&r)->backing->backing && !disk_of(&r)->backing->backing->backing);
    state_rig_send(&r, "{\"cmd\": \"disks\"}", -1);
    state_rig_answer(&r, answer, sizeof(answer));
    CHECK_HAS(answer, "/d0\",\"format\":\"qcow2\",\"size\":1048576,\"readonly\":false");
    CHECK_HAS(answer, "\"no_overlay\":\"it is read-only\"");
    state_rig_free(&r);
}

static void write_to(const char *path)
{
    AUTO(disk) struct disk *d = NULL;
    AUTO(disk_sync) struct disk_sync *s = NULL;
    u8 sector[DISK_SECTOR] = "x";
    struct err e = {};

    CHECK_OK(disk_open(&(struct disk_cfg){ .file = path, .fd = -1 }, &d, &e), &e);
    CHECK_OK(disk_sync_open(d, &s, &e), &e);
    CHECK_EQ(disk_pwrite(s, sector, sizeof(sector), 0), 0);
}

TEST(restore_wants_the_disk_of_the_snapshot)
{
    AUTO(free) char *head = in_dir("d0");
    AUTO(free) char *image = in_dir("d0.s1");
    AUTO(fd) int fd = -1;
    struct state_rig r, clone;
    struct err e = {};
    u32 at;

    boot(&r);
    snapshot(&r, "full", "state", "d0.s1");
    state_rig_free(&r);
    CHECK_OK(try_restore(&r, "", &e), &e); /* nothing was written since */
    at = state_rig_counter(&r);
    state_rig_run(&r);
    CHECK_OK(try_restore(&clone, ", \"clone\": true", &e), &e);
    CHECK_EQ(state_rig_counter(&clone), at);
    state_rig_free(&clone);
    state_rig_free(&r);
    write_to(head);
    CHECK(try_restore(&r, "", &e) < 0); /* the same, but it was written to */
    CHECK_HAS(e.text, "is not as it was at the snapshot");
    state_rig_free(&r);
    e = (struct err){};
    fd = open(head, O_RDWR | O_CLOEXEC);
    CHECK_OK(qcow2_create(fd, head, &(struct qcow2_create_cfg){ .size = DISK_SIZE }, &e), &e);
    CHECK(try_restore(&r, "", &e) < 0); /* another disk */
    CHECK_HAS(e.text, "is not as it was at the snapshot");
    state_rig_free(&r);
    CHECK_OK(try_restore(&r, ", \"clone\": true", &e), &e); /* which does not look at it */
    state_rig_free(&r);
    poll(NULL, 0, 20);
    CHECK(utimensat(AT_FDCWD, image, NULL, 0) == 0);
    e = (struct err){};
    CHECK(try_restore(&r, ", \"clone\": true", &e) < 0);
    CHECK_HAS(e.text, "was changed at");
    state_rig_free(&r);
    CHECK_EQ(unlink(image), 0);
    e = (struct err){};
    CHECK(try_restore(&r, ", \"clone\": true", &e) < 0);
    CHECK_HAS(e.text, "d0.s1");
    state_rig_free(&r);
}

TEST(save_disks_requests_that_are_refused)
{
#define SNAPSHOT "{\"cmd\": \"snapshot\", \"mode\": \"disks\", \"overlays\": "
    static const struct {
        const char *why, *request;
        u32 files;
        const char *has;
    } rows[] = {
        { "no overlay", SNAPSHOT "[]}", 0, "wants 'overlays'" },
        { "no files", SNAPSHOT "[{\"disk\": 0, \"image\": \"x\"}]}", 0,
          "2 files are to be handed in" },
        { "one file", SNAPSHOT "[{\"disk\": 0, \"image\": \"x\"}]}", 1, "not 1" },
        { "a state, too", SNAPSHOT "[{\"disk\": 0, \"image\": \"x\"}]}", 3, "not 3" },
        { "no such disk", SNAPSHOT "[{\"disk\": 2, \"image\": \"x\"}]}", 2,
          "disk 2: the machine has 2" },
        { "a far disk", SNAPSHOT "[{\"disk\": 4000000000, \"image\": \"x\"}]}", 2,
          "'disk' is 4000000000" },
        { "a read-only disk", SNAPSHOT "[{\"disk\": 1, \"image\": \"x\"}]}", 2,
          "disk1 is read-only" },
        { "a disk twice",
          SNAPSHOT "[{\"disk\": 0, \"image\": \"x\"}, {\"disk\": 0, \"image\": \"y\"}]}", 4,
          "each goes on in one" },
        { "a path", SNAPSHOT "[{\"disk\": 0, \"image\": \"../x\"}]}", 2, "without its folder" },
        { "not all disks", SNAPSHOT "[]}", 2, "wants 'overlays'" },
        { "too large", SNAPSHOT "[{\"disk\": 0, \"image\": \"x\"}]}", 2,
          "an overlay of 2097152 bytes" },
    };
    struct state_rig r;
    const struct disk *was;

    boot(&r);
    was = disk_of(&r);
    for_each_row(c, rows) {
        const u64 size = strcmp(c->why, "too large") == 0 ? 2 * DISK_SIZE : DISK_SIZE;
        AUTO(free) char *head = in_dir("d0");
        AUTO(free) char *image = in_dir("x");
        int fds[4];
        char answer[400];

        ROW(c);
        make_overlay("x", size, fds);
        fds[2] = dup(fds[0]); /* tidy: allow banned: closed below */
        fds[3] = dup(fds[1]); /* tidy: allow banned: closed below */
        state_rig_send_files(&r, c->request, fds, c->files);
        state_rig_answer(&r, answer, sizeof(answer));
        CHECK_HAS(answer, "\"ok\": false");
        CHECK_HAS(answer, c->has);
        close_all(fds, 4);
        CHECK_EQ(rename(image, head), 0);
        CHECK(disk_of(&r) == was);
    }
    snapshot(&r, "disks", NULL, "d0.s1"); /* it still can */
    state_rig_free(&r);
}

TEST(save_disks_takes_all_or_none)
{
    AUTO(free)
    char *members =
        str_new("\"memory\": 16777216, \"engine\": \"soft\", \"kernel\": \"%s/kernel\", "
                "\"disks\": [{\"file\": \"%s/d0\"}, {\"file\": \"%s/d1\"}]",
                test_dir(), test_dir(), test_dir());
    const struct disk *was;
    struct state_rig r;
    struct err e = {};
    char answer[400];
    int fds[2];

    boot(&r);
    state_rig_free(&r);
    CHECK_OK(state_rig_new(&r, members, &e), &e);
    state_rig_run(&r);
    was = disk_of(&r);
    make_overlay("d0.s1", DISK_SIZE, fds);
    state_rig_send_files(&r, SNAPSHOT "[{\"disk\": 0, \"image\": \"x\"}]}", fds, 2);
    state_rig_answer(&r, answer, sizeof(answer));
    CHECK_HAS(answer, "disk 1 is written to, and has no overlay");
    CHECK(disk_of(&r) == was);
    close_all(fds, 2);
    state_rig_free(&r);
}

static void start_again(struct state_rig *r)
{
    struct err e = {};

    state_rig_free(r);
    CHECK_OK(new_machine(r, "", &e), &e);
    state_rig_run(r);
}

static void put(const char *name, u8 what, u64 at)
{
    AUTO(free) char *path = in_dir(name);
    AUTO(disk) struct disk *d = NULL;
    AUTO(disk_sync) struct disk_sync *s = NULL;
    u8 sector[DISK_SECTOR];
    struct err e = {};

    memset(sector, what, sizeof(sector));
    CHECK_OK(disk_open(&(struct disk_cfg){ .file = path, .fd = -1 }, &d, &e), &e);
    CHECK_OK(disk_sync_open(d, &s, &e), &e);
    CHECK_EQ(disk_pwrite(s, sector, sizeof(sector), at), 0);
}

static void check_has(const char *name, u8 what, u64 at)
{
    AUTO(free) char *path = in_dir(name);
    AUTO(disk) struct disk *d = NULL;
    AUTO(disk_sync) struct disk_sync *s = NULL;
    u8 sector[DISK_SECTOR] = {};
    struct err e = {};

    CHECK_OK(disk_open(&(struct disk_cfg){ .file = path, .fd = -1, .readonly = true }, &d, &e), &e);
    CHECK_OK(disk_sync_open(d, &s, &e), &e);
    CHECK_EQ(disk_pread(s, sector, sizeof(sector), at), 0);
    CHECK_EQ(sector[7], what);
}

static void merge(struct state_rig *r, const char *image, const char *has)
{
    AUTO(free) char *path = in_dir(image);
    AUTO(free) char *line = NULL;
    struct stat st = {};
    char answer[400];

    CHECK_EQ(stat(path, &st), 0);
    line = str_new("{\"cmd\": \"merge\", \"device\": \"disk0\", \"inode\": %llu}", (u64)st.st_ino);
    state_rig_send(r, line, -1);
    state_rig_answer(r, answer, sizeof(answer));
    CHECK_HAS(answer, has);
}

static u32 images_below(const struct state_rig *r)
{
    u32 n = 0;

    for (const struct disk *d = disk_of(r)->backing; d; d = d->backing)
        n++;
    return n;
}

/* Images leave the chain of a machine that runs: the one below the disk, one further down, the base. */
TEST(save_disks_merge)
{
    AUTO(free) char *s1 = in_dir("d0.s1");
    AUTO(free) char *s2 = in_dir("d0.s2");
    AUTO(free) char *s3 = in_dir("d0.s3");
    const struct job_rebase rebase = { .overlay = { .file = s3, .format = "qcow2" },
                                       .backing = "d0.s1",
                                       .backing_format = "raw",
                                       .beside_readers = true };
    struct job j = {};
    struct state_rig r;
    struct err e = {};

    boot(&r);
    state_rig_free(&r);
    put("d0", 1, 0);
    start_again(&r);
    for (u32 i = 1; i < 4; i++) {
        char image[16];

        str_fmt(image, sizeof(image), "d0.s%u", i);
        snapshot(&r, "disks", NULL, image);
        state_rig_free(&r);
        put("d0", (u8)(i + 1), i * 64 * KiB);
        start_again(&r);
    }
    CHECK_EQ(images_below(&r), 3);
    merge(&r, "kernel", "does not build on that image");
    CHECK_OK(job_rebase(&j, &rebase, &e), &e); /* as the client does it */
    merge(&r, "d0.s2", "\"ok\": true");
    CHECK_EQ(images_below(&r), 2);
    CHECK_EQ(unlink(s2), 0);
    merge(&r, "d0.s3", "\"ok\": true");
    CHECK_EQ(images_below(&r), 1);
    CHECK_EQ(unlink(s3), 0);
    snapshot(&r, "disks", NULL, "d0.s4"); /* which goes on as ever */
    merge(&r, "d0.s4", "\"ok\": true");
    merge(&r, "d0.s1", "\"ok\": true");
    CHECK_EQ(images_below(&r), 0);
    CHECK_EQ(unlink(s1), 0);
    state_rig_free(&r);
    for (u32 i = 0; i < 4; i++)
        check_has("d0", (u8)(i + 1), i * 64 * KiB);
}
