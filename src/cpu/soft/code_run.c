/*
 * cpu/soft/code_run.c: see code_run.h.
 * Two machines with time by count of instructions are made alike, and run in steps: one in whole blocks that are chained and, more
 * often than not, translated, the other in short ones that are not.  After each step they must be alike, in all that a guest can observe, and each in a state that can be.
 *   (1) A program that could reach its page tables is not compared: what the TLBs remember of them may differ.
 *   (2) The tables' RAM is ordinary RAM for the engine: it may read any nonsense there.
 */
#include "cpu/soft/code_run.h"

#include "cpu/soft/code.h"
#include "cpu/soft/cpuid.h"
#include "cpu/soft/insn.h"
#include "cpu/soft/io.h"
#include "cpu/soft/jit/cache.h"
#include "cpu/soft/jit/verify.h"
#include "cpu/soft/msr.h"
#include "cpu/soft/rig.h"
#include "cpu/soft/seg.h"
#include "cpu/soft/sys.h"
#include "cpu/soft/window.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    RAM = 1024 * 1024,
    IDT = 0x2000,
    GDT = 0x3000,
    TSS = 0x4000,      /* and the one of a task to switch to, 0x400 above */
    STACK = 0x8000,    /* ring 0: 0x9000 */
    HANDLERS = 0xc000, /* 16 bytes for each vector */
    DATA = 0x10000,    /* 64 KiB of noise */
    TABLES = 0x40000,
    TABLES_SIZE = 0x10000,
    LAPIC_LIN = 0x200000,
    STEPS = 24,
    STEP_MAX = 200,
};

enum mode {
    REAL,
    PROT16,
    PROT32,
    PAGED32,
    PAGED_PAE,
    LONG = CODE_LONG,
    COMPAT32,
    COMPAT16,
    V86,
    MODES
};

/* What the second byte of a program asks for. */
enum {
    RING3 = CODE_RING3,
    ODD_SEGMENTS = 1 << 1,
    ODD_PAGES = 1 << 2,
    ODD_TABLES = 1 << 3, /* of descriptors */
    TIMER = 1 << 4,
    EVENTS = 1 << 5,        /* NMIs and interrupts from outside */
    ODD_REGISTERS = 1 << 6, /* of control */
    OWN_TABLES = 1 << 7,    /* page tables are mapped, and may be written */
};

struct prog {
    enum mode mode;
    u8 flags, place;
    u64 seed;
    u8 code[CODE_BYTES_MAX];
    u32 n;
    u64 at; /* where the code is */
};

struct machine {
    struct rig *rig;
    struct soft_cpu *c;
};

static struct machine whole, cut;
alignas(8) static u8 image[RAM];

static bool paged(const struct prog *p)
{
    return p->mode >= PAGED32 && (p->mode != V86 || (p->seed & 1));
}

static bool is_long(const struct prog *p)
{
    return p->mode >= LONG && p->mode <= COMPAT16;
}

static u32 bits_of(const struct prog *p)
{
    static const u8 bits[] = { 16, 16, 32, 32, 32, 64, 32, 16, 16 };

    return bits[p->mode];
}

/* Memory. */

static void put(u64 at, u64 v, u32 n)
{
    memcpy(image + at, &v, n);
}

static void write_code(struct prog *p)
{
    static const u32 places[] = { 0x1000, 0x1000, 0x1ff0, 0x0ff8, 0xffe0, RAM - 24, 0xb00, 0x5ffe };

    p->at = places[p->place % ARRAY_LEN(places)];
    if (bits_of(p) == 16 && p->at > 0xffff)
        p->at = 0x1000;
    memcpy(image + p->at, p->code, min(p->n, (u32)(RAM - p->at)));
}

/* Each handler jumps somewhere into the code; a few return. */
static void write_handlers(const struct prog *p, u64 *s)
{
    u32 size = bits_of(p) == 16 ? 2 : 4;

    for (u32 v = 0; v < 256; v++) {
        u32 at = HANDLERS + v * 16,
            rel = (u32)p->at + code_below(s, max(p->n, 1u)) - (at + 1 + size);

        if (code_below(s, 8) == 0) {
            put(at, is_long(p) ? 0xcf48 : 0xcf, 2);
            continue;
        }
        image[at] = 0xe9;
        put(at + 1, rel, size);
    }
}

