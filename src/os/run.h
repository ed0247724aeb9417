/*
 * os/run.h: a program that a client has run for it, and talks with in frames.
 * Both sides send frames: a byte that says what it is, the length of what follows in four (big-endian), and that.
 *
 *     client to us                                          us to the client
 *     0  what to run: JSON, struct os_program; once, first  1  its standard output, or its terminal's
 *     1  its input; empty: that is all of it                2  its standard error
 *     2  size of the terminal: rows, columns, two bytes each  3  it ended: its exit status, or 128 and a signal's number, four bytes; the last
 *     3  a signal for it: one byte                          4  it was not started: why, as text; the last
 *
 * What is run, and where, is the affair of who has a struct os_runner: a container (os/exec.h), or the host (host/shell.h).
 */
#pragma once

#include "base/base.h"

#include "base/loop.h"

enum os_frame {
    OS_FRAME_RUN = 0,
    OS_FRAME_IN = 1,
    OS_FRAME_SIZE = 2,
    OS_FRAME_SIGNAL = 3,
    OS_FRAME_OUT = 1,
    OS_FRAME_ERR = 2,
    OS_FRAME_END = 3,
    OS_FRAME_FAILED = 4,
    OS_FRAME_HEAD = 5,         /* bytes */
    OS_FRAME_MAX = 256 * 1024, /* of what follows */
};

struct os_run;

/* A program that was started; descriptors are the taker's, not blocking, -1: none.  Of a terminal `in` and `out` are two of its master. */
struct os_started {
    pid_t pid;
    bool terminal;
    int in, out, err;
};

struct os_runner {
    struct loop *loop;
    /* Starts what the client's first frame says; what of *ret there is after a failure is taken, too. */
    int (*start)(void *arg, const u8 *text, size_t len, struct os_started *ret, struct err *e);
    /* The last call: the client is gone.  pid > 0: its program runs, and was told nothing. */
    void (*gone)(void *arg, pid_t pid);
};

/* `client` is taken, a connected stream that does not block; `by` stays.  NULL: it cannot be watched; it is closed then. */
struct os_run *os_run_new(const struct os_runner *by, void *arg, int client);
/* Its program ended; `status` is waitpid's.  What it wrote and the end are told; the client closes then. */
void os_run_ended(struct os_run *p, int status);
/* 0: none, or it ended. */
pid_t os_run_pid(const struct os_run *p);
/* Sends the client away. */
void os_run_free(struct os_run *p);

/* The frame at the begin of `p`: its bytes in all; 0: it is not complete; -EBADMSG: it is too long. */
ssize_t os_frame_parse(const u8 *p, size_t len, u8 *ret_kind, const u8 **ret_data, size_t *ret_len);
void os_frame_add(struct strbuf *out, u8 kind, const void *data, size_t len);
