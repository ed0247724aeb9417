/*
 * host/tree_live.c: snapshots of a machine that runs: taken and deleted together with it.
 * The machine cancels what a client asked that goes; how far it is, it says on a second connection.
 */
#include "host/tree_live.h"

#include "base/clock.h"
#include "host/newfile.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { SETTLE_SECONDS = 60, SETTLE_TICK_MS = 20 };

static const char ask_disks[] = "{\"cmd\": \"disks\", \"id\": 1}",
                  ask_status[] = "{\"cmd\": \"status\", \"id\": 1}";

/* On a connection of its own. */
static json_t *ask_again(const char *socket, const char *request, int seconds)
{
    struct talk t;
    json_t *answer = NULL;

    if (talk_open(&t, socket, seconds, NULL) >= 0)
        answer = talk_result(&t, request, NULL, 0, NULL);
    talk_close(&t);
    return answer;
}

/* Until the machine has noticed that a client went, ours or of who was killed: what it was asked for is done, or will not be. */
static void wait_settled(const char *socket)
{
    const u64 limit = clock_mono_ns() + SETTLE_SECONDS * NSEC_PER_SEC;
    bool saving = true;

    while (saving && clock_mono_ns() < limit) {
        json_t *status = ask_again(socket, ask_status, TALK_SECONDS);
        const char *what = json_string_value(json_object_get(status, "saving"));

        saving = what && *what;
        json_decref(status);
        if (saving)
            poll(NULL, 0, SETTLE_TICK_MS);
    }
}

static int add_head(struct tree_live *l, u32 i, struct err *e)
{
    const json_t *d = json_array_get(l->disks, i);
    const char *file = json_string_value(json_object_get(d, "file")),
               *why = json_string_value(json_object_get(d, "no_overlay")),
               *format = json_string_value(json_object_get(d, "format"));

    if (json_is_true(json_object_get(d, "readonly")))
        return 0;
    if (!file || !format || !why || l->heads.n == TREE_DISKS_MAX)
        return err_set(e, -EBADMSG, "the machine describes disk %u in another way", i);
    if (*why)
        return err_set(e, -EOPNOTSUPP, "disk '%s' cannot be part of a snapshot: %s", file, why);
    l->index[l->heads.n] = i;
    l->heads.head[l->heads.n++] =
        (struct tree_head){ file, format, (u64)json_integer_value(json_object_get(d, "size")) };
    return 0;
}

int tree_live_open(struct tree_live *l, struct talk *t, struct err *e)
{
    int r = 0;

    *l = (struct tree_live){ .talk = t };
    wait_settled(t->path);
    l->disks = talk_result(t, ask_disks, NULL, 0, e);
    if (!l->disks)
        return e->code;
    for (u32 i = 0; i < json_array_size(l->disks) && r == 0; i++)
        r = add_head(l, i, e);
    if (r == 0 && !l->heads.n)
        r = err_set(e, -EINVAL, "the machine writes to no disk, beside which snapshots could be");
    return r;
}

void tree_live_close(struct tree_live *l)
{
    json_decref(l->disks);
    l->disks = NULL;
}

/* ---- how far the machine is ---- */

struct progress {
    struct tree_live *l;
    struct job *job;
    bool total; /* the machine's is the job's */
    u64 seen;   /* bytes that the job has counted */
};

/* Its progress is a courtesy: a machine that has no second ear for us works all the same. */
static int on_tick(void *arg, struct err *e)
{
    struct progress *p = arg;
    json_t *status = ask_again(p->l->talk->path, ask_status, 1);
    const u64 done = (u64)json_integer_value(json_object_get(status, "saving_done")),
              total = (u64)json_integer_value(json_object_get(status, "saving_total"));

    if (p->total && total)
        job_total(p->job, total);
    if (done > p->seen)
        job_add(p->job, done - p->seen);
    p->seen = max(p->seen, done);
    json_decref(status);
    return job_check(p->job, e);
}

/* ---- take ---- */

static char *request_text(const struct tree_live *l, const struct tree_node *n, const char *state)
{
    json_t *overlays = json_array(), *j;
    char *text;

    for (u32 i = 0; i < l->heads.n; i++)
        json_array_append_new(overlays, json_pack("{s:i, s:s}", "disk", (int)l->index[i], "image",
                                                  tree_image(n, i)->file));
    j = json_pack("{s:s, s:i, s:s, s:s, s:o}", "cmd", "snapshot", "id", 1, "mode",
                  state ? "full" : "disks", "file", state ? state : "", "overlays", overlays);
    text = json_dumps(j, JSON_COMPACT);
    json_decref(j);
    must(text);
    return text;
}

/* Does the machine write to one of the overlays?  Who cannot tell says yes: then nothing is undone. */
static bool changed_over(const struct tree_live *l, const struct tree_overlay *o)
{
    json_t *now;
    bool yes;

    wait_settled(l->talk->path);
    now = ask_again(l->talk->path, ask_disks, TALK_SECONDS);
    yes = !now;
    for (u32 i = 0; i < l->heads.n && !yes; i++) {
        struct stat st;

        yes = fstat(o[i].fd, &st) < 0 ||
              json_integer_value(json_object_get(json_array_get(now, l->index[i]), "inode")) ==
                  (json_int_t)st.st_ino;
    }
    json_decref(now);
    return yes;
}

