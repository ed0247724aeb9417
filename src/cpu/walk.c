/*
 * cpu/walk.c: a walk through the guest's page tables.  (Intel SDM volume 3, chapter 4; AMD APM volume 2, chapter 5)
 * Tables are the guest's and may change while we look: each entry is read once, and each step goes one level down, so a walk
 * ends whatever they hold.  Reserved bits are not judged.
 */
#include "cpu/walk.h"

#include "mem/mem.h"

#define CR0_PE   (1ull << 0)
#define CR0_PG   (1ull << 31)
#define CR4_PSE  (1ull << 4)
#define CR4_PAE  (1ull << 5)
#define CR4_LA57 (1ull << 12)
#define EFER_LMA (1ull << 10)

#define PTE_PRESENT (1ull << 0)
#define PTE_LARGE   (1ull << 7)
#define PTE_ADDR    0x000ffffffffff000ull /* bits 12 to 51 */

/* A form of paging.  Level 1 is the last table, whose entries are always pages. */
struct form {
    u32 levels;
    u32 entry;      /* bytes of an entry */
    u32 index_bits; /* of each level; PAE's top level has 2, which the address's width gives by itself */
    u32 large;      /* levels whose entries may be pages: bit n for level n */
    u64 va_mask; /* bits of an address that count */
    u64 cr3_mask;
};

/* clang-format off */
static const struct form form_legacy = { 2, 4, 10, 0,       0xffffffff,   0xfffff000 };
static const struct form form_pse    = { 2, 4, 10, 1u << 2, 0xffffffff,   0xfffff000 };
static const struct form form_pae    = { 3, 8, 9,  1u << 2, 0xffffffff,   0xffffffe0 };
static const struct form form_4level = { 4, 8, 9,  3u << 2, ~0ull >> 16,  PTE_ADDR };
static const struct form form_5level = { 5, 8, 9,  3u << 2, ~0ull >> 7,   PTE_ADDR };
/* clang-format on */

/* NULL: no paging. */
static const struct form *form_of(const struct vcpu_state *s)
{
    if (!(s->cr0 & CR0_PG) || !(s->cr0 & CR0_PE))
        return NULL;
    if (s->efer & EFER_LMA)
        return s->cr4 & CR4_LA57 ? &form_5level : &form_4level;
    if (s->cr4 & CR4_PAE)
        return &form_pae;
    return s->cr4 & CR4_PSE ? &form_pse : &form_legacy;
}

/* Where the page begins that `entry` of `level` stands for. */
static u64 page_of(const struct form *f, u64 entry, u64 size)
{
    u64 high = 0;

    if (f == &form_pse && size > MEM_PAGE) /* PSE-36: bits 13 to 20 are 32 to 39 of the address */
        high = (entry >> 13 & 0xff) << 32;
    return (align_down(entry & PTE_ADDR, size)) | high;
}

/* Are the unused high bits of `gva` copies of the highest used one? */
static bool is_canonical(const struct form *f, u64 gva)
{
    u64 sign = f->va_mask ^ (f->va_mask >> 1);

    return f->levels < 4 || (gva & ~f->va_mask) == (gva & sign ? ~f->va_mask : 0);
}

int walk_gva(const struct vcpu_state *s, const struct mem *m, u64 gva, struct walk *ret)
{
    const struct form *f = form_of(s);
    u64 table;

    if (!f) {
        gva &=
            s->cr0 & CR0_PE ? 0xffffffff : 0x1fffff; /* real mode: FFFF:FFFF, and what A20 adds */
        *ret = (struct walk){ gva, MEM_PAGE - gva % MEM_PAGE };
        return 0;
    }
    if (!is_canonical(f, gva))
        return -EFAULT;
    gva &= f->va_mask;
    table = s->cr3 & f->cr3_mask;
    for (u32 level = f->levels; level > 0; level--) {
        u32 shift = 12 + f->index_bits * (level - 1);
        u64 size = 1ull << shift;
        u64 index = gva >> shift & ((1u << f->index_bits) - 1);
        const u8 *at = mem_at(m, table + index * f->entry, f->entry);
        u64 entry;

        if (!at)
            return -EFAULT;
        entry = f->entry == 4 ? __atomic_load_n((const u32 *)(const void *)at, __ATOMIC_RELAXED)
                              : __atomic_load_n((const u64 *)(const void *)at, __ATOMIC_RELAXED);
        if (!(entry & PTE_PRESENT))
            return -EFAULT;
        if (level == 1 || (f->large >> level & 1 && entry & PTE_LARGE)) {
            u64 offset = gva & (size - 1);

            *ret = (struct walk){ page_of(f, entry, size) | offset, size - offset };
            return 0;
        }
        table = entry & PTE_ADDR;
    }
    return -EFAULT;
}

/* Where the next bytes of a copy lie, and how many of `len` lie there: 0 when they are not mapped. */
static u64 piece(const struct vcpu_state *s, const struct mem *m, u64 gva, u64 len, u64 *ret_gpa)
{
    struct walk w;

    if (walk_gva(s, m, gva, &w) < 0)
        return 0;
    *ret_gpa = w.gpa;
    return min(len, MEM_PAGE - w.gpa % MEM_PAGE); /* a large page may be RAM in parts only */
}

u64 walk_read(const struct vcpu_state *s, const struct mem *m, u64 gva, void *buf, u64 len)
{
    u64 done = 0, n, gpa;

    for (; done < len && (n = piece(s, m, gva + done, len - done, &gpa)) > 0; done += n)
        if (mem_read(m, gpa, (u8 *)buf + done, n) < 0)
            break;
    return done;
}

u64 walk_write(const struct vcpu_state *s, struct mem *m, u64 gva, const void *buf, u64 len)
{
    u64 done = 0, n, gpa;

    for (; done < len && (n = piece(s, m, gva + done, len - done, &gpa)) > 0; done += n)
        if (mem_write(m, gpa, (const u8 *)buf + done, n) < 0)
            break;
    return done;
}
