/*
 * vm/save_copy.h: pages of RAM on their way into a state file.
 */
#pragma once

#include "vm/machine.h"

struct save_copy {
    const struct mem *mem;
    int fd;
    bool again;         /* pages may be in the file already: zeroes are written, too */
    atomic_bool cancel; /* any thread */
    atomic_ullong done; /* bytes looked at, any thread */
    u64 pages;          /* written */
};

/* Words of a bitmap of RAM, and how many bits are set. */
u64 save_words(const struct mem *m);
u64 save_count(const struct mem *m, const u64 *pages);

/*
 * Writes the pages of `todo` (NULL: all that are not zero) to their places.  While the guest runs a page may change under it; then it is in
 * the dirty log, and will be written again.  0, -ECANCELED or the errno of a write.
 */
int save_copy(struct save_copy *c, const u64 *todo);
/* Copies of the pages of `todo` for save_write; owned, NULL: no memory, or more than `limit` bytes.  The guest stands still. */
u8 *save_take(const struct mem *m, const u64 *todo, u64 limit);
int save_write(struct save_copy *c, const u64 *todo, const u8 *taken);
