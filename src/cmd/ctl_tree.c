/*
 * cmd/ctl_tree.c: `socle ctl SOCKET snapshot NAME, snapshots, restore, delete-snapshot`: the tree of snapshots of a machine that runs.
 */
#include "base/clock.h"
#include "cmd/ctl_clone.h"
#include "cmd/snapshot.h"
#include "host/tree_live.h"
#include "vm/statefile.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

/* What is asked of one machine's tree. */
struct live {
    struct tree_live l;
    struct tree_file f;
};

static int live_open(struct live *v, struct talk *t, bool create, struct err *e)
{
    int r = tree_live_open(&v->l, t, e);

    v->f = (struct tree_file){ .lock = -1 };
    return r < 0 ? r : tree_open(&v->f, v->l.heads.head[0].file, create, e);
}

static void live_close(struct live *v)
{
    tree_close(&v->f);
    tree_live_close(&v->l);
}

static int print_report(json_t *report, const struct err *e)
{
    AUTO(free) char *text = json_dumps(report, JSON_INDENT(2));

    if (!report)
        return e->code;
    printf("%s\n", text ? text : "");
    json_decref(report);
    return 0;
}

static int do_snapshot(struct talk *t, const char *const *words, unsigned n, struct err *e)
{
    const char *mode = n > 2 ? words[2] : "full";
    const struct tree_live_snapshot wanted = { words[1], strcmp(mode, "full") == 0 };
    struct live v = {};
    struct job j = {};
    int r;

    if (strcmp(mode, "full") != 0 && strcmp(mode, "disks") != 0)
        return err_set(e, -EINVAL,
                       "snapshot '%.63s': '%.20s'; full and disks are allowed (base and diff are "
                       "of files: ./NAME)",
                       words[1], mode);
    r = live_open(&v, t, true, e);
    if (r == 0)
        r = print_report(tree_live_take(&j, &v.l, &v.f, &wanted, e), e);
    live_close(&v);
    return r;
}

/* The clones build on a snapshot of their own, `clone-` and its number, which is there until it is deleted. */
static int do_clone(struct talk *t, const char *const *words, unsigned, struct err *e)
{
    AUTO(free) char *name = NULL;
    AUTO(free) char *state = NULL;
    struct live v = {};
    u64 n;
    int r = str_u64(words[1], &n);

    if (r < 0 || n < 1 || n > CTL_CLONES_MAX)
        return err_set(e, -EINVAL, "'%.20s' clones; 1 to %d are allowed", words[1], CTL_CLONES_MAX);
    r = live_open(&v, t, true, e);
    if (r == 0) {
        struct job j = {};
        json_t *report;

        name = str_new("clone-%u", v.f.t.next);
        report = tree_live_take(&j, &v.l, &v.f, &(struct tree_live_snapshot){ name, true }, e);
        r = report ? 0 : e->code;
        json_decref(report);
    }
    if (r == 0)
        state = tree_state_path(&v.f, tree_by_id(&v.f.t, v.f.t.current));
    live_close(&v);
    return r < 0 ? r : ctl_clone_start(t->path, state, (unsigned)n, e);
}

static int do_list(struct talk *t, const char *const *, unsigned, struct err *e)
{
    struct live v = {};
    int r = live_open(&v, t, false, e);

    if (r == 0)
        snapshot_print(&v.f.t);
    live_close(&v);
    return r;
}

struct deletion {
    struct live v;
    const char *name;
};

static int delete_job(struct job *j, void *arg, struct err *e)
{
    struct deletion *d = arg;

    return tree_live_delete(j, &d->v.l, &d->v.f, d->name, e);
}

static int do_delete(struct talk *t, const char *const *words, unsigned, struct err *e)
{
    struct deletion d = { .name = words[1] };
    int r = live_open(&d.v, t, false, e);

    if (r == 0)
        r = snapshot_run(delete_job, &d, false, e);
    live_close(&d.v);
    return r;
}

