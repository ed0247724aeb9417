/*
 * cpu/soft/native_oracle.c: the child that runs single instructions on the host's CPU.
 */
#include "cpu/soft/native_oracle.h"

#include <asm/ldt.h>
#include <cpuid.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

enum {
    CS64 = 0x33,
    CS32 = 0x23,
    SS_FLAT = 0x2b,
    CS16 = 0x07,
    DS16 = 0x0f, /* entries 0 and 1 of the local descriptor table */
    TF = 0x100,
    TIMEOUT_MS = 5000,
};
/* Of what sigreturn lets through: arithmetic flags and DF. */
#define FLAGS_MASK 0xcd5u

struct shared {
    struct oracle_test t[ORACLE_BATCH];
    u32 n; /* to run */
    u32 done;
};

struct oracle {
    struct shared *sh;
    pid_t child;
    int to_child, from_child;
};

/* --- in the child --- */

static struct shared *here;
static int order_fd, answer_fd;

static const u8 greg_of[16] = {
    REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
    REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

static void set_data_segments(u32 selector)
{
    __asm__ volatile("mov %0, %%ds\n\tmov %0, %%es" : : "r"(selector));
}

static void load_state(ucontext_t *uc, const struct oracle_test *t)
{
    greg_t *g = uc->uc_mcontext.gregs;
    u64 cs = t->bits == 64   ? CS64
             : t->bits == 32 ? CS32
                             : CS16,
        ss = t->bits == 16 ? DS16 : SS_FLAT;

    memset((void *)ORACLE_CODE, 0xcc, ORACLE_CODE_SIZE);
    u64 at = t->in.rip + (t->bits == 16 ? ORACLE_CODE : 0);
    memcpy((void *)(uintptr_t)at, t->code, t->len);
    memcpy((void *)ORACLE_DATA, t->data, ORACLE_DATA_SIZE);
    for (u32 i = 0; i < 16; i++)
        g[greg_of[i]] = (greg_t)t->in.reg[i];
    g[REG_RIP] = (greg_t)t->in.rip;
    g[REG_EFL] = (greg_t)((t->in.rflags & FLAGS_MASK) | 0x202 | (t->whole ? 0 : TF));
    g[REG_CSGSFS] = (greg_t)(((u64)g[REG_CSGSFS] & 0x0000ffffffff0000ull) | cs | ss << 48);
    memcpy(uc->uc_mcontext.fpregs, t->in.xsave, 464); /* behind it: the kernel's own notes */
    memcpy((u8 *)uc->uc_mcontext.fpregs + 512, t->in.xsave + 512, ORACLE_XSAVE - 512);
    set_data_segments((u32)ss);
}

static void take_state(const ucontext_t *uc, struct oracle_test *t)
{
    const greg_t *g = uc->uc_mcontext.gregs;

    for (u32 i = 0; i < 16; i++)
        t->out.reg[i] = (u64)g[greg_of[i]];
    t->out.rip = (u64)g[REG_RIP];
    t->out.rflags = (u32)g[REG_EFL];
    memcpy(t->out.xsave, uc->uc_mcontext.fpregs, ORACLE_XSAVE);
    memcpy(t->data, (void *)ORACLE_DATA, ORACLE_DATA_SIZE);
    t->vector = (u32)g[REG_TRAPNO];
    t->error = (u32)g[REG_ERR];
    t->cr2 = (u64)g[REG_CR2];
}

static void next_order(void)
{
    char b = 0;

    if (write(answer_fd, &b, 1) != 1 || read(order_fd, &b, 1) != 1)
        syscall(SYS_exit, 0);
    here->done = 0;
}

static void on_signal(int sig [[maybe_unused]], siginfo_t *info [[maybe_unused]], void *context)
{
    static bool running;

    __asm__ volatile(
        "pushfq\n\tandl $~0x244000, (%rsp)\n\tpopfq"); /* ID, AC, NT that a POPF has set */
    set_data_segments(SS_FLAT);
    if (running) {
        take_state(context, &here->t[here->done]);
        here->done++;
    }
    if (!running || here->done >= here->n)
        next_order();
    running = true;
    load_state(context, &here->t[here->done]);
}

static void map_low(u64 at, u64 size, int prot)
{
    if (mmap((void *)(uintptr_t)at, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
        MAP_FAILED)
        _exit(3);
}

static void add_segment(u32 entry, u64 base, bool code)
{
    struct user_desc d = {
        .entry_number = entry,
        .base_addr = (u32)base,
        .limit = 0xffff,
        .contents = code ? MODIFY_LDT_CONTENTS_CODE : MODIFY_LDT_CONTENTS_DATA,
    };

    if (syscall(SYS_modify_ldt, 1, &d, sizeof(d)) != 0)
        _exit(5);
}

static _Noreturn void child_main(struct shared *sh, int from_parent, int to_parent)
{
    static const int signals[] = { SIGSEGV, SIGILL, SIGFPE, SIGTRAP, SIGBUS };
    static u8 stack[65536];
    stack_t alt = { .ss_sp = stack, .ss_size = sizeof(stack) };
    struct sigaction act = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK };

    here = sh;
    order_fd = from_parent;
    answer_fd = to_parent;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    map_low(ORACLE_CODE, ORACLE_CODE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC);
    map_low(ORACLE_DATA, ORACLE_DATA_SIZE, PROT_READ | PROT_WRITE);
    add_segment(0, ORACLE_CODE, true);
    add_segment(1, ORACLE_DATA, false);
    sigaltstack(&alt, NULL);
    for (size_t i = 0; i < ARRAY_LEN(signals); i++)
        sigaction(signals[i], &act, NULL);
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT) < 0)
        _exit(4);
    __asm__ volatile("ud2");
    __builtin_unreachable();
}

