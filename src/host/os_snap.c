/*
 * host/os_snap.c: copies of directories, and what is known of them.
 *   (1) A copy has its number as name when it is complete and on stable storage; until then it is "new", which whoever does it again removes.
 *   (2) The catalogue is replaced as a whole; a copy that it does not name is of nobody, and gives way to the next of that number.
 *   (3) While a container runs, it stands still for its copy; with it ends the conversation that holds it, whoever is killed meanwhile.
 */
#include "host/os_snap.h"

#include "base/clock.h"
#include "host/layers.h"
#include "host/newfile.h"
#include "host/process.h"
#include "host/spawn.h"
#include "host/talk.h"
#include "host/task_log.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NODES_MAX = 1000, TEXT_MAX = 1024 * 1024, TICK_MS = 20, DEPTH_MAX = 64 };

struct os_node {
    u32 id, parent; /* parent 0: none */
    char *name;
    u64 time; /* seconds since 1970 */
};
struct os_snaps {
    u32 next, current; /* current: of which it is now; 0: none */
    struct field_list nodes;
};

/* clang-format off */
static const struct field node_fields[] = {
    FIELD_INT(os_node, id, "1 and more, never used twice", .min = 1),
    FIELD_INT(os_node, parent, "what it was when it was taken"),
    FIELD_STR(os_node, name, "unique", .required = true, .ok = spec_name_ok, .want = "a name"),
    FIELD_INT(os_node, time, "when it was taken"),
    {},
};
static const struct field snaps_fields[] = {
    FIELD_INT(os_snaps, next, "id of the next", .dflt = 1, .min = 1),
    FIELD_INT(os_snaps, current, "of which the container is now"),
    FIELD_LIST(os_snaps, nodes, node_fields, os_node, NODES_MAX, "the snapshots"),
    {},
};
/* clang-format on */

/* ---- the catalogue ---- */

static struct os_node *node(const struct os_snaps *s, u32 i)
{
    return (struct os_node *)s->nodes.items + i;
}

static struct os_node *by_name(const struct os_snaps *s, const char *name)
{
    for (u32 i = 0; i < s->nodes.n; i++)
        if (strcmp(node(s, i)->name, name) == 0)
            return node(s, i);
    return NULL;
}

static struct os_node *by_id(const struct os_snaps *s, u32 id)
{
    for (u32 i = 0; i < s->nodes.n; i++)
        if (node(s, i)->id == id)
            return node(s, i);
    return NULL;
}

/* Empty where there is none.  Finish with conf_fini. */
static int snaps_read(const char *folder, struct os_snaps *ret, struct err *e)
{
    AUTO(free) char *path = str_new("%s/snapshots.json", folder), *text = NULL;
    AUTO(fd) int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    size_t len;
    int r;

    conf_defaults(snaps_fields, ret);
    if (fd < 0)
        return errno == ENOENT ? 0 : err_errno(e, "'%s'", path);
    r = fd_read_whole(fd, TEXT_MAX, &text, &len);
    if (r < 0)
        return err_code(e, r, "read '%s'", path);
    r = conf_parse_text(snaps_fields, ret, text, len, e);
    return r < 0 ? err_wrap(e, "'%s'", path) : 0;
}

static int snaps_write(const char *folder, const struct os_snaps *s, struct err *e)
{
    AUTO(free) char *path = str_new("%s/snapshots.json", folder);

    return newfile_json(path, conf_print(snaps_fields, s), e);
}

/* ---- copies ---- */

/* `cp` by socle-os, which has the users of a container where socled has them not. */
static int start_copy(const char *from, const char *to, pid_t *ret, struct err *e)
{
    AUTO(free) char *program = spawn_find("socle-os", "SOCLE_OS");
    const char *const words[] = { "socle-os", "--copy", from, to, NULL };
    posix_spawnattr_t how;
    sigset_t none;
    int r;

    sigemptyset(&none);
    posix_spawnattr_init(&how);
    posix_spawnattr_setsigmask(&how, &none);
    posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGMASK);
    r = posix_spawn(ret, program, NULL, &how, (char *const *)(uintptr_t)words, environ);
    posix_spawnattr_destroy(&how);
    return r ? err_code(e, -r, "start '%s'", program) : 0;
}

