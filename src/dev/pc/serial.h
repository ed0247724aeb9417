/*
 * dev/pc/serial.h: the serial port: a 16550A.
 */
#pragma once

#include "base/base.h"

struct serial_cfg {
    u16 base; /* the first of 8 ports */
    u32 gsi;
    char *backend; /* dev/console.h */
    char *log;     /* NULL: none */
};

extern const struct device_def serial_def; /* cfg: serial_cfg */

/* The path of the pseudo-terminal that is the other end, NULL when it is something else. */
struct device;
const char *serial_pty(struct device *d);
