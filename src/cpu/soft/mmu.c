/*
 * cpu/soft/mmu.c: linear to guest-physical: page walk, rights, accessed and dirty bits, and the software TLB.
 * (Intel SDM volume 3, chapter 4; AMD APM volume 2, chapter 5)
 *   (1) A TLB entry's write tag exists only if the page's D bit is set, no vCPU has decoded code in the page and no dirty log runs.
 *   (2) Accessed and dirty bits are set by compare-and-swap; an entry that changed meanwhile is walked again.
 *   (3) Entries of global pages stay when an address space is left, and go along into a set that begins empty: kernels map
 *       themselves so, and would begin each process with thousands of misses.
 *   (4) Tables that lie outside RAM read as all ones: reserved bits are set, the walk ends in a page fault.
 *   (5) An entry is where its page number says; the one that it drives out goes to the place SOFT_TLB_OTHER away, where
 *       translated code looks next.  Two pages that a loop needs at one place would cost it a walk each round.
 *   (6) Entries are of 4 KiB; whoever forgets one that is a part of a larger page forgets all of that page.
 *   (7) Translated code has copies of entries, soft_cpu.recent: whatever is forgotten of the set in force is forgotten there, too, and
 *       all of a ring when another TLB comes in force for it.
 *   (8) So has the user window (window.h): it is told of whatever its address space forgets, also when no set is of that space any more.
 */
#include "cpu/soft/code.h"
#include "cpu/soft/insn.h"
#include "cpu/soft/io.h"
#include "cpu/soft/soft_mem.h"
#include "cpu/soft/window.h"

#include <stdlib.h>

#define PTE_P         (1ull << 0)
#define PTE_W         (1ull << 1)
#define PTE_U         (1ull << 2)
#define PTE_A         (1ull << 5)
#define PTE_D         (1ull << 6)
#define PTE_PS        (1ull << 7)
#define PTE_G         (1ull << 8)
#define PTE_NX        (1ull << 63)
#define PTE_KEY_SHIFT 59

#define PF_P    (1u << 0)
#define PF_W    (1u << 1)
#define PF_U    (1u << 2)
#define PF_RSVD (1u << 3)
#define PF_ID   (1u << 4)
#define PF_PK   (1u << 5)

#define CR3_PCID 0xfffull

/* One walk: what it looks for, and what it found. */
struct walk {
    const struct uop *op;
    u64 lin;
    u32 access;
    bool user;  /* rights of CPL 3 */
    u64 rights; /* PTE_W, PTE_U: all levels have it; PTE_NX: one has it */
    u64 leaf;   /* the last entry */
    u64 gpa;    /* of lin */
    u32 page_bits;
    u32 error; /* of the page fault, when there is one */
};

/* The shape of each paging mode, from the top level down. */
struct level {
    u8 shift; /* index bits begin here */
    u8 bits;
    bool can_leaf; /* PS makes it a page */
};
/* clang-format off */
static const struct level levels_32[] = { { 22, 10, true },  { 12, 10, false } };
static const struct level levels_pae[] = { { 30, 2, false }, { 21, 9, true }, { 12, 9, false } };
static const struct level levels_64[] = { { 39, 9, false },  { 30, 9, true }, { 21, 9, true }, { 12, 9, false } };
/* clang-format on */

u8 *soft_ram(const struct soft_vm *vm, u64 gpa, u64 len, u64 *ret_page)
{
    for (const struct mem_region *r = vm->ram; r < vm->ram + vm->n_ram; r++) {
        if (gpa < r->gpa || gpa - r->gpa >= r->size || len > r->size - (gpa - r->gpa))
            continue;
        if (ret_page)
            *ret_page = (r->fd_offset + gpa - r->gpa) / GUEST_PAGE;
        return r->host + (gpa - r->gpa);
    }
    return NULL;
}

static u64 entry_read(const struct soft_vm *vm, u64 gpa, u32 size)
{
    const u8 *at = soft_ram(vm, gpa, size, NULL);

    if (!at)
        return ~0ull;
    return size == 8 ? *(const volatile guest_u64 *)at : *(const volatile guest_u32 *)at;
}

