/*
 * cpu/soft/decode.c: guest bytes to uops: Zydis says what an instruction is, the rows of insn.h say what to do with it.
 */
#include "cpu/soft/code.h"
#include "cpu/soft/cpuid.h"
#include "cpu/soft/insn.h"

#include <pthread.h>

/* The tables, joined: row of each mnemonic. */
static const struct insn_row *rows[ZYDIS_MNEMONIC_MAX_VALUE + 1];
/* By code size, and two more. */
enum { DECODER_REAL = 3 /* real and virtual-8086 mode */, DECODER_AMD64, DECODERS };
static ZydisDecoder decoders[DECODERS];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static const struct insn_row *const tables[] = {
    insn_int_rows,  insn_int2_rows, insn_flow_rows,   insn_string_rows, insn_sys_rows,
    insn_cr_rows,   insn_io_rows,   insn_tables_rows, insn_flags_rows,  insn_iret_rows,
    insn_call_rows, insn_seg_rows,  insn_fpu_rows,    insn_vec_rows,
};

static void init_once(void)
{
    static const struct {
        ZydisMachineMode mode;
        ZydisStackWidth stack;
    } modes[] = {
        { ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16 },
        { ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32 },
        { ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64 },
        { ZYDIS_MACHINE_MODE_REAL_16, ZYDIS_STACK_WIDTH_16 },
        { ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64 },
    };

    for (size_t i = 0; i < ARRAY_LEN(tables); i++)
        for (const struct insn_row *r = tables[i]; r->emit; r++) {
            must(!rows[r->mnemonic]); /* one fact, one row */
            rows[r->mnemonic] = r;
        }
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        ZydisDecoder *d = &decoders[i];

        must(ZYAN_SUCCESS(ZydisDecoderInit(d, modes[i].mode, modes[i].stack)));
        ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_MPX, false);
        ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_CET, false);
        ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_CLDEMOTE, false);
        /* A 66 prefix makes a near branch of 64-bit code one of 16 bits; Intel's CPUs ignore it. */
        ZydisDecoderEnableMode(d, ZYDIS_DECODER_MODE_AMD_BRANCHES, i == DECODER_AMD64);
    }
}

int soft_decode_init(void)
{
    pthread_once(&once, init_once);
    return 0;
}

const struct insn_row *insn_row_of(ZydisMnemonic m)
{
    return rows[m];
}

void soft_op_ud(struct soft_cpu *c, const struct uop *op)
{
    soft_raise(c, op, VEC_UD);
}

void soft_op_nop(struct soft_cpu *c, const struct uop *op)
{
    UOP_NEXT;
}

static void leave_at(struct soft_cpu *c, const struct uop *op)
{
    u64 rip = c->base_rip + op->off;

    /* CS keeps its size, and with it EIP its width, when CR0.PE is cleared. */
    soft_leave(c, soft_code64(c)                                 ? rip
                  : (c->key & (KEY_REAL | KEY_SIZE)) == KEY_REAL ? (u16)rip
                                                                 : (u32)rip);
}

void soft_op_cut(struct soft_cpu *c, const struct uop *op)
{
    c->budget += c->block->ops + c->block->n - op; /* they are not run */
    leave_at(c, op);
}

/* The block's bytes are used up: op->imm is 1 when the next block is in the same page, 2: in another, 0: not to be linked. */
static void op_end(struct soft_cpu *c, const struct uop *op)
{
    leave_at(c, op);
    c->link_near = op->imm & 1;
    if (op->imm)
        c->link = &c->block->succ[0];
}

static void op_gp(struct soft_cpu *c, const struct uop *op)
{
    soft_raise_error(c, op, VEC_GP, 0);
}

u8 emit_reg(ZydisRegister r)
{
    static const struct {
        ZydisRegister first, last;
        u8 at;
    } classes[] = {
        { ZYDIS_REGISTER_AL, ZYDIS_REGISTER_BL, 0 },
        { ZYDIS_REGISTER_AH, ZYDIS_REGISTER_BH, 1 },
        { ZYDIS_REGISTER_SPL, ZYDIS_REGISTER_R15B, 32 },
        { ZYDIS_REGISTER_AX, ZYDIS_REGISTER_R15W, 0 },
        { ZYDIS_REGISTER_EAX, ZYDIS_REGISTER_R15D, 0 },
        { ZYDIS_REGISTER_RAX, ZYDIS_REGISTER_R15, 0 },
    };

    for_each_row(k, classes)
        if (r >= k->first && r <= k->last)
            return (u8)(k->at + (r - k->first) * 8);
    return REG_ZERO;
}

