/*
 * base/err.h: the one error idiom: a negative errno as the result, and where a person will read it, a message in the
 * caller's `struct err`.  Set where the fact is known, wrapped on the way up, printed once at the edge.
 */
#pragma once

#include "base/base.h"

struct err {
    int code;       /* negative errno of the first err_set; 0 when nothing failed */
    char text[240]; /* "open disk 'a.img': no such file or directory" */
    char field[32]; /* the part of what a user wrote that is at fault; "" when it is not one part */
};

/* Records `code` (a negative errno) and the message; returns `code`.  `e` may be NULL. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* As err_set with -errno, and ": <what errno means>" after the message. */
int err_errno(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* As err_errno for a negative errno that a call returned. */
int err_code(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Notes which part of what a user wrote is at fault; returns e->code, or `-EINVAL` when `e` is NULL. */
int err_field(struct err *e, const char *name);

/* Puts "<message>: " before what is there; returns e->code (or `-EIO` when `e` is NULL or empty). */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