static u64 gate(const struct prog *p, u32 v, u64 *s)
{
    u32 type = bits_of(p) == 16 && !is_long(p) && p->mode != V86 ? SYS_INT16 : SYS_INT32,
        at = HANDLERS + v * 16;
    u32 dpl = code_below(s, 4) ? 3 : 0, own_stack = is_long(p) && code_below(s, 8) == 0;

    if (p->flags & ODD_TABLES && code_below(s, 16) == 0)
        return code_rand(s);
    if (code_below(s, 4) == 0)
        type |= 1; /* a trap gate */
    return (u64)at | (is_long(p) ? 0x28ull : 0x08ull) << 16 | (u64)own_stack << 32 |
           (u64)(0x80 | dpl << 5 | type) << 40;
}

static void write_idt(const struct prog *p, u64 *s)
{
    if (p->mode == REAL) {
        for (u32 v = 0; v < 256 && v * 4 < 0x400; v++)
            put(v * 4, HANDLERS + v * 16, 4);
        return;
    }
    for (u32 v = 0; v < 256; v++)
        put(IDT + v * (is_long(p) ? 16 : 8), gate(p, v, s), 8);
}

/* Code and data of ring 0 and 3; code64 of both; a TSS, another, a call gate, a task gate, an LDT. */
static void write_gdt(const struct prog *p, u64 *s)
{
    u64 big = bits_of(p) == 16 && p->mode != V86 ? 0x008f000000000000 : 0x00cf000000000000;
    const u64 gdt[] = {
        0,
        big | 0x9b000000ffff,
        big | 0x93000000ffff,
        big | 0xfb000000ffff,
        big | 0xf3000000ffff,
        0x00af9b000000ffff,
        0x00affb000000ffff,
        0x00008b0000000067 | (u64)TSS << 16,
        0,
        0x0000890000000067 | (u64)(TSS + 0x400) << 16,
        0,
        0x0000ec0000080000 | HANDLERS,
        0x0000e50000480000,
        0x0000820000000fff | (u64)GDT << 16,
        0,
    };

    for (u32 i = 0; i < ARRAY_LEN(gdt); i++) {
        put(GDT + i * 8,
            gdt[i] ^
                (p->flags & ODD_TABLES && code_below(s, 6) == 0 ? 1ull << (32 + code_below(s, 24))
                                                                : 0),
            8);
    }
    if (is_long(p)) {
        put(TSS + 4, STACK + 0x1000, 8);
        put(TSS + 0x24, STACK + 0x2000, 8);
    } else {
        put(TSS + 4, STACK + 0x1000, 4);
        put(TSS + 8, 0x10, 4);
        put(TSS + 0x66, 0x68, 2);
        for (u32 i = 0; i < 0x68; i += 4)
            put(TSS + 0x400 + i, code_below(s, 2) ? HANDLERS : 0x10, 4);
    }
}

/* Frame of page `i` of the first 4 MiB, with rights. */
static u64 pte_of(const struct prog *p, u32 i, u64 *s)
{
    u64 at = (u64)i * 4096, pte = at | 7;

    if (at == LAPIC_LIN)
        return CPU_LAPIC_BASE | 7;
    if (at >= TABLES && at < TABLES + TABLES_SIZE && !(p->flags & OWN_TABLES))
        return 0;
    if (!(p->flags & ODD_PAGES) || code_below(s, 8))
        return pte;
    switch (code_below(s, 8)) {
    case 0:
        return pte & ~2ull; /* read-only */
    case 1:
        return pte & ~4ull; /* supervisor */
    case 2:
        return p->mode == PAGED32 ? pte : pte | 1ull << 63;
    case 3:
        return 0;
    case 4:
        return (u64)code_below(s, 16) * 4096 | 7; /* another page of the first ones */
    case 5:
        return pte | 1ull << (12 + code_below(s, 50));
    case 6:
        return p->mode == PAGED32 ? pte : pte | (u64)code_below(s, 16) << 59;
    default:
        return pte | 0x160;
    }
}

