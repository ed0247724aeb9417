/*
 * cpu/kvm/kvm_measure.c: how quick is this host's /dev/kvm?  It may exist and yet run guest kernels by emulation.
 * The answer is kept in a file until the host boots again or another /dev/kvm appears: measuring takes longer than a start may.
 */
#include "base/clock.h"
#include "cpu/kvm/kvm.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOOPS = 2000, ROUNDS = 8, ENOUGH_NS = 3000000, EXITS = 16, PORT = 0x80, TEXT_SIZE = 256 };

/* Real mode: mov cx, LOOPS; 1: dec cx; jnz 1b; hlt.  2 × LOOPS instructions. */
static const u8 loop_code[] = { 0xb9, LOOPS & 0xff, LOOPS >> 8, 0x49, 0x75, 0xfd, 0xf4 };
/* out PORT, al; jmp back */
static const u8 exit_code[] = { 0xe6, PORT, 0xeb, 0xfc };

/* One page of RAM and one vCPU without interrupt controllers, so that HLT exits. */
struct probe {
    int vm, vcpu;
    struct kvm_run *run;
    u8 *page;
    int run_size;
};

static void probe_close(struct probe *p)
{
    if (p->run && p->run != MAP_FAILED)
        munmap(p->run, (size_t)p->run_size);
    if (p->page && p->page != MAP_FAILED)
        munmap(p->page, MEM_PAGE);
    fd_close(&p->vcpu);
    fd_close(&p->vm);
}

static int probe_open(int dev, struct probe *p)
{
    struct kvm_userspace_memory_region slot = { .memory_size = MEM_PAGE };
    struct kvm_sregs sregs;
    int r;

    p->vm = kvm_ioctl(dev, KVM_CREATE_VM, NULL);
    if (p->vm < 0)
        return p->vm;
    p->vcpu = kvm_ioctl(p->vm, KVM_CREATE_VCPU, NULL);
    p->run_size = kvm_ioctl(dev, KVM_GET_VCPU_MMAP_SIZE, NULL);
    if (p->vcpu < 0 || p->run_size < 0)
        return min(p->vcpu, p->run_size);
    p->run = mmap(NULL, (size_t)p->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, p->vcpu, 0);
    p->page = mmap(NULL, MEM_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p->run == MAP_FAILED || p->page == MAP_FAILED)
        return -errno;
    slot.userspace_addr = (uintptr_t)p->page;
    if ((r = kvm_ioctl(p->vm, KVM_SET_USER_MEMORY_REGION, &slot)) < 0 ||
        (r = kvm_ioctl(p->vcpu, KVM_GET_SREGS, &sregs)) < 0)
        return r;
    sregs.cs.base = sregs.cs.selector = 0;
    return kvm_ioctl(p->vcpu, KVM_SET_SREGS, &sregs);
}

static int run_until(struct probe *p, u32 reason)
{
    int r = kvm_ioctl(p->vcpu, KVM_RUN, NULL);

    return r < 0 ? r : p->run->exit_reason == reason ? 0 : -EIO;
}

static int load(struct probe *p, const u8 *code, size_t len)
{
    struct kvm_regs regs = { .rflags = 2 };

    must(p->page);
    memcpy(p->page, code, len);
    return kvm_ioctl(p->vcpu, KVM_SET_REGS, &regs);
}

/* ns for the loop: the quickest of some rounds, since the first pays for page faults and tables, and others may be disturbed. */
static int time_loop(struct probe *p, u64 *ret_ns)
{
    u64 best = ~0ull, begun = clock_mono_ns();

    for (u32 i = 0; i < 2 || (i < ROUNDS && clock_mono_ns() - begun < ENOUGH_NS); i++) {
        int r = load(p, loop_code, sizeof(loop_code));
        u64 start = clock_mono_ns();

        if (r >= 0)
            r = run_until(p, KVM_EXIT_HLT);
        if (r < 0)
            return r;
        best = min(best, clock_mono_ns() - start);
    }
    *ret_ns = max(best, 1ull);
    return 0;
}

