/*
 * cpu/soft/stub_emit.c: writes the machine code of stubs: one guest instruction between loads and stores of what it uses.
 * (Intel SDM volume 2, chapters 2 and 3; AMD APM volume 3, chapter 1)
 */
#include "cpu/soft/stub.h"

enum {
    RAX = 0,
    RSP = 4,
    RSI = 6,
    RDI = 7,
    CALLEE_SAVED = 1 << 3 | 1 << 5 | 0xf000, /* RBX, RBP, R12 to R15 */
};

/* --- the guest's instruction, for 64-bit mode --- */

struct form {
    bool osize, rex_w, rex_any, vex, mem;
    u8 rep; /* 0, 0xf2, 0xf3 */
    u8 map; /* ZydisOpcodeMap */
    u8 opcode, modrm;
    bool has_modrm;
    u8 reg, rm, vvvv; /* register numbers, 0 to 15 */
    u8 vex_l, vex_pp;
    u8 imm[8];
    u8 n_imm;
};

static void form_imm(struct form *f, const struct emit *m)
{
    for (u32 i = 0; i < 2; i++) {
        u32 n = m->in->raw.imm[i].size / 8;
        memcpy(f->imm + f->n_imm, m->bytes + m->in->raw.imm[i].offset, min(n, 8u - f->n_imm));
        f->n_imm = (u8)(f->n_imm + n);
    }
}

static void form_prefixes(struct form *f, const struct emit *m)
{
    const ZydisDecodedInstruction *in = m->in;
    bool osize_must = false;

    for (u32 i = 0; i < in->raw.prefix_count; i++) {
        u8 p = in->raw.prefixes[i].value;
        bool must_have = in->raw.prefixes[i].type == ZYDIS_PREFIX_TYPE_MANDATORY;

        if (p == 0x66)
            osize_must |= must_have;
        else if ((p == 0xf2 || p == 0xf3) && must_have)
            f->rep = p;
    }
    f->osize = osize_must;
}

/* VEX as written; what 16- and 32-bit code ignores is made harmless. */
static void form_vex(struct form *f, const struct emit *m)
{
    const u8 *b = m->bytes + m->in->raw.vex.offset;
    bool code64 = (m->key & KEY_SIZE) == SIZE_64;
    u8 last = b[0] == 0xc5 ? b[1] : b[2];

    f->vex = true;
    f->reg |= b[1] & 0x80 || !code64 ? 0 : 8;
    f->map = b[0] == 0xc5 ? 1 : b[1] & 0x1f;
    if (b[0] == 0xc4) {
        f->rm |= b[1] & 0x20 || !code64 ? 0 : 8;
        f->rex_w = last & 0x80;
    }
    f->vvvv = (u8)((~last >> 3) & (code64 ? 15 : 7));
    f->vex_l = (last >> 2) & 1;
    f->vex_pp = last & 3;
}

static bool is_rsp(ZydisRegister r)
{
    return ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, r) == ZYDIS_REGISTER_RSP;
}

/* The guest's RSP lives in another register: puts that one's number where the operand's is. */
static void form_operands(struct form *f, const struct emit *m, const struct stub_regs *regs)
{
    for (u32 i = 0; i < m->in->operand_count; i++) {
        const ZydisDecodedOperand *o = &m->opnd[i];

        if (o->encoding == ZYDIS_OPERAND_ENCODING_IS4 && (m->key & KEY_SIZE) != SIZE_64)
            f->imm[0] &= 0x7f;
        if (o->type != ZYDIS_OPERAND_TYPE_REGISTER || !is_rsp(o->reg.value))
            continue;

        if (o->encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG)
            f->reg = regs->sp;
        else if (o->encoding == ZYDIS_OPERAND_ENCODING_NDSNDD)
            f->vvvv = regs->sp;
        else if (o->encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM ||
                 o->encoding == ZYDIS_OPERAND_ENCODING_OPCODE)
            f->rm = regs->sp;
    }
}

static bool form_of(struct form *f, const struct emit *m, const struct stub_regs *regs)
{
    const ZydisDecodedInstruction *in = m->in;

    if (in->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
        in->encoding != ZYDIS_INSTRUCTION_ENCODING_VEX)
        return false;

    f->map = (u8)in->opcode_map;
    f->opcode = in->opcode;
    f->has_modrm = in->attributes & ZYDIS_ATTRIB_HAS_MODRM;
    f->modrm = (u8)(in->raw.modrm.mod << 6 | in->raw.modrm.reg << 3 | in->raw.modrm.rm);
    f->mem = f->has_modrm && in->raw.modrm.mod != 3;
    f->reg = in->raw.modrm.reg;
    f->rm = f->has_modrm ? in->raw.modrm.rm : in->opcode & 7;
    form_prefixes(f, m);
    form_imm(f, m);
    if (in->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) {
        f->osize = false;
        f->rep = 0;
        form_vex(f, m);
    } else if (in->attributes & ZYDIS_ATTRIB_HAS_REX) {
        f->rex_any = true;
        f->rex_w = in->raw.rex.W;
        f->reg |= in->raw.rex.R ? 8 : 0;
        f->rm |= in->raw.rex.B ? 8 : 0;
    }
    form_operands(f, m, regs);
    if (f->mem)
        f->rm = regs->mem;
    return f->n_imm <= sizeof(f->imm);
}

