/*
 * cpu/soft/jit/verify.c: see verify.h.  One pass over the bytes as Zydis reads them; what is believed of T0 is forgotten at each
 * instruction that writes to it otherwise, and behind each jump that is always taken.
 */
#include "cpu/soft/jit/verify.h"

#include "cpu/soft/jit/translate.h"
#include "cpu/soft/msr.h"

#include <Zydis/Zydis.h>

#define REG_T0  ZYDIS_REGISTER_R9
#define REG_T1  ZYDIS_REGISTER_R10
#define REG_T2  ZYDIS_REGISTER_R11
#define REG_CTX ZYDIS_REGISTER_R15

/* What is known where the pass is. */
struct known {
    u32 reach;   /* T2 is the page of the last byte: of so many from T0 on */
    u32 tagged;  /* ... and equals the tag at `tag`; the jump away from here was seen */
    u64 tag;     /* offset in struct tlb_entry */
    u64 entry;   /* 0, or 1 more than the entry of soft_cpu.recent that it is in */
    bool copied; /* T2 is T0 */
    bool compared;
    u32 bytes; /* T0 is a host address of so many bytes */
    bool writable;
    u32 kept;  /* ... and soft_cpu.jit_temp[1] is one, which may be written to */
    bool msrs; /* T2 is soft_cpu.msrs */
    bool loop; /* T0 has an addend of soft_cpu.loop in it: how far from there loop.c has to know */
};

/* The user window: which host registers, and guest registers that are in memory, were compared with the end of which part. */
struct window_known {
    u32 compared; /* 1 more than the host register of the CMP just seen */
    enum window_part part;
    enum window_part host[16], slot[GPR_COUNT];
    s64 moved[16];         /* added to a host register since */
    enum window_part kept; /* T1 is RAX, which was so ... */
    s64 kept_moved;
    bool delta0, delta1,
        delta_kept; /* T0, T1, soft_cpu.jit_temp[1] are soft_cpu.window_low_delta */
    bool low;       /* T0 is one of the low part and that */
    bool delta2;    /* T2 is that, or it and something */
    u32 from;       /* 1 more than the guest register that T0 was loaded from, unchanged */
    /* Of a loop: sums of registers that were compared; `sum`: T0 is that of the last one. */
    struct window_sum {
        ZydisRegister base, index;
        u8 scale;
    } sums[LOOP_RUNS + 1];
    u32 n_sums;
    bool sum;
    bool lent; /* flags.c borrows RAX: T1 is it */
};

static bool writes(const ZydisDecodedInstruction *in, const ZydisDecodedOperand *o, ZydisRegister r)
{
    for (u32 i = 0; i < in->operand_count; i++)
        if (o[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
            o[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE &&
            ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, o[i].reg.value) == r)
            return true;
    return false;
}

static const ZydisDecodedOperand *memory_of(const ZydisDecodedInstruction *in,
                                            const ZydisDecodedOperand *o)
{
    if (in->mnemonic == ZYDIS_MNEMONIC_LEA || in->mnemonic == ZYDIS_MNEMONIC_NOP)
        return NULL;
    for (u32 i = 0; i < in->operand_count; i++) {
        bool stack = o[i].visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN &&
                     o[i].mem.base == ZYDIS_REGISTER_RSP;
        if (o[i].type == ZYDIS_OPERAND_TYPE_MEMORY && !stack)
            return &o[i];
    }
    return NULL;
}

static const char *check(const struct known *k, const ZydisDecodedOperand *m)
{
    bool write = m->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
    s64 at = m->mem.disp.value;

    if (m->mem.base == REG_T0 && k->loop)
        return NULL;
    if (m->mem.index != ZYDIS_REGISTER_NONE)
        return "an index register";
    if (m->mem.base == ZYDIS_REGISTER_RSP) /* the guest's RIP behind the last call */
        return write || at != 8 || m->size != 64 ? "the thread's stack" : NULL;
    if (m->mem.base == REG_CTX)
        return at >= -CTX_BIAS && at + m->size / 8 <= (s64)sizeof(struct soft_cpu) - CTX_BIAS
                   ? NULL
                   : "outside struct soft_cpu";
    if (m->mem.base == REG_T2 && k->msrs)
        return at == offsetof(struct soft_msrs, kernel_gs_base) && m->size == 64
                   ? NULL
                   : "an MSR that is none";
    if (m->mem.base == REG_T1 || m->mem.base == REG_T2)
        return write || at < 0 || at + m->size / 8 > (s64)max(sizeof(struct block), (size_t)32)
                   ? "not a field of a table"
                   : NULL;
    if (m->mem.base != REG_T0 || at)
        return "an address that is no one's";
    if (m->size / 8 > k->bytes)
        return "unchecked, or more bytes than were checked";
    return write && !k->writable ? "a write after a check for reading" : NULL;
}

/* --- the user window --- */

static u32 host_of(ZydisRegister r)
{
    return (u32)ZydisRegisterGetId(ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, r));
}

