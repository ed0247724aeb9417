/*
 * box/cgroup.h: the cgroup of one container, on cgroup v2, by descriptors: /sys/fs/cgroup, or its `unified` on a host that has v1 too.
 */
#pragma once

#include "box/oci.h"

struct cgroup {
    int root;       /* the mount */
    int fd;         /* the container's directory; -1: it has none */
    char path[512]; /* below the mount; "" for none */
    unsigned made;  /* how many directories, from the end of path, are our making */
};

enum { CGROUP_PIDS_MAX = 65536 }; /* processes that are listed */

/* A descriptor of the mount; -ENODEV: this host has no cgroup v2. */
int cgroup_root(void);
void cgroup_init(struct cgroup *g);
void cgroup_fini(struct cgroup *g);

/* Makes it, with those controllers that its parents can give.  -ENODEV: this host has no cgroup v2. */
int cgroup_make(struct cgroup *g, const char *path, struct err *e);
/* An existing one; fd stays -1 where `path` is "". */
int cgroup_open(struct cgroup *g, const char *path, struct err *e);
/* The one that a process is in: systemd made it, and has a scope of that name for it. */
int cgroup_open_scope(struct cgroup *g, pid_t pid, const char *scope, struct err *e);
/* Kills what is in it, waits, removes it and what it holds.  What is not there is fine. */
int cgroup_remove(struct cgroup *g, struct err *e);
/* Removes, after a failure, parents too that cgroup_make made. */
void cgroup_undo(struct cgroup *g);

/* Applies `r`; `e` names the field and the file that would not take it. */
int cgroup_apply(const struct cgroup *g, const struct oci_resources *r, struct err *e);
/* cgroup v1's shares, 2 to 262144, on v2's 1 to 10000, as all runtimes do; BFQ's weights, 10 to 1000, on the same. */
s64 cgroup_weight_of_shares(s64 shares);
u32 cgroup_weight_of_bfq(u32 weight);
/* In box/cgroup_dev.c: which devices may be opened, as a BPF program. */
int cgroup_devices(const struct cgroup *g, const struct field_list *rules, struct err *e);

/* Waits until it is so. */
int cgroup_freeze(const struct cgroup *g, bool on, struct err *e);
/* 1 or 0; negative where that cannot be known. */
int cgroup_is_frozen(const struct cgroup *g);
/* SIGKILL to all in it. */
int cgroup_kill(const struct cgroup *g);
/* Process ids, owned; the number of them or a negative errno. */
int cgroup_pids(const struct cgroup *g, pid_t **ret);