static int wait_copy(const struct job *j, pid_t pid, const char *from, struct err *e)
{
    int status, r = 0;
    pid_t got;

    while ((got = waitpid(pid, &status, WNOHANG)) == 0 || (got < 0 && errno == EINTR)) {
        if (r >= 0 && (r = job_check(j, e)) < 0)
            kill(pid, SIGKILL);
        poll(NULL, 0, TICK_MS);
    }
    if (r < 0)
        return r;
    return got == pid && status == 0
               ? 0
               : err_set(e, -EIO, "copy '%s' (its message is in socled's log)", from);
}

static int sync_below(const char *path, struct err *e)
{
    AUTO(fd) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 || syncfs(fd) < 0 ? err_errno(e, "write '%s'", path) : 0;
}

/* FOLDER/new, then FOLDER/NAME, in place of what nobody has. */
static int copy_tree(struct task *t, const char *from, const char *folder, const char *name,
                     struct err *e)
{
    AUTO(free) char *fresh = str_new("%s/new", folder), *to = str_new("%s/%s", folder, name);
    pid_t pid;
    int r;

    if (mkdir(folder, 0700) < 0 && errno != EEXIST)
        return err_errno(e, "make folder '%s'", folder);
    r = layers_remove_tree(&t->job, t->host, folder, "new", e);
    if (r >= 0)
        r = layers_remove_tree(&t->job, t->host, folder, name, e);
    if (r >= 0)
        r = start_copy(from, fresh, &pid, e);
    if (r >= 0)
        r = wait_copy(&t->job, pid, from, e);
    if (r >= 0)
        r = sync_below(folder, e);
    if (r >= 0 && rename(fresh, to) < 0)
        r = err_errno(e, "rename '%s'", fresh);
    if (r < 0) {
        struct job undo = {};

        (void)layers_remove_tree(&undo, t->host, folder, "new", NULL);
    }
    return r;
}

/* What a container wrote that never ran. */
static int need_upper(const char *folder, struct err *e)
{
    AUTO(free) char *rw = str_new("%s/rw", folder), *upper = str_new("%s/upper", rw);

    if ((mkdir(rw, 0755) < 0 && errno != EEXIST) || chmod(rw, 0755) < 0)
        return err_errno(e, "make folder '%s'", rw);
    if (mkdir(upper, 0755) == 0)
        return chmod(upper, 0755) < 0 ? err_errno(e, "folder '%s'", upper) : 0;
    return errno == EEXIST ? 0 : err_errno(e, "make folder '%s'", upper);
}

/* What it wrote until now, as FOLDER/NAME, of one instant. */
static int copy_of(struct task *t, struct instance *i, const char *folder, const char *name,
                   struct err *e)
{
    AUTO(free) char *own = host_folder(t->host, i), *upper = str_new("%s/rw/upper", own);
    struct talk k = { .fd = -1 };
    int r = process_hold(t, i, &k, e);

    if (r == -ESRCH)
        r = need_upper(own, e);
    else if (r < 0)
        err_wrap(e, "it is to stand still while it is copied");
    if (r >= 0)
        r = copy_tree(t, upper, folder, name, e);
    talk_close(&k);
    return r;
}

/* ---- take ---- */

static int add_node(struct os_snaps *s, const struct task *t, struct err *e)
{
    const struct field *f = conf_field_at(snaps_fields, offsetof(struct os_snaps, nodes));
    struct os_node *n = conf_list_add(f, s);

    if (!n)
        return err_set(e, -ENOSPC, "there are %d snapshots; more are not allowed", NODES_MAX);
    *n = (struct os_node){ .id = t->rec.node,
                           .parent = s->current,
                           .name = xdup(t->rec.snapshot),
                           .time = clock_real_ns() / NSEC_PER_SEC };
    s->current = n->id;
    s->next = n->id + 1;
    return 0;
}

