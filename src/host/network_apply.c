/*
 * host/network_apply.c: makes the host's links, rules and name services what the records say, from whatever they are.
 *   (1) First what shall be is copied (struct wish), then the host is changed without the host's lock, then it is noted how it went.
 *   (2) A bridge is ours when its address is the one that our folder and its own name give.
 *   (3) That the host forwards is switched on by us only when it was off, noted in a file with the host's boot id, and undone with the
 *       last network that needs it.
 */
#include "host/host.h"
#include "host/newfile.h"
#include "host/nic.h"
#include "net/link.h"
#include "net/nft.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct wish_net {
    struct network_cfg cfg; /* a copy */
    char *folder, *names;   /* names NULL: no name service */
    char bridge[IFNAMSIZ];
    int r;
    struct err e;
};

struct wish_tap {
    char name[IFNAMSIZ];
    u32 net; /* its place in `nets` */
    char *rules;
};

struct wish {
    struct host *h;
    struct wish_net nets[NETWORKS_MAX];
    u32 n_nets;
    struct wish_tap *taps;
    u32 n_taps;
    char *rules;
    char table[32];
};

/* ---- what shall be ---- */

static char *folder_of(const struct host *h, const char *name)
{
    return str_new("%s/networks/%s", h->dir, name);
}

static void wish_net(struct wish *w, const struct network *n)
{
    struct wish_net *to = &w->nets[w->n_nets++];

    conf_copy(network_fields, &to->cfg, &n->cfg);
    to->folder = folder_of(w->h, n->cfg.name);
    if (network_is_managed(&n->cfg))
        to->names = network_names_text_locked(w->h, n, to->folder);
}

static void wish_tap(struct wish *w, const struct instance *i, u32 k)
{
    const struct vm_net *card = spec_net(&i->cfg.spec, k);
    struct wish_tap *t = &w->taps[w->n_taps];

    for (t->net = 0; t->net < w->n_nets; t->net++)
        if (card->network && strcmp(w->nets[t->net].cfg.name, card->network) == 0)
            break;
    if (t->net == w->n_nets || w->nets[t->net].cfg.kind == NETWORK_USER)
        return;
    nic_tap_name(i, k, t->name);
    t->rules = network_card_rules(w->table, t->name, card, &w->nets[t->net].cfg);
    w->n_taps++;
}

static struct wish *wish_new(struct host *h)
{
    struct wish *w = xnew(struct wish);
    u32 n = 0;

    w->h = h;
    network_table(h, w->table);
    host_lock(h);
    for (u32 i = 0; i < h->nets.n; i++)
        wish_net(w, h->nets.list[i]);
    for (u32 i = 0; i < h->n; i++)
        n += host_is_alive(h->list[i]) ? h->list[i]->cfg.spec.nets.n : 0;
    w->taps = xnew_n(struct wish_tap, n + 1);
    for (u32 i = 0; i < h->n; i++)
        for (u32 k = 0; host_is_alive(h->list[i]) && k < h->list[i]->cfg.spec.nets.n; k++)
            wish_tap(w, h->list[i], k);
    w->rules = network_rules_locked(h);
    host_unlock(h);
    return w;
}

static void wish_free(struct wish *w)
{
    for (u32 i = 0; i < w->n_nets; i++) {
        conf_fini(network_fields, &w->nets[i].cfg);
        free(w->nets[i].folder);
        free(w->nets[i].names);
    }
    for (u32 i = 0; i < w->n_taps; i++)
        free(w->taps[i].rules);
    free(w->taps);
    free(w->rules);
    free(w);
}

static const struct wish_net *wish_find(const struct wish *w, const char *name)
{
    for (u32 i = 0; i < w->n_nets; i++)
        if (strcmp(w->nets[i].cfg.name, name) == 0)
            return &w->nets[i];
    return NULL;
}

/* ---- what shall not be any more ---- */

static void mac_of(const struct host *h, const char *name, u8 ret[6])
{
    u64 hash = 0xcbf29ce484222325ull; /* FNV-1a */

    for (const char *p = h->dir; *p; p++)
        hash = (hash ^ (u8)*p) * 0x100000001b3ull;
    for (const char *p = name; *p; p++)
        hash = (hash ^ (u8)*p) * 0x100000001b3ull;
    ret[0] = 0x52; /* locally administered */
    ret[1] = 0x55;
    memcpy(ret + 2, &hash, 4);
}

static bool is_our_bridge(const struct host *h, const struct link *k)
{
    u8 mac[6];

    mac_of(h, k->name, mac);
    return k->bridge && memcmp(k->mac, mac, sizeof(mac)) == 0;
}

/* Links that are ours and in no record. */
struct stale {
    const struct wish *w;
    struct strbuf links; /* struct link each */
};

