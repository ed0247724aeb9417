/*
 * cpu/soft/insn_fpu.c: x87 control and environment, FXSAVE, MXCSR, EMMS, VZEROALL: what moves floating-point state as such.
 * (Intel SDM volume 1, chapter 8; AMD APM volume 5)  Arithmetic is stub.c's.
 */
#include "cpu/soft/fpu.h"
#include "cpu/soft/stub.h"
#include "cpu/soft/vec_mem.h"
#include "cpu/soft/xsave.h"

#include <cpuid.h>

enum {
    FSW_ES = 0x80,
    FXSAVE_USED = 416, /* 32-bit modes: 288 */
};

/* The host's words of the seven of FNSTENV, 32-bit format. */
enum { ENV_FCW, ENV_FSW, ENV_FTW, ENV_FIP, ENV_FCS_FOP, ENV_FDP, ENV_FDS, ENV_WORDS };
enum { X87_REGS = 80 };

/* AMD's CPUs show the pointers in FXSAVE images only when an exception waits. */
static bool pointers_with_exception(void)
{
    u32 a, b, d, n;

    return __get_cpuid(0, &a, &b, &n, &d) && b != signature_INTEL_ebx;
}

static u16 status_word(void)
{
    u16 fsw;

    __asm__ volatile("fnstsw %0" : "=m"(fsw));
    return fsw;
}

void soft_fpu_wait(struct soft_cpu *c, const struct uop *op)
{
    soft_fpu_live(c);
    if (status_word() & FSW_ES)
        soft_raise(c, op, VEC_MF);
}

/* --- control --- */

static void op_fninit(struct soft_cpu *c, const struct uop *op)
{
    soft_need(c, op, STUB_X87);
    __asm__ volatile("fninit");
    c->fpu.fip = c->fpu.fdp = 0;
    c->fpu.fop = c->fpu.fcs = c->fpu.fds = 0;
    UOP_NEXT;
}

static void op_fnclex(struct soft_cpu *c, const struct uop *op)
{
    soft_need(c, op, STUB_X87);
    __asm__ volatile("fnclex");
    UOP_NEXT;
}

/* FNENI, FNDISI, FNSETPM: the 8087's and 80287's, nothing since. */
static void op_fnop_old(struct soft_cpu *c, const struct uop *op)
{
    soft_need(c, op, STUB_X87);
    UOP_NEXT;
}

static void op_fldcw(struct soft_cpu *c, const struct uop *op)
{
    soft_need(c, op, STUB_X87);
    soft_fpu_wait(c, op);
    u16 fcw = soft_load16(c, op, soft_lin(c, op, 2, ACC_READ));
    __asm__ volatile("fldcw %0" : : "m"(fcw));
    UOP_NEXT;
}

static void op_fnstcw(struct soft_cpu *c, const struct uop *op)
{
    u16 fcw;

    soft_need(c, op, STUB_X87);
    __asm__ volatile("fnstcw %0" : "=m"(fcw));
    soft_store16(c, op, soft_lin(c, op, 2, ACC_WRITE), fcw);
    UOP_NEXT;
}

static void op_fnstsw(struct soft_cpu *c, const struct uop *op)
{
    soft_need(c, op, STUB_X87);
    soft_store16(c, op, soft_lin(c, op, 2, ACC_WRITE), status_word());
    UOP_NEXT;
}

static void op_fnstsw_ax(struct soft_cpu *c, const struct uop *op)
{
    soft_need(c, op, STUB_X87);
    c->reg[GPR_RAX] = (c->reg[GPR_RAX] & ~0xffffull) | status_word();
    UOP_NEXT;
}

static void op_fwait(struct soft_cpu *c, const struct uop *op)
{
    if ((c->cr0 & CR0_MP) && (c->cr0 & CR0_TS))
        soft_raise(c, op, VEC_NM);
    soft_fpu_wait(c, op);
    UOP_NEXT;
}

static void op_emms(struct soft_cpu *c, const struct uop *op)
{
    soft_need(c, op, STUB_MMX);
    soft_fpu_wait(c, op);
    __asm__ volatile("emms");
    UOP_NEXT;
}

