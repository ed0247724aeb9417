/*
 * host/tree.c: the catalogue of a machine's snapshots: read, checked, replaced.
 */
#include "host/tree.h"

#include "disk/format.h"
#include "disk/lock.h"
#include "host/newfile.h"
#include "vm/spec.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const phases[] = { "complete", "taking", "deleting", NULL };

static bool file_ok(const char *s)
{
    return *s && !strchr(s, '/') && strlen(s) <= NAME_MAX && strcmp(s, ".") != 0 &&
           strcmp(s, "..") != 0;
}

static bool disk_ok(const char *s)
{
    return *s == '/' ? strlen(s) < PATH_MAX : file_ok(s);
}

/* clang-format off */
static const struct field image_fields[] = {
    FIELD_STR(tree_image, file, "its name", .required = true, .ok = file_ok, .want = "the name of a file, without its folder"),
    FIELD_INT(tree_image, mtime_ns, "when it was changed last, in ns since 1970; 0: unknown"),
    {},
};
static const struct field node_fields[] = {
    FIELD_INT(tree_node, id, "number, never used twice", .required = true, .min = 1),
    FIELD_INT(tree_node, parent, "what it builds on; 0: nothing"),
    FIELD_STR(tree_node, name, "name", .required = true, .ok = spec_name_ok,
              .want = "1 to 63 letters, digits, '.', '-' or '_', a letter or digit first,"),
    FIELD_INT(tree_node, time, "when it was taken, in seconds since 1970"),
    FIELD_STR(tree_node, state, "file with the machine's state; none: only the disks", .ok = file_ok,
              .want = "the name of a file, without its folder"),
    FIELD_ENUM(tree_node, phase, phases, "is it all there?"),
    FIELD_LIST(tree_node, images, image_fields, tree_image, TREE_DISKS_MAX, "what the disks were"),
    {},
};
static const struct field disk_fields[] = {
    FIELD_STR(tree_disk, file, "beside the catalogue, or from the root", .required = true, .ok = disk_ok, .want = "the name of a file"),
    {},
};
const struct field tree_fields[] = {
    FIELD_INT(tree, version, "of the catalogue", .required = true, .min = 1, .max = 1),
    FIELD_INT(tree, next, "number of the next snapshot", .required = true, .min = 1),
    FIELD_INT(tree, current, "what the disks build on; 0: nothing"),
    FIELD_INT(tree, restoring, "what the disks are being brought to; 0: nothing"),
    FIELD_LIST(tree, disks, disk_fields, tree_disk, TREE_DISKS_MAX, "disks of the machine that it writes to"),
    FIELD_LIST(tree, nodes, node_fields, tree_node, TREE_NODES_MAX, "snapshots"),
    {},
};
/* clang-format on */

struct tree_node *tree_by_id(const struct tree *t, u32 id)
{
    for (u32 i = 0; i < t->nodes.n; i++)
        if (tree_node(t, i)->id == id)
            return tree_node(t, i);
    return NULL;
}

struct tree_node *tree_by_name(const struct tree *t, const char *name)
{
    for (u32 i = 0; i < t->nodes.n; i++)
        if (strcmp(tree_node(t, i)->name, name) == 0)
            return tree_node(t, i);
    return NULL;
}

static int check_node(const struct tree *t, const struct tree_node *n, struct err *e)
{
    if (tree_by_id(t, n->id) != n || tree_by_name(t, n->name) != n)
        return err_set(e, -EBADMSG, "snapshot '%s' (%u) is there twice", n->name, n->id);
    if (n->id >= t->next)
        return err_set(e, -EBADMSG, "snapshot '%s' has number %u, the next is %u", n->name, n->id,
                       t->next);
    if (n->parent && (n->parent >= n->id || !tree_by_id(t, n->parent)))
        return err_set(e, -EBADMSG, "snapshot '%s' builds on %u, which is not older, or not there",
                       n->name, n->parent);
    if (n->images.n != t->disks.n)
        return err_set(e, -EBADMSG, "snapshot '%s' has %u images for %u disks", n->name,
                       n->images.n, t->disks.n);
    return 0;
}

int tree_check(const struct tree *t, struct err *e)
{
    int r = 0;

    if ((t->current && !tree_by_id(t, t->current)) ||
        (t->restoring && !tree_by_id(t, t->restoring)))
        return err_set(e, -EBADMSG, "the disks build on %u, which is not there",
                       t->restoring ? t->restoring : t->current);
    for (u32 i = 0; i < t->nodes.n && r == 0; i++)
        r = check_node(t, tree_node(t, i), e);
    return r;
}