static void find_stale(const struct link *k, void *arg)
{
    struct stale *s = arg;
    bool wanted = false;

    if (is_our_bridge(s->w->h, k))
        wanted = wish_find(s->w, k->name) != NULL;
    else if (nic_is_tap(s->w->h, k->name))
        for (u32 i = 0; i < s->w->n_taps; i++)
            wanted |= strcmp(s->w->taps[i].name, k->name) == 0;
    else
        return;
    if (!wanted)
        strbuf_add_mem(&s->links, k, sizeof(*k));
}

static u32 stale_n(const struct stale *s)
{
    return (u32)(s->links.len / sizeof(struct link));
}

static struct link stale_link(const struct stale *s, u32 i)
{
    struct link k;

    memcpy(&k, s->links.text + i * sizeof(k), sizeof(k));
    return k;
}

static void drop_chains(const struct stale *s)
{
    for (u32 i = 0; i < stale_n(s); i++) {
        const struct link k = stale_link(s, i);
        AUTO(free) char *rules = network_card_rules(s->w->table, k.name, NULL, NULL);

        if (!k.bridge)
            (void)nft_run(rules, NULL); /* who flushed the filter did it for us */
    }
}

static int drop_links(const struct stale *s, struct links *l, struct err *e)
{
    int r = 0;

    for (u32 i = 0; i < stale_n(s) && r >= 0; i++) {
        const struct link k = stale_link(s, i);

        r = links_delete(l, &k, e);
    }
    return r < 0 || !stale_n(s) ? r : links_read(l, e);
}

/* Name services of networks that are gone, or have none any more. */
static void drop_names(const struct wish *w)
{
    AUTO(free) char *path = folder_of(w->h, "");
    DIR *d = opendir(path);
    struct dirent *de;

    while (d && (de = readdir(d))) {
        AUTO(free) char *folder = folder_of(w->h, de->d_name);
        const struct wish_net *n = wish_find(w, de->d_name);

        if (de->d_name[0] == '.' || (n && n->names))
            continue;
        network_names_stop(folder);
        (void)folder_remove(folder, NULL);
    }
    if (d)
        closedir(d);
}

/* ---- settings of the kernel ---- */

static int read_setting(const char *path)
{
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    char c;

    return fd >= 0 && read(fd, &c, 1) == 1 ? c - '0' : -EIO;
}

static int write_setting(const char *path, int value, struct err *e)
{
    const char c = (char)('0' + value);
    AUTO(fd) int fd = -1;

    if (read_setting(path) == value)
        return 0;
    fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd < 0 || write(fd, &c, 1) != 1 ? err_errno(e, "set '%s' to %d", path, value) : 0;
}

static int interface_setting(const char *name, const char *what, int value, struct err *e)
{
    AUTO(free) char *path = str_new("/proc/sys/net/ipv6/conf/%s/%s", name, what);

    return access(path, F_OK) < 0 ? 0 : write_setting(path, value, e); /* a host without IPv6 */
}

/* Have we switched it on, since the host started? */
static bool is_our_doing(const char *mark)
{
    AUTO(fd) int fd = open(mark, O_RDONLY | O_CLOEXEC);
    AUTO(free) char *text = NULL;
    char boot[HOST_BOOT_ID];
    size_t len;

    return fd >= 0 && host_boot_id(boot, NULL) >= 0 && fd_read_whole(fd, 64, &text, &len) >= 0 &&
           len == strlen(boot) && memcmp(text, boot, len) == 0;
}

static int note_doing(const char *mark, struct err *e)
{
    char boot[HOST_BOOT_ID];
    struct newfile f;
    int r = host_boot_id(boot, e);

    if (r < 0)
        return r;
    r = newfile_open(&f, mark, e);
    if (r >= 0 && (r = fd_write_all(f.fd, boot, strlen(boot))) < 0)
        err_code(e, r, "write '%s'", mark);
    if (r >= 0)
        r = newfile_keep(&f, e);
    newfile_fini(&f);
    return r;
}

static int set_forwarding(const struct host *h, const char *path, const char *name, bool want,
                          struct err *e)
{
    AUTO(free) char *mark = str_new("%s/networks/.%s", h->dir, name);
    int r = 0;

    if (want && read_setting(path) == 0) {
        r = note_doing(mark, e);
        return r < 0 ? r : write_setting(path, 1, e);
    }
    if (!want && access(mark, F_OK) == 0) {
        if (is_our_doing(mark))
            r = write_setting(path, 0, e);
        unlink(mark);
    }
    return r;
}

/* A host that forwards IPv6 does not follow routers' advertisements any more: one that lives by them is left alone. */
static bool may_forward_v6(struct links *l)
{
    static const char path[] = "/proc/sys/net/ipv6/conf/all/forwarding";
    static atomic_bool said;
    bool follows = true;

    if (read_setting(path) == 1)
        return true;
    if (links_follows_router(l, &follows, NULL) >= 0 && !follows)
        return true;
    if (!atomic_exchange(&said, true))
        log_notice("networks reach others by IPv4 only: the host has its way out by a router's "
                   "advertisement, which it would not follow any more if it forwarded IPv6");
    return false;
}

