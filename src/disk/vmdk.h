/*
 * disk/vmdk.h: the parts of the vmdk parser: vmdk.c (extents) and vmdk_text.c (the descriptor).
 */
#pragma once

#include "disk/foreign.h"

enum {
    VMDK_TEXT_MAX = 1024 * 1024, /* bytes of a descriptor */
    VMDK_EXTENTS_MAX = 4096,
    VMDK_NAME_MAX = 255,
};

enum vmdk_extent_kind { VMDK_FLAT, VMDK_SPARSE, VMDK_ZERO };

struct vmdk_extent {
    enum vmdk_extent_kind kind;
    u64 len;                      /* bytes */
    u64 at;                       /* FLAT: in its file, bytes */
    char name[VMDK_NAME_MAX + 1]; /* beside the descriptor, no path; "" for ZERO */
};

struct vmdk_text {
    char type[32];               /* "createType" */
    struct vmdk_extent *extents; /* owned */
    u32 n, room;
};

/* `text` is changed: it is cut into words.  It need not end with a zero.  Finish with vmdk_text_fini, also on failure. */
int vmdk_text_parse(char *text, size_t len, struct vmdk_text *ret, struct err *e);
void vmdk_text_fini(struct vmdk_text *t);
