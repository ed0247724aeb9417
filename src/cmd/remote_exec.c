/*
 * cmd/remote_exec.c: in `socle`: what needs another machine is done by `socle-remote`, which takes this process's place.
 */
#include "cmd/remote.h"
#include "host/spawn.h"

#include <stdlib.h>
#include <unistd.h>

char **remote_argv;

static int become(struct err *e)
{
    AUTO(free) char *program = spawn_find("socle-remote", "SOCLE_REMOTE");

    execv(program, remote_argv);
    return err_errno(e, "start '%s', which reaches other machines", program);
}

int remote_open(struct rest *, const char *, struct err *e)
{
    return become(e);
}

int remote_open_new(struct rest *, const char *, char[100], struct err *e)
{
    return become(e);
}

/* A file's SHA-256 needs a library, too. */
int transfer_upload(struct rest *, const char *, char **, struct err *e)
{
    return become(e);
}

int transfer_download(struct rest *, const struct transfer_get *, struct err *e)
{
    return become(e);
}
