/*
 * cpu/soft/insn_call.c: SYSCALL, SYSENTER and their returns.  (AMD APM volume 2, chapter 6.1; Intel SDM volume 3, chapter 5.8.7)
 * Intel has SYSCALL in 64-bit code only, AMD has SYSENTER outside long mode only: each as the vendor that CPUID names.
 */
#include "cpu/soft/cpuid.h"
#include "cpu/soft/insn.h"
#include "cpu/soft/msr.h"
#include "cpu/soft/seg.h"

/* Attributes of the flat segments these instructions load without looking at descriptors: present, accessed, 4 GiB. */
enum {
    ATTR_CODE64 = 0xa09b,
    ATTR_CODE32 = 0xc09b,
    ATTR_DATA = 0xc093,
};

static void set_flat(struct seg_state *s, u32 selector, u16 attr, u8 cpl)
{
    s->base = 0;
    s->limit = ~0u;
    s->selector = (u16)((selector & ~3u) | cpl);
    s->attr = (u16)(attr | cpl << 5);
    s->unusable = false;
}

/* CS and SS of ring `cpl`, and the jump. */
static void flat_jump(struct soft_cpu *c, u32 cs, u32 ss, u16 attr, u64 rip, u8 cpl)
{
    set_flat(&c->seg[SEG_SS], ss, ATTR_DATA, cpl);
    set_flat(&c->seg[SEG_CS], cs, attr, cpl);
    c->cpl = cpl;
    soft_leave(c, rip);
    soft_mode_changed(c);
}

static bool has_syscall(const struct soft_cpu *c)
{
    if (!(c->efer & EFER_SCE) || !soft_protected(c))
        return false;
    return soft_code64(c) || !soft_is_intel(c->vm);
}

static void op_syscall(struct soft_cpu *c, const struct uop *op)
{
    const struct soft_msrs *m = c->msrs;
    u32 cs = (u32)(m->star >> 32) & 0xffff;
    u64 next = soft_next_rip(c, op);

    if (unlikely(!has_syscall(c)))
        soft_raise(c, op, VEC_UD);
    c->reg[GPR_RCX] = next;
    if (likely(soft_long_mode(c))) {
        u32 flags = soft_flags(c) & ~RF_RF;

        c->reg[GPR_R8 + 3] = flags;
        soft_set_flags(c, flags & ~(u32)m->sfmask);
        flat_jump(c, cs, cs + 8, ATTR_CODE64, soft_code64(c) ? m->lstar : m->cstar, 0);
    } else {
        c->eflags &= ~(RF_IF | RF_RF | RF_VM);
        flat_jump(c, cs, cs + 8, ATTR_CODE32, (u32)m->star, 0);
    }
}

/* op->dst: bytes of the operand; 8 returns to 64-bit code. */
static void op_sysret(struct soft_cpu *c, const struct uop *op)
{
    const u32 flags =
        RF_ARITH | RF_TF | RF_IF | RF_DF | RF_IOPL | RF_NT | RF_AC | RF_VIF | RF_VIP | RF_ID;
    u32 cs = (u32)(c->msrs->star >> 48);
    bool wide = op->dst == 8;
    u64 rip = wide ? c->reg[GPR_RCX] : (u32)c->reg[GPR_RCX];

    if (unlikely(!has_syscall(c)))
        soft_raise(c, op, VEC_UD);
    if (unlikely(c->cpl != 0 || (soft_is_intel(c->vm) && !soft_canonical(rip))))
        soft_raise_error(c, op, VEC_GP, 0);
    if (soft_long_mode(c))
        seg_set_flags(c, flags | RF_RF, (u32)c->reg[GPR_R8 + 3] & flags);
    else
        seg_set_flags(c, RF_IF, RF_IF);
    flat_jump(c, wide ? cs + 16 : cs, cs + 8, wide ? ATTR_CODE64 : ATTR_CODE32, rip, 3);
}

static void op_sysenter(struct soft_cpu *c, const struct uop *op)
{
    const struct soft_msrs *m = c->msrs;
    u32 cs = (u32)m->sysenter_cs & 0xffff;
    bool wide = soft_long_mode(c);

    if (wide && !soft_is_intel(c->vm))
        soft_raise(c, op, VEC_UD);
    if (!(c->cr0 & CR0_PE) || seg_is_null(cs))
        soft_raise_error(c, op, VEC_GP, 0);
    c->eflags &= ~(RF_VM | RF_IF | RF_RF);
    c->reg[GPR_RSP] = wide ? m->sysenter_esp : (u32)m->sysenter_esp;
    flat_jump(c, cs, (cs & ~3u) + 8, wide ? ATTR_CODE64 : ATTR_CODE32,
              wide ? m->sysenter_eip : (u32)m->sysenter_eip, 0);
}

static void op_sysexit(struct soft_cpu *c, const struct uop *op)
{
    u32 cs = (u32)c->msrs->sysenter_cs & 0xfffc;
    bool wide = op->dst == 8;
    u64 rip = c->reg[GPR_RDX], sp = c->reg[GPR_RCX];

    if (soft_long_mode(c) && !soft_is_intel(c->vm))
        soft_raise(c, op, VEC_UD);
    if (!soft_protected(c) || c->cpl != 0 || cs == 0 ||
        (wide && !(soft_canonical(rip) && soft_canonical(sp))))
        soft_raise_error(c, op, VEC_GP, 0);
    c->reg[GPR_RSP] = wide ? sp : (u32)sp;
    flat_jump(c, cs + (wide ? 32 : 16), cs + (wide ? 40 : 24), wide ? ATTR_CODE64 : ATTR_CODE32,
              wide ? rip : (u32)rip, 3);
}

static void emit_call(struct emit *m)
{
    m->op->dst = m->in->attributes & ZYDIS_ATTRIB_HAS_REX && (m->in->raw.rex.W) ? 8 : 4;
    m->op->fn = m->row->fn;
}

/* clang-format off */
const struct insn_row insn_call_rows[] = {
    { ZYDIS_MNEMONIC_SYSCALL,  F_SYSCALL, INSN_ENDS | INSN_NO_FUZZ, emit_call, .fn = op_syscall },
    { ZYDIS_MNEMONIC_SYSRET,   F_SYSCALL, INSN_ENDS | INSN_NO_FUZZ, emit_call, .fn = op_sysret },
    { ZYDIS_MNEMONIC_SYSENTER, F_SEP,     INSN_ENDS | INSN_NO_FUZZ, emit_call, .fn = op_sysenter },
    { ZYDIS_MNEMONIC_SYSEXIT,  F_SEP,     INSN_ENDS | INSN_NO_FUZZ, emit_call, .fn = op_sysexit },
    {},
};
/* clang-format on */
