/*
 * cpu/soft/insn_io.c: IN, OUT, INS, OUTS.  (Intel SDM volume 1, chapter 19; volume 2)
 *   (1) The right to a port is checked before anything is done: IOPL, then the bitmap in the TSS.
 *   (2) INS knows that its element can be stored before it reads the port, whose reading cannot be undone.
 *   (3) A repeated form gives way to requests between elements, and after so many in any case: RIP stays on it meanwhile.
 */
#include "cpu/soft/insn.h"
#include "cpu/soft/io.h"
#include "cpu/soft/soft_mem.h"

enum {
    TSS_BITMAP_AT = 102, /* 16-bit offset of the I/O permission bitmap */
    TSS32_AVAILABLE = 9, /* types of 32- and 64-bit TSS */
    TSS32_BUSY = 11,
    TSS_TYPE = 15,
    ELEMENTS_MAX = 1024, /* of a repeated form at a time */
};

static bool bitmap_allows(struct soft_cpu *c, const struct uop *op, u16 port, u32 size)
{
    const struct seg_state *tr = &c->seg[SEG_TR];
    u32 type = tr->attr & TSS_TYPE, at, bits;

    if ((type != TSS32_AVAILABLE && type != TSS32_BUSY) || tr->limit < TSS_BITMAP_AT + 1)
        return false;
    at = (u32)soft_sys_load(c, op, tr->base + TSS_BITMAP_AT, 2) + port / 8;
    if (at + 1 > tr->limit)
        return false;
    bits = (u32)soft_sys_load(c, op, tr->base + at, 2) >> (port % 8);
    return !(bits & ((1u << size) - 1));
}

static void need_port(struct soft_cpu *c, const struct uop *op, u16 port, u32 size)
{
    soft_run_alone(c, op);
    if (!(c->cr0 & CR0_PE))
        return;
    if (!(c->eflags & RF_VM) && c->cpl <= (c->eflags & RF_IOPL) >> 12)
        return;
    if (!bitmap_allows(c, op, port, size))
        soft_raise_error(c, op, VEC_GP, 0);
}

/* IN and OUT.  aux: bytes; imm: the port, or PORT_DX. */

#define PORT_DX (1ull << 16)

static u16 port_of(const struct soft_cpu *c, const struct uop *op)
{
    return (u16)(op->imm == PORT_DX ? c->reg[GPR_RDX] : op->imm);
}

static void op_in(struct soft_cpu *c, const struct uop *op)
{
    u16 port = port_of(c, op);
    u64 val;

    need_port(c, op, port, op->aux);
    val = soft_pio_read(c, port, op->aux);
    if (op->aux == 4)
        c->reg[GPR_RAX] = (u32)val;
    else
        le_store(&c->reg[GPR_RAX], op->aux, val);
    UOP_NEXT;
}

static void op_out(struct soft_cpu *c, const struct uop *op)
{
    u16 port = port_of(c, op);

    need_port(c, op, port, op->aux);
    soft_pio_write(c, port, op->aux, le_load(&c->reg[GPR_RAX], op->aux));
    UOP_NEXT;
}

static void emit_port(struct emit *m, const ZydisDecodedOperand *port,
                      const ZydisDecodedOperand *val)
{
    m->op->imm = port->type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? port->imm.value.u & 0xff : PORT_DX;
    m->op->aux = (u16)(val->size / 8);
    m->op->fn = m->row->fn;
}

static void emit_in(struct emit *m)
{
    emit_port(m, &m->opnd[1], &m->opnd[0]);
}

static void emit_out(struct emit *m)
{
    emit_port(m, &m->opnd[0], &m->opnd[1]);
}

/* INS and OUTS.  aux: bytes; src: the pointer register; imm: repeated. */

static u64 address_mask(const struct uop *op)
{
    return op->asize == SIZE_64 ? ~0ull : op->asize == SIZE_32 ? 0xffffffffull : 0xffffull;
}

/* A counter or pointer moves in the width of addresses; 32-bit ones clear the upper half. */
static void reg_add(struct soft_cpu *c, u32 reg, const struct uop *op, s64 by)
{
    u64 *r = soft_reg(c, reg), sum = *r + (u64)by;

    *r = op->asize == SIZE_16 ? (*r & ~0xffffull) | (u16)sum : sum & address_mask(op);
}

