/*
 * box/root.c: builds, enters and protects the file system of a container.
 *   (1) Every destination is opened by path_open or path_make: inside the root, whatever links are there, and never by a link
 *       of /proc.  What is mounted there is a descriptor, and is attached to that descriptor.
 *   (2) /proc, /sys and /dev are attached to real directories only, so that nobody is made to trust a look-alike.
 *   (3) What is hidden by /dev/null is hidden by a file that is verified to be that device.
 */
#include "box/root.h"

#include "box/copy_up.h"
#include "box/path.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

void root_init(struct root *r)
{
    *r = (struct root){ .fd = -1, .at = -1, .dev = -1, .pts = -1, .proc = -1, .cgroup = -1 };
}

void root_fini(struct root *r)
{
    for (unsigned i = 0; i < r->n_late; i++)
        fd_close(&r->late[i]);
    fd_close(&r->fd);
    fd_close(&r->at);
    fd_close(&r->dev);
    fd_close(&r->pts);
    fd_close(&r->proc);
    fd_close(&r->cgroup);
}

/* Which of our descriptors a mount is; NULL: none. */
static int *known_place(struct root *r, const struct oci_mount *m)
{
    const struct {
        const char *path, *type;
        int *fd;
    } rows[] = { { "/dev", "tmpfs", &r->dev },
                 { "/dev/pts", "devpts", &r->pts },
                 { "/proc", "proc", &r->proc } };

    for_each_row(row, rows)
        if (strcmp(row->path, m->destination) == 0 && m->type && strcmp(row->type, m->type) == 0)
            return row->fd;
    return NULL;
}

/* The directory or file that a mount is attached to. */
static int open_target(struct root *r, const char *destination, bool is_file, struct err *e)
{
    static const char *const real[] = { "/proc", "/sys", "/dev" };
    int fd = -1;

    for_each_row(path, real) {
        if (strcmp(destination, *path) != 0)
            continue;
        if (mkdirat(r->fd, destination + 1, 0755) < 0 && errno != EEXIST)
            return err_errno(e, "mount: make '%s'", destination);
        fd = openat(r->fd, destination + 1, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return fd < 0
                   ? err_errno(e, "mount: '%s' in the root must be a real directory", destination)
                   : fd;
    }
    fd = path_make(r->fd, destination, is_file);
    return fd < 0 ? err_code(e, fd, "mount: open destination '%.100s'", destination) : fd;
}

/* A mount that we made. */
static int remember(struct root *r, const struct oci_mount *m, int fd, bool late)
{
    int *place = known_place(r, m);
    int copy;

    if (place) {
        fd_close(place);
        *place = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (*place < 0)
            return -errno;
    }
    if (!late)
        return 0;
    if (r->n_late == LATE_MAX)
        return -EMFILE;
    copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return -errno;
    r->late[r->n_late++] = copy;
    return 0;
}

static bool is_file(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode);
}

/* Those of the kernel's own data have labels of the policy's. */
static bool takes_label(const char *type)
{
    static const char *const kernel[] = { "proc", "sysfs", "mqueue", "cgroup", "cgroup2" };

    for_each_row(k, kernel)
        if (strcmp(*k, type) == 0)
            return false;
    return true;
}

/* A new file system of the kernel's; "cgroup" is version 2 here. */
static int new_mount(const struct oci_mount *m, const struct mount_plan *p, const char *label,
                     bool *ret_late, struct err *e)
{
    const char *type = m->type ? m->type : "none";
    bool cgroup = strcmp(type, "cgroup") == 0;
    struct mount_plan plain = *p;
    int fd;

    if (cgroup)
        plain.data = (struct field_strs){}; /* those of version 1 mean nothing */
    plain.label = takes_label(type) ? label : NULL;
    *ret_late = strcmp(type, "tmpfs") == 0 && (p->set & MOUNT_ATTR_RDONLY);
    fd = mount_new(cgroup ? "cgroup2" : type, m->source, &plain, *ret_late ? MOUNT_ATTR_RDONLY : 0,
                   e);
    if (fd >= 0 && p->propagation) {
        struct mount_plan propagation = { .propagation = p->propagation,
                                          .rec_propagation = p->rec_propagation };
        int r = mount_change(fd, &propagation);

        if (r < 0) {
            close(fd);
            return err_code(e, r, "mount: propagation");
        }
    }
    return fd;
}

