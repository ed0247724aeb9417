/*
 * disk/shorten.h: an image leaves the chain below a disk that is in use.
 *
 *     head ──> above ──> out ──> below        shorten_open; shorten_fill, when `above` is the head
 *     head ──> above ──────────> below        shorten_cut (nothing is under way), new queues, shorten_keep ──> old queues, shorten_close
 *                                                 └─ shorten_mend: it was not to be
 *   (1) What `above` reads out of `out` is its own before the cut.  The head is written here, so it is filled here; the file of another image
 *       was filled by who asks, beside its readers, and is opened anew.
 *   (2) A queue leads to the chain that was there when it was opened: those of before the cut are closed before shorten_close.
 */
#pragma once

#include "disk/overlay.h"

struct shorten {
    struct disk *head, *above, *out;
    struct disk *parent; /* what builds on `above`; NULL: `above` is the head */
    struct disk *anew;   /* `above` as its file is by now; NULL: `above` is the head */
    bool cut;
};

/* -ENOENT: nothing in the chain builds on `out`.  Finish with shorten_close, also after a failure. */
int shorten_open(struct shorten *c, struct disk *head, const struct overlay_file *out,
                 struct err *e);
/* Is there something to do for shorten_fill? */
static inline bool shorten_fills(const struct shorten *c)
{
    return !c->anew;
}

struct shorten_fill {
    struct disk_queue *q; /* of the head, on a loop that this thread drives by waiting */
    atomic_ullong done;   /* bytes that were looked at */
    atomic_bool cancel;
};
/* From any thread, while others use the disk.  -ECANCELED: what was filled so far stays so, and harms nobody. */
int shorten_fill(const struct shorten *c, struct shorten_fill *f, struct err *e);

void shorten_cut(struct shorten *c);
/* Has the head's header name what is below now; synced.  Nothing is under way. */
int shorten_keep(struct shorten *c, struct err *e);
void shorten_mend(struct shorten *c);
void shorten_close(struct shorten *c);
