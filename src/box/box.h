/*
 * box/box.h: the commands of an OCI runtime.  Each returns 0, an exit status above 0 where it is the program's, or a negative errno
 * with `e`.
 *
 * A container's life:   box_create ──> created ── box_start ──> running <── box_pause/box_resume ──> paused
 *               box_restore ─────────────────────────────────────> running
 *                            (creating)                           │ its first process ends, box_kill, box_checkpoint
 *                                                              stopped ── box_delete ──> gone
 */
#pragma once

#include "box/oci.h"

/* In the order of cmd/box_opts.c's words. */
enum box_cgroups { CGROUPS_FS, CGROUPS_SYSTEMD, CGROUPS_NONE };

struct box_global {
    char *root; /* where state is kept */
    char *log;
    int log_format; /* 0: text, 1: json */
    bool debug, systemd_cgroup, version;
    int rootless;       /* accepted as runc does; what is allowed is seen, not told */
    int cgroup_manager; /* enum box_cgroups */
    int isolate;        /* of box/apart.h */
    const char *self;   /* what we were started as; NULL: not known */
    char *isolate_kernel, *isolate_initrd; /* NULL: those that are installed */
};

struct box_new {
    char *bundle, *config, *pid_file, *console_socket;
    u32 preserve_fds;
    bool no_pivot, no_new_keyring, no_subreaper, detach, keep;
};

/* checkpoint and restore. */
struct box_criu {
    char *image_path, *work_path, *parent_path, *lsm_profile, *lsm_mount_context, *page_server,
        *status_fd;
    struct field_strs empty_ns;
    int manage_cgroups_mode; /* ignore, soft, full, strict */
    bool leave_running, tcp_established, tcp_skip_in_flight, tcp_close, ext_unix_sk, shell_job,
        file_locks, pre_dump, lazy_pages, auto_dedup;
};

struct box_exec {
    char *process, *cwd, *pid_file, *console_socket, *user, *apparmor, *process_label, *cgroup;
    struct field_strs env, cap, additional_gids;
    u32 preserve_fds;
    bool tty, detach, no_new_privs, ignore_paused, no_subreaper;
};

struct box_list {
    int format; /* 0: table, 1: json */
    bool quiet;
};

struct box_update {
    char *resources; /* a file, "-": standard input */
    s64 memory, memory_reservation, memory_swap, cpu_share, cpu_quota, cpu_period, cpu_idle,
        pids_limit, blkio_weight;
    char *cpuset_cpus, *cpuset_mems;
};

int box_create(const struct box_global *g, const struct box_new *o, const char *id, struct err *e);
int box_start(const struct box_global *g, const char *id, struct err *e);
/* Creates, starts, waits (unless detached) and deletes; the program's exit status. */
int box_run(const struct box_global *g, const struct box_new *o, const char *id, struct err *e);
/* args[0] is the program, unless o->process says all; the program's exit status. */
int box_exec(const struct box_global *g, const struct box_exec *o, const char *id, unsigned n_args,
             char *const *args, struct err *e);
int box_kill(const struct box_global *g, const char *id, const char *signal, bool all,
             struct err *e);
int box_delete(const struct box_global *g, const char *id, bool force, struct err *e);
int box_pause(const struct box_global *g, const char *id, bool on, struct err *e);
int box_update(const struct box_global *g, const struct box_update *o, const char *id,
               struct err *e);

/* By CRIU: what it is and does as files; it is stopped then, unless it is to go on. */
int box_checkpoint(const struct box_global *g, const struct box_criu *o, const char *id,
                   struct err *e);
/* A container of those files, which goes on where it was.  As box_run; a stopped one of that id is deleted first. */
int box_restore(const struct box_global *g, const struct box_new *o, const struct box_criu *c,
                const char *id, struct err *e);

/* These write to standard output. */
int box_state_print(const struct box_global *g, const char *id, struct err *e);
int box_list_print(const struct box_global *g, const struct box_list *o, struct err *e);
int box_ps_print(const struct box_global *g, const char *id, bool json, struct err *e);
/* Once, or each `interval` seconds until the container ends. */
int box_events_print(const struct box_global *g, const char *id, bool once, u32 interval,
                     struct err *e);
int box_features_print(struct err *e);
int box_version_print(void);
/* config.json into `bundle`. */
int box_spec_write(const char *bundle, bool rootless, struct err *e);