bool emit_has(const struct emit *m, enum cpu_feature f)
{
    return f == F_ALWAYS || m->c->vm->features[f / 64] >> (f % 64) & 1;
}

static u8 seg_of(const struct emit *m, const ZydisDecodedOperand *o)
{
    static const u8 segs[] = { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS };
    u8 seg = segs[o->mem.segment - ZYDIS_REGISTER_ES];
    bool size64 = (m->key & KEY_SIZE) == SIZE_64;

    if (size64 && seg < SEG_FS) {
        bool stack = o->mem.base == ZYDIS_REGISTER_RSP || o->mem.base == ZYDIS_REGISTER_RBP ||
                     o->mem.base == ZYDIS_REGISTER_ESP || o->mem.base == ZYDIS_REGISTER_EBP;
        return stack ? SEG_FLAT_SS : SEG_FLAT;
    }
    if (!size64 && (m->key & KEY_FLAT) && seg < SEG_FS && seg != SEG_CS)
        return SEG_FLAT;
    return seg;
}

static void emit_rip(struct uop *op, s64 from_block)
{
    op->base = from_block <= INT32_MAX ? REG_RIP : REG_RIP_FAR;
    op->disp = (s32)(from_block <= INT32_MAX ? from_block : from_block - (s64)GiB);
}

void emit_mem(struct emit *m, const ZydisDecodedOperand *o)
{
    struct uop *op = m->op;
    /* Base 101 of SIB is a displacement when mod is 0; Zydis 4.0 forgets it when there are both a 67 prefix and REX.B. */
    bool no_base = (m->in->attributes & ZYDIS_ATTRIB_HAS_SIB) && m->in->raw.modrm.mod == 0 &&
                   m->in->raw.sib.base == 5;

    op->asize = m->in->address_width == 64   ? SIZE_64
                : m->in->address_width == 32 ? SIZE_32
                                             : SIZE_16;
    op->disp = (s32)(no_base ? m->in->raw.disp.value : o->mem.disp.value);
    op->seg = seg_of(m, o);
    if (o->mem.index != ZYDIS_REGISTER_NONE)
        op->index = emit_reg(o->mem.index);
    op->scale = (u8)(o->mem.scale ? __builtin_ctz(o->mem.scale) : 0);
    if (o->mem.base == ZYDIS_REGISTER_RIP || o->mem.base == ZYDIS_REGISTER_EIP)
        emit_rip(op, o->mem.disp.value + op->off + m->in->length);
    else if (o->mem.base != ZYDIS_REGISTER_NONE && !no_base)
        op->base = emit_reg(o->mem.base);
}

/* Operand size of the instruction, log2 of bytes. */
static u32 osize_of(const ZydisDecodedInstruction *in)
{
    return in->operand_width == 64   ? 3
           : in->operand_width == 32 ? 2
           : in->operand_width == 16 ? 1
                                     : 0;
}

/* What Zydis knows of and no CPU of ours does: Knights Corner, and (AMD's) PREFETCH of a register. */
static bool is_foreign(const struct emit *m)
{
    const ZydisDecodedInstruction *in = m->in;

    if (in->meta.isa_set >= ZYDIS_ISA_SET_KNCE && in->meta.isa_set <= ZYDIS_ISA_SET_KNC_PF_HINT)
        return true;
    return in->mnemonic == ZYDIS_MNEMONIC_NOP && in->opcode_map == ZYDIS_OPCODE_MAP_0F &&
           in->opcode == 0x0d && in->raw.modrm.mod == 3 && !soft_is_intel(m->c->vm);
}

static void emit_one(struct emit *m)
{
    const struct insn_row *row = rows[m->in->mnemonic];

    m->osize = osize_of(m->in);
    m->row = row;
    if (is_foreign(m)) {
        m->op->fn = soft_op_ud;
    } else if (row && emit_has(m, row->feature)) {
        m->ends = row->flags & INSN_ENDS;
        row->emit(m);
    } else if (!insn_native(m)) { /* which also knows what LZCNT was before there was one */
        m->op->fn = soft_op_ud;
    }
}

