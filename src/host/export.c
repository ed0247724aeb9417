/*
 * host/export.c: exports: made by a task, listed, read, removed.
 * The task: (a snapshot of the machine that runs) ──> export-N ──> its sum ──> (the snapshot is deleted) ──> its record.  Done again after any
 * of these, it makes the file anew; what fails leaves neither file nor snapshot.
 */
#include "host/export.h"

#include "base/clock.h"
#include "host/snap.h"
#include "host/task_log.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static const char prefix[] = "export/";
const char *const export_words[] = { "qcow2", "raw", "vmdk", NULL };

/* clang-format off */
const struct field export_ask_fields[] = {
    FIELD_ENUM(export_ask, format, export_words, "of the file"),
    FIELD_BOOL(export_ask, compress, "qcow2: compressed clusters"),
    FIELD_INT(export_ask, disk, "which of the disks that the machine writes to; 0: the first", .max = TREE_DISKS_MAX - 1),
    {},
};
const struct field export_fields[] = {
    FIELD_OBJ(export_rec, ask, export_ask_fields, "what was wanted"),
    FIELD_STR(export_rec, snapshot, "what the disk was then; it is missing when it is what it was when it was asked"),
    FIELD_STR(export_rec, sha256, "of all of it, in hex", .required = true),
    FIELD_INT(export_rec, size, "its bytes"),
    FIELD_INT(export_rec, created, "when it was made, in seconds since 1970"),
    {},
};
/* clang-format on */

static u64 now_s(void)
{
    return clock_real_ns() / NSEC_PER_SEC;
}

static char *path_of(const struct host *h, const char *id, u64 number)
{
    return str_new("%s/instances/%s/export-%llu", h->dir, id, number);
}

static void export_free(struct export *x)
{
    conf_fini(export_fields, &x->rec);
    free(x);
}

static void add_locked(struct host *h, struct export *x)
{
    x->next = h->exports;
    h->exports = x;
}

static struct export *find_locked(const struct host *h, const char *id, u64 number)
{
    struct export *x = h->exports;

    while (x && (x->number != number || strcmp(x->id, id) != 0))
        x = x->next;
    return x;
}

/* By what a client says; NULL with `e`. */
static struct export *named_locked(struct host *h, const char *name, const char *number,
                                   struct err *e)
{
    const struct instance *i = host_find_locked(h, name);
    struct export *x = NULL;
    u64 n;

    if (!i)
        err_set(e, -ENOENT, "there is no instance '%.63s'", name);
    else if (str_u64(number, &n) < 0 || !(x = find_locked(h, i->id, n)))
        err_set(e, -ENOENT, "'%s' has no export '%.20s'", name, number);
    return x;
}

/* ---- removed ---- */

static const char *key_of(struct host_change *c, const struct export *x)
{
    AUTO(free) char *id = str_new("%s-%llu", x->id, x->number);

    return host_change_key(c, "export", id);
}

/* The file goes first: a record without one is dropped by the next who reads the records. */
static int remove_locked(struct host *h, struct export *x, struct err *e)
{
    AUTO(free) char *path = path_of(h, x->id, x->number);
    struct export **p = &h->exports;
    struct host_change c = {};
    int r;

    if (unlink(path) < 0 && errno != ENOENT)
        return err_errno(e, "remove '%s'", path);
    store_txn_delete(&c.txn, key_of(&c, x));
    r = host_change_do(h, &c, NULL, e);
    if (r < 0)
        return r;
    while (*p != x)
        p = &(*p)->next;
    *p = x->next;
    export_free(x);
    return 0;
}

int export_delete(struct host *h, const char *name, const char *number, struct err *e)
{
    struct export *x;
    int r;

    host_lock(h);
    x = named_locked(h, name, number, e);
    r = x ? remove_locked(h, x, e) : -ENOENT;
    host_unlock(h);
    return r;
}

int export_delete_all(struct instance *i, struct err *e)
{
    struct host *h = i->host;
    int r = 0;

    host_lock(h);
    for (struct export *x = h->exports, *next; x && r >= 0; x = next) {
        next = x->next;
        if (strcmp(x->id, i->id) == 0)
            r = remove_locked(h, x, e);
    }
    host_unlock(h);
    return r;
}

/* Some is being made, or there; so it is looked again. */
static bool remove_old_locked(struct host *h)
{
    struct host_rider *rider = host_ride(NULL); /* it is no answer to a request */
    bool more = false;

    for (struct export *x = h->exports, *next; x; x = next) {
        struct err e = {};

        next = x->next;
        if (now_s() >= x->touched + EXPORT_IDLE_SECONDS && remove_locked(h, x, &e) < 0)
            log_warn("%s", e.text);
    }
    host_ride(rider);
    for (const struct task *t = h->tasks; t; t = t->next)
        more = more || (t->rec.what == TASK_EXPORT && t->rec.state <= TASK_RUNNING);
    return more || h->exports;
}

