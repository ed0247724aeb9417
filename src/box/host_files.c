/*
 * box/host_files.c: all that a container gets of the host's files, opened before there is a container, each as a detached copy
 * of its mount: the process that attaches them needs no path of the host, and no right to one.  (A user without privilege
 * may copy mounts in a namespace of its own only; then the first process does this, before anything else is in there.)
 */
#include "box/cgroup.h"
#include "box/ns.h"
#include "box/path.h"
#include "box/root.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

struct opening {
    const struct oci *spec;
    int bundle;
    int user; /* the joined user namespace, or -1 */
};

static int *new_fds(u32 n)
{
    int *fds = n ? xnew_n(int, n) : NULL;

    for (u32 i = 0; i < n; i++)
        fds[i] = -1;
    return fds;
}

static void free_fds(int *fds, u32 n)
{
    for (u32 i = 0; i < n; i++)
        fd_close(&fds[i]);
    free(fds);
}

void host_files_init(struct host_files *h)
{
    *h = (struct host_files){ .root = -1, .null = -1, .cgroup = -1 };
    for_each_row(fd, h->nodes)
        *fd = -1;
}

void host_files_fini(struct host_files *h)
{
    fd_close(&h->root);
    fd_close(&h->null);
    fd_close(&h->cgroup);
    for_each_row(fd, h->nodes)
        fd_close(fd);
    free_fds(h->binds, h->n_binds);
    free_fds(h->devices, h->n_devices);
    host_files_init(h);
}

static int open_root(struct host_files *h, const struct oci *spec, int bundle, struct err *e)
{
    struct mount_plan p = {};
    int r;

    /* What the container mounts must not come out, so never shared while it is built; root_protect does the rest. */
    p.propagation = mount_propagation(spec->os.rootfsPropagation, &p.rec_propagation);
    p.propagation = p.propagation & (MS_SLAVE | MS_SHARED) ? MS_SLAVE : 0;
    h->root = mount_clone(bundle, spec->root.path, AT_RECURSIVE);
    if (h->root < 0)
        return err_code(e, h->root, "root.path: open '%.120s'", spec->root.path);
    r = mount_change(h->root, &p);
    return r < 0 ? err_code(e, r, "root.path: '%.120s'", spec->root.path) : 0;
}

/* Whose maps a mount is shifted by: its own, or those of the container; the descriptor is *ret. */
static int open_maps(const struct opening *o, const struct oci_mount *m, int *ret, struct err *e)
{
    const bool own = m->uidMappings.n || m->gidMappings.n;
    const struct field_list *uids = own ? &m->uidMappings : &o->spec->os.uidMappings;
    const struct field_list *gids = own ? &m->gidMappings : &o->spec->os.gidMappings;

    if (!own && o->user >= 0)
        *ret = fcntl(o->user, F_DUPFD_CLOEXEC, 0);
    else if (!uids->n || !gids->n)
        return err_set(e, -EINVAL, "it must have both uid and gid mappings");
    else
        return *ret = ns_new_user(uids, gids, e);
    return *ret < 0 ? err_errno(e, "user namespace") : 0;
}

static int shift_owners(const struct opening *o, const struct oci_mount *m,
                        const struct mount_plan *p, int fd, struct err *e)
{
    AUTO(fd) int user = -1;
    char type[32];
    int r = open_maps(o, m, &user, e);

    if (r >= 0)
        r = mount_idmap(fd, user, p->rec_idmap);
    if (r >= 0)
        return 0;
    mount_type_of(o->bundle, m->source, type);
    if (r == -EINVAL && !e->code)
        err_set(e, r, "file system '%s', or one below it, cannot be", *type ? type : "unknown");
    else if (!e->code)
        err_code(e, r, "file system '%s'", *type ? type : "unknown");
    return err_wrap(e, "mounts: idmap '%.60s' of '%.60s'", m->source, m->destination);
}

