/*
 * disk/foreign.c: opens images of the formats of others as disks that can be read.
 */
#include "disk/foreign.h"

#include "base/endian.h"

#include <stdlib.h>
#include <strings.h>

static struct foreign *foreign_of(struct disk *d)
{
    return container_of(d, struct foreign, disk);
}

static int foreign_map(struct disk *d, u64 offset, u64 len, struct disk_extent *ret, struct err *)
{
    const struct layout *l = &foreign_of(d)->layout;
    struct layout_run run;

    layout_map(l, offset, len, &run);
    ret->kind = run.kind == LAYOUT_ZERO ? DISK_MAP_ZERO : DISK_MAP_DATA;
    ret->len = run.len;
    ret->compressed = run.kind == LAYOUT_PACKED;
    ret->allocated = run.kind != LAYOUT_ZERO;
    if (run.kind == LAYOUT_DATA) {
        ret->where = l->files[run.file];
        ret->at = run.at;
    }
    return 0;
}

static void foreign_close(struct disk *d)
{
    struct foreign *f = foreign_of(d);

    layout_fini(&f->layout);
    free(f);
}

static int open_beside(void *arg, const char *name, struct disk **ret, struct err *e)
{
    return disk_open_data(arg, name, ret, e);
}

static int parse_vmdk(struct layout *l, const struct disk_cfg *cfg, struct err *e)
{
    struct disk_cfg copy = *cfg;

    return vmdk_parse(l, open_beside, &copy, e);
}

static int parse_vdi(struct layout *l, const struct disk_cfg *, struct err *e)
{
    return vdi_parse(l, e);
}

static int parse_vhd(struct layout *l, const struct disk_cfg *, struct err *e)
{
    return vhd_parse(l, e);
}

static int parse_vhdx(struct layout *l, const struct disk_cfg *, struct err *e)
{
    return vhdx_parse(l, e);
}

static int open_image(struct disk *file, const struct disk_cfg *cfg, const struct disk_ops *ops,
                      int (*parse)(struct layout *l, const struct disk_cfg *cfg, struct err *e),
                      struct disk **ret, struct err *e)
{
    struct foreign *f = xnew(struct foreign);
    int r;

    f->disk.ops = ops;
    f->disk.readonly = true;
    f->disk.block = file->block;
    str_copy(f->disk.name, sizeof(f->disk.name), file->name);
    r = layout_add_file(&f->layout, file, e);
    if (r >= 0)
        r = parse(&f->layout, cfg, e);
    if (r < 0) {
        err_wrap(e, "disk '%s' as %s", f->disk.name, ops->format);
        foreign_close(&f->disk);
        return r;
    }
    f->disk.size = f->layout.size;
    *ret = &f->disk;
    return 0;
}

static bool vdi_probe(const u8 head[DISK_SECTOR])
{
    return le_load(head + 0x40, 4) == 0xbeda107f;
}

static bool vhd_probe(const u8 head[DISK_SECTOR])
{
    return memcmp(head, "conectix", 8) == 0;
}

static bool vhdx_probe(const u8 head[DISK_SECTOR])
{
    return memcmp(head, "vhdxfile", 8) == 0;
}

static bool vmdk_probe(const u8 head[DISK_SECTOR])
{
    static const char text[] = "# Disk DescriptorFile";

    return memcmp(head, "KDMV", 4) == 0 || memcmp(head, "COWD", 4) == 0 ||
           strncasecmp((const char *)head, text, sizeof(text) - 1) == 0;
}

/* What differs between the formats is the parser; a disk's ops name it. */
#define FORMAT(f, other)                                                                          \
    static const struct disk_ops f##_ops = {                                                      \
        .format = #f,                                                                             \
        .close = foreign_close,                                                                   \
        .queue_open = foreign_queue_open,                                                         \
        .queue_close = foreign_queue_close,                                                       \
        .submit = foreign_submit,                                                                 \
        .kick = foreign_kick,                                                                     \
        .wait = foreign_wait,                                                                     \
        .map = foreign_map,                                                                       \
    };                                                                                            \
    static int f##_open(struct disk *file, const struct disk_cfg *cfg, const struct disk_above *, \
                        struct disk **ret, struct err *e)                                         \
    {                                                                                             \
        return open_image(file, cfg, &f##_ops, parse_##f, ret, e);                                \
    }                                                                                             \
    const struct disk_format f##_format = {                                                       \
        .name = #f, .alias = other, .probe = f##_probe, .open = f##_open, .readonly = true        \
    };

FORMAT(vdi, NULL)
FORMAT(vhd, "vpc") /* Virtual PC's */
FORMAT(vhdx, NULL)
FORMAT(vmdk, NULL)
