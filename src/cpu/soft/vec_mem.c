/*
 * cpu/soft/vec_mem.c: gathers and masked moves.  Elements that the mask leaves out are not touched and cannot fault; that
 * is why the host's own instructions are of no use here.  (Intel SDM volume 2, VGATHERDPS, VMASKMOVPS, MASKMOVDQU)
 */
#include "cpu/soft/vec_mem.h"

#include "cpu/soft/fpu.h"
#include "cpu/soft/stub.h"

/* uop.aux of gathers and VMASKMOV. */
enum {
    AUX_DATA64 = 1 << 0,
    AUX_INDEX64 = 1 << 1,
    AUX_YMM = 1 << 2,
    AUX_INDEX_SHIFT = 8, /* number of the index register */
};

/* Linear address of an element at `by` bytes from the operand's first byte. */
static u64 element_lin(struct soft_cpu *c, const struct uop *op, u64 by, u32 size, u32 access)
{
    u64 ea = soft_ea(c, op) + by;

    if (op->asize != SIZE_64)
        ea = op->asize == SIZE_32 ? (u32)ea : (u16)ea;
    return op->seg >= SEG_COUNT ? ea : soft_seg_linear(c, op, op->seg, ea, size, access);
}

static u8 vec_number(ZydisRegister r)
{
    return (u8)(ZydisRegisterGetId(r) & 15);
}

static u64 load_element(struct soft_cpu *c, const struct uop *op, u64 lin, u32 size)
{
    return size == 8 ? soft_load64(c, op, lin) : soft_load32(c, op, lin);
}

/* --- gathers --- */

static u64 gather_lin(struct soft_cpu *c, const struct uop *op, u32 i, u32 size)
{
    const u8 *index = c->fpu.ymm[op->aux >> AUX_INDEX_SHIFT];
    s64 by;
    s32 by32;

    if (op->aux & AUX_INDEX64) {
        memcpy(&by, index + 8 * i, 8);
    } else {
        memcpy(&by32, index + 4 * i, 4);
        by = by32;
    }
    return element_lin(c, op, (u64)by << op->scale, size, ACC_READ);
}

/* A fault leaves the elements before it done, and their mask clear: the instruction goes on with the rest. */
static void op_gather(struct soft_cpu *c, const struct uop *op)
{
    u32 size = op->aux & AUX_DATA64 ? 8 : 4, wide = op->aux & (AUX_DATA64 | AUX_INDEX64) ? 8 : 4;
    u32 n = (op->aux & AUX_YMM ? 32 : 16) / wide;
    u8 *dst = c->fpu.ymm[op->dst], *mask = c->fpu.ymm[op->src];

    soft_need(c, op, STUB_AVX);
    for (u32 i = 0; i < n; i++) {
        if (mask[size * i + size - 1] & 0x80) {
            u64 v = load_element(c, op, gather_lin(c, op, i, size), size);
            memcpy(dst + size * i, &v, size);
        }
        memset(mask + size * i, 0, size);
    }
    memset(dst + size * n, 0, 32 - size * n);
    memset(mask, 0, 32);
    UOP_NEXT;
}

void soft_emit_gather(struct emit *m)
{
    static const struct {
        u16 mnemonic;
        u8 aux;
    } forms[] = {
        { ZYDIS_MNEMONIC_VPGATHERDD, 0 },
        { ZYDIS_MNEMONIC_VGATHERDPS, 0 },
        { ZYDIS_MNEMONIC_VPGATHERDQ, AUX_DATA64 },
        { ZYDIS_MNEMONIC_VGATHERDPD, AUX_DATA64 },
        { ZYDIS_MNEMONIC_VPGATHERQD, AUX_INDEX64 },
        { ZYDIS_MNEMONIC_VGATHERQPS, AUX_INDEX64 },
        { ZYDIS_MNEMONIC_VPGATHERQQ, AUX_INDEX64 | AUX_DATA64 },
        { ZYDIS_MNEMONIC_VGATHERQPD, AUX_INDEX64 | AUX_DATA64 },
    };
    ZydisDecodedOperand mem = m->opnd[1];

    if (m->in->encoding != ZYDIS_INSTRUCTION_ENCODING_VEX) {
        m->op->fn = soft_op_ud;
        return;
    }
    m->op->dst = vec_number(m->opnd[0].reg.value);
    m->op->src = vec_number(m->opnd[2].reg.value);
    m->op->aux = (u16)(vec_number(mem.mem.index) << AUX_INDEX_SHIFT);
    m->op->aux |= m->in->avx.vector_length == 256 ? AUX_YMM : 0;
    for_each_row(f, forms) {
        if (f->mnemonic == m->in->mnemonic)
            m->op->aux |= f->aux;
    }
    mem.mem.index = ZYDIS_REGISTER_NONE;
    emit_mem(m, &mem);
    m->op->fn = op_gather;
}

/* --- VMASKMOV, VPMASKMOV --- */

