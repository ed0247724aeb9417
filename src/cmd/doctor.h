/*
 * cmd/doctor.h: what this host has of what machines want, and what to do about the rest.
 */
#pragma once

#include "base/base.h"

enum doctor_state {
    DOCTOR_OK,
    DOCTOR_NOTE, /* machines run, but slower, with less room, or behind fewer walls */
    DOCTOR_BAD,  /* something will fail */
    DOCTOR_STATES,
};
extern const char *const doctor_state_words[DOCTOR_STATES + 1]; /* ends with NULL */

struct doctor_finding {
    const char *what;
    enum doctor_state state;
    char found[400];
    char advice[400]; /* "": nothing is to be done */
};

enum { DOCTOR_FINDINGS = 9 };

/* Looks, as the user who calls, at what a machine with its files in `dir` would meet: a second at most, and a child is made.  Only
 * from the one thread of a process. */
void doctor_look(const char *dir, struct doctor_finding ret[DOCTOR_FINDINGS]);
