/*
 * cpu/soft/insn_cr.c: control registers, XCR0 and debug registers.
 * (Intel SDM volume 2, MOV-Control and MOV-Debug registers; volume 3, chapters 2, 4.1, 10.8.5 and 18.2)
 *   (1) A write is checked as a whole before anything changes; a refused one is #GP(0).
 *   (2) Whatever translations or decoded code depended on is forgotten in the same instruction, which ends its block.
 */
#include "cpu/soft/cpuid.h"
#include "cpu/soft/emit_int.h"
#include "cpu/soft/fpu.h"
#include "cpu/soft/seg.h"
#include "cpu/soft/sys.h"

#define CR0_KNOWN                                                                              \
    (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | \
     CR0_PG)
#define CR3_NOFLUSH (1ull << 63)
#define CR3_PCID    0xfffull
#define PDPTE_P     1ull

/* Bits of CR4, and what must be offered for each. */
static const struct {
    u32 bit;
    u8 feature; /* enum cpu_feature */
} cr4_bits[] = {
    { CR4_VME, F_VME },           { CR4_PVI, F_VME },
    { CR4_TSD, F_TSC },           { CR4_DE, F_DE },
    { CR4_PSE, F_PSE },           { CR4_PAE, F_PAE },
    { CR4_MCE, F_ALWAYS },        { CR4_PGE, F_PGE },
    { CR4_PCE, F_ALWAYS },        { CR4_OSFXSR, F_FXSR },
    { CR4_OSXMMEXCPT, F_SSE },    { CR4_UMIP, F_UMIP },
    { CR4_FSGSBASE, F_FSGSBASE }, { CR4_PCIDE, F_PCID },
    { CR4_OSXSAVE, F_XSAVE },     { CR4_SMEP, F_SMEP },
    { CR4_SMAP, F_SMAP },         { CR4_PKE, F_PKU },
};

bool soft_cr4_ok(const struct soft_cpu *c, u64 val)
{
    u64 all = 0;

    for_each_row(b, cr4_bits)
        if (soft_has(c->vm, b->feature))
            all |= b->bit;
    return !(val & ~all);
}

/* PAE paging outside long mode reads its four top entries when CR3 is loaded: reserved bits in them are #GP. */
static bool pdptes_ok(const struct soft_cpu *c, u64 cr3)
{
    const u64 reserved = 0x1e6 | ~c->vm->gpa_mask;

    for (u32 i = 0; i < 4; i++) {
        u64 entry = ~0ull;

        mem_read(c->vm->mem, ((u32)cr3 & ~31u) + 8 * i, &entry, sizeof(entry));
        if ((entry & PDPTE_P) && (entry & reserved))
            return false;
    }
    return true;
}

static bool is_pae(const struct soft_cpu *c, u64 cr0, u64 cr4)
{
    return (cr0 & CR0_PG) && (cr4 & CR4_PAE) && !(c->efer & EFER_LME);
}

/* May paging begin, in the mode that EFER asks for? */
static bool may_enter_paging(const struct soft_cpu *c)
{
    if (!(c->efer & EFER_LME))
        return !(c->cr4 & CR4_PAE) || pdptes_ok(c, c->cr3);
    return (c->cr4 & CR4_PAE) && !(c->seg[SEG_CS].attr & SEG_L);
}

static bool may_leave_paging(const struct soft_cpu *c)
{
    return !soft_code64(c) && !(c->cr4 & CR4_PCIDE);
}

bool soft_set_cr0(struct soft_cpu *c, u64 val)
{
    u64 old = c->cr0, diff;

    if (val >> 32 || ((val & CR0_PG) && !(val & CR0_PE)) || ((val & CR0_NW) && !(val & CR0_CD)))
        return false;
    val = (val & CR0_KNOWN) | CR0_ET;
    diff = val ^ old;
    if ((diff & CR0_PG) && !(val & CR0_PG ? may_enter_paging(c) : may_leave_paging(c)))
        return false;
    if (!(diff & CR0_PG) && (diff & (CR0_CD | CR0_NW)) && is_pae(c, val, c->cr4) &&
        !pdptes_ok(c, c->cr3))
        return false;
    c->cr0 = val;
    if (diff & CR0_PG)
        c->efer =
            (val & CR0_PG) && (c->efer & EFER_LME) ? c->efer | EFER_LMA : c->efer & ~(u64)EFER_LMA;
    if (diff & (CR0_PG | CR0_PE | CR0_WP))
        soft_tlb_flush_all(c);
    soft_mode_changed(c);
    return true;
}

