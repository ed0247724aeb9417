/*
 * cpu/soft/jit/copy.c: instructions that mean to the host what they mean to the guest: written as they are, with other registers
 * and [T0] for the memory operand.  (Intel SDM volume 2, chapter 2)
 */
#include "cpu/soft/jit/translate.h"
#include "cpu/soft/stub.h"

enum { TEMPS = 2 };

/* An instruction on its way to other registers. */
struct copy {
    const ZydisDecodedOperand *mem;
    struct asm_mem at; /* where it is */
    u8 reg, rm, vvvv;
    u32 mem_size, mem_access;
    enum jit_vec vec; /* it works on vector registers */
    bool x87;         /* ... on the x87's */
    bool has_reg;     /* ModRM.reg is a register */
    bool byte_low;    /* SPL to DIL: a REX prefix has to be there */
    bool byte_high;   /* AH to BH: none may be there */
    u32 n_temp;
    u8 temp[TEMPS]; /* guest registers in T1 and T2 */
    bool load[TEMPS], store[TEMPS];
    u32 reads, writes; /* RF_* */
    bool flags_first;  /* what it leaves depends on the flags before */
    bool carry_first;  /* ... on the carry alone */
    bool traps;        /* the host may trap, and that is the guest's */
};

static const u8 temp_host[TEMPS] = { T1, T2 };

u32 jit_guest_of(ZydisRegister r)
{
    return (u32)ZydisRegisterGetId(
               ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, r)) &
           15;
}

/* Host register of guest register `g`; one in memory gets a scratch register.  NO_REG: there is none left. */
static u32 place(struct copy *k, u32 g, bool load, bool store)
{
    u32 n = 0;

    if (jit_host[g] != NO_REG)
        return jit_host[g];
    while (n < k->n_temp && k->temp[n] != g)
        n++;
    if (n == TEMPS)
        return NO_REG;
    if (n == k->n_temp)
        k->n_temp++;
    k->temp[n] = (u8)g;
    k->load[n] |= load;
    k->store[n] |= store;
    return temp_host[n];
}

static bool place_operand(struct copy *k, const ZydisDecodedOperand *o, bool keeps)
{
    u32 g = jit_guest_of(o->reg.value), h;
    bool high = o->reg.value >= ZYDIS_REGISTER_AH && o->reg.value <= ZYDIS_REGISTER_BH;
    bool whole = o->actions == ZYDIS_OPERAND_ACTION_WRITE && o->size >= 32 && !keeps;

    h = place(k, g, !whole, o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE);
    if (h == NO_REG)
        return false;
    if (high)
        h += 4;
    k->byte_high |= high;
    k->byte_low |= o->size == 8 && !high && h >= RSP && h <= RDI;
    switch (o->encoding) {
    case ZYDIS_OPERAND_ENCODING_MODRM_REG:
        k->reg = (u8)h;
        k->has_reg = true;
        return true;
    case ZYDIS_OPERAND_ENCODING_MODRM_RM:
    case ZYDIS_OPERAND_ENCODING_OPCODE:
        k->rm = (u8)h;
        return true;
    case ZYDIS_OPERAND_ENCODING_NDSNDD:
        k->vvvv = (u8)h;
        return true;
    default: /* named by the opcode itself */
        return o->encoding == ZYDIS_OPERAND_ENCODING_NONE && jit_host[g] == g;
    }
}

/* A vector register keeps its number; that of IS4 is part of the immediate. */
static void place_vec(struct copy *k, const ZydisDecodedOperand *o)
{
    u8 n = (u8)jit_guest_of(o->reg.value);

    if (o->encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG) {
        k->reg = n;
        k->has_reg = true;
    } else if (o->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM) {
        k->rm = n;
    } else if (o->encoding == ZYDIS_OPERAND_ENCODING_NDSNDD) {
        k->vvvv = n;
    }
}