static void ins_element(struct soft_cpu *c, const struct uop *op, u16 port)
{
    u64 lin = soft_lin(c, op, op->aux, ACC_WRITE);
    u8 buf[8];

    soft_probe_write(c, op, lin, op->aux);
    le_store(buf, sizeof(buf), soft_pio_read(c, port, op->aux));
    soft_store_bytes(c, op, lin, buf, op->aux);
}

static void outs_element(struct soft_cpu *c, const struct uop *op, u16 port)
{
    u8 buf[8] = {};

    soft_load_bytes(c, op, soft_lin(c, op, op->aux, ACC_READ), buf, op->aux);
    soft_pio_write(c, port, op->aux, le_load(buf, op->aux));
}

static u64 this_rip(const struct soft_cpu *c, const struct uop *op)
{
    u64 rip = c->base_rip + op->off;

    return soft_code64(c) ? rip : (c->key & KEY_SIZE) == SIZE_32 ? (u32)rip : (u16)rip;
}

static bool may_go_on(const struct soft_cpu *c, u32 done)
{
    return done < ELEMENTS_MAX && !(c->key & KEY_SINGLE) && !(c->block->key & KEY_DROPPED) &&
           !atomic_load_explicit(&c->request, memory_order_relaxed);
}

static void string_io(struct soft_cpu *c, const struct uop *op,
                      void (*element)(struct soft_cpu *c, const struct uop *op, u16 port))
{
    s64 step = c->eflags & RF_DF ? -(s64)op->aux : op->aux;
    u16 port = (u16)c->reg[GPR_RDX];
    u32 done = 0;

    need_port(c, op, port, op->aux);
    if (!op->imm) {
        element(c, op, port);
        reg_add(c, op->src, op, step);
        soft_leave(c, soft_next_rip(c, op));
        return;
    }
    while (c->reg[GPR_RCX] & address_mask(op)) {
        element(c, op, port);
        reg_add(c, op->src, op, step);
        reg_add(c, GPR_RCX * 8, op, -1);
        if (!may_go_on(c, ++done))
            break;
    }
    soft_leave(c, c->reg[GPR_RCX] & address_mask(op) ? this_rip(c, op) : soft_next_rip(c, op));
}

static void op_ins(struct soft_cpu *c, const struct uop *op)
{
    string_io(c, op, ins_element);
}

static void op_outs(struct soft_cpu *c, const struct uop *op)
{
    string_io(c, op, outs_element);
}

static bool is_repeated(const struct emit *m)
{
    for (u32 i = 0; i < m->in->raw.prefix_count; i++)
        if (m->in->raw.prefixes[i].value == 0xf2 || m->in->raw.prefixes[i].value == 0xf3)
            return true;
    return false;
}

static void emit_string(struct emit *m)
{
    for (u32 i = 0; i < m->in->operand_count; i++) {
        if (m->opnd[i].type != ZYDIS_OPERAND_TYPE_MEMORY)
            continue;
        emit_mem(m, &m->opnd[i]);
        m->op->aux = (u16)(m->opnd[i].size / 8);
    }
    m->op->src = m->op->base;
    m->op->imm = is_repeated(m);
    m->op->fn = m->row->fn;
}

/* clang-format off */
const struct insn_row insn_io_rows[] = {
    { ZYDIS_MNEMONIC_IN,    F_ALWAYS, INSN_NO_FUZZ,             emit_in,     .fn = op_in },
    { ZYDIS_MNEMONIC_OUT,   F_ALWAYS, INSN_NO_FUZZ,             emit_out,    .fn = op_out },
    { ZYDIS_MNEMONIC_INSB,  F_ALWAYS, INSN_ENDS | INSN_NO_FUZZ, emit_string, .fn = op_ins },
    { ZYDIS_MNEMONIC_INSW,  F_ALWAYS, INSN_ENDS | INSN_NO_FUZZ, emit_string, .fn = op_ins },
    { ZYDIS_MNEMONIC_INSD,  F_ALWAYS, INSN_ENDS | INSN_NO_FUZZ, emit_string, .fn = op_ins },
    { ZYDIS_MNEMONIC_OUTSB, F_ALWAYS, INSN_ENDS | INSN_NO_FUZZ, emit_string, .fn = op_outs },
    { ZYDIS_MNEMONIC_OUTSW, F_ALWAYS, INSN_ENDS | INSN_NO_FUZZ, emit_string, .fn = op_outs },
    { ZYDIS_MNEMONIC_OUTSD, F_ALWAYS, INSN_ENDS | INSN_NO_FUZZ, emit_string, .fn = op_outs },
    {},
};
/* clang-format on */
