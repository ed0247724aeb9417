/*
 * cpu/soft/diff_gen.c: random instructions for the comparison with the host's CPU, and states to run them in.
 */
#include "cpu/soft/diff.h"
#include "cpu/soft/fpu.h"
#include "cpu/soft/insn.h"

#include <stdio.h>

enum {
    MARGIN = 128,
    MIDDLE = ORACLE_DATA_SIZE / 2,
};

/* xorshift64*, as testlib's, which a fuzz target does not link. */
static u64 rnd(u64 *s)
{
    *s ^= *s >> 12;
    *s ^= *s << 25;
    *s ^= *s >> 27;
    return *s * 0x2545f4914f6cdd1dull;
}

static u32 below(u64 *s, u32 n)
{
    return (u32)(rnd(s) >> 33) % n;
}

/* --- values --- */

static u64 value(u64 *s)
{
    static const u64 corners[] = {
        0,
        1,
        2,
        0x7f,
        0x80,
        0xff,
        0x7fff,
        0x8000,
        0xffff,
        0x7fffffff,
        0x80000000,
        0xffffffff,
        0x7fffffffffffffff,
        0x8000000000000000,
        ~0ull,
        ~0ull - 1,
        0x5555555555555555,
    };

    switch (below(s, 4)) {
    case 0:
        return corners[below(s, ARRAY_LEN(corners))];
    case 1:
        return below(s, 256);
    default:
        return rnd(s);
    }
}

/* Floating-point values of interest, beside any bits. */
static u64 float_bits(u64 *s)
{
    static const u64 corners[] = {
        0,
        0x8000000000000000,
        0x3ff0000000000000,
        0xbff0000000000000,
        0x7ff0000000000000,
        0xfff0000000000000,
        0x7ff8000000000000,
        0x7ff0000000000001,
        0x0000000000000001,
        0x000fffffffffffff,
        0x7fefffffffffffff,
        0x3f8000003f800000,
        0xbf80000040000000,
        0x7f8000007fc00000,
        0x0000000100800000,
        0x7f800001ff800000,
        0x4000000000000000,
        0x43e0000000000000,
        0x41dfffffffc00000,
        0x3c003c007c007e00,
    };

    switch (below(s, 4)) {
    case 0:
        return rnd(s);
    case 1:
        return value(s);
    default:
        return corners[below(s, ARRAY_LEN(corners))];
    }
}

static void fill(u64 *s, u8 *p, u32 n)
{
    for (u32 i = 0; i + 8 <= n; i += 8) {
        u64 v = float_bits(s);
        memcpy(p + i, &v, 8);
    }
}

static void fill_x87(u64 *s, u8 *image)
{
    static const u16 exponents[] = { 0,      1,      0x3fff, 0x3ffe, 0x4000, 0x403e,
                                     0x7ffe, 0x7fff, 0xbfff, 0xffff, 0x8000 };
    u16 fcw = below(s, 4) ? 0x37f : (u16)(rnd(s) & 0xf3f) | 0x40, fsw = (u16)(rnd(s) & 0x7f00);

    if (below(s, 8) == 0)
        fsw |= (u16)(rnd(s) & 0x3f);
    if (fsw & ~fcw & 0x3f)
        fsw |= 0x8080;
    memcpy(image, &fcw, 2);
    memcpy(image + 2, &fsw, 2);
    image[4] = below(s, 2) ? 0xff : (u8)rnd(s);
    for (u32 i = 0; i < 8; i++) {
        u16 e = below(s, 2) ? exponents[below(s, ARRAY_LEN(exponents))] : (u16)rnd(s);
        u64 m = float_bits(s) | (below(s, 8) ? 1ull << 63 : 0);
        memcpy(image + 32 + 16 * i, &m, 8);
        memcpy(image + 40 + 16 * i, &e, 2);
    }
}

static void fill_state(u64 *s, struct oracle_test *t)
{
    u64 bv = XCR0_X87 | XCR0_SSE | XCR0_AVX;
    u32 mxcsr = below(s, 4) ? MXCSR_INIT : (u32)rnd(s) & 0xffff;

    memset(&t->in, 0, sizeof(t->in));
    for (u32 i = 0; i < 16; i++)
        t->in.reg[i] = t->bits == 64 ? value(s) : (u32)value(s);
    t->in.rflags = (u32)rnd(s) & 0x8d5;
    if (below(s, 8) == 0)
        t->in.rflags |= RF_DF;
    fill_x87(s, t->in.xsave);
    if (below(s, 4) == 0)
        mxcsr |= 0x1f80;
    memcpy(t->in.xsave + 24, &mxcsr, 4);
    fill(s, t->in.xsave + 160, 256);
    fill(s, t->in.xsave + 576, 256);
    memcpy(t->in.xsave + 512, &bv, 8);
    t->in.rip = (t->bits == 16 ? 0 : ORACLE_CODE) + 0x800;
}

