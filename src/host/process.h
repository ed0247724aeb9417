/*
 * host/process.h: what tasks do to a machine's process; without the host's lock, but for what is called _locked.
 */
#pragma once

#include "host/host.h"

enum {
    PROCESS_START_SECONDS = 120, /* until it answers: a state may have to be read */
    PROCESS_OFF_SECONDS = 10,    /* after it was turned off; then it is killed */
};

/* A saved state that a machine goes on from, in place of a boot. */
struct process_from {
    const char *file;
    bool clone; /* with the identity that the configuration has */
};
/* `from`: NULL: as the configuration and its record say.  A process that is alive is left as it is. */
int process_start(struct task *t, const struct process_from *from, struct err *e);
/* Off at once with `force`; else it has t->rec.timeout seconds to shut down. */
int process_stop(struct task *t, bool force, struct err *e);
/* Its parts, for who waits for many: that it is to end (unless it is not watched); the power button (of a guest that is given so many seconds; a
 * second press would cut the power); off at once, with its disks flushed; and when all else was in vain. */
int process_note_stopping(struct instance *i, struct err *e);
int process_press(struct instance *i, u32 seconds, struct err *e);
int process_turn_off(struct instance *i, struct err *e);
void process_kill(struct instance *i);
int process_pause(struct task *t, struct err *e);
int process_resume(struct task *t, struct err *e);
int process_reset(struct task *t, struct err *e);
int process_suspend(struct task *t, struct err *e);
struct talk;
/* Of kind os: it stands still, without being paused, until the conversation is closed.  -ESRCH: it does not run. */
int process_hold(struct task *t, struct instance *i, struct talk *k, struct err *e);
/* At start: is it alive?  Then it is watched again; else the record says how it ended.  *ret_silent: it is, and does not answer. */
int process_find(struct instance *i, bool *ret_silent, struct err *e);
/* It is watched, or (-ESRCH) it ended, which is recorded. */
int process_find_again(const struct job *j, struct instance *i, struct err *e);
bool process_is_watched(struct instance *i, enum host_state *ret_state);

/* The machine that it is, or when it is off would be.  Finish with spec_fini. */
int process_spec_locked(const struct instance *i, struct vm_spec *ret, struct err *e);

/* ---- what the files process*.c share ---- */

/* Of a file in the instance's folder; owned. */
char *process_path(const struct instance *i, const char *name);
/* vm.log with its lock; -EBUSY: the machine is alive. */
int process_log(const struct instance *i, bool create, struct err *e);
bool process_is_alive(const struct instance *i);
/* The last thing that it complained of since its start; false: it did not. */
bool process_last_error(const struct instance *i, char ret[240]);
/* It has ended, or did not start: what it had of the host beside files is given back. */
void process_leave_locked(struct instance *i);
/* It was not even started: recorded; `r`. */
int process_not_started(struct task *t, int r, const struct err *e);
struct spawn;
/* Until it answers, and is watched; or ended.  `vm` is taken. */
int process_started(struct task *t, struct spawn *vm, struct err *e);
/* An instance of kind os: socle-os, with vm.log's lock. */
int process_os_start(struct task *t, int log, u64 log_at, struct err *e);
/* Of a child that ended. */
int process_child_status(pid_t pid);
/* Asks a machine that may be anyone's; its pidfd.  *ret_state: what it is doing. */
int process_ask(const struct instance *i, pid_t *ret_pid, enum host_state *ret_state,
                struct err *e);
/* `pidfd` is the instance's from now on. */
int process_watch(struct instance *i, int pidfd, pid_t pid, bool child, enum host_state state,
                  struct err *e);
