/*
 * jail/jail_rows.c: which system calls may a thread of socle-vm, socle-unpack or socle-share make, in which role, and why?
 * The only list: jail_gen compiles it to filters when the program is built, jail_rows_print shows
 * it, the test walks it.
 *   (1) A call without a row ends the process (jail_seccomp.c).  Several rows of one call: any of
 *       them allows it.
 *   (2) Nothing here makes a process or a thread, makes memory executable, or changes a credential, but JAIL_SHARE the owner
 *       of the files that it makes; nothing opens by path but JAIL_IO_NET for reading, in a root that holds resolv.conf only,
 *       JAIL_VIEW for reading, below /proc where there is Landlock, and JAIL_UNPACK and JAIL_SHARE, whose paths begin at their
 *       descriptors.
 *   (3) The first thread starts all others before it loads its own filter, and each of them loads
 *       its filter first: so no row is for starting one.
 */
#include "jail/jail_rows.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <linux/vhost.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#define M     (1u << JAIL_MAIN)
#define V     (1u << JAIL_VCPU)
#define I     (1u << JAIL_IO)
#define N     (1u << JAIL_IO_NET)
#define LOOPS (M | I | N)
#define ALL   (M | V | I | N)
#define U     (1u << JAIL_UNPACK)
#define W     (1u << JAIL_VIEW)
#define S     (1u << JAIL_SHARE)
#define EVERY (ALL | U | W | S)

#define SYS(name, roles, why)                                \
    {                                                        \
#name, __NR_##name, (roles), { JAIL_ANY, 0, 0 }, why \
    }
#define SYS_IF(name, roles, op, arg, value, why)                        \
    {                                                                   \
#name, __NR_##name, (roles), { JAIL_##op, (arg), (value) }, why \
    }
/*
 * A 64-bit comparison, although the kernel reads 32 bits: one instruction a row.  Callers pass
 * requests as unsigned.
 */
#define IOCTL(request, roles, why)                                             \
    {                                                                          \
        "ioctl " #request, __NR_ioctl, (roles), { JAIL_EQ, 1, (request) }, why \
    }

