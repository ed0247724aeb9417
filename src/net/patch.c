/*
 * net/patch.c: frames from one backend to another.
 */
#include "net/patch.h"

enum { BURST = 64 }; /* frames before the loop looks at what else there is */

static void on_readable(void *arg, u16)
{
    const struct patch_end *from = arg;
    struct patch *p = from->patch;
    const struct patch_end *to = &p->end[from == &p->end[0]];
    ssize_t n = 0;

    for (u32 i = 0; i < BURST && n >= 0; i++) {
        struct iovec iov = { p->frame, sizeof(p->frame) };

        n = net_recv(from->b, 0, &iov, 1);
        iov.iov_len = n > 0 ? (size_t)n : 0;
        if (n > NET_HDR)
            (void)net_send(to->b, 0, &iov, 1); /* what is not taken is lost, as on any cable */
    }
}

static int plug(struct patch_end *x, struct loop *l)
{
    const struct net_sink sink = { on_readable, x };
    int r = net_start(x->b, l, &sink);

    if (r < 0)
        return r;
    net_watch(x->b, 0, true);
    return 0;
}

int patch_plug(struct patch *p, struct loop *l, struct net_backend *a, struct net_backend *b)
{
    int r;

    *p = (struct patch){ .end = { { p, a }, { p, b } } };
    r = plug(&p->end[0], l);
    if (r < 0)
        return r;
    r = plug(&p->end[1], l);
    if (r < 0)
        net_stop(a);
    return r;
}

void patch_unplug(struct patch *p)
{
    for_each_row(x, p->end)
        net_stop(x->b);
}