/* --- environment: op->aux is the operand size in bits --- */

/* The words as the guest's mode lays them out: 32-bit words for 28 bytes, 16-bit words for 14. */
static u32 env_layout(const struct soft_cpu *c, const u32 *host, u32 bits, u32 *w)
{
    const struct soft_fpu *f = &c->fpu;
    u32 ones = bits == 32 ? 0xffff0000 : 0;

    w[ENV_FCW] = (host[ENV_FCW] & 0xffff) | ones;
    w[ENV_FSW] = (host[ENV_FSW] & 0xffff) | ones;
    w[ENV_FTW] = (host[ENV_FTW] & 0xffff) | ones;
    if (soft_protected(c)) {
        w[ENV_FIP] = (u32)f->fip;
        w[ENV_FCS_FOP] = f->fcs | (bits == 32 ? (u32)f->fop << 16 : 0);
        w[ENV_FDP] = (u32)f->fdp;
        w[ENV_FDS] = f->fds | ones;
    } else {
        u32 fip = (u32)f->fip + ((u32)f->fcs << 4), fdp = (u32)f->fdp + ((u32)f->fds << 4);
        w[ENV_FIP] = (fip & 0xffff) | ones;
        w[ENV_FCS_FOP] = (fip >> 16) << 12 | f->fop;
        w[ENV_FDP] = (fdp & 0xffff) | ones;
        w[ENV_FDS] = (fdp >> 16) << 12;
    }
    return bits == 32 ? 28 : 14;
}

static u32 env_pack(const u32 *w, u32 bits, u8 *out)
{
    u32 size = bits / 8;

    for (u32 i = 0; i < ENV_WORDS; i++)
        memcpy(out + size * i, &w[i], size);
    return size * ENV_WORDS;
}

static u32 env_bits(const struct uop *op)
{
    return op->aux == 16 ? 16 : 32;
}

/* The first word and then the last byte are looked at first, as AMD's CPUs do: it decides what CR2 says. */
static void probe_image(struct soft_cpu *c, const struct uop *op, u64 lin, u32 word, u32 n)
{
    soft_probe_write(c, op, lin, word);
    soft_probe_write(c, op, lin + n - 1, 1);
    soft_probe_write(c, op, lin, n);
}

static void load_image(struct soft_cpu *c, const struct uop *op, u64 lin, u8 *buf, u32 n)
{
    u8 word[4];

    soft_load_bytes(c, op, lin, word, env_bits(op) / 8);
    soft_load8(c, op, lin + n - 1);
    soft_load_bytes(c, op, lin, buf, n);
}

static void op_fnstenv(struct soft_cpu *c, const struct uop *op)
{
    u32 host[ENV_WORDS], w[ENV_WORDS];
    u8 buf[28];

    soft_need(c, op, STUB_X87);
    u32 n = env_bits(op) == 32 ? 28 : 14;
    u64 lin = soft_lin(c, op, n, ACC_WRITE);
    probe_image(c, op, lin, env_bits(op) / 8, n);
    __asm__ volatile("fnstenv %0" : "=m"(host));
    env_layout(c, host, env_bits(op), w);
    env_pack(w, env_bits(op), buf);
    soft_store_bytes(c, op, lin, buf, n);
    UOP_NEXT;
}

static void op_fnsave(struct soft_cpu *c, const struct uop *op)
{
    u32 host[ENV_WORDS + X87_REGS / 4], w[ENV_WORDS];
    u8 buf[28 + X87_REGS];

    soft_need(c, op, STUB_X87);
    u32 n = env_bits(op) == 32 ? 28 : 14;
    u64 lin = soft_lin(c, op, n + X87_REGS, ACC_WRITE);
    probe_image(c, op, lin, env_bits(op) / 8, n + X87_REGS);
    __asm__ volatile("fnsave %0" : "=m"(host));
    env_layout(c, host, env_bits(op), w);
    env_pack(w, env_bits(op), buf);
    memcpy(buf + n, &host[ENV_WORDS], X87_REGS);
    c->fpu.fip = c->fpu.fdp = 0;
    c->fpu.fop = c->fpu.fcs = c->fpu.fds = 0;
    soft_store_bytes(c, op, lin, buf, n + X87_REGS);
    UOP_NEXT;
}