/* clang-format off */
static const struct jail_row rows[] = {
    /* the frequent ones */
    IOCTL(KVM_RUN,                   V,     "runs the guest"),
    SYS(read,                        EVERY, "eventfds, timerfds, console, control socket, taps"),
    SYS(write,                       EVERY, "eventfds (kicks, irqfds), console, taps, messages on stderr"),
    SYS(epoll_wait,                  LOOPS, "libuv waits"),
    SYS(epoll_pwait,                 LOOPS, "libuv waits"),
    SYS(io_uring_enter,              I | M, "submits disk requests and takes completions"),
    SYS(futex,                       EVERY, "locks and condition variables"),
    SYS(readv,                       LOOPS, "taps: header and data"),
    SYS(writev,                      ALL | W, "taps, console, libuv streams; answers of libfuse"),
    SYS(recvmsg,                     LOOPS, "control socket, also with files that it hands in; packets; replies of a folder's server"),
    SYS(sendmsg,                     LOOPS | S, "answers on the control socket; packets; requests to a folder's server, and its replies"),
    SYS(clock_gettime,               EVERY, "time where the vDSO cannot say it"),
    SYS(clock_getres,                EVERY, "libuv looks whether the coarse clock is good enough"),
    SYS(gettimeofday,                EVERY, "as clock_gettime"),

    /* disks */
    SYS(preadv,                      I | M, "disk reads without io_uring"),
    SYS(preadv2,                     I | M, "disk reads that may not wait"),
    SYS(pwritev,                     I | M, "disk writes without io_uring"),
    SYS(pwritev2,                    I | M | S, "disk writes with RWF_DSYNC; a guest's write by who keeps set-id bits"),
    SYS(pread64,                     I | M | U | W, "image headers and tables; a file of a control group again"),
    SYS(pwrite64,                    I | M | U,"image headers and tables"),
    SYS(fdatasync,                   I | M | S, "a guest's flush"),
    SYS(fsync,                       I | M | U | S, "a guest's flush after the file grew"),
    SYS(fallocate,                   ALL | S, "discard and write-zeroes; balloon pages back to the host"),
    SYS(ftruncate,                   I | M | U | S, "an image that grows or is resized"),
    SYS(lseek,                       I | M | N | U | S, "holes of a file; places in a directory; stdio on resolv.conf"),
    SYS(io_uring_register,           I | M, "buffers, files and event fd of a ring"),
    SYS(io_uring_setup,              M,     "rings for an overlay that a disk goes on in"),
    IOCTL(BLKDISCARD,                I | M, "discard on a host block device"),
    IOCTL(BLKSECDISCARD,             I | M, "secure erase on a host block device"),
    IOCTL(BLKZEROOUT,                I | M, "write-zeroes on a host block device"),
    IOCTL(BLKGETSIZE64,              I | M, "a host block device may have grown"),

    /* taps and sockets */
    IOCTL(TUNSETOFFLOAD,             ALL,   "offloads that the guest's driver negotiated"),
    IOCTL(TUNSETVNETHDRSZ,           ALL,   "header size that it negotiated"),
    IOCTL(TUNSETQUEUE,               ALL,   "queue pairs that it turned on or off"),
    IOCTL(TUNGETIFF,                 ALL,   "which interface an fd is"),
    IOCTL(FIONBIO,                   ALL,   "libuv and libslirp make fds non-blocking"),
    IOCTL(FIONREAD,                  LOOPS, "libslirp asks how much waits"),
    SYS(accept4,                     LOOPS, "control socket, console socket, programs that call a guest's vsock"),
    SYS(accept,                      N,     "libslirp: a forwarded port was called"),
    SYS(shutdown,                    LOOPS, "one side of a connection ended (control, libslirp, vsock)"),
    SYS(getsockopt,                  LOOPS, "SO_ERROR, SO_PEERCRED, SO_TYPE"),
    SYS(setsockopt,                  M | N, "buffer sizes, TCP_NODELAY, out-of-band in line"),
    SYS(getsockname,                 M | N, "libuv and libslirp: address of our end"),
    SYS(getpeername,                 M | N, "libuv and libslirp: address of the other end"),
    SYS(sendto,                      M | N, "packets; events that must not wait"),
    SYS(recvfrom,                    M | N | S, "packets; does the peer still live; requests of a guest"),
    SYS_IF(socket, N, EQ, 0, AF_INET,       "libslirp: the guest's connections"),
    SYS_IF(socket, N, EQ, 0, AF_INET6,      "libslirp: the guest's connections"),
    SYS(connect,                     N,     "libslirp: the guest's connections"),
    SYS(bind,                        N,     "libslirp: UDP and ICMP, forwarded ports"),
    SYS(listen,                      N,     "libslirp: forwarded ports"),
    SYS_IF(openat, N | U | W, LACKS, 2, O_ACCMODE | O_CREAT | O_TRUNC, "libslirp reads resolv.conf, all that its root holds; tables of character sets, which an empty root does not hold; processes in /proc"),

    /* loops, timers, files */
    SYS(epoll_ctl,                   ALL,   "fds of a loop come and go"),
    SYS(poll,                        LOOPS, "libuv looks at one fd; libslirp"),
    SYS(ppoll,                       LOOPS, "as poll"),
    SYS(eventfd2,                    ALL,   "an interrupt vector or a queue comes into use"),
    SYS(timerfd_create,              M | V, "a timer device comes into use"),
    SYS(timerfd_settime,             ALL,   "the guest programs a timer"),
    SYS(timerfd_gettime,             ALL,   "the guest reads a timer"),
    SYS(close,                       EVERY, "connections, eventfds, files handed in"),
    SYS_IF(fcntl, EVERY, EQ, 1, F_GETFL,      "is an fd non-blocking"),
    SYS_IF(fcntl, EVERY, EQ, 1, F_SETFL,      "make it so"),
    SYS_IF(fcntl, EVERY, EQ, 1, F_GETFD,      "is an fd close-on-exec"),
    SYS_IF(fcntl, EVERY, EQ, 1, F_SETFD,      "make it so"),
    SYS_IF(fcntl, I | M, EQ, 1, F_OFD_SETLK, "locks of images"),
    SYS_IF(fcntl, M, EQ, 1, F_DUPFD_CLOEXEC, "a second fd for another thread"),
    SYS_IF(newfstatat, ALL | W, HAS, 3, AT_EMPTY_PATH, "fstat as glibc does it: AT_EMPTY_PATH"),
    SYS_IF(newfstatat, N, EQ, 3, 0,         "libslirp: did resolv.conf change"),
    SYS(fstat,                       EVERY, "size and kind of an open file"),
    IOCTL(TCGETS,                    M,     "the terminal's mode; stdio asks whether it is one"),
    IOCTL(TCSETS,                    M,     "the terminal back to its mode"),
    IOCTL(TCSETSW,                   M,     "the terminal back to its mode, after its output"),
    IOCTL(TCSETSF,                   M,     "the terminal back to its mode, input dropped"),
    IOCTL(TIOCGWINSZ,                M,     "the terminal's size is the guest console's"),

    /* layers of images: below descriptors, and Landlock lets it nowhere else */
    SYS(openat2,                     U | S, "each entry's directory, each file; below the layer's root; each name that a guest looks up"),
    SYS(newfstatat,                  U | S, "what is at an entry's name"),
    SYS(mkdirat,                     U | S, "directories of a layer"),
    SYS(mknodat,                     U | S, "whiteouts, FIFOs, devices where they are allowed"),
    SYS(symlinkat,                   U | S, "symbolic links of a layer"),
    SYS(linkat,                      U | S, "hard links of a layer"),
    SYS(readlinkat,                  U | S, "a directory becomes a layer"),
    SYS(unlinkat,                    U | S, "an entry that is replaced, a layer that is removed"),
    SYS(renameat2,                   U | S, "a layer that is complete gets its name"),
    SYS(getdents64,                  U | W | S, "a layer is removed, a directory becomes one; threads in /proc"),
    SYS(fchownat,                    U | S, "owners of a layer's files"),
    SYS(fchmodat,                    U | S, "their modes"),
    SYS(fchmod,                      U | S, "modes of directories"),
    SYS(utimensat,                   U | S, "times of a layer's files"),
    SYS(fsetxattr,                   U,     "file capabilities, opaque directories"),
    SYS(fgetxattr,                   U,     "what is noted of a layer; a directory becomes one"),
    SYS(flistxattr,                  U,     "a directory becomes a layer"),
    SYS(flock,                       U,     "who makes a layer holds its lock"),
    SYS(syncfs,                      U | S, "a layer is on the disk before it has its name"),

    /* a guest's requests upon a folder: below descriptors, and nothing else is in the root */
    SYS(openat,                      S,     "a file of the folder by its descriptor's name in /proc/self/fd; new ones"),
    SYS(renameat,                    S,     "a rename without flags, as glibc calls it"),
    SYS(statx,                       S,     "what a name leads to"),
    SYS(fstatfs,                     S,     "how full the file system is"),
    SYS(copy_file_range,             S,     "the guest copies between files of the folder"),
    SYS(getxattr,                    S,     "extended attributes, by a descriptor's name"),
    SYS(listxattr,                   S,     "extended attributes, by a descriptor's name"),
    SYS(setxattr,                    S,     "extended attributes, by a descriptor's name"),
    SYS(removexattr,                 S,     "extended attributes, by a descriptor's name"),
    SYS(setfsuid,                    S,     "what is made belongs to whom the guest says"),
    SYS(setfsgid,                    S,     "what is made belongs to whom the guest says"),

    /* memory: never executable */
    SYS_IF(mmap, EVERY, LACKS, 2, PROT_EXEC,     "heap, large allocations"),
    SYS_IF(mprotect, EVERY, LACKS, 2, PROT_EXEC, "heap grows"),
    SYS(munmap,                      EVERY, "heap, stacks"),
    SYS(mremap,                      EVERY, "heap: realloc of large blocks"),
    SYS(madvise,                     EVERY, "balloon, free page reporting, heap trim"),
    SYS(brk,                         EVERY, "heap"),

    /* signals and threads of this process only */
    SYS(rt_sigreturn,                EVERY, "end of a handler"),
    SYS(rt_sigprocmask,              EVERY, "glibc and libuv around their work"),
    SYS_IF(rt_sigaction, EVERY, BELOW, 0, SIGSYS, "abort; libuv; not the handler that ends this process"),
    SYS(rt_sigtimedwait,             V,     "takes a kick that came too late"),
    SYS(sigaltstack,                 EVERY, "a thread ends"),
    SYS_IF(tgkill, EVERY, EQ, 0, JAIL_OWN_PID, "kicks a vCPU out of the guest; abort"),
    SYS(getpid,                      EVERY, "tgkill, abort"),
    SYS(gettid,                      EVERY, "tgkill, abort"),
    SYS(sched_yield,                 EVERY, "spinning libraries"),
    SYS(clock_nanosleep,             EVERY, "short waits"),
    SYS(nanosleep,                   EVERY, "short waits"),
    SYS(restart_syscall,             EVERY, "the kernel resumes a sleep after a stop"),
    SYS(exit,                        EVERY, "a thread ends"),
    SYS(exit_group,                  EVERY, "the process ends"),
    SYS_IF(prctl, EVERY, EQ, 0, PR_SET_NAME,  "a thread names itself"),
    SYS_IF(prctl, EVERY, EQ, 0, PR_GET_NAME,  "its first trace record keeps its name"),
    SYS(getrandom,                   EVERY, "the guest's entropy device; hash seeds"),
    SYS(getrusage,                   M | V, "CPU time for statistics and steal time"),
    SYS(sysinfo,                     M | U, "free memory of the host for the balloon; before qsort(3) takes some for much that is to be sorted"),

    /* KVM, the whole machine */
    IOCTL(KVM_IRQ_LINE,              ALL,   "interrupt lines"),
    IOCTL(KVM_IRQ_LINE_STATUS,       ALL,   "interrupt lines, was it merged"),
    IOCTL(KVM_SIGNAL_MSI,            ALL,   "message interrupts without an irqfd"),
    IOCTL(KVM_SET_GSI_ROUTING,       ALL,   "the guest programmed its message interrupts"),
    IOCTL(KVM_IRQFD,                 ALL,   "a vector comes into use"),
    IOCTL(KVM_IOEVENTFD,             ALL,   "a queue comes into use"),
    IOCTL(KVM_SET_USER_MEMORY_REGION, M | V, "RAM and ROM appear, move, log writes"),
    IOCTL(KVM_GET_DIRTY_LOG,         M,     "snapshots and migration"),
    IOCTL(KVM_CLEAR_DIRTY_LOG,       M,     "snapshots and migration"),
    IOCTL(KVM_GET_CLOCK,             M | V, "the guest's clock on pause"),
    IOCTL(KVM_SET_CLOCK,             M | V, "the guest's clock on resume"),
    IOCTL(KVM_GET_IRQCHIP,           M | V, "state of the interrupt controllers"),
    IOCTL(KVM_SET_IRQCHIP,           M | V, "reset, state"),
    IOCTL(KVM_GET_PIT2,              M | V, "state of the timer"),
    IOCTL(KVM_SET_PIT2,              M | V, "reset, state"),
    IOCTL(KVM_CHECK_EXTENSION,       M | V, "what this kernel has"),

    /* KVM, one vCPU; by MAIN when it is paused */
    IOCTL(KVM_GET_REGS,              M | V, "state"),
    IOCTL(KVM_SET_REGS,              M | V, "reset, state"),
    IOCTL(KVM_GET_SREGS,             M | V, "state"),
    IOCTL(KVM_SET_SREGS,             M | V, "reset, state"),
    IOCTL(KVM_GET_SREGS2,            M | V, "state with PAE's PDPTRs"),
    IOCTL(KVM_SET_SREGS2,            M | V, "state with PAE's PDPTRs"),
    IOCTL(KVM_GET_FPU,               M | V, "state"),
    IOCTL(KVM_SET_FPU,               M | V, "reset, state"),
    IOCTL(KVM_GET_XSAVE,             M | V, "state"),
    IOCTL(KVM_GET_XSAVE2,            M | V, "state beyond 4 KiB (AMX)"),
    IOCTL(KVM_SET_XSAVE,             M | V, "reset, state"),
    IOCTL(KVM_GET_XCRS,              M | V, "state"),
    IOCTL(KVM_SET_XCRS,              M | V, "reset, state"),
    IOCTL(KVM_GET_DEBUGREGS,         M | V, "state"),
    IOCTL(KVM_SET_DEBUGREGS,         M | V, "reset, state"),
    IOCTL(KVM_GET_MSRS,              M | V, "state"),
    IOCTL(KVM_SET_MSRS,              M | V, "reset, state"),
    IOCTL(KVM_GET_LAPIC,             M | V, "state"),
    IOCTL(KVM_SET_LAPIC,             M | V, "reset, state"),
    IOCTL(KVM_GET_MP_STATE,          M | V, "state"),
    IOCTL(KVM_SET_MP_STATE,          M | V, "reset, state"),
    IOCTL(KVM_GET_VCPU_EVENTS,       M | V, "state"),
    IOCTL(KVM_SET_VCPU_EVENTS,       M | V, "reset, state"),
    IOCTL(KVM_GET_NESTED_STATE,      M | V, "state of a guest that is a hypervisor"),
    IOCTL(KVM_SET_NESTED_STATE,      M | V, "state of a guest that is a hypervisor"),
    IOCTL(KVM_GET_TSC_KHZ,           M | V, "state"),
    IOCTL(KVM_SET_TSC_KHZ,           M | V, "state"),
    IOCTL(KVM_SET_CPUID2,            M | V, "features after a reset or a load"),
    IOCTL(KVM_KVMCLOCK_CTRL,         M | V, "tells the guest's watchdog that it was paused"),
    IOCTL(KVM_SET_GUEST_DEBUG,       M | V, "breakpoints of the debugger"),
    IOCTL(KVM_INTERRUPT,             V,     "split irqchip: the PIC's interrupt"),
    IOCTL(KVM_NMI,                   M | V, "the operator's NMI"),
    IOCTL(KVM_SMI,                   M | V, "firmware's SMI"),

    /* vsock in the host's kernel */
    IOCTL(VHOST_SET_OWNER,           M | V, "a vsock device comes into use"),
    IOCTL(VHOST_SET_FEATURES,        ALL,   "features that the driver chose"),
    IOCTL(VHOST_SET_MEM_TABLE,       ALL,   "where guest RAM is"),
    IOCTL(VHOST_SET_VRING_NUM,       ALL,   "a queue starts"),
    IOCTL(VHOST_SET_VRING_BASE,      ALL,   "a queue starts"),
    IOCTL(VHOST_GET_VRING_BASE,      ALL,   "a queue stops"),
    IOCTL(VHOST_SET_VRING_ADDR,      ALL,   "a queue starts"),
    IOCTL(VHOST_SET_VRING_KICK,      ALL,   "a queue starts"),
    IOCTL(VHOST_SET_VRING_CALL,      ALL,   "a queue starts"),
    IOCTL(VHOST_VSOCK_SET_GUEST_CID, M | V, "the guest's address"),
    IOCTL(VHOST_VSOCK_SET_RUNNING,   ALL,   "starts and stops it"),

#ifdef JAIL_SANITIZED
    /* AddressSanitizer: none of it is in what users get */
    SYS(openat,                      EVERY & ~S, "sanitizer: looks for /proc/self/maps; the root is empty"),
    SYS(open,                        EVERY, "sanitizer: as openat"),
    SYS(readlink,                    EVERY, "sanitizer: /proc/self/exe for its report"),
    SYS(stat,                        EVERY, "sanitizer: looks for a symbolizer"),
    SYS(newfstatat,                  ALL,   "sanitizer: looks for a symbolizer"),
    SYS(mprotect,                    EVERY, "sanitizer: shadow memory"),
    SYS(sched_getaffinity,           EVERY, "sanitizer: how many CPUs"),
    SYS(getrusage,                   I | N | U, "sanitizer: memory limits"),
    SYS(prctl,                       EVERY, "sanitizer: thread name and dumpable in its report"),
    SYS(getrlimit,                   EVERY, "sanitizer: end of the stack"),
    SYS(prlimit64,                   EVERY, "sanitizer: end of the stack"),
#endif
};
/* clang-format on */

