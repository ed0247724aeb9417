/*
 * net/dial.h: connections to unix sockets of the host, for a process that can no longer open anything by path.
 * A small process, made before the jail, holds the paths: asked for a number N it connects to "PREFIX_N" and hands the
 * connection over.  It can be asked for nothing else, and ends when the asking end is closed.
 */
#pragma once

#include "base/base.h"

/* Makes the process.  The asking end (non-blocking; readable when an answer waits), or a negative errno.  Closing it ends all. */
int dial_open(const char *prefix, struct err *e);

/* Asks.  `cookie` comes back with the answer.  0; -EAGAIN: too many questions wait; or another negative errno: it is gone. */
int dial_ask(int fd, u64 cookie, u32 number);

/* 1 and an answer: in *ret_fd an owned, non-blocking connection, or a negative errno; 0: none waits; negative errno: it is gone. */
int dial_answer(int fd, u64 *ret_cookie, int *ret_fd);
