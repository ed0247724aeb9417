/*
 * box/sync.h: what the runtime and the process that becomes the container's say to each other while it is made.
 * A SOCK_SEQPACKET pair; its closing says that the other is gone, or that the exec happened.
 *
 *     runtime                       process
 *        │ <── SYNC_MAPS (staged) ──   │    write my maps
 *        │ ──── SYNC_GO ─────────────> │    maps are written
 *        │ <─── SYNC_PID (staged) ───  │    who the first process is; from now on it is the one who speaks
 *        │ ──── SYNC_GO ─────────────> │    (staged) its number is known
 *        │ <─── SYNC_HOOKS ──────────  │    namespaces and mounts are there, the root is not entered
 *        │ ──── SYNC_GO ─────────────> │    prestart and createRuntime hooks have run
 *        │ <─── SYNC_READY ──────────  │    all is done but the exec
 *        │ ──── SYNC_GO ─────────────> │    (run, exec) do it
 *        │ <─── SYNC_ERROR ──────────  │    at any time: what failed
 */
#pragma once

#include "base/base.h"

#include <sys/types.h>

enum sync_kind { SYNC_GO = 1, SYNC_MAPS, SYNC_PID, SYNC_HOOKS, SYNC_READY, SYNC_ERROR };

struct sync_msg {
    u32 kind;
    s32 pid;
    struct err err; /* SYNC_ERROR */
};

/* Both ends close on exec. */
int sync_pair(int ret[2], struct err *e);
int sync_send(int fd, enum sync_kind kind, pid_t pid);
/* The error travels; nobody may be there to hear it. */
void sync_fail(int fd, const struct err *err);
/*
 * Waits for a message.  Its kind, and *ret_pid; the sender's negative errno with its text in `e`; -EPIPE when the other end is
 * closed.
 */
int sync_wait(int fd, pid_t *ret_pid, struct err *e);
/* The same for SYNC_GO alone: 0, or negative. */
int sync_wait_go(int fd, pid_t *ret_pid, struct err *e);
/* One file, by SCM_RIGHTS, with a word. */
int sync_send_fd(int socket, int fd, const char *word);
int sync_take_fd(int socket);
