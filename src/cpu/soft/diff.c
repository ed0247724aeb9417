/*
 * cpu/soft/diff.c: a vCPU of the software engine at CPL 3 in long mode, with the same memory as the native child, that runs
 * one instruction; and the comparison of what came of it.
 */
#include "cpu/soft/diff.h"

#include "cpu/soft/code.h"
#include "cpu/soft/cpuid.h"
#include "cpu/soft/fpu.h"
#include "cpu/soft/insn.h"
#include "cpu/soft/seg.h"
#include "cpu/soft/stub.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    GUEST_RAM = 16 << 20,
    PT_ROOT = 0x1000,
    PTE_ALL = 7, /* present, writable, user */
};
#define PTE_NX (1ull << 63)

struct diff {
    struct cpu_vm cpu_vm;
    struct soft_vm vm;
    struct soft_cpu *c;
    struct soft_cpuid cpuid;
    struct mem *mem;
    u8 *ram;
    struct block *block;
};

static void put64(struct diff *d, u64 at, u64 v)
{
    memcpy(d->ram + at, &v, 8);
}

/* Identity for the code page and the data pages, as in the child; nothing else. */
static void make_tables(struct diff *d)
{
    static_assert(ORACLE_CODE >> 21 == 2 && ORACLE_DATA >> 21 == 2, "one page table");

    put64(d, PT_ROOT, 0x2000 | PTE_ALL);
    put64(d, 0x2000, 0x3000 | PTE_ALL);
    put64(d, 0x3000 + 2 * 8, 0x4000 | PTE_ALL);
    put64(d, 0x4000 + ((ORACLE_CODE >> 12) & 511) * 8, ORACLE_CODE | PTE_ALL);
    for (u64 at = ORACLE_DATA; at < ORACLE_DATA + ORACLE_DATA_SIZE; at += 4096)
        put64(d, 0x4000 + ((at >> 12) & 511) * 8, at | PTE_ALL | PTE_NX);
}

static void make_cpu(struct diff *d)
{
    struct soft_cpu *c = d->c;

    c->vm = &d->vm;
    c->v = &d->cpu_vm.vcpus[0];
    c->cpl = 3;
    c->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
    c->cr3 = PT_ROOT;
    c->cr4 = CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
    c->efer = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
    c->xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX;
    c->eflags = RF_ONE | RF_IF;
    c->dr6 = 0xffff0ff0;
    c->dr7 = 0x400;
}

struct diff *diff_new(struct err *e)
{
    struct diff *d = xnew(struct diff);
    struct mem_cfg cfg = { .size = GUEST_RAM };
    unsigned n;

    d->c = aligned_alloc(64, align_up(sizeof(struct soft_cpu), 64ul));
    must(d->c);
    memset(d->c, 0, sizeof(*d->c));
    d->block = alloc_x(1, sizeof(struct block) + 2 * sizeof(struct uop));
    if (mem_new(&cfg, &d->mem, e) < 0 || soft_cpuid_init(&d->cpuid, CPU_MODEL_HOST, e) < 0) {
        diff_free(d);
        return NULL;
    }
    d->vm.mem = d->mem;
    d->vm.vm = &d->cpu_vm;
    d->vm.ram = mem_regions(d->mem, &n);
    d->vm.n_ram = n;
    d->vm.gpa_mask = (1ull << 46) - 1;
    d->vm.code_budget = SOFT_CODE_MAX;
    d->vm.cpuid = &d->cpuid;
    d->vm.n_cpus = 1;
    d->vm.cpus[0] = d->c;
    d->vm.page_code = xnew_n(atomic_ullong, GUEST_RAM / 4096);
    memset(d->vm.features, 0xff, sizeof(d->vm.features));
    if (!__builtin_cpu_supports("gfni"))
        d->vm.features[F_GFNI / 64] &= ~(1ull << F_GFNI % 64);
    d->ram = d->vm.ram[0].host;
    make_tables(d);
    make_cpu(d);
    soft_decode_init();
    if (soft_tlb_init(d->c) < 0 || soft_code_init(d->c, e) < 0 || soft_stubs_open(d->c, e) < 0) {
        diff_free(d);
        return NULL;
    }
    soft_fpu_init(d->c);
    return d;
}

void diff_free(struct diff *d)
{
    if (!d)
        return;
    soft_stubs_close(d->c);
    if (d->c->code)
        soft_code_fini(d->c);
    soft_tlb_fini(d->c);
    mem_free(d->mem);
    free(d->vm.page_code);
    free(d->block);
    free(d->c);
    free(d);
}

struct soft_cpu *diff_cpu(struct diff *d)
{
    return d->c;
}

/* --- one instruction --- */

