/*
 * base/loop.h: a libuv loop that a thread of ours runs, and work handed to it from other threads.
 * Everything done to the uv handles of a loop is done on its thread: by its callbacks, or through loop_call.
 */
#pragma once

#include "base/base.h"

#include <pthread.h>
#include <uv.h>

struct loop {
    uv_loop_t uv;
    pthread_t handle; /* of the thread that loop_start made; valid while `started` */
    bool started;
    pthread_t runner; /* who is in loop_run; guarded by `lock`, valid while not `closed` */
    uv_async_t wake;
    pthread_mutex_t lock;    /* guards `calls`, `stop`, `runner` */
    pthread_cond_t done;     /* a call was finished */
    struct loop_call *calls; /* newest first */
    bool stop;
    atomic_bool closed;   /* the thread ended or never ran: calls run on the caller's thread */
    pthread_mutex_t held; /* recursive; who touches a closed loop has it, before `lock` */
    const char *name;     /* of the thread; borrowed */
    /* First thing on the new thread (a jail's last step); may be NULL. */
    void (*on_start)(void *arg);
    void *on_start_arg;
};

/* `l` is the caller's memory and must not move.  0 or a negative errno. */
int loop_init(struct loop *l, const char *name);
/* Runs until loop_stop, on the calling thread. */
void loop_run(struct loop *l);
/* Starts a thread of the loop's name that does loop_run.  0 or a negative errno. */
int loop_start(struct loop *l);
/* From any thread: loop_run returns soon. */
void loop_stop(struct loop *l);
/* loop_stop, then waits for the thread.  Harmless when it was never started. */
void loop_join(struct loop *l);
/* Once loop_run has returned, for who still turns the loop or closes handles while others call: their calls wait between. */
void loop_hold(struct loop *l);
void loop_release(struct loop *l);
/* Closes what handles are left, frees.  Not while it runs. */
void loop_fini(struct loop *l);

/* From any thread: runs fn(arg) on the loop's thread and waits for it.  Directly when called there, or when it does not run. */
void loop_call(struct loop *l, void (*fn)(void *arg), void *arg);

/* One fd watched on a loop.  Embedded, zeroed when not open; must not move between open and close. */
struct loop_fd {
    uv_poll_t *poll; /* on the heap: libuv frees handles later than we close them */
    void (*on_ready)(struct loop_fd *f, int events); /* events: UV_READABLE | UV_WRITABLE */
    void *arg;
};
/* On the loop's thread.  `fd` stays the caller's.  0 or a negative errno. */
int loop_fd_open(struct loop *l, struct loop_fd *f, int fd, int events,
                 void (*on_ready)(struct loop_fd *, int), void *arg);
/* The same from any thread, as loop_call does it. */
int loop_fd_attach(struct loop *l, struct loop_fd *f, int fd, int events,
                   void (*on_ready)(struct loop_fd *, int), void *arg);
void loop_fd_detach(struct loop *l, struct loop_fd *f);
/* Changes what is watched; 0 pauses. */
void loop_fd_events(struct loop_fd *f, int events);
/* On the loop's thread; `f` may be reused when this returns, and its fd closed.  Harmless when not open. */
void loop_fd_close(struct loop_fd *f);