bool soft_set_cr3(struct soft_cpu *c, u64 val)
{
    bool keep = false;

    if (!soft_long_mode(c)) {
        if (is_pae(c, c->cr0, c->cr4) && !pdptes_ok(c, val))
            return false;
    } else {
        if (c->cr4 & CR4_PCIDE) {
            keep = val & CR3_NOFLUSH;
            val &= ~CR3_NOFLUSH;
        }
        if (val & ~c->vm->gpa_mask)
            return false;
    }
    c->cr3 = val;
    soft_tlb_switch(c, val, keep);
    return true;
}

bool soft_set_cr4(struct soft_cpu *c, u64 val)
{
    const u32 flushes = CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE | CR4_SMEP | CR4_SMAP | CR4_PKE;
    u64 old = c->cr4, on = val & ~old;

    if (!soft_cr4_ok(c, val) || (soft_long_mode(c) && !(val & CR4_PAE)))
        return false;
    if ((on & CR4_PCIDE) && (!soft_long_mode(c) || (c->cr3 & CR3_PCID)))
        return false;
    if (((val ^ old) & (CR4_PSE | CR4_PAE | CR4_PGE | CR4_SMEP)) && is_pae(c, c->cr0, val) &&
        !pdptes_ok(c, c->cr3))
        return false;
    c->cr4 = val;
    if ((val ^ old) & flushes)
        soft_tlb_flush_all(c);
    soft_mode_changed(c);
    return true;
}

bool soft_set_xcr0(struct soft_cpu *c, u64 val)
{
    if (!(val & XCR0_X87) || (val & ~c->vm->cpuid->xcr0))
        return false;
    if ((val & XCR0_AVX) && !(val & XCR0_SSE))
        return false;
    c->xcr0 = val;
    soft_mode_changed(c);
    return true;
}

/* MOV to and from control registers.  aux: its number; dst or src: the general register. */

static bool cr_write(struct soft_cpu *c, u32 cr, u64 val)
{
    switch (cr) {
    case 0:
        return soft_set_cr0(c, val);
    case 2:
        c->cr2 = val;
        return true;
    case 3:
        return soft_set_cr3(c, val);
    case 4:
        return soft_set_cr4(c, val);
    default:
        if (val > 15)
            return false;
        lapic_set_cr8(&c->lapic, (u8)val);
        return true;
    }
}

static u64 cr_read(const struct soft_cpu *c, u32 cr)
{
    const u64 crs[] = { c->cr0, 0, c->cr2, c->cr3, c->cr4 };

    return cr == 8 ? lapic_cr8(&c->lapic) : crs[cr];
}

static void op_mov_to_cr(struct soft_cpu *c, const struct uop *op)
{
    u64 val = *soft_reg(c, op->src);

    soft_need_cpl0(c, op);
    if (!soft_code64(c))
        val = (u32)val;
    if (!cr_write(c, op->aux, val))
        soft_raise_error(c, op, VEC_GP, 0);
    /* An old place in the code: what is in force now decides how the rest decodes. */
    soft_leave(c, soft_next_rip(c, op));
}

static void op_mov_from_cr(struct soft_cpu *c, const struct uop *op)
{
    soft_need_cpl0(c, op);
    *soft_reg(c, op->dst) = soft_code64(c) ? cr_read(c, op->aux) : (u32)cr_read(c, op->aux);
    UOP_NEXT;
}

static bool is_control(const ZydisDecodedOperand *o)
{
    return ZydisRegisterGetClass(o->reg.value) == ZYDIS_REGCLASS_CONTROL;
}

static u16 number_of(const ZydisDecodedOperand *o)
{
    return (u16)ZydisRegisterGetId(o->reg.value);
}

void emit_mov_cr(struct emit *m)
{
    bool to = is_control(&m->opnd[0]);
    const ZydisDecodedOperand *cr = &m->opnd[to ? 0 : 1], *gpr = &m->opnd[to ? 1 : 0];

    m->op->aux = number_of(cr);
    m->op->src = m->op->dst = emit_reg(gpr->reg.value);
    m->ends |= to;
    if (m->op->aux == 1 || (m->op->aux > 4 && m->op->aux != 8))
        m->op->fn = soft_op_ud;
    else
        m->op->fn = to ? op_mov_to_cr : op_mov_from_cr;
}

/* Debug registers. */

