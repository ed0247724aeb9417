/*
 * cpu/soft/stub_trap.c: a trap of the host's CPU inside a stub or a translation is the guest's; any other fault is our bug, and goes to whoever
 * had the signal before.  (Apart from stub_run.c because <ucontext.h> and soft.h both name a REG_RIP.)
 */
#include "cpu/soft/stub_trap.h"

#include <pthread.h>
#include <signal.h>
#include <ucontext.h>

enum { TRAP_DE, TRAP_UD = 6, TRAP_GP = 13, TRAP_PF, TRAP_MF = 16, TRAP_XM = 19 };

static const int trap_signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL };
static struct sigaction before[ARRAY_LEN(trap_signals)];

/* Not ours: to the handler that was there before; without one, the fault happens again and ends the process. */
static void pass_on(int sig, siginfo_t *info, void *context)
{
    for (size_t i = 0; i < ARRAY_LEN(trap_signals); i++) {
        const struct sigaction *old = &before[i];

        if (trap_signals[i] != sig)
            continue;
        if (old->sa_flags & SA_SIGINFO)
            old->sa_sigaction(sig, info, context);
        else if (old->sa_handler == SIG_DFL || old->sa_handler == SIG_IGN)
            sigaction(sig, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
        else
            old->sa_handler(sig);
    }
}

static void on_trap(int sig, siginfo_t *info, void *context)
{
    greg_t *reg = ((ucontext_t *)context)->uc_mcontext.gregs;
    u32 vector = (u32)reg[REG_TRAPNO];
    enum soft_trap whose = SOFT_TRAP_NONE;
    u64 pad;

    if (vector == TRAP_DE || vector == TRAP_UD || vector == TRAP_GP || vector == TRAP_MF ||
        vector == TRAP_XM)
        whose = soft_trap_pad((u64)reg[REG_RIP], 0, &pad);
    else if (vector == TRAP_PF)
        whose = soft_trap_pad((u64)reg[REG_RIP], (u64)reg[REG_CR2], &pad);
    if (whose == SOFT_TRAP_NONE || (whose == SOFT_TRAP_STUB && vector == TRAP_PF)) {
        pass_on(sig, info, context);
        return;
    }
    if (whose == SOFT_TRAP_STUB)
        reg[REG_RAX] = vector;
    reg[REG_RIP] = (greg_t)pad;
}

/* Others may have put theirs over it since (a test's runner does). */
static int catch_one(size_t i, struct err *e)
{
    struct sigaction act = { .sa_sigaction = on_trap,
                             .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK },
                     now;

    if (sigaction(trap_signals[i], NULL, &now) < 0)
        return err_errno(e, "look at the handler of signal %d", trap_signals[i]);
    if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_trap)
        return 0;
    before[i] = now;
    if (sigaction(trap_signals[i], &act, NULL) < 0)
        return err_errno(e, "catch signal %d", trap_signals[i]);
    return 0;
}

int soft_stubs_catch(struct err *e)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    int r = 0;

    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < ARRAY_LEN(trap_signals) && r >= 0; i++)
        r = catch_one(i, e);
    pthread_mutex_unlock(&lock);
    return r;
}
