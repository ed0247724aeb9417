/*
 * cpu/soft/stub.c: which instructions the host's CPU executes for the guest, and the store of their stubs.
 * A stub is made once for each normalised instruction of a vCPU, when a block that holds it is decoded.
 */
#include "cpu/soft/stub.h"

#include "cpu/soft/jit/jit.h"
#include "cpu/soft/stub_trap.h"
#include "cpu/soft/window.h"

enum {
    STUB_FIRST = 64, /* the area begins with a UD2 */
    ARITH = RF_ARITH,
};

/* --- the instruction sets that may run natively --- */

struct isa_row {
    u16 isa; /* ZydisISASet */
    u8 feature, feature2;
    bool base; /* only plain arithmetic of general registers: see is_plain */
};

/* clang-format off */
static const struct isa_row isa_rows[] = {
    { ZYDIS_ISA_SET_I86,        F_ALWAYS, F_ALWAYS, true },
    { ZYDIS_ISA_SET_I186,       F_ALWAYS, F_ALWAYS, true },
    { ZYDIS_ISA_SET_I386,       F_ALWAYS, F_ALWAYS, true },
    { ZYDIS_ISA_SET_I486REAL,   F_ALWAYS, F_ALWAYS, true },
    { ZYDIS_ISA_SET_I486,       F_ALWAYS, F_ALWAYS, true },
    { ZYDIS_ISA_SET_CMOV,       F_CMOV,   F_ALWAYS, true },
    { ZYDIS_ISA_SET_X87,        F_FPU,    F_ALWAYS, false },
    { ZYDIS_ISA_SET_FCMOV,      F_FPU,    F_CMOV,   false },
    { ZYDIS_ISA_SET_PPRO,       F_FPU,    F_CMOV,   false }, /* FCOMI */
    { ZYDIS_ISA_SET_SSE3X87,    F_FPU,    F_SSE3,   false },
    { ZYDIS_ISA_SET_PENTIUMMMX, F_MMX,    F_ALWAYS, false },
    { ZYDIS_ISA_SET_SSE2MMX,    F_MMX,    F_SSE2,   false },
    { ZYDIS_ISA_SET_SSSE3MMX,   F_MMX,    F_SSSE3,  false },
    { ZYDIS_ISA_SET_SSE,        F_SSE,    F_ALWAYS, false },
    { ZYDIS_ISA_SET_SSE2,       F_SSE2,   F_ALWAYS, false },
    { ZYDIS_ISA_SET_SSE3,       F_SSE3,   F_ALWAYS, false },
    { ZYDIS_ISA_SET_SSSE3,      F_SSSE3,  F_ALWAYS, false },
    { ZYDIS_ISA_SET_SSE4,       F_SSE41,  F_ALWAYS, false },
    { ZYDIS_ISA_SET_SSE42,      F_SSE42,  F_ALWAYS, false },
    { ZYDIS_ISA_SET_SSE4A,      F_SSE4A,  F_ALWAYS, false },
    { ZYDIS_ISA_SET_AES,        F_AES,    F_ALWAYS, false },
    { ZYDIS_ISA_SET_PCLMULQDQ,  F_PCLMUL, F_ALWAYS, false },
    { ZYDIS_ISA_SET_SHA,        F_SHA,    F_ALWAYS, false },
    { ZYDIS_ISA_SET_GFNI,       F_GFNI,   F_ALWAYS, false },
    { ZYDIS_ISA_SET_AVX,        F_AVX,    F_ALWAYS, false },
    { ZYDIS_ISA_SET_AVXAES,     F_AVX,    F_AES,    false },
    { ZYDIS_ISA_SET_AVX2,       F_AVX2,   F_ALWAYS, false },
    { ZYDIS_ISA_SET_AVX_GFNI,   F_AVX,    F_GFNI,   false },
    { ZYDIS_ISA_SET_F16C,       F_F16C,   F_ALWAYS, false },
    { ZYDIS_ISA_SET_FMA,        F_FMA,    F_ALWAYS, false },
    { ZYDIS_ISA_SET_VAES,       F_VAES,   F_ALWAYS, false },
    { ZYDIS_ISA_SET_VPCLMULQDQ, F_VPCLMUL, F_ALWAYS, false },
    { ZYDIS_ISA_SET_ADOX_ADCX,  F_ADX,    F_ALWAYS, false },
    { ZYDIS_ISA_SET_BMI1,       F_BMI1,   F_ALWAYS, false },
    { ZYDIS_ISA_SET_BMI2,       F_BMI2,   F_ALWAYS, false },
    { ZYDIS_ISA_SET_LZCNT,      F_LZCNT,  F_ALWAYS, false },
    { ZYDIS_ISA_SET_AMD,        F_LZCNT,  F_ALWAYS, false },
    { ZYDIS_ISA_SET_POPCNT,     F_POPCNT, F_ALWAYS, false },
    { ZYDIS_ISA_SET_MOVBE,      F_MOVBE,  F_ALWAYS, false },
    { ZYDIS_ISA_SET_RDRAND,     F_RDRAND, F_ALWAYS, false },
    { ZYDIS_ISA_SET_RDSEED,     F_RDSEED, F_ALWAYS, false },
    { ZYDIS_ISA_SET_CLFSH,      F_CLFLUSH, F_ALWAYS, false },
    { ZYDIS_ISA_SET_CLFLUSHOPT, F_CLFLUSHOPT, F_ALWAYS, false },
    { ZYDIS_ISA_SET_CLWB,       F_CLWB,   F_ALWAYS, false },
};