static int open_bind(const struct opening *o, const struct oci_mount *m, int *ret, struct err *e)
{
    struct mount_plan p;
    int r = mount_plan_make(&p, m, e);

    if (r < 0)
        return r;
    if (p.bind && (!m->source || !*m->source))
        r = err_set(e, -EINVAL, "mounts: '%.80s' is bound without a source", m->destination);
    if (p.bind && r >= 0) {
        r = *ret = mount_clone(o->bundle, m->source,
                               (p.recursive ? AT_RECURSIVE : 0) |
                                   (p.src_nofollow || p.copy_link ? AT_SYMLINK_NOFOLLOW : 0));
        if (r >= 0)
            r = mount_change(*ret, &p);
        if (r < 0)
            err_code(e, r, "mounts: open source '%.100s' of '%.80s'", m->source, m->destination);
    }
    if (p.idmap && r >= 0)
        r = shift_owners(o, m, &p, *ret, e);
    mount_plan_fini(&p);
    return min(r, 0);
}

/* For who has no cgroup namespace of its own, and then may not mount it anew. */
static int copy_cgroup(void)
{
    AUTO(fd) int fd = cgroup_root();

    return fd < 0 ? fd : mount_clone(fd, "", 0);
}

/* A copy of a device file of the host; never of anything else. */
static int copy_node(const char *path, mode_t kind, dev_t dev)
{
    AUTO(fd) int fd = mount_clone(AT_FDCWD, path, 0);
    struct stat st;

    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0)
        return -errno;
    if ((st.st_mode & S_IFMT) != kind || st.st_rdev != dev)
        return -ENODEV;
    return TAKE_FD(fd);
}

static int copy_nodes_of(struct host_files *h, const struct oci *spec, struct err *e)
{
    static const struct {
        const char *path;
        u32 major, minor;
    } nodes[DEFAULT_NODES] = { { "/dev/null", 1, 3 },    { "/dev/zero", 1, 5 },
                               { "/dev/full", 1, 7 },    { "/dev/random", 1, 8 },
                               { "/dev/urandom", 1, 9 }, { "/dev/tty", 5, 0 } };
    u32 i = 0;

    for (unsigned n = 0; n < DEFAULT_NODES; n++) {
        h->nodes[n] = copy_node(nodes[n].path, S_IFCHR, makedev(nodes[n].major, nodes[n].minor));
        if (h->nodes[n] < 0)
            return err_code(e, h->nodes[n], "open the host's %s", nodes[n].path);
    }
    for_each_of(const struct oci_device, d, &spec->os.devices)
    {
        int r =
            d->type == 3 /* a FIFO is made */
                ? -1
                : copy_node(d->path, d->type == 1 ? S_IFBLK : S_IFCHR, makedev(d->major, d->minor));

        if (r < 0 && d->type != 3)
            return err_code(e, r, "linux.devices: open the host's '%.80s'", d->path);
        h->devices[i++] = r;
    }
    return 0;
}

int host_files_open(struct host_files *h, const struct oci *spec, int bundle, bool copy_nodes,
                    int user, struct err *e)
{
    const struct opening o = { spec, bundle, user };
    u32 i = 0;
    int r;

    h->n_binds = spec->mounts.n;
    h->binds = new_fds(h->n_binds);
    h->n_devices = spec->os.devices.n;
    h->devices = new_fds(h->n_devices);
    r = open_root(h, spec, bundle, e);
    for_each_of(const struct oci_mount, m, &spec->mounts)
    {
        if (r == 0)
            r = open_bind(&o, m, &h->binds[i++], e);
    }
    if (r == 0 && spec->os.maskedPaths.n) {
        h->null = copy_node("/dev/null", S_IFCHR, makedev(1, 3));
        if (h->null < 0)
            r = err_code(e, h->null, "open the host's /dev/null");
    }
    if (r == 0 && copy_nodes)
        h->cgroup = copy_cgroup();
    if (r == 0 && copy_nodes)
        r = copy_nodes_of(h, spec, e);
    return r;
}
