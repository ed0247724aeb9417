/*
 * jail/jail_rows_test.c: do the compiled filters say what the rows say, and do the rows refuse what
 * they must? The filters are run by a small BPF machine here, so that every system call can be
 * tried in every role.
 */
#include "jail/jail_rows.h"

#include "testlib/test.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/kvm.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The instructions that libseccomp uses; anything else fails the test. */
static u32 run_filter(enum jail_role role, const struct seccomp_data *data)
{
    unsigned n;
    const struct sock_filter *ins = jail_seccomp_filter(role, &n);
    u32 acc = 0;

    for (unsigned pc = 0; pc < n; pc++) {
        const struct sock_filter *i = &ins[pc];

        switch (i->code) {
        case BPF_LD | BPF_W | BPF_ABS:
            must(range_ok(i->k, sizeof(acc), sizeof(*data)));
            memcpy(&acc, (const u8 *)data + i->k, sizeof(acc));
            break;
        case BPF_ALU | BPF_AND | BPF_K:
            acc &= i->k;
            break;
        case BPF_JMP | BPF_JA:
            pc += i->k;
            break;
        case BPF_JMP | BPF_JEQ | BPF_K:
            pc += acc == i->k ? i->jt : i->jf;
            break;
        case BPF_JMP | BPF_JGE | BPF_K:
            pc += acc >= i->k ? i->jt : i->jf;
            break;
        case BPF_JMP | BPF_JGT | BPF_K:
            pc += acc > i->k ? i->jt : i->jf;
            break;
        case BPF_RET | BPF_K:
            return i->k;
        default:
            CHECK_EQ(i->code, BPF_RET | BPF_K);
        }
    }
    return SECCOMP_RET_LOG; /* ran past its end: no filter says that */
}

static bool holds(const struct jail_cond *c, const struct seccomp_data *data)
{
    u64 v = data->args[c->arg];

    switch (c->op) {
    case JAIL_EQ:
        return v == c->value;
    case JAIL_BELOW:
        return v < c->value;
    case JAIL_LACKS:
        return !(v & c->value);
    case JAIL_HAS:
        return (v & c->value) == c->value;
    default:
        return true;
    }
}

static u32 want(enum jail_role role, const struct seccomp_data *data)
{
    unsigned n;
    const struct jail_row *rows = jail_rows(&n);

    for (unsigned i = 0; i < n; i++) {
        if (rows[i].nr == data->nr && (rows[i].roles & (1u << role)) && holds(&rows[i].cond, data))
            return SECCOMP_RET_ALLOW;
    }
    return SECCOMP_RET_TRAP;
}

static void compare(enum jail_role role, int nr, unsigned arg, u64 value)
{
    struct seccomp_data data = { .nr = nr, .arch = AUDIT_ARCH_X86_64 };
    char why[80];

    data.args[arg] = value;
    str_fmt(why, sizeof(why), "role %s, call %d, argument %u = 0x%llx", jail_role_name(role), nr,
            arg, value);
    test_row(why);
    CHECK_EQ(run_filter(role, &data), want(role, &data));
    test_row(NULL);
}

TEST(filters_say_what_the_rows_say)
{
    unsigned n;
    const struct jail_row *rows = jail_rows(&n);

    for (unsigned role = 0; role < JAIL_ROLES; role++) {
        for (int nr = 0; nr < 512; nr++) {
            compare(role, nr, 0, 0);
            compare(role, nr, 1, ~0ull);
        }
        for (unsigned i = 0; i < n; i++) {
            u64 v = rows[i].cond.value;
            u64 near[] = { v, v + 1, v - 1, v | 1ull << 32, v << 1, ~v, ~0ull, 0 };

            for_each_row(value, near)
                compare(role, rows[i].nr, rows[i].cond.arg, *value);
        }
    }
}

TEST(other_call_tables_are_refused)
{
    for (unsigned role = 0; role < JAIL_ROLES; role++) {
        struct seccomp_data i386 = { .nr = 3, .arch = AUDIT_ARCH_I386 };
        struct seccomp_data x32 = { .nr = 0x40000000 | SYS_read, .arch = AUDIT_ARCH_X86_64 };

        CHECK_EQ(run_filter(role, &i386), SECCOMP_RET_KILL_PROCESS);
        CHECK_EQ(run_filter(role, &x32), SECCOMP_RET_KILL_PROCESS);
    }
}

enum { MAIN = 1 << JAIL_MAIN, VCPU = 1 << JAIL_VCPU, IO = 1 << JAIL_IO, IO_NET = 1 << JAIL_IO_NET };
enum { UNPACK = 1 << JAIL_UNPACK, SHARE = 1 << JAIL_SHARE };
enum { MACHINE = MAIN | VCPU | IO | IO_NET, EVERY = MACHINE | UNPACK | SHARE };