/* In those categories, but not what a stub is for. */
static const u16 not_ours[] = {
    ZYDIS_MNEMONIC_DIV, ZYDIS_MNEMONIC_IDIV, ZYDIS_MNEMONIC_XLAT, ZYDIS_MNEMONIC_LEA,
};

/* Instructions of class SSE4 that take any address although they are not VEX. */
static const u16 any_address[] = {
    ZYDIS_MNEMONIC_MOVUPS, ZYDIS_MNEMONIC_MOVUPD, ZYDIS_MNEMONIC_MOVDQU, ZYDIS_MNEMONIC_LDDQU,
    ZYDIS_MNEMONIC_PCMPESTRI, ZYDIS_MNEMONIC_PCMPESTRM, ZYDIS_MNEMONIC_PCMPISTRI, ZYDIS_MNEMONIC_PCMPISTRM,
};

/* Between MMX and floating point: memory operands of 16 bytes are to be aligned. */
static const u16 mmx_converts[] = {
    ZYDIS_MNEMONIC_CVTPI2PS, ZYDIS_MNEMONIC_CVTPI2PD, ZYDIS_MNEMONIC_CVTPS2PI, ZYDIS_MNEMONIC_CVTPD2PI,
    ZYDIS_MNEMONIC_CVTTPS2PI, ZYDIS_MNEMONIC_CVTTPD2PI,
};

static const u8 plain_categories[] = {
    ZYDIS_CATEGORY_BINARY, ZYDIS_CATEGORY_LOGICAL, ZYDIS_CATEGORY_SHIFT, ZYDIS_CATEGORY_ROTATE,
    ZYDIS_CATEGORY_BITBYTE, ZYDIS_CATEGORY_SETCC, ZYDIS_CATEGORY_CMOV, ZYDIS_CATEGORY_DATAXFER,
};
/* clang-format on */

static bool in_list(const u16 *list, size_t n, u32 x)
{
    for (size_t i = 0; i < n; i++) {
        if (list[i] == x)
            return true;
    }
    return false;
}

static const struct isa_row *isa_row_of(u32 isa)
{
    for_each_row(r, isa_rows) {
        if (r->isa == isa)
            return r;
    }
    return NULL;
}

static bool is_gpr(ZydisRegister r)
{
    ZydisRegisterClass k = ZydisRegisterGetClass(r);

    return k >= ZYDIS_REGCLASS_GPR8 && k <= ZYDIS_REGCLASS_GPR64;
}

