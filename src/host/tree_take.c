/*
 * host/tree_take.c: snapshots are taken, and gone back to.
 *     catalogue: taking ── each disk: link its file to the name in the tree, rename the overlay to the disk's ── catalogue: complete
 *   (1) After each step the disk's name leads to a file that reads as it should: to the old file, or to an empty overlay over it.
 *   (2) Going back replaces each disk's file by an overlay over the node's; the catalogue says so before the first and after the last,
 *       and in between no machine is started.
 */
#include "disk/format.h"
#include "disk/lock.h"
#include "host/newfile.h"
#include "host/tree.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

void tree_overlays_close(struct tree_overlay *o, u32 n)
{
    for (u32 i = 0; i < n; i++) {
        fd_close(&o[i].fd);
        fd_close(&o[i].lock_fd);
    }
}

/* An overlay over `below`, of the mode that the disk's file has; it has no name yet. */
static int make_overlay(struct newfile *o, const char *head, const struct qcow2_create_cfg *cfg,
                        struct err *e)
{
    struct stat st;
    int r = newfile_open(o, head, e);

    if (r == 0)
        r = qcow2_create(o->fd, head, cfg, e);
    if (r == 0 && stat(head, &st) == 0 && fchmod(o->fd, st.st_mode & 07777) < 0)
        r = err_errno(e, "overlay of '%s'", head);
    return r;
}

/* A second open file that has the lock: the first may be in an io_uring, which lets go of it late. */
static int open_lock(const struct newfile *o, struct err *e)
{
    AUTO(fd) int fd = -1;
    char self[64];
    int r;

    str_fmt(self, sizeof(self), "/proc/self/fd/%d", o->fd);
    fd = open(self, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, "overlay '%s'", o->path);
    r = lock_image(fd, true, o->path, e);
    return r < 0 ? r : TAKE_FD(fd);
}

static int exchange(const char *head, const char *image, struct newfile *o, struct err *e)
{
    if (link(head, image) < 0)
        return err_errno(e, "give '%s' the name '%s'", head, image);
    return newfile_keep(o, e);
}

static int take_disk(struct tree_file *f, const struct tree_node *n, u32 i,
                     const struct tree_head *h, struct tree_overlay *ret, struct err *e)
{
    AUTO(free) char *image = tree_image_path(f, n, i);
    const struct qcow2_create_cfg cfg = { .size = h->size,
                                          .backing = base_of(image),
                                          .backing_format = disk_format_written(h->format) };
    struct newfile o;
    int r = make_overlay(&o, h->file, &cfg, e);

    if (r == 0)
        r = ret->lock_fd = open_lock(&o, e);
    if (r >= 0)
        r = exchange(h->file, image, &o, e);
    if (r == 0)
        ret->fd = TAKE_FD(o.fd);
    newfile_fini(&o);
    return r;
}

/* Beside the catalogue by its name alone, so that all may be moved together. */
static char *stored_name(const struct tree_file *f, const char *path)
{
    size_t folder = (size_t)(base_of(f->path) - f->path);

    return xdup(strncmp(f->path, path, folder) == 0 && !strchr(path + folder, '/') ? path + folder
                                                                                   : path);
}

/* The disks are those of the catalogue, or become so. */
static int check_heads(struct tree_file *f, const struct tree_heads *heads, struct err *e)
{
    const u32 n = heads->n;
    const struct field *disks = conf_field_at(tree_fields, offsetof(struct tree, disks));

    while (!f->t.nodes.n && f->t.disks.n) /* they may be others by now */
        conf_list_remove(disks, &f->t, f->t.disks.n - 1);
    for (u32 i = 0; i < n && !f->t.nodes.n; i++) {
        struct tree_disk *d = conf_list_add(disks, &f->t);

        if (!d)
            return err_set(e, -E2BIG, "%u disks; a tree of snapshots has at most %d", n,
                           TREE_DISKS_MAX);
        d->file = stored_name(f, heads->head[i].file);
    }
    if (n != f->t.disks.n)
        return err_set(e, -EINVAL, "the machine writes to %u disks, its snapshots are of %u", n,
                       f->t.disks.n);
    for (u32 i = 0; i < n; i++) {
        AUTO(free) char *known = tree_disk_path(f, i);

        if (strcmp(known, heads->head[i].file) != 0)
            return err_set(e, -EINVAL, "disk %u is '%.80s'; in the snapshots it is '%.80s'", i,
                           heads->head[i].file, known);
    }
    return 0;
}

