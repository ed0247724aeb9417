/*
 * host/tree_delete.c: a snapshot is deleted: what others need of it goes into them first.
 *     catalogue: deleting ── each disk: merge ── remove files ── the node leaves the catalogue
 *   (1) Each step can be done again: who is interrupted deletes once more.
 *   (2) What builds on the image gets what it lacks (rebase).  Where there is only one such, and nothing below, and nobody reads it, its data
 *       goes down instead (commit) and the image takes its name: a base is mostly larger than what is over it.
 *   (3) Neighbours that are images of the tree keep their time of change.  They may be read meanwhile: who has the old tables finds the same
 *       in the image that goes, which stays as it is and open.
 *   (4) The disk's own file is written by its machine alone: where one runs, that merges.
 */
#include "disk/format.h"
#include "disk/lock.h"
#include "host/tree.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* What builds on an image: a node's, or the disk's own file. */
struct above {
    char *path;
    bool head;    /* the disk's own file */
    u64 mtime_ns; /* else: to be kept */
};

struct merge {
    struct job *job;
    const struct tree_machine *machine; /* NULL: none */
    u32 disk;
    u64 size; /* of the disk */
    char *image, *below,
        *below_format; /* below: what it builds on itself, as it calls it; NULL: nothing */
    bool raw;
    struct above above[TREE_NODES_MAX + 1];
    u32 n;
};

static void merge_fini(struct merge *m)
{
    for (u32 i = 0; i < m->n; i++)
        free(m->above[i].path);
    free(m->image);
    free(m->below);
    free(m->below_format);
    *m = (struct merge){};
}

static void find_above(struct merge *m, const struct tree_file *f, const struct tree_node *node,
                       u32 disk)
{
    for (u32 i = 0; i < f->t.nodes.n; i++) {
        const struct tree_node *c = tree_node(&f->t, i);

        if (c->parent == node->id)
            m->above[m->n++] = (struct above){ .path = tree_image_path(f, c, disk),
                                               .mtime_ns = tree_image(c, disk)->mtime_ns };
    }
    if (f->t.current == node->id)
        m->above[m->n++] = (struct above){ .path = tree_disk_path(f, disk), .head = true };
}

static int look_at_image(struct merge *m, struct err *e)
{
    AUTO(disk) struct disk *d = NULL;
    const struct disk_cfg cfg = {
        .file = m->image, .fd = -1, .readonly = true, .no_backing = true, .share = true
    };
    struct qcow2_info info;
    int r = disk_open(&cfg, &d, e);

    if (r < 0)
        return r;
    m->size = d->size;
    m->raw = !disk_is_qcow2(d);
    if (m->raw)
        return 0;
    qcow2_info(d, &info);
    m->below = info.backing ? xdup(info.backing) : NULL;
    m->below_format = info.backing_format ? xdup(info.backing_format) : NULL;
    return 0;
}

static int set_mtime(const char *path, u64 ns, struct err *e)
{
    const struct timespec t[2] = { { .tv_nsec = UTIME_OMIT },
                                   { (time_t)(ns / NSEC_PER_SEC), (long)(ns % NSEC_PER_SEC) } };

    return !ns || utimensat(AT_FDCWD, path, t, 0) == 0 ? 0
                                                       : err_errno(e, "set the time of '%s'", path);
}

static int up(const struct merge *m, const struct above *a, struct err *e)
{
    const struct job_rebase rebase = {
        .overlay = { .file = a->path, .format = "qcow2" },
        .backing = m->below,
        .backing_format = m->below_format,
        .beside_readers = !a->head,
    };
    int r = job_rebase(m->job, &rebase, e);

    return r < 0 || a->head ? r : set_mtime(a->path, a->mtime_ns, e);
}

static int down(const struct merge *m, const struct above *a, struct err *e)
{
    int r = job_commit(m->job, &(struct job_image){ .file = a->path, .format = "qcow2" }, e);

    if (r == 0 && !a->head)
        r = set_mtime(m->image, a->mtime_ns, e);
    if (r == 0 && rename(m->image, a->path) < 0)
        r = err_errno(e, "give '%s' the name '%s'", m->image, a->path);
    return r;
}

/* Is all of the overlay's chain as it was when this was begun?  Its own image may have its name already. */
static int builds_on(const char *path, const char *image)
{
    AUTO(disk) struct disk *d = NULL;
    const struct disk_cfg cfg = {
        .file = path, .fd = -1, .readonly = true, .no_backing = true, .share = true
    };
    struct qcow2_info info = {};
    const char *slash = strrchr(image, '/');

    if (disk_open(&cfg, &d, NULL) < 0 || !disk_is_qcow2(d))
        return false;
    qcow2_info(d, &info);
    return info.backing && strcmp(info.backing, slash ? slash + 1 : image) == 0;
}

/* 0, or who has it: a writer, or with `alone` anybody. */
static int check_file(const char *path, bool alone, struct err *e)
{
    AUTO(fd) int fd = open(path, (alone ? O_RDWR : O_RDONLY) | O_CLOEXEC);

    return fd < 0 ? err_errno(e, "open '%s'", path) : lock_image(fd, alone, path, e);
}