static bool is_vec(ZydisRegister r)
{
    ZydisRegisterClass k = ZydisRegisterGetClass(r);

    return k == ZYDIS_REGCLASS_XMM || k == ZYDIS_REGCLASS_YMM;
}

/* Number of a general or vector register. */
static u32 reg_number(ZydisRegister r)
{
    return (u32)ZydisRegisterGetId(
               ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, r)) &
           15;
}

/* Of the base instruction sets only what is a function of general registers, flags and one memory operand. */
static bool is_plain(const ZydisDecodedInstruction *in)
{
    if (in->attributes & ZYDIS_ATTRIB_HAS_LOCK)
        return false;
    for_each_row(k, plain_categories) {
        if (*k == in->meta.category)
            return !in_list(not_ours, ARRAY_LEN(not_ours), in->mnemonic);
    }
    return false;
}

/* --- what an instruction uses --- */

/* The registers a stub knows how to load, and the state that is the host's while a vCPU runs. */
static bool use_register(struct stub_use *u, const ZydisDecodedOperand *o)
{
    ZydisRegister r = o->reg.value;
    bool out = o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
    /* Less than 128 bits leave the rest of the register alone. */
    bool all = o->actions == ZYDIS_OPERAND_ACTION_WRITE && o->size >= 128;

    if (is_gpr(r)) {
        u->gpr |= 1u << reg_number(r);
        u->gpr_out |= out ? 1u << reg_number(r) : 0;
        return true;
    }
    if (is_vec(r)) {
        u->vec |= 1u << reg_number(r);
        u->vec_in |= all ? 0 : 1u << reg_number(r);
        u->vec_out |= out ? 1u << reg_number(r) : 0;
        return true;
    }
    switch (ZydisRegisterGetClass(r)) {
    case ZYDIS_REGCLASS_MMX:
    case ZYDIS_REGCLASS_X87:
    case ZYDIS_REGCLASS_FLAGS:
        return true;
    default:
        return r >= ZYDIS_REGISTER_X87CONTROL && r <= ZYDIS_REGISTER_X87TAG;
    }
}

static bool is_x87(const ZydisDecodedInstruction *in)
{
    return in->meta.category == ZYDIS_CATEGORY_X87_ALU || in->meta.category == ZYDIS_CATEGORY_FCMOV;
}

static bool is_mmx_convert(const ZydisDecodedInstruction *in)
{
    return in_list(mmx_converts, ARRAY_LEN(mmx_converts), in->mnemonic);
}

static void use_flags(struct stub_use *u, const ZydisDecodedInstruction *in)
{
    const ZydisAccessedFlags *f = in->cpu_flags;

    if (!f)
        return;
    u->flags_in = f->tested & ARITH;
    u->flags_out = (f->modified | f->set_0 | f->set_1 | f->undefined) & ARITH;
}

/* False: it touches something a stub cannot give it. */
static bool use_of(struct stub_use *u, const struct emit *m, const ZydisDecodedOperand **ret_mem)
{
    const ZydisDecodedInstruction *in = m->in;

    for (u32 i = 0; i < in->operand_count; i++) {
        const ZydisDecodedOperand *o = &m->opnd[i];

        if (o->type == ZYDIS_OPERAND_TYPE_REGISTER && !use_register(u, o))
            return false;
        if (o->type != ZYDIS_OPERAND_TYPE_MEMORY)
            continue;
        if (*ret_mem || o->mem.type != ZYDIS_MEMOP_TYPE_MEM ||
            o->visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT ||
            !(in->attributes & ZYDIS_ATTRIB_HAS_MODRM))
            return false;
        *ret_mem = o;
    }
    use_flags(u, in);
    u->vex = in->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX && u->vec;
    u->sp = u->gpr & 1u << GPR_RSP;
    return true;
}

