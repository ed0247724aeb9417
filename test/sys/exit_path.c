/*
 * test/sys/exit_path.c: counts, for LD_PRELOAD, what vCPU threads do that an exit must not: allocations, formatting (logs), locks.
 * At the end: "exit_path: allocations N formats N locks N most-of-one N runs N", the last of KVM_RUN.  The jail must let it: --no-jail.
 */
#include <dlfcn.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

enum { LOCKS_MAX = 256 };

static atomic_ulong allocations, formats, locks, runs;
static struct {
    _Atomic(void *) lock;
    atomic_ulong n;
} each[LOCKS_MAX];

static int (*real_lock)(pthread_mutex_t *);

/* glibc's own names: dlsym allocates. */
extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t size);

static int is_vcpu(void)
{
    char name[16] = "";

    return prctl(PR_GET_NAME, name) == 0 && strncmp(name, "vcpu", 4) == 0;
}

static void count(void *lock)
{
    locks++;
    for (int i = 0; i < LOCKS_MAX; i++) {
        void *none = NULL;

        if (each[i].lock == lock || atomic_compare_exchange_strong(&each[i].lock, &none, lock)) {
            each[i].n++;
            return;
        }
    }
    abort();
}

int pthread_mutex_lock(pthread_mutex_t *m)
{
    if (!real_lock)
        real_lock = (int (*)(pthread_mutex_t *))dlsym(RTLD_NEXT, "pthread_mutex_lock");
    if (is_vcpu())
        count(m);
    return real_lock(m);
}

int ioctl(int fd, unsigned long request, ...)
{
    static int (*real)(int, unsigned long, void *);
    va_list args;
    void *arg;

    va_start(args, request);
    arg = va_arg(args, void *);
    va_end(args);
    if (!real)
        real = (int (*)(int, unsigned long, void *))dlsym(RTLD_NEXT, "ioctl");
    runs += request == KVM_RUN;
    return real(fd, request, arg);
}

void *malloc(size_t size) /* tidy: allow banned: it is what is counted */
{
    allocations += (unsigned long)is_vcpu();
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size) /* tidy: allow banned: it is what is counted */
{
    allocations += (unsigned long)is_vcpu();
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t size) /* tidy: allow banned: it is what is counted */
{
    allocations += (unsigned long)is_vcpu();
    return __libc_realloc(p, size);
}

int vsnprintf(char *at, size_t size, const char *format, va_list args)
{
    static int (*real)(char *, size_t, const char *, va_list);

    if (!real)
        real = (int (*)(char *, size_t, const char *, va_list))dlsym(RTLD_NEXT, "vsnprintf");
    formats += (unsigned long)is_vcpu();
    return real(at, size, format, args);
}

/* What a release calls in its place. */
int __vsnprintf_chk(char *at, size_t size, int, size_t, const char *format, va_list args)
{
    return vsnprintf(at, size, format, args);
}

__attribute__((destructor)) static void report(void)
{
    unsigned long most = 0;

    for (int i = 0; i < LOCKS_MAX; i++)
        most = each[i].n > most ? each[i].n : most;
    if (locks)
        fprintf(stderr,
                "exit_path: allocations %lu formats %lu locks %lu most-of-one %lu runs %lu\n",
                (unsigned long)allocations, (unsigned long)formats, (unsigned long)locks, most,
                (unsigned long)runs);
}
