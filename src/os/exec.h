/*
 * os/exec.h: programs that clients run in the container, at the socket FOLDER/exec.
 * Both sides send frames: a byte that says what it is, the length of what follows in four (big-endian), and that.
 *
 *     client to us                                          us to the client
 *     0  what to run: JSON, struct os_program; once, first  1  its standard output, or its terminal's
 *     1  its input; empty: that is all of it                2  its standard error
 *     2  size of the terminal: rows, columns, two bytes each  3  it ended: its exit status, or 128 and a signal's number, four bytes; the last
 *     3  a signal for it: one byte                          4  it was not started: why, as text; the last
 *
 * A client that goes takes its program with it (SIGHUP, as with a terminal).
 */
#pragma once

#include "base/base.h"

#include "base/loop.h"
#include "os/spec.h"

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

enum { OS_PROGRAMS_MAX = 64 };

struct os_program_run;

struct os_exec {
    struct loop *loop;
    const struct os_spec *spec;
    int listener;
    struct loop_fd door;
    char *path;
    struct os_program_run *run[OS_PROGRAMS_MAX]; /* NULL: none */
    bool ready;                                  /* there is a container to run it in */
};

int os_exec_open(struct os_exec *x, struct loop *l, const struct os_spec *s, struct err *e);
/* A child ended; false: it is none of these. */
bool os_exec_ended(struct os_exec *x, pid_t pid, int status);
void os_exec_close(struct os_exec *x);

/* The frame at the begin of `p`: its bytes in all; 0: it is not complete; -EBADMSG: it is too long. */
ssize_t os_frame_parse(const u8 *p, size_t len, u8 *ret_kind, const u8 **ret_data, size_t *ret_len);
void os_frame_add(struct strbuf *out, u8 kind, const void *data, size_t len);