/* --- bytes --- */

static u32 prefixes(u64 *s, u32 bits, u8 *p)
{
    static const u8 some[] = { 0x66, 0xf2, 0xf3, 0x66, 0xf2, 0xf3, 0xf0, 0x67, 0x2e, 0x36 };
    u32 n = 0;

    for (u32 k = below(s, 4); k > 1; k--)
        p[n++] = some[below(s, below(s, 3) ? 6 : ARRAY_LEN(some))];
    if (bits == 64 && below(s, 2))
        p[n++] = 0x40 | (u8)below(s, 16);
    return n;
}

static u32 vex(u64 *s, u32 bits, u8 *p)
{
    if (below(s, 2)) {
        p[0] = 0xc5;
        p[1] = (u8)rnd(s) | (bits == 64 ? 0 : 0xc0);
        if (below(s, 2))
            p[1] |= 0x78;
        return 2;
    }
    p[0] = 0xc4;
    p[1] = (u8)(rnd(s) & 0xe0) | (u8)(1 + below(s, 3)) | (bits == 64 ? 0 : 0xc0);
    p[2] = (u8)rnd(s);
    if (below(s, 2))
        p[2] |= 0x78;
    return 3;
}

static u32 random_bytes(u64 *s, u32 bits, u8 *p)
{
    u32 n = 0, kind = below(s, 8);

    if (kind >= 5) {
        n = vex(s, bits, p);
    } else {
        n = prefixes(s, bits, p);
        if (kind > 0)
            p[n++] = 0x0f;
        if (kind > 2)
            p[n++] = kind == 3 ? 0x38 : 0x3a;
    }
    if (kind == 0 && below(s, 3) == 0)
        p[n++] = 0xd8 | (u8)below(s, 8); /* x87 */
    while (n < 15)
        p[n++] = (u8)rnd(s);
    return n;
}

/* --- what may run natively --- */

static bool banned(const ZydisDecodedInstruction *in)
{
    static const u16 categories[] = {
        ZYDIS_CATEGORY_SYSCALL,   ZYDIS_CATEGORY_SYSRET, ZYDIS_CATEGORY_SYSTEM,
        ZYDIS_CATEGORY_INTERRUPT, ZYDIS_CATEGORY_IO,     ZYDIS_CATEGORY_IOSTRINGOP,
        ZYDIS_CATEGORY_RDWRFSGS,  ZYDIS_CATEGORY_RDPID,  ZYDIS_CATEGORY_RDRAND,
        ZYDIS_CATEGORY_RDSEED,    ZYDIS_CATEGORY_PKU,    ZYDIS_CATEGORY_SEGOP,
        ZYDIS_CATEGORY_CET,       ZYDIS_CATEGORY_MPX,    ZYDIS_CATEGORY_VTX,
        ZYDIS_CATEGORY_SGX,       ZYDIS_CATEGORY_RDPRU,  ZYDIS_CATEGORY_WAITPKG,
        ZYDIS_CATEGORY_CLZERO,    ZYDIS_CATEGORY_UINTR,  ZYDIS_CATEGORY_SMAP,
        ZYDIS_CATEGORY_AMX_TILE,  ZYDIS_CATEGORY_MOVDIR, ZYDIS_CATEGORY_PADLOCK,
        ZYDIS_CATEGORY_INVALID,
    };
    static const u16 sets[] = {
        ZYDIS_ISA_SET_I286PROTECTED, ZYDIS_ISA_SET_MONITOR,   ZYDIS_ISA_SET_MONITORX,
        ZYDIS_ISA_SET_SVM,           ZYDIS_ISA_SET_RTM,       ZYDIS_ISA_SET_RDTSCP,
        ZYDIS_ISA_SET_TBM,           ZYDIS_ISA_SET_XOP,       ZYDIS_ISA_SET_FMA4,
        ZYDIS_ISA_SET_LWP,           ZYDIS_ISA_SET_AMD3DNOW,  ZYDIS_ISA_SET_SNP,
        ZYDIS_ISA_SET_AVX_VNNI,      ZYDIS_ISA_SET_SERIALIZE, ZYDIS_ISA_SET_MCOMMIT,
        ZYDIS_ISA_SET_INVPCID,       ZYDIS_ISA_SET_KEYLOCKER, ZYDIS_ISA_SET_ENQCMD,
    };
    static const u16 mnemonics[] = {
        ZYDIS_MNEMONIC_XSAVES,    ZYDIS_MNEMONIC_XSAVES64, ZYDIS_MNEMONIC_XRSTORS,
        ZYDIS_MNEMONIC_XRSTORS64, ZYDIS_MNEMONIC_XSETBV,   ZYDIS_MNEMONIC_CPUID,
        ZYDIS_MNEMONIC_RDTSC,     ZYDIS_MNEMONIC_XGETBV,   ZYDIS_MNEMONIC_RDPMC,
    };

    if (in->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
        in->encoding != ZYDIS_INSTRUCTION_ENCODING_VEX)
        return true;
    if (in->meta.isa_ext == ZYDIS_ISA_EXT_AVX512VEX) /* masks: no model of ours has them */
        return true;
    if (in->mnemonic == ZYDIS_MNEMONIC_BOUND || in->mnemonic == ZYDIS_MNEMONIC_INTO)
        return false;
    for_each_row(k, categories) {
        if (*k == in->meta.category)
            return true;
    }
    for_each_row(k, sets) {
        if (*k == in->meta.isa_set)
            return true;
    }
    for_each_row(m, mnemonics) {
        if (*m == in->mnemonic)
            return true;
    }
    const struct insn_row *row = insn_row_of(in->mnemonic);
    return in->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR || (row && (row->flags & INSN_NO_FUZZ));
}

