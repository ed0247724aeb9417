/*
 * api/routes_snapshots.c: snapshots of instances, and their clones.
 */
#include "api/routes.h"

struct snapshot_view {
    char *name, *parent;
    u64 created;
    bool memory, current, complete;
};
struct snapshot_body {
    char *name;
    bool memory;
};
struct restore_body {
    char *snapshot;
};
struct clone_body {
    char *name, *snapshot;
    int mode;
};

/* clang-format off */
static const struct field snapshot_view_fields[] = {
    FIELD_STR(snapshot_view, name, "its name"),
    FIELD_STR(snapshot_view, parent, "the snapshot that it builds on"),
    FIELD_INT(snapshot_view, created, "when it was taken, in seconds since 1970"),
    FIELD_BOOL(snapshot_view, memory, "the machine's memory and devices are in it, not only its disks"),
    FIELD_BOOL(snapshot_view, current, "the disks build on it"),
    FIELD_BOOL(snapshot_view, complete, "else it was interrupted, or is being taken or deleted"),
    {},
};
static const struct field snapshot_fields[] = {
    FIELD_STR(snapshot_body, name, "its name, unique in the instance; one is chosen when it is missing", .ok = spec_name_ok,
              .want = "1 to 63 letters, digits, '.', '-' or '_', a letter or digit first,"),
    FIELD_BOOL(snapshot_body, memory, "of a machine that runs: its memory, too, so that it can go on from there", .dflt = true),
    {},
};
static const struct field restore_fields[] = {
    FIELD_STR(restore_body, snapshot, "its name", .required = true),
    {},
};
static const struct field clone_fields[] = {
    FIELD_STR(clone_body, name, "of the clone", .required = true),
    FIELD_ENUM(clone_body, mode, clone_words, "linked: its disks build on a snapshot's; full: copies; instant: linked, and it goes on from its memory"),
    FIELD_STR(clone_body, snapshot, "of which it is; when it is missing, one is taken if it is needed"),
    {},
};
/* clang-format on */

static int list_snapshots(struct api_call *c, struct err *e)
{
    json_t *list;
    int r = host_snapshots(c->host, c->name, &list, e);

    if (r >= 0)
        api_answer_list(c, list, NULL);
    return r;
}

static int take_snapshot(struct api_call *c, struct err *e)
{
    const struct snapshot_body *b = c->body;
    const struct host_action a = { .what = TASK_SNAPSHOT,
                                   .snapshot = b->name,
                                   .memory = b->memory };

    return api_act(c, &a, e);
}

static int delete_snapshot(struct api_call *c, struct err *e)
{
    return api_act(c, &(struct host_action){ .what = TASK_UNSNAPSHOT, .snapshot = c->sub }, e);
}

static int restore(struct api_call *c, struct err *e)
{
    const struct restore_body *b = c->body;

    return api_act(c, &(struct host_action){ .what = TASK_RESTORE, .snapshot = b->snapshot }, e);
}

static int clone_instance(struct api_call *c, struct err *e)
{
    const u64 rev = api_revision_now(c->host);
    const struct clone_body *b = c->body;
    const struct host_cloning how = { b->name, b->mode, b->snapshot };
    const struct host_who who = api_asker(c);
    u64 task;
    int r = host_clone(c->host, c->name, &how, &who, &task, e);

    if (r >= 0)
        api_answer_task(c, task, rev);
    return r;
}

/* clang-format off */
static const struct api_schema schemas[] = {
    { "Snapshot",    snapshot_view_fields },
    { "SnapshotNew", snapshot_fields, .size = sizeof(struct snapshot_body) },
    { "Restore",     restore_fields, .size = sizeof(struct restore_body) },
    { "Clone",       clone_fields, .size = sizeof(struct clone_body) },
    {},
};

static const struct api_route routes[] = {
    { "GET", "/1.0/instances/{name}/snapshots", API_VIEW, 200, NULL, 0, NULL, "Snapshot", true, list_snapshots, "List its snapshots, the oldest first" },
    { "POST", "/1.0/instances/{name}/snapshots", API_ADMIN, 202, NULL, 0, "SnapshotNew", "TaskStarted", false, take_snapshot, "Take a snapshot" },
    { "DELETE", "/1.0/instances/{name}/snapshots/{snapshot}", API_ADMIN, 202, NULL, 0, NULL, "TaskStarted", false, delete_snapshot, "Delete a snapshot; what others need of it is kept" },
    { "POST", "/1.0/instances/{name}/restore", API_ADMIN, 202, NULL, 0, "Restore", "TaskStarted", false, restore, "Go back to a snapshot; what it is now is lost" },
    { "POST", "/1.0/instances/{name}/clone", API_ADMIN, 202, NULL, 0, "Clone", "TaskStarted", false, clone_instance, "Make another instance that is as this one is, or was at a snapshot" },
    {},
};
/* clang-format on */

const struct api_part api_part_snapshots = { "Snapshots and clones", routes, schemas };
