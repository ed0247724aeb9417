/*
 * os/rootfs.c: an overlay of idmapped mounts.
 *     FOLDER/rw/upper   what the container wrote     FOLDER/rw/work   overlayfs's own
 *     FOLDER/l          a tmpfs with the layers' mount points, by number, so that 256 of them fit into mount(2)'s one page; view (os/view_fs.h)
 *     FOLDER/root       the overlay
 */
#include "os/rootfs.h"

#include "box/mount.h"
#include "layer/ids.h"

#include <fcntl.h>
#include <linux/securebits.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

static int make_dir(const char *path, struct err *e)
{
    return mkdir(path, 0755) < 0 && errno != EEXIST ? err_errno(e, "make folder '%s'", path) : 0;
}

/* A namespace of our own, to which what the host mounts and unmounts comes, and from which nothing goes back. */
static int leave_host(struct err *e)
{
    if (unshare(CLONE_NEWNS) < 0)
        return err_errno(e, "make a mount namespace");
    return mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0
               ? err_errno(e, "keep mounts from the host")
               : 0;
}

/* `path`, with the container's numbers, at `at` of the working directory. */
static int attach(const char *path, const char *at, int user, struct err *e)
{
    AUTO(fd) int fd = mount_clone(AT_FDCWD, path, 0);
    AUTO(fd) int target = -1;
    int r;

    if (fd < 0)
        return err_code(e, fd, "root file system: open '%s'", path);
    r = user < 0 ? 0 : mount_idmap(fd, user, false);
    if (r == -EINVAL)
        return err_set(e, -EOPNOTSUPP,
                       "'%s' is on a file system that cannot show files with other owners (no "
                       "idmapped mounts); privileged=on goes without",
                       path);
    if (r < 0)
        return err_code(e, r, "root file system: owners of '%s'", path);
    if (mkdir(at, 0700) < 0)
        return err_errno(e, "root file system: make mount point '%s'", at);
    target = open(at, O_PATH | O_DIRECTORY | O_CLOEXEC);
    r = target < 0 ? -errno : mount_attach(fd, target);
    return r < 0 ? err_code(e, r, "root file system: attach '%s'", path) : 0;
}

static int attach_layers(const struct os_spec *s, int user, struct strbuf *options, struct err *e)
{
    int r = 0;

    for (u32 i = s->layers.n; i-- > 0 && r >= 0;) { /* overlayfs wants the highest first */
        char at[8];

        str_fmt(at, sizeof(at), "%u", i);
        r = attach(s->layers.items[i], at, user, e);
        strbuf_add(options, "%s%u", options->len ? ":" : "lowerdir=", i);
    }
    return r;
}

/*
 * overlayfs does its own work, later too, as who mounted it.  What is made through an idmapped mount has to be one of the container's
 * users', so we are its user 0 to file systems meanwhile, and keep our capabilities (capabilities(7), Securebits).
 */
static int mount_as(const struct os_spec *s, const char *options, struct err *e)
{
    const unsigned long flags =
        MS_NODEV; /* /dev is another file system; no file of an image is a device */
    int r;

    if (s->uid_first && prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP) < 0)
        return err_errno(e, "keep capabilities");
    setfsgid(s->uid_first);
    setfsuid(s->uid_first);
    r = mount("overlay", "../root", "overlay", flags, options) < 0
            ? err_errno(e, "mount the root file system")
            : 0;
    setfsuid(0);
    setfsgid(0);
    (void)prctl(PR_SET_SECUREBITS, 0);
    return r;
}

static int mount_overlay(const struct os_spec *s, int user, struct err *e)
{
    AUTO(free) char *rw = str_new("%s/rw", s->folder);
    AUTO(strbuf) struct strbuf options = {};
    int r = attach_layers(s, user, &options, e);

    if (r >= 0)
        r = attach(rw, "rw", user, e);
    if (r < 0)
        return r;
    strbuf_add(&options, ",upperdir=rw/upper,workdir=rw/work%s",
               ids_is_initial() ? "" : ",userxattr");
    return mount_as(s, options.text, e);
}

int os_rootfs_mount(const struct os_spec *s, int user, struct err *e)
{
    static const char *const names[] = { "rw", "rw/upper", "rw/work", "root", "l" };
    AUTO(free) char *layers = str_new("%s/l", s->folder);
    int r = 0;

    for_each_row(name, names) {
        AUTO(free) char *path = str_new("%s/%s", s->folder, *name);

        r = r < 0 ? r : make_dir(path, e);
    }
    if (r >= 0)
        r = leave_host(e);
    if (r >= 0 && (mount("layers", layers, "tmpfs", MS_NODEV | MS_NOSUID, "mode=0700") < 0 ||
                   chdir(layers) < 0))
        r = err_errno(e, "mount '%s'", layers);
    if (r >= 0)
        r = mount_overlay(s, user, e);
    if (r >= 0 && chdir("/") < 0)
        r = err_errno(e, "leave '%s'", layers);
    return r;
}
