/*
 * cpu/soft/mem.c: guest memory accesses that the software TLB could not serve: first touches, device registers, accesses
 * across two pages, pages that hold code, watched addresses.  The rules are in soft_mem.h.
 */
#include "cpu/soft/check.h"
#include "cpu/soft/code.h"
#include "cpu/soft/debug.h"
#include "cpu/soft/io.h"
#include "cpu/soft/soft_mem.h"

static u64 wrap(const struct soft_cpu *c, u64 lin)
{
    return soft_long_mode(c) ? lin : (u32)lin;
}

/* #AC, and data breakpoints: both run with the TLB switched off (soft_tlb_of_mode). */

static void check_alignment(struct soft_cpu *c, const struct uop *op, u64 lin, u32 size)
{
    if (c->cpl == 3 && (c->cr0 & CR0_AM) && (c->eflags & RF_AC) && size <= 8 && is_pow2(size) &&
        lin % size)
        soft_raise_error(c, op, VEC_AC, 0);
}

static void check_watch(struct soft_cpu *c, u64 lin, u32 size, bool write)
{
    for (u32 i = 0; i < 4; i++) {
        static const u8 lengths[] = { 1, 2, 8, 4 };
        u32 ctl = (u32)(c->dr7 >> (16 + 4 * i)) & 15;
        u32 len = lengths[ctl >> 2];
        u64 at = c->dr[i] & ~(u64)(len - 1);

        if (!(c->dr7 >> (2 * i) & 3) || !((ctl & 3) == 3 || ((ctl & 3) == 1 && write)))
            continue;
        if (lin < at + len && at < lin + size)
            c->db_pending |= 1ull << i;
    }
}

static void look(struct soft_cpu *c, const struct uop *op, u64 lin, u32 size, bool write)
{
    if (likely(c->tlb != c->tlb_never))
        return;
    check_alignment(c, op, lin, size);
    if (c->dr7 & 0xff)
        check_watch(c, lin, size, write);
    if (c->debugging)
        soft_debug_access(c, lin, size, write);
}

/* Accesses inside one page, by GPA. */

static u64 ram_load(const u8 *at, u32 size)
{
    switch (size) {
    case 1:
        return *(const volatile guest_u8 *)at;
    case 2:
        return *(const volatile guest_u16 *)at;
    case 4:
        return *(const volatile guest_u32 *)at;
    default:
        return *(const volatile guest_u64 *)at;
    }
}

static void ram_store(u8 *at, u32 size, u64 val)
{
    switch (size) {
    case 1:
        *(volatile guest_u8 *)at = (u8)val;
        break;
    case 2:
        *(volatile guest_u16 *)at = (u16)val;
        break;
    case 4:
        *(volatile guest_u32 *)at = (u32)val;
        break;
    default:
        *(volatile guest_u64 *)at = val;
        break;
    }
}

