/*
 * host/snap_test.c: snapshots and clones of instances that are off, what an interruption leaves of them, and when machines are started
 * by themselves.  Those of machines that run: test/sys/daemon.py.
 */
#include "host/host_rig.h"
#include "host/schedule.h"
#include "host/tree.h"
#include "testlib/test.h"

#include <poll.h>

static void do_task(struct rig *r, int code, u64 task, const struct err *e, int want)
{
    CHECK_OK(code, e);
    CHECK_EQ(rig_wait(r, task), want);
}

/* A host with an instance "a" that has a disk. */
static void rig_with_disk(struct rig *r, const char *name)
{
    AUTO(free)
    char *kernel = str_new("%s/kernel", test_dir()), *disk = str_new("%s/d.raw", test_dir());
    const struct image_source from = { .kernel = kernel, .disk = disk };
    const struct host_who who = { 0 };
    struct err e = {};
    u64 task;
    int code;

    rig_write(test_dir(), "kernel", "a kernel");
    rig_write(test_dir(), "d.raw", "");
    CHECK_EQ(truncate(disk, MiB), 0);
    rig_open(r, test_dir(), name);
    code = host_import(&r->host, "deb", &from, &who, &task, &e);
    do_task(r, code, task, &e, TASK_DONE);
    code = rig_create(r, "{\"name\": \"a\", \"image\": \"deb\"}", &task, &e);
    do_task(r, code, task, &e, TASK_DONE);
}

static int ask(struct rig *r, const char *name, int what, const char *snapshot, u64 *ret_task,
               struct err *e)
{
    const struct host_action a = { .what = what, .snapshot = snapshot, .memory = true };
    const struct host_who who = { 0 };

    return host_act(&r->host, name, &a, &who, ret_task, e);
}

static void snapshot_does(struct rig *r, int what, const char *snapshot, int want)
{
    struct err e = {};
    u64 task = 0;
    int code = ask(r, "a", what, snapshot, &task, &e);

    do_task(r, code, task, &e, want);
}

static int ask_clone(struct rig *r, const char *from, const struct host_cloning *c, u64 *ret_task,
                     struct err *e)
{
    const struct host_who who = { 0 };

    return host_clone(&r->host, from, c, &who, ret_task, e);
}

static void clone_does(struct rig *r, const char *from, struct host_cloning c, int want)
{
    struct err e = {};
    u64 task = 0;
    int code = ask_clone(r, from, &c, &task, &e);

    do_task(r, code, task, &e, want);
}

static void delete_does(struct rig *r, const char *name)
{
    struct err e = {};
    u64 task = 0;
    int code = rig_act(r, name, TASK_DELETE, &task, &e);

    do_task(r, code, task, &e, TASK_DONE);
}

/* "one<- two": the names, in the order of age, with what is current marked. */
static void check_list(struct rig *r, const char *want)
{
    AUTO(strbuf) struct strbuf got = {};
    struct err e = {};
    json_t *list, *n;
    size_t i;

    CHECK_OK(host_snapshots(&r->host, "a", &list, &e), &e);
    json_array_foreach(list, i, n)
    {
        CHECK(json_is_true(json_object_get(n, "complete")));
        strbuf_add(&got, "%s%s%s", i ? " " : "", json_string_value(json_object_get(n, "name")),
                   json_is_true(json_object_get(n, "current")) ? "<-" : "");
    }
    CHECK_STR(got.text ? got.text : "", want);
    json_decref(list);
}