/* The guest's pointers from its words; `host` becomes what the host's registers are to be loaded from. */
static void env_take(struct soft_cpu *c, const u8 *buf, u32 bits, u32 *host)
{
    struct soft_fpu *f = &c->fpu;
    u32 w[ENV_WORDS] = {}, size = bits / 8;

    for (u32 i = 0; i < ENV_WORDS; i++)
        memcpy(&w[i], buf + size * i, size);
    memset(host, 0, ENV_WORDS * 4);
    memcpy(host, w, 3 * 4);
    f->fip = w[ENV_FIP];
    f->fdp = w[ENV_FDP];
    f->fcs = f->fds = f->fop = 0;
    if (!soft_protected(c)) {
        f->fip = (w[ENV_FIP] & 0xffff) | (w[ENV_FCS_FOP] >> 12) << 16;
        f->fdp = (w[ENV_FDP] & 0xffff) | (w[ENV_FDS] >> 12) << 16;
        f->fop = w[ENV_FCS_FOP] & 0x7ff;
    } else {
        f->fcs = (u16)w[ENV_FCS_FOP];
        f->fds = (u16)w[ENV_FDS];
        f->fop = bits == 32 ? (w[ENV_FCS_FOP] >> 16) & 0x7ff : 0;
    }
}

static void op_fldenv(struct soft_cpu *c, const struct uop *op)
{
    u32 host[ENV_WORDS], n = env_bits(op) == 32 ? 28 : 14;
    u8 buf[28];

    soft_need(c, op, STUB_X87);
    soft_fpu_wait(c, op);
    load_image(c, op, soft_lin(c, op, n, ACC_READ), buf, n);
    env_take(c, buf, env_bits(op), host);
    __asm__ volatile("fldenv %0" : : "m"(host));
    UOP_NEXT;
}

static void op_frstor(struct soft_cpu *c, const struct uop *op)
{
    u32 host[ENV_WORDS + X87_REGS / 4], n = env_bits(op) == 32 ? 28 : 14;
    u8 buf[28 + X87_REGS];

    soft_need(c, op, STUB_X87);
    soft_fpu_wait(c, op);
    load_image(c, op, soft_lin(c, op, n + X87_REGS, ACC_READ), buf, n + X87_REGS);
    env_take(c, buf, env_bits(op), host);
    memcpy(&host[ENV_WORDS], buf + n, X87_REGS);
    __asm__ volatile("frstor %0" : : "m"(host));
    UOP_NEXT;
}

/* --- FXSAVE: op->aux is 64 with REX.W --- */

void soft_image_x87(struct soft_cpu *c, u8 *image, bool wide)
{
    u16 fsw;

    soft_x87_store(c, image);
    memcpy(&fsw, image + 2, 2);
    if (!wide) {
        memset(image + 12, 0, 4);
        memset(image + 20, 0, 4);
        memcpy(image + 12, &c->fpu.fcs, 2);
        memcpy(image + 20, &c->fpu.fds, 2);
    }
    if (pointers_with_exception() && !(fsw & FSW_ES))
        memset(image + 6, 0, 18);
}

void soft_image_x87_take(struct soft_cpu *c, const u8 *image, bool wide)
{
    u8 x87[160];

    memcpy(x87, image, sizeof(x87));
    c->fpu.fcs = c->fpu.fds = 0;
    if (!wide) {
        memcpy(&c->fpu.fcs, image + 12, 2);
        memcpy(&c->fpu.fds, image + 20, 2);
        memset(x87 + 12, 0, 4);
        memset(x87 + 20, 0, 4);
    }
    soft_x87_load(c, x87);
}

u32 soft_vec_count(const struct soft_cpu *c)
{
    return soft_code64(c) ? 16 : 8;
}