/* Has the machine change over.  Its report, owned; NULL with `e`. */
static json_t *change_over(struct progress *p, const struct tree_node *n, struct newfile *s,
                           const struct tree_overlay *o, struct err *e)
{
    const char *state = s->fd >= 0 ? s->path : NULL;
    AUTO(free) char *text = request_text(p->l, n, state);
    int files[TALK_FILES_MAX];
    struct talk_request rq = { .text = text, .files = files, .tick = on_tick, .arg = p };

    if (state)
        files[rq.n_files++] = s->fd;
    for (u32 i = 0; i < p->l->heads.n; i++) {
        files[rq.n_files++] = o[i].fd;
        files[rq.n_files++] = o[i].lock_fd;
    }
    return talk_wait(p->l->talk, &rq, e);
}

static int finish(struct tree_file *f, struct newfile *s, struct err *e)
{
    int r = s->fd >= 0 ? newfile_keep(s, e) : 0;

    return r < 0 ? r : tree_taken(f, e);
}

json_t *tree_live_take(struct job *j, struct tree_live *l, struct tree_file *f,
                       const struct tree_live_snapshot *s, struct err *e)
{
    struct progress p = { .l = l, .job = j, .total = s->state };
    struct tree_overlay overlays[TREE_DISKS_MAX];
    struct newfile file = { .fd = -1 };
    AUTO(free) char *state = NULL;
    const struct tree_node *n;
    struct err undo = {};
    json_t *report = NULL;
    int r = tree_take(f, s->name, s->state, &l->heads, overlays, e);

    if (r < 0)
        return NULL;
    n = tree_by_id(&f->t, f->t.current);
    state = s->state ? tree_state_path(f, n) : NULL;
    if (state)
        r = newfile_open(&file, state, e);
    if (r == 0)
        report = change_over(&p, n, &file, overlays, e);
    if (report)
        r = finish(f, &file, e);
    newfile_fini(
        &file); /* it may have filled the disk, on which the catalogue needs room to be written */
    if (!report && !changed_over(l, overlays) && tree_take_undo(f, &undo) < 0)
        log_warn("%s", undo.text);
    tree_overlays_close(overlays, l->heads.n);
    if (report && r == 0)
        return report;
    json_decref(report);
    return NULL;
}

/* ---- delete ---- */

/* Does the machine read the file below this disk, or write it? */
static bool reads(const json_t *disk, json_int_t inode, const char *member)
{
    const json_t *j = json_object_get(disk, member), *below;
    size_t i;

    if (json_is_integer(j))
        return json_integer_value(j) == inode;
    json_array_foreach(j, i, below) if (json_integer_value(below) == inode) return true;
    return false;
}

static int merge(void *arg, struct job *j, u32 disk, const char *image, struct err *e)
{
    struct progress *p = arg;
    const json_t *d = json_array_get(p->l->disks, p->l->index[disk]);
    const char *name = json_string_value(json_object_get(d, "name"));
    struct talk_request rq = { .tick = on_tick, .arg = p };
    AUTO(free) char *text = NULL;
    struct stat st;
    json_t *done;

    if (stat(image, &st) < 0)
        return err_errno(e, "look at '%s'", image);
    if (!name || !reads(d, (json_int_t)st.st_ino, "below"))
        return 0;
    rq.text = text = str_new("{\"cmd\": \"merge\", \"id\": 1, \"device\": \"%s\", \"inode\": %llu}",
                             name, (u64)st.st_ino);
    p->job = j;
    p->seen = 0;
    done = talk_wait(p->l->talk, &rq, e);
    json_decref(done);
    return done ? 0 : e->code;
}

/* A snapshot that was interrupted before the machine changed over: it still writes to the old files, which take their names back. */
static bool not_changed_over(const struct tree_live *l, const struct tree_file *f,
                             const struct tree_node *n)
{
    bool yes = n->phase == TREE_TAKING && f->t.current == n->id;

    for (u32 i = 0; i < n->images.n && yes; i++) {
        AUTO(free) char *image = tree_image_path(f, n, i);
        struct stat st;

        if (stat(image, &st) == 0)
            yes = reads(json_array_get(l->disks, l->index[i]), (json_int_t)st.st_ino, "inode");
    }
    return yes;
}

int tree_live_delete(struct job *j, struct tree_live *l, struct tree_file *f, const char *name,
                     struct err *e)
{
    struct progress p = { .l = l };
    const struct tree_machine machine = { merge, &p };
    const struct tree_node *n = tree_by_name(&f->t, name);

    if (n && not_changed_over(l, f, n))
        return tree_take_undo(f, e);
    return tree_delete(j, f, name, &machine, e);
}
