/*
 * layer/work.h: what the program `socle-unpack` does: from its options to the end, with all rights that are given up between.
 */
#pragma once

#include "layer/import.h"

struct work_cfg {
    char *pool, *source, *tag, *remove, *credentials, *fetch, *into;
    u64 most;
    bool clean, allow_devices, force_user_xattr, insecure;
};

extern const struct field work_cfg_fields[];

/* What it did, beside an image. */
struct work_result {
    struct import_image image;
    bool has_image;
    u64 removed; /* directories */
    u64 fetched; /* bytes; not 0: it fetched */
};

/*
 * Opens pool and source, becomes root of a user namespace unless it is root, gives up its other rights, and does one of: import,
 * remove, clean.  Or fetches a file, for which it needs none of these.  Once in a process.  Finish with work_result_fini, also after a failure.
 */
int work_run(const struct work_cfg *cfg, struct watch *w, struct work_result *ret, struct err *e);
void work_result_fini(struct work_result *r);
