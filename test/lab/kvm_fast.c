/*
 * test/lab/kvm_fast.c: does this machine's /dev/kvm run a guest's ring 0 at the speed of a processor?
 * Exit status: 0 yes, 1 it does not (emulated instruction by instruction), 2 there is no usable KVM; says which.
 * Nested hosts exist where KVM is there and yet a guest kernel needs minutes to boot, so it is measured.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

enum { LOOPS = 20'000, TRIES = 3, FAST_NS_MAX = 4'000'000, GUEST_AT = 0x1000, PAGE = 4096 };

/* Real mode: mov ecx, LOOPS; 1: dec ecx; jnz 1b; hlt.  Emulated, an instruction costs about a microsecond. */
static const unsigned char guest_code[] = {
    0x66, 0xb9, LOOPS & 0xff, LOOPS >> 8 & 0xff, 0, 0, 0x66, 0x49, 0x75, 0xfc, 0xf4,
};

static int give_up(const char *what)
{
    printf("kvm: not usable: %s: %s\n", what, strerror(errno));
    return 2;
}

static long long now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1'000'000'000ll + t.tv_nsec;
}

static int start_at_code(int vcpu)
{
    struct kvm_sregs sregs;
    struct kvm_regs regs = { .rip = GUEST_AT, .rflags = 2 };

    if (ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
        return -1;
    sregs.cs.base = 0;
    sregs.cs.selector = 0;
    if (ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0)
        return -1;
    return ioctl(vcpu, KVM_SET_REGS, &regs);
}

/* The shortest of a few runs; negative when the guest did not end with its HLT. */
static long long loop_ns(int vcpu, const struct kvm_run *run)
{
    long long best = -1;

    for (int i = 0; i < TRIES; i++) {
        if (start_at_code(vcpu) < 0)
            return -1;

        long long start = now_ns();
        if (ioctl(vcpu, KVM_RUN, 0) < 0 || run->exit_reason != KVM_EXIT_HLT)
            return -1;

        long long took = now_ns() - start;
        if (best < 0 || took < best)
            best = took;
    }
    return best;
}

int main(void)
{
    int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (kvm < 0)
        return give_up("/dev/kvm");

    int vm = ioctl(kvm, KVM_CREATE_VM, 0);
    if (vm < 0)
        return give_up("KVM_CREATE_VM");

    void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return give_up("guest memory");
    memcpy(page, guest_code, sizeof(guest_code));

    struct kvm_userspace_memory_region slot = {
        .guest_phys_addr = GUEST_AT,
        .memory_size = PAGE,
        .userspace_addr = (unsigned long)page,
    };
    if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
        return give_up("KVM_SET_USER_MEMORY_REGION");

    int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
    int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    if (vcpu < 0 || size < 0)
        return give_up("KVM_CREATE_VCPU");

    const struct kvm_run *run = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, vcpu, 0);
    if (run == MAP_FAILED)
        return give_up("kvm_run");

    long long took = loop_ns(vcpu, run);
    if (took < 0)
        return give_up("a loop of a few instructions");
    printf("kvm: %d loops in %lld us: %s\n", LOOPS, took / 1000,
           took <= FAST_NS_MAX ? "fast" : "too slow for a guest's kernel");
    return took <= FAST_NS_MAX ? 0 : 1;
}
