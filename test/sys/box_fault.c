/*
 * test/sys/box_fault.c: makes one system call of a command fail, or its processes run in an unusual order.
 * Usage: box_fault N ERRNO COMMAND [ARGUMENT]...
 * Counts the system calls of the command and of its children, in the order in which they happen, until a child executes another
 * program; the N-th is not made and returns -ERRNO.  Prints "COUNT NAME-NUMBER": how many there were, and which call the N-th was (-1: there
 * were fewer).  Calls that end or undo things are counted and not failed, see `kept`.  Exit status: the command's; 125: wrong use.
 * ERRNO 0: no call fails, and every process that made another is held until the other can do no more for QUIET_MS.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PIDS_MAX = 4096, FAILED = 125, QUIET_MS = 20 };

static struct {
    pid_t pid;
    bool failing; /* between the entry and the exit of the N-th */
} tracees[PIDS_MAX];

static long count, wanted, error, hit = -1;
static pid_t held;

/* Nothing can be undone when undoing fails; and a close never leaves the descriptor open, whatever it returns. */
static bool kept(long nr)
{
    static const long list[] = {
        SYS_close, SYS_exit,         SYS_exit_group,      SYS_unlinkat,
        SYS_kill,  SYS_rt_sigreturn, SYS_restart_syscall, SYS_pidfd_send_signal
    };

    for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
        if (list[i] == nr)
            return true;
    return false;
}

static bool *failing(pid_t pid)
{
    for (int i = 0; i < PIDS_MAX; i++) {
        if (tracees[i].pid == pid || !tracees[i].pid) {
            tracees[i].pid = pid;
            return &tracees[i].failing;
        }
    }
    abort();
}

static void change(pid_t pid, bool entry)
{
    struct user_regs_struct regs;

    if (ptrace(PTRACE_GETREGS, pid, 0, &regs) < 0)
        return;
    if (entry)
        regs.orig_rax = (unsigned long long)-1; /* no such call */
    else
        regs.rax = (unsigned long long)-error;
    ptrace(PTRACE_SETREGS, pid, 0, &regs);
}

static void on_syscall(pid_t pid)
{
    struct __ptrace_syscall_info info;
    bool *f = failing(pid);

    if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) <= 0)
        return;
    if (info.op == PTRACE_SYSCALL_INFO_EXIT && *f) {
        change(pid, false);
        *f = false;
    }
    if (info.op != PTRACE_SYSCALL_INFO_ENTRY || kept((long)info.entry.nr))
        return;
    if (++count != wanted || error == 0)
        return;
    hit = (long)info.entry.nr;
    *f = true;
    change(pid, true);
}

/* Is the new program the container's, and no more ours?  Ours has the same file, on a mount without a name. */
static bool is_foreign(pid_t pid, const struct stat *own)
{
    char path[64];
    struct stat st;

    snprintf(path, sizeof(path), "/proc/%d/exe", pid);
    return stat(path, &st) < 0 || st.st_ino != own->st_ino || st.st_dev != own->st_dev;
}

static void release(void)
{
    if (held)
        ptrace(PTRACE_SYSCALL, held, 0, 0);
    held = 0;
}

static bool is_birth(int status)
{
    const int event = status >> 16;

    return event == PTRACE_EVENT_CLONE || event == PTRACE_EVENT_FORK || event == PTRACE_EVENT_VFORK;
}

/* waitpid for any tracee; the held one goes on when the others have been quiet. */
static pid_t next_stop(int *ret_status)
{
    for (int ms = 0; held && ms < QUIET_MS; ms++) {
        pid_t pid = waitpid(-1, ret_status, __WALL | WNOHANG);

        if (pid != 0)
            return pid;
        usleep(1000); /* tidy: allow banned: a tracer has no loop */
    }
    release();
    return waitpid(-1, ret_status, __WALL);
}

/* Until the command itself ends; whom it leaves behind goes on untraced. */
static int watch(pid_t first, const struct stat *own)
{
    int status;
    pid_t pid;

    while ((pid = next_stop(&status)) > 0) {
        int sig = WIFSTOPPED(status) ? WSTOPSIG(status) : 0;

        if (!WIFSTOPPED(status)) {
            if (pid == first)
                return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            continue;
        }
        if (status >> 8 == (SIGTRAP | PTRACE_EVENT_EXEC << 8) && is_foreign(pid, own)) {
            ptrace(PTRACE_DETACH, pid, 0, 0);
            continue;
        }
        if (error == 0 && is_birth(status)) {
            release();
            held = pid;
            continue;
        }
        if (sig == (SIGTRAP | 0x80))
            on_syscall(pid);
        /* Our own stops, the first one of a new child, and events are no signals of the command. */
        if (sig == (SIGTRAP | 0x80) || status >> 16 || sig == SIGSTOP || sig == SIGTRAP)
            sig = 0;
        ptrace(PTRACE_SYSCALL, pid, 0, sig);
    }
    return FAILED;
}

int main(int argc, char **argv)
{
    struct stat own;
    int status;
    pid_t pid;

    if (argc < 4 || stat(argv[3], &own) < 0)
        return FAILED;
    wanted = strtol(argv[1], NULL, 10); /* tidy: allow banned: this program links nothing of src/ */
    error = strtol(argv[2], NULL, 10);  /* tidy: allow banned: this program links nothing of src/ */
    pid = fork();
    if (pid == 0) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
        /* tidy: allow banned: our output must end when we do, and a container lives on */
        dup2(STDERR_FILENO, STDOUT_FILENO);
        execv(argv[3], argv + 3);
        _exit(FAILED);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFSTOPPED(status))
        return FAILED;
    ptrace(PTRACE_SETOPTIONS, pid, 0,
           PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
               PTRACE_O_TRACECLONE);
    ptrace(PTRACE_CONT, pid, 0, 0);
    if (waitpid(pid, &status, 0) < 0 || !WIFSTOPPED(status)) /* the exec */
        return FAILED;
    ptrace(PTRACE_SYSCALL, pid, 0, 0);
    status = watch(pid, &own);
    printf("%ld %ld\n", count, hit);
    return status;
}
