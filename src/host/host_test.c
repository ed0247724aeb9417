/*
 * host/host_test.c: instances and tasks of a folder, without machines: records, names, edits, images, and what an interruption leaves.
 */
#include "host/host.h"

#include "base/clock.h"
#include "testlib/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* A host whose loop runs on a thread, as socled's does. */
struct rig {
    char *dir;
    struct loop loop;
    struct host host;
};

static void rig_open(struct rig *r, const char *name)
{
    struct err e = {};

    *r = (struct rig){ .dir = str_new("%s/%s", test_dir(), name) };
    CHECK_EQ(loop_init(&r->loop, "test"), 0);
    CHECK_OK(host_open(&r->host, r->dir, &r->loop, &e), &e);
    CHECK_EQ(loop_start(&r->loop), 0);
}

static void rig_close(struct rig *r)
{
    loop_join(&r->loop);
    host_close(&r->host);
    loop_fini(&r->loop);
    free(r->dir);
}

/* Until a task is done; its state. */
static int wait_task(struct rig *r, u64 number)
{
    struct host *h = &r->host;
    const struct task *t;
    int state;

    host_lock(h);
    while ((t = task_find_locked(h, number)) && t->rec.state <= TASK_RUNNING)
        pthread_cond_wait(&h->changed, &h->lock);
    state = t ? t->rec.state : -1;
    if (state == TASK_FAILED)
        log_notice("task %llu: %s", number, t->rec.error);
    host_unlock(h);
    return state;
}

static int create(struct rig *r, const char *text, u64 *ret_task, struct err *e)
{
    const struct host_who who = { 0 };
    json_t *j = json_loads(text, 0, NULL);
    struct instance_cfg cfg = {};
    int code;

    must(j);
    code = instance_parse(&cfg, j, e);
    json_decref(j);
    if (code >= 0)
        code = host_create(&r->host, &cfg, &who, ret_task, e);
    instance_cfg_fini(&cfg);
    return code;
}

static void make(struct rig *r, const char *name)
{
    AUTO(free) char *text = str_new("{\"name\": \"%s\", \"kernel\": \"/k\"}", name);
    struct err e = {};
    u64 task;

    CHECK_OK(create(r, text, &task, &e), &e);
    CHECK_EQ(wait_task(r, task), TASK_DONE);
}

static int act(struct rig *r, const char *name, int what, u64 *ret_task, struct err *e)
{
    const struct host_action a = { .what = what };
    const struct host_who who = { 0 };

    return host_act(&r->host, name, &a, &who, ret_task, e);
}

static u64 rev_of(struct rig *r, const char *name)
{
    const struct instance *i;
    u64 rev;

    host_lock(&r->host);
    i = host_find_locked(&r->host, name);
    rev = i ? i->rev : 0;
    host_unlock(&r->host);
    return rev;
}

static int edit(struct rig *r, const char *name, const char *changes, u64 rev, struct err *e)
{
    json_t *j = json_loads(changes, 0, NULL);
    bool restart;
    int code = host_edit(&r->host, name, j, rev, &restart, e);

    json_decref(j);
    return code;
}