static void set_segments(struct soft_cpu *c, u32 bits)
{
    const struct seg_state flat = { .limit = 0xffffffff, .selector = 0x2b, .attr = 0xc0f3 };
    const struct seg_state small = {
        .base = ORACLE_DATA, .limit = 0xffff, .selector = 0x0f, .attr = 0x00f3
    };

    for (u32 i = 0; i <= SEG_GS; i++)
        c->seg[i] = bits == 16 && i < SEG_FS ? small : flat;
    c->seg[SEG_CS] = (struct seg_state){ .limit = 0xffffffff, .selector = 0x33, .attr = 0xa0fb };
    if (bits == 32)
        c->seg[SEG_CS] =
            (struct seg_state){ .limit = 0xffffffff, .selector = 0x23, .attr = 0xc0fb };
    if (bits == 16)
        c->seg[SEG_CS] = (struct seg_state){
            .base = ORACLE_CODE, .limit = 0xffff, .selector = 0x07, .attr = 0x00fb
        };
}

static void load_engine(struct diff *d, const struct oracle_test *t)
{
    struct soft_cpu *c = d->c;
    u8 xsave[VCPU_XSAVE_SIZE] = {};

    memcpy(d->ram + ORACLE_DATA, t->data, ORACLE_DATA_SIZE);
    memset(d->ram + ORACLE_CODE, 0xcc, ORACLE_CODE_SIZE);
    memcpy(d->ram + ORACLE_CODE + (t->in.rip & 0xfff), t->code, t->len);
    memcpy(c->reg, t->in.reg, sizeof(t->in.reg));
    soft_set_flags(c, (t->in.rflags & 0xcd5) | RF_ONE | RF_IF | (t->whole ? 0 : RF_TF));
    memcpy(xsave, t->in.xsave, ORACLE_XSAVE);
    must(soft_fpu_load(c, xsave, NULL) >= 0);
    set_segments(c, t->bits);
    c->rip = t->in.rip;
    c->event = (struct soft_event){};
    c->in_delivery = false;
    c->db_pending = 0;
    c->shadow = 0;
    atomic_store(&c->request, 0);
    soft_mode_changed(c);
    if (soft_stubs_full(c))
        soft_stubs_reset(c);
}

static void run_one(struct diff *d, const struct oracle_test *t)
{
    struct soft_cpu *c = d->c;
    struct block *b = d->block;
    jmp_buf fault;

    c->fault = &fault;
    if (setjmp(fault))
        return;
    b->gpa = ORACLE_CODE + (t->in.rip & 0xfff);
    b->gpa2 = BLOCK_ONE_PAGE;
    b->key = c->key | KEY_SINGLE;
    must(soft_decode(c, b, d->ram + b->gpa, 32, b->key, true) >= 0 && b->n == 1);
    c->block = b;
    c->base_rip = t->in.rip;
    c->reg[REG_RIP / 8] = c->base_rip;
    c->reg[REG_RIP_FAR / 8] = c->base_rip + GiB;
    if (!b->ops[0].fn) { /* an emit function that forgot its handler */
        c->event = (struct soft_event){ .pending = true, .vector = 255 };
        return;
    }
    b->ops[0].fn(c, &b->ops[0]);
}

void diff_engine(struct diff *d, const struct oracle_test *t, struct diff_result *ret)
{
    struct soft_cpu *c = d->c;
    u8 xsave[VCPU_XSAVE_SIZE];

    load_engine(d, t);
    soft_fpu_enter(c);
    run_one(d, t);
    soft_fpu_park(c);
    *ret = (struct diff_result){ .vector = 1, .data = d->ram + ORACLE_DATA };
    if (c->event.pending) {
        ret->vector = c->event.vector;
        ret->error = c->event.has_error ? c->event.error : 0;
        ret->cr2 = c->event.vector == VEC_PF ? c->cr2 : 0;
    }
    memcpy(ret->st.reg, c->reg, sizeof(ret->st.reg));
    ret->st.rip = c->rip;
    ret->st.rflags = soft_flags(c);
    soft_fpu_save(c, xsave);
    memcpy(ret->st.xsave, xsave, ORACLE_XSAVE);
}

/* --- comparison --- */

struct report {
    char *text;
    size_t size, n;
    u32 count;
};

static void __attribute__((format(printf, 2, 3))) note(struct report *r, const char *fmt, ...)
{
    va_list ap;

    r->count++;
    if (r->n >= r->size)
        return;
    va_start(ap, fmt);
    int n = vsnprintf(r->text + r->n, r->size - r->n, fmt, ap);
    va_end(ap);
    r->n += n > 0 ? (size_t)n : 0;
}

static void compare_bytes(struct report *r, const char *what, const u8 *want, const u8 *got,
                          u32 from, u32 to)
{
    for (u32 i = from; i < to; i++) {
        if (want[i] == got[i])
            continue;
        note(r, "%s[%u]: cpu %02x engine %02x; ", what, i, want[i], got[i]);
        return;
    }
}

static void compare_fpu(struct report *r, const u8 *want, const u8 *got)
{
    compare_bytes(r, "x87", want, got, 0, 6);
    compare_bytes(r, "mxcsr", want, got, 24, 28);
    for (u32 i = 0; i < 8; i++)
        compare_bytes(r, "st", want, got, 32 + 16 * i, 42 + 16 * i);
    compare_bytes(r, "xmm", want, got, 160, 416);
    compare_bytes(r, "ymm", want, got, 576, 832);
}

