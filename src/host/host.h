/*
 * host/host.h: the instances, images and tasks of one folder, and the process that owns it (socled).
 *   (1) `lock` guards all of it, the store included; nothing blocks while it is held, but on the store.  `x_locked`: the caller has it.
 *   (2) A record is changed in the store first, then here.  What is here is what the store says, and who watches which process.
 *   (3) A machine is alive while its vm.log is locked (doc/notes/016-daemon.md); `pid` is for people.
 *
 *     creating ──> off ──> starting ──> running <──> paused      any but creating ──> deleting ──> gone
 *                  failed     │  ^         │    suspend: ──> suspended ──> starting
 *                     ^───────┴──── ended ─┴──> stopping ──> off
 */
#pragma once

#include "base/base.h"

#include "base/loop.h"
#include "host/export.h"
#include "host/images.h"
#include "host/instance.h"
#include "host/network.h"
#include "store/store.h"

#define HOST_DIR_ROOT "/var/lib/socle"

enum {
    HOST_INSTANCES_MAX = 20000,
    HOST_DIR_MAX = 80,     /* bytes of its path: a socket's path has 107 */
    HOST_TASKS_MAX = 256,  /* that are not done */
    HOST_TASKS_KEPT = 500, /* that are done */
    HOST_TASK_THREADS_MAX = 8,
    HOST_TASK_TRIES_MAX = 3, /* starts of a task whose socled ended */
    HOST_STOP_SECONDS = 60,  /* that a guest has to shut down, unless it is said otherwise */
    HOST_STOP_SECONDS_MAX = 3600,
    HOST_BOOT_ID = 37, /* bytes of host_boot_id */
};

enum host_state {
    HOST_CREATING,
    HOST_OFF,
    HOST_STARTING,
    HOST_RUNNING,
    HOST_PAUSED,
    HOST_STOPPING,
    HOST_SUSPENDED,
    HOST_FAILED,
    HOST_DELETING,
};

/* Record run/ID. */
struct run_rec {
    int state;  /* enum host_state */
    bool saved; /* its state is in a file, from which it goes on */
    u32 pid;    /* 0: none */
    char *why;  /* HOST_FAILED: why */
    u64 since;  /* seconds since 1970 */
    u64 log_at; /* where in vm.log the last start begins */
    u64 start_at; /* when it will be started by itself, seconds since 1970; 0: not (host/schedule.h) */
    u32 restarts; /* how often that was, in a row */
};

/* Record base/ID: of a linked clone. */
struct base_rec {
    char *id;       /* of the instance on whose images its disks build; NULL: none */
    u32 node;       /* of its tree; 0: on its disks themselves: it is a template */
    char *snapshot; /* the node's name then; NULL: none */
};
extern const struct field base_fields[];

enum { TOLD_MAX = 64 };

/* Record addresses/ID: of a machine, what its guest says (host/guest_nets.h). */
struct told_rec {
    u32 pid; /* of the process that it had then; 0: it said nothing */
    struct field_strs addresses;
};
extern const struct field told_fields[];

/* When the guest is asked. */
struct host_look {
    u32 pid;     /* of the process that this is about */
    u32 silent;  /* how often it did not answer, in a row */
    u64 next_ns; /* not before (clock_mono_ns) */
    bool wanted; /* somebody looked since then */
};

struct task;
struct guest_run;
struct guest_turn;

struct instance {
    char id[24];
    struct instance_cfg cfg;
    u64 rev; /* of the configuration: its ETag */
    struct run_rec run;
    struct task *task; /* that is not done; NULL: none */
    struct base_rec base;
    struct told_rec told;
    struct host_look look;
    bool silent; /* alive, and did not answer when we began: its first start only finds it */
    /* of the loop's thread */
    int pidfd; /* -1: none */
    bool child;
    struct loop_fd watch;
    struct host *host;
};

enum task_what {
    TASK_CREATE,
    TASK_START,
    TASK_STOP,
    TASK_RESTART,
    TASK_PAUSE,
    TASK_RESUME,
    TASK_RESET,
    TASK_SUSPEND,
    TASK_DELETE,
    TASK_IMPORT,
    TASK_NETWORK,
    TASK_SNAPSHOT,
    TASK_RESTORE,
    TASK_UNSNAPSHOT,
    TASK_CLONE,
    TASK_SWEEP,
    TASK_CATALOGUE,
    TASK_EXPORT,
};
enum task_state { TASK_WAITING, TASK_RUNNING, TASK_DONE, TASK_FAILED, TASK_CANCELLED };

enum {
    TASK_LOG_MAX = 64,   /* lines; the oldest leaves */
    TASK_LOG_TEXT = 200, /* bytes of one: all of them are less than 16 KiB of JSON */
};

struct task_line {
    u64 time; /* seconds since 1970 */
    char *text;
};

