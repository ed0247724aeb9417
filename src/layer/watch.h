/*
 * layer/watch.h: how far an import is, and whether it shall end.
 */
#pragma once

#include "base/base.h"

#include <signal.h>

struct watch {
    u64 done, total;                /* bytes of packed layers */
    void (*tell)(struct watch *w);  /* after each piece; NULL: nobody is told */
    volatile sig_atomic_t canceled; /* set by whoever wants it to end, also in a handler */
    u64 told_ns;                    /* of `tell` */
};

/* `n` more bytes are done.  -ECANCELED with `e` when it shall end. */
static inline int watch_step(struct watch *w, u64 n, struct err *e)
{
    if (!w)
        return 0;
    w->done += n;
    if (w->tell)
        w->tell(w);
    return w->canceled ? err_set(e, -ECANCELED, "canceled") : 0;
}
