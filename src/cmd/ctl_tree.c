/*
 * cmd/ctl_tree.c: `socle ctl SOCKET snapshot NAME, snapshots, delete-snapshot`: the tree of snapshots of a machine that runs.
 * The machine cannot open files.  It says which disks it has; overlays are made here, and handed to it; the catalogue is kept here.
 */
#include "cmd/snapshot.h"
#include "cmd/talk.h"
#include "host/newfile.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static json_t *ask(struct talk *t, const char *request, const int *files, u32 n, struct err *e)
{
    json_t *reply = talk_ask(t, request, files, n, e), *result;
    const char *error;

    if (!reply)
        return NULL;
    error = json_string_value(json_object_get(reply, "error"));
    result = json_incref(json_object_get(reply, "result"));
    if (!json_is_true(json_object_get(reply, "ok")) || !result) {
        json_decref(result);
        result = NULL;
        err_set(e, -EREMOTEIO, "%s", error ? error : "refused without a reason");
    }
    json_decref(reply);
    return result;
}

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

    *h = (struct heads){ .disks = ask(t, "{\"cmd\": \"disks\", \"id\": 1}", NULL, 0, e) };
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
    json_t *now = ask(t, "{\"cmd\": \"disks\", \"id\": 1}", NULL, 0, NULL);
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
    return ask(t, request, files, k, e);
}

static int finish(struct tree_file *f, struct newfile *s, json_t *report, struct err *e)
{
    int r = s->fd >= 0 ? newfile_keep(s, e) : 0;

    if (r == 0)
        r = tree_taken(f, e);
    if (r == 0) {
        AUTO(free) char *text = json_dumps(report, JSON_INDENT(2));

        printf("%s\n", text ? text : "");
    }
    return r;
}

static int take(struct talk *t, const struct heads *h, struct tree_file *f, const char *name,
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
        return r;
    n = tree_by_id(&f->t, f->t.current);
    state = with_state ? tree_state_path(f, n) : NULL;
    if (state)
        r = newfile_open(&s, state, e);
    if (r == 0)
        report = change_over(t, h, n, &s, overlays, e);
    if (report)
        r = finish(f, &s, report, e);
    else if (!changed_over(t, h, overlays) && tree_take_undo(f, &undo) < 0)
        log_warn("%s", undo.text);
    newfile_fini(&s);
    tree_overlays_close(overlays, h->h.n);
    r = report ? r : e->code;
    json_decref(report);
    return r;
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
        r = take(t, &h, &f, words[1], strcmp(mode, "full") == 0, e);
    tree_close(&f);
    heads_fini(&h);
    return r;
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
        r = snapshot_delete(&f, words[1], false, e);
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
    { "delete-snapshot", 2, 2, do_delete },
};
/* clang-format on */

ctl_tree_fn *ctl_tree_find(const char *const *words, unsigned n)
{
    if (n > 1 && strchr(words[1], '/'))
        return NULL;
    for_each_row(row, rows)
        if (strcmp(row->name, words[0]) == 0 && n >= row->min && n <= row->max)
            return row->fn;
    return NULL;
}