TEST(host_names)
{
    struct rig r;
    struct err e = {};
    u64 task;

    rig_open(&r, "names");
    make(&r, "b");
    make(&r, "a");
    make(&r, "c");
    CHECK_EQ(create(&r, "{\"name\": \"b\", \"kernel\": \"/k\"}", &task, &e), -EEXIST);
    CHECK_EQ(host_rename(&r.host, "a", "c", &e), -EEXIST);
    CHECK_EQ(host_rename(&r.host, "a", "../x", &e), -EINVAL);
    CHECK_EQ(host_rename(&r.host, "x", "y", &e), -ENOENT);
    CHECK_OK(host_rename(&r.host, "a", "z", &e), &e);
    CHECK_EQ(rev_of(&r, "a"), 0);
    make(&r, "a"); /* the name is free */
    rig_close(&r);
    rig_open(&r, "names");
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

    rig_open(&r, "edits");
    make(&r, "a");
    rev = rev_of(&r, "a");
    CHECK_OK(edit(&r, "a", "{\"cpus\": 2, \"notes\": \"x\"}", rev, &e), &e);
    CHECK_EQ(edit(&r, "a", "{\"cpus\": 3}", rev, &e), -ESTALE); /* the other client's ETag */
    CHECK_OK(edit(&r, "a", "{\"notes\": null}", 0, &e), &e);
    CHECK_EQ(edit(&r, "a", "{\"cpus\": 0}", 0, &e), -EINVAL);
    CHECK_STR(e.field, "cpus");
    CHECK_EQ(edit(&r, "a", "{\"name\": \"b\"}", 0, &e), -EINVAL);
    CHECK_EQ(edit(&r, "a", "{\"image\": \"b\"}", 0, &e), -EINVAL);
    CHECK_EQ(edit(&r, "a", "{\"kernel\": null}", 0, &e), -EINVAL);
    host_lock(&r.host);
    CHECK_EQ(host_find_locked(&r.host, "a")->cfg.spec.cpus, 2);
    CHECK(!host_find_locked(&r.host, "a")->cfg.notes);
    host_unlock(&r.host);
    CHECK_OK(edit(&r, "a", "{\"protected\": true}", 0, &e), &e);
    CHECK_EQ(act(&r, "a", TASK_DELETE, &task, &e), -EPERM);
    CHECK_OK(edit(&r, "a", "{\"protected\": false}", 0, &e), &e);
    CHECK_EQ(act(&r, "a", TASK_STOP, &task, &e), -EBUSY);
    CHECK_HAS(e.text, "is off");
    CHECK_OK(act(&r, "a", TASK_DELETE, &task, &e), &e);
    CHECK_EQ(wait_task(&r, task), TASK_DONE);
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
    rig_open(&r, "fails");
    make(&r, "a");
    CHECK_OK(act(&r, "a", TASK_START, &task, &e), &e);
    CHECK_EQ(wait_task(&r, task), TASK_FAILED);
    host_lock(&r.host);
    CHECK_EQ(host_find_locked(&r.host, "a")->run.state, HOST_FAILED);
    CHECK_HAS(task_find_locked(&r.host, task)->rec.error, "status 1");
    host_unlock(&r.host);
    rig_close(&r);
    unsetenv("SOCLE_VM");
}

static bool exists(const char *dir, const char *name)
{
    AUTO(free) char *path = str_new("%s/%s", dir, name);

    return access(path, F_OK) == 0;
}

static void write_text(const char *dir, const char *name, const char *text)
{
    AUTO(free) char *path = str_new("%s/%s", dir, name);
    AUTO(fd) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    CHECK_EQ(fd_write_all(fd, text, strlen(text)), 0);
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

    write_text(test_dir(), "kernel", "a kernel");
    write_text(test_dir(), "d.raw", "");
    CHECK_EQ(truncate(disk, MiB), 0);
    rig_open(&r, "images");
    CHECK_EQ(host_import(&r.host, "../x", &from, &who, &task, &e), -EINVAL);
    CHECK_OK(host_import(&r.host, "deb", &from, &who, &task, &e), &e);
    CHECK_EQ(wait_task(&r, task), TASK_DONE);
    CHECK_EQ(host_import(&r.host, "deb", &from, &who, &task, &e), -EEXIST);
    CHECK(exists(r.dir, "images/deb/kernel") && exists(r.dir, "images/deb/disk"));
    CHECK_EQ(create(&r, "{\"name\": \"a\", \"image\": \"none\"}", &task, &e), -ENOENT);
    CHECK_OK(create(&r, "{\"name\": \"a\", \"image\": \"deb\"}", &task, &e), &e);
    CHECK_EQ(wait_task(&r, task), TASK_DONE);
    CHECK(exists(r.dir, "instances/i2/disk"));
    CHECK_EQ(host_image_delete(&r.host, "deb", &e), -EBUSY);
    CHECK_OK(act(&r, "a", TASK_DELETE, &task, &e), &e);
    CHECK_EQ(wait_task(&r, task), TASK_DONE);
    CHECK(!exists(r.dir, "instances/i2"));
    CHECK_OK(host_image_delete(&r.host, "deb", &e), &e);
    CHECK_EQ(host_image_delete(&r.host, "deb", &e), -ENOENT);
    from.kernel = (char[]){ "/nowhere/kernel" };
    CHECK_OK(host_import(&r.host, "bad", &from, &who, &task, &e), &e);
    CHECK_EQ(wait_task(&r, task), TASK_FAILED);
    CHECK(!exists(r.dir, "images/bad") && !exists(r.dir, "images/.bad.new"));
    rig_close(&r);
}

