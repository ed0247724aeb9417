/*
 * host/schedule.c: when machines are started by themselves.
 *   (1) One timer, for the earliest of them; none when there is none.  It is of the loop's thread; others wake that (schedule_look).
 *   (2) start_at stays until the machine runs, so that who is killed in between tries again.
 *   (3) An instance that is busy when it is due waits for the end of its task.
 */
#include "host/schedule.h"

#include "base/clock.h"

#include <stdlib.h>

/* Record boot. */
struct boot_rec {
    char *id; /* host_boot_id */
};

static const struct field boot_fields[] = {
    FIELD_STR(boot_rec, id, "the start of the host for which machines were planned last"),
    {},
};

enum { BOOT_AT_ONCE = 10 /* records of one transaction */ };

static u64 now_seconds(void)
{
    return clock_real_ns() / NSEC_PER_SEC;
}

u32 schedule_after(const struct instance_cfg *c, const struct schedule_end *end, u32 *ret_restarts)
{
    const u32 before = end->ran >= SCHEDULE_CALM ? 0 : end->restarts;

    if (c->restart == RESTART_NO || (c->restart == RESTART_ON_FAILURE && !end->failed) ||
        (c->restart_limit && before >= c->restart_limit))
        return 0;
    *ret_restarts = before + 1;
    return before < 9 ? min(1u << before, (u32)SCHEDULE_DELAY_MAX) : SCHEDULE_DELAY_MAX;
}

void schedule_ended_locked(struct instance *i, bool failed, u64 ran)
{
    const struct schedule_end end = { failed, ran, i->run.restarts };
    const u32 delay = schedule_after(&i->cfg, &end, &i->run.restarts);

    i->run.start_at = delay ? now_seconds() + delay : 0;
    if (delay)
        log_notice("machine '%s' is started again in %u s (%u)", i->cfg.spec.name, delay,
                   i->run.restarts);
    schedule_look(i->host);
}

void schedule_not_started_locked(struct instance *i, bool failed)
{
    i->run.start_at = 0;
    if (failed)
        schedule_ended_locked(i, true, 0);
}

/* ---- with the host ---- */

static int by_order(const void *a, const void *b)
{
    const struct instance *x = *(struct instance *const *)a, *y = *(struct instance *const *)b;

    if (x->cfg.autostart_order != y->cfg.autostart_order)
        return x->cfg.autostart_order < y->cfg.autostart_order ? -1 : 1;
    return strcmp(x->cfg.spec.name, y->cfg.spec.name);
}

static int by_time(const void *a, const void *b)
{
    const struct instance *x = *(struct instance *const *)a, *y = *(struct instance *const *)b;

    if (x->run.start_at != y->run.start_at)
        return x->run.start_at < y->run.start_at ? -1 : 1;
    return by_order(a, b);
}

/* Those that a rule takes, in order; owned. */
static struct instance **choose(struct host *h, bool (*which)(const struct instance *i),
                                int (*order)(const void *a, const void *b), u32 *ret_n)
{
    struct instance **list = xnew_n(struct instance *, h->n + 1);
    u32 n = 0;

    for (u32 i = 0; i < h->n; i++)
        if (which(h->list[i]))
            list[n++] = h->list[i];
    qsort(list, n, sizeof(list[0]), order);
    *ret_n = n;
    return list;
}

static bool starts_with_host(const struct instance *i)
{
    return i->cfg.autostart && !i->cfg.template && !host_is_alive(i) && !i->task;
}

static int record(struct host *h, struct instance **list, u32 n, struct err *e)
{
    struct host_change c = {};

    for (u32 i = 0; i < n; i++)
        host_change_run(&c, list[i], &list[i]->run);
    return host_change_do(h, &c, NULL, e);
}

static int plan_boot_locked(struct host *h, struct err *e)
{
    u32 n;
    AUTO(free) struct instance **list = choose(h, starts_with_host, by_order, &n);
    u64 at = now_seconds();
    int r = 0;

    for (u32 i = 0; i < n; i++) {
        list[i]->run.start_at = at;
        list[i]->run.restarts = 0;
        at += list[i]->cfg.autostart_delay;
    }
    for (u32 i = 0; i < n && r >= 0; i += BOOT_AT_ONCE)
        r = record(h, list + i, min(n - i, (u32)BOOT_AT_ONCE), e);
    schedule_look(h);
    return r;
}

