/*
 * disk/format.h: the formats that disk_open knows, and what each of them says of itself.
 */
#pragma once

#include "disk/disk.h"

struct disk_format {
    const char *name;  /* as in --disk FILE,format=NAME and in an image's backing format */
    const char *alias; /* what others call it, and so its name inside images; NULL: the same */
    /* Is this how the format's files begin?  By the first sector alone, so that a guest's write can be judged before it is done. */
    bool (*probe)(const u8 head[DISK_SECTOR]);
    /*
     * Takes `file`, a store opened as cfg says, also on failure.  `path` is what messages and relative names go by; `above` is this
     * image, for the chain below it.
     */
    int (*open)(struct disk *file, const struct disk_cfg *cfg, const struct disk_above *above,
                struct disk **ret, struct err *e);
    bool readonly; /* can be read only: opened for writing, it is refused */
};

extern const struct disk_format qcow2_format;

/* By name; NULL: unknown. */
const struct disk_format *disk_format_find(const char *name);
/* How a format (NULL is harmless) is called inside an image, where others will read it. */
const char *disk_format_written(const char *name);
/* By the first sector; NULL: like nothing we know. */
const struct disk_format *disk_format_probe(const u8 head[DISK_SECTOR]);

/*
 * Opens the file that the image `cfg->file` calls `name` (at most DISK_NAME_MAX bytes, zero at the end): relative names start in
 * the folder of the image.  Read-only and locked shared when it is a `backing`; else with the image's own rights, as a raw
 * store.  `format` as in disk_cfg.
 */
int disk_open_backing(const struct disk_cfg *cfg, const struct disk_above *above, const char *name,
                      const char *format, struct disk **ret, struct err *e);
int disk_open_data(const struct disk_cfg *cfg, const char *name, struct disk **ret, struct err *e);
/* The path meant by `name` inside the image at `image`: owned, never NULL. */
char *disk_path_beside(const char *image, const char *name);
