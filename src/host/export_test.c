/*
 * host/export_test.c: exports of machines that are off: what they hold, what is refused, what is left after an end.  Of machines that run:
 * test/sys/daemon.py.
 */
#include "host/export.h"

#include "disk/disk.h"
#include "host/host_rig.h"
#include "host/tree.h"
#include "testlib/test.h"

static const char *const old_record =
    "{\"ask\": {}, \"sha256\": "
    "\"84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882\", "
    "\"size\": 1, \"created\": 1000}";

/* A host with an instance "a" (i1) whose disk begins with "now". */
static void open_with_disk(struct rig *r, const char *name)
{
    AUTO(free) char *disk = str_new("%s/%s.raw", test_dir(), name), *file = NULL, *text = NULL;
    struct err e = {};
    u64 task;

    file = str_new("%s.raw", name);
    rig_write(test_dir(), file, "now");
    CHECK_EQ(truncate(disk, MiB), 0);
    text = str_new("{\"name\": \"a\", \"kernel\": \"/k\", \"disks\": [{\"file\": \"%s\"}]}", disk);
    rig_open(r, test_dir(), name);
    CHECK_OK(rig_create(r, text, &task, &e), &e);
    CHECK_EQ(rig_wait(r, task), TASK_DONE);
}

static int ask(struct rig *r, const char *snapshot, struct export_ask x, u64 *ret_task,
               struct err *e)
{
    const struct host_action a = { .what = TASK_EXPORT, .snapshot = snapshot, .export = x };
    const struct host_who who = { 0 };

    return host_act(&r->host, "a", &a, &who, ret_task, e);
}

/* Its number. */
static u64 made(struct rig *r, const char *snapshot, struct export_ask x)
{
    struct err e = {};
    u64 task = 0;

    CHECK_OK(ask(r, snapshot, x, &task, &e), &e);
    CHECK_EQ(rig_wait(r, task), TASK_DONE);
    return task;
}

static void snapshot(struct rig *r, const char *name)
{
    const struct host_action a = { .what = TASK_SNAPSHOT, .snapshot = name };
    const struct host_who who = { 0 };
    struct err e = {};
    u64 task;

    CHECK_OK(host_act(&r->host, "a", &a, &who, &task, &e), &e);
    CHECK_EQ(rig_wait(r, task), TASK_DONE);
}

/* What the guest would see in the export's first bytes. */
static void check_reads(struct rig *r, u64 number, const char *format, const char *want)
{
    AUTO(free) char *path = str_new("%s/instances/i1/export-%llu", r->dir, number);
    AUTO(disk) struct disk *d = NULL;
    AUTO(disk_sync) struct disk_sync *s = NULL;
    char got[DISK_SECTOR];
    struct err e = {};

    CHECK_OK(job_open_image(&(struct job_image){ .file = path, .alone = true }, true, &d, &e), &e);
    CHECK_STR(d->ops->format, format);
    CHECK_EQ(d->size, MiB);
    CHECK_OK(disk_sync_open(d, &s, &e), &e);
    CHECK_EQ(disk_pread(s, got, sizeof(got), 0), 0);
    CHECK_MEM(got, want, strlen(want) + 1);
}

static void write_disk(const char *file, const char *text)
{
    AUTO(fd) int fd = open(file, O_WRONLY | O_CLOEXEC);

    CHECK_EQ(fd_pwrite_all(fd, text, strlen(text), 0), 0);
}

static u32 count(struct rig *r)
{
    json_t *list;
    struct err e = {};
    u32 n;

    CHECK_OK(export_list(&r->host, "a", &list, &e), &e);
    n = (u32)json_array_size(list);
    json_decref(list);
    return n;
}

TEST(export_holds_the_disk)
{
    AUTO(free) char *disk = str_new("%s/holds.raw", test_dir());
    struct export_rec rec = {};
    struct err e = {};
    char number[24];
    struct rig r;
    u64 raw, packed, of_snapshot;
    int fd;

    open_with_disk(&r, "holds");
    raw = made(&r, NULL, (struct export_ask){ .format = EXPORT_RAW });
    packed = made(&r, NULL, (struct export_ask){ .compress = true });
    write_disk(disk, "new");
    check_reads(&r, raw, "raw", "now");
    check_reads(&r, packed, "qcow2", "now");
    snapshot(&r, "one");
    of_snapshot = made(&r, "one", (struct export_ask){});
    check_reads(&r, of_snapshot, "qcow2", "new");
    CHECK_EQ(count(&r), 3);

    str_fmt(number, sizeof(number), "%llu", raw);
    fd = export_read(&r.host, "a", number, &rec, &e);
    CHECK(fd >= 0);
    CHECK_EQ(rec.size, MiB);
    CHECK_EQ(rec.ask.format, EXPORT_RAW);
    conf_fini(export_fields, &rec);
    CHECK_OK(export_delete(&r.host, "a", number, &e), &e);
    CHECK_EQ(lseek(fd, 0, SEEK_END), MiB); /* who has it open goes on */
    fd_close(&fd);
    CHECK_EQ(export_read(&r.host, "a", number, &rec, &e), -ENOENT);
    CHECK_EQ(export_delete(&r.host, "a", "x", &e), -ENOENT);
    CHECK_EQ(count(&r), 2);
    rig_close(&r);
}

