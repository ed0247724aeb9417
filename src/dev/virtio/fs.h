/*
 * dev/virtio/fs.h: the configuration of a shared folder's device.
 */
#pragma once

#include "base/base.h"

#include "conf/conf.h"
#include "dev/dev.h"

enum { FS_TAG_MAX = 36 };

struct fs_cfg {
    char *tag;
    u32 link; /* to the folder's server (share/link.h), which the device owns from then on; 0: nobody serves */
    u32 files; /* that the guest may have open, as the server was told */
};

/* 1 to FS_TAG_MAX bytes that a mount command can name. */
bool fs_tag_ok(const char *s);

extern const struct field fs_fields[];
extern const struct device_def virtio_fs_def;
