/*
 * cmd/socle_vm.c: the process of one virtual machine.  Started by `socle run` (host/spawn.h says what the two promise).
 */
#include "base/base.h"

#include "base/exit_status.h"
#include "cmd/spec_fd.h"
#include "vm/vm.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The process's status for how the machine ended; says why when it was not the guest's own wish. */
static int report(const struct vm_spec *spec, const struct vm_result *res)
{
    switch (res->end) {
    case VM_END_POWEROFF:
        return EXIT_STATUS_OFF;
    case VM_END_EXIT:
        return (int)res->status;
    case VM_END_CUT:
        return EXIT_STATUS_SIGNAL + SIGTERM;
    case VM_END_SUSPENDED:
        return EXIT_STATUS_SUSPENDED;
    case VM_END_RESTORE:
        return EXIT_STATUS_RESTORE;
    case VM_END_CRASH:
        log_error("machine '%s' crashed: %s", spec->name, res->why);
        return EXIT_STATUS_CRASH;
    case VM_END_ENGINE:
    case VM_END_RESET:
        break;
    }
    log_error("machine '%s' had to be stopped: %s", spec->name, res->why);
    return EXIT_STATUS_VMM;
}

static int run(const struct vm_spec *spec, struct err *e)
{
    AUTO(vm) struct vm *vm = NULL;
    struct vm_result res = {};
    int r = vm_new(spec, &vm, e);

    if (r < 0)
        return r;
    if (spec->no_jail)
        log_warn("--no-jail: machine '%s' runs with all the rights of its user; for debugging only",
                 spec->name);
    else if ((r = vm_confine(vm, e)) < 0)
        return r;
    r = vm_run(vm, &res, e);
    return r < 0 ? r : report(spec, &res);
}

int main(int argc, char **argv)
{
    const struct sigaction ignore = { .sa_handler = SIG_IGN };
    AUTO(free) char *text = NULL;
    struct vm_spec spec = {};
    struct err e = {};
    size_t len;
    int r;

    log_set_name("socle-vm");
    mallopt(M_ARENA_MAX, 1); /* one heap: threads allocate next to nothing */
    sigaction(SIGPIPE, &ignore, NULL);
    r = spec_fd_read(argc, argv, &text, &len, &e);
    if (r == -EINVAL) {
        fprintf(stderr, "usage: socle-vm --spec-fd N\n(it is started by `socle run`)\n");
        return EXIT_STATUS_USAGE;
    }
    if (r >= 0)
        r = spec_parse(&spec, text, len, &e);
    if (r >= 0) {
        log_set_level(spec.verbose ? LOG_LEVEL_INFO : LOG_LEVEL_NOTICE);
        r = run(&spec, &e);
    }
    if (r < 0)
        log_error("%s", e.text);
    spec_fini(&spec);
    return r < 0 ? EXIT_STATUS_START : r;
}
