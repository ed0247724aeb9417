/*
 * jail/jail_rows.h: the allow-list of system calls as rows; for jail_gen, which compiles it, and
 * for tests.
 */
#pragma once

#include "jail/jail.h"

#include <linux/filter.h>

/*
 * Built with AddressSanitizer (gcc and clang say so in different ways), which needs rows of its
 * own.
 */
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define JAIL_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define JAIL_SANITIZED 1
#endif

/* What an argument must be for the row to count. */
enum jail_op {
    JAIL_ANY,
    JAIL_EQ,    /* argument == value */
    JAIL_BELOW, /* argument < value, unsigned */
    JAIL_LACKS, /* no bit of value is set */
    JAIL_HAS,   /* all bits of value are set */
};

struct jail_cond {
    enum jail_op op;
    unsigned arg; /* 0..5 */
    u64 value;
};

struct jail_row {
    const char *name; /* as in <asm/unistd.h>; for an ioctl the request, too */
    int nr;
    unsigned roles; /* 1 << enum jail_role */
    struct jail_cond cond;
    const char *why;
};

/*
 * Stands in the compiled filters where jail_seccomp puts the process's own id: no pid and no ioctl
 * request is this.
 */
#define JAIL_OWN_PID 0x7f00feedu

/*
 * Borrowed for ever; *ret_n of them.  Most frequent calls first: that is the order of the checks.
 */
const struct jail_row *jail_rows(unsigned *ret_n);

/* The compiled filter of a role, with JAIL_OWN_PID unreplaced; *ret_n instructions. */
const struct sock_filter *jail_seccomp_filter(enum jail_role role, unsigned *ret_n);