static void op_vmask_load(struct soft_cpu *c, const struct uop *op)
{
    u32 size = op->aux & AUX_DATA64 ? 8 : 4, n = (op->aux & AUX_YMM ? 32 : 16) / size;
    const u8 *mask = c->fpu.ymm[op->src];
    u8 got[32] = {};

    soft_need(c, op, STUB_AVX);
    for (u32 i = 0; i < n; i++) {
        if (!(mask[size * i + size - 1] & 0x80))
            continue;
        u64 v = load_element(c, op, element_lin(c, op, size * i, size, ACC_READ), size);
        memcpy(got + size * i, &v, size);
    }
    memcpy(c->fpu.ymm[op->dst], got, 32);
    UOP_NEXT;
}

static void op_vmask_store(struct soft_cpu *c, const struct uop *op)
{
    u32 size = op->aux & AUX_DATA64 ? 8 : 4, n = (op->aux & AUX_YMM ? 32 : 16) / size;
    const u8 *mask = c->fpu.ymm[op->src], *from = c->fpu.ymm[op->dst];

    soft_need(c, op, STUB_AVX);
    for (u32 i = 0; i < n; i++) {
        if (mask[size * i + size - 1] & 0x80)
            soft_probe_write(c, op, element_lin(c, op, size * i, size, ACC_WRITE), size);
    }
    for (u32 i = 0; i < n; i++) {
        if (mask[size * i + size - 1] & 0x80)
            soft_store_bytes(c, op, element_lin(c, op, size * i, size, ACC_WRITE), from + size * i,
                             size);
    }
    UOP_NEXT;
}

void soft_emit_vmaskmov(struct emit *m)
{
    bool store = m->opnd[0].type == ZYDIS_OPERAND_TYPE_MEMORY;
    bool wide = m->in->mnemonic == ZYDIS_MNEMONIC_VMASKMOVPD ||
                m->in->mnemonic == ZYDIS_MNEMONIC_VPMASKMOVQ;

    m->op->aux = (wide ? AUX_DATA64 : 0) | (m->in->avx.vector_length == 256 ? AUX_YMM : 0);
    m->op->src = vec_number(m->opnd[1].reg.value);
    m->op->dst = vec_number(m->opnd[store ? 2 : 0].reg.value);
    emit_mem(m, &m->opnd[store ? 0 : 2]);
    m->op->fn = store ? op_vmask_store : op_vmask_load;
}

/* --- MASKMOVQ, MASKMOVDQU: single bytes --- */

/*
 * Does the store fault?  Inside one page when the mask has a byte; an operand across two pages needs both whatever the mask
 * says, as on AMD's CPUs (the manuals leave it open).
 */
static void probe_masked(struct soft_cpu *c, const struct uop *op, const u8 *mask, u32 n)
{
    u64 lin = element_lin(c, op, 0, 1, 0);
    bool any = (lin & ~GUEST_PAGE_MASK) + n > GUEST_PAGE;

    for (u32 i = 0; i < n; i++)
        any |= mask[i] & 0x80;
    if (any)
        soft_probe_write(c, op, lin, n);
}

static void store_masked(struct soft_cpu *c, const struct uop *op, const u8 *from, const u8 *mask,
                         u32 n)
{
    element_lin(c, op, 0, 1, ACC_WRITE); /* rights of the segment, even with an empty mask */
    for (u32 i = 0; i < n; i++) {
        if (mask[i] & 0x80)
            element_lin(c, op, i, 1, ACC_WRITE);
    }
    probe_masked(c, op, mask, n);
    for (u32 i = 0; i < n; i++) {
        if (mask[i] & 0x80)
            soft_store8(c, op, element_lin(c, op, i, 1, ACC_WRITE), from[i]);
    }
}

static void op_maskmovdqu(struct soft_cpu *c, const struct uop *op)
{
    soft_need(c, op, op->aux ? STUB_AVX : STUB_SSE);
    store_masked(c, op, c->fpu.ymm[op->dst], c->fpu.ymm[op->src], 16);
    UOP_NEXT;
}

static void op_maskmovq(struct soft_cpu *c, const struct uop *op)
{
    u8 image[160];
    u32 unused;

    soft_need(c, op, STUB_MMX);
    soft_fpu_wait(c, op);
    __asm__ volatile("movd %%mm0, %0"
                     : "=r"(unused)); /* enters the MMX state, even when a fault follows */
    soft_x87_store(c, image);
    store_masked(c, op, image + 32 + 16 * op->dst, image + 32 + 16 * op->src, 8);
    UOP_NEXT;
}

void soft_emit_maskmov(struct emit *m)
{
    u32 regs = 0;

    for (u32 i = 0; i < m->in->operand_count; i++) {
        if (m->opnd[i].type == ZYDIS_OPERAND_TYPE_MEMORY) {
            emit_mem(m, &m->opnd[i]);
        } else if (m->opnd[i].type == ZYDIS_OPERAND_TYPE_REGISTER && regs < 2) {
            *(regs == 0 ? &m->op->dst : &m->op->src) = vec_number(m->opnd[i].reg.value);
            regs++;
        }
    }
    m->op->aux = m->in->mnemonic == ZYDIS_MNEMONIC_VMASKMOVDQU;
    m->op->fn = m->in->mnemonic == ZYDIS_MNEMONIC_MASKMOVQ ? op_maskmovq : op_maskmovdqu;
}