static struct tree_node *add_node(struct tree_file *f, const char *name, bool state)
{
    const struct field *nodes = conf_field_at(tree_fields, offsetof(struct tree, nodes));
    const struct field *images = conf_field_at(nodes->sub, offsetof(struct tree_node, images));
    const char *first = base_of(f->path);
    struct tree_node *n = conf_list_add(nodes, &f->t);

    if (!n)
        return NULL;
    n->id = f->t.next++;
    n->parent = f->t.current;
    n->name = xdup(name);
    n->time = (u64)time(NULL);
    n->phase = TREE_TAKING;
    if (state)
        n->state =
            str_new("%.*ss%u.state", (int)(strlen(first) - strlen("snapshots")), first, n->id);
    for (u32 i = 0; i < f->t.disks.n; i++) {
        AUTO(free) char *head = tree_disk_path(f, i);
        struct tree_image *im = conf_list_add(images, n);

        im->file = str_new("%s.s%u", base_of(head), n->id);
    }
    return n;
}

static bool name_is_free(const struct tree_file *f, const char *name, struct err *e)
{
    struct tree_node probe = {};
    const struct field *nodes = conf_field_at(tree_fields, offsetof(struct tree, nodes));

    if (conf_set(conf_field_at(nodes->sub, offsetof(struct tree_node, name)), &probe, name, e) < 0)
        return false;
    conf_fini(nodes->sub, &probe);
    if (tree_by_name(&f->t, name))
        err_set(e, -EEXIST, "there is a snapshot '%s' already", name);
    else
        return true;
    return false;
}

int tree_take(struct tree_file *f, const char *name, bool state, const struct tree_heads *heads,
              struct tree_overlay *ret, struct err *e)
{
    const u32 n = heads->n;
    struct tree_node *node;
    int r;

    for (u32 i = 0; i < n; i++)
        ret[i] = (struct tree_overlay){ -1, -1 };
    if (f->t.restoring)
        return err_set(e, -EBUSY, "going back to another snapshot was interrupted");
    if (!name_is_free(f, name, e))
        return e->code;
    r = check_heads(f, heads, e);
    if (r < 0)
        return r;
    node = add_node(f, name, state);
    if (!node)
        return err_set(e, -E2BIG, "there are %u snapshots; at most %d are allowed", f->t.nodes.n,
                       TREE_NODES_MAX);
    f->t.current = node->id;
    r = tree_store(f, e);
    for (u32 i = 0; i < n && r == 0; i++)
        r = take_disk(f, node, i, &heads->head[i], &ret[i], e);
    if (r < 0) {
        tree_overlays_close(ret, n);
        tree_take_undo(f, NULL);
    }
    return r;
}

static u64 mtime_of(const struct stat *st)
{
    return (u64)st->st_mtim.tv_sec * NSEC_PER_SEC + (u64)st->st_mtim.tv_nsec;
}

int tree_taken(struct tree_file *f, struct err *e)
{
    struct tree_node *n = tree_by_id(&f->t, f->t.current);

    must(n && n->phase == TREE_TAKING);
    for (u32 i = 0; i < n->images.n; i++) {
        AUTO(free) char *path = tree_image_path(f, n, i);
        struct stat st;

        if (stat(path, &st) < 0)
            return err_errno(e, "look at '%s'", path);
        tree_image(n, i)->mtime_ns = mtime_of(&st);
    }
    n->phase = TREE_COMPLETE;
    return tree_store(f, e);
}