#define DR6_FIXED    0xffff0ff0ull
#define DR6_WRITABLE 0xe00full
#define DR6_BD       (1ull << 13)
#define DR7_FIXED    0x400ull
#define DR7_WRITABLE 0xffff23ffull
#define DR7_GD       (1ull << 13)

/* DR4 and DR5 are other names for DR6 and DR7 unless CR4.DE says no; DR7.GD guards all of them. */
static u32 dr_checked(struct soft_cpu *c, const struct uop *op)
{
    u32 dr = op->aux;

    if (dr == 4 || dr == 5) {
        if (c->cr4 & CR4_DE)
            soft_raise(c, op, VEC_UD);
        dr += 2;
    }
    soft_need_cpl0(c, op);
    if (c->dr7 & DR7_GD) {
        c->dr6 |= DR6_BD;
        soft_raise(c, op, VEC_DB);
    }
    return dr;
}

static void op_mov_to_dr(struct soft_cpu *c, const struct uop *op)
{
    u32 dr = dr_checked(c, op);
    u64 val = *soft_reg(c, op->src);

    if (!soft_code64(c))
        val = (u32)val;
    if (dr >= 6 && val >> 32)
        soft_raise_error(c, op, VEC_GP, 0);
    if (dr < 4)
        c->dr[dr] = val;
    else if (dr == 6)
        c->dr6 = (val & DR6_WRITABLE) | DR6_FIXED;
    else
        c->dr7 = (val & DR7_WRITABLE) | DR7_FIXED;
    soft_mode_changed(c);
    soft_leave(c, soft_next_rip(c, op));
}

static void op_mov_from_dr(struct soft_cpu *c, const struct uop *op)
{
    u32 dr = dr_checked(c, op);
    u64 val = dr < 4 ? c->dr[dr] : dr == 6 ? c->dr6 : c->dr7;

    *soft_reg(c, op->dst) = soft_code64(c) ? val : (u32)val;
    UOP_NEXT;
}

void emit_mov_dr(struct emit *m)
{
    bool to = ZydisRegisterGetClass(m->opnd[0].reg.value) == ZYDIS_REGCLASS_DEBUG;
    const ZydisDecodedOperand *dr = &m->opnd[to ? 0 : 1], *gpr = &m->opnd[to ? 1 : 0];

    m->op->aux = number_of(dr);
    m->op->src = m->op->dst = emit_reg(gpr->reg.value);
    m->ends |= to;
    if (m->op->aux > 7)
        m->op->fn = soft_op_ud;
    else
        m->op->fn = to ? op_mov_to_dr : op_mov_from_dr;
}

/* LMSW, SMSW, CLTS. */

static void op_clts(struct soft_cpu *c, const struct uop *op)
{
    soft_need_cpl0(c, op);
    c->cr0 &= ~(u64)CR0_TS;
    soft_mode_changed(c);
    soft_leave(c, soft_next_rip(c, op));
}

/* PE can be set by it but not cleared. */
static void lmsw(struct soft_cpu *c, const struct uop *op, u16 val)
{
    soft_set_cr0(c, (c->cr0 & ~0xeull) | (val & 0xf));
    soft_leave(c, soft_next_rip(c, op));
}

static void op_lmsw_reg(struct soft_cpu *c, const struct uop *op)
{
    soft_need_cpl0(c, op);
    lmsw(c, op, (u16)*soft_reg(c, op->src));
}

static void op_lmsw_mem(struct soft_cpu *c, const struct uop *op)
{
    soft_need_cpl0(c, op);
    lmsw(c, op, soft_load16(c, op, soft_lin(c, op, 2, ACC_READ)));
}

static void emit_lmsw(struct emit *m)
{
    if (m->opnd[0].type == ZYDIS_OPERAND_TYPE_MEMORY) {
        emit_mem(m, &m->opnd[0]);
        m->op->fn = op_lmsw_mem;
        return;
    }
    m->op->src = emit_reg(m->opnd[0].reg.value);
    m->op->fn = op_lmsw_reg;
}

static void smsw_check(struct soft_cpu *c, const struct uop *op)
{
    if (c->cpl && (c->cr4 & CR4_UMIP))
        soft_raise_error(c, op, VEC_GP, 0);
}

static void op_smsw_reg(struct soft_cpu *c, const struct uop *op)
{
    u64 *r = soft_reg(c, op->dst);

    smsw_check(c, op);
    *r = op->aux == 1 ? (*r & ~0xffffull) | (u16)c->cr0 : op->aux == 2 ? (u32)c->cr0 : c->cr0;
    UOP_NEXT;
}