/* Sets bits of an entry that was read as `old`.  False: it has changed. */
static bool entry_mark(struct soft_cpu *c, const struct uop *op, u64 gpa, u32 size, u64 old,
                       u64 bits)
{
    u64 page;
    u8 *at = soft_ram(c->vm, gpa, size, &page);
    u32 old32 = (u32)old;
    bool ok;

    if ((old & bits) == bits || !at)
        return true;
    if (size == 8)
        ok = __atomic_compare_exchange_n((u64 *)(void *)at, &old, old | bits, false,
                                         __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    else
        ok = __atomic_compare_exchange_n((u32 *)(void *)at, &old32, old32 | (u32)bits, false,
                                         __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    if (!ok)
        return false;
    if (atomic_load_explicit(&c->vm->dirty_log, memory_order_relaxed))
        soft_dirty(c->vm, page);
    soft_code_written(c, op, page, gpa, size);
    return true;
}

/* Bits that must be 0 in an entry of this level. */
static u64 reserved_bits(const struct soft_cpu *c, const struct level *l, u64 pte, bool pae,
                         bool leaf)
{
    u64 r = 0;

    if (!pae)
        return leaf && l->shift == 22 ? 1ull << 21 : 0;
    r = ~c->vm->gpa_mask & 0x000fffffffffffffull;
    if (!(c->efer & EFER_NXE))
        r |= PTE_NX;
    if (!soft_long_mode(c)) {
        r |= 0x7ff0000000000000ull;
        if (l->shift == 30)
            r |= 0x1e6 | PTE_NX;
    }
    if (l->shift == 39)
        r |= PTE_PS;
    if (leaf && l->shift > 12)
        r |= ((1ull << l->shift) - 1) & ~0x1fffull;
    (void)pte;
    return r;
}

static bool smap_forbids(const struct soft_cpu *c, const struct walk *w)
{
    if (!(c->cr4 & CR4_SMAP) || w->user || (w->access & ACC_EXEC) || !(w->rights & PTE_U))
        return false;
    return (w->access & ACC_SYSTEM) || !(c->eflags & RF_AC);
}

/* What of ACC_READ, ACC_WRITE, ACC_EXEC the rights found allow. */
static u32 allowed(const struct soft_cpu *c, const struct walk *w, bool *ret_key)
{
    bool page_user = w->rights & PTE_U;
    u32 ok = ACC_READ;

    *ret_key = false;
    if (w->user && !page_user)
        return 0;
    if (w->rights & PTE_W || (!w->user && !(c->cr0 & CR0_WP)))
        ok |= ACC_WRITE;
    if (!(w->rights & PTE_NX) && !(page_user && !w->user && (c->cr4 & CR4_SMEP)))
        ok |= ACC_EXEC;
    if (smap_forbids(c, w))
        ok &= ~(u32)(ACC_READ | ACC_WRITE);
    if (page_user && (c->cr4 & CR4_PKE) && soft_long_mode(c)) {
        u32 key = c->pkru >> (2 * ((w->leaf >> PTE_KEY_SHIFT) & 15));
        u32 lost = 0;

        if (key & 1)
            lost = ACC_READ | ACC_WRITE;
        else if ((key & 2) && (w->user || (c->cr0 & CR0_WP)))
            lost = ACC_WRITE;
        *ret_key = ok & lost & w->access;
        ok &= ~lost;
    }
    return ok;
}

static bool fail(const struct soft_cpu *c, struct walk *w, u32 error)
{
    bool says_fetch = (c->cr4 & CR4_SMEP) || ((c->cr4 & CR4_PAE) && (c->efer & EFER_NXE));

    w->error = error | (w->access & ACC_WRITE ? PF_W : 0) | (w->user ? PF_U : 0);
    if ((w->access & ACC_EXEC) && says_fetch)
        w->error |= PF_ID;
    return false;
}

/* Notes what this entry allows. */
static void collect(const struct soft_cpu *c, struct walk *w, const struct level *l, u64 pte,
                    bool pae)
{
    if (!(pae && !soft_long_mode(c) && l->shift == 30)) /* a PDPTE of PAE has no rights */
        w->rights &= pte | ~(PTE_W | PTE_U);
    if (pae && (c->efer & EFER_NXE))
        w->rights |= pte & PTE_NX;
}

enum step { STEP_DOWN, STEP_LEAF, STEP_FAULT, STEP_AGAIN };

static bool is_leaf(const struct soft_cpu *c, const struct level *l, u64 pte, bool pae)
{
    if (l->shift == 12)
        return true;
    if (!l->can_leaf || !(pte & PTE_PS))
        return false;
    if (!pae && !(c->cr4 & CR4_PSE))
        return false;
    return true;
}

static enum step walk_level(struct soft_cpu *c, struct walk *w, const struct level *l, bool pae,
                            u64 *table)
{
    u32 size = pae ? 8 : 4;
    u64 at = *table + ((w->lin >> l->shift) & ((1ull << l->bits) - 1)) * size;
    u64 pte = entry_read(c->vm, at, size);
    bool leaf, key;

    if (!pae)
        pte = (u32)pte;
    if (!(pte & PTE_P))
        return fail(c, w, 0), STEP_FAULT;
    leaf = is_leaf(c, l, pte, pae);
    if (pte & reserved_bits(c, l, pte, pae, leaf))
        return fail(c, w, PF_P | PF_RSVD), STEP_FAULT;
    if (l->shift == 30 && leaf && !(c->vm->features[F_GB_PAGES / 64] >> (F_GB_PAGES % 64) & 1))
        return fail(c, w, PF_P | PF_RSVD), STEP_FAULT;
    collect(c, w, l, pte, pae);
    if (!leaf) {
        bool pdpte = pae && !soft_long_mode(c) && l->shift == 30;

        if (!pdpte && !entry_mark(c, w->op, at, size, pte, PTE_A))
            return STEP_AGAIN;
        *table = pte & c->vm->gpa_mask & GUEST_PAGE_MASK;
        return STEP_DOWN;
    }
    w->leaf = pte;
    u32 ok = allowed(c, w, &key);
    if ((w->access & 7) & ~ok)
        return fail(c, w, PF_P | (key ? PF_PK : 0)), STEP_FAULT;
    u64 mark = PTE_A | (w->access & ACC_WRITE ? PTE_D : 0);
    if (!entry_mark(c, w->op, at, size, pte, mark))
        return STEP_AGAIN;
    w->leaf |= mark;
    w->page_bits = l->shift;
    u64 frame = pte & c->vm->gpa_mask & ~((1ull << l->shift) - 1);
    if (!pae && l->shift == 22) /* PSE-36 */
        frame = (pte & 0xffc00000) | (pte & 0x1fe000) << 19;
    w->gpa = frame | (w->lin & ((1ull << l->shift) - 1));
    return STEP_LEAF;
}

/* False with w->error when it ends in a page fault. */
static bool walk_tables(struct soft_cpu *c, struct walk *w)
{
    bool pae = c->cr4 & CR4_PAE;
    bool lm = soft_long_mode(c);
    const struct level *l;
    enum step s;
    u64 table;

    do {
        table = lm    ? c->cr3 & c->vm->gpa_mask & GUEST_PAGE_MASK
                : pae ? (u32)c->cr3 & ~31u
                      : (u32)c->cr3 & ~0xfffu;
        w->rights = PTE_W | PTE_U;
        l = lm ? levels_64 : pae ? levels_pae : levels_32;
        do
            s = walk_level(c, w, l++, pae, &table);
        while (s == STEP_DOWN);
    } while (s == STEP_AGAIN);
    return s == STEP_LEAF;
}

static enum soft_mmu mmu_mode(const struct soft_cpu *c, u32 access)
{
    if (access & ACC_SYSTEM)
        return MMU_KERNEL;
    if (c->cpl == 3)
        return MMU_USER;
    return (c->cr4 & CR4_SMAP) && !(c->eflags & RF_AC) ? MMU_KERNEL : MMU_KERNEL_AC;
}

static bool is_of(const struct tlb_entry *t, u64 lin)
{
    return t->tag_r == lin || t->tag_x == lin;
}

/* Entry `at` is about to become that of page `lin`. */
static void make_room(struct tlb_set *s, enum soft_mmu mode, u32 at, u64 lin)
{
    u32 other = at ^ SOFT_TLB_OTHER;
    struct tlb_entry *from = &s->e[mode][at], *to = &s->e[mode][other];
    u64 *global = s->global[mode], was = global[at / 64] >> at % 64 & 1;

    if (is_of(from, lin))
        return;
    if (is_of(from, TLB_NONE) && from->tag_r == from->tag_x) {
        if (is_of(to, lin))
            to->tag_r = to->tag_w = to->tag_x = TLB_NONE;
        return;
    }
    *to = *from;
    global[other / 64] = (global[other / 64] & ~(1ull << other % 64)) | was << other % 64;
}

/* Made when they are first wanted: few guests use all modes of all sets, and touching that much memory is most of a quick start. */
static struct tlb_entry *entries_of(struct tlb_set *s, u32 mode)
{
    if (unlikely(!s->made[mode])) {
        memset(s->e[mode], 0xff, sizeof(s->e[mode]));
        s->made[mode] = true;
    }
    return s->e[mode];
}

static void recent_forget(struct soft_cpu *c)
{
    memset(c->recent, 0xff, sizeof(c->recent));
}

/* What the CPU reads for itself (descriptors, TSS) goes by the kernel's entries in every mode. */
static void set_use(struct soft_cpu *c, struct tlb_set *s)
{
    entries_of(s, MMU_KERNEL);
    recent_forget(c);
    c->set = s;
}

/* Remembers a translation for accesses to come. */
static void fill(struct soft_cpu *c, const struct walk *w, u32 ok)
{
    enum soft_mmu mode = mmu_mode(c, w->access);
    u64 lin = w->lin & GUEST_PAGE_MASK, page;
    u8 *host = soft_ram(c->vm, w->gpa & GUEST_PAGE_MASK, GUEST_PAGE, &page);
    struct tlb_entry *t;

    if (!host)
        return;
    u32 at = (u32)(lin / GUEST_PAGE) % SOFT_TLB_SIZE;
    u64 bit = 1ull << at % 64, *global = &c->set->global[mode][at / 64];

    t = &entries_of(c->set, mode)[at];
    make_room(c->set, mode, at, lin);
    c->set->filled[mode] = true;
    *global = w->leaf & PTE_G && c->cr4 & CR4_PGE ? *global | bit : *global & ~bit;
    if (w->page_bits > LARGE_BITS)
        c->set->giant |= soft_tlb_region(lin, GIANT_BITS);
    else if (w->page_bits > PAGE_BITS)
        c->set->large |= soft_tlb_region(lin, LARGE_BITS);
    t->addend = (s64)((uintptr_t)host - lin);
    t->tag_r = ok & ACC_READ ? lin : TLB_NONE;
    t->tag_x = ok & ACC_EXEC ? lin : TLB_NONE;
    t->tag_w = TLB_NONE;
    if (!(ok & ACC_WRITE) || !(w->leaf & PTE_D) || atomic_load(&c->vm->dirty_log))
        return;
    if (atomic_load(&c->vm->page_code[page]) == 0)
        t->tag_w = lin;
}

static bool canonical(const struct soft_cpu *c, u64 lin)
{
    return !soft_long_mode(c) || (u64)((s64)(lin << 16) >> 16) == lin;
}

u64 soft_walk(struct soft_cpu *c, const struct uop *op, u64 lin, u32 access)
{
    struct walk w = {
        .op = op, .lin = lin, .access = access, .user = c->cpl == 3 && !(access & ACC_SYSTEM)
    };
    bool key;

    if (!canonical(c, lin))
        soft_raise_error(c, op,
                         op && (op->seg == SEG_FLAT_SS || op->seg == SEG_SS) ? VEC_SS : VEC_GP, 0);
    if (!(c->cr0 & CR0_PG)) {
        w.gpa = lin & c->vm->gpa_mask;
        w.leaf = PTE_D;
        fill(c, &w, ACC_READ | ACC_WRITE | ACC_EXEC);
        return w.gpa;
    }
    if (!walk_tables(c, &w))
        soft_raise_pf(c, op, lin, w.error);
    fill(c, &w, allowed(c, &w, &key));
    return w.gpa;
}

bool soft_peek(struct soft_cpu *c, u64 lin, u64 *ret_gpa)
{
    bool pae = c->cr4 & CR4_PAE, lm = soft_long_mode(c);
    const struct level *l = lm ? levels_64 : pae ? levels_pae : levels_32;
    u64 table = lm    ? c->cr3 & c->vm->gpa_mask & GUEST_PAGE_MASK
                : pae ? (u32)c->cr3 & ~31u
                      : (u32)c->cr3 & ~0xfffu;

    if (!canonical(c, lin))
        return false;
    if (!(c->cr0 & CR0_PG)) {
        *ret_gpa = lin & c->vm->gpa_mask;
        return true;
    }
    for (;; l++) {
        u32 size = pae ? 8 : 4;
        u64 pte =
            entry_read(c->vm, table + ((lin >> l->shift) & ((1ull << l->bits) - 1)) * size, size);

        if (!(pte & PTE_P))
            return false;
        table = pte & c->vm->gpa_mask & GUEST_PAGE_MASK & (pae ? ~0ull : 0xffffffffull);
        if (is_leaf(c, l, pte, pae)) {
            *ret_gpa = (table & ~((1ull << l->shift) - 1)) | (lin & ((1ull << l->shift) - 1));
            return true;
        }
    }
}

/* The TLB's upkeep. */

/* Whatever a kernel may reach it may also reach while SMAP does not apply. */
static bool is_wider(const struct soft_cpu *c, const struct tlb_entry *than)
{
    return c->tlb == c->set->e[MMU_KERNEL_AC] && than == c->set->e[MMU_KERNEL];
}

void soft_recent_settle(struct soft_cpu *c)
{
    u32 user = c->cpl == 3;

    if (c->recent_of[user] == c->tlb)
        return;
    if (user)
        memset(&c->recent[RECENT_STACK], 0xff, sizeof(c->recent) - sizeof(c->recent[0]));
    else if (!is_wider(c, c->recent_of[0]))
        memset(&c->recent[RECENT_KERNEL], 0xff, sizeof(c->recent[0]));
    c->recent_of[user] = c->tlb;
}

bool soft_tlb_is_global(const struct tlb_set *s, const struct tlb_entry *t)
{
    u32 i = (u32)(t - s->e[0]);

    return s->global[i / SOFT_TLB_SIZE][i % SOFT_TLB_SIZE / 64] >> i % 64 & 1;
}

static void set_clear(struct tlb_set *s)
{
    for (u32 m = 0; m < MMU_MODES; m++) {
        if (!s->filled[m])
            continue;
        memset(s->e[m], 0xff, sizeof(s->e[m]));
        memset(s->global[m], 0, sizeof(s->global[m]));
        s->filled[m] = false;
    }
    s->large = s->giant = 0;
}

/* Forgets all but global pages. */
static void set_clear_local(struct tlb_set *s)
{
    for (u32 i = 0; i < MMU_MODES * SOFT_TLB_SIZE; i += 64) {
        u32 m = i / SOFT_TLB_SIZE, at = i % SOFT_TLB_SIZE;

        if (!s->filled[m])
            continue;
        for (u64 none = ~s->global[m][at / 64]; none; none &= none - 1)
            memset(&s->e[m][at + (u32)__builtin_ctzll(none)], 0xff, sizeof(struct tlb_entry));
    }
}

/* Global pages of `from` into `to`, which is empty. */
static void set_copy_global(struct tlb_set *to, const struct tlb_set *from)
{
    to->large = from->large;
    to->giant = from->giant;
    for (u32 i = 0; i < MMU_MODES * SOFT_TLB_SIZE; i += 64) {
        u32 m = i / SOFT_TLB_SIZE, at = i % SOFT_TLB_SIZE;
        u64 some = from->filled[m] ? from->global[m][at / 64] : 0;

        to->global[m][at / 64] = some;
        to->filled[m] |= some != 0;
        for (; some; some &= some - 1) {
            u32 k = at + (u32)__builtin_ctzll(some);

            entries_of(to, m)[k] = from->e[m][k];
        }
    }
}

void soft_tlb_flush_all(struct soft_cpu *c)
{
    for (u32 i = 0; i < SOFT_TLB_SETS; i++) {
        set_clear(c->sets[i]);
        c->sets[i]->pcid = i == 0 ? (c->cr4 & CR4_PCIDE ? c->cr3 & CR3_PCID : 0) : ~0ull;
    }
    set_use(c, c->sets[0]);
    soft_window_forget(c, ~0ull);
    soft_jumps_doubt_all_spaces(c);
    soft_mode_changed(c);
}

/* Those entries of `n` from `first` on that are of the aligned 1 << bits around lin, whatever right they give. */
static void entries_clear(struct tlb_entry *first, u32 n, u64 lin, u32 bits)
{
    for (struct tlb_entry *t = first; t < first + n; t++)
        if ((t->tag_r ^ lin) >> bits == 0 || (t->tag_x ^ lin) >> bits == 0)
            t->tag_r = t->tag_w = t->tag_x = TLB_NONE;
}

/* Returns bits of what was forgotten. */
static u32 flush_page_of(struct soft_cpu *c, struct tlb_set *s, u64 lin)
{
    bool giant = s->giant & soft_tlb_region(lin, GIANT_BITS),
         large = s->large & soft_tlb_region(lin, LARGE_BITS);
    u32 bits = giant   ? GIANT_BITS
               : large ? LARGE_BITS
                       : PAGE_BITS,
        n = min(SOFT_TLB_SIZE, 1u << (bits - PAGE_BITS));
    u32 at = (u32)(lin >> PAGE_BITS) % SOFT_TLB_SIZE & ~(n - 1);

    if (s == c->set)
        entries_clear(c->recent, RECENT_COUNT, lin, bits);
    for (u32 m = 0; m < MMU_MODES; m++) {
        if (!s->filled[m])
            continue;
        entries_clear(&s->e[m][at], n, lin, bits);
        if (n <= SOFT_TLB_OTHER)
            entries_clear(&s->e[m][at ^ SOFT_TLB_OTHER], n, lin, bits);
    }
    return bits;
}

static void doubt_page(struct soft_cpu *c, u64 lin, u32 bits)
{
    if (bits == PAGE_BITS)
        soft_jumps_doubt_page(c, lin);
    else
        soft_jumps_doubt(c);
}

void soft_tlb_flush_page(struct soft_cpu *c, u64 lin)
{
    u32 bits = 0;

    for (u32 i = 0; i < SOFT_TLB_SETS; i++) /* a global page is in all of them */
        bits = max(bits, flush_page_of(c, c->sets[i], lin));
    soft_window_forget_page(c, lin, bits);
    doubt_page(c, lin, bits);
}

static struct tlb_set *set_find(struct soft_cpu *c, u64 pcid)
{
    for (u32 i = 0; i < SOFT_TLB_SETS; i++)
        if (c->sets[i]->pcid == pcid)
            return c->sets[i];
    return NULL;
}

/* Not the one in force: its global pages are to go along. */
static struct tlb_set *set_victim(struct soft_cpu *c)
{
    struct tlb_set *v = c->sets[c->sets[0] == c->set];

    for (u32 i = 1; i < SOFT_TLB_SETS; i++)
        if (c->sets[i] != c->set && c->sets[i]->used_at < v->used_at)
            v = c->sets[i];
    return v;
}

void soft_tlb_switch(struct soft_cpu *c, u64 cr3, bool keep)
{
    u64 pcid = c->cr4 & CR4_PCIDE ? cr3 & CR3_PCID : 0;
    struct tlb_set *s = set_find(c, pcid);

    if (!s) {
        s = set_victim(c);
        set_clear(s);
        set_copy_global(s, c->set);
    } else if (!keep) {
        set_clear_local(s);
    }
    if (!keep)
        soft_window_forget(c, pcid);
    if (!keep || s->pcid != pcid)
        soft_jumps_doubt_set(c, s);
    s->pcid = pcid;
    s->used_at = ++c->tlb_clock;
    set_use(c, s);
    soft_mode_changed(c);
}

void soft_tlb_invpcid(struct soft_cpu *c, u32 type, u64 pcid, u64 lin)
{
    struct tlb_set *s = set_find(c, pcid);

    if (type == 0)
        soft_window_forget_page(c, lin, PAGE_BITS);
    else if (type == 1)
        soft_window_forget(c, pcid);
    if (type >= 2) {
        soft_tlb_flush_all(c);
    } else if (s && type == 0) {
        doubt_page(c, lin, flush_page_of(c, s, lin));
    } else if (s) {
        set_clear_local(s);
        soft_jumps_doubt_set(c, s);
        soft_jumps_settle(c);
    }
    recent_forget(c);
}

/* Pages that could be written to unseen until now. */
static void note_dirty(struct soft_cpu *c, const struct tlb_entry *t)
{
    if (t->tag_w != TLB_NONE)
        soft_dirty_host(c->vm, (const u8 *)(uintptr_t)(t->tag_w + (u64)t->addend));
}

/* Drops the write tags of `n` entries. */
static void drop_tags(struct soft_cpu *c, struct tlb_entry *first, u32 n, bool log)
{
    for (struct tlb_entry *t = first; t < first + n; t++) {
        if (log)
            note_dirty(c, t);
        t->tag_w = TLB_NONE;
    }
}

/* Drops every write tag: the next write to each page is looked at. */
void soft_tlb_drop_writes(struct soft_cpu *c)
{
    bool log = atomic_load(&c->vm->dirty_log);

    for (u32 i = 0; i < SOFT_TLB_SETS * MMU_MODES; i++) {
        struct tlb_set *set = c->sets[i / MMU_MODES];

        if (set->filled[i % MMU_MODES])
            drop_tags(c, set->e[i % MMU_MODES], SOFT_TLB_SIZE, log);
    }
    drop_tags(c, c->recent, RECENT_COUNT, log);
    soft_window_drop_writes(c, log);
}

const u8 *soft_ram_page(const struct soft_vm *vm, u64 page)
{
    return vm->ram[0].host - vm->ram[0].fd_offset +
           page * GUEST_PAGE; /* all of RAM is one mapping, in order of the memfd */
}

/* Those of `n` entries that lead to the page at `host`. */
static void drop_tags_of(struct tlb_entry *first, u32 n, const u8 *host)
{
    for (struct tlb_entry *t = first; t < first + n; t++)
        if (t->tag_w + (u64)t->addend == (uintptr_t)host)
            t->tag_w = TLB_NONE;
}

void soft_tlb_drop_write(struct soft_cpu *c, const u8 *host)
{
    for (u32 i = 0; i < SOFT_TLB_SETS; i++)
        for (u32 m = 0; m < MMU_MODES; m++)
            if (c->sets[i]->filled[m])
                drop_tags_of(c->sets[i]->e[m], SOFT_TLB_SIZE, host);
    drop_tags_of(c->recent, RECENT_COUNT, host);
    soft_window_drop_write(c, (u64)(host - soft_ram_page(c->vm, 0)) / GUEST_PAGE);
}

#define TLB_NEVER_BYTES (SOFT_TLB_SIZE * sizeof(struct tlb_entry))

static void *aligned_new(size_t size)
{
    void *p = aligned_alloc(SOFT_TLB_SIZE * sizeof(struct tlb_entry), size);

    must(p);
    return p;
}

int soft_tlb_init(struct soft_cpu *c)
{
    soft_window_open(c);
    for (u32 i = 0; i < SOFT_TLB_SETS; i++) {
        c->sets[i] = aligned_new(sizeof(struct tlb_set));
        memset(c->sets[i], 0, offsetof(struct tlb_set, giant) + sizeof(c->sets[i]->giant));
        c->sets[i]->pcid = i == 0 ? 0 : ~0ull;
    }
    set_use(c, c->sets[0]);
    soft_jumps_doubt(c);
    c->tlb_never = aligned_new(TLB_NEVER_BYTES);
    return 0;
}

void soft_tlb_fini(struct soft_cpu *c)
{
    soft_window_close(c);
    for (u32 i = 0; i < SOFT_TLB_SETS; i++)
        free(c->sets[i]);
    free(c->tlb_never);
}

struct tlb_entry *soft_tlb_never(struct soft_cpu *c)
{
    if (!c->never_made)
        memset(c->tlb_never, 0xff, TLB_NEVER_BYTES);
    c->never_made = true;
    return c->tlb_never;
}

struct tlb_entry *soft_tlb_of_fetches(struct soft_cpu *c)
{
    return entries_of(c->set, mmu_mode(c, 0));
}