/* Waits until another process than `was` answers at the socket. */
static int wait_for_next(const char *socket, pid_t was, struct err *e)
{
    const u64 limit = clock_mono_ns() + TALK_SECONDS * NSEC_PER_SEC;

    while (clock_mono_ns() < limit) {
        struct talk t;
        json_t *status = NULL;

        if (talk_open(&t, socket, TALK_SECONDS, NULL) >= 0 && talk_peer(&t) != was)
            status = talk_result(&t, "{\"cmd\": \"status\", \"id\": 1}", NULL, 0, NULL);
        talk_close(&t);
        json_decref(status);
        if (status)
            return 0;
        poll(NULL, 0, 1);
    }
    return err_set(e, -ETIMEDOUT, "the machine does not answer; `socle run` says why");
}

static int go_back(struct talk *t, json_t *request, struct err *e)
{
    AUTO(free) char *text = json_dumps(request, JSON_COMPACT);
    pid_t was = talk_peer(t);
    json_t *done = text ? talk_result(t, text, NULL, 0, e) : NULL;

    json_decref(request);
    if (!done)
        return text ? e->code : err_set(e, -EINVAL, "a name is not UTF-8 text");
    json_decref(done);
    return wait_for_next(t->path, was, e);
}

static json_t *restore_request(const char *file)
{
    return json_pack("{s:s, s:i, s:s}", "cmd", "restore", "id", 1, "file", file);
}

/* A state file is looked at here, while the machine still runs. */
static int check_state(const char *file, struct err *e)
{
    AUTO(statefile) struct statefile *f = NULL;

    return statefile_open(file, &f, e);
}

static int back_to_node(struct talk *t, const struct tree_file *f, const char *name, struct err *e)
{
    const struct tree_node *n = tree_by_name(&f->t, name);
    AUTO(free) char *state = n && n->state ? tree_state_path(f, n) : NULL;
    AUTO(free) char *disk = tree_disk_path(f, 0);
    json_t *request;
    int r;

    if (!n)
        return err_set(e, -ENOENT, "there is no snapshot '%.63s'", name);
    if (n->phase != TREE_COMPLETE)
        return err_set(e, -EINVAL, "snapshot '%s' is not complete: it can only be deleted", name);
    if (!state)
        return err_set(e, -EINVAL,
                       "snapshot '%s' is of the disks only: turn the machine off, then `socle "
                       "snapshot restore %s %s`",
                       name, disk, name);
    r = check_state(state, e);
    if (r < 0)
        return r;
    request = restore_request(state);
    json_object_set_new(request, "disk", json_string(disk));
    json_object_set_new(request, "snapshot", json_string(name));
    return go_back(t, request, e);
}

static int do_restore(struct talk *t, const char *const *words, unsigned, struct err *e)
{
    struct live v = {};
    int r;

    if (strchr(words[1], '/')) {
        AUTO(free) char *path = realpath(words[1], NULL);

        r = path ? check_state(path, e) : err_errno(e, "state file '%s'", words[1]);
        return r < 0 ? r : go_back(t, restore_request(path), e);
    }
    r = live_open(&v, t, false, e);
    fd_close(&v.f.lock); /* `socle run` will want it; what was read is ours */
    if (r == 0)
        r = back_to_node(t, &v.f, words[1], e);
    live_close(&v);
    return r;
}

/* clang-format off */
static const struct {
    const char *name;
    unsigned min, max; /* words, with itself */
    ctl_tree_fn *fn;
} rows[] = {
    { "snapshot",        2, 3, do_snapshot }, /* of a NAME; a FILE, which has a slash, is the machine's state alone */
    { "snapshots",       1, 1, do_list },
    { "restore",         2, 2, do_restore },
    { "clone",           2, 2, do_clone },
    { "delete-snapshot", 2, 2, do_delete },
};
/* clang-format on */

ctl_tree_fn *ctl_tree_find(const char *const *words, unsigned n)
{
    if (n > 1 && strcmp(words[0], "snapshot") == 0 && strchr(words[1], '/'))
        return NULL;
    for_each_row(row, rows)
        if (strcmp(row->name, words[0]) == 0 && n >= row->min && n <= row->max)
            return row->fn;
    return NULL;
}
