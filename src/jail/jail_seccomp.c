/*
 * jail/jail_seccomp.c: loads the filter of a thread's role, and ends the process when a thread
 * makes a call it has no row for.
 * The filters are compiled when Socle is built (jail_gen.c), so that loading one is a copy and a
 * system call.
 *   (1) A refused call is not made: the kernel sends SIGSYS instead.  The handler prints which call
 *       it was and ends the process.
 *   (2) Without the handler (blocked or replaced by a compromised thread) the kernel's default or
 *       the refusal remains.
 */
#include "jail/jail_bpf.inc"
#include "jail/jail_rows.h"

#include <assert.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { FILTER_MAX = 1024 };
static_assert(ARRAY_LEN(filters) == JAIL_ROLES, "one filter a role");

static _Thread_local char thread_name[16];
static _Thread_local const char *thread_role;

/* Text for the handler, which may interrupt anything and so calls nothing but write. */
struct line {
    char text[256];
    size_t len;
};

static void put(struct line *l, const char *s)
{
    while (*s && l->len < sizeof(l->text))
        l->text[l->len++] = *s++;
}

static void put_number(struct line *l, u64 v, unsigned base)
{
    char digits[24];
    size_t at = sizeof(digits);

    digits[--at] = '\0';
    do {
        digits[--at] = "0123456789abcdef"[v % base];
        v /= base;
    } while (v);
    put(l, digits + at);
}

static const char *name_of(int nr)
{
    const char *s = syscall_names;

    if (nr < 0 || nr >= SYSCALL_NAMES)
        return "unknown";
    while (nr-- > 0)
        s += strlen(s) + 1;
    return *s ? s : "unknown";
}

static void on_sigsys(int sig, siginfo_t *info, void *context)
{
    const greg_t *regs = ((const ucontext_t *)context)->uc_mcontext.gregs;
    const greg_t args[] = { regs[REG_RDI], regs[REG_RSI], regs[REG_RDX] };
    struct line l = {};

    (void)sig;
    put(&l, "seccomp: thread '");
    put(&l, thread_name);
    put(&l, "' (role ");
    put(&l, thread_role ? thread_role : "none");
    put(&l, ") called syscall ");
    put_number(&l, (u64)(unsigned)info->si_syscall, 10);
    put(&l, " (");
    put(&l, name_of(info->si_syscall));
    put(&l, "), arguments");
    for_each_row(a, args) {
        put(&l, " 0x");
        put_number(&l, (u64)*a, 16);
    }
    put(&l, ", for which it has no row\n");
    (void)!write(STDERR_FILENO, l.text, l.len);
    _exit(JAIL_EXIT_STATUS);
}

static int handler_result;

static void install_handler(void)
{
    struct sigaction sa = { .sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO | SA_ONSTACK };

    sigfillset(&sa.sa_mask);
    handler_result = sigaction(SIGSYS, &sa, NULL) < 0 ? -errno : 0;
}

const struct sock_filter *jail_seccomp_filter(enum jail_role role, unsigned *ret_n)
{
    must(role < JAIL_ROLES);
    *ret_n = filters[role].n;
    return filters[role].ins;
}

/* The filter in our own copy, so that the pid can be put in. */
static int load(enum jail_role role, struct err *e)
{
    struct sock_filter ins[FILTER_MAX];
    struct sock_fprog prog = { .filter = ins };
    unsigned n;
    const struct sock_filter *from = jail_seccomp_filter(role, &n);
    u32 pid = (u32)getpid();

    must(n <= FILTER_MAX);
    prog.len = (unsigned short)n;
    for (unsigned i = 0; i < n; i++) {
        ins[i] = from[i];
        if (BPF_CLASS(ins[i].code) == BPF_JMP && ins[i].k == JAIL_OWN_PID)
            ins[i].k = pid;
    }
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) < 0)
        return err_errno(e, "load the seccomp filter of role '%s'", jail_role_name(role));
    return 0;
}

int jail_seccomp(enum jail_role role, struct err *e)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    sigset_t set;

    pthread_once(&once, install_handler);
    if (handler_result < 0)
        return err_code(e, handler_result, "install the handler of SIGSYS");
    sigemptyset(&set);
    sigaddset(&set, SIGSYS);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    prctl(PR_GET_NAME, thread_name);
    thread_role = jail_role_name(role);
    /* jail_enter did it, unless a debugging run left that out */
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_errno(e, "set no_new_privs");
    return load(role, e);
}
