/*
 * os/user_fuzz.c: any texts as /etc/passwd and /etc/group of a container: NAME, passwd and group, with a zero byte between.  Who is found has
 * numbers that exist, and a number is found whatever the files say.
 */
#include "os/user.h"

#include "testlib/fuzz.h"

#include <stdlib.h>

FUZZ(user)
{
    AUTO(free) char *text = xnew_n(char, size + 3); /* ends each of the three */
    char *passwd, *groups;
    struct os_user u;

    memcpy(text, data, size);
    passwd = text + strlen(text) + 1;
    groups = passwd < text + size ? passwd + strlen(passwd) + 1 : text + size + 1;
    if (passwd > text + size)
        passwd = text + size + 1;
    if (groups > text + size)
        groups = text + size + 2;
    if (os_user_in(passwd, groups, text, &u, NULL) < 0) {
        u64 v;

        must(str_u64(text, &v) < 0 || v >= UINT32_MAX);
        return;
    }
    must(u.uid != UINT32_MAX && u.gid != UINT32_MAX && u.n_groups <= OS_GROUPS_MAX && u.home[0]);
    for (u32 i = 0; i < u.n_groups; i++)
        must(u.groups[i] != UINT32_MAX);
}
