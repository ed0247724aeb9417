/*
 * host/tree_delete.c: a snapshot is deleted: what others need of it goes into them first.
 *     catalogue: deleting ── each disk: merge ── remove files ── the node leaves the catalogue
 *   (1) Each step can be done again: who is interrupted deletes once more.
 *   (2) What builds on the image gets what it lacks (rebase).  Where there is only one such, and nothing below, its data goes down instead
 *       (commit) and the image takes its name: a base is mostly larger than what is over it.
 *   (3) Neighbours that are images of the tree keep their time of change.
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
    u64 mtime_ns; /* to be kept; 0: the disk's own file */
};

struct merge {
    struct job *job;
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
            m->above[m->n++] =
                (struct above){ tree_image_path(f, c, disk), tree_image(c, disk)->mtime_ns };
    }
    if (f->t.current == node->id)
        m->above[m->n++] = (struct above){ tree_disk_path(f, disk), 0 };
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
    };
    int r = job_rebase(m->job, &rebase, e);

    return r < 0 ? r : set_mtime(a->path, a->mtime_ns, e);
}

static int down(const struct merge *m, const struct above *a, struct err *e)
{
    int r = job_commit(m->job, &(struct job_image){ .file = a->path, .format = "qcow2" }, e);

    if (r == 0)
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

static int check_file(const char *path, struct err *e)
{
    AUTO(fd) int fd = open(path, O_RDWR | O_CLOEXEC);

    return fd < 0 ? err_errno(e, "open '%s'", path) : lock_image(fd, true, path, e);
}

/* Nobody may be using what will be written; told before anything is. */
static int check_free(const struct merge *m, bool commits, struct err *e)
{
    int r = 0;

    for (u32 i = 0; i < m->n && r == 0; i++)
        r = check_file(m->above[i].path, e);
    if (r == 0 && commits)
        r = check_file(m->image, e);
    return r < 0 ? err_wrap(
                       e, "what builds on the snapshot must not be in use (stop the machine first)")
                 : 0;
}

static int merge_disk(struct merge *m, bool only_check, struct err *e)
{
    bool commits;
    int r;

    if (access(m->image, F_OK) < 0 || m->n == 0)
        return 0; /* it was not made, or has a neighbour's name already */
    r = look_at_image(m, e);
    /* what is over an image that others call qcow2 must stay one */
    commits = m->n == 1 && !m->below && (!m->raw || !m->above[0].mtime_ns);
    if (r == 0 && only_check)
        r = check_free(m, commits, e);
    if (r < 0 || only_check)
        return r;
    if (commits)
        return builds_on(m->above[0].path, m->image) ? down(m, &m->above[0], e) : 0;
    for (u32 i = 0; i < m->n && r == 0; i++)
        r = up(m, &m->above[i], e);
    return r;
}

static int merge_all(struct job *j, const struct tree_file *f, const struct tree_node *n,
                     bool only_check, struct err *e)
{
    AUTO(free) struct merge *m = xnew(struct merge);
    int r = 0;

    for (u32 i = 0; i < n->images.n && r == 0; i++) {
        m->job = j;
        m->image = tree_image_path(f, n, i);
        find_above(m, f, n, i);
        r = merge_disk(m, only_check, e);
        merge_fini(m);
    }
    return r;
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

int tree_delete(struct job *j, struct tree_file *f, const char *name, struct err *e)
{
    struct tree_node *n = tree_by_name(&f->t, name);
    int r;

    if (!n)
        return err_set(e, -ENOENT, "there is no snapshot '%.63s'", name);
    if (f->t.restoring)
        return err_set(e, -EBUSY,
                       "going back to a snapshot was interrupted, and must be done first");
    r = merge_all(j, f, n, true, e);
    if (r == 0) {
        n->phase = TREE_DELETING;
        r = tree_store(f, e);
    }
    if (r == 0)
        r = merge_all(j, f, n, false, e);
    if (r == 0)
        r = remove_files(f, n, e);
    if (r < 0)
        return r;
    drop_node(&f->t, n);
    return tree_store(f, e);
}