static bool place_operands(struct jit_tr *t, struct copy *k)
{
    /* A source of 0 leaves the target alone. */
    bool keeps = t->in.mnemonic == ZYDIS_MNEMONIC_BSF || t->in.mnemonic == ZYDIS_MNEMONIC_BSR;

    for (u32 i = 0; i < t->in.operand_count; i++) {
        const ZydisDecodedOperand *o = &t->opnd[i];
        ZydisRegisterClass class = ZYDIS_REGCLASS_INVALID;

        if (o->type == ZYDIS_OPERAND_TYPE_REGISTER)
            class = ZydisRegisterGetClass(o->reg.value);
        if (class >= ZYDIS_REGCLASS_GPR8 && class <= ZYDIS_REGCLASS_GPR64) {
            if (!place_operand(k, o, keeps))
                return false;
        } else if (class == ZYDIS_REGCLASS_XMM || class == ZYDIS_REGCLASS_YMM) {
            place_vec(k, o);
        } else if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) {
            if (k->mem || o->encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM)
                return false;
            k->mem = o;
        } else if (k->x87 && (class == ZYDIS_REGCLASS_X87 || class == ZYDIS_REGCLASS_INVALID)) {
            continue; /* they keep their numbers, which are in the opcode */
        } else if (o->type != ZYDIS_OPERAND_TYPE_IMMEDIATE && class != ZYDIS_REGCLASS_FLAGS) {
            return false;
        }
    }
    return true;
}

