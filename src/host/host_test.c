/*
 * host/host_test.c: instances and tasks of a folder, without machines: records, names, edits, images, and what an interruption leaves.
 */
#include "host/host_rig.h"
#include "host/lock.h"
#include "host/task_log.h"
#include "testlib/test.h"

#include <sys/stat.h>

TEST(host_names)
{
    struct rig r;
    struct err e = {};
    u64 task;

    rig_open(&r, test_dir(), "names");
    rig_make(&r, "b");
    rig_make(&r, "a");
    rig_make(&r, "c");
    CHECK_EQ(rig_create(&r, "{\"name\": \"b\", \"kernel\": \"/k\"}", &task, &e), -EEXIST);
    CHECK_EQ(host_rename(&r.host, "a", "c", &e), -EEXIST);
    CHECK_EQ(host_rename(&r.host, "a", "../x", &e), -EINVAL);
    CHECK_EQ(host_rename(&r.host, "x", "y", &e), -ENOENT);
    CHECK_OK(host_rename(&r.host, "a", "z", &e), &e);
    CHECK_EQ(rig_rev(&r, "a"), 0);
    rig_make(&r, "a"); /* the name is free */
    rig_close(&r);
    rig_open(&r, test_dir(), "names");
    CHECK_EQ(r.host.n, 4);
    CHECK_STR(r.host.list[0]->cfg.spec.name, "a");
    CHECK_STR(r.host.list[3]->cfg.spec.name, "z");
    CHECK_STR(r.host.list[3]->id, "i3");
    rig_close(&r);
}

TEST(host_edits)
{
    struct rig r;
    struct err e = {};
    u64 rev, task;

    rig_open(&r, test_dir(), "edits");
    rig_make(&r, "a");
    rev = rig_rev(&r, "a");
    CHECK_OK(rig_edit(&r, "a", "{\"cpus\": 2, \"notes\": \"x\"}", rev, &e), &e);
    CHECK_EQ(rig_edit(&r, "a", "{\"cpus\": 3}", rev, &e), -ESTALE); /* the other client's ETag */
    CHECK_OK(rig_edit(&r, "a", "{\"notes\": null}", 0, &e), &e);
    CHECK_EQ(rig_edit(&r, "a", "{\"cpus\": 0}", 0, &e), -EINVAL);
    CHECK_STR(e.field, "cpus");
    CHECK_EQ(rig_edit(&r, "a", "{\"name\": \"b\"}", 0, &e), -EINVAL);
    CHECK_EQ(rig_edit(&r, "a", "{\"image\": \"b\"}", 0, &e), -EINVAL);
    CHECK_EQ(rig_edit(&r, "a", "{\"kernel\": null}", 0, &e), -EINVAL);
    host_lock(&r.host);
    CHECK_EQ(host_find_locked(&r.host, "a")->cfg.spec.cpus, 2);
    CHECK(!host_find_locked(&r.host, "a")->cfg.notes);
    host_unlock(&r.host);
    CHECK_OK(rig_edit(&r, "a", "{\"protected\": true}", 0, &e), &e);
    CHECK_EQ(rig_act(&r, "a", TASK_DELETE, &task, &e), -EPERM);
    CHECK_OK(rig_edit(&r, "a", "{\"protected\": false}", 0, &e), &e);
    CHECK_EQ(rig_act(&r, "a", TASK_STOP, &task, &e), -EBUSY);
    CHECK_HAS(e.text, "is off");
    CHECK_OK(rig_act(&r, "a", TASK_DELETE, &task, &e), &e);
    CHECK_EQ(rig_wait(&r, task), TASK_DONE);
    CHECK_EQ(r.host.n, 0);
    rig_close(&r);
}

/* A machine that cannot start says why, and is failed. */
TEST(host_start_fails)
{
    struct rig r;
    struct err e = {};
    u64 task;

    setenv("SOCLE_VM", "/bin/false", 1);
    rig_open(&r, test_dir(), "fails");
    rig_make(&r, "a");
    CHECK_OK(rig_act(&r, "a", TASK_START, &task, &e), &e);
    CHECK_EQ(rig_wait(&r, task), TASK_FAILED);
    host_lock(&r.host);
    CHECK_EQ(host_find_locked(&r.host, "a")->run.state, HOST_FAILED);
    CHECK_HAS(task_find_locked(&r.host, task)->rec.error, "status 1");
    host_unlock(&r.host);
    rig_close(&r);
    unsetenv("SOCLE_VM");
}

