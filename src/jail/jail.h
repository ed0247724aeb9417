/*
 * jail/jail.h: what socle-vm gives up before its guest runs, socle-unpack before it reads an image, socle-share before it
 * serves a folder.
 * Order of use:  open every file  →  jail_enter on the only thread  →  start threads, each of which
 * calls jail_seccomp with its role first  →  jail_seccomp(JAIL_MAIN) on the first thread.  None of
 * it can be undone.
 *   (1) What was opened before stays usable: memfds, /dev/kvm and what it gave, taps, disks,
 *       sockets, io_uring.
 *   (2) Nothing new can be opened by path, except /etc/resolv.conf with keep_net,
 *       what is in `dirs`, and what is below `root`.
 *   (3) No step is left out silently: what the host forbids is in the report.
 */
#pragma once

#include "base/base.h"

/* A directory that stays usable below its descriptor. */
struct jail_dir {
    int fd;
    bool write; /* else it is read, and what is in it executed */
};

/* A directory that becomes the root; what is in it can be made, opened and changed as far as the process may. */
struct jail_root {
    const char *path;
    bool readonly;
    /* Set by jail_enter, owned by the caller, -1 before: the directory, and /proc/self/fd, where there is no other way up. */
    int dir, fds;
};

struct jail_cfg {
    u32 uid, gid;    /* whom a root process becomes; 0: 65534 */
    bool userns_ok;  /* when not root: make a user namespace, in which the others are allowed */
    bool keep_net;   /* user-mode network: the host's net namespace, a copy of /etc/resolv.conf */
    bool strict;     /* what is not possible is an error instead of a line in the report */
    u32 files_max;   /* RLIMIT_NOFILE; 0: as it is */
    const int *keep; /* close all but 0, 1, 2 and these, in any order; NULL: close nothing */
    unsigned n_keep;
    bool keep_ids;  /* who runs it stays: root of a user namespace, who was made before */
    bool keep_root; /* the host's files stay, as far as Landlock allows `dirs` */
    u64 keep_caps;  /* 1 << CAP_…: those that stay, in this process only */
    const struct jail_dir *dirs; /* n_dirs of them */
    unsigned n_dirs;
    struct jail_root *root; /* NULL: an empty one, unless keep_root */
};

/* In the order in which they are done; jail.c says what each is. */
enum jail_step {
    JAIL_NO_NEW_PRIVS,
    JAIL_CLOSE,
    JAIL_LIMITS,
    JAIL_USER_NS,
    JAIL_MOUNT_NS,
    JAIL_IPC_NS,
    JAIL_UTS_NS,
    JAIL_NET_NS,
    JAIL_BOUNDING,
    JAIL_ROOT,
    JAIL_IDS,
    JAIL_CAPS,
    JAIL_DUMPABLE,
    JAIL_LANDLOCK,
    JAIL_STEPS,
};

enum { JAIL_DONE = 0, JAIL_NOT_ASKED = 1 };

struct jail_report {
    int code
        [JAIL_STEPS]; /* JAIL_DONE, JAIL_NOT_ASKED, or the negative errno why it was not possible */
};

/*
 * Gives up everything but system calls.  Only before a second thread exists.  0; or the negative
 * errno of a step that must not fail (or of any, with cfg->strict), after which the process is half
 * in the jail and should end.
 */
int jail_enter(const struct jail_cfg *cfg, struct jail_report *ret_report, struct err *e);

/* Adds "done: a, b; not possible: c (why)". */
void jail_report_text(const struct jail_report *r, struct strbuf *to);

/*
 * Closes all fds above 2 but `keep`.  At process start it drops what was inherited; then jail_enter
 * needs no list.
 */
int jail_close_fds(const int *keep, unsigned n_keep, struct err *e);

/* What a thread is for, and so which rows of jail_rows.c it gets. */
enum jail_role {
    JAIL_MAIN,   /* the control loop */
    JAIL_VCPU,   /* runs the guest and its exits */
    JAIL_IO,     /* disks, taps */
    JAIL_IO_NET, /* user-mode network: may make sockets of the internet families */
    JAIL_UNPACK, /* reads an image, makes its files; copies files of a container */
    JAIL_VIEW,   /* shows a container its own numbers */
    JAIL_SHARE,  /* serves a folder to a guest */
    JAIL_ROLES,
};

/*
 * The status of a process that made a call which its row list lacks; "seccomp: thread …" is on
 * stderr.
 */
#define JAIL_EXIT_STATUS 159 /* 128 + SIGSYS, as a shell reports it */

/*
 * Limits the calling thread, and what it would start, to the rows of `role`.  0 or a negative
 * errno.
 */
int jail_seccomp(enum jail_role role, struct err *e);

const char *jail_role_name(enum jail_role role);
/* Adds the rows of every role, one a line, with the reason of each. */
void jail_rows_print(struct strbuf *to);
