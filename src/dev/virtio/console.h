/*
 * dev/virtio/console.h: what the machine asks of a virtio console.
 */
#pragma once

#include "base/base.h"

struct device;

/* Its configuration; `cols` 0: the guest is told no size. */
struct console_cfg {
    char *backend;
    u16 cols, rows;
    char *log; /* NULL: none */
};

/* Tells the guest that its terminal has another size.  Nothing when the console was made without one.  Any thread, without the lock. */
void console_resize(struct device *d, u16 cols, u16 rows);
/* As chardev_pty. */
const char *console_pty(const struct device *d);