TEST(export_refusals)
{
    static const struct {
        const char *why, *snapshot;
        struct export_ask ask;
        const char *want; /* of the task's failure; NULL: refused at once */
    } rows[] = {
        { "compression of raw", NULL, { .format = EXPORT_RAW, .compress = true }, NULL },
        { "no name", "../x", {}, NULL },
        { "no such disk", NULL, { .disk = 1 }, "the first is 0" },
        { "no such snapshot", "none", {}, "no snapshot 'none'" },
    };
    struct rig r;

    open_with_disk(&r, "refusals");
    for_each_row(row, rows) {
        struct err e = {};
        u64 task;
        int code;

        ROW(row);
        code = ask(&r, row->snapshot, row->ask, &task, &e);
        CHECK_EQ(code, row->want ? 0 : -EINVAL);
        if (code < 0)
            continue;
        CHECK_EQ(rig_wait(&r, task), TASK_FAILED);
        host_lock(&r.host);
        CHECK_HAS(task_find_locked(&r.host, task)->rec.error, row->want);
        host_unlock(&r.host);
    }
    CHECK_EQ(count(&r), 0);
    rig_close(&r);
}

TEST(export_limit)
{
    struct err e = {};
    struct rig r;
    u64 task;

    open_with_disk(&r, "limit");
    for (int i = 0; i < EXPORTS_MAX; i++)
        made(&r, NULL, (struct export_ask){});
    CHECK_EQ(ask(&r, NULL, (struct export_ask){}, &task, &e), -EDQUOT);
    CHECK_OK(rig_act(&r, "a", TASK_DELETE, &task, &e), &e);
    CHECK_EQ(rig_wait(&r, task), TASK_DONE);
    CHECK(!r.host.exports);
    CHECK(!rig_exists(r.dir, "instances/i1"));
    rig_close(&r);
}

/* Too old, without a file, and of a task that was interrupted after it had taken a snapshot and begun to write. */
TEST(export_after_an_end)
{
    AUTO(free) char *dir = str_new("%s/end", test_dir());
    AUTO(free) char *file = NULL;
    struct rig r;
    u64 kept;

    open_with_disk(&r, "end");
    kept = made(&r, NULL, (struct export_ask){});
    snapshot(&r, "export2");
    rig_close(&r);
    rig_put(dir, "export/i1-1", old_record);
    rig_write(dir, "instances/i1/export-1", "x");
    rig_put(dir, "export/i1-99999", old_record);
    rig_write(dir, "instances/i1/export-77", "half");
    rig_put(dir, "task/0000000077",
            "{\"what\": \"export\", \"state\": \"running\", \"id\": \"i1\", \"name\": \"a\", "
            "\"node\": 1, \"snapshot\": \"export2\", \"tries\": 1}");
    rig_open(&r, test_dir(), "end");
    CHECK_EQ(rig_wait(&r, 77), TASK_DONE);
    check_reads(&r, 77, "qcow2", "now");
    CHECK_EQ(count(&r), 2);
    CHECK(!rig_exists(dir, "instances/i1/export-1"));
    file = str_new("instances/i1/export-%llu", kept);
    CHECK(rig_exists(dir, file));
    CHECK(!rig_exists(test_dir(), "end.raw.s1"));
    rig_close(&r);

    rig_write(dir, "instances/i1/export-78", "half");
    rig_put(dir, "task/0000000078",
            "{\"what\": \"export\", \"state\": \"running\", \"id\": \"i1\", \"name\": \"a\", "
            "\"tries\": 3}");
    rig_open(&r, test_dir(), "end");
    CHECK_EQ(rig_wait(&r, 78), TASK_CANCELLED);
    CHECK(!rig_exists(dir, "instances/i1/export-78"));
    rig_close(&r);
}
