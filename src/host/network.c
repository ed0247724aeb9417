/*
 * host/network.c: the records of networks: what may be written, and what is asked of them.
 */
#include "host/host.h"
#include "host/nic.h"
#include "net/link.h"

#include <cap-ng.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

/* ---- the list ---- */

u32 network_after_locked(struct host *h, const char *name)
{
    u32 at = 0;

    while (at < h->nets.n && strcmp(h->nets.list[at]->cfg.name, name) <= 0)
        at++;
    return at;
}

struct network *network_find_locked(struct host *h, const char *name)
{
    const u32 at = network_after_locked(h, name);

    return at > 0 && strcmp(h->nets.list[at - 1]->cfg.name, name) == 0 ? h->nets.list[at - 1]
                                                                       : NULL;
}

static void insert(struct host *h, struct network *n)
{
    struct networks *s = &h->nets;
    const u32 at = network_after_locked(h, n->cfg.name);

    if (!s->list)
        s->list = xnew_n(struct network *, NETWORKS_MAX);
    memmove(s->list + at + 1, s->list + at, (s->n - at) * sizeof(*s->list));
    s->list[at] = n;
    s->n++;
}

void network_free(struct network *n)
{
    conf_fini(network_fields, &n->cfg);
    free(n);
}

static void drop(struct host *h, struct network *n)
{
    struct networks *s = &h->nets;
    u32 at = 0;

    while (s->list[at] != n)
        at++;
    memmove(s->list + at, s->list + at + 1, (s->n - at - 1) * sizeof(*s->list));
    s->n--;
    network_free(n);
}

int network_load_locked(struct host *h, const char *id, const char *text, size_t len, u64 rev,
                        struct err *e)
{
    struct network *n = xnew(struct network);
    json_t *j;
    int r = conf_load(text, len, &j, e);

    if (r >= 0) {
        r = network_parse(&n->cfg, j, e);
        json_decref(j);
    }
    if (r >= 0 && h->nets.n == NETWORKS_MAX)
        r = err_set(e, -EBADMSG, "there are more than %d networks", NETWORKS_MAX);
    if (r >= 0 && strcmp(id, n->cfg.name) != 0)
        r = err_set(e, -EBADMSG, "its name is another");
    if (r < 0) {
        network_free(n);
        return r;
    }
    n->rev = rev;
    insert(h, n);
    return 0;
}

json_t *network_print_locked(const struct network *n)
{
    json_t *j = conf_show(network_fields, &n->cfg), *status;
    const char *state = n->up ? "up" : n->why[0] ? "failed" : "starting";

    status = json_pack("{s:s, s:I}", "state", state, "revision", (json_int_t)n->rev);
    if (n->bridge[0])
        json_object_set_new(status, "bridge", json_string(n->bridge));
    if (!n->up && n->why[0])
        json_object_set_new(status, "why", json_string(n->why));
    json_object_set_new(j, "status", status);
    return j;
}

/* ---- ranges ---- */

/* Other networks', and the host's routes. */
static int check_range(struct host *h, struct links *l, const struct network_cfg *c,
                       const struct cidr *range, struct err *e)
{
    int r = 0;

    host_lock(h);
    for (u32 i = 0; i < h->nets.n && r >= 0; i++) {
        const struct network_cfg *o = &h->nets.list[i]->cfg;
        const struct cidr v4 = network_v4(o), v6 = network_v6(o);

        if (strcmp(o->name, c->name) != 0 &&
            (cidr_overlaps(&v4, range) || cidr_overlaps(&v6, range)))
            r = err_set(e, -EEXIST, "its range clashes with network '%s'", o->name);
    }
    host_unlock(h);
    return r < 0 ? r : links_check_range(l, range, c->name, e);
}

/* A range that nobody uses: 10.77.0.1/24, 10.78.0.1/24, and so on. */
static int choose_v4(struct host *h, struct links *l, struct network_cfg *c, struct err *e)
{
    int r = -EEXIST;

    for (u32 k = 0; k < 256 && r == -EEXIST; k++) {
        struct cidr range;

        free(c->ipv4);
        c->ipv4 = str_new("10.%u.0.1/24", (77 + k) % 256);
        range = network_v4(c);
        r = check_range(h, l, c, &range, e);
    }
    return r;
}

