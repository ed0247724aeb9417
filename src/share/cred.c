/*
 * share/cred.c: the file system ids of the thread that serves, set for a request.
 * Permissions are the guest's kernel's affair, which has looked whether its program may: so the capabilities stay, whatever the ids are
 * (securebits, no_setuid_fixup), and only owner and group of what is made come of them.
 */
#include "share/cred.h"

#include "share/share_internal.h"

#include <sys/syscall.h>
#include <unistd.h>

static void set(u32 uid, u32 gid)
{
    /* of this thread only, as the libc's are, too; they say nothing of failing */
    syscall(SYS_setfsgid, gid);
    syscall(SYS_setfsuid, uid);
}

void cred_take(const struct share *s, const struct fuse_in_header *h)
{
    if (s->ids)
        set(h->uid, h->gid);
}

void cred_back(const struct share *s)
{
    if (s->ids)
        set(0, 0);
}