static void op_smsw_mem(struct soft_cpu *c, const struct uop *op)
{
    smsw_check(c, op);
    soft_store16(c, op, soft_lin(c, op, 2, ACC_WRITE), (u16)c->cr0);
    UOP_NEXT;
}

static void emit_smsw(struct emit *m)
{
    if (m->opnd[0].type == ZYDIS_OPERAND_TYPE_MEMORY) {
        emit_mem(m, &m->opnd[0]);
        m->op->fn = op_smsw_mem;
        return;
    }
    m->op->dst = emit_reg(m->opnd[0].reg.value);
    m->op->aux = (u16)emit_size(&m->opnd[0]);
    m->op->fn = op_smsw_reg;
}

/* Translations. */

/* In 64-bit code an address that is not canonical is ignored; segments have no limit here. */
static void op_invlpg(struct soft_cpu *c, const struct uop *op)
{
    u64 lin = soft_ea(c, op);

    soft_need_cpl0(c, op);
    if (op->seg < SEG_COUNT)
        lin += c->seg[op->seg].base;
    soft_tlb_flush_page(c, soft_code64(c) ? lin : (u32)lin);
    soft_leave(c, soft_next_rip(c, op));
}

static void emit_invlpg(struct emit *m)
{
    emit_mem(m, &m->opnd[0]);
    m->op->fn = op_invlpg;
}

enum { INVPCID_PAGE, INVPCID_ONE, INVPCID_ALL_GLOBAL, INVPCID_ALL };

static void op_invpcid(struct soft_cpu *c, const struct uop *op)
{
    u64 type = *soft_reg(c, op->src), at, pcid, lin;

    soft_need_cpl0(c, op);
    if (!soft_code64(c))
        type = (u32)type;
    at = soft_lin(c, op, 16, ACC_READ);
    pcid = soft_load64(c, op, at);
    lin = soft_load64(c, op, at + 8);
    if (type > INVPCID_ALL || pcid & ~CR3_PCID ||
        (type == INVPCID_PAGE && soft_long_mode(c) && (u64)((s64)(lin << 16) >> 16) != lin) ||
        (type <= INVPCID_ONE && pcid && !(c->cr4 & CR4_PCIDE)))
        soft_raise_error(c, op, VEC_GP, 0);
    soft_tlb_invpcid(c, (u32)type, pcid, lin);
    soft_leave(c, soft_next_rip(c, op));
}

static void emit_invpcid(struct emit *m)
{
    m->op->src = emit_reg(m->opnd[0].reg.value);
    emit_mem(m, &m->opnd[1]);
    m->op->fn = op_invpcid;
}

static void op_xsetbv(struct soft_cpu *c, const struct uop *op)
{
    u64 val = (u64)(u32)c->reg[GPR_RDX] << 32 | (u32)c->reg[GPR_RAX];

    if (!(c->cr4 & CR4_OSXSAVE))
        soft_raise(c, op, VEC_UD);
    soft_need_cpl0(c, op);
    if ((u32)c->reg[GPR_RCX] || !soft_set_xcr0(c, val))
        soft_raise_error(c, op, VEC_GP, 0);
    soft_leave(c, soft_next_rip(c, op));
}

static void emit_fn_only(struct emit *m)
{
    m->op->fn = m->row->fn;
}

/* clang-format off */
const struct insn_row insn_cr_rows[] = {
    { ZYDIS_MNEMONIC_CLTS,    F_ALWAYS,  INSN_ENDS | INSN_NO_FUZZ, emit_fn_only, .fn = op_clts },
    { ZYDIS_MNEMONIC_LMSW,    F_ALWAYS,  INSN_ENDS | INSN_NO_FUZZ, emit_lmsw },
    { ZYDIS_MNEMONIC_SMSW,    F_ALWAYS,  INSN_NO_FUZZ,             emit_smsw },
    { ZYDIS_MNEMONIC_INVLPG,  F_ALWAYS,  INSN_ENDS | INSN_NO_FUZZ, emit_invlpg },
    { ZYDIS_MNEMONIC_INVPCID, F_INVPCID, INSN_ENDS | INSN_NO_FUZZ, emit_invpcid },
    { ZYDIS_MNEMONIC_XSETBV,  F_XSAVE,   INSN_ENDS | INSN_NO_FUZZ, emit_fn_only, .fn = op_xsetbv },
    {},
};
/* clang-format on */