static int parse(struct tree *t, int fd, struct err *e)
{
    AUTO(free) char *text = NULL;
    size_t len = 0;
    int r = fd_read_whole(fd, TREE_BYTES_MAX, &text, &len);

    if (r == -EFBIG && len == 0)
        return 0;
    if (r == -EFBIG)
        return err_set(e, -EBADMSG, "%zu bytes; at most %d are allowed", len, TREE_BYTES_MAX);
    if (r < 0)
        return err_code(e, r, "read it");
    conf_fini(tree_fields, t);
    r = conf_parse_text(tree_fields, t, text, len, e);
    return r < 0 ? r : tree_check(t, e);
}

/* Locked, and still what the name leads to: who had it before may have replaced it. */
static int open_locked(const char *path, bool create, struct err *e)
{
    for (;;) {
        AUTO(fd)
        int fd =
            open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | (create ? O_CREAT : 0), 0600);
        struct stat own, named;
        int r;

        if (fd < 0 && errno == ENOENT)
            return err_set(e, -ENOENT, "there are no snapshots: '%s' does not exist", path);
        if (fd < 0)
            return err_errno(e, "open '%s'", path);
        r = lock_image(fd, true, path, e);
        if (r < 0)
            return r;
        if (fstat(fd, &own) < 0 || !S_ISREG(own.st_mode))
            return err_set(e, -EINVAL, "'%s' is not a file", path);
        if (stat(path, &named) == 0 && named.st_ino == own.st_ino && named.st_dev == own.st_dev)
            return TAKE_FD(fd);
    }
}

int tree_open(struct tree_file *f, const char *disk, bool create, struct err *e)
{
    AUTO(free) char *real = realpath(disk, NULL);
    int r;

    *f = (struct tree_file){ .lock = -1, .t = { .version = 1, .next = 1 } };
    if (!real)
        return err_errno(e, "disk '%s'", disk);
    f->path = str_new("%s.snapshots", real);
    r = f->lock = open_locked(f->path, create, e);
    if (r >= 0)
        r = parse(&f->t, f->lock, e);
    if (r < 0 && f->lock >= 0)
        err_wrap(e, "'%s'", f->path);
    return r < 0 ? r : 0;
}

void tree_close(struct tree_file *f)
{
    fd_close(&f->lock);
    conf_fini(tree_fields, &f->t);
    free(f->path);
    f->path = NULL;
}

int tree_store(struct tree_file *f, struct err *e)
{
    json_t *j = conf_print(tree_fields, &f->t);
    AUTO(free) char *text = json_dumps(j, JSON_INDENT(1));
    struct newfile n;
    int r;

    json_decref(j);
    must(text);
    r = newfile_open(&n, f->path, e);
    if (r == 0) {
        r = fd_pwrite_all(n.fd, text, strlen(text), 0);
        if (r == 0 && fsync(n.fd) < 0)
            r = -errno;
        if (r < 0)
            err_code(e, r, "write '%s'", f->path);
    }
    if (r == 0)
        r = lock_image(n.fd, true, f->path, e);
    if (r == 0)
        r = newfile_keep(&n, e);
    if (r == 0) {
        fd_close(&f->lock);
        f->lock = TAKE_FD(n.fd);
    }
    newfile_fini(&n);
    return r;
}

/* Without its lock: a catalogue is replaced, never changed. */
int tree_read(const char *disk, struct tree *ret, struct err *e)
{
    AUTO(free) char *real = realpath(disk, NULL);
    AUTO(free) char *path = real ? str_new("%s.snapshots", real) : NULL;
    AUTO(fd) int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    struct tree t = {};
    int r;

    if (fd < 0)
        return err_set(e, -ENOENT, "there are no snapshots beside '%s'", disk);
    r = parse(&t, fd, e);
    if (r < 0) {
        conf_fini(tree_fields, &t);
        return err_wrap(e, "'%s'", path);
    }
    *ret = t;
    return 0;
}

int tree_usable(const char *disk, struct err *e)
{
    const struct tree_node *to;
    struct tree t = {};
    int r = tree_read(disk, &t, e);

    if (r < 0)
        return r == -ENOENT ? 0 : r;
    to = tree_by_id(&t, t.restoring);
    if (to)
        r = err_set(e, -EBUSY,
                    "disk '%s': going back to snapshot '%s' was interrupted: `socle snapshot "
                    "restore` does it again",
                    disk, to->name);
    conf_fini(tree_fields, &t);
    return r;
}

char *tree_disk_path(const struct tree_file *f, u32 disk)
{
    return disk_path_beside(f->path, ((const struct tree_disk *)f->t.disks.items + disk)->file);
}

char *tree_image_path(const struct tree_file *f, const struct tree_node *n, u32 disk)
{
    AUTO(free) char *head = tree_disk_path(f, disk);

    return disk_path_beside(head, tree_image(n, disk)->file);
}

char *tree_state_path(const struct tree_file *f, const struct tree_node *n)
{
    return disk_path_beside(f->path, n->state);
}
