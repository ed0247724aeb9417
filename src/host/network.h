/*
 * host/network.h: networks that machines' cards are on, and the links, rules and name service that make them real.
 *   (1) A record says what shall be; network_apply makes the host so, whatever it finds, and may be interrupted at any instant.
 *   (2) What is ours says so: a bridge by its address, which is made of the folder's and its own name; a tap by its name; the rules
 *       by their table; dnsmasq by the file that it read.  Nothing else of the host is touched.
 *   (3) `lock` is held by who changes links, rules or dnsmasq; it is taken before the host's lock, never inside.
 */
#pragma once

#include "conf/conf.h"
#include "net/cidr.h"

#include <net/if.h>
#include <pthread.h>

#define NETWORK_DEFAULT "socle0"

enum { NETWORKS_MAX = 64 };

struct host;
struct links;

enum network_kind { NETWORK_NAT, NETWORK_ISOLATED, NETWORK_BRIDGED, NETWORK_USER };

struct network_cfg {
    char *name;
    int kind;          /* enum network_kind */
    char *ipv4, *ipv6; /* of the host on it, with the prefix; ipv6 also "none" */
    char *domain;      /* of its machines' names */
    char *interface;   /* NETWORK_BRIDGED: of the host */
};
extern const struct field network_fields[];
extern const char *const network_kinds[];

struct network {
    struct network_cfg cfg;
    u64 rev;
    char bridge[IFNAMSIZ]; /* that its cards are ports of, once it was up */
    bool up;               /* it is as it shall be, as far as we looked last */
    char why[240];         /* not up: why; "": nobody looked yet */
};

/* All of a host; guarded by its lock but for `lock` and what it guards. */
struct networks {
    struct network **list; /* by name */
    u32 n;
    pthread_mutex_t lock;
    char *rules; /* guarded by `lock`: what the packet filter was told last; NULL: nothing */
    bool working, again; /* a thread repairs; it shall do it once more */
};

/* ---- host/network_cfg.c ---- */

/* Defaults, then what the JSON object says, then what one row cannot check.  Finish with conf_fini. */
int network_parse(struct network_cfg *c, const json_t *json, struct err *e);
/* Its ranges; family 0: it has none of that kind. */
struct cidr network_v4(const struct network_cfg *c);
struct cidr network_v6(const struct network_cfg *c);
/* Has it a bridge, addresses and names of ours? */
bool network_is_managed(const struct network_cfg *c);

/* ---- host/network.c: records ---- */

/* NULL: there is none. */
struct network *network_find_locked(struct host *h, const char *name);
/* The place of the first whose name is after `name`. */
u32 network_after_locked(struct host *h, const char *name);
/* A record that was read. */
int network_load_locked(struct host *h, const char *id, const char *text, size_t len, u64 rev,
                        struct err *e);
void network_free(struct network *n);
/* A new reference: the record, with "status". */
json_t *network_print_locked(const struct network *n);
struct host_who;
/* Who asks, and of which revision (0: any; -ESTALE: it has another); the task that brings it about. */
struct network_ask {
    u64 uid, rev;
    const char *user; /* as of struct host_who */
    u64 task;
};
/* What is asked; these take the lock.  `cfg` is moved on success. */
int network_create(struct host *h, struct network_cfg *cfg, struct network_ask *a, struct err *e);
/* `changes` as of host_edit. */
int network_edit(struct host *h, const char *name, const json_t *changes, struct network_ask *a,
                 struct err *e);
int network_delete(struct host *h, const char *name, struct network_ask *a, struct err *e);
/* NETWORK_DEFAULT is there from now on, if this host can have it. */
int network_need_default(struct host *h, const struct host_who *who, struct err *e);
/* The network that a card is on when its user does not say: NETWORK_DEFAULT, or "user" where the host gives us no bridge. */
const char *network_default(const struct host *h);

/* ---- host/network_apply.c: the host made so ---- */

/* All of them; the error is that of `name` (NULL: only what concerns all). */
int network_apply(struct host *h, const char *name, struct err *e);
/* The same with networks.lock held. */
int network_apply_locked(struct host *h, const char *name, struct err *e);
/* A thread of its own does that soon. */
void network_tidy_locked(struct host *h);

/* ---- host/network_rules.c: what the packet filter is told ---- */

struct vm_net;

/* Our tables' name: "socle" of the default folder. */
void network_table(const struct host *h, char ret[32]);
/* Commands that make the rules of all networks what they shall be, their cards' forwards too; owned. */
char *network_rules_locked(struct host *h);
/* Commands for one card's tap: its rules made anew, or (`card` NULL) ended; owned. */
char *network_card_rules(const char *table, const char *tap, const struct vm_net *card,
                         const struct network_cfg *net);

/* ---- host/network_names.c: dnsmasq ---- */

/* What dnsmasq reads; with the host's lock.  Owned. */
char *network_names_text_locked(struct host *h, const struct network *n, const char *folder);
/* It runs with this text. */
int network_names_run(const char *folder, const char *text, struct err *e);
/* It does not run any more. */
void network_names_stop(const char *folder);
/* NULL: it is not installed. */
const char *network_names_program(void);
