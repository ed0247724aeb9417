/*
 * base/console_head.h: how a console's socket tells what was written before from what is written now.
 * A client that bound his own end to a name made by console_head_ask gets first, in one piece, a head of CONSOLE_HEAD_SIZE bytes
 * (little-endian): the word "soclehd1", the stream's number (u64), the position of its next byte (u64), and the length of the tail that
 * follows (u32, then 4 bytes 0): the last bytes before that position.  Then comes what is written from there on.  Nothing is between
 * them, and nothing is in both.  Other clients get plain bytes.  A guest cannot forge a head: it comes before all that the guest wrote.
 */
#pragma once

#include "base/base.h"

enum { CONSOLE_HEAD_SIZE = 32 };

struct console_head {
    u64 stream;   /* of one process; not 0 */
    u64 position; /* bytes written before */
    u32 before;   /* of them, so many follow */
};

u64 console_head_new_stream(void);
/* Binds a unix socket that is not connected yet.  Negative: an errno. */
int console_head_ask(int fd);
/* Has the one at the other end of `fd`, which was accepted, asked so? */
bool console_head_is_asked(int fd);

void console_head_put(u8 ret[CONSOLE_HEAD_SIZE], const struct console_head *h);
/* False: this is no head; a console of an older process has none. */
bool console_head_get(const void *data, size_t len, struct console_head *ret);
