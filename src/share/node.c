/*
 * share/node.c: the table of nodes, their descriptors and the names that lead to them.
 */
#include "share/node.h"

#include "share/share.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { BUCKETS = 1 << 18 };

static void *reserve(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return at == MAP_FAILED ? NULL : at;
}

static void release(void *at, size_t bytes)
{
    if (at)
        munmap(at, bytes);
}

static u32 index_of(const struct nodes *ns, const struct node *n)
{
    return (u32)(n - ns->at);
}

int node_stat(int fd, struct statx *ret)
{
    return statx(fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
                 STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID, ret) < 0
               ? -errno
               : 0;
}

/* ---- identity ---- */

static u64 dev_of(const struct statx *x)
{
    return (u64)x->stx_dev_major << 32 | x->stx_dev_minor;
}

static u64 born_of(const struct statx *x)
{
    return x->stx_mask & STATX_BTIME
               ? (u64)x->stx_btime.tv_sec * NSEC_PER_SEC + x->stx_btime.tv_nsec
               : 0;
}

static bool is_same(const struct node *n, const struct statx *x)
{
    return n->ino == x->stx_ino && n->dev == dev_of(x) && n->mount == x->stx_mnt_id &&
           n->born_ns == born_of(x);
}

static u32 *id_bucket(struct nodes *ns, u64 dev, u64 ino)
{
    u64 h = (ino ^ dev * 0x9e3779b97f4a7c15ull) * 0xff51afd7ed558ccdull;

    return &ns->by_id[h >> 32 & (BUCKETS - 1)];
}

static struct node *find_id(struct nodes *ns, const struct statx *x)
{
    for (u32 i = *id_bucket(ns, dev_of(x), x->stx_ino); i; i = ns->at[i - 1].same_id)
        if (is_same(&ns->at[i - 1], x))
            return &ns->at[i - 1];
    return NULL;
}

/* ---- names ---- */

static u32 *name_bucket(struct nodes *ns, u32 dir, const char *name)
{
    u64 h = 0xcbf29ce484222325ull ^ dir * 0x9e3779b97f4a7c15ull;

    for (const char *p = name; *p; p++)
        h = (h ^ (u8)*p) * 0x100000001b3ull; /* FNV-1a */
    return &ns->by_name[(h ^ h >> 32) & (BUCKETS - 1)];
}

static struct node *find_name(struct nodes *ns, u32 dir, const char *name)
{
    for (u32 i = *name_bucket(ns, dir, name); i; i = ns->at[i - 1].same_name) {
        struct node *n = &ns->at[i - 1];

        if (n->parent == dir && strcmp(n->name, name) == 0)
            return n;
    }
    return NULL;
}

static void drop_unknown(struct nodes *ns, struct node *n);

/* The node has no name any more; its directory may go. */
static void take_name(struct nodes *ns, struct node *n)
{
    u32 *at;

    if (!n->name)
        return;
    at = name_bucket(ns, n->parent, n->name);
    while (*at != index_of(ns, n) + 1)
        at = &ns->at[*at - 1].same_name;
    *at = n->same_name;
    n->same_name = 0;
    free(TAKE(n->name));
    ns->at[n->parent].children--;
}

static void give_name(struct nodes *ns, struct node *n, struct node *dir, const char *name)
{
    const u32 parent = index_of(ns, dir);
    struct node *was = find_name(ns, parent, name);
    struct node *old = n->name ? &ns->at[n->parent] : NULL;
    u32 *bucket;

    if (was == n)
        return;
    dir->children++; /* it must not go with the name that is taken away */
    if (was)
        take_name(ns, was); /* the host put another file there */
    take_name(ns, n);
    bucket = name_bucket(ns, parent, name);
    n->name = xdup(name);
    n->parent = parent;
    n->same_name = *bucket;
    *bucket = index_of(ns, n) + 1;
    if (old)
        drop_unknown(ns, old);
}

/* ---- descriptors ---- */

static void unlist(struct nodes *ns, struct node *n)
{
    if (!n->listed)
        return;
    *(n->newer ? &ns->at[n->newer - 1].older : &ns->newest) = n->older;
    *(n->older ? &ns->at[n->older - 1].newer : &ns->oldest) = n->newer;
    n->newer = n->older = 0;
    n->listed = false;
}

/* It was used just now. */
static void list(struct nodes *ns, struct node *n)
{
    unlist(ns, n);
    if (n->pinned || n->held || n->fd < 0 || n == ns->at)
        return;
    n->older = ns->newest;
    *(n->older ? &ns->at[n->older - 1].newer : &ns->oldest) = index_of(ns, n) + 1;
    ns->newest = index_of(ns, n) + 1;
    n->listed = true;
}

