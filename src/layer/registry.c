/*
 * layer/registry.c: an image of a registry is fetched by a process that has the network (layer/fetcher.h).
 */
#include "layer/registry.h"

#include "layer/fetcher.h"

static int pull(void *arg, int tell_fd, struct fetcher_told *told, struct err *e)
{
    return registry_pull(arg, tell_fd, told, e);
}

int registry_fetch(const struct registry_cfg *cfg, struct watch *w, struct err *e)
{
    struct registry_cfg copy = *cfg;
    const struct fetcher f = { .dir = cfg->dir, .fn = pull, .arg = &copy };

    return fetcher_run(&f, w, e);
}
