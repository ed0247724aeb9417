/*
 * box/ns.h: the namespaces of a container: which are new, which are joined, and how its first process comes into them.
 */
#pragma once

#include "box/oci.h"

struct ns_plan {
    int join[NS_KINDS]; /* fds; -1: not joined */
    u64 make;           /* CLONE_NEW* of those to be made */
    bool staged;        /* a process in between is needed: see ns.c */
    bool no_setgroups;  /* the maps are those of a user without privilege */
};

extern const struct ns_kind {
    u64 flag;         /* CLONE_NEW* */
    const char *file; /* below /proc/PID/ns */
} ns_kinds[NS_KINDS];

void ns_plan_init(struct ns_plan *p);
void ns_plan_fini(struct ns_plan *p);
/* Opens what is to be joined. */
int ns_plan_make(struct ns_plan *p, const struct oci *spec, struct err *e);

/* clone3(2) into a cgroup (-1: none).  0 in the child; else its pid, and *ret_pidfd. */
pid_t ns_clone(u64 flags, int cgroup, int *ret_pidfd);
/* What ns_clone returned, where `whose` process was to be made. */
int ns_clone_failed(pid_t r, const char *whose, struct err *e);

/*
 * In the parent, when a process in between has told `pid`, whom it made by CLONE_PARENT: waits for its end, and replaces *pidfd by
 * one of `pid`.
 */
int ns_take_over(pid_t between, pid_t pid, int *pidfd, struct err *e);

/* In the child: enters what is joined, user first. */
int ns_join(const struct ns_plan *p, struct err *e);
/* Becomes root of the user namespace it is in. */
int ns_become_root(struct err *e);
/* The clocks of the time namespace that this process's children will be in. */
int ns_set_clocks(const struct oci *spec, struct err *e);

/* In the parent: the maps of process `pid`'s user namespace; by newuidmap(1) when we may not. */
int ns_write_maps(const struct ns_plan *p, const struct oci *spec, pid_t pid, struct err *e);
/* A descriptor of a new user namespace with these maps (lists of struct oci_map), and nobody in it. */
int ns_new_user(const struct field_list *uids, const struct field_list *gids, struct err *e);
/* Is this process privileged where it is, and where it is, is it the first user namespace? */
bool ns_is_initial_user(void);