static void put(struct stub_insn *s, u32 byte)
{
    s->bytes[s->n++] = (u8)byte;
}

static void form_write_legacy(const struct form *f, struct stub_insn *s)
{
    bool reg_op = f->has_modrm || f->rm > 7;
    u32 rex = (f->rex_w ? 8u : 0) | (f->has_modrm && f->reg > 7 ? 4u : 0) |
              (reg_op && f->rm > 7 ? 1u : 0);

    if (f->osize)
        put(s, 0x66);
    if (f->rep)
        put(s, f->rep);
    if (rex || f->rex_any)
        put(s, 0x40 | rex);
    if (f->map != ZYDIS_OPCODE_MAP_DEFAULT)
        put(s, 0x0f);
    if (f->map == ZYDIS_OPCODE_MAP_0F38)
        put(s, 0x38);
    else if (f->map == ZYDIS_OPCODE_MAP_0F3A)
        put(s, 0x3a);
}

static void form_write(const struct form *f, struct stub_insn *s)
{
    s->n = 0;
    if (f->vex) {
        put(s, 0xc4);
        put(s, (f->reg > 7 ? 0 : 0x80u) | 0x40 | (f->rm > 7 ? 0 : 0x20u) | f->map);
        put(s, (f->rex_w ? 0x80u : 0) | (u32)(~f->vvvv & 15) << 3 | (u32)f->vex_l << 2 | f->vex_pp);
    } else {
        form_write_legacy(f, s);
    }
    put(s, f->has_modrm ? f->opcode : (f->opcode & 0xf8u) | (f->rm & 7u));
    if (f->has_modrm)
        put(s, (f->mem ? 0 : 0xc0u) | (f->reg & 7u) << 3 | (f->rm & 7u));
    for (u32 i = 0; i < f->n_imm; i++)
        put(s, f->imm[i]);
}

static bool same_operand(const ZydisDecodedOperand *a, const ZydisDecodedOperand *b,
                         const struct stub_regs *regs)
{
    if (a->type != b->type)
        return false;
    if (a->type == ZYDIS_OPERAND_TYPE_MEMORY)
        return a->mem.base == ZYDIS_REGISTER_RAX + regs->mem &&
               a->mem.index == ZYDIS_REGISTER_NONE && a->mem.disp.value == 0 &&
               a->mem.type == ZYDIS_MEMOP_TYPE_MEM && a->size == b->size;
    if (a->type != ZYDIS_OPERAND_TYPE_REGISTER ||
        ZydisRegisterGetClass(a->reg.value) == ZYDIS_REGCLASS_FLAGS)
        return true;
    if (b->size == 0) /* RAX and RDX of VPCMPESTRI outside 64-bit code, where VEX.W is ignored */
        return a->size == 32;
    return a->size == b->size && (a->reg.value == b->reg.value || is_rsp(b->reg.value));
}

/* Does what was written mean the same to the host?  Also the last word on what a stub may touch. */
static bool form_same(const struct stub_cache *sc, const struct emit *m,
                      const struct stub_regs *regs, const struct stub_insn *s)
{
    ZydisDecodedInstruction in;
    ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];

    if (ZYAN_FAILED(ZydisDecoderDecodeFull(&sc->decoder, s->bytes, s->n, &in, o)) ||
        in.length != s->n || in.mnemonic != m->in->mnemonic ||
        in.operand_count != m->in->operand_count)
        return false;
    for (u32 i = 0; i < in.operand_count; i++) {
        if (!same_operand(&o[i], &m->opnd[i], regs))
            return false;
    }
    return true;
}

bool stub_encode(const struct stub_cache *sc, const struct emit *m, const struct stub_regs *regs,
                 struct stub_insn *ret)
{
    bool legacy16 =
        m->in->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY && m->in->operand_width == 16;
    bool code64 = (m->key & KEY_SIZE) == SIZE_64;
    struct form f = {};

    if (!form_of(&f, m, regs))
        return false;
    form_write(&f, ret);
    if (form_same(sc, m, regs, ret))
        return true;
    if (legacy16) /* 16-bit operands: of the code, or by a prefix */
        f.osize = true;
    else if (f.vex && !code64) /* there VEX.W does not make a general register one of 64 bits */
        f.rex_w = false;
    else
        return false;
    form_write(&f, ret);
    return form_same(sc, m, regs, ret);
}

/* --- the stub around it --- */

struct code {
    u8 *p;
    u32 n;
    const struct stub_regs *regs;
};

static void byte(struct code *a, u32 b)
{
    must(a->n < STUB_CODE_MAX);
    a->p[a->n++] = (u8)b;
}

/* The low `n` bytes of `v`. */
static void bytes(struct code *a, u32 n, u32 v)
{
    for (u32 i = 0; i < n; i++)
        byte(a, v >> 8 * i);
}