/* RFC 4193: forty random bits make it likely that no other site has it. */
static void choose_v6(struct network_cfg *c)
{
    u8 b[5];

    must(getrandom(b, sizeof(b), 0) == sizeof(b));
    c->ipv6 = str_new("fd%02x:%02x%02x:%02x%02x::1/64", b[0], b[1], b[2], b[3], b[4]);
}

static int settle_ranges(struct host *h, struct network_cfg *c, struct err *e)
{
    struct links l = {};
    struct cidr v4 = network_v4(c), v6;
    int r;

    if (!network_is_managed(c))
        return 0;
    r = links_open(&l, e);
    if (r >= 0)
        r = c->ipv4 ? check_range(h, &l, c, &v4, e) : choose_v4(h, &l, c, e);
    if (r == -EEXIST && c->ipv4)
        err_field(e, "ipv4");
    if (!c->ipv6)
        choose_v6(c);
    v6 = network_v6(c);
    if (r >= 0 && v6.family && (r = check_range(h, &l, c, &v6, e)) == -EEXIST)
        err_field(e, "ipv6");
    links_close(&l);
    return r;
}

/* ---- what is asked ---- */

static int check_right(const struct host *h, const struct network_cfg *c, struct err *e)
{
    if (c->kind == NETWORK_USER || h->uid == 0)
        return 0;
    err_set(e, -EPERM, "a %s network needs the socled of root; user is allowed",
            network_kinds[c->kind]);
    return err_field(e, "kind");
}

/* The change of the record, which has revision `rev`, and its task; `to` NULL: it leaves. */
static int record(struct host *h, const char *name, const struct network_cfg *to, u64 rev,
                  struct network_ask *a, struct err *e)
{
    struct task_rec rec = { .what = TASK_NETWORK,
                            .uid = a->uid,
                            .user = a->user ? xdup(a->user) : NULL,
                            .name = xdup(name) };
    struct host_change c = {};
    const char *key = host_change_key(&c, "network", name);

    store_txn_if(&c.txn, key, rev);
    if (to)
        host_change_put(&c, key, conf_print(network_fields, to));
    else
        store_txn_delete(&c.txn, key);
    return host_begin_locked(h, &c, &rec, &a->task, e);
}

static int create_locked(struct host *h, struct network_cfg *cfg, struct network_ask *a,
                         struct err *e)
{
    struct network *n;
    int r = task_room_locked(h, e);

    if (r >= 0 && h->nets.n == NETWORKS_MAX)
        r = err_set(e, -ENOSPC, "there are %u networks; more are not allowed", h->nets.n);
    if (r >= 0 && network_find_locked(h, cfg->name))
        r = err_set(e, -EEXIST, "there is a network '%s'", cfg->name);
    if (r >= 0)
        r = record(h, cfg->name, cfg, 0, a, e);
    if (r < 0)
        return r;
    n = xnew(struct network);
    n->cfg = *cfg;
    n->rev = h->next_rev;
    *cfg = (struct network_cfg){};
    insert(h, n);
    return 0;
}

int network_create(struct host *h, struct network_cfg *cfg, struct network_ask *a, struct err *e)
{
    int r = check_right(h, cfg, e);

    if (r >= 0)
        r = settle_ranges(h, cfg, e);
    if (r < 0)
        return r;
    host_lock(h);
    r = create_locked(h, cfg, a, e);
    host_unlock(h);
    return r;
}

/* NULL, with the reason in `e`: there is none, or it has another revision. */
static struct network *find(struct host *h, const char *name, u64 rev, struct err *e)
{
    struct network *n = network_find_locked(h, name);

    if (!n) {
        err_set(e, -ENOENT, "there is no network '%.63s'", name);
        return NULL;
    }
    if (rev && rev != n->rev) {
        err_set(e, -ESTALE, "'%s' was changed meanwhile: it has revision %llu, not %llu", name,
                n->rev, rev);
        return NULL;
    }
    return n;
}

static bool differ(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) != 0 : a != b;
}

/* What machines' cards were promised stays while there are any. */
static int check_edit(struct host *h, const struct network *n, const struct network_cfg *to,
                      struct err *e)
{
    const struct instance *user = nics_user_locked(h, n->cfg.name);