static void close_fd(struct nodes *ns, struct node *n)
{
    unlist(ns, n);
    if (n->fd < 0 || n == ns->at)
        return;
    fd_close(&n->fd);
    ns->n_fds--;
}

/* Room for one descriptor more. */
static int make_room(struct nodes *ns)
{
    if (ns->n_fds < ns->fds_max)
        return 0;
    if (!ns->oldest)
        return -ENFILE;
    close_fd(ns, &ns->at[ns->oldest - 1]);
    return 0;
}

static void set_fd(struct nodes *ns, struct node *n, int fd)
{
    must(n->fd < 0);
    n->fd = fd;
    ns->n_fds++;
    list(ns, n);
}

static int open_path(int dir, const char *name)
{
    const struct open_how how = {
        .flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    int fd;

    do
        fd = (int)syscall(SYS_openat2, dir, name, &how, sizeof(how));
    while (fd < 0 && errno == EAGAIN); /* openat2(2): something was renamed meanwhile */
    return fd < 0 ? -errno : fd;
}

/* Its directory's descriptor is open, its own is not. */
static int reopen(struct nodes *ns, struct node *n)
{
    AUTO(fd) int fd = -1;
    struct statx x;
    int r = make_room(ns);

    if (r < 0)
        return r;
    fd = open_path(ns->at[n->parent].fd, n->name);
    if (fd < 0)
        return fd == -ENOENT || fd == -ENOTDIR || fd == -EBADF ? -ESTALE : fd;
    r = node_stat(fd, &x);
    if (r < 0)
        return r;
    if (!is_same(n, &x))
        return -ESTALE;
    set_fd(ns, n, TAKE_FD(fd));
    return 0;
}

/* The highest node on the way to `n` whose directory is open.  NULL: there is no way. */
static struct node *first_closed(struct nodes *ns, struct node *n)
{
    for (u32 steps = 0; n->name && steps <= ns->n;
         steps++) { /* they may go round when the host moved directories */
        if (ns->at[n->parent].fd >= 0) {
            list(ns, &ns->at[n->parent]);
            return n;
        }
        n = &ns->at[n->parent];
    }
    return NULL;
}

int node_fd(struct nodes *ns, struct node *n)
{
    while (n->fd < 0) {
        struct node *next = first_closed(ns, n);
        int r = next ? reopen(ns, next) : -ESTALE;

        if (r < 0)
            return r;
    }
    if (!n->held) {
        must(ns->n_held < NODE_HELD_MAX);
        ns->held[ns->n_held++] = n;
        n->held = true;
        unlist(ns, n);
    }
    return n->fd;
}

void nodes_settle(struct nodes *ns)
{
    while (ns->n_held > 0) {
        struct node *n = ns->held[--ns->n_held];

        n->held = false;
        list(ns, n);
    }
}

/* ---- coming and going ---- */

/* Frees it when nobody knows it, and then the directories that only it was found by. */
static void drop_unknown(struct nodes *ns, struct node *n)
{
    while (n != ns->at && n->lookups == 0 && n->children == 0) {
        struct node *dir = n->name ? &ns->at[n->parent] : ns->at;
        u32 *at = id_bucket(ns, n->dev, n->ino);

        take_name(ns, n);
        close_fd(ns, n);
        while (*at != index_of(ns, n) + 1)
            at = &ns->at[*at - 1].same_id;
        *at = n->same_id;
        *n = (struct node){ .fd = -1, .same_id = ns->free };
        ns->free = index_of(ns, n) + 1;
        ns->n--;
        n = dir;
    }
}

static struct node *new_node(struct nodes *ns, const struct statx *x)
{
    u32 i, *bucket = id_bucket(ns, dev_of(x), x->stx_ino);

    if (ns->free) {
        i = ns->free - 1;
        ns->free = ns->at[i].same_id;
    } else if (ns->n_fresh < SHARE_NODES_MAX) {
        i = ns->n_fresh++;
    } else {
        return NULL;
    }
    ns->at[i] = (struct node){
        .dev = dev_of(x),
        .ino = x->stx_ino,
        .mount = x->stx_mnt_id,
        .born_ns = born_of(x),
        .type = x->stx_mode & S_IFMT,
        .fd = -1,
        .used = true,
        .same_id = *bucket,
    };
    *bucket = i + 1;
    ns->n++;
    return &ns->at[i];
}

int node_found(struct nodes *ns, struct node *dir, const char *name, int fd, struct node **ret,
               struct statx *ret_stat)
{
    AUTO(fd) int own = fd;
    struct node *n;
    int r = node_stat(own, ret_stat);

    if (r < 0)
        return r;
    n = find_id(ns, ret_stat);
    if ((!n || n->fd < 0) && (r = make_room(ns)) < 0)
        return r;
    if (!n)
        n = new_node(ns, ret_stat);
    if (!n)
        return -ENFILE;
    n->lookups++;
    if (n != ns->at && name) {
        n->pinned = false;
        give_name(ns, n, dir, name);
    } else if (!name) {
        n->pinned = true;
    }
    if (n->fd < 0)
        set_fd(ns, n, TAKE_FD(own));
    list(ns, n);
    *ret = n;
    return 0;
}

int node_lookup(struct nodes *ns, struct node *dir, const char *name, struct node **ret,
                struct statx *ret_stat)
{
    int at = node_fd(ns, dir), fd;

    if (at < 0)
        return at;
    fd = open_path(at, name);
    return fd < 0 ? fd : node_found(ns, dir, name, fd, ret, ret_stat);
}

struct node *node_get(struct nodes *ns, u64 id)
{
    struct node *n = id > 0 && id <= ns->n_fresh ? &ns->at[id - 1] : NULL;

    return n && n->used && (n->lookups > 0 || n == ns->at) ? n : NULL;
}

void node_forget(struct nodes *ns, u64 id, u64 lookups)
{
    struct node *n = node_get(ns, id);

    if (!n || n == ns->at)
        return;
    n->lookups -= min(lookups, n->lookups);
    drop_unknown(ns, n);
}

int node_hold(struct nodes *ns, struct node *dir, const char *name, struct node **ret)
{
    struct node *n = find_name(ns, index_of(ns, dir), name);
    int r = n ? node_fd(ns, n) : 0;

    *ret = n;
    return r == -ESTALE ? 0 : min(r, 0);
}

void node_unlinked(struct nodes *ns, struct node *n)
{
    struct node *dir;

    if (!n || !n->name)
        return;
    dir = &ns->at[n->parent];
    n->pinned = true;
    unlist(ns, n);
    take_name(ns, n);
    drop_unknown(ns, dir);
    drop_unknown(ns, n);
}

void node_renamed(struct nodes *ns, struct node *n, struct node *dir, const char *name)
{
    if (n)
        give_name(ns, n, dir, name);
}

/* ---- the table ---- */

int nodes_init(struct nodes *ns, int root, u32 fds_max, struct err *e)
{
    struct statx x;
    int r = node_stat(root, &x);

    *ns = (struct nodes){ .fds_max = fds_max };
    if (r < 0)
        return err_code(e, r, "look at the folder");
    if (!S_ISDIR(x.stx_mode))
        return err_set(e, -ENOTDIR, "it is not a folder");
    ns->at = reserve(SHARE_NODES_MAX * sizeof(*ns->at));
    ns->by_id = reserve(BUCKETS * sizeof(*ns->by_id));
    ns->by_name = reserve(BUCKETS * sizeof(*ns->by_name));
    if (!ns->at || !ns->by_id || !ns->by_name)
        return err_set(e, -ENOMEM, "no memory for the table of files");
    new_node(ns, &x)->fd = root;
    return 0;
}

void nodes_reset(struct nodes *ns)
{
    nodes_settle(ns);
    for (u32 i = 1; i < ns->n_fresh; i++) {
        close_fd(ns, &ns->at[i]);
        free(ns->at[i].name);
    }
    if (ns->n_fresh > 1) { /* what was touched goes back to the host */
        const struct node root = ns->at[0];

        madvise(ns->at, SHARE_NODES_MAX * sizeof(*ns->at), MADV_DONTNEED);
        madvise(ns->by_id, BUCKETS * sizeof(*ns->by_id), MADV_DONTNEED);
        madvise(ns->by_name, BUCKETS * sizeof(*ns->by_name), MADV_DONTNEED);
        ns->at[0] = (struct node){
            .dev = root.dev,
            .ino = root.ino,
            .mount = root.mount,
            .born_ns = root.born_ns,
            .type = root.type,
            .fd = root.fd,
            .used = true,
        };
        *id_bucket(ns, root.dev, root.ino) = 1;
    }
    ns->n_fresh = min(ns->n_fresh, 1u);
    ns->n = ns->n_fresh;
    ns->free = ns->newest = ns->oldest = 0;
    must(ns->n_fds == 0);
}

void nodes_fini(struct nodes *ns)
{
    if (ns->at && ns->by_id && ns->by_name)
        nodes_reset(ns);
    release(ns->at, SHARE_NODES_MAX * sizeof(*ns->at));
    release(ns->by_id, BUCKETS * sizeof(*ns->by_id));
    release(ns->by_name, BUCKETS * sizeof(*ns->by_name));
    *ns = (struct nodes){};
}