/* Record task/N. */
struct task_rec {
    int what, state;
    char *id,
        *name; /* of the instance; `name` of an image for TASK_IMPORT and TASK_SWEEP, of a network for TASK_NETWORK, of a catalogue */
    u32 timeout; /* TASK_STOP, TASK_RESTART: seconds */
    bool force;
    struct image_source source; /* TASK_IMPORT */
    char *snapshot;             /* its name; NULL: one is chosen, and here when it is begun */
    u32 node;                   /* number of the snapshot that was begun; 0: none */
    bool memory;                /* TASK_SNAPSHOT: of a machine that runs, its memory, too */
    bool by_itself;             /* TASK_START: nobody asked (host/schedule.h) */
    bool was_on;                /* TASK_RESTORE: it ran */
    char *from;                 /* TASK_CLONE: id of the instance that is cloned */
    int mode;                   /* TASK_CLONE: enum clone_mode */
    struct export_ask export;   /* TASK_EXPORT */
    char *error;                /* TASK_FAILED */
    u64 uid;                    /* who asked, on this host */
    char *
        user; /* the same, as the API calls them; NULL: socled itself, or an older one does not say */
    u64 created, ended; /* seconds since 1970 */
    u32 tries;
    struct field_list log; /* of struct task_line: host/task_log.h */
};
extern const struct field task_fields[], run_fields[];
extern const char *const task_words[], *const host_state_words[];

struct task {
    u64 number;
    struct task_rec rec;
    bool loaded;    /* an earlier socled may have begun it */
    struct job job; /* progress, cancel */
    struct host *host;
    struct instance *inst; /* NULL: TASK_IMPORT, TASK_NETWORK */
    struct instance *from; /* TASK_CLONE: that is cloned, whose task it is, too; else NULL */
    struct task *next;     /* the one before it */
};

struct host {
    char *dir, *images, *cache;
    u32 mark; /* 16 bits of `dir`: in the names of what is ours on the host */
    int lock_fd;
    uid_t uid; /* whose it is */
    struct store *store;
    struct loop *loop;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* a process ended, a task ended */
    struct instance **list; /* by name */
    u32 n;
    u64 next, next_rev;
    struct task *tasks; /* newest first */
    u32 n_running;
    struct networks nets;
    struct upload *uploads; /* host/upload.h */
    u32 n_uploads;
    uv_timer_t upload_look;
    struct export *exports; /* host/export.h */
    uv_timer_t export_look;
    struct guest_run *guests; /* host/guest.h */
    struct guest_turn *turns; /* host/guest_turn.h */
    struct {
        bool works;          /* there is the thread */
        int stop[2];         /* while there is: closing the second ends what it waits for */
    } looks;                 /* host/guest_nets.h */
    struct metrics *metrics; /* host/metrics.h */
    struct shells *shells;   /* host/shell.h; borrowed, of the loop's thread; NULL: switched off */
    char *cgroup; /* machines' groups are below it; NULL: none, or (not asked) not known yet */
    bool cgroup_asked;
    bool begun; /* the loop runs: tasks may begin */
    bool closing;
    uv_timer_t begin;
    uv_timer_t schedule; /* host/schedule.c */
    uv_async_t look;
    void (*on_change)(void *arg); /* something changed in the store; any thread, with the lock */
    void *on_change_arg;
};

/* DIR of a user: $SOCLE_DIR, HOST_DIR_ROOT of root, else below $XDG_DATA_HOME or the home.  Owned; NULL: none of these is there. */
char *host_default_dir(void);

/* Takes the folder, finds what runs, and goes on with tasks.  `l` is the caller's, and not running yet.  -EBUSY: another has the folder.
 * Finish with host_close, also after a failure. */
int host_open(struct host *h, const char *dir, struct loop *l, struct err *e);
/* Tasks are interrupted and go on with the next host_open; machines run on. */
void host_close(struct host *h);

static inline void host_lock(struct host *h)
{
    pthread_mutex_lock(&h->lock);
}
static inline void host_unlock(struct host *h)
{
    pthread_mutex_unlock(&h->lock);
}

/* Which start of the host this is: a UUID of Linux's. */
int host_boot_id(char ret[HOST_BOOT_ID], struct err *e);
/* NULL: there is none. */
struct instance *host_find_locked(struct host *h, const char *name);
/* The place of the first instance whose name is after `name`. */
u32 host_after_locked(struct host *h, const char *name);
char *host_folder(const struct host *h, const struct instance *i);
void host_instance_free(struct instance *i);
struct instance *host_by_id_locked(struct host *h, const char *id);
/* A clone whose disks build on a node of this instance's tree (0: on any, or on its disks); NULL: there is none. */
const struct instance *host_clone_of_locked(const struct instance *i, u32 node);
/* That of its id. */
u64 host_number(const struct instance *i);
/* Is there a process, as far as the records say? */
bool host_is_alive(const struct instance *i);