TEST(what_no_role_may_do)
{
    /* clang-format off */
    static const struct {
        const char *why;
        unsigned roles;
        int nr;
        u64 args[4];
    } rows[] = {
        { "another program",          EVERY,           SYS_execve,        {} },
        { "another program by fd",    EVERY,           SYS_execveat,      {} },
        { "fork",                     EVERY,           SYS_fork,          {} },
        { "clone",                    EVERY,           SYS_clone,         { CLONE_VM | CLONE_THREAD } },
        { "clone3",                   EVERY,           SYS_clone3,        {} },
        { "trace",                    EVERY,           SYS_ptrace,        {} },
        { "another's memory",         EVERY,           SYS_process_vm_readv, {} },
        { "mount",                    EVERY,           SYS_mount,         {} },
        { "namespaces",               EVERY,           SYS_unshare,       {} },
        { "namespaces by fd",         EVERY,           SYS_setns,         {} },
        { "user",                     EVERY,           SYS_setuid,        {} },
        { "a new ring",               VCPU | IO | IO_NET, SYS_io_uring_setup, {} },
        { "bpf",                      EVERY,           SYS_bpf,           {} },
        { "perf",                     EVERY,           SYS_perf_event_open, {} },
        { "userfaultfd",              EVERY,           SYS_userfaultfd,   {} },
        { "keys",                     EVERY,           SYS_keyctl,        {} },
        { "signal to all",            EVERY,           SYS_kill,          { ~0ull, SIGKILL } },
        { "signal to another",        EVERY,           SYS_tgkill,        { 1, 1, SIGKILL } },
        { "code in new memory",       EVERY,           SYS_mmap,          { 0, 4096, PROT_READ | PROT_EXEC } },
        { "code in protection keys",  EVERY,           SYS_pkey_mprotect, {} },
        { "write a file by path",     EVERY,           SYS_creat,         {} },
        { "open by path, newer",      MACHINE,         SYS_openat2,       {} },
        { "our handler of SIGSYS",    EVERY,           SYS_rt_sigaction,  { SIGSYS } },
        { "the same, cut by kernel",  EVERY,           SYS_rt_sigaction,  { 1ull << 32 | SIGSYS } },
        { "a new machine",            EVERY,           SYS_ioctl,         { 3, KVM_CREATE_VM } },
        { "a new vCPU",               EVERY,           SYS_ioctl,         { 3, KVM_CREATE_VCPU } },
        { "input to the terminal",    EVERY,           SYS_ioctl,         { 0, TIOCSTI } },
        { "run the guest",            MAIN | IO | IO_NET | UNPACK, SYS_ioctl,      { 3, KVM_RUN } },
        { "internet",                 MAIN | VCPU | IO | UNPACK, SYS_socket,       { AF_INET } },
        { "local sockets",            EVERY,           SYS_socket,        { AF_UNIX } },
        { "raw packets",              EVERY,           SYS_socket,        { AF_PACKET } },
        { "netlink",                  EVERY,           SYS_socket,        { AF_NETLINK } },
        { "disk requests",            VCPU | IO_NET,   SYS_io_uring_enter, {} },
        { "a vCPU's wait on a loop",  VCPU,            SYS_epoll_wait,    {} },
#ifndef JAIL_SANITIZED
        { "read a file by path",      MAIN | VCPU | IO, SYS_openat,       { 0, 0, O_RDONLY } },
        { "write a file by path",     IO_NET | UNPACK, SYS_openat,        { 0, 0, O_RDWR } },
        { "make a file",              IO_NET | UNPACK, SYS_openat,        { 0, 0, O_CREAT } },
        { "code in old memory",       EVERY,           SYS_mprotect,      { 0, 4096, PROT_EXEC } },
        { "look at a path",           MAIN | VCPU | IO, SYS_newfstatat,   { 0, 0, 0, 0 } },
#endif
    };
    /* clang-format on */

    for_each_row(c, rows) {
        for (unsigned role = 0; role < JAIL_ROLES; role++) {
            struct seccomp_data data = { .nr = c->nr, .arch = AUDIT_ARCH_X86_64 };

            if (!(c->roles & (1u << role)))
                continue;
            ROW(c);
            memcpy(data.args, c->args, sizeof(c->args));
            CHECK_EQ(run_filter(role, &data), SECCOMP_RET_TRAP);
        }
    }
}

static bool same(const struct jail_row *a, const struct jail_row *b)
{
    return a->nr == b->nr && (a->roles & b->roles) && a->cond.op == b->cond.op &&
           a->cond.arg == b->cond.arg && a->cond.value == b->cond.value;
}

TEST(no_row_is_there_twice_or_without_a_reason)
{
    unsigned n;
    const struct jail_row *rows = jail_rows(&n);

    for (unsigned i = 0; i < n; i++) {
        test_row(rows[i].name);
        CHECK(rows[i].why[0]);
        CHECK(rows[i].roles);
        for (unsigned k = 0; k < i; k++)
            CHECK(!same(&rows[i], &rows[k]));
    }
    test_row(NULL);
}

TEST(rows_are_printed_for_each_role)
{
    AUTO(strbuf) struct strbuf b = {};

    jail_rows_print(&b);
    CHECK_HAS(b.text, "main:\n");
    CHECK_HAS(b.text, "io-net:\n");
    CHECK_HAS(b.text, "ioctl KVM_RUN                    runs the guest  [argument 1 = 0xae80]\n");
    CHECK_HAS(b.text, "[argument 0 = own process]\n");
    CHECK_HAS(b.text, "[argument 2 lacks 0x4]\n");
}