/* The instruction was longer than 15 bytes, or does not exist: what does the CPU say? */
static uop_fn refused(ZyanStatus s)
{
    return s == ZYDIS_STATUS_INSTRUCTION_TOO_LONG ? op_gp : soft_op_ud;
}

static const ZydisDecoder *decoder_of(const struct soft_cpu *c, u32 key)
{
    if ((key & KEY_SIZE) == SIZE_64)
        return &decoders[soft_is_intel(c->vm) ? SIZE_64 : DECODER_AMD64];
    return &decoders[key & KEY_REAL && (key & KEY_SIZE) == SIZE_16 ? DECODER_REAL : key & KEY_SIZE];
}

/* F3 90 with REX.B is XCHG R8, RAX: Zydis takes it for PAUSE. */
static ZyanStatus decode_xchg(const ZydisDecoder *d, const u8 *bytes, ZydisDecodedInstruction *in,
                              ZydisDecodedOperand *opnd)
{
    u8 plain[INSN_LEN_MAX];
    u32 n = in->length;

    for (u32 i = 0; i < n; i++)
        plain[i] = bytes[i] == 0xf3 ? 0x3e : bytes[i];
    return ZydisDecoderDecodeFull(d, plain, n, in, opnd);
}

ZyanStatus soft_decode_one(const struct soft_cpu *c, u32 key, const u8 *bytes, u32 n,
                           ZydisDecodedInstruction *in, ZydisDecodedOperand *opnd)
{
    const ZydisDecoder *d = decoder_of(c, key);
    ZyanStatus s = ZydisDecoderDecodeFull(d, bytes, n, in, opnd);

    if (ZYAN_SUCCESS(s) && in->mnemonic == ZYDIS_MNEMONIC_PAUSE &&
        in->attributes & ZYDIS_ATTRIB_HAS_REX && in->raw.rex.B)
        s = decode_xchg(d, bytes, in, opnd);
    return s;
}

static struct uop *uop_start(struct block *b, u32 off)
{
    struct uop *op = &b->ops[b->n];

    *op = (struct uop){ .base = REG_ZERO, .index = REG_ZERO, .seg = SEG_FLAT, .off = (u16)off };
    return op;
}

/* Returns how many of the `n` bytes may make it another instruction. */
static u32 emit_refused(struct emit *m, ZyanStatus s, u32 n)
{
    m->op->len = 1;
    m->op->fn = refused(s);
    m->ends = true;
    return min(n, (u32)INSN_LEN_MAX);
}

int soft_decode(struct soft_cpu *c, struct block *b, const u8 *bytes, u32 n, u32 key, bool alone)
{
    u32 max_n = alone || key & KEY_SINGLE ? 1 : c->vm->block_max, off = 0, seen = 0;
    ZydisDecodedOperand opnd[ZYDIS_MAX_OPERAND_COUNT];
    ZydisDecodedInstruction in;
    bool ends = false;
    u32 sides = 0;

    b->n = 0;
    while (b->n < max_n && !ends) {
        struct uop *op = uop_start(b, off);
        struct emit m = { .c = c,
                          .in = &in,
                          .opnd = opnd,
                          .op = op,
                          .bytes = bytes + off,
                          .block_gpa = b->gpa,
                          .key = key };
        ZyanStatus s = soft_decode_one(c, key, m.bytes, n - off, &in, opnd);

        if (s == ZYDIS_STATUS_NO_MORE_DATA && n - off < INSN_LEN_MAX)
            break;
        if (ZYAN_SUCCESS(s)) {
            op->len = in.length;
            emit_one(&m);
        } else {
            seen = off + emit_refused(&m, s, n - off);
        }
        ends = m.ends || op->fn == soft_op_ud;
        if (m.passing && sides < BLOCK_SIDES && b->n + 1u < max_n) {
            op->fn = m.passing;
            op->dst = (u8)(2 + sides++);
            ends = false;
        }
        off += op->len;
        b->n++;
    }
    if (b->n == 0)
        return -EAGAIN;
    b->bytes = (u16)max(off, seen);
    struct uop *last = uop_start(b, off);
    last->fn = op_end;
    last->imm = key & KEY_SINGLE || !(key & KEY_FLAT) ? 0 : (b->gpa & 4095) + off < 4096 ? 1 : 2;
    return 0;
}
