/*
 * dev/virtio/vsock.h: the configuration of a virtio socket device.
 * The host's side are unix sockets: what listens at PATH_<port> is port <port> of the host; a program that connects to PATH and
 * sends "CONNECT <port>\n" gets "OK <its own port>\n" when the guest's port accepted, and is connected to it.
 */
#pragma once

#include "base/base.h"

#include "conf/conf.h"
#include "dev/dev.h"

struct vsock_cfg {
    u32 cid;    /* the guest's context id; 3 and more */
    char *path; /* PATH; NULL: nobody reaches anybody */
};

extern const struct field vsock_fields[];
extern const struct device_def virtio_vsock_def;