/* --- in the parent --- */

static void reap(struct oracle *o)
{
    if (o->child > 0) {
        kill(o->child, SIGKILL);
        waitpid(o->child, NULL, 0);
    }
    o->child = 0;
    fd_close(&o->to_child);
    fd_close(&o->from_child);
}

static int answer(struct oracle *o, struct err *e)
{
    struct pollfd p = { .fd = o->from_child, .events = POLLIN };
    u8 b;

    if (poll(&p, 1, TIMEOUT_MS) == 1 && read(o->from_child, &b, 1) == 1)
        return 0;
    int status = 0;
    u32 at = o->sh->done;
    kill(o->child, SIGKILL);
    waitpid(o->child, &status, 0);
    o->child = 0;
    reap(o);
    return err_set(e, -EIO, "the native child ended at test %u (status %#x)", at, status);
}

static int start(struct oracle *o, struct err *e)
{
    int down[2], up[2];

    if (pipe(down) < 0)
        return err_errno(e, "make a pipe");
    if (pipe(up) < 0) {
        close(down[0]);
        close(down[1]);
        return err_errno(e, "make a pipe");
    }
    o->child = fork();
    if (o->child == 0)
        child_main(o->sh, down[0], up[1]);
    close(down[0]);
    close(up[1]);
    o->to_child = down[1];
    o->from_child = up[0];
    if (o->child < 0) {
        reap(o);
        return err_errno(e, "fork the native child");
    }
    return answer(o, e);
}

bool oracle_is_emulated(void)
{
    u32 a = 0, b = 0, c = 0, d = 0;

    __cpuid(0x40000000, a, b, c, d);
    return b == 0x54474354 && c == 0x43544743 && d == 0x47435447; /* TCGTCGTCGTCG */
}

struct oracle *oracle_new(struct err *e)
{
    if (oracle_is_emulated()) {
        err_set(e, -ENOTSUP, "this machine's CPU is emulated");
        return NULL;
    }
    if (!__builtin_cpu_is("amd")) {
        err_set(e, -ENOTSUP, "where the manuals leave a choice the engine does as AMD's CPUs");
        return NULL;
    }

    struct oracle *o = xnew(struct oracle);
    o->to_child = o->from_child = -1;
    o->sh = mmap(NULL, sizeof(*o->sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (o->sh == MAP_FAILED || start(o, e) < 0) {
        oracle_free(o);
        return NULL;
    }
    return o;
}

void oracle_free(struct oracle *o)
{
    if (!o)
        return;
    reap(o);
    if (o->sh != MAP_FAILED)
        munmap(o->sh, sizeof(*o->sh));
    free(o);
}

struct oracle_test *oracle_tests(struct oracle *o)
{
    return o->sh->t;
}

int oracle_run(struct oracle *o, u32 n, struct err *e)
{
    must(n > 0 && n <= ORACLE_BATCH);
    if (o->child == 0) {
        int r = start(o, e);
        if (r < 0)
            return r;
    }
    o->sh->n = n;
    if (write(o->to_child, "", 1) != 1)
        return err_errno(e, "order the native child");
    return answer(o, e);
}

bool oracle_can(struct oracle *o, u32 bits)
{
    /* mov eax, [ORACLE_DATA]; of 16-bit code a NOP shows enough */
    static const u8 load[] = { 0xa1, 0x00, 0x00, 0x50, 0x00 }, nop[] = { 0x90 };
    struct oracle_test *t = &o->sh->t[0];
    struct err e = {};

    if (bits == 64)
        return true;
    *t = (struct oracle_test){ .bits = (u8)bits,
                               .len = bits == 32 ? sizeof(load) : sizeof(nop),
                               .in.rip = (bits == 16 ? 0 : ORACLE_CODE) + 0x800,
                               .data = { 0x5a } };
    memcpy(t->code, bits == 32 ? load : nop, t->len);
    if (oracle_run(o, 1, &e) < 0 || (t->vector != 1 && t->vector != 3))
        return false;
    return bits == 16 || t->out.reg[0] == 0x5a;
}
