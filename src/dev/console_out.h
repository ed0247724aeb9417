/*
 * dev/console_out.h: a console's output on its way: one ring, and who takes it, each at his own pace; private to console.c.
 * No locks: the caller has chardev's.
 */
#pragma once

#include "base/base.h"

#include "dev/console.h"

/* An fd that output is written to.  Not blocking, unless it is a regular file; the caller's. */
struct console_taker {
    int fd;      /* -1: none */
    bool lost;   /* it went away: nothing is written any more */
    u32 behind;  /* so many of the ring's newest bytes it has not taken */
    u64 held_ns; /* since when it takes nothing; 0: it took all */
};

struct console_out {
    struct console_taker taker[CHARDEV_CLIENTS];
    bool waits;   /* output waits for who takes it; else only the newest is kept */
    bool to_file; /* it takes everything */
    bool comes;   /* takers come and go */
    bool lost;    /* ... else: the one there was went away for good */
    u32 first,
        n; /* of the bytes in the ring that somebody is still to get; those before them are there, too, until they are overwritten */
    u64 written; /* bytes, ever */
    u64 stream;  /* a number of its own */
    u8 ring[CHARDEV_RING];
};

void console_out_init(struct console_out *o);
/* He gets what nobody took if he is the first one, else what comes.  His place, or -1: there is none left. */
int console_out_add(struct console_out *o, int fd);
/* He gets a head (base/console_head.h), and all that the ring still has. */
int console_out_add_with_head(struct console_out *o, int fd);
/* What was written before `o` began, so nobody is to get it but who gets a head.  Before all else. */
void console_out_past(struct console_out *o, const void *data, u32 len);
void console_out_remove(struct console_out *o, u32 i);

/* Takes bytes in order, writes what it can; returns how many it took. */
u32 console_out_write(struct console_out *o, const void *data, u32 len);
/* Writes what it can. */
void console_out_drain(struct console_out *o);
/* Is somebody there whom output waits for? */
bool console_out_is_awaited(const struct console_out *o);
/* Does this one hold up a device that waits, and has for `ns`? */
bool console_out_is_stuck(const struct console_out *o, u32 i, u64 ns);

static inline bool console_taker_wants(const struct console_taker *t)
{
    return t->fd >= 0 && !t->lost && t->behind > 0;
}
