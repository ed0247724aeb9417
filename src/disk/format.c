/*
 * disk/format.c: opens images: which format is it, is the chain of backing files sound, where does a relative name lead?
 */
#include "disk/format.h"

#include "disk/foreign.h"
#include "disk/raw.h"

#include <stdlib.h>

/* In the order of asking. */
static const struct disk_format *const formats[] = { &qcow2_format, &vhdx_format, &vmdk_format,
                                                     &vdi_format, &vhd_format };

const struct disk_format *disk_format_find(const char *name)
{
    for_each_row(f, formats)
        if (strcmp((*f)->name, name) == 0 || ((*f)->alias && strcmp((*f)->alias, name) == 0))
            return *f;
    return NULL;
}

const char *disk_format_written(const char *name)
{
    const struct disk_format *f = name ? disk_format_find(name) : NULL;

    return f && f->alias ? f->alias : name;
}

bool disk_format_known(const char *name)
{
    return strcmp(name, "auto") == 0 || strcmp(name, "raw") == 0 || disk_format_find(name);
}

const struct disk_format *disk_format_probe(const u8 head[DISK_SECTOR])
{
    for_each_row(f, formats)
        if ((*f)->probe(head))
            return *f;
    return NULL;
}

static int refuse_name(const char *name, struct err *e)
{
    char known[120] = "raw";
    size_t at = strlen(known);

    for_each_row(f, formats) {
        str_fmt(known + at, sizeof(known) - at, ", %s", (*f)->name);
        at = strlen(known);
    }
    return err_set(e, -EINVAL, "there is no image format '%s'; there are: %s", name, known);
}

static int check_chain(const struct disk_above *self, const char *name, struct err *e)
{
    u32 depth = 1;

    for (const struct disk_above *a = self->above; a; a = a->above) {
        if (a->dev == self->dev && a->ino == self->ino)
            return err_set(e, -ELOOP, "disk '%s' is a backing file of itself", name);
        depth++;
    }
    if (depth > DISK_CHAIN_MAX)
        return err_set(e, -ELOOP, "disk '%s': a chain of more than %u images", name,
                       DISK_CHAIN_MAX);
    return 0;
}

/* The first sector says what it is.  NULL in *ret: raw. */
static int probe(struct disk *file, const struct disk_format **ret, struct err *e)
{
    alignas(4096) u8 head[DISK_SECTOR];
    int r = file->ops->now(file, DISK_READ, head, sizeof(head), 0);

    if (r < 0)
        return err_code(e, r, "read disk '%s'", file->name);
    *ret = disk_format_probe(head);
    return 0;
}

static int open_format(const struct disk_format *f, struct disk *file, const struct disk_cfg *cfg,
                       struct disk **ret, struct err *e)
{
    struct disk_above self = { .above = cfg->above };
    int r = raw_identity(file, &self.dev, &self.ino);

    if (r < 0)
        r = err_code(e, r, "look at disk '%s'", file->name);
    else
        r = check_chain(&self, file->name, e);
    if (r == 0 && f->readonly && !cfg->readonly)
        r = err_set(e, -EROFS, "disk '%s': images of format %s can only be read here", file->name,
                    f->name);
    if (r < 0) {
        disk_close(file);
        return r;
    }
    return f->open(file, cfg, &self, ret, e);
}

int disk_open(const struct disk_cfg *cfg, struct disk **ret, struct err *e)
{
    const char *name = cfg->format && strcmp(cfg->format, "auto") != 0 ? cfg->format : NULL;
    bool raw = name && strcmp(name, "raw") == 0;
    const struct disk_format *f = name && !raw ? disk_format_find(name) : NULL;
    struct disk_cfg store = *cfg;
    AUTO(disk) struct disk *file = NULL;
    int r;

    if (name && !raw && !f) {
        if (cfg->fd >= 0)
            fd_close(&store.fd);
        return refuse_name(name, e);
    }
    store.store = cfg->store || !raw;
    r = raw_open(&store, &file, e);
    if (r == 0 && !name)
        r = probe(file, &f, e);
    if (r == 0 && cfg->snapshot && f != &qcow2_format)
        r = err_set(e, -EINVAL, "disk '%s': only a qcow2 image has snapshots", file->name);
    if (r < 0)
        return r;
    if (f)
        return open_format(f, TAKE(file), cfg, ret, e);
    if (!cfg->store)
        r = raw_settle(file, !name, e);
    if (r == 0)
        *ret = TAKE(file);
    return r;
}

char *disk_path_beside(const char *image, const char *name)
{
    const char *slash = strrchr(image, '/');
    size_t dir = slash ? (size_t)(slash + 1 - image) : 0, len = strlen(name);
    char *path;

    if (name[0] == '/' || !dir)
        return xdup(name);
    path = alloc_x(1, dir + len + 1);
    memcpy(path, image, dir);
    memcpy(path + dir, name, len + 1);
    return path;
}

/* Names may be of other kinds: "nbd://host", "json:{…}", "fat:dir".  Only plain paths, and "file:" before one, are ours. */
static int plain_name(const char *image, const char **name, struct err *e)
{
    size_t n = strcspn(*name, ":/");

    if ((*name)[n] != ':')
        return 0;
    if (str_starts(*name, "file:")) {
        *name += strlen("file:");
        return 0;
    }
    return err_set(e, -ENOTSUP, "disk '%s' names '%.100s', which is not the path of a file", image,
                   *name);
}

static int open_named(const struct disk_cfg *cfg, const char *name, struct disk_cfg *sub,
                      struct disk **ret, struct err *e)
{
    AUTO(free) char *path = NULL;
    const char *image = cfg->file ? cfg->file : "(handed in)";
    int r = plain_name(image, &name, e);

    if (r < 0)
        return r;
    if (!name[0])
        return err_set(e, -EBADMSG, "disk '%s' names a file without a name", image);
    if (!cfg->file && name[0] != '/')
        return err_set(e, -EINVAL,
                       "a disk handed in without its path names '%.100s' relative to itself", name);
    path = disk_path_beside(cfg->file ? cfg->file : "", name);
    sub->file = path;
    sub->fd = -1;
    sub->cache = cfg->cache;
    sub->engine = cfg->engine;
    sub->share = cfg->share;
    return disk_open(sub, ret, e);
}

/* Another file, which the image names. */
static int check_alone(const struct disk_cfg *cfg, const char *name, struct err *e)
{
    return cfg->alone ? err_set(e, -EPERM,
                                "it names another file, '%.80s', and from there only what is "
                                "complete by itself is taken",
                                name)
                      : 0;
}

int disk_open_backing(const struct disk_cfg *cfg, const struct disk_above *above, const char *name,
                      const char *format, struct disk **ret, struct err *e)
{
    struct disk_cfg sub = { .readonly = true, .format = format, .above = above };
    int r = check_alone(cfg, name, e);

    if (r >= 0)
        r = open_named(cfg, name, &sub, ret, e);

    if (r < 0 && !above->above) /* once is enough for a chain */
        err_wrap(e, "disk '%.60s', backing files", cfg->file ? cfg->file : "(handed in)");
    return r;
}

int disk_open_data(const struct disk_cfg *cfg, const char *name, struct disk **ret, struct err *e)
{
    struct disk_cfg sub = { .readonly = cfg->readonly, .format = "raw", .store = true };
    int r = check_alone(cfg, name, e);

    if (r >= 0)
        r = open_named(cfg, name, &sub, ret, e);

    if (r < 0)
        err_wrap(e, "disk '%.60s', data file", cfg->file ? cfg->file : "(handed in)");
    return r;
}
