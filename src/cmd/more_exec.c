/*
 * cmd/more_exec.c: in `socle`: what it has not itself is done by `socle-more`, which takes this process's place.
 */
#include "cmd/more.h"
#include "host/spawn.h"

#include <unistd.h>

char **more_argv;

static int become(struct err *e)
{
    AUTO(free) char *program = spawn_find("socle-more", "SOCLE_MORE");

    execv(program, more_argv);
    return err_errno(e, "start '%s', which does this", program);
}

int remote_open(struct rest *, const char *, struct err *e)
{
    return become(e);
}

int remote_open_new(struct rest *, const char *, char[100], struct err *e)
{
    return become(e);
}

int transfer_upload(struct rest *, const char *, char **, struct err *e)
{
    return become(e);
}

int verb_export(struct verb *, struct err *e)
{
    return become(e);
}

int verb_pool_export(struct verb *, struct err *e)
{
    return become(e);
}

int verb_doctor(struct verb *, struct err *e)
{
    return become(e);
}

int verb_top(struct verb *, struct err *e)
{
    return become(e);
}