static const char *const role_names[JAIL_ROLES] = {
    [JAIL_MAIN] = "main",     [JAIL_VCPU] = "vcpu",     [JAIL_IO] = "io",
    [JAIL_IO_NET] = "io-net", [JAIL_UNPACK] = "unpack", [JAIL_VIEW] = "view",
    [JAIL_SHARE] = "share",
};

const struct jail_row *jail_rows(unsigned *ret_n)
{
    *ret_n = ARRAY_LEN(rows);
    return rows;
}

const char *jail_role_name(enum jail_role role)
{
    must(role < JAIL_ROLES);
    return role_names[role];
}

static void print_cond(const struct jail_cond *c, struct strbuf *to)
{
    static const char *const ops[] = {
        [JAIL_EQ] = "=", [JAIL_BELOW] = "<", [JAIL_LACKS] = "lacks", [JAIL_HAS] = "has"
    };

    if (c->op == JAIL_ANY)
        return;
    if (c->value == JAIL_OWN_PID)
        strbuf_add(to, "  [argument %u %s own process]", c->arg, ops[c->op]);
    else
        strbuf_add(to, "  [argument %u %s 0x%llx]", c->arg, ops[c->op], c->value);
}

void jail_rows_print(struct strbuf *to)
{
    for (unsigned role = 0; role < JAIL_ROLES; role++) {
        strbuf_add(to, "%s:\n", role_names[role]);
        for_each_row(r, rows) {
            if (!(r->roles & (1u << role)))
                continue;
            strbuf_add(to, "  %-32s %s", r->name, r->why);
            print_cond(&r->cond, to);
            strbuf_add(to, "\n");
        }
    }
}