static const char *check_window(const struct soft_cpu *c, u32 at, const struct window_known *w,
                                const ZydisDecodedOperand *m)
{
    u32 h = m->mem.base == ZYDIS_REGISTER_NONE ? 0 : host_of(m->mem.base);
    u64 pad;

    for (u32 i = 0; i < w->n_sums; i++) { /* how often the loop goes around, loop.c has to know */
        const struct window_sum *s = &w->sums[i];

        if (s->base == m->mem.base && s->index == m->mem.index && s->scale == m->mem.scale)
            return soft_jit_trap(c->jit, (uintptr_t)c->jit->area.run_at + at, &pad)
                       ? NULL
                       : "an access of a loop to the window whose trap is no one's";
    }
    if (m->mem.index != ZYDIS_REGISTER_NONE || m->mem.base == ZYDIS_REGISTER_NONE)
        return "more than a register in an address in the window";
    if (!w->host[h] || w->moved[h] < -TRUST_MOVED_MAX || w->moved[h] > TRUST_MOVED_MAX)
        return "an address that was not compared with the window's end";
    return soft_jit_trap(c->jit, (uintptr_t)c->jit->area.run_at + at, &pad)
               ? NULL
               : "an access to the window whose trap is no one's";
}

/* [T0 + n] of an address in the low part, or [r + T0 + n] of a register that was compared. */
static bool in_low(const struct window_known *w, const ZydisDecodedOperand *m)
{
    u32 h = m->mem.base == ZYDIS_REGISTER_NONE ? 0 : host_of(m->mem.base);

    if (m->mem.base == REG_T0)
        return w->low && m->mem.index == ZYDIS_REGISTER_NONE;
    return w->delta0 && m->mem.index == REG_T0 && m->mem.scale <= 1 && w->host[h] == WINDOW_LOW &&
           w->moved[h] >= -TRUST_MOVED_MAX && w->moved[h] <= TRUST_MOVED_MAX;
}

static const char *check_low(const struct soft_cpu *c, u32 at)
{
    u64 pad;

    return soft_jit_trap(c->jit, (uintptr_t)c->jit->area.run_at + at, &pad)
               ? NULL
               : "an access to the window's low part whose trap is no one's";
}

/* Guest register whose place in soft_cpu `o` is; GPR_COUNT: none. */
static u32 slot_of(const ZydisDecodedOperand *o)
{
    s64 at = o->mem.disp.value - CTX_AT(reg);

    return o->type == ZYDIS_OPERAND_TYPE_MEMORY && o->mem.base == REG_CTX && at >= 0 &&
                   at < GPR_COUNT * 8
               ? (u32)at / 8
               : (u32)GPR_COUNT;
}

