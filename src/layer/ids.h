/*
 * layer/ids.h: the user and group ids that an ordinary user may give to files of images and to containers: 0 is the user itself,
 * 1 and up are the range that /etc/subuid and /etc/subgid give to it.  Whoever mounts the layers, or runs what is in them, must
 * use the same ids.
 */
#pragma once

#include "base/base.h"

struct ids_range {
    u32 first, n; /* n 0: there is none */
};

struct ids {
    u32 uid, gid;            /* who is 0 inside */
    struct ids_range sub[2]; /* users, groups; both or none */
};

/* Of the user who runs this process: the first range of each file. */
void ids_find(struct ids *ret);
/* The first range that `text`, in the form of /etc/subuid, has for the user of this name or number. */
struct ids_range ids_parse(const char *text, const char *name, u32 uid);

/*
 * Becomes root of a new user namespace with these ids, by newuidmap(1) and newgidmap(1).  Where there is no range, or no such
 * program, only 0 exists in it: *ret_single.  Only before a second thread exists.
 */
int ids_enter(const struct ids *ids, bool *ret_single, struct err *e);
/* Is this the first user namespace, in which trusted.* attributes are allowed to root? */
bool ids_is_initial(void);