/* ModRM and displacement of [ctx + at]. */
static void at_ctx(struct code *a, u32 reg, size_t at)
{
    byte(a, 0x80 | (reg & 7) << 3 | (a->regs->ctx & 7u));
    if ((a->regs->ctx & 7) == RSP)
        byte(a, 0x24);
    bytes(a, 4, (u32)at);
}

/* `op` is an opcode of one byte, or of two when it begins with 0x0f; `w` is REX.W. */
static void op_ctx(struct code *a, bool w, u32 op, u32 reg, size_t at)
{
    u32 rex = (w ? 8u : 0) | (reg > 7 ? 4u : 0) | (a->regs->ctx > 7 ? 1u : 0);

    if (rex)
        byte(a, 0x40 | rex);
    if (op > 0xff)
        byte(a, op >> 8);
    byte(a, op);
    at_ctx(a, reg, at);
}

static void mov_reg(struct code *a, u32 to, u32 from)
{
    byte(a, 0x48 | (from > 7 ? 4u : 0) | (to > 7 ? 1u : 0));
    byte(a, 0x89);
    byte(a, 0xc0 | (from & 7) << 3 | (to & 7));
}

static void push_pop(struct code *a, u32 saved)
{
    for (u32 r = 0; r < 16; r++) {
        if (!(saved & 1u << r))
            continue;
        if (r > 7)
            byte(a, 0x41);
        byte(a, 0x50 | (r & 7));
    }
}

static void pop_saved(struct code *a, u32 saved)
{
    for (u32 r = 16; r-- > 0;) {
        if (!(saved & 1u << r))
            continue;
        if (r > 7)
            byte(a, 0x41);
        byte(a, 0x58 | (r & 7));
    }
}

/* op: 0x10 loads, 0x11 stores. */
static void move_vecs(struct code *a, const struct stub_use *use, u32 which, u32 op)
{
    for (u32 r = 0; r < 16; r++) {
        size_t at = offsetof(struct soft_cpu, fpu.ymm) + 32 * r;

        if (!(which & 1u << r))
            continue;
        if (!use->vex) {
            op_ctx(a, false, 0x0f00 | op, r, at);
            continue;
        }
        byte(a, 0xc4); /* VMOVUPS, 256 bits */
        byte(a, (r > 7 ? 0 : 0x80u) | 0x40 | (a->regs->ctx > 7 ? 0 : 0x20u) | 1);
        byte(a, 0x7c);
        byte(a, op);
        at_ctx(a, r, at);
    }
}

/* op: 0x8b loads, 0x89 stores. */
static void move_gprs(struct code *a, u32 which, u32 op)
{
    for (u32 r = 0; r < 16; r++) {
        if (which & 1u << r)
            op_ctx(a, true, op, r == RSP ? a->regs->sp : r, offsetof(struct soft_cpu, reg) + 8 * r);
    }
}

static void enter(struct code *a, const struct stub_use *use, u32 saved, bool mem)
{
    bytes(a, 4, 0xfa1e0ff3); /* ENDBR64 */
    push_pop(a, saved);
    mov_reg(a, a->regs->ctx, RDI);
    if (mem && a->regs->mem != RSI)
        mov_reg(a, a->regs->mem, RSI);
    if (use->flags_in || use->flags_out) {
        op_ctx(a, false, 0x8b, RAX, offsetof(struct soft_cpu, fl));
        bytes(a, 3, 0x9e7f04); /* ADD AL, 0x7f: OF; SAHF: the others */
    }
    move_gprs(a, use->gpr, 0x8b);
    move_vecs(a, use, use->vec_in, 0x10);
}

static void store_results(struct code *a, const struct stub_use *use)
{
    move_vecs(a, use, use->vec_out, 0x11);
    move_gprs(a, use->gpr_out, 0x89);
    if (use->flags_out) {
        bytes(a, 4, 0xc0900f9f); /* LAHF; SETO AL */
        byte(a, 0x66);
        op_ctx(a, false, 0x89, RAX, offsetof(struct soft_cpu, fl));
    }
}

u32 stub_emit(struct stub *s, const struct stub_use *use, const struct stub_regs *regs,
              const struct stub_insn *in, u8 *out)
{
    u32 own = 1u << regs->ctx | (s->size ? 1u << regs->mem : 0) | (use->sp ? 1u << regs->sp : 0);
    u32 saved = (use->gpr | own) & CALLEE_SAVED;
    struct code a = { out, 0, regs };

    enter(&a, use, saved, s->size);
    s->fault_at = s->at + a.n;
    for (u32 i = 0; i < in->n; i++)
        byte(&a, in->bytes[i]);
    store_results(&a, use);
    bytes(&a, 2, 0xc031);    /* XOR EAX, EAX */
    s->pad_at = s->at + a.n; /* EAX is the vector, or 0 */
    if (use->vex)
        bytes(&a, 3, 0x77f8c5); /* VZEROUPPER */
    pop_saved(&a, saved);
    byte(&a, 0xc3);
    return a.n;
}