/* 4 MiB of 4 KiB pages; the table of tables is TABLES. */
static void write_pages(const struct prog *p, u64 *s)
{
    bool legacy = p->mode == PAGED32 || p->mode == V86;
    u32 size = legacy ? 4 : 8, leaf = TABLES + 0x4000;

    if (legacy) {
        put(TABLES, leaf | 7, 4);
        put(TABLES + 4, 0xe7, 4); /* with PSE: the first 4 MiB again */
    } else {
        u32 dir = TABLES + 0x2000;

        put(TABLES, (TABLES + 0x1000) | (is_long(p) ? 7 : 1), 8);
        put(TABLES + 0x1000, dir | 7, 8);
        if (!is_long(p)) /* TABLES holds the PDPTEs */
            put(TABLES, dir | 1, 8);
        put(dir, leaf | 7, 8);
        put(dir + 8, (leaf + 0x1000) | 7, 8);
        put(dir + 16, 0xe7, 8);
    }
    for (u32 i = 0; i < 1024; i++)
        put(leaf + i * size, pte_of(p, i, s), size);
}

static void write_image(struct prog *p, u64 *s)
{
    memset(image, 0, sizeof(image));
    for (u32 i = 0; i < 0x2000; i += 8) {
        put(DATA + i, code_rand(s), 8);
    }
    if (p->mode != REAL)
        write_gdt(p, s);
    write_idt(p, s);
    write_pages(p, s);
    write_code(p);
    write_handlers(p, s);
}

/* Registers. */

static u64 value(u64 *s)
{
    static const u32 near[] = { 0,    0x1000,       0x1800,        STACK,
                                DATA, DATA + 0xff8, DATA + 0x1fff, RAM - 8,
                                RAM,  LAPIC_LIN,    TABLES,        0xffff };

    switch (code_below(s, 8)) {
    case 0:
        return code_rand(s);
    case 1:
        return code_below(s, 256);
    case 2:
        return (u64) - (s64)code_below(s, 64);
    case 3:
        return code_below(s, RAM);
    default:
        return near[code_below(s, ARRAY_LEN(near))] + code_below(s, 16);
    }
}

static struct seg_state segment(const struct prog *p, u32 selector, u32 attr, u64 *s)
{
    struct seg_state g = { .limit = 0xffffffff, .selector = (u16)selector, .attr = (u16)attr };

    if (!(p->flags & ODD_SEGMENTS) || is_long(p))
        return g;
    if (code_below(s, 3) == 0)
        g.base = code_below(s, 3) ? code_below(s, 0x10000) : (u32)code_rand(s);
    if (code_below(s, 3) == 0)
        g.limit = code_below(s, 3) ? 0xffff : code_below(s, 0x20000);
    if (code_below(s, 6) == 0)
        g.attr ^= (u16)(1u << code_below(s, 3));
    return g;
}

static void set_segments(struct soft_cpu *c, const struct prog *p, u64 *s)
{
    bool ring3 = p->flags & RING3 && p->mode != REAL;
    u32 dpl = ring3 || p->mode == V86 ? 3 : 0, db = bits_of(p) == 16 ? 0 : SEG_DB;
    u32 code = p->mode == LONG ? 0x28 + 8 * (dpl == 3) : 8 + dpl * 16 / 3;

    c->cpl = (u8)dpl;
    if (p->mode == REAL || p->mode == V86) {
        if (p->mode == V86)
            c->eflags |= RF_VM;
        for (u32 i = SEG_ES; i <= SEG_GS; i++)
            soft_seg_real(c, i,
                          p->flags & ODD_SEGMENTS && i != SEG_CS ? (u16)code_below(s, 0x10000) : 0);
    } else {
        for (u32 i = SEG_ES; i <= SEG_GS; i++)
            c->seg[i] = segment(p, (0x10 + dpl * 16 / 3) | dpl, 0x8093 | dpl << 5 | db, s);
        c->seg[SEG_CS] =
            segment(p, code | dpl, 0x809b | dpl << 5 | (p->mode == LONG ? SEG_L : db), s);
        c->seg[SEG_CS].base = 0;
        c->seg[SEG_CS].limit = max(c->seg[SEG_CS].limit, 0xffffu);
        c->seg[SEG_CS].attr |= SEG_CODE | SEG_P;
    }
    c->seg[SEG_TR] =
        (struct seg_state){ .base = TSS, .limit = 0x67, .selector = 0x38, .attr = 0x8b };
    c->seg[SEG_LDTR] =
        (struct seg_state){ .base = GDT, .limit = 0xfff, .selector = 0x68, .attr = 0x82 };
}

