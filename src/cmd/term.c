/*
 * cmd/term.c: raw mode of the terminal, and back on every way out.
 */
#include "cmd/term.h"

#include <signal.h>
#include <unistd.h>

static const int fatal_signals[] = { SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE };

/* What a handler of a fatal signal restores; NULL when nothing is to be done. */
static struct term *_Atomic current;

/* Only async-signal-safe calls; SA_RESETHAND made the default action ours, so the signal kills when it is raised again. */
static void on_fatal(int sig)
{
    struct term *t = current;

    if (t && t->raw)
        tcsetattr(STDIN_FILENO, TCSANOW, &t->saved);
    raise(sig);
}

void term_open(struct term *t)
{
    struct sigaction sa = { .sa_handler = on_fatal, .sa_flags = SA_RESETHAND };

    *t = (struct term){ .is_tty = isatty(STDIN_FILENO) };
    if (!t->is_tty || tcgetattr(STDIN_FILENO, &t->saved) < 0) {
        t->is_tty = false;
        return;
    }
    current = t;
    for_each_row(s, fatal_signals)
        sigaction(*s, &sa, NULL);
}

void term_raw(struct term *t)
{
    struct termios raw = t->saved;

    if (!t->is_tty || t->raw || tcgetpgrp(STDIN_FILENO) != getpgrp())
        return;
    cfmakeraw(&raw);
    /* TCSADRAIN keeps what was typed before */
    t->raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
}

void term_restore(struct term *t)
{
    if (!t->raw)
        return;
    tcsetattr(STDIN_FILENO, TCSANOW, &t->saved); /* draining could wait for ever */
    t->raw = false;
}
