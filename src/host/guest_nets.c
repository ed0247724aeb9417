/*
 * host/guest_nets.c: see guest_nets.h.
 */
#include "host/guest_nets.h"

#include "base/clock.h"
#include "host/agent_nets.h"
#include "host/guest_turn.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static_assert(TOLD_MAX == SPEC_NETS_MAX * AGENT_CARD_ADDRESSES, "all that is kept is recorded");

/* What is asked of one guest, while the host's lock is not held. */
struct question {
    struct guest_turn turn;
    char id[24];
    u32 pid;
    u32 n;
    struct agent_card cards[SPEC_NETS_MAX];
};

/* ---- what is known ---- */

/* What it said is of the process that it has now. */
static bool is_told(const struct instance *i)
{
    return host_is_alive(i) && i->told.pid && i->told.pid == i->run.pid;
}

static void add_given(const struct instance *i, json_t *list)
{
    for (u32 k = 0; k < i->cfg.spec.nets.n; k++) {
        const char *address = spec_net(&i->cfg.spec, k)->address;

        if (address)
            json_array_append_new(list, json_string(address));
    }
}

json_t *guest_nets_print_locked(const struct instance *i)
{
    json_t *list = json_array();

    if (i->cfg.kind == INSTANCE_OS && host_is_alive(i))
        add_given(i, list);
    for (u32 k = 0; is_told(i) && k < i->told.addresses.n; k++)
        json_array_append_new(list, json_string(i->told.addresses.items[k]));
    return list;
}

/* `now` moves, unless it cannot be recorded. */
static void note_locked(struct instance *i, struct told_rec *now)
{
    struct host_change c = {};
    struct err e = {};

    host_change_put(&c, host_change_key(&c, "addresses", i->id), conf_print(told_fields, now));
    if (host_change_do(i->host, &c, NULL, &e) < 0) {
        log_warn("record the addresses of '%s': %s", i->cfg.spec.name, e.text);
        return;
    }
    conf_fini(told_fields, &i->told);
    i->told = *now;
    *now = (struct told_rec){};
}

static bool is_same(const struct told_rec *a, const struct told_rec *b)
{
    bool same = a->pid == b->pid && a->addresses.n == b->addresses.n;

    for (u32 k = 0; same && k < a->addresses.n; k++)
        same = strcmp(a->addresses.items[k], b->addresses.items[k]) == 0;
    return same;
}

static void learn_locked(struct instance *i, const struct question *q)
{
    const struct field *f = conf_field_at(told_fields, offsetof(struct told_rec, addresses));
    struct told_rec now = { .pid = q->pid };

    for (u32 k = 0; k < q->n; k++)
        for (u32 a = 0; a < q->cards[k].n; a++)
            must(conf_strs_add(f, &now, q->cards[k].address[a]));
    if (!is_same(&i->told, &now))
        note_locked(i, &now);
    conf_fini(told_fields, &now);
    i->look.silent = 0;
    i->look.next_ns = clock_mono_ns() + GUEST_NETS_FRESH * NSEC_PER_SEC;
}

static void miss_locked(struct instance *i, u32 pid)
{
    const u32 doubled = min(i->look.silent, 10u); /* far beyond the last */
    const u64 wait = min((u64)GUEST_NETS_AGAIN_FIRST << doubled, (u64)GUEST_NETS_AGAIN_LAST);

    i->look.silent++;
    i->look.next_ns = clock_mono_ns() + wait * NSEC_PER_SEC;
    if (i->look.silent >= GUEST_NETS_FORGET && is_told(i) && i->told.addresses.n)
        note_locked(i, &(struct told_rec){ .pid = pid });
}

/* ---- the thread ---- */

static bool can_be_asked(const struct instance *i)
{
    return i->run.state == HOST_RUNNING && i->run.pid && i->cfg.kind != INSTANCE_OS;
}

