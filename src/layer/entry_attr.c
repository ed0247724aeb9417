/*
 * layer/entry_attr.c: extended attributes of what a layer brings, and ours.
 */
#include "layer/beneath.h"
#include "layer/entry.h"

#include <fcntl.h>
#include <sys/xattr.h>

int entry_set_opaque(struct unpack *u, int parent, const char *name, struct err *e)
{
    const char *attr = u->cfg->user_xattr ? "user.overlay.opaque" : "trusted.overlay.opaque";
    AUTO(fd) int fd = beneath_open(parent, name, O_RDONLY | O_DIRECTORY, 0);

    if (fd < 0)
        return err_code(e, fd, "directory '%s'", name);
    return fsetxattr(fd, attr, "y", 1, 0) < 0 ? err_errno(e, "set '%s' of '%s'", attr, name) : 0;
}

static bool is_kept(const char *name)
{
    return strcmp(name, "security.capability") == 0 ||
           (str_starts(name, "user.") && !str_starts(name, "user.overlay.") &&
            !str_starts(name, "user.socle."));
}

static int set_one(struct unpack *u, int fd, const char *name, const void *value, size_t size,
                   struct err *e)
{
    if (!is_kept(name)) {
        u->stats->xattrs_left_out++;
        return 0;
    }
    if (size > UNPACK_XATTR_MAX || strlen(name) > XATTR_NAME_MAX)
        return err_set(e, -E2BIG, "its attribute '%.60s' has %zu bytes: at most %d", name, size,
                       UNPACK_XATTR_MAX);
    if (fsetxattr(fd, name, value, size, 0) == 0)
        return 0;
    if (errno != EOPNOTSUPP || !str_starts(name, "user."))
        return err_errno(e, "set attribute '%.60s'", name);
    u->stats->xattrs_left_out++; /* the file system has none: see doc/layers.md */
    return 0;
}

int entry_set_xattrs(struct unpack *u, struct archive_entry *entry, int fd, struct err *e)
{
    const char *name;
    const void *value;
    size_t size;
    int r = 0, n = archive_entry_xattr_reset(entry);

    if (n > UNPACK_XATTRS_MAX)
        return err_set(e, -E2BIG, "it has %d attributes: at most %d", n, UNPACK_XATTRS_MAX);
    if (n && fd < 0) { /* a link, FIFO or device, which cannot have those that are kept */
        u->stats->xattrs_left_out += (u64)n;
        return 0;
    }
    while (r == 0 && archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK)
        r = set_one(u, fd, name, value, size, e);
    return r;
}
