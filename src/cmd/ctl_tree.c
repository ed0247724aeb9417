/*
 * cmd/ctl_tree.c: `socle ctl SOCKET snapshot NAME, snapshots, restore, delete-snapshot`: the tree of snapshots of a machine that runs.
 * The machine cannot open files.  It says which disks it has; overlays are made here, and handed to it; the catalogue is kept here.
 */
#include "base/clock.h"
#include "cmd/ctl_clone.h"
#include "cmd/ctl_delete.h"
#include "cmd/snapshot.h"
#include "host/newfile.h"
#include "host/talk.h"
#include "vm/statefile.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

/* The disks that a machine writes to. */
struct heads {
    json_t *disks; /* the machine's answer, of which the rest borrows */
    struct tree_heads h;
    u32 index[TREE_DISKS_MAX]; /* of each in the answer */
};

static int add_head(struct heads *h, u32 i, struct err *e)
{
    const json_t *d = json_array_get(h->disks, i);
    const char *file = json_string_value(json_object_get(d, "file")),
               *why = json_string_value(json_object_get(d, "no_overlay")),
               *format = json_string_value(json_object_get(d, "format"));

    if (json_is_true(json_object_get(d, "readonly")))
        return 0;
    if (!file || !format || !why || h->h.n == TREE_DISKS_MAX)
        return err_set(e, -EBADMSG, "the machine describes disk %u in another way", i);
    if (*why)
        return err_set(e, -EOPNOTSUPP, "disk '%s' cannot be part of a snapshot: %s", file, why);
    h->index[h->h.n] = i;
    h->h.head[h->h.n++] =
        (struct tree_head){ file, format, (u64)json_integer_value(json_object_get(d, "size")) };
    return 0;
}

static void heads_fini(struct heads *h)
{
    json_decref(h->disks);
}

static int get_heads(struct talk *t, struct heads *h, struct err *e)
{
    int r = 0;

    *h = (struct heads){ .disks = talk_result(t, "{\"cmd\": \"disks\", \"id\": 1}", NULL, 0, e) };
    if (!h->disks)
        return e->code;
    for (u32 i = 0; i < json_array_size(h->disks) && r == 0; i++)
        r = add_head(h, i, e);
    if (r == 0 && !h->h.n)
        r = err_set(e, -EINVAL,
                    "the machine writes to no disk, beside which snapshots could be; ./NAME is a "
                    "file with its state alone");
    return r;
}

static int open_tree(struct talk *t, struct heads *h, struct tree_file *f, bool create,
                     struct err *e)
{
    int r = get_heads(t, h, e);

    *f = (struct tree_file){ .lock = -1 };
    return r < 0 ? r : tree_open(f, h->h.head[0].file, create, e);
}

static char *request_text(const struct heads *h, const struct tree_node *n, const char *state)
{
    json_t *overlays = json_array(), *j;
    char *text;

    for (u32 i = 0; i < h->h.n; i++)
        json_array_append_new(overlays, json_pack("{s:i, s:s}", "disk", (int)h->index[i], "image",
                                                  tree_image(n, i)->file));
    j = json_pack("{s:s, s:i, s:s, s:s, s:o}", "cmd", "snapshot", "id", 1, "mode",
                  state ? "full" : "disks", "file", state ? state : "", "overlays", overlays);
    text = json_dumps(j, JSON_COMPACT);
    json_decref(j);
    must(text);
    return text;
}

/* Does the machine write to one of the overlays?  Who cannot tell says yes: then nothing is undone. */
static bool changed_over(struct talk *t, const struct heads *h, const struct tree_overlay *o)
{
    json_t *now = talk_result(t, "{\"cmd\": \"disks\", \"id\": 1}", NULL, 0, NULL);
    bool yes = !now;

    for (u32 i = 0; i < h->h.n && !yes; i++) {
        struct stat st;

        yes = fstat(o[i].fd, &st) < 0 ||
              json_integer_value(json_object_get(json_array_get(now, h->index[i]), "inode")) ==
                  (json_int_t)st.st_ino;
    }
    json_decref(now);
    return yes;
}

/* Has the machine change over.  Its report, owned; NULL with `e`. */
static json_t *change_over(struct talk *t, const struct heads *h, const struct tree_node *n,
                           struct newfile *s, const struct tree_overlay *o, struct err *e)
{
    const char *state = s->fd >= 0 ? s->path : NULL;
    AUTO(free) char *request = request_text(h, n, state);
    int files[TALK_FILES_MAX];
    u32 k = 0;