/* EFER.FFXSR: the kernel's FXSAVE leaves XMM alone. */
static bool without_xmm(const struct soft_cpu *c)
{
    return (c->efer & EFER_FFXSR) && c->cpl == 0 && soft_code64(c);
}

static u64 fxsave_lin(struct soft_cpu *c, const struct uop *op, u32 access)
{
    soft_need(c, op, STUB_X87);
    u64 lin = soft_lin(c, op, FXSAVE_SIZE, access);
    if (lin & 15)
        soft_raise_error(c, op, VEC_GP, 0);
    return lin;
}

static void op_fxsave(struct soft_cpu *c, const struct uop *op)
{
    u64 lin = fxsave_lin(c, op, ACC_WRITE);
    u32 n = without_xmm(c) ? 0 : soft_vec_count(c), mask = soft_mxcsr_mask();
    u32 mxcsr = soft_mxcsr(c);
    u8 image[FXSAVE_USED] = {};

    soft_probe_write(c, op, lin + FXSAVE_SIZE - 1, 1);
    soft_probe_write(c, op, lin, FXSAVE_SIZE);
    soft_image_x87(c, image, op->aux == 64);
    memcpy(image + 24, &mxcsr, 4);
    memcpy(image + 28, &mask, 4);
    for (u32 i = 0; i < n; i++)
        memcpy(image + 160 + 16 * i, c->fpu.ymm[i], 16);
    soft_store_bytes(c, op, lin, image, 160 + 16 * n);
    UOP_NEXT;
}

static void op_fxrstor(struct soft_cpu *c, const struct uop *op)
{
    u64 lin = fxsave_lin(c, op, ACC_READ);
    u32 n = without_xmm(c) ? 0 : soft_vec_count(c), mxcsr;
    u8 image[FXSAVE_USED] = {};

    soft_load8(c, op, lin + FXSAVE_SIZE - 1);
    soft_load_bytes(c, op, lin, image, 160 + 16 * n);
    memcpy(&mxcsr, image + 24, 4);
    if (mxcsr & ~soft_mxcsr_mask())
        soft_raise_error(c, op, VEC_GP, 0);
    soft_mxcsr_set(c, mxcsr);
    for (u32 i = 0; i < n; i++)
        memcpy(c->fpu.ymm[i], image + 160 + 16 * i, 16);
    soft_image_x87_take(c, image, op->aux == 64);
    UOP_NEXT;
}

/* --- MXCSR and the vector registers as a whole --- */

static void ldmxcsr(struct soft_cpu *c, const struct uop *op)
{
    u32 v = soft_load32(c, op, soft_lin(c, op, 4, ACC_READ));

    if (v & ~soft_mxcsr_mask())
        soft_raise_error(c, op, VEC_GP, 0);
    soft_mxcsr_set(c, v);
}

static void op_ldmxcsr(struct soft_cpu *c, const struct uop *op)
{
    soft_need(c, op, STUB_SSE);
    ldmxcsr(c, op);
    UOP_NEXT;
}

static void op_vldmxcsr(struct soft_cpu *c, const struct uop *op)
{
    soft_need(c, op, STUB_AVX);
    ldmxcsr(c, op);
    UOP_NEXT;
}

static void op_stmxcsr(struct soft_cpu *c, const struct uop *op)
{
    soft_need(c, op, STUB_SSE);
    soft_store32(c, op, soft_lin(c, op, 4, ACC_WRITE), soft_mxcsr(c));
    UOP_NEXT;
}

static void op_vstmxcsr(struct soft_cpu *c, const struct uop *op)
{
    soft_need(c, op, STUB_AVX);
    soft_store32(c, op, soft_lin(c, op, 4, ACC_WRITE), soft_mxcsr(c));
    UOP_NEXT;
}

static void op_vzeroupper(struct soft_cpu *c, const struct uop *op)
{
    soft_need(c, op, STUB_AVX);
    for (u32 i = 0; i < soft_vec_count(c); i++)
        memset(c->fpu.ymm[i] + 16, 0, 16);
    UOP_NEXT;
}