/* What is recorded together with an instance, or instead of it. */
struct host_change {
    struct store_txn txn;
    char *texts[24]; /* owned, freed by host_change_do */
    u32 n_texts;
    /* For who asked: what came of it, owned (NULL: nothing more than that it is done), and the ETag that it gives (0: none). */
    json_t *result;
    u64 etag;
};

/* What the request that a thread answers has recorded besides, in the same transaction as what it does (api/once.h). */
struct host_rider {
    void (*add)(struct host_rider *r, struct host_change *c);
    bool done;
};
/* The next change of this thread takes it along, once; NULL: none.  The one before, so that a change that is not yet what was asked goes
 * without it. */
struct host_rider *host_ride(struct host_rider *r);
void host_change_run(struct host_change *c, const struct instance *i, const struct run_rec *run);
void host_change_base(struct host_change *c, const struct instance *i);
void host_change_task(struct host_change *c, u64 number, const struct task_rec *rec);
void host_change_put(struct host_change *c, const char *key, json_t *value);
/* A key that lives as long as the change. */
const char *host_change_key(struct host_change *c, const char *kind, const char *id);
int host_change_do(struct host *h, struct host_change *c, u64 *ret_rev, struct err *e);
/* The change, with a task that is no instance's; `rec` is consumed. */
int host_begin_locked(struct host *h, struct host_change *c, struct task_rec *rec, u64 *ret_task,
                      struct err *e);
/* Members of `changes` replace those of `to`; null: the default. */
void host_merge(json_t *to, const json_t *changes);
/* Records a machine's state and its reason (NULL: none), with what else `run` of the instance says. */
int host_set_state_locked(struct instance *i, enum host_state state, const char *why,
                          struct err *e);

/* ---- what is asked of it (host/change.c, act.c, clone.c, snap.c): all take the lock ---- */

struct host_who {
    uid_t uid;
    const char *user; /* as the API calls them; NULL: socled itself */
};
/* For the record of a task. */
static inline char *host_user_of(const struct host_who *who)
{
    return who->user ? xdup(who->user) : NULL;
}
/* A new instance, and the task that makes its files.  `cfg` is moved on success.  *ret_task: the task's number. */
int host_create(struct host *h, struct instance_cfg *cfg, const struct host_who *who, u64 *ret_task,
                struct err *e);
/* `changes`: members to change, null for the default.  `rev`: what the instance must have, 0: any.  -ESTALE: it has another.
 * *ret_restart: it counts from the next start of a machine that runs. */
int host_edit(struct host *h, const char *name, const json_t *changes, u64 rev, bool *ret_restart,
              struct err *e);
int host_rename(struct host *h, const char *name, const char *to, struct err *e);
struct host_action {
    int what; /* enum task_what: of one that an instance does by itself */
    u32 timeout;
    bool force;
    const char *snapshot; /* as in struct task_rec */
    bool memory, by_itself;
    struct export_ask export; /* TASK_EXPORT */
};
/* -EBUSY: another task is at it. */
int host_act(struct host *h, const char *name, const struct host_action *a,
             const struct host_who *who, u64 *ret_task, struct err *e);
struct host_cloning {
    const char *name;     /* of the clone */
    int mode;             /* enum clone_mode */
    const char *snapshot; /* on which it builds; NULL: one is taken, if one is needed */
};
/* A new instance that is as another is, or was at a snapshot. */
int host_clone(struct host *h, const char *name, const struct host_cloning *c,
               const struct host_who *who, u64 *ret_task, struct err *e);
/* A new reference: the list of its snapshots, the oldest first. */
int host_snapshots(struct host *h, const char *name, json_t **ret, struct err *e);
int host_import(struct host *h, const char *name, const struct image_source *from,
                const struct host_who *who, u64 *ret_task, struct err *e);
int host_image_delete(struct host *h, const char *name, const struct host_who *who, struct err *e);

/* ---- host/task.c ---- */

/* A task of the record, not in the store yet; `rec` is moved. */
struct task *task_new_locked(struct host *h, struct task_rec *rec, struct instance *i);
int task_room_locked(struct host *h, struct err *e);
/* It is in the store. */
void task_go_locked(struct task *t);
struct task *task_find_locked(struct host *h, u64 number);
/* What its snapshot is, before it is begun: durable. */
int task_note(struct task *t, u32 node, const char *snapshot, struct err *e);
int task_cancel(struct host *h, u64 number, struct err *e);
/* A new reference: the record, with "number" and "done" and "total" bytes. */
json_t *task_print_locked(const struct task *t);
int task_load_locked(struct host *h, u64 number, const char *text, size_t len, struct err *e);
/* Those that are not done run again. */
void task_resume_locked(struct host *h);