TEST(snap_of_a_machine_that_is_off)
{
    struct err e = {};
    struct rig r;
    u64 task;

    rig_with_disk(&r, "snap");
    check_list(&r, "");
    snapshot_does(&r, TASK_SNAPSHOT, "one", TASK_DONE);
    snapshot_does(&r, TASK_SNAPSHOT, NULL, TASK_DONE); /* a name is chosen */
    check_list(&r, "one snapshot2<-");
    snapshot_does(&r, TASK_SNAPSHOT, "one", TASK_FAILED);
    snapshot_does(&r, TASK_RESTORE, "one", TASK_DONE);
    check_list(&r, "one<- snapshot2");
    CHECK_EQ(ask(&r, "a", TASK_SNAPSHOT, "../x", &task, &e), -EINVAL);
    CHECK_STR(e.field, "name");
    CHECK_EQ(ask(&r, "a", TASK_RESTORE, NULL, &task, &e), -EINVAL);
    snapshot_does(&r, TASK_RESTORE, "none", TASK_FAILED);
    snapshot_does(&r, TASK_UNSNAPSHOT, "none", TASK_FAILED);
    snapshot_does(&r, TASK_UNSNAPSHOT, "one", TASK_DONE);
    check_list(&r, "snapshot2");
    snapshot_does(&r, TASK_UNSNAPSHOT, "snapshot2", TASK_DONE);
    CHECK(!rig_exists(r.dir, "instances/i2/disk.s1") && !rig_exists(r.dir, "instances/i2/disk.s2"));
    rig_close(&r);
}

TEST(snap_wants_a_disk)
{
    struct err e = {};
    struct rig r;
    u64 task;

    rig_open(&r, test_dir(), "diskless");
    rig_make(&r, "a");
    check_list(&r, "");
    CHECK_OK(ask(&r, "a", TASK_SNAPSHOT, "one", &task, &e), &e);
    CHECK_EQ(rig_wait(&r, task), TASK_FAILED);
    host_lock(&r.host);
    CHECK_HAS(task_find_locked(&r.host, task)->rec.error, "no disk");
    host_unlock(&r.host);
    rig_close(&r);
}

/* As a child of a killed socled has it until its execve. */
TEST(snap_waits_for_a_lock)
{
    AUTO(free) char *disk = str_new("%s/lock/instances/i2/disk", test_dir());
    struct tree_file f;
    struct err e = {};
    struct rig r;
    u64 task;

    rig_with_disk(&r, "lock");
    CHECK_OK(tree_open(&f, disk, true, &e), &e);
    CHECK_OK(ask(&r, "a", TASK_SNAPSHOT, "one", &task, &e), &e);
    poll(NULL, 0, 100);
    tree_close(&f);
    CHECK_EQ(rig_wait(&r, task), TASK_DONE);
    check_list(&r, "one<-");
    rig_close(&r);
}

/* A snapshot that a killed socled had begun: its node is undone, and it is taken again. */
TEST(snap_goes_on_after_a_kill)
{
    struct tree_overlay overlays[TREE_DISKS_MAX];
    AUTO(free) char *dir = str_new("%s/interrupted", test_dir());
    AUTO(free) char *disk = str_new("%s/instances/i2/disk", dir);
    struct tree_heads heads = { .n = 1 };
    struct tree_file f;
    struct err e = {};
    struct rig r;

    rig_with_disk(&r, "interrupted");
    heads.head[0] = (struct tree_head){ disk, "qcow2", MiB };
    snapshot_does(&r, TASK_SNAPSHOT, "one", TASK_DONE);
    CHECK_OK(tree_open(&f, disk, false, &e), &e);
    CHECK_OK(tree_take(&f, "two", false, &heads, overlays, &e), &e);
    tree_overlays_close(overlays, 1);
    tree_close(&f);
    rig_close(&r);
    rig_put(dir, "task/0000000101",
            "{\"what\": \"snapshot\", \"state\": \"running\", \"id\": \"i2\", \"name\": "
            "\"a\", \"snapshot\": \"two\", \"node\": 2, \"tries\": 1}");
    rig_put(dir, "next", "{\"next\": 103}");
    rig_open(&r, test_dir(), "interrupted");
    CHECK_EQ(rig_wait(&r, 101), TASK_DONE);
    check_list(&r, "one two<-");
    CHECK(!rig_exists(r.dir, "instances/i2/disk.s2") && rig_exists(r.dir, "instances/i2/disk.s3"));
    rig_close(&r);
    /* one that was complete, but not recorded as done, is not taken twice; nor is that another's of the same name */
    rig_put(dir, "task/0000000102",
            "{\"what\": \"snapshot\", \"state\": \"running\", \"id\": \"i2\", \"name\": "
            "\"a\", \"snapshot\": \"two\", \"node\": 3, \"tries\": 1}");
    rig_open(&r, test_dir(), "interrupted");
    CHECK_EQ(rig_wait(&r, 102), TASK_DONE);
    check_list(&r, "one two<-");
    rig_close(&r);
    rig_put(dir, "task/0000000102",
            "{\"what\": \"snapshot\", \"state\": \"running\", \"id\": \"i2\", \"name\": "
            "\"a\", \"snapshot\": \"two\", \"tries\": 1}");
    rig_open(&r, test_dir(), "interrupted");
    CHECK_EQ(rig_wait(&r, 102), TASK_FAILED);
    check_list(&r, "one two<-");
    rig_close(&r);
}