static const char *const reg_names[] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                         "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15" };

static void compare_regs(struct report *r, const struct oracle_test *t,
                         const struct oracle_regs *st)
{
    u32 n = t->bits == 64 ? 16 : 8;
    u64 mask = t->bits == 64 ? ~0ull : 0xffffffff;

    for (u32 i = 0; i < n; i++) {
        if ((t->out.reg[i] ^ st->reg[i]) & mask)
            note(r, "%s: cpu %#llx engine %#llx; ", reg_names[i], t->out.reg[i] & mask,
                 st->reg[i] & mask);
    }
}

/*
 * What need not be equal.  Decimal arithmetic, which nobody's host has in 64-bit code, is ours: its undefined flags are not those
 * of the CPU.  A POPA that faults has changed registers on AMD's CPUs; the engine's has not.
 */
static bool may_differ(const struct diff_insn *di, u32 vector, u32 *ret_flags)
{
    const struct insn_row *row = insn_row_of(di->in.mnemonic);

    *ret_flags = RF_ARITH | RF_DF;
    if (di->in.meta.category == ZYDIS_CATEGORY_DECIMAL && row)
        *ret_flags &= ~row->undefined;
    return vector != 1 &&
           (di->in.mnemonic == ZYDIS_MNEMONIC_POPA || di->in.mnemonic == ZYDIS_MNEMONIC_POPAD);
}

/* What the child sees at the end of an instruction is a debug trap, or INT3 behind it. */
static u32 end_vector(const struct oracle_test *t, u64 *ret_rip)
{
    *ret_rip = t->out.rip;
    if (t->vector == VEC_BP && t->error == 0 && t->code[0] != 0xcc && t->code[0] != 0xcd) {
        (*ret_rip)--;
        return 1;
    }
    return t->vector;
}

/*
 * Linux tells user code of every fault at a kernel address that the page was present, so as not to say how it maps itself
 * (set_signal_archinfo): there bit 0 of the error code is not the CPU's.
 */
static bool same_error(const struct oracle_test *t, const struct diff_result *got)
{
    const u32 hidden = t->vector == VEC_PF && t->cr2 >> 63 ? 1 : 0;

    return ((t->error ^ got->error) & ~hidden) == 0;
}

/* CMPS has two operands in memory; which of them faults first where both do is the CPU's choice, and not always the same: either may. */
static bool same_cr2(const struct diff_insn *di, const struct oracle_test *t,
                     const struct diff_result *got)
{
    const u16 two[] = { ZYDIS_MNEMONIC_CMPSB, ZYDIS_MNEMONIC_CMPSW, ZYDIS_MNEMONIC_CMPSD,
                        ZYDIS_MNEMONIC_CMPSQ };

    const u32 unused = 64u - di->in.address_width;
    const u64 from = t->out.reg[GPR_RSI] << unused >> unused,
              to = t->out.reg[GPR_RDI] << unused >> unused;

    for_each_row(m, two)
        if (*m == di->in.mnemonic && (t->cr2 - from < 8 || t->cr2 - to < 8))
            return true;
    return t->cr2 == got->cr2;
}

u32 diff_compare(const struct diff_insn *di, const struct oracle_test *t,
                 const struct diff_result *got, char *text, size_t size)
{
    struct report r = { .text = text, .size = size };
    u64 rip;
    u32 vector = end_vector(t, &rip);
    u32 flags;

    text[0] = 0;
    if (may_differ(di, vector, &flags) && vector == got->vector)
        return 0;
    /* A jump to where nothing can be fetched has succeeded as far as this instruction goes. */
    if (vector == VEC_PF && (t->error & 16) && got->vector == 1 && got->st.rip == t->cr2)
        vector = 1;
    if (vector != got->vector)
        note(&r, "vector: cpu %u (cr2 %#llx) engine %u (cr2 %#llx); ", vector, t->cr2, got->vector,
             got->cr2);
    else if ((vector == VEC_PF || vector == VEC_GP || vector == VEC_SS) && !same_error(t, got))
        note(&r, "error: cpu %#x engine %#x (cr2 %#llx); ", t->error, got->error, t->cr2);
    if (vector == VEC_PF && got->vector == VEC_PF && !same_cr2(di, t, got))
        note(&r, "cr2: cpu %#llx engine %#llx; ", t->cr2, got->cr2);
    if (rip != got->st.rip)
        note(&r, "rip: cpu %#llx engine %#llx; ", rip, got->st.rip);
    if ((t->out.rflags ^ got->st.rflags) & flags)
        note(&r, "flags: cpu %#x engine %#x; ", t->out.rflags & flags, got->st.rflags & flags);
    compare_regs(&r, t, &got->st);
    compare_fpu(&r, t->out.xsave, got->st.xsave);
    compare_bytes(&r, "data", t->data, got->data, 0, ORACLE_DATA_SIZE);
    return r.count;
}