static void op_vzeroall(struct soft_cpu *c, const struct uop *op)
{
    soft_need(c, op, STUB_AVX);
    memset(c->fpu.ymm, 0, 32 * soft_vec_count(c));
    UOP_NEXT;
}

/* --- rows --- */

static void emit_fpu(struct emit *m)
{
    if (m->in->operand_count_visible > 0 && m->opnd[0].type == ZYDIS_OPERAND_TYPE_MEMORY)
        emit_mem(m, &m->opnd[0]);
    m->op->aux = m->in->operand_width;
    m->op->fn = m->row->fn;
}

static void emit_fnstsw(struct emit *m)
{
    emit_fpu(m);
    if (m->opnd[0].type == ZYDIS_OPERAND_TYPE_REGISTER)
        m->op->fn = op_fnstsw_ax;
}

/* clang-format off */
const struct insn_row insn_fpu_rows[] = {
    { ZYDIS_MNEMONIC_FNINIT,      F_FPU,  0, emit_fpu, 0, op_fninit, NULL },
    { ZYDIS_MNEMONIC_FNCLEX,      F_FPU,  0, emit_fpu, 0, op_fnclex, NULL },
    { ZYDIS_MNEMONIC_FENI8087_NOP,  F_FPU, 0, emit_fpu, 0, op_fnop_old, NULL },
    { ZYDIS_MNEMONIC_FDISI8087_NOP, F_FPU, 0, emit_fpu, 0, op_fnop_old, NULL },
    { ZYDIS_MNEMONIC_FSETPM287_NOP, F_FPU, 0, emit_fpu, 0, op_fnop_old, NULL },
    { ZYDIS_MNEMONIC_FLDCW,       F_FPU,  0, emit_fpu, 0, op_fldcw, NULL },
    { ZYDIS_MNEMONIC_FNSTCW,      F_FPU,  0, emit_fpu, 0, op_fnstcw, NULL },
    { ZYDIS_MNEMONIC_FNSTSW,      F_FPU,  0, emit_fnstsw, 0, op_fnstsw, NULL },
    { ZYDIS_MNEMONIC_FWAIT,       F_FPU,  0, emit_fpu, 0, op_fwait, NULL },
    { ZYDIS_MNEMONIC_FNSTENV,     F_FPU,  0, emit_fpu, 0, op_fnstenv, NULL },
    { ZYDIS_MNEMONIC_FLDENV,      F_FPU,  0, emit_fpu, 0, op_fldenv, NULL },
    { ZYDIS_MNEMONIC_FNSAVE,      F_FPU,  0, emit_fpu, 0, op_fnsave, NULL },
    { ZYDIS_MNEMONIC_FRSTOR,      F_FPU,  0, emit_fpu, 0, op_frstor, NULL },
    { ZYDIS_MNEMONIC_EMMS,        F_MMX,  0, emit_fpu, 0, op_emms, NULL },
    { ZYDIS_MNEMONIC_FXSAVE,      F_FXSR, 0, emit_fpu, 0, op_fxsave, NULL },
    { ZYDIS_MNEMONIC_FXSAVE64,    F_FXSR, 0, emit_fpu, 0, op_fxsave, NULL },
    { ZYDIS_MNEMONIC_FXRSTOR,     F_FXSR, 0, emit_fpu, 0, op_fxrstor, NULL },
    { ZYDIS_MNEMONIC_FXRSTOR64,   F_FXSR, 0, emit_fpu, 0, op_fxrstor, NULL },
    { ZYDIS_MNEMONIC_LDMXCSR,     F_SSE,  0, emit_fpu, 0, op_ldmxcsr, NULL },
    { ZYDIS_MNEMONIC_STMXCSR,     F_SSE,  0, emit_fpu, 0, op_stmxcsr, NULL },
    { ZYDIS_MNEMONIC_VLDMXCSR,    F_AVX,  0, emit_fpu, 0, op_vldmxcsr, NULL },
    { ZYDIS_MNEMONIC_VSTMXCSR,    F_AVX,  0, emit_fpu, 0, op_vstmxcsr, NULL },
    { ZYDIS_MNEMONIC_VZEROUPPER,  F_AVX,  0, emit_fpu, 0, op_vzeroupper, NULL },
    { ZYDIS_MNEMONIC_VZEROALL,    F_AVX,  0, emit_fpu, 0, op_vzeroall, NULL },
    { ZYDIS_MNEMONIC_XSAVE,       F_XSAVE,    0, emit_fpu, 0, soft_op_xsave, NULL },
    { ZYDIS_MNEMONIC_XSAVE64,     F_XSAVE,    0, emit_fpu, 0, soft_op_xsave, NULL },
    { ZYDIS_MNEMONIC_XSAVEOPT,    F_XSAVEOPT, 0, emit_fpu, 0, soft_op_xsaveopt, NULL },
    { ZYDIS_MNEMONIC_XSAVEOPT64,  F_XSAVEOPT, 0, emit_fpu, 0, soft_op_xsaveopt, NULL },
    { ZYDIS_MNEMONIC_XSAVEC,      F_XSAVEC,   0, emit_fpu, 0, soft_op_xsavec, NULL },
    { ZYDIS_MNEMONIC_XSAVEC64,    F_XSAVEC,   0, emit_fpu, 0, soft_op_xsavec, NULL },
    { ZYDIS_MNEMONIC_XRSTOR,      F_XSAVE,    0, emit_fpu, 0, soft_op_xrstor, NULL },
    { ZYDIS_MNEMONIC_XRSTOR64,    F_XSAVE,    0, emit_fpu, 0, soft_op_xrstor, NULL },
    { ZYDIS_MNEMONIC_MASKMOVQ,    F_SSE,  0, soft_emit_maskmov, 0, NULL, NULL },
    { ZYDIS_MNEMONIC_MASKMOVDQU,  F_SSE2, 0, soft_emit_maskmov, 0, NULL, NULL },
    { ZYDIS_MNEMONIC_VMASKMOVDQU, F_AVX,  0, soft_emit_maskmov, 0, NULL, NULL },
    { ZYDIS_MNEMONIC_VMASKMOVPS,  F_AVX,  0, soft_emit_vmaskmov, 0, NULL, NULL },
    { ZYDIS_MNEMONIC_VMASKMOVPD,  F_AVX,  0, soft_emit_vmaskmov, 0, NULL, NULL },
    { ZYDIS_MNEMONIC_VPMASKMOVD,  F_AVX2, 0, soft_emit_vmaskmov, 0, NULL, NULL },
    { ZYDIS_MNEMONIC_VPMASKMOVQ,  F_AVX2, 0, soft_emit_vmaskmov, 0, NULL, NULL },
    { ZYDIS_MNEMONIC_VPGATHERDD,  F_AVX2, 0, soft_emit_gather, 0, NULL, NULL },
    { ZYDIS_MNEMONIC_VPGATHERDQ,  F_AVX2, 0, soft_emit_gather, 0, NULL, NULL },
    { ZYDIS_MNEMONIC_VPGATHERQD,  F_AVX2, 0, soft_emit_gather, 0, NULL, NULL },
    { ZYDIS_MNEMONIC_VPGATHERQQ,  F_AVX2, 0, soft_emit_gather, 0, NULL, NULL },
    { ZYDIS_MNEMONIC_VGATHERDPS,  F_AVX2, 0, soft_emit_gather, 0, NULL, NULL },
    { ZYDIS_MNEMONIC_VGATHERDPD,  F_AVX2, 0, soft_emit_gather, 0, NULL, NULL },
    { ZYDIS_MNEMONIC_VGATHERQPS,  F_AVX2, 0, soft_emit_gather, 0, NULL, NULL },
    { ZYDIS_MNEMONIC_VGATHERQPD,  F_AVX2, 0, soft_emit_gather, 0, NULL, NULL },
    {},
};
/* clang-format on */
