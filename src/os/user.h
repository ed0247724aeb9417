/*
 * os/user.h: who a name is inside a root file system.
 */
#pragma once

#include "base/base.h"

enum { OS_GROUPS_MAX = 64, OS_ACCOUNTS_MAX = 1024 * 1024 };

struct os_user {
    u32 uid, gid;
    u32 groups[OS_GROUPS_MAX];
    u32 n_groups;
    char home[256];
};

/* `who`: "NAME|UID[:GROUP|GID]", NULL: 0.  `root`: a descriptor of the root file system, whose files are the container's: hostile. */
int os_user_find(int root, const char *who, struct os_user *ret, struct err *e);
/* The same in the texts of the two files, which are taken apart. */
int os_user_in(char *passwd, char *groups, const char *who, struct os_user *ret, struct err *e);
