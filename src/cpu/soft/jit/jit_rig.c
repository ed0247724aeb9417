/*
 * cpu/soft/jit/jit_rig.c: see jit_rig.h.
 */
#include "cpu/soft/jit/jit_rig.h"

#include "cpu/soft/fpu.h"

enum {
    IDT = RIG_TABLES + 0x3000,
    HANDLER = RIG_CODE + 0xf00, /* of all exceptions */
    DATA_BYTES = 512,
};

const u8 jit_the_end[JIT_END_BYTES] = { 0xe6, RIG_PORT, 0xeb, 0xfe };

/* Each exception leads to the end, on a stack of its own, the first that the TSS names. */
static void write_idt(struct rig *r)
{
    u64 stack = RIG_STACK + 0x1000;

    for (u32 v = 0; v < 32; v++) {
        u64 gate = (HANDLER & 0xffff) | 0x08ull << 16 | 1ull << 32 | 0x8eull << 40;

        memcpy(r->ram + IDT + 16 * v, &gate, 8);
    }
    memcpy(r->ram + 0x24, &stack, 8); /* the TSS is at 0 */
    memcpy(r->ram + HANDLER, jit_the_end, sizeof(jit_the_end));
    r->c->idt_base = IDT;
    r->c->idt_limit = 32 * 16 - 1;
}

struct rig *jit_machine(u32 warm, u32 n_cpus)
{
    struct rig *r = rig_new(n_cpus);

    r->c->vm->jit_warm = warm;
    return r;
}

void jit_begin(struct rig *r, u64 at, const u8 *code, u32 n)
{
    struct soft_cpu *c = r->c;

    rig_mode(r, RIG_LONG);
    write_idt(r);
    for (u32 i = 0; i < GPR_COUNT; i++)
        if (i != GPR_RSP)
            c->reg[i] = 0x0123456789abcdefull * (i + 3);
    for (u32 i = 0; i < DATA_BYTES; i++)
        r->ram[RIG_DATA + i] = (u8)(i * 37 + 11);
    c->seg[SEG_FS].base = RIG_DATA;
    c->seg[SEG_GS].base = RIG_DATA + 0x100 - c->reg[GPR_RCX];
    c->rip = at;
    memcpy(r->ram + at, code, n);
    memcpy(r->ram + at + n, jit_the_end, sizeof(jit_the_end));
}

void jit_map(struct rig *r, u64 tables, u64 page)
{
    const struct {
        u64 at, entry;
    } rows[] = {
        { 0, (tables + 0x1000) | 7 },      { 0x1000, 0x87 },     { 0x1008, (tables + 0x6000) | 7 },
        { 0x6000, (tables + 0x7000) | 7 }, { 0x7000, page | 7 },
    };

    for_each_row(e, rows)
        mem_write(r->mem, tables + e->at, &e->entry, 8);
}

const char *jit_differs(const struct rig *a, const struct rig *b)
{
    static u8 x87[2][VCPU_XSAVE_SIZE];
    const struct soft_cpu *x = a->c, *y = b->c;

    if (memcmp(x->reg, y->reg, GPR_COUNT * 8) != 0)
        return "registers";
    if (x->rip != y->rip)
        return "RIP";
    if (soft_flags(x) != soft_flags(y))
        return "flags";
    if (x->cr2 != y->cr2)
        return "CR2";
    if (memcmp(x->fpu.ymm, y->fpu.ymm, sizeof(x->fpu.ymm)) != 0)
        return "vector registers";
    if (x->fpu.mxcsr != y->fpu.mxcsr)
        return "MXCSR";
    soft_fpu_save(a->c, x87[0]);
    soft_fpu_save(b->c, x87[1]);
    if (memcmp(x87[0], x87[1], 160) != 0) /* FXSAVE's part */
        return "x87";
    return memcmp(a->ram, b->ram, JIT_RAM) != 0 ? "RAM" : "";
}
