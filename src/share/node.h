/*
 * share/node.h: what the guest knows of the directory: one node for each file that it looked up and has not forgotten.
 *   (1) A node is one file of the host: device, number, mount and time of birth.  Its id for the guest is its place in the table, from 1.
 *   (2) A node is reached by its O_PATH descriptor.  Descriptors are fewer than nodes: the one that was not used for longest is closed, and
 *       opened again by the name that the node was last seen under, if that still is the same file.  Else the node is stale.
 *   (3) What the guest unlinks has no name to be opened by: it keeps its descriptor until it is forgotten (`pinned`).
 *   (4) A node stays while the guest knows it (`lookups`) or another one is found by way of it (`children`).
 */
#pragma once

#include "base/base.h"

#include <sys/stat.h>

enum { NODE_NAME_MAX = 255, NODE_HELD_MAX = 8 };

struct node {
    u64 dev, ino, mount, born_ns;
    u64 lookups;
    u64 seen_ns,
        seen_size; /* change and size when it was opened last; 0: never, or it was just changed */
    char *name;    /* owned; NULL: the root, or found under no name */
    u32 parent;    /* index, where it has a name */
    u32 children;
    u32 same_id, same_name; /* next in its bucket: index + 1 */
    u32 newer, older;       /* by use, of those whose descriptor may be closed: index + 1 */
    int fd;                 /* O_PATH; -1: closed */
    u32 type;               /* S_IFMT */
    bool used, pinned, listed, held;
};

struct nodes {
    struct node *at; /* SHARE_NODES_MAX of them; untouched ones cost nothing */
    u32 *by_id, *by_name;
    u32 n_fresh,
        free; /* those from n_fresh on were never used; free: list by `same_id`, index + 1 */
    u32 n;
    u32 newest, oldest; /* index + 1 */
    u32 n_fds, fds_max;
    struct node *held[NODE_HELD_MAX]; /* their descriptors stay open until nodes_settle */
    u32 n_held;
};

/* `root`: O_PATH, borrowed. */
int nodes_init(struct nodes *ns, int root, u32 fds_max, struct err *e);
void nodes_fini(struct nodes *ns);
/* All but the root are forgotten. */
void nodes_reset(struct nodes *ns);

/* The node that the guest means by `id`; NULL: it has no such. */
struct node *node_get(struct nodes *ns, u64 id);
static inline u64 node_id(const struct nodes *ns, const struct node *n)
{
    return (u64)(n - ns->at) + 1;
}
/* Its O_PATH descriptor, borrowed until nodes_settle or it is forgotten; -ESTALE: the file is not where it was, -ENFILE. */
int node_fd(struct nodes *ns, struct node *n);
/* A request is done: what it used may be closed again. */
void nodes_settle(struct nodes *ns);

/* What is called `name` in `dir`, one lookup more of it.  *ret_stat is what it is now. */
int node_lookup(struct nodes *ns, struct node *dir, const char *name, struct node **ret,
                struct statx *ret_stat);
/* The same of a file that is open already: `fd`, O_PATH, owned from then on.  `dir` and `name` NULL: it has no name yet. */
int node_found(struct nodes *ns, struct node *dir, const char *name, int fd, struct node **ret,
               struct statx *ret_stat);
void node_forget(struct nodes *ns, u64 id, u64 lookups);

/* Before the name is taken away: the node that is known by it, its descriptor open; NULL in *ret: none is. */
int node_hold(struct nodes *ns, struct node *dir, const char *name, struct node **ret);
/* The guest took the name away. */
void node_unlinked(struct nodes *ns, struct node *n);
void node_renamed(struct nodes *ns, struct node *n, struct node *dir, const char *name);

/* What is behind an O_PATH descriptor. */
int node_stat(int fd, struct statx *ret);