/* Is it the start for which machines were planned last? */
static bool is_planned_locked(struct host *h, const char *boot)
{
    AUTO(store_rec) struct store_rec rec = {};
    struct boot_rec was = {};
    bool same;

    if (store_get(h->store, "boot", &rec, NULL) < 0)
        return false;
    same = conf_parse_text(boot_fields, &was, rec.value, rec.len, NULL) >= 0 && was.id &&
           strcmp(was.id, boot) == 0;
    conf_fini(boot_fields, &was);
    return same;
}

/* That it is planned is noted after it was: a kill in between plans once more. */
void schedule_look_at_boot_locked(struct host *h)
{
    struct boot_rec rec = {};
    struct host_change c = {};
    char boot[HOST_BOOT_ID];
    struct err e = {};
    int r = host_boot_id(boot, &e);

    if (r >= 0 && is_planned_locked(h, boot))
        return;
    if (r >= 0)
        r = plan_boot_locked(h, &e);
    if (r >= 0) {
        rec.id = boot;
        host_change_put(&c, "boot", conf_print(boot_fields, &rec));
        r = host_change_do(h, &c, NULL, &e);
    }
    if (r < 0)
        log_error("machines that start with the host: %s", e.text);
}

/* ---- the timer ---- */

static bool is_waiting(const struct instance *i)
{
    return i->run.start_at && !host_is_alive(i) && !i->task;
}

static bool is_due(const struct instance *i)
{
    return is_waiting(i) && i->run.start_at <= now_seconds();
}

/* Not even a task: it is tried later, or not any more. */
static void refused_locked(struct instance *i)
{
    struct host_change c = {};
    struct err e = {};

    schedule_not_started_locked(i, true);
    host_change_run(&c, i, &i->run);
    if (host_change_do(i->host, &c, NULL, &e) < 0)
        log_error("%s", e.text);
}

static void start(struct host *h, const char *name)
{
    const struct host_action a = { .what = TASK_START, .by_itself = true };
    const struct host_who who = { .uid = h->uid };
    struct instance *i;
    struct err e = {};
    u64 task;

    if (host_act(h, name, &a, &who, &task, &e) >= 0)
        return;
    log_warn("start '%s': %s", name, e.text);
    host_lock(h);
    i = host_find_locked(h, name);
    if (i && is_waiting(i))
        refused_locked(i);
    host_unlock(h);
}

static void start_due(struct host *h)
{
    AUTO(free) struct instance **list = NULL;
    AUTO(free) char **names = NULL;
    u32 n;

    host_lock(h);
    list = choose(h, is_due, by_time, &n);
    names = xnew_n(char *, n + 1);
    for (u32 i = 0; i < n; i++)
        names[i] = xdup(list[i]->cfg.spec.name);
    host_unlock(h);
    for (u32 i = 0; i < n; i++) {
        start(h, names[i]);
        free(names[i]);
    }
}

static void on_timer(uv_timer_t *timer);

/* On the loop's thread. */
static void arm(struct host *h)
{
    const u64 now = now_seconds();
    u64 next = ~0ull;

    host_lock(h);
    for (u32 i = 0; i < h->n && h->begun && !h->closing; i++)
        if (is_waiting(h->list[i]))
            next = min(next, h->list[i]->run.start_at);
    host_unlock(h);
    uv_timer_stop(&h->schedule);
    if (next != ~0ull)
        uv_timer_start(&h->schedule, on_timer, next > now ? (next - now) * 1000 : 0, 0);
}

static void on_timer(uv_timer_t *timer)
{
    struct host *h = timer->data;

    start_due(h);
    arm(h);
}

static void on_look(uv_async_t *look)
{
    arm(look->data);
}

void schedule_look(struct host *h)
{
    uv_async_send(&h->look);
}

void schedule_open(struct host *h)
{
    uv_timer_init(&h->loop->uv, &h->schedule);
    uv_async_init(&h->loop->uv, &h->look, on_look);
    h->schedule.data = h->look.data = h;
}
