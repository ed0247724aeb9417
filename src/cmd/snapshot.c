/*
 * cmd/snapshot.c: the tree of a machine's snapshots, printed; and what `socle snapshot` does to that of a machine that has no name and is off.
 */
#include "cmd/snapshot.h"

#include "cmd/progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const char *const phase_notes[] = {
    [TREE_COMPLETE] = "",
    [TREE_TAKING] = " (interrupted: delete it)",
    [TREE_DELETING] = " (being deleted: delete it again)",
};

static void print_node(const struct tree *tree, const struct tree_node *n, u32 depth)
{
    time_t t = (time_t)n->time;
    char date[32] = "";
    struct tm tm = {};

    localtime_r(&t, &tm);
    strftime(date, sizeof(date), "%F %T", &tm);
    printf("%*s%s  %s  %s%s%s\n", (int)(2 * depth), "", n->name, date,
           n->state ? "machine" : "disks", tree->current == n->id ? "  <- now" : "",
           phase_notes[n->phase]);
}

/* Depth first, without recursion: the next node is the first child, else the next sibling of the nearest that has one. */
static const struct tree_node *next_child(const struct tree *t, u32 parent, u32 after)
{
    const struct tree_node *best = NULL;

    for (u32 i = 0; i < t->nodes.n; i++) {
        const struct tree_node *n = tree_node(t, i);

        if (n->parent == parent && n->id > after && (!best || n->id < best->id))
            best = n;
    }
    return best;
}

void snapshot_print(const struct tree *tree)
{
    const struct tree_node *n = next_child(tree, 0, 0);
    u32 depth = 0;

    while (n) {
        const struct tree_node *next = next_child(tree, n->id, 0);

        print_node(tree, n, depth);
        depth += next != NULL;
        while (!next && n) {
            next = next_child(tree, n->parent, n->id);
            if (!next) {
                n = tree_by_id(tree, n->parent);
                depth -= n != NULL;
            }
        }
        n = next;
    }
}

static json_t *describe(const struct tree_file *f, const struct tree_node *n)
{
    json_t *images = json_array(), *j;

    for (u32 i = 0; i < n->images.n; i++) {
        AUTO(free) char *path = tree_image_path(f, n, i);

        json_array_append_new(images, json_string(path));
    }
    j = json_pack("{s:s, s:i, s:i, s:I, s:b, s:b, s:o}", "name", n->name, "id", (int)n->id,
                  "parent", (int)n->parent, "time", (json_int_t)n->time, "complete",
                  n->phase == TREE_COMPLETE, "current", f->t.current == n->id, "images", images);
    if (n->state) {
        AUTO(free) char *path = tree_state_path(f, n);

        json_object_set_new(j, "state", json_string(path));
    }
    return j;
}

static int print_json(const struct verb *v, const struct tree_file *f, struct err *e)
{
    json_t *list = json_array();
    int r = 0;

    for (u32 i = 0; i < f->t.nodes.n; i++)
        if (json_array_append_new(list, describe(f, tree_node(&f->t, i))) < 0)
            r = err_set(e, -EINVAL, "a name is not UTF-8 text");
    if (r >= 0)
        verb_print(v, list);
    json_decref(list);
    return r;
}

int snapshot_run(int (*fn)(struct job *j, void *arg, struct err *e), void *arg, bool quiet,
                 struct err *e)
{
    int sig = 0, r = progress_run(quiet ? NULL : "delete", fn, arg, &sig, e);

    if (!sig)
        return r;
    log_error("snapshot delete: cancelled; `delete` again goes on");
    return 128 + sig;
}

int snapshot_file_list(struct verb *v, struct err *e)
{
    struct tree_file f;
    int r = tree_open(&f, v->args.arg[0], false, e);

    if (r == 0 && v->output != VERB_TABLE)
        r = print_json(v, &f, e);
    else if (r == 0)
        snapshot_print(&f.t);
    tree_close(&f);
    return r;
}

int snapshot_file_restore(struct verb *v, struct err *e)
{
    const char *name = v->args.arg[1];
    const struct tree_node *n;
    struct tree_file f;
    int r = tree_open(&f, v->args.arg[0], false, e);

    if (r == 0)
        r = tree_restore(&f, name, e);
    n = r == 0 ? tree_by_name(&f.t, name) : NULL;
    if (n && n->state) {
        AUTO(free) char *state = tree_state_path(&f, n);

        printf("socle run --restore %s\n", state);
    }
    tree_close(&f);
    return r;
}

struct deletion {
    struct tree_file f;
    const char *name;
};

static int delete_job(struct job *j, void *arg, struct err *e)
{
    struct deletion *d = arg;

    return tree_delete(j, &d->f, d->name, NULL, e);
}

int snapshot_file_delete(struct verb *v, struct err *e)
{
    struct deletion d = { .name = v->args.arg[1] };
    int r = tree_open(&d.f, v->args.arg[0], false, e);

    if (r == 0)
        r = snapshot_run(delete_job, &d, v->quiet, e);
    tree_close(&d.f);
    return r;
}