static void on_look(uv_timer_t *timer)
{
    struct host *h = timer->data;

    host_lock(h);
    if (!remove_old_locked(h))
        uv_timer_stop(timer);
    host_unlock(h);
}

void export_look_locked(struct host *h)
{
    if (!uv_is_active((uv_handle_t *)&h->export_look))
        uv_timer_start(&h->export_look, on_look, EXPORT_LOOK_SECONDS * 1000ull,
                       EXPORT_LOOK_SECONDS * 1000ull);
}

/* ---- found again ---- */

/* "i2-17" */
static int parse_key(struct export *x, const char *key, struct err *e)
{
    const char *dash = strrchr(key, '-');
    const size_t len = dash ? (size_t)(dash - key) : 0;

    if (len == 0 || len >= sizeof(x->id) || str_u64(dash + 1, &x->number) < 0)
        return err_set(e, -EBADMSG, "'%.60s' is no export's", key);
    memcpy(x->id, key, len);
    return 0;
}

static int load_one(struct host *h, const struct store_rec *rec, struct err *e)
{
    struct export *x = xnew(struct export);
    int r = parse_key(x, rec->key + strlen(prefix), e);

    if (r >= 0)
        r = conf_parse_text(export_fields, &x->rec, rec->value, rec->len, e);
    if (r < 0) {
        export_free(x);
        return err_wrap(e, "record '%.60s'", rec->key);
    }
    x->touched = x->rec.created;
    add_locked(h, x);
    return 0;
}

/* Those whose file was removed. */
static void drop_lost(struct host *h)
{
    for (struct export *x = h->exports, *next; x; x = next) {
        AUTO(free) char *path = path_of(h, x->id, x->number);
        struct err e = {};

        next = x->next;
        if (access(path, F_OK) < 0 && remove_locked(h, x, &e) < 0)
            log_warn("%s", e.text);
    }
}

int export_open(struct host *h, struct err *e)
{
    AUTO(store_list) struct store_list l = {};
    int r = store_range(h->store, prefix, NULL, UINT32_MAX - 1, &l, e);

    for (u32 i = 0; i < l.n && r >= 0; i++)
        r = load_one(h, &l.rec[i], e);
    if (r < 0)
        return r;
    drop_lost(h);
    if (remove_old_locked(h))
        export_look_locked(h);
    return 0;
}

void export_close(struct host *h)
{
    struct export *x;

    uv_timer_stop(&h->export_look);
    while ((x = h->exports)) {
        h->exports = x->next;
        export_free(x);
    }
}

/* ---- asked for ---- */

int export_check_locked(const struct instance *i, const struct export_ask *ask, struct err *e)
{
    const char *name = i->cfg.spec.name;
    u32 n = 0;

    if (i->cfg.kind == INSTANCE_OS)
        return err_set(e, -EINVAL,
                       "'%s' is a container, which has no disk; while it runs, `socle file pull -r "
                       "%s:/ FOLDER` copies its files",
                       name, name);
    if (ask->compress && ask->format != EXPORT_QCOW2) {
        err_set(e, -EINVAL, "'compress' is of qcow2; '%s' has no compression to choose",
                export_words[ask->format]);
        return err_field(e, "compress");
    }
    for (const struct export *x = i->host->exports; x; x = x->next)
        n += strcmp(x->id, i->id) == 0;
    return n < EXPORTS_MAX
               ? 0
               : err_set(e, -EDQUOT, "'%s' has %u exports; more are not allowed", name, n);
}

static json_t *print_locked(const struct export *x)
{
    json_t *j = conf_show(export_ask_fields, &x->rec.ask), *rec = conf_show(export_fields, &x->rec);

    json_object_del(rec, "ask");
    json_object_update(j, rec);
    json_decref(rec);
    json_object_set_new(j, "number", json_integer((json_int_t)x->number));
    json_object_set_new(j, "expires", json_integer((json_int_t)(x->touched + EXPORT_IDLE_SECONDS)));
    return j;
}

int export_list(struct host *h, const char *name, json_t **ret, struct err *e)
{
    const struct instance *i;
    json_t *list = NULL;

    host_lock(h);
    i = host_find_locked(h, name);
    if (i)
        list = json_array();
    for (const struct export *x = h->exports; i && x; x = x->next)
        if (strcmp(x->id, i->id) == 0)
            json_array_append_new(list, print_locked(x));
    host_unlock(h);
    *ret = list;
    return list ? 0 : err_set(e, -ENOENT, "there is no instance '%.63s'", name);
}

int export_read(struct host *h, const char *name, const char *number, struct export_rec *ret,
                struct err *e)
{
    AUTO(free) char *path = NULL;
    struct export *x;
    int fd = -ENOENT;