/* What is added to host register `h`. */
static bool adds(const ZydisDecodedInstruction *in, const ZydisDecodedOperand *o, u32 h,
                 s64 *ret_by)
{
    bool sub = in->mnemonic == ZYDIS_MNEMONIC_SUB;

    if (in->operand_width != 64 || o[0].type != ZYDIS_OPERAND_TYPE_REGISTER ||
        host_of(o[0].reg.value) != h)
        return false;
    switch (in->mnemonic) {
    case ZYDIS_MNEMONIC_INC:
    case ZYDIS_MNEMONIC_DEC:
        *ret_by = in->mnemonic == ZYDIS_MNEMONIC_INC ? 1 : -1;
        return true;
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_SUB:
        *ret_by = sub ? -o[1].imm.value.s : o[1].imm.value.s;
        return o[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
    case ZYDIS_MNEMONIC_LEA:
        *ret_by = o[1].mem.disp.value;
        return o[1].mem.base == o[0].reg.value && o[1].mem.index == ZYDIS_REGISTER_NONE;
    default:
        return false;
    }
}

/* LEA T0, [sum]; CMP T0, [soft_cpu.window_end]; JNB; and only constants are added to its registers. */
static void learn_sum(struct window_known *w, const struct window_known *was,
                      const ZydisDecodedInstruction *in, const ZydisDecodedOperand *o)
{
    const struct window_sum s = { o[1].mem.base, o[1].mem.index, o[1].mem.scale };

    w->sum = was->sum && w->compared == T0 + 1 && w->part == WINDOW_HIGH;
    if (in->mnemonic == ZYDIS_MNEMONIC_LEA && o[0].reg.value == REG_T0 && s.base != REG_T0 &&
        w->n_sums < LOOP_RUNS) {
        w->sums[w->n_sums] = s;
        w->sum = true;
    }
    if (was->sum && was->compared && in->mnemonic == ZYDIS_MNEMONIC_JNB)
        w->n_sums++;
}

static void forget_sums(struct window_known *w, u32 h)
{
    u32 kept = 0;

    for (u32 i = 0; i < w->n_sums; i++) {
        const struct window_sum s = w->sums[i];

        if ((s.base == ZYDIS_REGISTER_NONE || host_of(s.base) != h) &&
            (s.index == ZYDIS_REGISTER_NONE || host_of(s.index) != h))
            w->sums[kept++] = s;
    }
    w->n_sums = kept;
}

static bool loads(const ZydisDecodedInstruction *in, const ZydisDecodedOperand *o,
                  ZydisMnemonic how, ZydisRegister r, s32 at)
{
    return in->mnemonic == how && o[0].type == ZYDIS_OPERAND_TYPE_REGISTER && o[0].reg.value == r &&
           o[1].type == ZYDIS_OPERAND_TYPE_MEMORY && o[1].mem.base == REG_CTX &&
           o[1].mem.index == ZYDIS_REGISTER_NONE && o[1].mem.disp.value == at;
}

/* MOV T0, delta; or, T0 being in the low part: ADD T0, delta; or MOV T1, delta; LEA T0, [T0 + T1]. */
static void learn_low(struct window_known *w, const ZydisDecodedInstruction *in,
                      const ZydisDecodedOperand *o)
{
    const s32 delta = CTX_AT(window_low_delta);
    bool t0_low = w->host[T0] == WINDOW_LOW && !w->moved[T0];

    if (in->mnemonic == ZYDIS_MNEMONIC_MOV && o[0].type == ZYDIS_OPERAND_TYPE_MEMORY &&
        o[0].mem.base == REG_CTX && o[0].mem.disp.value == CTX_AT(jit_temp[1]))
        w->delta_kept = w->delta0 && o[1].reg.value == REG_T0;
    if (writes(in, o, REG_T0)) {
        bool sum = in->mnemonic == ZYDIS_MNEMONIC_LEA && o[1].mem.base == REG_T0 &&
                   o[1].mem.index == REG_T1 && o[1].mem.scale <= 1 && !o[1].mem.disp.value;

        w->low = t0_low && (loads(in, o, ZYDIS_MNEMONIC_ADD, REG_T0, delta) || (sum && w->delta1));
        w->delta0 =
            loads(in, o, ZYDIS_MNEMONIC_MOV, REG_T0, delta) ||
            (w->delta_kept && loads(in, o, ZYDIS_MNEMONIC_MOV, REG_T0, CTX_AT(jit_temp[1])));
    }
    if (writes(in, o, REG_T1))
        w->delta1 = loads(in, o, ZYDIS_MNEMONIC_MOV, REG_T1, delta);
    if (writes(in, o, REG_T2) && in->mnemonic != ZYDIS_MNEMONIC_ADD)
        w->delta2 = loads(in, o, ZYDIS_MNEMONIC_MOV, REG_T2, delta);
}

/* A loop's addend leads to the low part: T0, where its accesses begin, was compared. */
static const char *check_addend(const struct window_known *w, const ZydisDecodedOperand *m)
{
    s64 at = m->mem.disp.value - CTX_AT(loop.addend);
    bool addend = m->mem.base == REG_CTX && m->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE &&
                  at >= 0 && at < 8 * LOOP_RUNS;

    return addend && w->delta2 && w->host[T0] != WINDOW_LOW
               ? "a loop's access to the low part that was not compared with its end"
               : NULL;
}

/* CMP r, [soft_cpu.window_end or window_low_end]; JNB; and r may be added to from there on. */
static void learn_window(struct window_known *w, const ZydisDecodedInstruction *in,
                         const ZydisDecodedOperand *o)
{
    const struct window_known was = *w;
    s64 by;

    w->compared = 0;
    if (in->mnemonic == ZYDIS_MNEMONIC_JNB && was.compared) {
        w->host[was.compared - 1] = was.part;
        w->moved[was.compared - 1] = 0;
        if (was.compared - 1 == T0 && was.from)
            w->slot[was.from - 1] = was.part;
        learn_sum(w, &was, in, o);
        return;
    }
    if (in->mnemonic == ZYDIS_MNEMONIC_CMP && o[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
        in->operand_width == 64 && o[1].type == ZYDIS_OPERAND_TYPE_MEMORY &&
        o[1].mem.base == REG_CTX &&
        (o[1].mem.disp.value == CTX_AT(window_end) ||
         o[1].mem.disp.value == CTX_AT(window_low_end))) {
        w->compared = host_of(o[0].reg.value) + 1;
        w->part = o[1].mem.disp.value == CTX_AT(window_end) ? WINDOW_HIGH : WINDOW_LOW;
    }
    learn_low(w, in, o);
    learn_sum(w, &was, in, o);
    for (u32 i = 0; i < in->operand_count; i++) {
        bool write = o[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
        u32 h;

        if (write && slot_of(&o[i]) < GPR_COUNT)
            w->slot[slot_of(&o[i])] = WINDOW_NONE;
        if (!write || o[i].type != ZYDIS_OPERAND_TYPE_REGISTER ||
            ZydisRegisterGetClass(o[i].reg.value) < ZYDIS_REGCLASS_GPR8 ||
            ZydisRegisterGetClass(o[i].reg.value) > ZYDIS_REGCLASS_GPR64)
            continue;
        h = host_of(o[i].reg.value) & 15;
        if (h == T0)
            w->from = 0;
        if (h == T1) {
            w->kept = WINDOW_NONE;
            if (w->lent)
                forget_sums(w, RAX);
            w->lent = false;
        }
        if (adds(in, o, h, &by)) {
            w->moved[h] += by;
            continue;
        }
        w->host[h] = WINDOW_NONE;
        if (h != T0 && !(h == RAX && w->lent))
            forget_sums(w, h);
    }
    if (in->mnemonic != ZYDIS_MNEMONIC_MOV || o[0].type != ZYDIS_OPERAND_TYPE_REGISTER)
        return;
    if (o[0].reg.value == REG_T1 && o[1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
        o[1].reg.value == ZYDIS_REGISTER_RAX) { /* flags.c borrows it */
        w->lent = true;
        w->kept = was.host[RAX];
        w->kept_moved = was.moved[RAX];
    } else if (o[0].reg.value == ZYDIS_REGISTER_RAX && o[1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
               o[1].reg.value == REG_T1) {
        w->lent = false;
        w->host[RAX] = was.kept;
        w->moved[RAX] = was.kept_moved;
    } else if (o[0].reg.value == REG_T0 && slot_of(&o[1]) < GPR_COUNT) {
        w->from = slot_of(&o[1]) + 1;
        w->host[T0] = w->slot[slot_of(&o[1])];
        w->moved[T0] = 0;
    }
}

/* --- the TLB --- */

/* T0 on its way to soft_cpu.jit_temp[1], and back. */
static bool learn_temp(struct known *k, const ZydisDecodedInstruction *in,
                       const ZydisDecodedOperand *o)
{
    bool first = o[0].type == ZYDIS_OPERAND_TYPE_MEMORY;
    const ZydisDecodedOperand *m = &o[first ? 0 : 1], *r = &o[first ? 1 : 0];

    if (in->mnemonic != ZYDIS_MNEMONIC_MOV || m->type != ZYDIS_OPERAND_TYPE_MEMORY ||
        m->mem.base != REG_CTX || m->mem.disp.value != CTX_AT(jit_temp[1]))
        return false;
    if (first)
        k->kept = r->reg.value == REG_T0 && k->writable ? k->bytes : 0;
    else if (r->reg.value == REG_T0)
        *k = (struct known){ .bytes = k->kept, .writable = true };
    return r->reg.value == REG_T0;
}

/* Is `m` a member of soft_cpu.recent?  Offset in its entry, and which. */
static bool in_recent(const ZydisDecodedOperand *m, u64 *ret_member, u64 *ret_entry)
{
    u64 at = (u64)m->mem.disp.value - (u64)(s64)CTX_AT(recent);

    *ret_member = at % sizeof(struct tlb_entry);
    *ret_entry = at / sizeof(struct tlb_entry);
    return m->type == ZYDIS_OPERAND_TYPE_MEMORY && m->mem.base == REG_CTX &&
           at < sizeof(((struct soft_cpu *)NULL)->recent);
}

/* MOV T2, T0; AND T2, page and alignment; CMP T2, [recent tag]; JNZ; ADD T0, [its addend]. */
static bool learn_recent(struct known *k, const ZydisDecodedInstruction *in,
                         const ZydisDecodedOperand *o)
{
    bool t2 = o[0].type == ZYDIS_OPERAND_TYPE_REGISTER && o[0].reg.value == REG_T2;
    struct known was = *k;
    u64 member, entry;

    if (in->mnemonic == ZYDIS_MNEMONIC_MOV && t2 && o[1].reg.value == REG_T0) {
        *k = (struct known){ .copied = true, .kept = was.kept };
        return true;
    }
    if (in->mnemonic == ZYDIS_MNEMONIC_AND && t2 && was.copied) {
        u64 low = (u64)o[1].imm.value.s + 4096;

        *k = (struct known){ .reach = low < 8 ? (u32)low + 1 : 0, .kept = was.kept };
        return true;
    }
    if (!in_recent(&o[1], &member, &entry))
        return false;
    if (in->mnemonic == ZYDIS_MNEMONIC_CMP && t2) {
        k->compared = true;
        k->tag = member;
        k->entry = entry + 1;
    } else if (in->mnemonic == ZYDIS_MNEMONIC_ADD && o[0].reg.value == REG_T0) {
        bool right = member == offsetof(struct tlb_entry, addend) && was.entry == entry + 1;

        *k = (struct known){ .bytes = right ? was.tagged : 0,
                             .writable = was.tag == offsetof(struct tlb_entry, tag_w),
                             .kept = was.kept };
    }
    return true;
}

/* LEA T2, [T0 + n]; AND T2, page; CMP T2, [T1 + tag]; JNZ; ADD T0, [T1 + addend]. */
static void learn(struct known *k, const ZydisDecodedInstruction *in, const ZydisDecodedOperand *o)
{
    bool t1 = o[1].type == ZYDIS_OPERAND_TYPE_MEMORY && o[1].mem.base == REG_T1;
    struct known was = *k;

    if (in->mnemonic == ZYDIS_MNEMONIC_JNZ) {
        k->tagged = was.compared ? was.reach : 0;
        k->compared = false;
        return;
    }
    if (learn_temp(k, in, o) || learn_recent(k, in, o))
        return;
    if (writes(in, o, REG_T2))
        k->msrs = in->mnemonic == ZYDIS_MNEMONIC_MOV && o[1].type == ZYDIS_OPERAND_TYPE_MEMORY &&
                  o[1].mem.base == REG_CTX && o[1].mem.disp.value == CTX_AT(msrs);
    if (writes(in, o, REG_T0))
        *k = (struct known){ .kept = was.kept, .msrs = was.msrs };
    if (writes(in, o, REG_T1)) {
        k->compared = false;
        k->tagged = 0;
    }
    if (in->mnemonic == ZYDIS_MNEMONIC_LEA && o[0].reg.value == REG_T2 && o[1].mem.base == REG_T0)
        *k = (struct known){ .reach = (u32)o[1].mem.disp.value + 1, .kept = was.kept };
    else if (in->mnemonic == ZYDIS_MNEMONIC_AND && o[0].reg.value == REG_T2)
        k->reach = o[1].imm.value.s == -4096 ? was.reach : 0;
    else if (writes(in, o, REG_T2))
        *k = (struct known){
            .bytes = was.bytes, .writable = was.writable, .kept = was.kept, .msrs = k->msrs
        };
    else if (in->mnemonic == ZYDIS_MNEMONIC_CMP && o[0].reg.value == REG_T2 && t1) {
        k->compared = true;
        k->tag = (u64)o[1].mem.disp.value;
    } else if (in->mnemonic == ZYDIS_MNEMONIC_ADD && o[0].reg.value == REG_T0 && t1 && !was.entry &&
               o[1].mem.disp.value == offsetof(struct tlb_entry, addend))
        *k = (struct known){ .bytes = was.tagged,
                             .writable = was.tag == offsetof(struct tlb_entry, tag_w) };
}

/* MOV T0, [soft_cpu.loop.addend + n]; perhaps LEA T0, [T0 + what the guest has in registers]. */
static bool in_loop(const struct known *k, const ZydisDecodedInstruction *in,
                    const ZydisDecodedOperand *o)
{
    s64 first = CTX_AT(loop.addend), at = o[1].mem.disp.value;

    if (!writes(in, o, REG_T0))
        return k->loop;
    if (in->mnemonic == ZYDIS_MNEMONIC_LEA)
        return k->loop && o[1].mem.base == REG_T0;
    return in->mnemonic == ZYDIS_MNEMONIC_MOV && o[1].type == ZYDIS_OPERAND_TYPE_MEMORY &&
           o[1].mem.base == REG_CTX && at >= first && at < first + 8 * LOOP_RUNS;
}

static const char *verify(const struct soft_cpu *c, u32 from, u32 to, u32 *ret_at)
{
    ZydisDecodedOperand o[ZYDIS_MAX_OPERAND_COUNT];
    ZydisDecodedInstruction in;
    struct known k = {};
    struct window_known w = {};
    ZydisDecoder d;

    ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    for (u32 at = from; at < to; at += in.length) {
        const ZydisDecodedOperand *m;
        const char *wrong;

        *ret_at = at;
        if (ZYAN_FAILED(ZydisDecoderDecodeFull(&d, c->jit->area.run_at + at, to - at, &in, o)))
            return "no instruction";
        m = memory_of(&in, o);
        wrong = !m                                    ? NULL
                : m->mem.segment == ZYDIS_REGISTER_GS ? check_window(c, at, &w, m)
                : in_low(&w, m)                       ? check_low(c, at)
                                                      : check(&k, m);
        if (m && !wrong)
            wrong = check_addend(&w, m);
        if (wrong)
            return wrong;
        if (in.meta.category == ZYDIS_CATEGORY_UNCOND_BR ||
            in.meta.category == ZYDIS_CATEGORY_CALL || in.meta.category == ZYDIS_CATEGORY_RET) {
            k = (struct known){};
            w = (struct window_known){};
        } else {
            bool loop = in_loop(&k, &in, o);

            learn_window(&w, &in, o);
            learn(&k, &in, o);
            k.loop = loop;
        }
    }
    return NULL;
}

const char *jit_verify(const struct soft_cpu *c, u32 *ret_at)
{
    const struct jit_cache *j = c->jit;
    const char *wrong = NULL;

    for (u32 i = 0; i < j->n_blocks && !wrong; i++) {
        const struct jit_block *b = &j->blocks[i];

        wrong = verify(c, b->at, b->end, ret_at);
        if (!wrong)
            wrong = verify(c, b->cold_at, b->cold_end, ret_at);
    }
    return wrong ? wrong : "";
}