/* The old file takes its name back.  A rename of two names of one file does nothing. */
static int undo_disk(const char *head, const char *image, struct err *e)
{
    struct stat a, b;

    if (stat(image, &b) < 0)
        return errno == ENOENT ? 0 : err_errno(e, "look at '%s'", image);
    if (stat(head, &a) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
        return unlink(image) == 0 ? 0 : err_errno(e, "remove '%s'", image);
    return rename(image, head) == 0 ? 0 : err_errno(e, "give '%s' its name back", image);
}

int tree_take_undo(struct tree_file *f, struct err *e)
{
    const struct field *nodes = conf_field_at(tree_fields, offsetof(struct tree, nodes));
    struct tree_node *n = tree_by_id(&f->t, f->t.current);

    must(n && n->phase == TREE_TAKING);
    for (u32 i = 0; i < n->images.n; i++) {
        AUTO(free) char *head = tree_disk_path(f, i), *image = tree_image_path(f, n, i);
        int r = undo_disk(head, image, e);

        if (r < 0)
            return r;
    }
    f->t.current = n->parent;
    conf_list_remove(nodes, &f->t, (u32)(n - tree_node(&f->t, 0)));
    return tree_store(f, e);
}

/* The disks' files, locked as if to be written: no machine has them. */
static int lock_heads(const struct tree_file *f, int *fds, struct err *e)
{
    int r = 0;

    for (u32 i = 0; i < f->t.disks.n && r >= 0; i++) {
        AUTO(free) char *head = tree_disk_path(f, i);

        r = fds[i] = open(head, O_RDWR | O_CLOEXEC | O_NONBLOCK);
        r = r < 0 ? err_errno(e, "open disk '%s'", head) : lock_image(fds[i], true, head, e);
    }
    return r;
}

static int bring_back(const struct tree_file *f, const struct tree_node *n, u32 i, struct err *e)
{
    AUTO(free) char *head = tree_disk_path(f, i), *image = tree_image_path(f, n, i);
    AUTO(disk) struct disk *d = NULL;
    struct qcow2_create_cfg cfg = { .backing = base_of(image) };
    struct newfile o;
    int r = job_open_image(&(struct job_image){ .file = image }, true, &d, e);

    if (r < 0)
        return r;
    cfg.size = d->size;
    cfg.backing_format = disk_format_written(d->ops->format);
    r = make_overlay(&o, head, &cfg, e);
    if (r == 0)
        r = newfile_keep(&o, e);
    newfile_fini(&o);
    return r;
}

int tree_restore(struct tree_file *f, const char *name, struct err *e)
{
    const struct tree_node *n = tree_by_name(&f->t, name);
    int locks[TREE_DISKS_MAX], r;

    if (!n)
        return err_set(e, -ENOENT, "there is no snapshot '%.63s'", name);
    if (n->phase != TREE_COMPLETE)
        return err_set(e, -EINVAL, "snapshot '%s' is not complete: it can only be deleted", name);
    if (f->t.restoring && f->t.restoring != n->id && f->t.disks.n > 1)
        log_warn("going back to another snapshot was interrupted, and is not done any more");
    for (u32 i = 0; i < TREE_DISKS_MAX; i++)
        locks[i] = -1;
    r = lock_heads(f, locks, e);
    if (r >= 0) {
        f->t.restoring = n->id;
        r = tree_store(f, e);
    }
    for (u32 i = 0; i < f->t.disks.n && r >= 0; i++)
        r = bring_back(f, n, i, e);
    if (r >= 0) {
        f->t.current = n->id;
        f->t.restoring = 0;
        r = tree_store(f, e);
    }
    for (u32 i = 0; i < TREE_DISKS_MAX; i++)
        fd_close(&locks[i]);
    return r;
}