static bool has_option(const struct mount_plan *p, const char *start)
{
    for (u32 i = 0; i < p->data.n; i++)
        if (str_starts(p->data.items[i], start))
            return true;
    return false;
}

/* What the new file system will cover, into it. */
static int fill(struct root *r, const struct oci_mount *m, const struct mount_plan *p, int made,
                struct err *e)
{
    const bool top = !has_option(p, "mode=") && !has_option(p, "uid=") && !has_option(p, "gid=");
    AUTO(fd) int below = path_open(r->fd, m->destination, O_RDONLY | O_DIRECTORY);
    int ret = below;

    if (ret == -ENOENT)
        return 0;
    if (ret < 0)
        err_code(e, ret, "open what is there");
    else
        ret = copy_up(below, made, top, e);
    return ret < 0 ? err_wrap(e, "mounts: tmpcopyup of '%.80s'", m->destination) : 0;
}

/* A source that is a link, made anew; one that is there already and the same is fine.  1: the source is none. */
static int copy_link(struct root *r, const struct oci_mount *m, int link, struct err *e)
{
    char want[PATH_MAX] = "", have[PATH_MAX] = "", name[256];
    AUTO(fd) int parent = -1;
    struct stat st;

    if (fstat(link, &st) < 0)
        return err_errno(e, "mounts: source of '%.100s'", m->destination);
    if (!S_ISLNK(st.st_mode))
        return 1;
    parent = path_make_parent(r->fd, m->destination, name);
    if (parent < 0)
        return err_code(e, parent, "mounts: open destination '%.100s'", m->destination);
    if (readlinkat(link, "", want, sizeof(want) - 1) < 0)
        return err_errno(e, "mounts: read the link '%.100s'", m->source);
    if (symlinkat(want, parent, name) == 0)
        return 0;
    if (errno == EEXIST && readlinkat(parent, name, have, sizeof(have) - 1) >= 0 &&
        strcmp(want, have) == 0)
        return 0;
    return err_set(e, -EEXIST, "mounts: copy-symlink: '%.80s' is there, and no link to '%.80s'",
                   m->destination, want);
}

static int attach(struct root *r, const struct oci_mount *m, const struct mount_plan *p, int fd,
                  struct err *e)
{
    const bool file = p->bind && is_file(fd);
    AUTO(fd)
    int target = p->dest_nofollow ? path_make_nofollow(r->fd, m->destination, file)
                                  : open_target(r, m->destination, file, e);
    int ret = target;

    if (ret >= 0)
        ret = mount_attach(fd, target);
    return ret < 0 && !e->code ? err_code(e, ret, "mount '%.100s'", m->destination) : min(ret, 0);
}

/* The host's, where a user namespace may not mount its own. */
static int bind_cgroup(struct root *r, const struct mount_plan *p)
{
    int ret = mount_change(r->cgroup, p);

    return ret < 0 ? ret : TAKE_FD(r->cgroup);
}

/* A file system of the kernel's. */
static int add_new(struct root *r, const struct oci_mount *m, const struct mount_plan *p,
                   struct err *e)
{
    bool late = false;
    AUTO(fd) int made = new_mount(m, p, r->label, &late, e);
    int ret;

    if (made == -EPERM && r->cgroup >= 0 && str_starts(m->type, "cgroup")) {
        *e = (struct err){};
        made = bind_cgroup(r, p);
        if (made < 0)
            return err_code(e, made, "mount '%.100s'", m->destination);
    }
    ret = min(made, 0);
    if (ret == 0 && p->copy_up)
        ret = fill(r, m, p, made, e);
    if (ret == 0)
        ret = attach(r, m, p, made, e);
    if (ret < 0)
        return ret;
    ret = remember(r, m, made, late);
    return ret < 0 ? err_code(e, ret, "mount '%.100s'", m->destination) : 0;
}

/* `bind` is the runtime's copy of the source, or -1. */
static int add_mount(struct root *r, const struct oci_mount *m, int bind, struct err *e)
{
    struct mount_plan p;
    int ret = mount_plan_make(&p, m, e);

    if (ret < 0)
        return ret;
    ret = p.copy_link ? copy_link(r, m, bind, e) : 1;
    if (ret == 1)
        ret = bind < 0 ? add_new(r, m, &p, e) : attach(r, m, &p, bind, e);
    mount_plan_fini(&p);
    return ret;
}

