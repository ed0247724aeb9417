/*
 * cpu/kvm/kvm_dirty.c: guest RAM as KVM memory slots, and the log of pages that the vCPUs write.
 */
#include "cpu/kvm/kvm.h"

#include <stdlib.h>

int kvm_slots_set(struct cpu_vm *vm, bool log_dirty, struct err *e)
{
    struct kvm_vm *k = kvm_vm_of(vm);
    unsigned n;
    const struct mem_region *regions = mem_regions(vm->mem, &n);

    for (unsigned i = 0; i < n; i++) {
        struct kvm_userspace_memory_region slot = {
            .slot = i,
            .flags = log_dirty ? KVM_MEM_LOG_DIRTY_PAGES : 0,
            .guest_phys_addr = regions[i].gpa,
            .memory_size = regions[i].size,
            .userspace_addr = (uintptr_t)regions[i].host,
        };
        int r = kvm_ioctl(k->fd, KVM_SET_USER_MEMORY_REGION, &slot);

        if (r < 0)
            return err_code(e, r, "give KVM the RAM at 0x%llx", regions[i].gpa);
    }
    return 0;
}

int kvm_dirty_start(struct cpu_vm *vm, struct err *e)
{
    return kvm_slots_set(vm, true, e);
}

void kvm_dirty_stop(struct cpu_vm *vm)
{
    kvm_slots_set(vm, false, NULL);
}

/* ORs `bits` of one region in at its place; regions begin at multiples of 64 pages but for the last, which nothing follows. */
static void merge(u64 *bitmap, const u64 *bits, const struct mem_region *r)
{
    u64 first = r->fd_offset / MEM_PAGE;

    must(first % 64 == 0);
    for (u64 i = 0; i < (r->size / MEM_PAGE + 63) / 64; i++)
        bitmap[first / 64 + i] |= bits[i];
}

int kvm_dirty_take(struct cpu_vm *vm, u64 *bitmap, struct err *e)
{
    struct kvm_vm *k = kvm_vm_of(vm);
    unsigned n;
    const struct mem_region *regions = mem_regions(vm->mem, &n);

    for (unsigned i = 0; i < n; i++) {
        AUTO(free) u64 *bits = xnew_n(u64, (regions[i].size / MEM_PAGE + 63) / 64);
        struct kvm_dirty_log log = { .slot = i, .dirty_bitmap = bits };
        int r = kvm_ioctl(k->fd, KVM_GET_DIRTY_LOG, &log);

        if (r < 0)
            return err_code(e, r, "dirty log of the RAM at 0x%llx", regions[i].gpa);
        merge(bitmap, bits, &regions[i]);
    }
    return 0;
}
