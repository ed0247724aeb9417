/*
 * host/default_dir.c: where a user's instances are.  By itself, since clients want this of host/ and nothing else.
 */
#include "host/host.h"

#include <stdlib.h>
#include <unistd.h>

char *host_default_dir(void)
{
    const char *dir = getenv("SOCLE_DIR"), *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");

    if (dir && *dir)
        return xdup(dir);
    if (geteuid() == 0)
        return xdup(HOST_DIR_ROOT);
    if (data && data[0] == '/')
        return str_new("%s/socle", data);
    return home && home[0] == '/' ? str_new("%s/.local/share/socle", home) : NULL;
}