/* The number, and the name if it had none: durable. */
static int note(struct task *t, const struct os_snaps *s, const char *prefix, struct err *e)
{
    AUTO(free) char *name = t->rec.snapshot ? xdup(t->rec.snapshot) : NULL;

    for (u32 k = s->next; !name || (!t->rec.snapshot && by_name(s, name)); k++) {
        free(name);
        name = str_new("%s%u", prefix, k);
    }
    if (by_name(s, name))
        return err_set(e, -EEXIST, "there is a snapshot '%s'", name);
    return task_note(t, s->next, name, e);
}

/* Of `i`, with what the task knows of an earlier try. */
static int take(struct task *t, struct instance *i, const char *prefix, struct err *e)
{
    AUTO(free) char *folder = host_folder(t->host, i), *all = str_new("%s/snapshots", folder);
    char number[16];
    struct os_snaps s = {};
    int r = snaps_read(folder, &s, e);

    if (r >= 0 && t->rec.node && by_id(&s, t->rec.node)) {
        conf_fini(snaps_fields, &s);
        return 0; /* it was complete */
    }
    if (r >= 0)
        r = note(t, &s, prefix, e);
    if (r >= 0) {
        str_fmt(number, sizeof(number), "%u", t->rec.node);
        r = copy_of(t, i, all, number, e);
    }
    if (r >= 0)
        r = add_node(&s, t, e);
    if (r >= 0)
        r = snaps_write(folder, &s, e);
    conf_fini(snaps_fields, &s);
    return r;
}

int os_snap_do_take(struct task *t, struct err *e)
{
    return take(t, t->inst, "snapshot", e);
}

/* ---- delete ---- */

static int check_unused(struct task *t, const struct instance *i, const struct os_node *n,
                        struct err *e)
{
    const struct instance *clone;
    int r = 0;

    host_lock(t->host);
    clone = host_clone_of_locked(i, n->id);
    if (clone)
        r = err_set(e, -EBUSY, "snapshot '%s': clone '%s' builds on it", n->name,
                    clone->cfg.spec.name);
    host_unlock(t->host);
    return r;
}

/* Children become its parent's. */
static void drop_node(struct os_snaps *s, const struct os_node *n)
{
    const struct field *f = conf_field_at(snaps_fields, offsetof(struct os_snaps, nodes));
    const u32 id = n->id, parent = n->parent;

    for (u32 i = 0; i < s->nodes.n; i++)
        if (node(s, i)->parent == id)
            node(s, i)->parent = parent;
    if (s->current == id)
        s->current = parent;
    conf_list_remove(f, s, (u32)(n - node(s, 0)));
}

static int drop(struct task *t, const struct instance *i, struct os_snaps *s,
                const struct os_node *n, struct err *e)
{
    AUTO(free) char *folder = host_folder(t->host, i), *all = str_new("%s/snapshots", folder);
    char number[16];
    struct job whole = {}; /* once begun it is done */
    int r;

    str_fmt(number, sizeof(number), "%u", n->id);
    drop_node(s, n);
    r = snaps_write(folder, s, e);
    return r < 0 ? r : layers_remove_tree(&whole, t->host, all, number, e);
}

int os_snap_do_delete(struct task *t, struct err *e)
{
    AUTO(free) char *folder = host_folder(t->host, t->inst);
    struct os_snaps s = {};
    const struct os_node *n = NULL;
    int r = snaps_read(folder, &s, e);

    if (r >= 0)
        n = by_name(&s, t->rec.snapshot);
    if (n)
        r = check_unused(t, t->inst, n, e);
    if (n && r >= 0)
        r = drop(t, t->inst, &s, n, e);
    if (!n && r >= 0 && t->rec.tries == 1) /* else it is gone since the last try */
        r = err_set(e, -ENOENT, "there is no snapshot '%s'", t->rec.snapshot);
    conf_fini(snaps_fields, &s);
    return r;
}

