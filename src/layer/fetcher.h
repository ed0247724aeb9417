/*
 * layer/fetcher.h: a child that has the network and nothing else: it reads the files that name resolution and TLS need, writes into one
 * folder, and where root starts it is nobody.
 */
#pragma once

#include "layer/watch.h"

/* What the child tells its parent: how far it is, and what failed. */
struct fetcher_told {
    u64 done, total; /* bytes */
    u64 more;        /* that are to be done with what comes */
    struct err err;
};

struct fetcher {
    int dir; /* the folder */
    /* In the child.  `told` goes to `tell_fd` whenever it changes. */
    int (*fn)(void *arg, int tell_fd, struct fetcher_told *told, struct err *e);
    void *arg;
};
/* Starts the child and waits for it; `w` tells how far it is, and ends it when it is canceled. */
int fetcher_run(const struct fetcher *f, struct watch *w, struct err *e);
