/*
 * host/again.c: what the host provides to a machine that goes on from a saved state.
 */
#include "host/again.h"

#include <stdlib.h>
#include <sys/random.h>

void again_move(char **to, char **from)
{
    free(*to);
    *to = TAKE(*from);
}

int again_take_disks(struct vm_spec *s, struct vm_spec *now, struct err *e)
{
    if (now->disks.n && now->disks.n != s->disks.n)
        return err_set(e, -EINVAL, "%u disks are given; the saved machine has %u", now->disks.n,
                       s->disks.n);
    for (u32 i = 0; i < now->disks.n; i++) {
        again_move(&spec_disk(s, i)->file, &spec_disk(now, i)->file);
        spec_disk(s, i)->cache = spec_disk(now, i)->cache;
    }
    return 0;
}

/* Of a card that was given: its host's side, and its address if there is one. */
static void take_net(struct vm_net *to, struct vm_net *from)
{
    struct field_list forward = to->forward;

    to->kind = from->kind;
    again_move(&to->tap, &from->tap);
    again_move(&to->network, &from->network);
    if (from->mac)
        again_move(&to->mac, &from->mac);
    to->forward = from->forward;
    from->forward = forward; /* freed with the rest */
}

int again_take_nets(struct vm_spec *s, struct vm_spec *now, struct err *e)
{
    if (now->nets.n && now->nets.n != s->nets.n)
        return err_set(e, -EINVAL, "%u network cards are given; the saved machine has %u",
                       now->nets.n, s->nets.n);
    for (u32 i = 0; i < s->nets.n; i++) {
        bool own = now->nets.n && spec_net(now, i)->mac;
        u8 r[3];

        if (now->nets.n)
            take_net(spec_net(s, i), spec_net(now, i));
        if (own || !now->restore.clone)
            continue;
        must(getrandom(r, sizeof(r), 0) == sizeof(r));
        free(spec_net(s, i)->mac);
        spec_net(s, i)->mac = str_new("52:54:00:%02x:%02x:%02x", r[0], r[1], r[2]);
    }
    return 0;
}

/* Whether there is a port the guest has seen; what is behind it is the host's. */
static void take_agent(struct vm_spec *s, struct vm_spec *now)
{
    if (s->agent && now->agent)
        again_move(&s->agent, &now->agent);
    else if (s->agent) {
        free(s->agent);
        s->agent = xdup("none");
    }
}

void again_take_process(struct vm_spec *s, struct vm_spec *now)
{
    again_move(&s->console.backend, &now->console.backend);
    if (now->console.log)
        again_move(&s->console.log, &now->console.log);
    again_move(&s->control, &now->control);
    take_agent(s, now);
    again_move(&s->gdb.listen, &now->gdb.listen);
    again_move(&s->cache_dir, &now->cache_dir);
    again_move(&s->restore.file, &now->restore.file);
    s->gdb.wait = now->gdb.wait;
    s->restore.clone = now->restore.clone;
    s->restore.force = now->restore.force;
    s->uid = now->uid;
    s->no_jail = now->no_jail;
    s->verbose = now->verbose;
    s->prealloc = now->prealloc;
    s->jit = now->jit;
    s->engine_check = now->engine_check;
}

int again_merge(struct vm_spec *s, struct vm_spec *now, struct err *e)
{
    int r = again_take_disks(s, now, e);

    if (r >= 0)
        r = again_take_nets(s, now, e);
    if (r < 0)
        return r;
    again_take_process(s, now);
    again_move(&s->name, &now->name);
    again_move(&s->uuid, &now->uuid);
    again_move(&s->vsock.path, &now->vsock.path);
    s->engine = now->engine;
    return spec_check(s, e);
}