static bool has_mmx(const struct emit *m)
{

    for (u32 i = 0; i < m->in->operand_count; i++) {
        if (m->opnd[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
            ZydisRegisterGetClass(m->opnd[i].reg.value) == ZYDIS_REGCLASS_MMX)
            return true;
    }
    return false;
}

static enum stub_kind kind_of(const struct emit *m, const struct stub_use *u)
{
    /* A conversion from memory to a general register names no vector register. */
    bool vec = u->vec || m->in->meta.category == ZYDIS_CATEGORY_CONVERT;

    if (is_x87(m->in))
        return STUB_X87;
    if (m->in->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX)
        return vec ? STUB_AVX : STUB_VEX;
    if (has_mmx(m))
        return vec ? STUB_SSE_MMX : STUB_MMX;
    return vec ? STUB_SSE : STUB_INT;
}

static u8 first_free(const u8 *list, size_t n, u32 *taken)
{
    for (size_t i = 0; i < n; i++) {
        if (*taken & 1u << list[i])
            continue;
        *taken |= 1u << list[i];
        return list[i];
    }
    must(false); /* no instruction names so many registers */
}

/* Registers of the stub's own.  ModRM without displacement and SIB can name only some of them for the memory operand. */
static struct stub_regs regs_for(const struct stub_use *u, bool mem)
{
    static const u8 low[] = { GPR_RSI, GPR_RDI, GPR_RDX, GPR_RCX, GPR_RBX };
    static const u8 high[] = { 11, 10, 9, 8, 15, 14, 13, 12 };
    u32 taken = u->gpr | 1u << GPR_RAX;
    struct stub_regs r = {};

    r.mem = mem ? first_free(low, ARRAY_LEN(low), &taken) : GPR_RSI;
    if (u->sp) /* AH to BH cannot be named beside a high one */
        r.sp = first_free(low, ARRAY_LEN(low), &taken);
    r.ctx = first_free(high, ARRAY_LEN(high), &taken);
    return r;
}

/* --- the store --- */

static atomic_uintptr_t areas[CPU_MAX]; /* struct soft_cpu of every vCPU, for the signal handler */

static u32 key_hash(const struct stub_insn *in)
{
    u32 h = 2166136261u; /* FNV-1a */

    for (u32 i = 0; i <= in->n; i++)
        h = (h ^ in->bytes[i]) * 16777619u;
    return (h ^ h >> 12) % ARRAY_LEN(((struct stub_cache *)0)->hash);
}

static struct stub *find(const struct stub_cache *sc, const struct stub_insn *in)
{
    struct stub *s = sc->hash[key_hash(in)];

    while (s && (s->key_len != in->n || memcmp(s->key, in->bytes, in->n + 1u) != 0))
        s = s->next;
    return s;
}

/* SHA is left to the host: Intel's CPUs want it, AMD's do not. */
static bool wants_alignment(const ZydisDecodedInstruction *in)
{
    ZydisExceptionClass k = in->meta.exception_class;

    if (is_mmx_convert(in))
        return true;
    return (k == ZYDIS_EXCEPTION_CLASS_SSE2 || k == ZYDIS_EXCEPTION_CLASS_SSE4) &&
           in->meta.isa_set != ZYDIS_ISA_SET_SHA &&
           !in_list(any_address, ARRAY_LEN(any_address), in->mnemonic);
}

static void describe_memory(struct stub *s, const struct emit *m, const ZydisDecodedOperand *o)
{
    u32 category = m->in->meta.isa_set, size = o->size / 8u;
    ZydisExceptionClass k = m->in->meta.exception_class;

    if (category == ZYDIS_ISA_SET_CLFSH || category == ZYDIS_ISA_SET_CLFLUSHOPT ||
        category == ZYDIS_ISA_SET_CLWB)
        size = 1; /* they need to be allowed to read one byte of the line */
    must(size > 0 && size <= 64);
    s->size = (u8)size;
    s->access = (o->actions & ZYDIS_OPERAND_ACTION_MASK_READ ? ACC_READ : 0) |
                (o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE ? ACC_WRITE : 0);
    if (k == ZYDIS_EXCEPTION_CLASS_SSE1 || k == ZYDIS_EXCEPTION_CLASS_AVX1) {
        s->align = (u8)(size - 1);
    } else if (size == 16 && wants_alignment(m->in)) {
        s->align = 15;
        s->align_mm = true;
    }
}

static struct stub *make(struct stub_cache *sc, const struct emit *m,
                         const ZydisDecodedOperand *mem, const struct stub_use *u,
                         const struct stub_insn *in, const struct stub_regs *regs)
{
    struct stub *s = &sc->stubs[sc->n++];
    struct stub **head = &sc->hash[key_hash(in)];

    must(sc->n <= STUB_MAX && sc->used + STUB_CODE_MAX <= STUB_AREA);
    *s =
        (struct stub){ .next = *head, .at = sc->used, .key_len = in->n, .kind = (u8)kind_of(m, u) };
    memcpy(s->key, in->bytes, in->n + 1u);
    if (mem)
        describe_memory(s, m, mem);
    s->run = (u32(*)(struct soft_cpu *, void *))(uintptr_t)(sc->area.run_at + s->at);
    sc->used = align_up(sc->used + stub_emit(s, u, regs, in, sc->area.write_at + s->at), 16u);
    *head = s;
    return s;
}

/* Without BMI1 or LZCNT these are what they were before: the prefix is ignored. */
static const struct {
    u16 from, to;
} older[] = {
    { ZYDIS_MNEMONIC_TZCNT, ZYDIS_MNEMONIC_BSF },
    { ZYDIS_MNEMONIC_LZCNT, ZYDIS_MNEMONIC_BSR },
};

static bool native_as_older(struct emit *m)
{
    ZydisDecodedInstruction in = *m->in;
    const ZydisDecodedInstruction *was = m->in;
    bool ok = false;

    for_each_row(r, older) {
        if (r->from != in.mnemonic)
            continue;
        in.mnemonic = r->to;
        in.meta.isa_set = ZYDIS_ISA_SET_I386;
        in.meta.category = ZYDIS_CATEGORY_BITBYTE;
        for (u32 i = 0; i < in.raw.prefix_count; i++)
            in.raw.prefixes[i].type = ZYDIS_PREFIX_TYPE_IGNORED;
        m->in = &in;
        ok = insn_native(m);
        m->in = was;
    }
    return ok;
}

/* FOP: the low bits of the opcode and the ModRM byte. */
static u16 x87_fop(const ZydisDecodedInstruction *in)
{
    return (u16)((in->opcode & 7u) << 8 | (u32)in->raw.modrm.mod << 6 |
                 (u32)in->raw.modrm.reg << 3 | in->raw.modrm.rm);
}

/* Zydis takes VEX.W as ignored here; CPUs see VPEXTRQ and VPINSRQ, which only 64-bit code has. */
static bool is_wide_element(const struct emit *m)
{
    return (m->in->mnemonic == ZYDIS_MNEMONIC_VPEXTRD ||
            m->in->mnemonic == ZYDIS_MNEMONIC_VPINSRD) &&
           (m->key & KEY_SIZE) != SIZE_64 && (m->in->attributes & ZYDIS_ATTRIB_HAS_VEX) &&
           m->in->raw.vex.W;
}

bool insn_native(struct emit *m)
{
    const struct isa_row *row = isa_row_of(m->in->meta.isa_set);
    const ZydisDecodedOperand *mem = NULL;
    struct stub_use use = {};
    struct stub_insn in;

    if (m->in->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
        (m->in->meta.category == ZYDIS_CATEGORY_PREFETCH ||
         m->in->meta.category == ZYDIS_CATEGORY_PREFETCHWT1)) {
        m->op->fn = soft_op_nop;
        return true;
    }
    if (is_wide_element(m))
        return false;
    if (!row || (row->base && !is_plain(m->in)))
        return false;
    if (!emit_has(m, row->feature) || !emit_has(m, row->feature2))
        return native_as_older(m);
    if (!use_of(&use, m, &mem))
        return false;

    struct stub_cache *sc = m->c->stubs;
    struct stub_regs regs = regs_for(&use, mem);
    if (!stub_encode(sc, m, &regs, &in))
        return false;
    in.bytes[in.n] = use.sp ? regs.sp : 0; /* of the key: this register is RSP, not itself */
    struct stub *s = find(sc, &in);
    if (!s)
        s = make(sc, m, mem, &use, &in, &regs);
    if (mem)
        emit_mem(m, mem);
    m->op->imm = (uintptr_t)s;
    m->op->aux = s->kind == STUB_X87 ? x87_fop(m->in) : 0;
    m->op->fn = stub_handler(s->kind, mem != NULL);
    return true;
}

/* --- the area --- */

static bool area_add(struct soft_cpu *c)
{
    for_each_row(a, areas) {
        uintptr_t none = 0;
        if (atomic_compare_exchange_strong(a, &none, (uintptr_t)c))
            return true;
    }
    return false;
}

int soft_stubs_open(struct soft_cpu *c, struct err *e)
{
    struct stub_cache *sc = xnew(struct stub_cache);

    c->stubs = sc;
    sc->stubs = xnew_n(struct stub, STUB_MAX);
    ZydisDecoderInit(&sc->decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    int r = code_area_open(&sc->area, STUB_AREA, e);
    if (r >= 0)
        r = soft_stubs_catch(e);
    if (r >= 0 && !area_add(c))
        r = err_set(e, -ENOSPC, "more than %d code areas", CPU_MAX);
    if (r < 0) {
        soft_stubs_close(c);
        return r;
    }
    memcpy(sc->area.write_at, "\x0f\x0b", 2);
    sc->used = STUB_FIRST;
    return 0;
}

void soft_stubs_close(struct soft_cpu *c)
{
    struct stub_cache *sc = c->stubs;

    if (!sc)
        return;
    for_each_row(a, areas) {
        uintptr_t me = (uintptr_t)c;
        atomic_compare_exchange_strong(a, &me, 0);
    }
    code_area_close(&sc->area);
    free(sc->stubs);
    free(sc);
    c->stubs = NULL;
}

bool soft_stubs_full(const struct soft_cpu *c)
{
    return c->stubs->n + STUB_RESERVE > STUB_MAX ||
           c->stubs->used + STUB_RESERVE * STUB_CODE_MAX > STUB_AREA;
}

void soft_stubs_reset(struct soft_cpu *c)
{
    struct stub_cache *sc = c->stubs;

    memset(sc->hash, 0, sizeof(sc->hash));
    sc->n = 0;
    sc->used = STUB_FIRST;
}

/* Runs in a signal handler of the vCPU's own thread: stubs are in ascending order of their code. */
static const struct stub *stub_in(const struct stub_cache *sc, u64 rip)
{
    u32 off = (u32)(rip - (uintptr_t)sc->area.run_at), low = 0, high = sc->n;

    while (low < high) {
        u32 mid = (low + high) / 2;
        if (sc->stubs[mid].fault_at < off)
            low = mid + 1;
        else
            high = mid;
    }
    return low < sc->n && sc->stubs[low].fault_at == off ? &sc->stubs[low] : NULL;
}

enum soft_trap soft_trap_pad(u64 rip, u64 at, u64 *ret_pad)
{
    for_each_row(a, areas) {
        struct soft_cpu *c = (struct soft_cpu *)atomic_load(a);

        if (!c)
            continue;
        if (soft_jit_trap(c->jit, rip, ret_pad)) {
            soft_window_trap(c, at);
            return SOFT_TRAP_JIT;
        }
        if (rip - (uintptr_t)c->stubs->area.run_at >= STUB_AREA)
            continue;
        const struct stub *s = stub_in(c->stubs, rip);
        if (s)
            *ret_pad = (uintptr_t)c->stubs->area.run_at + s->pad_at;
        return s ? SOFT_TRAP_STUB : SOFT_TRAP_NONE;
    }
    return SOFT_TRAP_NONE;
}
