/*
 * cmd/term.h: the user's terminal as the guest's: raw while we are in the foreground, as it was whenever we are not.
 */
#pragma once

#include "base/base.h"

#include <termios.h>

struct term {
    bool is_tty; /* stdin is a terminal */
    bool raw;    /* now */
    struct termios saved;
};

/* Remembers how stdin's terminal is.  Restores it also when this process dies of its own fault.  One at a time. */
void term_open(struct term *t);
/* Raw, if stdin is a terminal and we are its foreground process group; else nothing.  May be repeated. */
void term_raw(struct term *t);
/* As it was.  May be repeated. */
void term_restore(struct term *t);
