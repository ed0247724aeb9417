/*
 * dev/virtio/port.h: what the machine gives a named port.
 */
#pragma once

#include "base/base.h"

/* What qemu-guest-agent opens in the guest. */
#define PORT_GUEST_AGENT "org.qemu.guest_agent.0"

struct port_cfg {
    char *backend, *name;
};