/* ---- go back ---- */

/* What it wrote since is lost when the copy is complete, and not before. */
static int replace_upper(struct task *t, const char *folder, const struct os_node *n, struct err *e)
{
    AUTO(free) char *from = str_new("%s/snapshots/%u", folder, n->id);
    AUTO(free)
    char *rw = str_new("%s/rw", folder), *back = str_new("%s/back", rw),
         *upper = str_new("%s/upper", rw);
    struct job whole = {};
    int r = need_upper(folder, e);

    if (r >= 0)
        r = copy_tree(t, from, rw, "back", e);
    if (r >= 0)
        r = layers_remove_tree(&whole, t->host, rw, "upper", e);
    if (r >= 0)
        r = layers_remove_tree(&whole, t->host, rw, "work", e);
    if (r >= 0 && rename(back, upper) < 0)
        r = err_errno(e, "rename '%s'", back);
    return r;
}

int os_snap_do_restore(struct task *t, struct err *e)
{
    AUTO(free) char *folder = host_folder(t->host, t->inst);
    struct os_snaps s = {};
    const struct os_node *n = NULL;
    int r = snaps_read(folder, &s, e);

    if (r >= 0 && !(n = by_name(&s, t->rec.snapshot)))
        r = err_set(e, -ENOENT, "there is no snapshot '%s'", t->rec.snapshot);
    if (r >= 0)
        r = process_stop(t, true, e);
    if (r >= 0)
        r = replace_upper(t, folder, n, e);
    if (r >= 0) {
        s.current = n->id;
        r = snaps_write(folder, &s, e);
    }
    if (r >= 0)
        task_log(t, "its files are those of snapshot '%s'", t->rec.snapshot);
    conf_fini(snaps_fields, &s);
    return r >= 0 && t->rec.was_on ? process_start(t, NULL, e) : r;
}

/* ---- list ---- */

int os_snap_list(const char *folder, json_t **ret, struct err *e)
{
    struct os_snaps s = {};
    json_t *list;
    int r = snaps_read(folder, &s, e);

    if (r < 0)
        return r;
    list = json_array();
    for (u32 i = 0; i < s.nodes.n; i++) {
        const struct os_node *n = node(&s, i), *parent = by_id(&s, n->parent);
        json_t *j =
            json_pack("{s:s, s:I, s:b, s:b, s:b}", "name", n->name, "created", (json_int_t)n->time,
                      "memory", 0, "current", s.current == n->id, "complete", 1);

        if (parent)
            json_object_set_new(j, "parent", json_string(parent->name));
        json_array_append_new(list, j);
    }
    conf_fini(snaps_fields, &s);
    *ret = list;
    return 0;
}

/* ---- clones ---- */

int os_snap_paths_locked(const struct instance *i, const struct field *f, void *to, struct err *e)
{
    char *paths[DEPTH_MAX];
    u32 n = 0;
    int r = 0;

    while (i && i->base.id && r >= 0) {
        const struct instance *from = host_by_id_locked(i->host, i->base.id);
        AUTO(free) char *folder = from ? host_folder(i->host, from) : NULL;

        if (!from || n == DEPTH_MAX)
            r = err_set(e, -EINVAL,
                        "what '%s' is a clone of is missing, or more than %d clones deep",
                        i->cfg.spec.name, DEPTH_MAX);
        else
            paths[n++] = str_new("%s/snapshots/%u", folder, i->base.node);
        i = from;
    }
    while (n--) {
        if (r >= 0 && !conf_strs_add(f, to, paths[n]))
            r = err_set(e, -E2BIG, "more than %u layers", f->list_max);
        free(paths[n]);
    }
    return r;
}