static bool segment_ok(ZydisRegister r, u32 bits)
{
    return r != ZYDIS_REGISTER_FS && r != ZYDIS_REGISTER_GS &&
           !(bits == 16 && r == ZYDIS_REGISTER_CS);
}

/* Segment, control and debug registers are the host's; FS is its thread pointer. */
static bool operands_ok(const struct diff_insn *di, u32 bits)
{
    for (u32 i = 0; i < di->in.operand_count; i++) {
        const ZydisDecodedOperand *o = &di->o[i];

        if (o->type == ZYDIS_OPERAND_TYPE_POINTER)
            return false;
        if (o->type == ZYDIS_OPERAND_TYPE_MEMORY && !segment_ok(o->mem.segment, bits))
            return false;
        if (o->type != ZYDIS_OPERAND_TYPE_REGISTER)
            continue;
        switch (ZydisRegisterGetClass(o->reg.value)) {
        case ZYDIS_REGCLASS_SEGMENT:
        case ZYDIS_REGCLASS_CONTROL:
        case ZYDIS_REGCLASS_DEBUG:
        case ZYDIS_REGCLASS_TEST:
            return false;
        default:
            break;
        }
    }
    return true;
}

/* --- operands in memory --- */

/* Stands for all that is no general register. */
static u64 other_register;

static u64 *reg_of(struct oracle_test *t, ZydisRegister r)
{
    if (ZydisRegisterGetClass(r) < ZYDIS_REGCLASS_GPR8 ||
        ZydisRegisterGetClass(r) > ZYDIS_REGCLASS_GPR64)
        return &other_register;
    return &t->in.reg[ZydisRegisterGetId(
                          ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, r)) &
                      15];
}

/* Where the operand is to be: mostly in the middle of a page, sometimes across one, or over the end. */
static u64 place(u64 *s, u32 bits)
{
    u64 base = bits == 16 ? 0 : ORACLE_DATA;

    switch (below(s, 16)) {
    case 0:
        return base + MIDDLE - below(s, 40);
    case 1:
        return base + ORACLE_DATA_SIZE - below(s, 40);
    case 2:
    case 3:
        return base + MARGIN + below(s, 1024);
    default:
        return base + MARGIN + 64 * below(s, 16);
    }
}

static void set_sized(u64 *reg, u32 bits, u64 v)
{
    *reg = bits == 64 ? v : bits == 32 ? (u32)v : (*reg & ~0xffffull) | (u16)v;
}

static bool patch_displacement(struct oracle_test *t, const ZydisDecodedInstruction *in, u64 v)
{
    if (in->raw.disp.size < 32 && !(in->raw.disp.size == 16 && t->bits == 16))
        return false;
    memcpy(t->code + in->raw.disp.offset, &v, in->raw.disp.size / 8);
    return true;
}

