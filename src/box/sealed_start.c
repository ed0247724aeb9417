/*
 * box/sealed_start.c: where socle-box begins: it executes its copy before its C library has made itself ready, which costs a third of what
 * the first of both programs costs, and would be for nothing.  A way to be quicker only: what cannot be done here, or this program being a
 * dynamic one (sanitizers), is left to box/sealed.c.
 *   (1) There is no libc, no relocation, no thread pointer yet: no calls, no pointers in data, no stack protector (meson.build).
 */
#include "box/sealed.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>

#define INLINE static inline __attribute__((always_inline))

/* Of `man 2 syscall`: the result, or a negative errno. */
INLINE long call(long n, long a, long b, long c, long d, long e)
{
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    long r;

    __asm__ volatile("syscall"
                     : "=a"(r)
                     : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return r;
}

INLINE bool is_readonly(const char *self)
{
    struct statfs fs = {};

    return call(SYS_statfs, (long)self, (long)&fs, 0, 0, 0) < 0 || (fs.f_flags & ST_RDONLY);
}

void sealed_start(long *stack); /* for the assembly below alone */

/* The kernel's stack: argc, argv, NULL, environment, NULL (System V ABI for x86-64, 3.4.1).  Returns where nothing was executed. */
__attribute__((used)) void sealed_start(long *stack)
{
    const char *self = "/proc/self/exe", *none = "";
    struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY, .propagation = MS_PRIVATE };
    long fd;

    if (is_readonly(self))
        return;
    fd = call(SYS_open_tree, AT_FDCWD, (long)self, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC, 0, 0);
    if (fd < 0)
        return;
    if (call(SYS_mount_setattr, fd, (long)none, AT_EMPTY_PATH, (long)&attr, sizeof(attr)) == 0)
        call(SYS_execveat, fd, (long)none, (long)(stack + 1), (long)(stack + stack[0] + 2),
             AT_EMPTY_PATH);
    call(SYS_close, fd, 0, 0, 0, 0);
}

/* The ELF entry.  RDX is for the C library's own, which finds all as the kernel left it. */
__asm__(".globl socle_box_start\n"
        ".hidden socle_box_start\n"
        ".type socle_box_start, @function\n"
        "socle_box_start:\n"
        "    mov %rsp, %rdi\n"
        "    push %rdx\n"
        "    push %rdi\n"
        "    call sealed_start\n"
        "    pop %rdi\n"
        "    pop %rdx\n"
        "    jmp _start\n");