/* What it builds on: durable before it is.  NULL: on what the original does. */
static int note_base(struct task *t, const struct os_node *n, struct err *e)
{
    struct base_rec *b = &t->inst->base;
    struct host_change c = {};
    int r;

    host_lock(t->host);
    if (n) {
        free(b->snapshot);
        b->snapshot = xdup(n->name);
        b->node = n->id;
    } else {
        conf_fini(base_fields, b);
        conf_copy(base_fields, b, &t->from->base);
    }
    if (b->id)
        host_change_base(&c, t->inst);
    else
        store_txn_delete(&c.txn, host_change_key(&c, "base", t->inst->id));
    r = host_change_do(t->host, &c, NULL, e);
    host_unlock(t->host);
    return r;
}

/* Of a snapshot that is there, or one that is taken for it. */
static int link_to(struct task *t, struct err *e)
{
    AUTO(free) char *folder = host_folder(t->host, t->from);
    struct os_snaps s = {};
    const struct os_node *n;
    int r = t->rec.snapshot && !t->rec.node ? 0 : take(t, t->from, "clone", e);

    if (r >= 0)
        r = snaps_read(folder, &s, e);
    if (r < 0)
        return r;
    n = by_name(&s, t->rec.snapshot);
    r = n ? note_base(t, n, e) : err_set(e, -ENOENT, "there is no snapshot '%s'", t->rec.snapshot);
    conf_fini(snaps_fields, &s);
    return r;
}

static int copy_from(struct task *t, const char *own, struct err *e)
{
    AUTO(free)
    char *from = host_folder(t->host, t->from), *rw = str_new("%s/rw", own), *path = NULL;
    struct os_snaps s = {};
    const struct os_node *n = NULL;
    int r = snaps_read(from, &s, e);

    if (r >= 0 && t->rec.snapshot && !(n = by_name(&s, t->rec.snapshot)))
        r = err_set(e, -ENOENT, "there is no snapshot '%s'", t->rec.snapshot);
    path = n ? str_new("%s/snapshots/%u", from, n->id) : NULL;
    conf_fini(snaps_fields, &s);
    if (r >= 0 && mkdir(rw, 0755) < 0 && errno != EEXIST)
        r = err_errno(e, "make folder '%s'", rw);
    if (r >= 0)
        r = path ? copy_tree(t, path, rw, "upper", e) : copy_of(t, t->from, rw, "upper", e);
    return r < 0 ? r : note_base(t, NULL, e);
}

/* For socle-os: it is to be somebody else (os/names.h). */
static int mark_fresh(const char *own, struct err *e)
{
    AUTO(free) char *path = str_new("%s/fresh", own);
    AUTO(fd) int fd = open(path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

    return fd < 0 || fsync(fd) < 0 ? err_errno(e, "make '%s'", path) : 0;
}

int os_clone_do(struct task *t, struct err *e)
{
    AUTO(free) char *own = host_folder(t->host, t->inst);
    int r;

    if (mkdir(own, 0700) < 0 && errno != EEXIST)
        return err_errno(e, "make folder '%s'", own);
    task_log(t, "make its files");
    r = t->rec.mode == CLONE_FULL ? copy_from(t, own, e) : link_to(t, e);
    if (r >= 0)
        r = mark_fresh(own, e);
    if (r < 0)
        return r;
    host_lock(t->host);
    r = host_set_state_locked(t->inst, HOST_OFF, NULL, e);
    host_unlock(t->host);
    return r;
}

void os_clone_undo(struct task *t)
{
    AUTO(free) char *folder = host_folder(t->host, t->from);
    struct os_snaps s = {};
    const struct os_node *n;
    struct err e = {};
    int r = t->rec.node ? snaps_read(folder, &s, &e) : 0;

    atomic_store(&t->job.cancel, false); /* what is undone is not cancelled */
    n = t->rec.node && r >= 0 ? by_id(&s, t->rec.node) : NULL;
    if (n)
        r = drop(t, t->from, &s, n, &e);
    if (r < 0)
        log_warn("the snapshot for clone '%s' stays: %s", t->rec.name, e.text);
    conf_fini(snaps_fields, &s);
}