    host_lock(h);
    x = named_locked(h, name, number, e);
    if (x) {
        path = path_of(h, x->id, x->number);
        fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        fd = fd < 0 ? err_errno(e, "open '%s'", path) : fd;
        conf_copy(export_fields, ret, &x->rec);
        x->touched = now_s();
    }
    host_unlock(h);
    return fd;
}

/* ---- made ---- */

struct source {
    char *file;
    const char *format; /* NULL: looked at */
};

static int no_disk(const struct task *t, u32 n, struct err *e)
{
    return err_set(e, -EINVAL, "disk %u is wanted; '%s' writes to %u, and the first is 0",
                   t->rec.export.disk, t->rec.name, n);
}

static int of_snapshot(struct snap *s, struct source *ret, struct err *e)
{
    const struct task *t = s->task;
    const struct tree_node *n = snap_find(s, e);

    if (!n)
        return e->code;
    if (t->rec.export.disk >= n->images.n)
        return no_disk(t, n->images.n, e);
    *ret = (struct source){ .file = tree_image_path(&s->f, n, t->rec.export.disk) };
    return 0;
}

/* Nobody writes to the disks of a machine that is off while the task lasts. */
static int find_source(struct snap *s, struct source *ret, struct err *e)
{
    const struct task *t = s->task;
    const struct tree_heads *heads = snap_heads(s);
    const struct tree_head *head = &heads->head[t->rec.export.disk];
    int r;

    if (!snap_is_own(t))
        return of_snapshot(s, ret, e);
    if (t->rec.export.disk >= heads->n)
        return no_disk(t, heads->n, e);
    if (!s->alive) {
        *ret = (struct source){ xdup(head->file), head->format };
        return 0;
    }
    r = snap_take(s, "export", false, e);
    return r < 0 ? r : of_snapshot(s, ret, e);
}

static int write_file(struct task *t, const struct source *from, const char *path, struct err *e)
{
    const struct job_convert c = {
        .from = { .file = from->file, .format = from->format },
        .to = { .file = path,
                .qcow2 = t->rec.export.format == EXPORT_QCOW2,
                .vmdk = t->rec.export.format == EXPORT_VMDK,
                .replace = true },
        .compress = t->rec.export.compress,
    };

    return job_convert(&t->job, &c, e);
}

/* Taken for it now, or by an earlier try: it is not needed any more. */
static int drop_snapshot(struct snap *s, struct err *e)
{
    const struct task *t = s->task;
    struct job whole = {}; /* once begun it is done */

    return t->rec.node && tree_by_id(&s->f.t, t->rec.node)
               ? snap_drop(s, &whole, t->rec.snapshot, e)
               : 0;
}

static int record(struct task *t, const char *sum, u64 size, struct err *e)
{
    struct host *h = t->host;
    struct export *x = xnew(struct export);
    struct host_change c = {};
    int r;

    str_copy(x->id, sizeof(x->id), t->inst->id);
    x->number = t->number;
    x->rec = (struct export_rec){ .ask = t->rec.export,
                                  .snapshot = snap_is_own(t) ? NULL : xdup(t->rec.snapshot),
                                  .sha256 = xdup(sum),
                                  .size = size,
                                  .created = now_s() };
    x->touched = x->rec.created;
    host_lock(h);
    host_change_put(&c, key_of(&c, x), conf_print(export_fields, &x->rec));
    r = host_change_do(h, &c, NULL, e);
    if (r >= 0)
        add_locked(h, x);
    host_unlock(h);
    if (r < 0)
        export_free(x);
    return r;
}

static int make(struct task *t, struct snap *s, const char *path, struct err *e)
{
    struct source from = {};
    char sum[IMAGE_SUM + 1];
    u64 size;
    int r = find_source(s, &from, e);

    if (r >= 0)
        task_log(t, "write the file");
    if (r >= 0)
        r = write_file(t, &from, path, e);
    free(from.file);
    if (r >= 0)
        r = images_sum(&t->job, path, sum, &size, e);
    if (r >= 0)
        task_log(t, "it has %llu bytes", size);
    if (r >= 0)
        r = drop_snapshot(s, e);
    return r < 0 ? r : record(t, sum, size, e);
}

static bool is_made(struct task *t)
{
    bool yes;

    host_lock(t->host);
    yes = find_locked(t->host, t->inst->id, t->number);
    host_unlock(t->host);
    return yes;
}

int export_do(struct task *t, struct err *e)
{
    AUTO(free) char *path = path_of(t->host, t->inst->id, t->number);
    struct snap s;
    int r;

    if (is_made(t)) /* by who was interrupted after it */
        return 0;
    r = snap_open(&s, t, t->inst, true, e);
    if (r >= 0)
        r = make(t, &s, path, e);
    snap_close(&s);
    if (r < 0 && !(r == -ECANCELED && t->host->closing)) { /* else it is gone on with */
        (void)unlink(path);
        snap_undo(t, t->inst);
    }
    return r;
}