    if (to->kind != n->cfg.kind)
        return err_set(e, -EINVAL, "'kind' of a network stays");
    if (user && (differ(to->ipv4, n->cfg.ipv4) || differ(to->interface, n->cfg.interface)))
        return err_set(e, -EBUSY, "a card of '%s' is on it: its range and interface stay",
                       user->cfg.spec.name);
    return task_room_locked(h, e);
}

/* `to` was made of revision a->rev, and is moved on success. */
static int edit_locked(struct host *h, struct network_cfg *to, struct network_ask *a, struct err *e)
{
    struct network *n = find(h, to->name, a->rev, e);
    int r = n ? check_edit(h, n, to, e) : e->code;

    if (r >= 0)
        r = record(h, to->name, to, n->rev, a, e);
    if (r < 0)
        return r;
    conf_fini(network_fields, &n->cfg);
    n->cfg = *to;
    n->rev = h->next_rev;
    *to = (struct network_cfg){};
    return 0;
}

/* What it would be; a->rev becomes that of what it was made of. */
static int merge(struct host *h, const char *name, const json_t *changes, struct network_ask *a,
                 struct network_cfg *ret, struct err *e)
{
    const struct network *n;
    json_t *j = NULL;
    int r;

    host_lock(h);
    n = find(h, name, a->rev, e);
    if (n) {
        j = conf_print(network_fields, &n->cfg);
        a->rev = n->rev;
    }
    host_unlock(h);
    if (!j)
        return e->code;
    host_merge(j, changes);
    r = network_parse(ret, j, e);
    json_decref(j);
    if (r >= 0 && strcmp(ret->name, name) != 0)
        r = err_set(e, -EINVAL, "'name' of a network stays");
    return r;
}

int network_edit(struct host *h, const char *name, const json_t *changes, struct network_ask *a,
                 struct err *e)
{
    struct network_cfg to = {};
    int r = merge(h, name, changes, a, &to, e);

    if (r >= 0)
        r = settle_ranges(h, &to, e);
    if (r >= 0) {
        host_lock(h);
        r = edit_locked(h, &to, a, e);
        host_unlock(h);
    }
    conf_fini(network_fields, &to);
    return r;
}

static int delete_locked(struct host *h, const char *name, struct network_ask *a, struct err *e)
{
    const struct instance *user = nics_user_locked(h, name);
    struct network *n = find(h, name, a->rev, e);
    int r = n ? 0 : e->code;

    if (r >= 0 && user)
        r = err_set(e, -EBUSY, "a card of '%s' is on network '%s'", user->cfg.spec.name, name);
    if (r >= 0)
        r = task_room_locked(h, e);
    if (r >= 0)
        r = record(h, name, NULL, n->rev, a, e);
    if (r >= 0)
        drop(h, n);
    return r;
}

int network_delete(struct host *h, const char *name, struct network_ask *a, struct err *e)
{
    int r;

    host_lock(h);
    r = delete_locked(h, name, a, e);
    host_unlock(h);
    return r;
}

/* ---- the default ---- */

const char *network_default(const struct host *h)
{
    const bool possible = h->uid == 0 && capng_get_caps_process() == 0 &&
                          capng_have_capability(CAPNG_EFFECTIVE, CAP_NET_ADMIN) &&
                          access("/dev/net/tun", R_OK | W_OK) == 0 && network_names_program();

    return possible ? NETWORK_DEFAULT : "user";
}

static bool has_default(struct host *h)
{
    bool has;

    host_lock(h);
    has = network_find_locked(h, NETWORK_DEFAULT);
    host_unlock(h);
    return has;
}

int network_need_default(struct host *h, const struct host_who *who, struct err *e)
{
    struct network_ask a = { .uid = who->uid, .user = who->user };
    struct network_cfg cfg = {};
    struct host_rider *rider;
    json_t *j;
    int r;

    if (has_default(h) || strcmp(network_default(h), NETWORK_DEFAULT) != 0)
        return 0; /* who asks for it is told that there is none */
    j = json_pack("{s:s}", "name", NETWORK_DEFAULT);
    r = network_parse(&cfg, j, e);
    json_decref(j);
    rider = host_ride(NULL); /* what was asked comes after it */
    if (r >= 0)
        r = network_create(h, &cfg, &a, e);
    host_ride(rider);
    conf_fini(network_fields, &cfg);
    return r;
}