static const char *log_text(struct rig *r, u64 task, u32 at)
{
    const struct task_rec *rec = &task_find_locked(&r->host, task)->rec;
    const struct task_line *lines = rec->log.items;

    return at < rec->log.n ? lines[at].text : "none";
}

/* It is there after a restart, and stays within its limits. */
TEST(host_task_logs)
{
    char wide[2 * TASK_LOG_TEXT] = {};
    struct rig r;
    struct err e = {};
    const struct task *t;
    json_t *j;
    u64 task;

    setenv("SOCLE_VM", "/bin/false", 1);
    rig_open(&r, test_dir(), "logs");
    rig_make(&r, "a");
    CHECK_OK(rig_act(&r, "a", TASK_START, &task, &e), &e);
    CHECK_EQ(rig_wait(&r, task), TASK_FAILED);
    rig_close(&r);
    unsetenv("SOCLE_VM");
    rig_open(&r, test_dir(), "logs");
    host_lock(&r.host);
    CHECK_STR(log_text(&r, task, 0), "begun");
    CHECK_STR(log_text(&r, task, 1), "failed");
    CHECK_STR(log_text(&r, task, 2), "none");
    t = task_find_locked(&r.host, task);
    CHECK(((const struct task_line *)t->rec.log.items)[1].time >= t->rec.created);
    memset(wide, 'x', sizeof(wide) - 1);
    for (u32 k = 0; k < 3 * TASK_LOG_MAX; k++)
        task_log_locked(task_find_locked(&r.host, task), "%u %s", k, wide);
    CHECK_EQ(t->rec.log.n, TASK_LOG_MAX);
    CHECK_HAS(log_text(&r, task, 0), "128 xx");
    CHECK_HAS(log_text(&r, task, TASK_LOG_MAX - 1), "191 xx");
    CHECK_EQ(strlen(log_text(&r, task, 0)), TASK_LOG_TEXT);
    j = task_print_locked(t);
    CHECK_EQ(json_array_size(json_object_get(j, "log")), TASK_LOG_MAX);
    json_decref(j);
    host_unlock(&r.host);
    rig_close(&r);
}

TEST(host_images)
{
    AUTO(free)
    char *kernel = str_new("%s/kernel", test_dir()), *disk = str_new("%s/d.raw", test_dir());
    struct image_source from = { .kernel = kernel, .disk = disk, .append = (char[]){ "quiet" } };
    const struct host_who who = { 0 };
    struct err e = {};
    struct rig r;
    u64 task;

    rig_write(test_dir(), "kernel", "a kernel");
    rig_write(test_dir(), "d.raw", "");
    CHECK_EQ(truncate(disk, MiB), 0);
    rig_open(&r, test_dir(), "images");
    CHECK_EQ(host_import(&r.host, "../x", &from, &who, &task, &e), -EINVAL);
    CHECK_OK(host_import(&r.host, "deb", &from, &who, &task, &e), &e);
    CHECK_EQ(rig_wait(&r, task), TASK_DONE);
    CHECK_EQ(host_import(&r.host, "deb", &from, &who, &task, &e), -EEXIST);
    CHECK(rig_exists(r.dir, "images/deb/kernel") && rig_exists(r.dir, "images/deb/disk"));
    CHECK_EQ(rig_create(&r, "{\"name\": \"a\", \"image\": \"none\"}", &task, &e), -ENOENT);
    CHECK_OK(rig_create(&r, "{\"name\": \"a\", \"image\": \"deb\"}", &task, &e), &e);
    CHECK_EQ(rig_wait(&r, task), TASK_DONE);
    CHECK(rig_exists(r.dir, "instances/i2/disk"));
    CHECK_EQ(host_image_delete(&r.host, "deb", &who, &e), -EBUSY);
    CHECK_OK(rig_act(&r, "a", TASK_DELETE, &task, &e), &e);
    CHECK_EQ(rig_wait(&r, task), TASK_DONE);
    CHECK(!rig_exists(r.dir, "instances/i2"));
    CHECK_OK(host_image_delete(&r.host, "deb", &who, &e), &e);
    CHECK_EQ(host_image_delete(&r.host, "deb", &who, &e), -ENOENT);
    from.kernel = (char[]){ "/nowhere/kernel" };
    CHECK_OK(host_import(&r.host, "bad", &from, &who, &task, &e), &e);
    CHECK_EQ(rig_wait(&r, task), TASK_FAILED);
    CHECK(!rig_exists(r.dir, "images/bad") && !rig_exists(r.dir, "images/.bad.new"));
    rig_close(&r);
}