/* Index registers of gathers get small values. */
static void small_indices(u64 *s, struct oracle_test *t, ZydisRegister r, u32 wide)
{
    u32 n = (u32)ZydisRegisterGetId(r) & 15;

    for (u32 half = 0; half < 2; half++) {
        for (u32 i = 0; i < 16; i += wide) {
            s64 v = (s64)below(s, 512) - 256;
            memcpy(t->in.xsave + (half ? 576 : 160) + 16 * n + i, &v, wide);
        }
    }
}

static bool aim(u64 *s, struct oracle_test *t, const struct diff_insn *di,
                const ZydisDecodedOperand *o)
{
    u64 at = place(s, t->bits), disp = (u64)o->mem.disp.value;
    ZydisRegister base = o->mem.base, index = o->mem.index;
    u32 bits = di->in.address_width;

    /* Zydis 4.0 forgets this rule when there are both a 67 prefix and REX.B. */
    if ((di->in.attributes & ZYDIS_ATTRIB_HAS_SIB) && di->in.raw.modrm.mod == 0 &&
        di->in.raw.sib.base == 5) {
        base = ZYDIS_REGISTER_NONE;
        disp = (u64)di->in.raw.disp.value;
    }
    if (base == ZYDIS_REGISTER_RIP || base == ZYDIS_REGISTER_EIP)
        return patch_displacement(t, &di->in, at - (t->in.rip + di->in.length));
    if (o->mem.type == ZYDIS_MEMOP_TYPE_VSIB) {
        if (base == ZYDIS_REGISTER_NONE)
            return false;
        small_indices(s, t, index,
                      di->in.raw.modrm.offset && (t->code[di->in.raw.modrm.offset - 1] & 1) ? 8
                                                                                            : 4);
        set_sized(reg_of(t, base), bits, ORACLE_DATA + MIDDLE - disp);
        return true;
    }
    if (base == ZYDIS_REGISTER_NONE && index == ZYDIS_REGISTER_NONE)
        return patch_displacement(t, &di->in, at);
    if (index == ZYDIS_REGISTER_NONE) {
        set_sized(reg_of(t, base), bits, at - disp);
        return true;
    }
    if (base == ZYDIS_REGISTER_NONE) {
        set_sized(reg_of(t, index), bits, (at - disp) / o->mem.scale);
        return true;
    }
    if (base == index) {
        set_sized(reg_of(t, index), bits, (at - disp) / (1u + o->mem.scale));
        return true;
    }
    u64 by = below(s, 64);
    set_sized(reg_of(t, index), bits, by);
    set_sized(reg_of(t, base), bits, at - disp - by * o->mem.scale);
    return true;
}

/* Strings, stack and XLAT find their registers good; the count of a repetition is small. */
static void aim_defaults(u64 *s, struct oracle_test *t)
{
    u64 base = t->bits == 16 ? 0 : ORACLE_DATA;

    t->in.reg[GPR_RSP] = base + MIDDLE - 64 * below(s, 8) + (below(s, 8) ? 0 : below(s, 16));
    t->in.reg[GPR_RBP] = base + MIDDLE - 64 * below(s, 8); /* ENTER reads there */
    t->in.reg[GPR_RSI] = place(s, t->bits);
    t->in.reg[GPR_RDI] = place(s, t->bits);
}

static bool aim_operands(u64 *s, struct oracle_test *t, const struct diff_insn *di)
{
    for (u32 i = 0; i < di->in.operand_count; i++) {
        const ZydisDecodedOperand *o = &di->o[i];
        if (o->type != ZYDIS_OPERAND_TYPE_MEMORY || o->mem.type == ZYDIS_MEMOP_TYPE_AGEN)
            continue;
        if (!aim(s, t, di, o))
            return false;
    }
    return true;
}

/* BT m, r reaches as far as its register says.  False: that is a part of the address too. */
static bool small_bit_offset(u64 *s, struct oracle_test *t, const struct diff_insn *di)
{
    const ZydisDecodedOperand *mem = &di->o[0], *reg = &di->o[1];

    switch (di->in.mnemonic) {
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC:
        if (mem->type != ZYDIS_OPERAND_TYPE_MEMORY || reg->type != ZYDIS_OPERAND_TYPE_REGISTER)
            return true;
        *reg_of(t, reg->reg.value) = (u64)((s64)below(s, 2048) - 1024);
        return reg_of(t, reg->reg.value) != reg_of(t, mem->mem.base) &&
               reg_of(t, reg->reg.value) != reg_of(t, mem->mem.index);
    default:
        return true;
    }
}

