/*
 * os/mend.c: when processes beside a container are started again.
 */
#include "os/mend.h"

#include "base/clock.h"
#include "os/os.h"

/* What ends within LASTS of its start is tried again after twice the time. */
enum { WAIT_MIN_MS = 50, WAIT_MAX_MS = 10000, LASTS_MS = 30000 };

static void on_timer(uv_timer_t *t)
{
    struct os *o = t->data;
    struct err e = {};

    if (os_mend_now(o, &e) >= 0)
        return;
    log_warn("%s", e.text);
    os_mend_later(o);
}

int os_mend_open(struct os *o, struct err *e)
{
    int r = uv_timer_init(&o->loop.uv, &o->mend.timer);

    o->mend.timer.data = o;
    return r < 0 ? err_code(e, r, "make a timer") : 0;
}

int os_mend_now(struct os *o, struct err *e)
{
    int r = view_fs_start(&o->view, o->spec, e);

    for (u32 i = 0; i < o->spec->nets.n; i++) {
        struct err why = {};

        if (os_user_net_start(&o->user_net[i], os_net(o->spec, i), &why) >= 0)
            continue;
        if (r >= 0)
            r = err_set(e, why.code, "%s", why.text);
    }
    return r;
}

void os_mend_later(struct os *o)
{
    struct os_mend *m = &o->mend;
    const u64 now = clock_mono_ns();

    if (uv_is_active((uv_handle_t *)&m->timer))
        return;
    m->wait_ms = now - m->last_ns > LASTS_MS * NSEC_PER_MSEC
                     ? 0
                     : min(max(2 * m->wait_ms, (u64)WAIT_MIN_MS), (u64)WAIT_MAX_MS);
    m->last_ns = now;
    (void)uv_timer_start(&m->timer, on_timer, m->wait_ms, 0);
}