/* The largest natural piece of what is left. */
static u32 piece_of(u32 left)
{
    return left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

static void page_load(struct soft_cpu *c, const struct uop *op, u64 gpa, void *buf, u32 n)
{
    const u8 *at = soft_ram(c->vm, gpa, n, NULL);
    u8 *to = buf;

    if (at) {
        if (n <= 8 && is_pow2(n))
            le_store(to, n, ram_load(at, n));
        else
            memcpy(to, at, n);
        if (unlikely(c->check_dry))
            soft_check_load(c, gpa, buf, n);
        return;
    }
    soft_run_alone(c, op);
    for (u32 done = 0, k; done < n; done += k) {
        k = piece_of(n - done);
        le_store(to + done, k, soft_mmio_read(c, gpa + done, k));
    }
}

static void page_store(struct soft_cpu *c, const struct uop *op, u64 gpa, const void *buf, u32 n)
{
    const u8 *from = buf;
    u64 page;
    u8 *at = soft_ram(c->vm, gpa, n, &page);

    if (at && unlikely(c->check_dry)) {
        soft_check_store(c, gpa, buf, n);
        return;
    }
    if (at) {
        if (n <= 8 && is_pow2(n))
            ram_store(at, n, le_load(from, n));
        else
            memcpy(at, from, n);
        if (atomic_load_explicit(&c->vm->dirty_log, memory_order_relaxed))
            soft_dirty(c->vm, page);
        soft_code_written(c, op, page, gpa, n);
        return;
    }
    soft_run_alone(c, op);
    for (u32 done = 0, k; done < n; done += k) {
        k = piece_of(n - done);
        soft_mmio_write(c, gpa + done, k, le_load(from + done, k));
    }
}

/* Bytes of [lin, lin + n) that lie in lin's page. */
static u32 in_page(u64 lin, u32 n)
{
    return (u32)min((u64)n, GUEST_PAGE - lin % GUEST_PAGE);
}

static void load_bytes(struct soft_cpu *c, const struct uop *op, u64 lin, void *buf, u32 n,
                       u32 access)
{
    u32 n1 = in_page(lin, n);
    u64 gpa = soft_walk(c, op, lin, ACC_READ | access), gpa2 = 0;

    if (n1 < n)
        gpa2 = soft_walk(c, op, wrap(c, lin + n1), ACC_READ | access);
    page_load(c, op, gpa, buf, n1);
    if (n1 < n)
        page_load(c, op, gpa2, (u8 *)buf + n1, n - n1);
}

static void store_bytes(struct soft_cpu *c, const struct uop *op, u64 lin, const void *buf, u32 n,
                        u32 access)
{
    u32 n1 = in_page(lin, n);
    u64 gpa = soft_walk(c, op, lin, ACC_WRITE | access), gpa2 = 0;

    if (n1 < n)
        gpa2 = soft_walk(c, op, wrap(c, lin + n1), ACC_WRITE | access);
    page_store(c, op, gpa, buf, n1);
    if (n1 < n)
        page_store(c, op, gpa2, (const u8 *)buf + n1, n - n1);
}

u64 soft_load_slow(struct soft_cpu *c, const struct uop *op, u64 lin, u32 size)
{
    u8 buf[8];

    look(c, op, lin, size, false);
    load_bytes(c, op, lin, buf, size, 0);
    return le_load(buf, size);
}

void soft_store_slow(struct soft_cpu *c, const struct uop *op, u64 lin, u32 size, u64 val)
{
    u8 buf[8];

    look(c, op, lin, size, true);
    le_store(buf, size, val);
    store_bytes(c, op, lin, buf, size, 0);
}

void soft_load_bytes(struct soft_cpu *c, const struct uop *op, u64 lin, void *buf, u32 n)
{
    look(c, op, lin, n, false);
    load_bytes(c, op, lin, buf, n, 0);
}

void soft_store_bytes(struct soft_cpu *c, const struct uop *op, u64 lin, const void *buf, u32 n)
{
    look(c, op, lin, n, true);
    store_bytes(c, op, lin, buf, n, 0);
}

void soft_probe_write(struct soft_cpu *c, const struct uop *op, u64 lin, u32 n)
{
    u32 n1 = in_page(lin, n);

    soft_walk(c, op, lin, ACC_WRITE);
    if (n1 < n)
        soft_walk(c, op, wrap(c, lin + n1), ACC_WRITE);
}

void *soft_rw_slow(struct soft_cpu *c, const struct uop *op, u64 lin, u32 size)
{
    struct tlb_entry *t;

    look(c, op, lin, size, true);
    soft_probe_write(c, op, lin, size);
    t = soft_tlb_at(c, lin);
    return t->tag_w == ((lin + size - 1) & GUEST_PAGE_MASK)
               ? (void *)(uintptr_t)(lin + (u64)t->addend)
               : NULL;
}

const void *soft_ro_slow(struct soft_cpu *c, const struct uop *op, u64 lin, u32 size)
{
    struct tlb_entry *t;
    u32 n1 = in_page(lin, size);

    look(c, op, lin, size, false);
    soft_walk(c, op, lin, ACC_READ);
    if (n1 < size)
        soft_walk(c, op, wrap(c, lin + n1), ACC_READ);
    t = soft_tlb_at(c, lin);
    return t->tag_r == ((lin + size - 1) & GUEST_PAGE_MASK)
               ? (const void *)(uintptr_t)(lin + (u64)t->addend)
               : NULL;
}

u64 soft_sys_load(struct soft_cpu *c, const struct uop *op, u64 lin, u32 size)
{
    struct tlb_entry *t = &c->set->e[MMU_KERNEL][(lin / GUEST_PAGE) % SOFT_TLB_SIZE];
    u8 buf[8];

    if (likely(t->tag_r == ((lin + size - 1) & GUEST_PAGE_MASK)))
        return ram_load((const u8 *)(uintptr_t)(lin + (u64)t->addend), size);
    load_bytes(c, op, lin, buf, size, ACC_SYSTEM);
    return le_load(buf, size);
}

void soft_sys_store(struct soft_cpu *c, const struct uop *op, u64 lin, u32 size, u64 val)
{
    struct tlb_entry *t = &c->set->e[MMU_KERNEL][(lin / GUEST_PAGE) % SOFT_TLB_SIZE];
    u8 buf[8];

    if (likely(t->tag_w == ((lin + size - 1) & GUEST_PAGE_MASK))) {
        ram_store((u8 *)(uintptr_t)(lin + (u64)t->addend), size, val);
        return;
    }
    le_store(buf, size, val);
    store_bytes(c, op, lin, buf, size, ACC_SYSTEM);
}

void soft_exclusive_begin(struct soft_cpu *c)
{
    pthread_mutex_lock(&c->vm->exclusive);
    c->exclusive = true;
}

void soft_exclusive_end(struct soft_cpu *c)
{
    if (!c->exclusive)
        return;
    c->exclusive = false;
    pthread_mutex_unlock(&c->vm->exclusive);
}