static void set_control(struct soft_cpu *c, const struct prog *p, u64 *s)
{
    u64 cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE |
              (p->mode >= PAGED_PAE && p->mode < V86 ? CR4_PAE : 0);
    u64 odd = code_rand(s) & (CR4_PGE | CR4_SMEP | CR4_SMAP | CR4_PKE | CR4_FSGSBASE | CR4_UMIP |
                              CR4_TSD | CR4_DE | CR4_VME | CR4_PSE);
    u64 odd0 = code_rand(s) & (CR0_WP | CR0_AM | CR0_TS | CR0_MP | CR0_EM);

    c->cr0 = CR0_ET | CR0_NE | (p->mode == REAL ? 0 : CR0_PE) | (paged(p) ? CR0_PG : 0);
    c->efer = is_long(p)             ? EFER_LME | EFER_LMA | EFER_SCE | EFER_NXE
              : p->mode == PAGED_PAE ? EFER_NXE
                                     : 0;
    c->cr3 = TABLES;
    c->cr4 = cr4;
    if (p->flags & ODD_REGISTERS) {
        c->cr0 |= code_below(s, 2) ? odd0 & (CR0_WP | CR0_AM) : odd0;
        if (soft_cr4_ok(c, cr4 | odd))
            c->cr4 = cr4 | odd;
        c->pkru = (u32)code_rand(s);
        for (u32 i = 0; i < 4; i++)
            c->dr[i] = value(s);
        if (code_below(s, 4) == 0)
            c->dr7 = 0x400 | (code_rand(s) & 0xffff00ff & ~0x2000ull);
    }
    c->xcr0 = 7 & c->vm->cpuid->xcr0;
    c->gdt_base = GDT;
    c->gdt_limit = 0x77;
    c->idt_base = p->mode == REAL ? 0 : IDT;
    c->idt_limit = 0xfff;
}

static void set_apic(struct soft_cpu *c, u64 *s)
{
    struct lapic_time now = soft_time(c);

    lapic_write(&c->lapic, 0xf0, 4, 0x10f, now);
    lapic_write(&c->lapic, 0x3e0, 4, 0xb, now);
    lapic_write(&c->lapic, 0x320, 4, 0x20040, now);
    lapic_write(&c->lapic, 0x380, 4, 20 + code_below(s, 500), now);
}

/* Both machines begin with the same, from the same seed. */
static void begin(struct machine *m, const struct prog *p, u64 seed)
{
    struct soft_cpu *c = m->c;
    u64 *s = &seed;
    struct err e;

    memcpy(m->rig->ram, image, RAM);
    c->insns = c->vm->icount_ahead_ns = c->stop_insns = 0;
    c->budget = c->quantum = 0;
    must(vcpu_reset(c->v, &e) >= 0);
    must(cpu_vm_set(m->rig->vm, m->rig->vm->vm_power_on, &e) >= 0);
    atomic_store(&c->request, 0);
    for (u32 i = 0; i < GPR_COUNT; i++)
        c->reg[i] = bits_of(p) == 64 ? value(s) : (u32)value(s);
    c->reg[GPR_RSP] = STACK;
    soft_set_flags(c, RF_ONE | ((u32)code_rand(s) & (RF_ARITH | RF_IF)));
    if (code_below(s, 8) == 0)
        c->eflags |= (u32)code_rand(s) & (RF_TF | RF_DF | RF_IOPL | RF_NT | RF_AC | RF_ID);
    c->eflags |= code_below(s, 2) ? RF_IOPL : 0;
    set_control(c, p, s);
    set_segments(c, p, s);
    c->rip = p->at;
    if (p->flags & TIMER)
        set_apic(c, s);
    soft_tlb_flush_all(c);
    soft_mode_changed(c);
}

