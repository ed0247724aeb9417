/*
 * cmd/socle_box_vm.c: the program `socle-box-vm`: what is a container's first process on the host when the container is a machine
 * (socle-box --isolate vm), and what stands for another process in it.  Only socle-box runs it:
 *     socle-box-vm machine FD    FD: a file of struct vm_machine's JSON (box/vm_machine.h)
 *     socle-box-vm exec FD PATH PID  FD: a file of VM_PROCESS's JSON; PATH: the machine's socket; PID: the container's first process
 */
#include "base/base.h"

#include "box/vm_link.h"
#include "box/vm_machine.h"
#include "box/vm_proxy.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static int read_text(const char *number, struct strbuf *ret, struct err *e)
{
    AUTO(free) char *text = NULL;
    size_t len;
    u64 fd;
    int r;

    if (str_u64(number, &fd) < 0 || fd > INT32_MAX)
        return err_set(e, -EINVAL, "'%.20s' is no descriptor", number);
    r = fd_read_whole((int)fd, VM_PROCESS_MAX, &text, &len);
    if (r < 0)
        return err_code(e, r, "read descriptor %llu", fd);
    close((int)fd);
    strbuf_add_mem(ret, text, len);
    return 0;
}

static bool is_gone(void *arg)
{
    u64 pid;

    return str_u64(arg, &pid) < 0 || pid > INT32_MAX || (kill((pid_t)pid, 0) < 0 && errno == ESRCH);
}

static int run(char **argv, bool machine, struct err *e)
{
    AUTO(strbuf) struct strbuf text = {};
    AUTO(fd) int link = -1;
    AUTO(fd) int signals = -1;
    const struct vm_waiting waiting = { .is_gone = is_gone, .arg = argv[4] };
    int number = 0, r = read_text(argv[2], &text, e);

    if (r < 0 || machine)
        return r < 0 ? r : vm_machine_run(text.text, e);
    r = signals = vm_proxy_signals(e);
    if (r >= 0)
        r = vm_proxy_drop_rights(0, e);
    if (r >= 0)
        r = link = vm_proxy_reach(argv[3], signals, &waiting, &number, e);
    if (number)
        return 128 + number;
    return r < 0 ? r : vm_proxy_run(link, signals, text.text, NULL, e);
}

int main(int argc, char **argv)
{
    const bool machine = argc == 3 && strcmp(argv[1], "machine") == 0;
    struct err e = {};
    int r;

    log_set_name("socle-box");
    if (!machine && !(argc == 5 && strcmp(argv[1], "exec") == 0)) {
        fprintf(
            stderr,
            "usage: socle-box-vm machine FD | exec FD PATH PID\n(it is started by socle-box)\n");
        return 2;
    }
    r = run(argv, machine, &e);
    if (r < 0)
        log_error("%s", e.text);
    return r < 0 ? VM_STATUS_FAILED : r;
}