/* clang-format off */
static const struct node { const char *name; u32 major, minor; } nodes[DEFAULT_NODES] = {
    { "null", 1, 3 }, { "zero", 1, 5 }, { "full", 1, 7 }, { "random", 1, 8 }, { "urandom", 1, 9 }, { "tty", 5, 0 },
};
static const struct { const char *name, *to; } links[] = {
    { "fd", "/proc/self/fd" }, { "stdin", "/proc/self/fd/0" }, { "stdout", "/proc/self/fd/1" }, { "stderr", "/proc/self/fd/2" },
    { "core", "/proc/kcore" }, { "ptmx", "pts/ptmx" },
};
/* clang-format on */

/* Attaches a copy of the host's device file over an empty file. */
static int bind_node(int dir, const char *name, int copy)
{
    AUTO(fd) int target = -1;

    if (mknodat(dir, name, S_IFREG | 0644, 0) < 0 && errno != EEXIST)
        return -errno;
    target = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    return target < 0 ? -errno : mount_attach(copy, target);
}

static int make_node(int dir, const char *name, const struct oci_device *d)
{
    static const mode_t kinds[] = { S_IFCHR, S_IFBLK, S_IFCHR, S_IFIFO }; /* as device_words */

    if (mknodat(dir, name, kinds[d->type] | (d->fileMode & 07777), makedev(d->major, d->minor)) < 0)
        return -errno;
    /* Never through a link: this may be a directory of the image, which others share. */
    return fchownat(dir, name, d->uid, d->gid, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int add_device(struct root *r, const struct oci_device *d, int copy, struct err *e)
{
    AUTO(fd) int dir = -1;
    char name[256];
    int ret = path_make_parent(r->fd, d->path, name);

    if (ret < 0)
        return err_code(e, ret, "linux.devices: '%.80s'", d->path);
    dir = ret;
    ret = copy >= 0 ? bind_node(dir, name, copy) : make_node(dir, name, d);
    if (ret == -EEXIST)
        return 0; /* a default one, or of the image */
    return ret < 0 ? err_code(e, ret, "linux.devices: make '%.80s'", d->path) : 0;
}

/* Nodes and links that the specification promises, in a /dev that is ours. */
static int fill_dev(struct root *r, const struct host_files *h, struct err *e)
{
    for (unsigned i = 0; i < DEFAULT_NODES; i++) {
        const struct oci_device d = { .major = nodes[i].major,
                                      .minor = nodes[i].minor,
                                      .fileMode = 0666 };
        int ret = h->nodes[i] >= 0 ? bind_node(r->dev, nodes[i].name, h->nodes[i])
                                   : make_node(r->dev, nodes[i].name, &d);

        if (ret < 0 && ret != -EEXIST)
            return err_code(e, ret, "make /dev/%s", nodes[i].name);
    }
    for_each_row(l, links)
        if (symlinkat(l->to, r->dev, l->name) < 0 && errno != EEXIST)
            return err_errno(e, "make /dev/%s", l->name);
    return 0;
}

int root_build(struct root *r, const struct oci *spec, struct host_files *h, struct err *e)
{
    const struct oci_mount *mounts = spec->mounts.items;
    const struct oci_device *devices = spec->os.devices.items;
    int ret = 0;

    r->cgroup = TAKE_FD(h->cgroup);
    r->label = spec->os.mountLabel && *spec->os.mountLabel ? spec->os.mountLabel : NULL;
    /* Nothing that happens here may reach the host, nor what is mounted there later reach us. */
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return err_errno(e, "make all mounts private");
    if (r->at >= 0
            ? syscall(SYS_move_mount, h->root, "", r->at, "",
                      MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0
            : syscall(SYS_move_mount, h->root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return err_errno(e, "attach the root file system");
    r->fd = fcntl(h->root, F_DUPFD_CLOEXEC, 0);
    if (r->fd < 0)
        return err_errno(e, "root");
    for (u32 i = 0; i < spec->mounts.n && ret == 0; i++)
        ret = add_mount(r, &mounts[i], h->binds[i], e);
    if (ret == 0 && r->dev >= 0)
        ret = fill_dev(r, h, e);
    for (u32 i = 0; i < spec->os.devices.n && ret == 0; i++)
        ret = add_device(r, &devices[i], h->devices[i], e);
    return ret;
}

int root_enter(struct root *r, bool no_pivot, struct err *e)
{
    if (fchdir(r->fd) < 0)
        return err_errno(e, "enter the root file system");
    if (no_pivot) {
        /* The root of an initramfs cannot be left behind: ours covers it, and we go under the cover. */
        if (chroot(".") < 0 || chdir("/") < 0)
            return err_errno(e, "chroot");
        return 0;
    }
    /* Ours is above the host's at "/" already (pivot_root(2), "."). */
    if (syscall(SYS_pivot_root, ".", ".") < 0)
        return err_errno(e, "pivot_root");
    if (umount2(".", MNT_DETACH) < 0)
        return err_errno(e, "let go of the host's root");
    return chdir("/") < 0 ? err_errno(e, "chdir") : 0;
}

/* Attaches `*cover`, the first time itself, then copies of it. */
static int cover(int cover_fd, bool *first, int target)
{
    AUTO(fd) int copy = -1;

    if (*first) {
        *first = false;
        return mount_attach(cover_fd, target);
    }
    copy = mount_clone(cover_fd, "", 0);
    return copy < 0 ? copy : mount_attach(copy, target);
}

struct masks {
    int null, dir;
    bool null_first, dir_first;
};

static int mask(struct root *r, struct masks *m, const char *path, struct err *e)
{
    const struct mount_plan readonly = { .set = MOUNT_ATTR_RDONLY };
    AUTO(fd) int target = path_open(r->fd, path, O_PATH);
    int ret;

    if (target == -ENOENT || target == -ENOTDIR)
        return 0;
    if (target < 0)
        return err_code(e, target, "linux.maskedPaths: open '%.80s'", path);
    if (is_file(target)) {
        ret = cover(m->null, &m->null_first, target);
    } else {
        if (m->dir < 0)
            m->dir = mount_new("tmpfs", "tmpfs", &readonly, 0, e);
        ret = m->dir < 0 ? m->dir : cover(m->dir, &m->dir_first, target);
    }
    return ret < 0 ? err_code(e, ret, "linux.maskedPaths: hide '%.80s'", path) : 0;
}

static int make_readonly(struct root *r, const char *path, struct err *e)
{
    const struct mount_plan readonly = { .rec_set = MOUNT_ATTR_RDONLY };
    AUTO(fd) int target = path_open(r->fd, path, O_PATH);
    AUTO(fd) int copy = -1;
    int ret;

    if (target == -ENOENT || target == -ENOTDIR)
        return 0;
    ret = target;
    if (ret >= 0)
        ret = copy = mount_clone(target, "", AT_RECURSIVE);
    if (ret >= 0)
        ret = mount_change(copy, &readonly);
    if (ret >= 0)
        ret = mount_attach(copy, target);
    return ret < 0 ? err_code(e, ret, "linux.readonlyPaths: '%.80s'", path) : 0;
}

int root_settle(struct root *r, const struct oci *spec, struct err *e)
{
    struct mount_plan p = { .set = spec->root.readonly ? MOUNT_ATTR_RDONLY : 0 };
    int ret = 0;

    for (unsigned i = 0; i < r->n_late && ret == 0; i++) {
        const struct mount_plan readonly = { .set = MOUNT_ATTR_RDONLY };

        ret = mount_change(r->late[i], &readonly);
    }
    p.propagation = mount_propagation(spec->os.rootfsPropagation, &p.rec_propagation);
    if (ret == 0 && (p.set || p.propagation))
        ret = mount_change(r->fd, &p);
    return ret < 0 ? err_code(e, ret, "change the root file system's mount") : 0;
}

int root_protect(struct root *r, const struct oci *spec, struct host_files *h, struct err *e)
{
    const struct oci_linux *l = &spec->os;
    struct masks m = { h->null, -1, true, true };
    int ret = 0;

    for (u32 i = 0; i < l->readonlyPaths.n && ret == 0; i++)
        ret = make_readonly(r, l->readonlyPaths.items[i], e);
    for (u32 i = 0; i < l->maskedPaths.n && ret == 0; i++)
        ret = mask(r, &m, l->maskedPaths.items[i], e);
    fd_close(&m.dir);
    return ret < 0 ? ret : root_settle(r, spec, e);
}

int root_proc(struct root *r, struct err *e)
{
    const struct mount_plan none = {};

    if (r->proc < 0)
        r->proc = mount_new("proc", "proc", &none, 0, e);
    return r->proc;
}