/* Told before anything is written. */
static int check_free(const struct merge *m, struct err *e)
{
    int r = check_file(m->image, false, e);

    for (u32 i = 0; i < m->n && r == 0; i++)
        if (!m->machine || !m->above[i].head)
            r = check_file(m->above[i].path, m->above[i].head, e);
    return r < 0 ? err_wrap(e, "what builds on the snapshot must not be written by others (a "
                               "machine that runs: `socle ctl SOCKET delete-snapshot`)")
                 : 0;
}

/* Would a raw image, which has no format that its name could be told with, be taken for another format's with the overlay's data in it? */
static bool looks_other(const struct above *a)
{
    AUTO(disk) struct disk *d = NULL;
    AUTO(disk_sync) struct disk_sync *s = NULL;
    u8 head[DISK_SECTOR];

    return job_open_image(&(struct job_image){ .file = a->path, .format = "qcow2" }, true, &d,
                          NULL) < 0 ||
           disk_sync_open(d, &s, NULL) < 0 || disk_pread(s, head, sizeof(head), 0) < 0 ||
           disk_format_probe(head);
}

/* Does the data of what is above go down?  Others must not read the image, and call it qcow2 only if it is that. */
static bool goes_down(const struct merge *m)
{
    const struct above *a = &m->above[0];

    if (m->machine || m->n != 1 || m->below || (m->raw && (!a->head || looks_other(a))))
        return false;
    return check_file(m->image, true, NULL) == 0 && check_file(a->path, true, NULL) == 0;
}

static int merge_disk(struct merge *m, struct err *e)
{
    int r = 0;

    if (goes_down(m))
        return builds_on(m->above[0].path, m->image) ? down(m, &m->above[0], e) : 0;
    for (u32 i = 0; i < m->n && r == 0; i++)
        if (!m->machine || !m->above[i].head)
            r = up(m, &m->above[i], e);
    return r == 0 && m->machine ? m->machine->merge(m->machine->arg, m->job, m->disk, m->image, e)
                                : r;
}

/* Each disk's merge, or with `only_check` whether it may be, and how much it will be. */
static int merge_all(struct job *j, const struct tree_file *f, const struct tree_node *n,
                     const struct tree_machine *machine, bool only_check, struct err *e)
{
    AUTO(free) struct merge *m = xnew(struct merge);
    u64 total = 0;
    int r = 0;

    for (u32 i = 0; i < n->images.n && r == 0; i++) {
        m->job = j;
        m->machine = machine;
        m->disk = i;
        m->image = tree_image_path(f, n, i);
        find_above(m, f, n, i);
        /* else it was not made, or has a neighbour's name already */
        if (m->n && access(m->image, F_OK) == 0) {
            r = look_at_image(m, e);
            if (r == 0)
                r = only_check ? check_free(m, e) : merge_disk(m, e);
        }
        total += m->n * m->size;
        merge_fini(m);
    }
    if (only_check) {
        job_total(j, total);
        j->planned = true;
    }
    return r;
}

/* What is itself in the midst of something has not its images where they should be. */
static int check_children(const struct tree *t, const struct tree_node *n, struct err *e)
{
    for (u32 i = 0; i < t->nodes.n; i++)
        if (tree_node(t, i)->parent == n->id && tree_node(t, i)->phase != TREE_COMPLETE)
            return err_set(e, -EBUSY, "snapshot '%s', which builds on it, must be deleted first",
                           tree_node(t, i)->name);
    return 0;
}

static int remove_file(const char *path, struct err *e)
{
    return unlink(path) == 0 || errno == ENOENT ? 0 : err_errno(e, "remove '%s'", path);
}

static int remove_files(const struct tree_file *f, const struct tree_node *n, struct err *e)
{
    int r = 0;

    for (u32 i = 0; i < n->images.n && r == 0; i++) {
        AUTO(free) char *path = tree_image_path(f, n, i);

        r = remove_file(path, e);
    }
    if (r == 0 && n->state) {
        AUTO(free) char *path = tree_state_path(f, n);

        r = remove_file(path, e);
    }
    return r;
}

static void drop_node(struct tree *t, struct tree_node *n)
{
    const struct field *nodes = conf_field_at(tree_fields, offsetof(struct tree, nodes));

    for (u32 i = 0; i < t->nodes.n; i++)
        if (tree_node(t, i)->parent == n->id)
            tree_node(t, i)->parent = n->parent;
    if (t->current == n->id)
        t->current = n->parent;
    conf_list_remove(nodes, t, (u32)(n - tree_node(t, 0)));
}

int tree_delete(struct job *j, struct tree_file *f, const char *name, const struct tree_machine *m,
                struct err *e)
{
    struct tree_node *n = tree_by_name(&f->t, name);
    int r;

    if (!n)
        return err_set(e, -ENOENT, "there is no snapshot '%.63s'", name);
    if (f->t.restoring)
        return err_set(e, -EBUSY,
                       "going back to a snapshot was interrupted, and must be done first");
    r = check_children(&f->t, n, e);
    if (r == 0)
        r = merge_all(j, f, n, m, true, e);
    if (r == 0) {
        n->phase = TREE_DELETING;
        r = tree_store(f, e);
    }
    if (r == 0)
        r = merge_all(j, f, n, m, false, e);
    if (r == 0)
        r = remove_files(f, n, e);
    if (r < 0)
        return r;
    drop_node(&f->t, n);
    return tree_store(f, e);
}
