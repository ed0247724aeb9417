/*
 * net/patch.h: a cable between two backends: what one receives, the other sends.
 */
#pragma once

#include "net/net.h"

struct patch;

struct patch_end {
    struct patch *patch;
    struct net_backend *b;
};

/* The caller's memory; must not move while it is plugged. */
struct patch {
    struct patch_end end[2];
    u8 frame[NET_FRAME_MAX];
};

/* Both are borrowed, and on the loop until patch_unplug.  Frames go one by one: neither side has offloads.  0 or a negative errno. */
int patch_plug(struct patch *p, struct loop *l, struct net_backend *a, struct net_backend *b);
void patch_unplug(struct patch *p);
