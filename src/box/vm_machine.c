/*
 * box/vm_machine.c: runs socle-vm in the container's namespaces and control group, with the container's root file system as a shared folder.
 *   (1) It is the container's first process on the host: with its end the machine ends, and the machine's end is its own.
 *   (2) Once the machine is started it keeps one capability, to end it.
 *   (3) What comes from the guest are frames (box/vm_link.h) and nothing else: no descriptor, no path.
 */
#include "box/vm_machine.h"

#include "box/vm_proxy.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { GUEST_CID = 3, SAID_MAX = 200 };

/* ---- socle-vm ---- */

static char *spec_text(const struct vm_machine *m)
{
    AUTO(free) char *socket = str_new("%s/vm", m->dir), *log = str_new("%s/console.log", m->dir);
    json_t *j = json_pack("{s:s, s:I, s:I, s:s, s:s, s:s, s:[{s:s}], s:[{s:s, s:s}], "
                          "s:{s:s, s:s}, s:{s:i, s:s}, s:b}",
                          "name", "box", "memory", (json_int_t)m->memory, "cpus",
                          (json_int_t)m->cpus, "kernel", m->kernel, "initrd", m->initrd, "append",
                          "console=ttyS0 quiet panic=-1", "nets", "kind", "user", "shares", "tag",
                          "root", "path", m->root, "console", "backend", "none", "log", log,
                          "vsock", "cid", GUEST_CID, "path", socket, "balloon", 0);
    char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;

    json_decref(j);
    return text;
}

static int start_vm(const struct vm_machine *m, pid_t *ret, struct err *e)
{
    AUTO(free) char *text = spec_text(m), *log = str_new("%s/vm.log", m->dir);
    AUTO(fd) int spec = memfd_create("spec", 0);
    AUTO(fd)
    int said = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
    char number[16], option[] = "--spec-fd";
    char *argv[] = { m->program, option, number, NULL };
    int r;

    if (!text || spec < 0 || said < 0)
        return err_errno(e, "describe its machine");
    r = fd_write_all(spec, text, strlen(text));
    if (r < 0 || lseek(spec, 0, SEEK_SET) < 0)
        return err_code(e, r < 0 ? r : -errno, "describe its machine");
    str_fmt(number, sizeof(number), "%d", spec);
    *ret = fork();
    if (*ret < 0)
        return err_errno(e, "start a process");
    if (*ret == 0) {
        const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        sigset_t none;

        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        setpgid(0, 0); /* what is typed is the container's */
        if (null >= 0 && dup3(null, 0, 0) == 0 && dup3(null, 1, 0) == 1 && dup3(said, 2, 0) == 2)
            execve(m->program, argv, environ);
        _exit(127);
    }
    return 0;
}

/* What socle-vm said of its end, a line. */
static int told_why(const struct vm_machine *m, int status, struct err *e)
{
    AUTO(free) char *path = str_new("%s/vm.log", m->dir);
    AUTO(free) char *text = fd_read_virtual(path, 16 * KiB);
    char *line = text && *text ? text : NULL, *next;

    for (; line && (next = strchr(line, '\n')) && next[1]; line = next + 1)
        ;
    if (line)
        line[strcspn(line, "\n")] = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127 && !line)
        return err_set(e, -ENOENT, "--isolate vm: start '%.120s'", m->program);
    if (WIFSIGNALED(status))
        return err_set(e, -EIO, "its machine ended: signal %d", WTERMSIG(status));
    return err_set(e, -EIO, "its machine ended: %.*s", SAID_MAX, line ? line : "it said nothing");
}

/* ---- until the guest answers ---- */

static pid_t vm_pid;
static int vm_status;
static bool vm_ended;

/* All children: as first process of a namespace ours are also those that others left. */
static void reap(void)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        if (pid == vm_pid) {
            vm_ended = true;
            vm_status = status;
        }
}

static bool is_gone(void *arg [[maybe_unused]])
{
    return vm_ended;
}

/* Its link broke, so it ends, or has. */
static int wait_why(const struct vm_machine *m, struct err *e)
{
    while (!vm_ended && waitpid(vm_pid, &vm_status, 0) != vm_pid)
        if (errno != EINTR)
            return err_errno(e, "wait for socle-vm");
    vm_ended = true;
    return told_why(m, vm_status, e);
}

static int serve(const struct vm_machine *m, struct err *e)
{
    const struct vm_waiting waiting = { .is_gone = is_gone, .on_child = reap };
    AUTO(free) char *socket = str_new("%s/vm", m->dir);
    AUTO(fd) int signals = vm_proxy_signals(e);
    AUTO(fd) int link = -1;
    int number = 0, r = signals;

    if (r >= 0)
        r = start_vm(m, &vm_pid, e);
    if (r >= 0)
        r = vm_proxy_drop_rights(1ull << CAP_KILL, e);
    if (r >= 0)
        r = link = vm_proxy_reach(socket, signals, &waiting, &number, e);
    if (number)
        r = 128 + number;
    else if (r >= 0)
        r = vm_proxy_run(link, signals, m->process, reap, e);
    if (r == -EPIPE || r == -ESRCH)
        r = wait_why(m, e);
    if (vm_pid > 0 && !vm_ended) {
        kill(vm_pid, SIGKILL);
        while (waitpid(vm_pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    return r;
}

int vm_machine_run(const char *text, struct err *e)
{
    struct vm_machine m = {};
    int r = conf_parse_text(vm_machine_fields, &m, text, strlen(text), e);

    if (r >= 0)
        r = serve(&m, e);
    conf_fini(vm_machine_fields, &m);
    return r;
}
