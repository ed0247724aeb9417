/*
 * host/room.c: memory of the host, and what machines took and may still take of it.
 */
#include "host/room.h"

#include "base/proc.h"

#include <stdlib.h>

static int by_pid(const void *a, const void *b)
{
    const struct taken *x = a, *y = b;

    return x->pid < y->pid ? -1 : x->pid > y->pid;
}

int room_read(struct room *ret, struct host *h, struct err *e)
{
    u32 n = 0;

    host_lock(h);
    ret->vm = xnew_n(struct taken, h->n + 1);
    for (u32 k = 0; k < h->n; k++)
        if (host_is_alive(h->list[k]) && h->list[k]->run.pid)
            ret->vm[n++] = (struct taken){ .pid = h->list[k]->run.pid,
                                           .many = h->list[k]->cfg.kind == INSTANCE_OS };
    host_unlock(h);
    for (u32 k = 0; k < n; k++)
        ret->vm[k].bytes =
            ret->vm[k].many ? proc_below(ret->vm[k].pid) : proc_resident(ret->vm[k].pid);
    qsort(ret->vm, n, sizeof(*ret->vm), by_pid);
    ret->n = n;
    return guard_read_host(&ret->host, e);
}

/* One that was started since then has all of its memory before it. */
static u64 taken_by(const struct room *now, const struct instance *i)
{
    const struct taken key = { .pid = i->run.pid };
    const struct taken *t = bsearch(&key, now->vm, now->n, sizeof(key), by_pid);

    return t ? t->bytes : 0;
}

int room_check_locked(const struct room *now, const struct instance *i, u64 memory, struct err *e)
{
    struct host *h = i->host;
    AUTO(free) struct guard_vm *vms = xnew_n(struct guard_vm, h->n);
    u32 n = 0;

    for (u32 k = 0; k < h->n; k++)
        if (h->list[k] != i && host_is_alive(h->list[k]))
            vms[n++] = (struct guard_vm){ h->list[k]->cfg.spec.memory, taken_by(now, h->list[k]) };
    return guard_check(&now->host, vms, n, i->cfg.spec.name, memory, e);
}

void room_fini(struct room *r)
{
    free(TAKE(r->vm));
}