static bool has_card(const struct instance *i)
{
    for (u32 k = 0; k < i->cfg.spec.nets.n; k++)
        if (spec_net(&i->cfg.spec, k)->mac)
            return true;
    return false;
}

/* That was asked before all others that are to be asked; NULL: none is. */
static struct instance *next_locked(struct host *h)
{
    struct instance *next = NULL;

    for (u32 k = 0; k < h->n; k++) {
        struct instance *i = h->list[k];

        if (i->look.wanted && !can_be_asked(i))
            i->look.wanted = false;
        if (i->look.wanted && (!next || i->look.next_ns < next->look.next_ns))
            next = i;
    }
    return next;
}

static void prepare_locked(struct question *q, const struct instance *i)
{
    *q = (struct question){ .pid = i->run.pid };
    str_copy(q->id, sizeof(q->id), i->id);
    guest_turn_open_locked(&q->turn, i, i->host->looks.stop[0]);
    for (u32 k = 0; k < i->cfg.spec.nets.n; k++) {
        const char *mac = spec_net(&i->cfg.spec, k)->mac;

        if (mac && spec_mac(mac, q->cards[q->n].mac) == 0)
            q->n++;
    }
}

static int ask(struct question *q, struct err *e)
{
    const u64 until = clock_mono_ns() + GUEST_NETS_SECONDS * NSEC_PER_SEC;
    json_t *ret = guest_turn_ask(&q->turn, "guest-network-get-interfaces", NULL, until, e);
    int r = ret ? agent_nets(ret, q->cards, q->n, e) : e->code;

    json_decref(ret);
    return r;
}

/* The lock is given up meanwhile, so that the instance may be another's or gone then. */
static void ask_locked(struct instance *i)
{
    struct host *h = i->host;
    struct question q;
    struct err e = {};
    int r;

    i->look.wanted = false;
    prepare_locked(&q, i);
    host_unlock(h);
    r = ask(&q, &e);
    host_lock(h);
    guest_turn_close_locked(&q.turn);
    i = host_by_id_locked(h, q.id);
    if (h->closing || !i || i->run.pid != q.pid || !host_is_alive(i))
        return;
    if (r >= 0)
        learn_locked(i, &q);
    else if (r != -EBUSY && r != -ECANCELED)
        miss_locked(i, q.pid);
}

static void *main_of_looks(void *arg)
{
    struct host *h = arg;
    struct instance *i;

    host_lock(h);
    while (!h->closing && (i = next_locked(h)))
        ask_locked(i);
    close(h->looks.stop[0]);
    close(h->looks.stop[1]);
    h->looks.works = false;
    pthread_cond_broadcast(&h->changed);
    host_unlock(h);
    return NULL;
}

/* When that fails, who looks next tries it again. */
static void begin_locked(struct host *h)
{
    pthread_attr_t detached;
    pthread_t thread;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, h->looks.stop) < 0)
        return;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    h->looks.works = pthread_create(&thread, &detached, main_of_looks, h) == 0;
    pthread_attr_destroy(&detached);
    if (!h->looks.works) {
        close(h->looks.stop[0]);
        close(h->looks.stop[1]);
    }
}

void guest_nets_look_locked(struct instance *i)
{
    struct host *h = i->host;

    if (!can_be_asked(i) || !has_card(i) || h->closing)
        return;
    if (i->look.pid != i->run.pid) /* another start: what the last one's agent did counts no more */
        i->look = (struct host_look){ .pid = i->run.pid };
    if (clock_mono_ns() < i->look.next_ns)
        return;
    i->look.wanted = true;
    if (!h->looks.works)
        begin_locked(h);
}

void guest_nets_close(struct host *h)
{
    host_lock(h);
    if (h->looks.works)
        (void)shutdown(h->looks.stop[1], SHUT_RDWR);
    while (h->looks.works)
        pthread_cond_wait(&h->changed, &h->lock);
    host_unlock(h);
}