static const struct instance *find(struct rig *r, const char *name)
{
    const struct instance *i;

    host_lock(&r->host);
    i = host_find_locked(&r->host, name);
    host_unlock(&r->host);
    return i;
}

TEST(clone_kinds)
{
    struct err e = {};
    struct rig r;
    u64 task;

    rig_with_disk(&r, "clones");
    CHECK_OK(rig_edit(&r, "a",
                      "{\"nets\": [{\"kind\": \"user\", \"forward\": [{\"rule\": "
                      "\"tcp:8080:80\"}]}], \"protected\": true}",
                      0, &e),
             &e);
    clone_does(&r, "a", (struct host_cloning){ "linked", CLONE_LINKED, NULL }, TASK_DONE);
    check_list(&r, "clone1<-");
    CHECK_STR(find(&r, "linked")->base.snapshot, "clone1");
    CHECK(!find(&r, "linked")->cfg.protected);
    CHECK_EQ(spec_net(&find(&r, "linked")->cfg.spec, 0)->forward.n, 0);
    CHECK(strcmp(find(&r, "linked")->cfg.spec.uuid, find(&r, "a")->cfg.spec.uuid) != 0);
    clone_does(&r, "a", (struct host_cloning){ "full", CLONE_FULL, NULL }, TASK_DONE);
    check_list(&r, "clone1<-");
    CHECK(!find(&r, "full")->base.id);
    clone_does(&r, "a", (struct host_cloning){ "x", CLONE_LINKED, "none" }, TASK_FAILED);
    CHECK(!find(&r, "x"));
    clone_does(&r, "a", (struct host_cloning){ "x", CLONE_INSTANT, "clone1" }, TASK_FAILED);
    CHECK(!find(&r, "x"));
    CHECK_EQ(ask_clone(&r, "a", &(struct host_cloning){ "x", CLONE_INSTANT, NULL }, &task, &e),
             -EBUSY);
    CHECK_EQ(ask_clone(&r, "a", &(struct host_cloning){ "full", CLONE_FULL, NULL }, &task, &e),
             -EEXIST);
    CHECK_EQ(ask_clone(&r, "a", &(struct host_cloning){ "../x", CLONE_FULL, NULL }, &task, &e),
             -EINVAL);
    CHECK_EQ(ask_clone(&r, "b", &(struct host_cloning){ "x", CLONE_FULL, NULL }, &task, &e),
             -ENOENT);
    snapshot_does(&r, TASK_UNSNAPSHOT, "clone1", TASK_FAILED); /* `linked` builds on it */
    CHECK_OK(rig_edit(&r, "a", "{\"protected\": false}", 0, &e), &e);
    CHECK_EQ(rig_act(&r, "a", TASK_DELETE, &task, &e), -EBUSY);
    rig_close(&r);
    rig_open(&r, test_dir(), "clones"); /* so it is after a restart */
    CHECK_EQ(rig_act(&r, "a", TASK_DELETE, &task, &e), -EBUSY);
    delete_does(&r, "linked");
    snapshot_does(&r, TASK_UNSNAPSHOT, "clone1", TASK_DONE);
    delete_does(&r, "a");
    rig_close(&r);
}

