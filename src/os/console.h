/*
 * os/console.h: the terminal of a container's first process: into a log, and to who is attached at FOLDER/console.
 */
#pragma once

#include "base/base.h"

#include "base/loop.h"

enum { CONSOLE_CLIENTS = 8 };

struct os_console;

struct os_console_client {
    int fd; /* -1: none */
    struct os_console *console;
    struct loop_fd watch;
    struct strbuf out; /* what it has not taken yet */
    bool headed;       /* it can come again and lacks nothing */
};

struct os_console {
    struct loop *loop;
    int master; /* -1: no container at the moment */
    struct loop_fd watch;
    int listener, log;
    struct loop_fd door;
    char *path; /* of the socket */
    struct os_console_client client[CONSOLE_CLIENTS];
    struct strbuf in, recent; /* for the terminal; the newest that was written */
    u64 written, stream;      /* bytes, ever; a number of its own */
    size_t unseen;            /* so much of the end of `recent` went to nobody */
};

/* Listens, and appends to FOLDER/console.log.  Finish with os_console_close, also after a failure. */
int os_console_open(struct os_console *c, struct loop *l, const char *folder, struct err *e);
/* `master` is taken; another one before is closed. */
int os_console_plug(struct os_console *c, int master, struct err *e);
/* What the container still wrote is taken, then there is none. */
void os_console_unplug(struct os_console *c);
void os_console_close(struct os_console *c);