/* Oracles. */

static _Noreturn void fail(const struct prog *p, const char *what)
{
    fprintf(stderr, "%s: mode %u, flags 0x%02x, place %u, seed 0x%llx, code", what, p->mode,
            p->flags, p->place, p->seed);
    for (u32 i = 0; i < p->n; i++)
        fprintf(stderr, " %02x", p->code[i]);
    fprintf(stderr, "\n");
    abort();
}

/* Are the page tables those of the beginning but for accessed and dirty bits?  Then no translation can be stale. */
static bool tables_are_old(const struct soft_cpu *c)
{
    const u64 *now = (const u64 *)(const void *)(c->vm->ram->host + TABLES),
              *old = (const u64 *)(const void *)(image + TABLES);

    for (u32 i = 0; i < TABLES_SIZE / 8; i++)
        if ((now[i] ^ old[i]) & ~0x0000006000000060ull)
            return false;
    return c->cr3 == TABLES;
}

static void check_tlb(const struct prog *p, struct soft_cpu *c, const struct tlb_entry *t,
                      bool fresh)
{
    u64 tags[] = { t->tag_r, t->tag_w, t->tag_x };

    for (u32 i = 0; i < ARRAY_LEN(tags); i++) {
        const u8 *host = (const u8 *)(uintptr_t)(tags[i] + (u64)t->addend);
        u64 gpa;

        if (tags[i] == TLB_NONE)
            continue;
        if (host < c->vm->ram->host || host > c->vm->ram->host + RAM - GUEST_PAGE ||
            (uintptr_t)host % GUEST_PAGE)
            fail(p, "a translation leads out of RAM");
        if (i == 1 && c->vm->page_code[(u64)(host - c->vm->ram->host) / GUEST_PAGE])
            fail(p, "a page with code may be written unseen");
        if (fresh && (!soft_peek(c, tags[i], &gpa) || gpa != (u64)(host - c->vm->ram->host)))
            fail(p, "a translation is not that of the tables");
    }
}

/* What the user window holds could be in the TLB. */
static void check_window(const struct prog *p, struct soft_cpu *c, bool fresh)
{
    const struct window *w = c->window;

    for (const struct window_page *q = w->pages; q < w->pages + w->used; q++) {
        u64 gpa;

        if (q->lin == BLOCK_ONE_PAGE)
            continue;
        if (q->page >= RAM / GUEST_PAGE)
            fail(p, "the window leads out of RAM");
        if (q->writes && c->vm->page_code[q->page])
            fail(p, "a page with code may be written by the window, unseen");
        if (fresh && c->cr3 == w->cr3 &&
            (!soft_peek(c, q->lin, &gpa) || gpa != q->page * GUEST_PAGE))
            fail(p, "a page of the window is not that of the tables");
    }
}

static void check_registers(const struct prog *p, const struct soft_cpu *c)
{
    bool paging = c->cr0 & CR0_PG, lma = c->efer & EFER_LMA;
    u32 flags = soft_flags(c);

    if (!(flags & RF_ONE) || flags & 0xffc08028 || c->eflags & RF_ARITH)
        fail(p, "reserved flags");
    if ((paging && !(c->cr0 & CR0_PE)) || lma != (paging && (c->efer & EFER_LME)) ||
        (lma && !(c->cr4 & CR4_PAE)))
        fail(p, "control registers contradict each other");
    if (!soft_cr4_ok(c, c->cr4) || c->cpl > 3 || c->reg[REG_ZERO / 8])
        fail(p, "control registers");
    if (!lma && c->rip > 0xffffffff)
        fail(p, "RIP outside 64-bit code");
}

