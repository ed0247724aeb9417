/*
 * bench/guest_init/init.c: the smallest /init: says that user space is reached, then ends the machine.
 * Without a C library: nothing but the kernel's own work is between the start and the line that is timed.
 * `bench.reset` on the kernel's command line ends by a reset instead of power-off (the kernel passes it on as an argument).
 */
#include <asm/unistd.h>
#include <linux/reboot.h>

static const char line[] = "bench: init\n";

static long call(long number, long a, long b, long c)
{
    long ret;

    __asm__ volatile("syscall"
                     : "=a"(ret)
                     : "a"(number), "D"(a), "S"(b), "d"(c)
                     : "rcx", "r11", "memory");
    return ret;
}

static int same(const char *a, const char *b)
{
    while (*a && *a == *b) {
        a++;
        b++;
    }
    return *a == *b;
}

/* The stack as the kernel left it: the number of arguments, then the arguments. */
__attribute__((used)) void init_main(const long *stack)
{
    const char *const *args = (const char *const *)(stack + 1);
    long how = LINUX_REBOOT_CMD_POWER_OFF;

    for (long i = 1; i < stack[0]; i++)
        if (same(args[i], "bench.reset"))
            how = LINUX_REBOOT_CMD_RESTART;

    call(__NR_write, 1, (long)line, sizeof(line) - 1);
    call(__NR_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, how);
    for (;;)
        call(__NR_pause, 0, 0, 0);
}

__asm__(".globl _start\n"
        "_start: xor %ebp, %ebp\n"
        "        mov %rsp, %rdi\n"
        "        and $-16, %rsp\n"
        "        call init_main\n");
