/*
 * cmd/socle_guest.c: the program `socle-guest`: process 1 of a machine that is a container (socle-box --isolate vm).  It is /init of an initial
 * RAM disk (tools/isolate.sh).
 */
#include "base/base.h"

#include "box/vm_guest.h"

#include <stdio.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

int main(void)
{
    struct err e = {};

    if (getpid() != 1) {
        fprintf(stderr,
                "socle-guest is process 1 of a machine; socle-box --isolate vm starts it\n");
        return 2;
    }
    log_set_name("socle-guest");
    umask(0); /* modes are as they are written; launch_exec sets the program's */
    (void)vm_guest_run(&e);
    log_error("%s", e.text);
    sync();
    reboot(RB_POWER_OFF);
    return 1;
}