    if (state)
        files[k++] = s->fd;
    for (u32 i = 0; i < h->h.n; i++) {
        files[k++] = o[i].fd;
        files[k++] = o[i].lock_fd;
    }
    return talk_result(t, request, files, k, e);
}

static int finish(struct tree_file *f, struct newfile *s, struct err *e)
{
    int r = s->fd >= 0 ? newfile_keep(s, e) : 0;

    if (r == 0)
        r = tree_taken(f, e);
    return r;
}

/* A new snapshot; the machine's report of it, owned.  NULL with `e`. */
static json_t *take(struct talk *t, const struct heads *h, struct tree_file *f, const char *name,
                    bool with_state, struct err *e)
{
    struct tree_overlay overlays[TREE_DISKS_MAX];
    struct newfile s = { .fd = -1 };
    AUTO(free) char *state = NULL;
    const struct tree_node *n;
    struct err undo = {};
    json_t *report = NULL;
    int r = tree_take(f, name, with_state, &h->h, overlays, e);

    if (r < 0)
        return NULL;
    n = tree_by_id(&f->t, f->t.current);
    state = with_state ? tree_state_path(f, n) : NULL;
    if (state)
        r = newfile_open(&s, state, e);
    if (r == 0)
        report = change_over(t, h, n, &s, overlays, e);
    if (report)
        r = finish(f, &s, e);
    else if (!changed_over(t, h, overlays) && tree_take_undo(f, &undo) < 0)
        log_warn("%s", undo.text);
    newfile_fini(&s);
    tree_overlays_close(overlays, h->h.n);
    if (report && r == 0)
        return report;
    json_decref(report);
    return NULL;
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
    struct tree_file f = { .lock = -1 };
    struct heads h = {};
    int r;

    if (strcmp(mode, "full") != 0 && strcmp(mode, "disks") != 0)
        return err_set(e, -EINVAL,
                       "snapshot '%.63s': '%.20s'; full and disks are allowed (base and diff are "
                       "of files: ./NAME)",
                       words[1], mode);
    r = open_tree(t, &h, &f, true, e);
    if (r == 0)
        r = print_report(take(t, &h, &f, words[1], strcmp(mode, "full") == 0, e), e);
    tree_close(&f);
    heads_fini(&h);
    return r;
}

/* The clones build on a snapshot of their own, `clone-` and its number, which is there until it is deleted. */
static int do_clone(struct talk *t, const char *const *words, unsigned, struct err *e)
{
    struct tree_file f = { .lock = -1 };
    AUTO(free) char *name = NULL;
    AUTO(free) char *state = NULL;
    struct heads h = {};
    u64 n;
    int r = str_u64(words[1], &n);

    if (r < 0 || n < 1 || n > CTL_CLONES_MAX)
        return err_set(e, -EINVAL, "'%.20s' clones; 1 to %d are allowed", words[1], CTL_CLONES_MAX);
    r = open_tree(t, &h, &f, true, e);
    if (r == 0) {
        json_t *report;

        name = str_new("clone-%u", f.t.next);
        report = take(t, &h, &f, name, true, e);
        r = report ? 0 : e->code;
        json_decref(report);
    }
    if (r == 0)
        state = tree_state_path(&f, tree_by_id(&f.t, f.t.current));
    tree_close(&f);
    heads_fini(&h);
    return r < 0 ? r : ctl_clone_start(t->path, state, (unsigned)n, e);
}

static int do_list(struct talk *t, const char *const *, unsigned, struct err *e)
{
    struct tree_file f = { .lock = -1 };
    struct heads h = {};
    int r = open_tree(t, &h, &f, false, e);

    if (r == 0)
        snapshot_print(&f);
    tree_close(&f);
    heads_fini(&h);
    return r;
}

static int do_delete(struct talk *t, const char *const *words, unsigned, struct err *e)
{
    struct tree_file f = { .lock = -1 };
    struct heads h = {};
    int r = open_tree(t, &h, &f, false, e);

    if (r == 0)
        r = ctl_delete(t, h.disks, h.index, &f, words[1], e);
    tree_close(&f);
    heads_fini(&h);
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
    struct tree_file f = { .lock = -1 };
    struct heads h = {};
    int r;

    if (strchr(words[1], '/')) {
        AUTO(free) char *path = realpath(words[1], NULL);

        r = path ? check_state(path, e) : err_errno(e, "state file '%s'", words[1]);
        return r < 0 ? r : go_back(t, restore_request(path), e);
    }
    r = open_tree(t, &h, &f, false, e);
    fd_close(&f.lock); /* `socle run` will want it; what was read is ours */
    if (r == 0)
        r = back_to_node(t, &f, words[1], e);
    tree_close(&f);
    heads_fini(&h);
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
