/*
 * dev/console_host.h: the host's side of a character stream, private to console.c: which fds are behind a backend.
 */
#pragma once

#include "base/base.h"

enum { CONSOLE_PTY_PATH = 64 };

struct console_host {
    int in, out;  /* may be the same; -1: none.  Non-blocking, except regular files */
    int listener; /* -1: none.  in and out are then none, too: it has clients */
    int slave;    /* of a pseudo-terminal, held open so that the master never hangs up; -1: none */
    bool waits;   /* the device waits for a slow reader; else only the newest output is kept */
    bool to_file; /* out is a regular file */
    char pty[CONSOLE_PTY_PATH];
    /* File status flags to give back, because someone else shares them; -1: none. */
    int in_flags, out_flags;
};

/* Owned in *ret. */
int console_host_open(const char *backend, struct console_host *ret, struct err *e);
void console_host_close(struct console_host *h);
/* The next client of the listener: -1 when there is none. */
int console_host_accept(struct console_host *h);