/* XSAVE and XRSTOR: components both sides have, and mostly a good header.  False: their register is a part of the address. */
static bool tame_xsave(u64 *s, struct oracle_test *t, const struct diff_insn *di)
{
    const u64 *base = reg_of(t, di->o[0].mem.base), *index = reg_of(t, di->o[0].mem.index);

    if (di->in.meta.category != ZYDIS_CATEGORY_XSAVE &&
        di->in.meta.category != ZYDIS_CATEGORY_XSAVEOPT)
        return true;
    if (base == &t->in.reg[GPR_RAX] || base == &t->in.reg[GPR_RDX] ||
        index == &t->in.reg[GPR_RAX] || index == &t->in.reg[GPR_RDX])
        return false;
    t->in.reg[GPR_RAX] = below(s, 8);
    t->in.reg[GPR_RDX] = 0;
    for (u32 at = 0; at + 832 <= ORACLE_DATA_SIZE; at += 64) {
        u64 head[8] = { below(s, 8) }, mxcsr = rnd(s) & 0xffff;

        if (below(s, 2))
            head[1] = 1ull << 63 | head[0] | below(s, 8);
        if (below(s, 8) == 0)
            head[below(s, 8)] |= 1ull << below(s, 64);
        if (below(s, 64) == 0)
            mxcsr |= 1 << 20;
        memcpy(t->data + at, head, 16); /* any multiple of 64 may be the header … */
        memset(t->data + at + 16, 0, 48);
        memcpy(t->data + at + 24, &mxcsr, 4); /* … or the beginning */
    }
    return true;
}

static bool is_string(const ZydisDecodedInstruction *in)
{
    return in->meta.category == ZYDIS_CATEGORY_STRINGOP;
}

bool diff_prepare(u64 *seed, u32 bits, const u8 *bytes, u32 n, struct oracle_test *t,
                  struct diff_insn *ret)
{
    static const struct {
        ZydisMachineMode mode;
        ZydisStackWidth stack;
    } modes[] = { { ZYDIS_MACHINE_MODE_LONG_COMPAT_16, ZYDIS_STACK_WIDTH_16 },
                  { ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32 },
                  { ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64 } };
    u32 k = bits == 64 ? 2 : bits == 32 ? 1 : 0;
    ZydisDecoder d;

    ZydisDecoderInit(&d, modes[k].mode, modes[k].stack);
    ZydisDecoderEnableMode(&d, ZYDIS_DECODER_MODE_MPX, false);
    ZydisDecoderEnableMode(&d, ZYDIS_DECODER_MODE_CET, false);
    ZydisDecoderEnableMode(&d, ZYDIS_DECODER_MODE_CLDEMOTE, false);
    ZydisDecoderEnableMode(&d, ZYDIS_DECODER_MODE_AMD_BRANCHES, __builtin_cpu_is("amd") != 0);
    if (ZYAN_FAILED(ZydisDecoderDecodeFull(&d, bytes, n, &ret->in, ret->o)) || banned(&ret->in) ||
        !operands_ok(ret, bits))
        return false;
    t->bits = (u8)bits;
    t->len = ret->in.length;
    memcpy(t->code, bytes, t->len);
    t->whole = is_string(&ret->in) &&
               (ret->in.attributes &
                (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE));
    fill_state(seed, t);
    aim_defaults(seed, t);
    if (!small_bit_offset(seed, t, ret))
        return false;
    if (!aim_operands(seed, t, ret))
        return false;
    if (is_string(&ret->in))
        t->in.reg[GPR_RCX] = below(seed, 16);
    fill(seed, t->data, 256);
    for (u32 i = 256; i < ORACLE_DATA_SIZE; i += 256)
        memcpy(t->data + i, t->data, 256);
    return tame_xsave(seed, t, ret);
}

void diff_generate(u64 *seed, u32 bits, struct oracle_test *t, struct diff_insn *ret)
{
    u8 bytes[16];

    for (;;) {
        u32 n = random_bytes(seed, bits, bytes);
        if (diff_prepare(seed, bits, bytes, n, t, ret))
            return;
    }
}

void diff_form(const struct diff_insn *di, char *text, size_t size)
{
    int n = snprintf(text, size, "%s", ZydisMnemonicGetString(di->in.mnemonic));

    for (u32 i = 0; i < di->in.operand_count_visible && n > 0 && (size_t)n < size; i++) {
        static const char *const kinds[] = { "?", "r", "m", "p", "i" };
        n += snprintf(text + n, size - (size_t)n, " %s%u", kinds[di->o[i].type], di->o[i].size);
    }
}