static int forwarding(struct wish *w, struct links *l, struct err *e)
{
    bool v4 = false, v6 = false;
    int r;

    for (u32 i = 0; i < w->n_nets; i++) {
        const bool nat = w->nets[i].cfg.kind == NETWORK_NAT;

        v4 |= nat;
        v6 |= nat && network_v6(&w->nets[i].cfg).family;
    }
    r = set_forwarding(w->h, "/proc/sys/net/ipv4/ip_forward", "forward4", v4, e);
    if (r >= 0)
        r = set_forwarding(w->h, "/proc/sys/net/ipv6/conf/all/forwarding", "forward6",
                           v6 && may_forward_v6(l), e);
    return r;
}

/* ---- one network ---- */

static int own_bridge(struct wish *w, struct links *l, struct wish_net *n, struct link *ret,
                      struct err *e)
{
    const char *name = n->cfg.name;
    u8 mac[6];
    int r;

    if (links_find(l, name, ret))
        return is_our_bridge(w->h, ret)
                   ? 0
                   : err_set(e, -EEXIST, "the host has a link '%s' already", name);
    mac_of(w->h, name, mac);
    r = links_add_bridge(l, name, mac, e);
    if (r >= 0)
        r = links_read(l, e);
    if (r >= 0 && !links_find(l, name, ret))
        r = err_set(e, -ENODEV, "bridge '%s' is gone", name);
    return r;
}

static int make_managed(struct wish *w, struct links *l, struct wish_net *n, struct err *e)
{
    const struct cidr v4 = network_v4(&n->cfg), v6 = network_v6(&n->cfg);
    const struct cidr addresses[] = { v4, v6 };
    struct link k;
    int r = own_bridge(w, l, n, &k, e);

    if (r >= 0)
        r = interface_setting(n->cfg.name, "disable_ipv6", !v6.family, e);
    if (r >= 0)
        r = interface_setting(n->cfg.name, "accept_ra", 0, e);
    if (r >= 0)
        r = links_set_addresses(l, &k, addresses, v6.family ? 2 : 1, e);
    if (r >= 0)
        r = links_join(l, &k, 0, e);
    (void)str_copy(n->bridge, sizeof(n->bridge), n->cfg.name);
    return r;
}

/* A bridge of the host is taken as it is; another link becomes a port of a bridge of ours. */
static int make_bridged(struct wish *w, struct links *l, struct wish_net *n, struct err *e)
{
    const char *name = n->cfg.interface;
    bool has_address = false;
    struct link k, bridge;
    int r;

    if (!links_find(l, name, &k))
        return err_set(e, -ENODEV, "the host has no link '%s'", name);
    if (k.bridge) {
        (void)str_copy(n->bridge, sizeof(n->bridge), name);
        return 0;
    }
    r = own_bridge(w, l, n, &bridge, e);
    if (r >= 0 && k.master != bridge.index)
        r = links_has_address(l, &k, &has_address, e);
    if (r >= 0 && (has_address || (k.master && k.master != bridge.index)))
        r = err_set(e, -EBUSY,
                    "link '%s' %s: make a bridge of it, with its addresses, and give that one's "
                    "name",
                    name, has_address ? "has addresses" : "is a port of another");
    if (r >= 0)
        r = interface_setting(n->cfg.name, "disable_ipv6", 1, e); /* the host is not on it */
    if (r >= 0)
        r = links_join(l, &k, bridge.index, e);
    if (r >= 0)
        r = links_join(l, &bridge, 0, e);
    (void)str_copy(n->bridge, sizeof(n->bridge), n->cfg.name);
    return r;
}

static int make_net(struct wish *w, struct links *l, struct wish_net *n, struct err *e)
{
    if (network_is_managed(&n->cfg))
        return make_managed(w, l, n, e);
    return n->cfg.kind == NETWORK_BRIDGED ? make_bridged(w, l, n, e) : 0;
}

static int run_names(const struct wish_net *n, struct err *e)
{
    if (mkdir(n->folder, 0700) < 0 && errno != EEXIST)
        return err_errno(e, "make folder '%s'", n->folder);
    return network_names_run(n->folder, n->names, e);
}

/* ---- all ---- */