TEST(clone_of_a_template)
{
    struct err e = {};
    struct rig r;
    u64 task;

    rig_with_disk(&r, "template");
    CHECK_OK(rig_edit(&r, "a", "{\"template\": true}", 0, &e), &e);
    CHECK_EQ(rig_act(&r, "a", TASK_START, &task, &e), -EPERM);
    CHECK_EQ(ask(&r, "a", TASK_SNAPSHOT, "one", &task, &e), -EPERM);
    clone_does(&r, "a", (struct host_cloning){ "b", CLONE_LINKED, NULL }, TASK_DONE);
    check_list(&r, "");
    CHECK_EQ(rig_edit(&r, "a", "{\"template\": false}", 0, &e), -EBUSY);
    CHECK_EQ(rig_act(&r, "a", TASK_DELETE, &task, &e), -EBUSY);
    delete_does(&r, "b");
    CHECK_OK(rig_edit(&r, "a", "{\"template\": false}", 0, &e), &e);
    rig_close(&r);
}

TEST(schedule_rule)
{
    static const struct {
        const char *why;
        int restart;
        u32 limit;
        struct schedule_end end;
        u32 delay, restarts;
    } rows[] = {
        { "no", RESTART_NO, 0, { true, 0, 0 }, 0, 0 },
        { "crash", RESTART_ON_FAILURE, 0, { true, 0, 0 }, 1, 1 },
        { "powered off by its guest", RESTART_ON_FAILURE, 0, { false, 0, 0 }, 0, 0 },
        { "always", RESTART_ALWAYS, 0, { false, 0, 0 }, 1, 1 },
        { "third", RESTART_ON_FAILURE, 10, { true, 20, 2 }, 4, 3 },
        { "ninth", RESTART_ON_FAILURE, 10, { true, 0, 8 }, 256, 9 },
        { "tenth", RESTART_ON_FAILURE, 10, { true, 0, 9 }, 300, 10 },
        { "eleventh", RESTART_ON_FAILURE, 10, { true, 0, 10 }, 0, 0 },
        { "a million", RESTART_ALWAYS, 0, { true, 0, 1000000 }, 300, 1000001 },
        { "after a calm", RESTART_ON_FAILURE, 10, { true, SCHEDULE_CALM, 10 }, 1, 1 },
    };

    for_each_row(row, rows) {
        const struct instance_cfg c = { .restart = row->restart, .restart_limit = row->limit };
        u32 restarts = 0;

        ROW(row);
        CHECK_EQ(schedule_after(&c, &row->end, &restarts), row->delay);
        CHECK_EQ(restarts, row->restarts);
    }
}

/* The host has started: those with autostart are due in their order, and tried; what cannot start is not tried for ever. */
TEST(schedule_with_the_host)
{
    AUTO(free) char *dir = str_new("%s/boot", test_dir());
    struct err e = {};
    struct rig r;
    u64 a, b, c;

    setenv("SOCLE_VM", "/bin/false", 1);
    rig_open(&r, test_dir(), "boot");
    rig_make(&r, "a");
    rig_make(&r, "b");
    rig_make(&r, "c");
    CHECK_OK(rig_edit(&r, "a", "{\"autostart\": true, \"autostart_order\": 2}", 0, &e), &e);
    CHECK_OK(rig_edit(&r, "b", "{\"autostart\": true, \"autostart_delay\": 3000}", 0, &e), &e);
    rig_close(&r);
    rig_put(dir, "boot", "{\"id\": \"another\"}");
    rig_open(&r, test_dir(), "boot");
    host_lock(&r.host);
    while (host_find_locked(&r.host, "b")->run.state != HOST_FAILED ||
           host_find_locked(&r.host, "b")->task)
        pthread_cond_wait(&r.host.changed, &r.host.lock);
    a = host_find_locked(&r.host, "a")->run.start_at;
    b = host_find_locked(&r.host, "b")->run.start_at;
    c = host_find_locked(&r.host, "c")->run.start_at;
    CHECK_EQ(host_find_locked(&r.host, "a")->run.state, HOST_OFF);
    host_unlock(&r.host);
    CHECK(a > 0 && b == 0 && c == 0);
    rig_close(&r);
    rig_open(&r, test_dir(), "boot"); /* the same start of the host: what was planned stays */
    host_lock(&r.host);
    CHECK_EQ(host_find_locked(&r.host, "a")->run.start_at, a);
    CHECK_EQ(host_find_locked(&r.host, "b")->run.start_at, 0);
    host_unlock(&r.host);
    rig_close(&r);
    unsetenv("SOCLE_VM");
}