/* ns for one exit: the quickest of EXITS. */
static int time_exit(struct probe *p, u64 *ret_ns)
{
    u64 best = ~0ull;
    int r = load(p, exit_code, sizeof(exit_code));

    for (int i = 0; r >= 0 && i < EXITS; i++) {
        u64 start = clock_mono_ns();

        r = run_until(p, KVM_EXIT_IO);
        best = min(best, clock_mono_ns() - start);
    }
    if (r >= 0)
        *ret_ns = max(best, 1ull);
    return r;
}

static int measure(struct cpu_rating *ret, struct err *e)
{
    struct probe p = { .vm = -1, .vcpu = -1 };
    AUTO(fd) int dev = kvm_dev_open(e);
    u64 start = clock_mono_ns(), loop_ns = 1, exit_ns = 1;
    int r;

    if (dev < 0)
        return dev;
    r = probe_open(dev, &p);
    if (r >= 0)
        r = time_loop(&p, &loop_ns);
    if (r >= 0)
        r = time_exit(&p, &exit_ns);
    probe_close(&p);
    if (r < 0)
        return err_code(e, r, "measure KVM");
    *ret = (struct cpu_rating){ 2 * LOOPS * NSEC_PER_SEC / loop_ns, exit_ns,
                                max(clock_mono_ns() - start, 1ull) };
    return 0;
}

/* What the file begins with when it is about this boot, this /dev/kvm and this user. */
static bool make_key(char *ret, size_t size)
{
    AUTO(fd) int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    char boot[37] = {};
    struct stat st;

    if (fd < 0 || read(fd, boot, 36) != 36 || stat("/dev/kvm", &st) < 0)
        return false;
    return str_fmt(ret, size, "kvm 1 %s %llu %lld.%09ld %u\n", boot, (u64)st.st_ino,
                   (s64)st.st_ctim.tv_sec, st.st_ctim.tv_nsec, geteuid());
}

/* "IPS EXIT_NS\n" */
static bool parse_numbers(char *text, struct cpu_rating *ret)
{
    struct cpu_rating r = {};
    char *space = strchr(text, ' '), *end = strchr(text, '\n');

    if (!space || !end || end < space)
        return false;
    *space = *end = 0;
    if (str_u64(text, &r.ips) < 0 || str_u64(space + 1, &r.exit_ns) < 0 || !r.ips)
        return false;
    *ret = r;
    return true;
}

static bool recall(const char *path, const char *key, struct cpu_rating *ret)
{
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    char text[TEXT_SIZE] = {};
    struct stat st;

    return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
           !(st.st_mode & 022) && read(fd, text, sizeof(text) - 1) > 0 && str_starts(text, key) &&
           parse_numbers(text + strlen(key), ret);
}

/* It does without when it cannot. */
static void keep(const char *path, const char *key, const struct cpu_rating *r)
{
    AUTO(free) char *temporary = str_new("%s-XXXXXX", path);
    AUTO(fd) int fd = mkostemp(temporary, O_CLOEXEC);
    AUTO(strbuf) struct strbuf text = {};

    if (fd < 0)
        return;
    strbuf_add(&text, "%s%llu %llu\n", key, r->ips, r->exit_ns);
    if (fd_write_all(fd, text.text, text.len) < 0 || rename(temporary, path) < 0)
        unlink(temporary);
}

int kvm_rate(const struct cpu_pick *p, struct cpu_rating *ret, struct err *e)
{
    AUTO(free) char *path = p->cache_dir ? str_new("%s/kvm-speed", p->cache_dir) : NULL;
    char key[TEXT_SIZE / 2];
    bool kept = path && make_key(key, sizeof(key));
    int r = 0;

    if (!kept || access("/dev/kvm", R_OK | W_OK) < 0 || !recall(path, key, ret)) {
        r = measure(ret, e);
        if (r >= 0 && kept)
            keep(path, key, ret);
    }
    if (r >= 0 && ret->ips < CPU_EMULATED_IPS)
        ret->note = "this host emulates it, and a whole system takes minutes to boot";
    return r;
}