/* What was told is remembered, so that nothing is said twice; a socled that has just begun says it once more. */
static int filter(struct wish *w, bool stale, struct err *e)
{
    struct networks *s = &w->h->nets;
    const bool begins = !s->rules;
    bool any = stale;
    int r;

    for (u32 i = 0; i < w->n_nets; i++)
        any |= w->nets[i].cfg.kind != NETWORK_USER;
    if (begins ? !any : strcmp(s->rules, w->rules) == 0)
        return 0; /* user networks alone need no filter, which a host may lack */
    r = nft_run(w->rules, e);
    for (u32 i = 0; i < w->n_taps && r >= 0 && begins; i++)
        (void)nft_run(w->taps[i].rules, NULL); /* of one that is starting there is no tap yet */
    if (r < 0)
        return r;
    free(s->rules);
    s->rules = TAKE(w->rules);
    return 0;
}

/* Taps of machines that run, on bridges that were made anew. */
static void join_taps(struct wish *w, struct links *l)
{
    for (u32 i = 0; i < w->n_taps; i++) {
        struct err e = {};
        struct link tap, bridge;

        if (links_find(l, w->taps[i].name, &tap) &&
            links_find(l, w->nets[w->taps[i].net].bridge, &bridge) &&
            links_join(l, &tap, bridge.index, &e) < 0)
            log_warn("network '%s': %s", w->nets[w->taps[i].net].cfg.name, e.text);
    }
}

/* The filter forgets what is stale before its links go: a kill in between leaves links, which tell the next one. */
static int drop_stale(struct wish *w, struct links *l, struct err *e)
{
    struct stale s = { .w = w };
    int r;

    links_each(l, find_stale, &s);
    drop_chains(&s);
    r = filter(w, stale_n(&s), e);
    if (r >= 0)
        r = drop_links(&s, l, e);
    strbuf_fini(&s.links);
    if (r >= 0)
        drop_names(w);
    return r;
}

static int apply(struct wish *w, struct links *l, struct err *e)
{
    int r = links_open(l, e);

    if (r >= 0)
        r = drop_stale(w, l, e);
    if (r < 0)
        return r;
    for (u32 i = 0; i < w->n_nets; i++)
        w->nets[i].r = make_net(w, l, &w->nets[i], &w->nets[i].e);
    r = forwarding(w, l, e);
    if (r < 0)
        return r;
    join_taps(w, l);
    for (u32 i = 0; i < w->n_nets; i++)
        if (w->nets[i].r >= 0 && w->nets[i].names)
            w->nets[i].r = run_names(&w->nets[i], &w->nets[i].e);
    return 0;
}

/* How it went (`all`: for all but user networks, of which the host knows nothing) is noted; the result of `name`. */
static int note(struct wish *w, const char *name, int all, struct err *e)
{
    const struct err of_all = *e;
    int r = all;

    host_lock(w->h);
    for (u32 i = 0; i < w->n_nets; i++) {
        struct wish_net *from = &w->nets[i];
        struct network *n = network_find_locked(w->h, from->cfg.name);

        if (all < 0 && from->cfg.kind != NETWORK_USER) {
            from->r = all;
            from->e = of_all;
        }
        if (n) {
            n->up = from->r >= 0;
            (void)str_copy(n->why, sizeof(n->why), from->r < 0 ? from->e.text : "");
            (void)str_copy(n->bridge, sizeof(n->bridge), from->bridge);
        }
        if (name && strcmp(from->cfg.name, name) == 0) {
            r = from->r;
            *e = from->e;
        }
    }
    host_unlock(w->h);
    return r;
}

int network_apply_locked(struct host *h, const char *name, struct err *e)
{
    struct wish *w = wish_new(h);
    struct links l = {};
    struct err why = {};
    int r = h->uid == 0 ? apply(w, &l, &why) : 0; /* others have user networks only */

    r = note(w, name, r, &why);
    links_close(&l);
    wish_free(w);
    if (r < 0 && e)
        *e = why;
    return r;
}

int network_apply(struct host *h, const char *name, struct err *e)
{
    int r;

    pthread_mutex_lock(&h->nets.lock);
    r = network_apply_locked(h, name, e);
    pthread_mutex_unlock(&h->nets.lock);
    return r;
}

static void *tidy_main(void *arg)
{
    struct host *h = arg;

    host_lock(h);
    while (h->nets.again && !h->closing) {
        struct err e = {};

        h->nets.again = false;
        host_unlock(h);
        if (network_apply(h, NULL, &e) < 0)
            log_error("networks: %s", e.text);
        host_lock(h);
    }
    h->nets.working = false;
    pthread_cond_broadcast(&h->changed);
    host_unlock(h);
    return NULL;
}

void network_tidy_locked(struct host *h)
{
    pthread_t thread;

    if (!h->begun || h->closing || h->nets.n == 0)
        return;
    h->nets.again = true;
    if (h->nets.working)
        return;
    if (pthread_create(&thread, NULL, tidy_main, h) != 0) {
        log_warn("networks: no thread to tidy up; the next start of a machine does");
        return;
    }
    pthread_detach(thread);
    h->nets.working = true;
}
