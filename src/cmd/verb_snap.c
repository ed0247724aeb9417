/*
 * cmd/verb_snap.c: `socle snapshot, restore, clone`: of machines that have names.
 */
#include "cmd/snapshot.h"
#include "host/host.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- snapshots ---- */

/* What the task called it. */
static int print_name(struct verb *v, const json_t *started, struct err *e)
{
    AUTO(free)
    char *path =
        str_new("/1.0/tasks/%lld", (long long)json_integer_value(json_object_get(started, "task")));
    json_t *task = verb_ask(v, "GET", path, NULL, e);
    const char *name = json_string_value(json_object_get(task, "snapshot"));

    if (task)
        printf("%s\n", name ? name : "");
    json_decref(task);
    return task ? 0 : e->code;
}

int verb_snapshot(struct verb *v, struct err *e)
{
    AUTO(free) char *path = verb_path("instances", v->args.arg[0], "/snapshots", e);
    const char *name = v->args.n > 1 ? v->args.arg[1] : NULL;
    json_t *body = json_pack("{s:b}", "memory", !v->disks), *started;
    int r;

    if (name)
        json_object_set_new(body, "name", json_string(name));
    started = path ? verb_ask(v, "POST", path, body, e) : NULL;
    json_decref(body);
    r = started ? rest_wait(&v->rest, started, e) : e->code;
    if (r >= 0 && !name)
        r = print_name(v, started, e);
    json_decref(started);
    return r;
}

static const char *text_of(const json_t *j, const char *member)
{
    const char *s = json_string_value(json_object_get(j, member));

    return s ? s : "";
}

/* The list as the tree that it is of: a snapshot comes after what it builds on. */
static int add_node(struct tree *t, const json_t *j, struct err *e)
{
    const struct field *nodes = conf_field_at(tree_fields, offsetof(struct tree, nodes));
    const struct tree_node *parent = tree_by_name(t, text_of(j, "parent"));
    const u32 parent_id = parent ? parent->id : 0;
    struct tree_node *n = conf_list_add(nodes, t);

    if (!n)
        return err_set(e, -EBADMSG, "more than %d snapshots", TREE_NODES_MAX);
    n->id = t->nodes.n;
    n->parent = parent_id;
    n->name = xdup(text_of(j, "name"));
    n->time = (u64)json_integer_value(json_object_get(j, "created"));
    n->state = json_is_true(json_object_get(j, "memory")) ? xdup("memory") : NULL;
    n->phase = json_is_true(json_object_get(j, "complete")) ? TREE_COMPLETE : TREE_TAKING;
    if (json_is_true(json_object_get(j, "current")))
        t->current = n->id;
    return 0;
}

int verb_snapshots(struct verb *v, struct err *e)
{
    AUTO(free) char *path = verb_path("instances", v->args.arg[0], "/snapshots", e);
    json_t *j = path ? verb_ask(v, "GET", path, NULL, e) : NULL, *row;
    const json_t *list = json_object_get(j, "list");
    struct tree t = {};
    size_t i;
    int r = j ? 0 : e->code;

    if (j && v->output != VERB_TABLE) {
        verb_print(v, list);
    } else {
        json_array_foreach(list, i, row) if (r >= 0) r = add_node(&t, row, e);
        if (r >= 0)
            snapshot_print(&t);
    }
    conf_fini(tree_fields, &t);
    json_decref(j);
    return r;
}

int verb_snapshot_delete(struct verb *v, struct err *e)
{
    AUTO(free) char *more = NULL;
    AUTO(free) char *path = NULL;

    if (!spec_name_ok(v->args.arg[1]))
        return err_set(e, -EINVAL, "'%.70s' is no name of a snapshot", v->args.arg[1]);
    more = str_new("/snapshots/%s", v->args.arg[1]);
    path = verb_path("instances", v->args.arg[0], more, e);
    return path ? verb_task(v, "DELETE", path, NULL, e) : e->code;
}

int verb_restore(struct verb *v, struct err *e)
{
    AUTO(free) char *path = verb_path("instances", v->args.arg[0], "/restore", e);
    json_t *body = json_pack("{s:s}", "snapshot", v->args.arg[1]);
    int r = !path  ? e->code
            : body ? verb_task(v, "POST", path, body, e)
                   : err_set(e, -EINVAL, "the snapshot's name is not UTF-8");

    json_decref(body);
    return r;
}

void verb_snapshot_more(struct strbuf *out)
{
    strbuf_add(
        out,
        "Of a machine that runs, its memory is in the snapshot, too, unless --disks: `restore` "
        "goes "
        "on from there.\n"
        "Without a name, one is chosen and printed.  A DISK, which has a '/' (./disk.img), in "
        "place "
        "of NAME is the first\n"
        "that a machine without a name writes to, and that is off; of one that runs: `socle ctl "
        "SOCKET snapshot NAME`.\n"
        "Exit status: 0 done, 1 refused or failed, 2 the command line is wrong, 128 + n: cancelled "
        "by signal n.\n");
}

/* ---- clones ---- */

static int clone_one(struct verb *v, const char *name, const char *snapshot, struct err *e)
{
    AUTO(free) char *path = verb_path("instances", v->args.arg[0], "/clone", e);
    json_t *body = json_pack("{s:s, s:s}", "name", name, "mode",
                             clone_words[v->full      ? CLONE_FULL
                                         : v->instant ? CLONE_INSTANT
                                                      : CLONE_LINKED]);
    int r = path && body ? 0 : path ? err_set(e, -EINVAL, "the name is not UTF-8") : e->code;

    if (snapshot)
        json_object_set_new(body, "snapshot", json_string(snapshot));
    if (r >= 0)
        r = verb_task(v, "POST", path, body, e);
    json_decref(body);
    return r;
}

/* The snapshot that the first clone builds on: the others build on it, too.  *ret owned, NULL: it builds on none. */
static int snapshot_of(struct verb *v, const char *clone, char **ret, struct err *e)
{
    AUTO(free) char *path = verb_path("instances", clone, "", e);
    json_t *j = path ? verb_ask(v, "GET", path, NULL, e) : NULL;
    const char *name =
        json_string_value(json_object_get(json_object_get(j, "status"), "base_snapshot"));

    *ret = name ? xdup(name) : NULL;
    json_decref(j);
    return j ? 0 : e->code;
}

int verb_clone(struct verb *v, struct err *e)
{
    AUTO(free) char *snapshot = v->snapshot ? xdup(v->snapshot) : NULL;
    int r = 0;

    if (v->full && v->instant)
        return err_set(e, -EINVAL, "--full and --instant: a clone is one or the other");
    if (v->count == 1)
        return clone_one(v, v->args.arg[1], snapshot, e);
    for (u32 i = 1; i <= v->count && r >= 0; i++) {
        AUTO(free) char *name = str_new("%s-%u", v->args.arg[1], i);

        r = clone_one(v, name, snapshot, e);
        if (r >= 0 && !snapshot && !v->full)
            r = snapshot_of(v, name, &snapshot, e);
        if (r < 0)
            err_wrap(e, "%s", name);
    }
    return r;
}

void verb_clone_more(struct strbuf *out)
{
    strbuf_add(out,
               "A clone has a UUID and card addresses of its own, and no port forwards.  Its disks "
               "build on a snapshot of NAME,\n"
               "which is taken unless --snapshot names one, and which stays while the clone is "
               "there; those of a template's clone\n"
               "on the template's.  --full: its disks are copies.  --instant: it runs, from the "
               "instant on at which NAME was.\n"
               "With --count N they are called NEW-1 to NEW-N.\n");
}