/* Does the host's CPU compute all flags from operands alone?  Rotates, bit tests and multiplications keep some. */
static bool flags_are_new(const struct jit_tr *t)
{
    static const u16 fresh[] = {
        ZYDIS_MNEMONIC_ADD,  ZYDIS_MNEMONIC_OR,      ZYDIS_MNEMONIC_AND,    ZYDIS_MNEMONIC_SUB,
        ZYDIS_MNEMONIC_XOR,  ZYDIS_MNEMONIC_CMP,     ZYDIS_MNEMONIC_TEST,   ZYDIS_MNEMONIC_NEG,
        ZYDIS_MNEMONIC_XADD, ZYDIS_MNEMONIC_CMPXCHG, ZYDIS_MNEMONIC_POPCNT,
    };
    static const u16 shifts[] = { ZYDIS_MNEMONIC_SHL, ZYDIS_MNEMONIC_SHR, ZYDIS_MNEMONIC_SAR };
    u32 mask = t->in.operand_width == 64 ? 63 : 31;

    for_each_row(m, fresh)
        if (*m == t->in.mnemonic)
            return true;
    for_each_row(m, shifts)
        if (*m == t->in.mnemonic)
            return t->opnd[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE && t->op->imm & mask;
    return false;
}

/* Without it, the instruction may be an older one. */
static bool has_feature(const struct soft_vm *vm, u32 f)
{
    return f == F_ALWAYS || vm->features[f / 64] >> (f % 64) & 1;
}

static u32 access_of(const ZydisDecodedOperand *o)
{
    return (o->actions & ZYDIS_OPERAND_ACTION_MASK_READ ? ACC_READ : 0) |
           (o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE ? ACC_WRITE : 0);
}

/*
 * Is it one to be written as it is: by its row, or because the interpreter has the host's CPU do it, too?  What of the vector
 * registers it needs, and what its memory operand is, which the stub of the interpreter knows better.
 */
static bool kind_of(const struct jit_tr *t, struct copy *k)
{
    const struct insn_row *row = insn_row_of(t->in.mnemonic);
    bool copied = row && row->flags & INSN_COPY && has_feature(t->c->vm, row->feature);
    const struct stub *s = (const struct stub *)(uintptr_t)t->op->imm;
    enum stub_kind kind;

    if (stub_kind_of(t->fn[t->i], &kind)) {
        k->vec = kind == STUB_SSE ? JIT_VEC_SSE : kind == STUB_AVX ? JIT_VEC_AVX : JIT_VEC_NONE;
        k->mem_size = s->size;
        k->mem_access = s->access;
        k->x87 = kind == STUB_X87 && (t->op->seg >= SEG_FLAT || !s->size);
        if (k->x87)
            return true;
        return kind == STUB_INT || kind == STUB_VEX || (k->vec && t->c->jit->vec);
    }
    if (copied && insn_is_vec_move(t->fn[t->i]))
        k->vec = JIT_VEC_SSE;
    return copied && (!k->vec || t->c->jit->vec);
}

/* All flags of the result are new, but for the carry that goes in. */
static bool takes_carry(const struct jit_tr *t)
{
    return t->in.mnemonic == ZYDIS_MNEMONIC_ADC || t->in.mnemonic == ZYDIS_MNEMONIC_SBB;
}

static void use_flags(const struct jit_tr *t, struct copy *k)
{
    const ZydisAccessedFlags *f = t->in.cpu_flags;

    if (!f)
        return;
    k->reads = f->tested & ARITH_FLAGS;
    k->writes = (f->modified | f->set_0 | f->set_1 | f->undefined) & ARITH_FLAGS;
    k->flags_first = k->reads || (k->writes && !flags_are_new(t));
    /* ADC, SBB; INC, DEC */
    k->carry_first = k->writes == ARITH_FLAGS ? k->reads == RF_CF && takes_carry(t)
                                              : k->writes == (ARITH_FLAGS & ~RF_CF) && !k->reads;
}

/* BSF and BSR with 32 bits and a source of 0: what is left of the upper half is not the same on all CPUs.  Bit tests by a register
 * reach beyond their operand: copy_bit. */
static bool is_odd(const struct jit_tr *t, const struct copy *k)
{
    switch (t->in.mnemonic) {
    case ZYDIS_MNEMONIC_BSF:
    case ZYDIS_MNEMONIC_BSR:
        return t->in.operand_width != 64;
    case ZYDIS_MNEMONIC_BSWAP:
        return t->in.operand_width == 16;
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC:
        return k->mem && t->opnd[1].type != ZYDIS_OPERAND_TYPE_IMMEDIATE;
    default:
        return false;
    }
}

/* #DE; #GP where the operand is not aligned. */
static bool may_trap(ZydisMnemonic m)
{
    return m == ZYDIS_MNEMONIC_DIV || m == ZYDIS_MNEMONIC_IDIV || m == ZYDIS_MNEMONIC_CMPXCHG16B;
}

static bool plan(struct jit_tr *t, struct copy *k)
{
    const ZydisDecodedInstruction *in = &t->in;
    bool vex = in->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX;

    *k = (struct copy){ .rm = T0, .at = { T0, NO_REG, 0, 0 } };
    if (!(vex || in->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY) || !kind_of(t, k))
        return false;
    if (vex && !t->code64 && in->raw.vex.W) /* which 32-bit code ignores for general registers */
        return false;
    if (!place_operands(t, k) || is_odd(t, k))
        return false;
    if (in->attributes & ZYDIS_ATTRIB_HAS_MODRM && in->raw.modrm.mod != 3 && !k->mem)
        return false;
    if (k->mem && !k->mem_size) {
        k->mem_size = k->mem->size / 8u;
        k->mem_access = access_of(k->mem);
    }
    use_flags(t, k);
    if (k->x87 && in->raw.modrm.mod == 3)
        k->rm = in->raw.modrm.rm;
    k->traps = k->vec || k->x87 || may_trap(in->mnemonic);
    /* AH to BH cannot be named in an instruction that has a REX prefix. */
    return !(k->byte_high && (k->mem || k->byte_low || k->reg > 7 || k->rm > 7 || in->raw.rex.W));
}

static void write_prefixes(struct jit_tr *t)
{
    for (u32 i = 0; i < t->in.raw.prefix_count; i++) {
        u8 p = t->in.raw.prefixes[i].value;
        bool means = t->in.raw.prefixes[i].type != ZYDIS_PREFIX_TYPE_IGNORED;

        if (means && (p == 0x66 || p == 0xf0))
            asm_byte(&t->a, p);
    }
    for (u32 i = 0; i < t->in.raw.prefix_count; i++) { /* next to the opcode */
        if (t->in.raw.prefixes[i].type == ZYDIS_PREFIX_TYPE_MANDATORY &&
            t->in.raw.prefixes[i].value >= 0xf2)
            asm_byte(&t->a, t->in.raw.prefixes[i].value);
    }
}

/* What 64-bit code has no byte for: INC and DEC of one byte, which are REX prefixes there, and 0x82, which was 0x80. */
static bool write_legacy(struct jit_tr *t, const struct copy *k)
{
    u32 op = t->in.opcode;

    if (t->code64 || t->in.opcode_map != ZYDIS_OPCODE_MAP_DEFAULT || (op & 0xf0) != 0x40)
        return false;
    if (k->rm > 7)
        asm_byte(&t->a, 0x41);
    asm_byte(&t->a, 0xff);
    asm_byte(&t->a, 0xc0 | (op & 8) | (k->rm & 7));
    return true;
}

static void write_imm(struct jit_tr *t)
{
    for (u32 i = 0; i < 2; i++)
        for (u32 n = 0; n < t->in.raw.imm[i].size / 8u; n++)
            asm_byte(&t->a, t->bytes[t->in.raw.imm[i].offset + n]);
}

static bool has_high_index(const struct copy *k)
{
    return k->mem && k->at.index != NO_REG && k->at.index > 7;
}

static void write_operands(struct jit_tr *t, const struct copy *k, u32 reg)
{
    if (k->mem)
        asm_address(&t->a, reg, &k->at);
    else
        asm_byte(&t->a, 0xc0 | (reg & 7) << 3 | (k->rm & 7u));
}

static void write_vex(struct jit_tr *t, const struct copy *k)
{
    const ZydisDecodedInstruction *in = &t->in;
    bool modrm = in->attributes & ZYDIS_ATTRIB_HAS_MODRM;
    u32 reg = k->has_reg ? k->reg : in->raw.modrm.reg;

    asm_byte(&t->a, 0xc4);
    asm_byte(&t->a, (reg > 7 ? 0 : 0x80u) | (has_high_index(k) ? 0 : 0x40u) |
                        (modrm && k->rm > 7 ? 0 : 0x20u) | in->raw.vex.m_mmmm);
    asm_byte(&t->a, (u32)in->raw.vex.W << 7 | (~(u32)k->vvvv & 15) << 3 | (u32)in->raw.vex.L << 2 |
                        in->raw.vex.pp);
    asm_byte(&t->a, in->opcode);
    if (modrm)
        write_operands(t, k, reg);
    write_imm(t);
}

static void write_insn(struct jit_tr *t, const struct copy *k)
{
    const ZydisDecodedInstruction *in = &t->in;
    bool modrm = in->attributes & ZYDIS_ATTRIB_HAS_MODRM, in_opcode = !modrm && k->rm != T0;
    u32 reg = k->has_reg ? k->reg : modrm ? in->raw.modrm.reg : 0, rm = k->rm;
    u32 rex = (in->raw.rex.W ? 8u : 0) | (reg > 7 ? 4u : 0) | (has_high_index(k) ? 2u : 0) |
              ((modrm || in_opcode) && rm > 7 ? 1u : 0);

    if (in->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) {
        write_vex(t, k);
        return;
    }
    write_prefixes(t);
    if (write_legacy(t, k))
        return;
    if (rex || k->byte_low)
        asm_byte(&t->a, 0x40 | rex);
    if (in->opcode_map != ZYDIS_OPCODE_MAP_DEFAULT)
        asm_byte(&t->a, 0x0f);
    if (in->opcode_map == ZYDIS_OPCODE_MAP_0F38)
        asm_byte(&t->a, 0x38);
    if (in->opcode_map == ZYDIS_OPCODE_MAP_0F3A)
        asm_byte(&t->a, 0x3a);
    bool old = in->opcode == 0x82 && in->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT;
    asm_byte(&t->a, in_opcode ? (in->opcode & 0xf8u) | (rm & 7) : old ? 0x80 : in->opcode);
    if (modrm)
        write_operands(t, k, reg);
    write_imm(t);
}

static void move_temps(struct jit_tr *t, const struct copy *k, bool load)
{
    for (u32 n = 0; n < TEMPS; n++)
        if (load ? k->load[n] : k->store[n])
            asm_rm(&t->a, true, load ? OP_MOV : OP_MOV_TO, temp_host[n], CTX,
                   jit_reg_at(k->temp[n]));
}

/* LEA: the address, without what is there. */
static bool copy_lea(struct jit_tr *t)
{
    u32 g = t->op->dst / 8u, h = jit_host[g] == NO_REG ? T0 : jit_host[g];
    u32 width = t->in.operand_width;

    if (width == 16 || t->op->seg < SEG_FLAT || !jit_linear(t))
        return false;
    if (h != T0)
        asm_rr(&t->a, width == 64, OP_MOV, h, T0);
    else if (width == 32)
        asm_rr(&t->a, false, OP_MOV, T0, T0);
    if (h == T0)
        asm_rm(&t->a, true, OP_MOV_TO, T0, CTX, jit_reg_at(g));
    return true;
}

static bool is_bit_test(ZydisMnemonic m)
{
    return m == ZYDIS_MNEMONIC_BT || m == ZYDIS_MNEMONIC_BTS || m == ZYDIS_MNEMONIC_BTR ||
           m == ZYDIS_MNEMONIC_BTC;
}

/* The bit of memory that a register names, 32 or 64 of them to the step. */
static bool copy_bit(struct jit_tr *t)
{
    struct jit_asm *a = &t->a;
    bool wide = t->in.operand_width == 64;
    u32 g = t->op->src / 8u, h = jit_host[g] == NO_REG ? T1 : jit_host[g];
    struct asm_mem at = { T0, T1, wide ? 3 : 2, 0 };

    if (t->in.operand_width == 16 || t->op->asize != SIZE_64)
        return false;
    jit_flags_lose(t);
    if (!jit_linear(t))
        return false;
    if (h == T1)
        asm_rm(a, true, OP_MOV, T1, CTX, jit_reg_at(g));
    asm_rr(a, true, wide ? OP_MOV : OP_MOVSXD, T1, h);
    asm_shift(a, true, EXT_SAR, T1, wide ? 6 : 5);
    asm_rmx(a, true, OP_LEA, T0, at);
    jit_check(t, t->in.operand_width / 8u, access_of(&t->opnd[0]), RECENT_NONE, t->operand);
    if (jit_host[g] == NO_REG)
        asm_rm(a, true, OP_MOV, T1, CTX, jit_reg_at(g));
    else
        asm_mov(a, T1, h);
    asm_ri(a, false, EXT_AND, T1, wide ? 63 : 31);
    asm_mov(a, T2, T1);
    jit_flags_load(t);
    jit_touch(t, t->operand);
    if (t->in.attributes & ZYDIS_ATTRIB_HAS_LOCK)
        asm_byte(a, 0xf0);
    asm_rm(a, wide, 0x0f00u | t->in.opcode, T2, T0, 0);
    t->flags = FLAGS_IN_HOST;
    return true;
}

void jit_need_vec(struct jit_tr *t, enum jit_vec need)
{
    struct jit_cold *k = &t->cold[t->i];
    struct jit_asm *a = &t->a;

    if (t->vec >= need)
        return;
    jit_flags_lose(t);
    asm_rm(a, false, 0x80, EXT_CMP, CTX, CTX_AT(vec_live));
    asm_byte(a, need);
    k->vec_from = asm_jcc(a, CC_B);
    k->vec_back = a->at;
    k->vec_need = need;
    t->vec = need;
}

/* What the handler notes of an x87 instruction that was done (soft_fpu_note). */
static void note_x87(struct jit_tr *t, bool mem)
{
    struct jit_asm *a = &t->a;
    u32 sp = t->op->base == GPR_RSP * 8 || t->op->base == GPR_RBP * 8;

    asm_rm(a, true, OP_MOV, T1, CTX, CTX_AT(page_rip));
    asm_rm(a, t->code64, OP_LEA, T1, T1, jit_next_off(t) - t->op->len);
    asm_rm(a, true, OP_MOV_TO, T1, CTX, CTX_AT(fpu.fip));
    asm_rm(a, false, OP_MOVZX16, T1, CTX, CTX_AT(seg[SEG_CS].selector));
    asm_byte(a, 0x66);
    asm_rm(a, false, OP_MOV_TO, T1, CTX, CTX_AT(fpu.fcs));
    asm_mov_imm(a, T1, t->op->aux);
    asm_byte(a, 0x66);
    asm_rm(a, false, OP_MOV_TO, T1, CTX, CTX_AT(fpu.fop));
    if (!mem)
        return;
    must(jit_linear(t)); /* as before: T0 */
    asm_rm(a, true, OP_MOV_TO, T0, CTX, CTX_AT(fpu.fdp));
    asm_rm(a, false, OP_MOVZX16, T1, CTX,
           sp ? CTX_AT(seg[SEG_SS].selector) : CTX_AT(seg[SEG_DS].selector));
    asm_byte(a, 0x66);
    asm_rm(a, false, OP_MOV_TO, T1, CTX, CTX_AT(fpu.fds));
}

static void need_x87(struct jit_tr *t)
{
    jit_flags_lose(t);
    asm_rm(&t->a, false, 0x80, EXT_CMP, CTX, CTX_AT(x87_ok));
    asm_byte(&t->a, 0);
    jit_slow_if(t, CC_Z);
}

/* `k` without what it may lack: T0 is its operand, the flags are where it wants them. */
static void write_copy(struct jit_tr *t, const struct copy *k)
{
    if (k->carry_first)
        jit_carry_load(t);
    else if (k->flags_first)
        jit_flags_load(t);
    move_temps(t, k, true);
    if (k->mem)
        jit_touch(t, t->operand);
    if (k->traps && !(k->mem && t->operand))
        jit_may_trap(t);
    write_insn(t, k);
    if (k->writes)
        t->flags = FLAGS_IN_HOST;
    move_temps(t, k, false);
    if (k->x87)
        note_x87(t, k->mem);
}

bool jit_copy(struct jit_tr *t)
{
    struct copy k = {};

    if (t->in.mnemonic == ZYDIS_MNEMONIC_LEA)
        return copy_lea(t);
    if (t->fn[t->i] == soft_op_nop)
        return true;
    if (is_bit_test(t->in.mnemonic) && t->opnd[0].type == ZYDIS_OPERAND_TYPE_MEMORY &&
        t->opnd[1].type == ZYDIS_OPERAND_TYPE_REGISTER)
        return copy_bit(t);
    if (!plan(t, &k))
        return false;
    if (k.vec)
        jit_need_vec(t, k.vec);
    if (k.x87)
        need_x87(t);
    if (k.mem) {
        if (!jit_operand(t, k.mem_size, k.mem_access, &k.at))
            return false;
        k.rm = k.at.base;
    }
    write_copy(t, &k);
    return true;
}

bool jit_copied(struct jit_tr *t, struct jit_copied *ret)
{
    struct copy k;

    *ret = (struct jit_copied){};
    if (t->fn[t->i] == soft_op_ud)
        return false;
    if (t->fn[t->i] == soft_op_nop)
        return true;
    if (t->in.mnemonic == ZYDIS_MNEMONIC_LEA)
        return t->in.operand_width != 16 && t->op->seg >= SEG_FLAT && t->op->asize == SIZE_64 &&
               t->op->base < REG_RIP;
    if (!plan(t, &k) || k.x87 || (k.mem && t->op->seg < SEG_FLAT))
        return false;
    *ret = (struct jit_copied){
        .size = k.mem ? k.mem_size : 0,
        .access = k.mem_access,
        .vec = k.vec,
        .traps = k.traps,
        .new_flags = k.writes == ARITH_FLAGS && !k.flags_first,
    };
    return true;
}

u32 jit_copy_at(struct jit_tr *t, struct asm_mem at)
{
    struct copy k;
    u32 insn_at;

    if (t->fn[t->i] == soft_op_nop)
        return 0;
    if (t->in.mnemonic == ZYDIS_MNEMONIC_LEA) {
        must(copy_lea(t));
        return 0;
    }
    must(plan(t, &k));
    k.at = at;
    if (k.mem)
        k.rm = at.base == NO_REG ? 0 : at.base;
    move_temps(t, &k, true);
    insn_at = t->a.at;
    if (k.mem && t->operand == WINDOW_HIGH)
        asm_byte(&t->a, PREFIX_GS);
    write_insn(t, &k);
    move_temps(t, &k, false);
    return k.traps || (k.mem && t->operand) ? insn_at : 0;
}
