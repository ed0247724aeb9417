/*
 * cmd/socle_vm.c: the process of one virtual machine.  Started by `socle run` (host/spawn.h says what the two promise).
 */
#include "base/base.h"

#include "host/exit_status.h"
#include "vm/vm.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SPEC_MAX (1 * MiB)

static int read_spec(int fd, struct vm_spec *spec, struct err *e)
{
    AUTO(free) char *text = NULL;
    size_t len = 0;
    int r = fd_read_whole(fd, SPEC_MAX, &text, &len);

    if (r == -EFBIG)
        return err_set(e, -EINVAL, "specification of %zu bytes: allowed are 1 to %llu", len,
                       SPEC_MAX);
    if (r < 0)
        return err_code(e, r, "specification on descriptor %d", fd);
    close(fd);
    return spec_parse(spec, text, len, e);
}

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
    struct vm_spec spec = {};
    struct err e = {};
    u64 fd;
    int r;

    log_set_name("socle-vm");
    mallopt(M_ARENA_MAX, 1); /* one heap: threads allocate next to nothing */
    sigaction(SIGPIPE, &ignore, NULL);
    if (argc != 3 || strcmp(argv[1], "--spec-fd") != 0 || str_u64(argv[2], &fd) < 0 ||
        fd > INT32_MAX) {
        fprintf(stderr, "usage: socle-vm --spec-fd N\n(it is started by `socle run`)\n");
        return EXIT_STATUS_USAGE;
    }
    r = read_spec((int)fd, &spec, &e);
    if (r >= 0) {
        log_set_level(spec.verbose ? LOG_LEVEL_INFO : LOG_LEVEL_NOTICE);
        r = run(&spec, &e);
    }
    if (r < 0)
        log_error("%s", e.text);
    spec_fini(&spec);
    return r < 0 ? EXIT_STATUS_START : r;
}
