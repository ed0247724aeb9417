/*
 * vm/clone.c: disks of a clone: what it writes goes into an overlay over the original's image, which nobody changes.
 *   (1) The overlay is a file without a name: its room is free again when the clone ends, however it ends.
 *   (2) So a clone's state cannot be saved with it: save.c refuses.  Who wants to keep a clone gives it images of his own.
 */
#include "vm/clone.h"

#include "disk/format.h"
#include "disk/qcow2.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static const char *folder(void)
{
    const char *dir = getenv("TMPDIR");

    return dir && *dir == '/' ? dir : "/var/tmp";
}

/* Some file systems have no O_TMPFILE: there the file has a name for a moment. */
static int nameless_file(struct err *e)
{
    AUTO(free) char *path = NULL;
    int fd = open(folder(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR))
        return fd >= 0 ? fd : err_errno(e, "make a file in '%s' for what a clone writes", folder());
    path = str_new("%s/socle-clone-XXXXXX", folder());
    fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return err_errno(e, "make the file '%s'", path);
    unlink(path);
    return fd;
}

bool clone_shares_disk(const struct vm_spec *now, const struct vm_spec *was, u32 i)
{
    return !spec_disk(now, i)->readonly &&
           strcmp(spec_disk(now, i)->file, spec_disk(was, i)->file) == 0;
}

int clone_overlay(const struct vm_disk *d, const char *image, struct err *e)
{
    AUTO(disk) struct disk *original = NULL;
    AUTO(free) char *own = realpath(d->file, NULL);
    AUTO(free) char *path = own && image ? disk_path_beside(own, image) : TAKE(own);
    AUTO(fd) int fd = -1;
    struct qcow2_create_cfg cfg = {};
    int r;

    if (!path)
        return err_errno(e, "disk '%s'", d->file);
    r = disk_open(
        &(struct disk_cfg){ .file = path, .fd = -1, .readonly = true, .format = d->format },
        &original, e);
    if (r < 0)
        return r;
    cfg.size = original->size;
    cfg.backing = path;
    cfg.backing_format = original->ops->format;
    r = fd = nameless_file(e);
    if (r >= 0)
        r = qcow2_create(fd, path, &cfg, e);
    return r < 0 ? err_wrap(e, "an overlay for the clone") : TAKE_FD(fd);
}