TEST(host_goes_on_after_a_kill)
{
    AUTO(free) char *dir = str_new("%s/kill", test_dir());
    AUTO(free) char *orphan = str_new("%s/instances/i99", dir);
    struct rig r;

    rig_open(&r, test_dir(), "kill");
    rig_make(&r, "a");
    rig_make(&r, "b");
    rig_make(&r, "c");
    rig_make(&r, "d");
    rig_close(&r);
    rig_put(dir, "run/i1", "{\"state\": \"deleting\"}");
    rig_put(dir, "task/0000000101",
            "{\"what\": \"delete\", \"state\": \"running\", \"id\": \"i1\", \"tries\": 1}");
    rig_put(dir, "run/i3",
            "{\"state\": \"running\", \"pid\": 1}"); /* pid 1 lives, and is none of ours */
    rig_put(dir, "task/0000000102",
            "{\"what\": \"delete\", \"state\": \"running\", \"id\": \"i5\", \"tries\": 3}");
    rig_put(dir, "run/i7", "{\"state\": \"creating\"}");
    rig_put(dir, "task/0000000103",
            "{\"what\": \"create\", \"state\": \"waiting\", \"id\": \"i7\"}");
    rig_put(dir, "next", "{\"next\": 104}");
    CHECK_EQ(mkdir(orphan, 0700), 0);
    rig_open(&r, test_dir(), "kill");
    CHECK_EQ(rig_wait(&r, 101), TASK_DONE);
    CHECK_EQ(rig_wait(&r, 102), TASK_FAILED); /* it was tried often enough */
    CHECK_EQ(rig_wait(&r, 103), TASK_DONE);
    host_lock(&r.host);
    CHECK(!host_find_locked(&r.host, "a"));
    CHECK_EQ(host_find_locked(&r.host, "b")->run.state, HOST_OFF);
    CHECK_EQ(host_find_locked(&r.host, "b")->run.pid, 0);
    CHECK(host_find_locked(&r.host, "c"));
    CHECK_EQ(host_find_locked(&r.host, "d")->run.state, HOST_OFF);
    host_unlock(&r.host);
    CHECK(!rig_exists(dir, "instances/i1") && !rig_exists(dir, "instances/i99"));
    CHECK(rig_exists(dir, "instances/i3"));
    rig_close(&r);
}

TEST(host_folder_has_one_owner)
{
    struct rig r;
    struct host other;
    struct loop l;
    struct err e = {};

    rig_open(&r, test_dir(), "one");
    CHECK_EQ(loop_init(&l, "other"), 0);
    CHECK_EQ(host_open(&other, r.dir, &l, &e), -EBUSY);
    host_close(&other);
    CHECK_EQ(host_open(&other, "relative", &l, &e), -EINVAL);
    host_close(&other);
    loop_fini(&l);
    rig_close(&r);
}

/* Nobody is asked to end but who wrote its pid into what it has locked. */
TEST(host_folder_is_succeeded_to)
{
    static const char *const strange[] = { "", "0\n", "-1\n", "4294967297\n", "2147483647\n" };
    struct rig r;
    struct err e = {};

    rig_open(&r, test_dir(), "succeeded");
    {
        AUTO(free) char *path = str_new("%s/lock", r.dir), *pid = str_new("%d\n", (int)getpid());
        char text[24] = "";
        AUTO(fd) int fd = open(path, O_RDWR | O_CLOEXEC);

        CHECK(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
        CHECK_STR(text, pid);
        for_each_row(s, strange) {
            CHECK(ftruncate(fd, 0) == 0);
            CHECK_EQ(fd_pwrite_all(fd, *s, strlen(*s), 0), 0);
            e = (struct err){};
            CHECK_EQ(lock_succeed(r.dir, &e), -EBUSY);
            CHECK_HAS(e.text, "does not say");
        }
        e = (struct err){};
        rig_close(&r);
        CHECK_EQ(lock_succeed(path, &e), -ENOTDIR);
    }
    CHECK_EQ(lock_succeed("/nowhere", &e), 0);
}