/* Puts a record as a socled that was killed could have left it. */
static void put(const char *dir, const char *key, const char *value)
{
    AUTO(free) char *path = str_new("%s/records.db", dir);
    struct store_txn t = {};
    struct store *s;
    struct err e = {};

    CHECK_OK(store_open(path, &s, &e), &e);
    store_txn_put(&t, key, value);
    CHECK_OK(store_txn(s, &t, NULL, &e), &e);
    store_close(s);
}

TEST(host_goes_on_after_a_kill)
{
    AUTO(free) char *dir = str_new("%s/kill", test_dir());
    AUTO(free) char *orphan = str_new("%s/instances/i99", dir);
    struct rig r;

    rig_open(&r, "kill");
    make(&r, "a");
    make(&r, "b");
    make(&r, "c");
    make(&r, "d");
    rig_close(&r);
    put(dir, "run/i1", "{\"state\": \"deleting\"}");
    put(dir, "task/0000000101",
        "{\"what\": \"delete\", \"state\": \"running\", \"id\": \"i1\", \"tries\": 1}");
    put(dir, "run/i3",
        "{\"state\": \"running\", \"pid\": 1}"); /* pid 1 lives, and is none of ours */
    put(dir, "task/0000000102",
        "{\"what\": \"delete\", \"state\": \"running\", \"id\": \"i5\", \"tries\": 3}");
    put(dir, "run/i7", "{\"state\": \"creating\"}");
    put(dir, "task/0000000103", "{\"what\": \"create\", \"state\": \"waiting\", \"id\": \"i7\"}");
    put(dir, "next", "{\"next\": 104}");
    CHECK_EQ(mkdir(orphan, 0700), 0);
    rig_open(&r, "kill");
    CHECK_EQ(wait_task(&r, 101), TASK_DONE);
    CHECK_EQ(wait_task(&r, 102), TASK_FAILED); /* it was tried often enough */
    CHECK_EQ(wait_task(&r, 103), TASK_DONE);
    host_lock(&r.host);
    CHECK(!host_find_locked(&r.host, "a"));
    CHECK_EQ(host_find_locked(&r.host, "b")->run.state, HOST_OFF);
    CHECK_EQ(host_find_locked(&r.host, "b")->run.pid, 0);
    CHECK(host_find_locked(&r.host, "c"));
    CHECK_EQ(host_find_locked(&r.host, "d")->run.state, HOST_OFF);
    host_unlock(&r.host);
    CHECK(!exists(dir, "instances/i1") && !exists(dir, "instances/i99"));
    CHECK(exists(dir, "instances/i3"));
    rig_close(&r);
}

TEST(host_folder_has_one_owner)
{
    struct rig r;
    struct host other;
    struct loop l;
    struct err e = {};

    rig_open(&r, "one");
    CHECK_EQ(loop_init(&l, "other"), 0);
    CHECK_EQ(host_open(&other, r.dir, &l, &e), -EBUSY);
    host_close(&other);
    CHECK_EQ(host_open(&other, "relative", &l, &e), -EINVAL);
    host_close(&other);
    loop_fini(&l);
    rig_close(&r);
}