static void check(const struct prog *p, struct soft_cpu *c)
{
    u32 key = c->key & ~(u32)KEY_SINGLE;
    const struct tlb_entry *tlb = c->tlb;
    bool fresh = !(c->cr0 & CR0_PG) || tables_are_old(c);
    u32 at;

    check_registers(p, c);
    soft_mode_changed(c);
    if ((c->key & ~(u32)KEY_SINGLE) != key || c->tlb != tlb)
        fail(p, "the key is not that of the mode");
    for (u32 i = 0; i < SOFT_TLB_SETS; i++)
        for (u32 m = 0; m < MMU_MODES; m++)
            for (u32 k = 0; c->sets[i]->filled[m] && k < SOFT_TLB_SIZE; k++)
                check_tlb(p, c, &c->sets[i]->e[m][k], fresh && c->sets[i] == c->set);
    for (u32 i = 0; i < RECENT_COUNT; i++)
        check_tlb(p, c, &c->recent[i], fresh);
    check_window(p, c, fresh);
    if (!soft_code_is_true(c))
        fail(p, "decoded code is not what memory holds");
    if (*jit_verify(c, &at))
        fail(p, jit_verify(c, &at));
}

static void show(const struct soft_cpu *c, const char *name)
{
    fprintf(stderr,
            "%s: insns %llu rip 0x%llx flags 0x%x cr0 0x%llx cr2 0x%llx cr4 0x%llx key 0x%x cpl %u "
            "halted %u event %u/%u\n",
            name, soft_insns(c), c->rip, soft_flags(c), c->cr0, c->cr2, c->cr4, c->key, c->cpl,
            c->halted, c->event.pending, c->event.vector);
    for (u32 i = 0; i < GPR_COUNT; i++)
        fprintf(stderr, " %llx", c->reg[i]);
    fprintf(stderr, "\n");
}

/* What lies between the members is nobody's. */
static void tidy(struct seg_state *s)
{
    struct seg_state t;

    memset(&t, 0, sizeof(t));
    t.base = s->base;
    t.limit = s->limit;
    t.selector = s->selector;
    t.attr = s->attr;
    t.unusable = s->unusable;
    memcpy(s, &t, sizeof(t));
}

static bool differs(const char *what, const u8 *a, const u8 *b)
{
    u32 at = 0;

    while (a && a[at] == b[at])
        at++;
    fprintf(stderr, "%s differs, from byte 0x%x on\n", what, at);
    show(whole.c, "whole");
    show(cut.c, "cut");
    return false;
}

static bool alike(bool memory)
{
    static struct vcpu_state a, b;
    struct err e;

    must(vcpu_get(whole.c->v, &a, &e) >= 0 && vcpu_get(cut.c->v, &b, &e) >= 0);
    for (u32 i = 0; i < SEG_COUNT; i++) {
        tidy(&a.seg[i]);
        tidy(&b.seg[i]);
    }
    /* NOLINTNEXTLINE(bugprone-suspicious-memory-comparison): both were zeroes, so padding is too */
    if (memcmp(&a, &b, sizeof(a)) != 0)
        return differs("state", (const u8 *)&a, (const u8 *)&b);
    if (soft_insns(whole.c) != soft_insns(cut.c))
        return differs("instructions run", NULL, NULL);
    if (memory && memcmp(whole.rig->ram, cut.rig->ram, RAM) != 0)
        return differs("RAM", whole.rig->ram, cut.rig->ram);
    return true;
}

/* Running. */

static struct machine machine_new(void)
{
    static const struct cpu_cfg cfg = { .n_cpus = 1, .legacy = true, .icount = true };
    struct machine m = { .rig = rig_open(&cfg, RAM) };

    m.c = m.rig->c;
    m.c->vm->features[F_RDRAND / 64] &= ~(1ull << F_RDRAND % 64); /* no two would agree */
    m.c->vm->features[F_RDSEED / 64] &= ~(1ull << F_RDSEED % 64);
    return m;
}

static void event(struct soft_cpu *c, u32 which)
{
    if (which % 8 == 0)
        soft_nmi(c);
    else
        soft_msi(c->vm, CPU_LAPIC_BASE, 32 + which % 224);
}

static bool step(struct machine *m, u32 n)
{
    struct soft_cpu *c = m->c;

    c->stop_insns = soft_insns(c) + n;
    return vcpu_run(c->v) != VCPU_TRIPLE_FAULT;
}

enum outcome { GOES_ON, ENDED, PARTED };

/* One step of both machines, and what comes from outside after it; not beyond `limit` instructions. */
static enum outcome both(const struct prog *p, u64 *s, u32 i, u64 limit)
{
    u32 n = 1 + code_below(s, STEP_MAX), which = (u32)code_rand(s);
    bool last = limit - soft_insns(whole.c) <= n,
         go_on = step(&whole, last ? (u32)(limit - soft_insns(whole.c)) : n);
    bool all = last || i % 8 == 7 || !go_on || whole.c->halted;

    if (all)
        check(p, whole.c);
    if (!(p->flags & OWN_TABLES)) {
        if (step(&cut, last ? (u32)(limit - soft_insns(cut.c)) : n) != go_on || !alike(all))
            return PARTED;
        if (all)
            check(p, cut.c);
    }
    if (last || !go_on)
        return ENDED;
    if (p->flags & EVENTS && (which & 1)) {
        event(whole.c, which >> 1);
        event(cut.c, which >> 1);
        return GOES_ON;
    }
    return whole.c->halted ? ENDED : GOES_ON;
}

static void parse(const u8 *data, size_t size, struct prog *p)
{
    u64 seed;

    *p = (struct prog){ .mode = data[0] % MODES, .flags = data[1], .place = data[2] };
    memcpy(&p->seed, data + 3, 8);
    p->n = (u32)min(size - 11, sizeof(p->code));
    memcpy(p->code, data + 11, p->n);
    seed = p->seed * 2 + 1;
    if (!p->n)
        p->n =
            code_generate(&seed, bits_of(p), p->code, 64 + code_below(&seed, CODE_BYTES_MAX - 64));
}

static u64 start(const u8 *data, size_t size, struct prog *p)
{
    u64 s;

    parse(data, size, p);
    if (!whole.rig) {
        whole = machine_new();
        cut = machine_new();
    }
    s = p->seed | 1;
    write_image(p, &s);
    whole.c->vm->jit_warm = code_below(&s, 4);
    whole.c->vm->window_after = code_below(&s, 2);
    whole.c->window->after = 0; /* also after one that was expensive */
    cut.c->vm->block_max = 1 + code_below(&s, 3);
    begin(&whole, p, s);
    begin(&cut, p, s);
    return s;
}

static enum outcome run(const u8 *data, size_t size, u64 limit, struct prog *p)
{
    enum outcome o = GOES_ON;
    u64 s = start(data, size, p);

    for (u32 i = 0; i < STEPS && o == GOES_ON; i++)
        o = both(p, &s, i, limit);
    return o;
}

static void print_code(const struct machine *m)
{
    struct soft_cpu *c = m->c;
    u8 bytes[16] = {};
    u64 gpa;

    if (soft_peek(c, c->rip + (soft_code64(c) ? 0 : c->seg[SEG_CS].base), &gpa))
        mem_read(m->rig->mem, gpa, bytes, sizeof(bytes));
    fprintf(stderr, "code there:");
    for (u32 i = 0; i < sizeof(bytes); i++)
        fprintf(stderr, " %02x", bytes[i]);
    fprintf(stderr, "\n");
}

void code_search(const u8 *data, size_t size)
{
    struct prog p;

    for (u64 n = 1; n < STEPS * STEP_MAX; n++) {
        if (run(data, size, n, &p) != PARTED)
            continue;
        fprintf(stderr, "that was after %llu instructions; after %llu both were:\n", n, n - 1);
        run(data, size, n - 1, &p);
        show(whole.c, "whole");
        print_code(&whole);
        return;
    }
}

void code_run(const u8 *data, size_t size, struct code_count *count)
{
    struct prog p;

    if (size < 11)
        return;
    if (run(data, size, ~0ull, &p) == PARTED)
        fail(&p, "whole blocks and short ones do not come to the same");
    soft_run_test(whole.c, STEP_MAX); /* the tests' own way: exceptions are not delivered */
    check(&p, whole.c);
    count->programs++;
    count->insns += soft_insns(whole.c) + soft_insns(cut.c);
    count->blocks += soft_insns(cut.c) / cut.c->vm->block_max;
    count->mapped = whole.c->jit->stats.window_mapped;
}
