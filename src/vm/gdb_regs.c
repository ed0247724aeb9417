/*
 * vm/gdb_regs.c: the registers that gdb sees: one row each, in the order of their numbers.
 * Names and features are those of the GDB manual, G.5.5 "i386 Features"; org.socle.system is our own, which gdb shows as it is.
 */
#include "vm/gdb_regs.h"

#include "base/base.h"

/* Offsets in the XSAVE area's legacy part. (Intel SDM volume 1, table 10-2) */
enum {
    FX_CTRL = 0,
    FX_STAT = 2,
    FX_TAG = 4,
    FX_OP = 6,
    FX_IP = 8,
    FX_DP = 16,
    FX_MXCSR = 24,
    FX_ST = 32,
    FX_XMM = 160
};
enum { XSTATE_BV = 512, XSTATE_X87_SSE = 3 }; /* which parts do not have their initial values */

enum group { CORE, SSE, SEGMENTS, SYSTEM, GROUPS };

struct reg {
    const char *name, *type;
    enum group group;
    u16 size; /* bytes on the wire */
    u16 at;   /* in struct vcpu_state */
    u16 held; /* bytes there; the rest is zero.  0: the tag word, which is not kept as gdb wants it */
};

#define AT(member) offsetof(struct vcpu_state, member), MEMBER_SIZE(struct vcpu_state, member)
#define GPR(name, n)                       \
    {                                      \
        name, "int64", CORE, 8, AT(reg[n]) \
    }
#define SELECTOR(name, n)                           \
    {                                               \
        name, "int32", CORE, 4, AT(seg[n].selector) \
    }
#define ST(n)                                                          \
    {                                                                  \
        "st" #n, "i387_ext", CORE, 10, AT(xsave[FX_ST + 16 * (n)]) + 9 \
    }
#define X87(name, off, n)                            \
    {                                                \
        name, "int", CORE, 4, AT(xsave[off]) + (n)-1 \
    }
#define XMM(n)                                                         \
    {                                                                  \
        "xmm" #n, "vec128", SSE, 16, AT(xsave[FX_XMM + 16 * (n)]) + 15 \
    }
#define SYS(name, member)                    \
    {                                        \
        name, "int64", SYSTEM, 8, AT(member) \
    }

/* clang-format off */
static const struct reg regs[] = {
    GPR("rax", GPR_RAX), GPR("rbx", GPR_RBX), GPR("rcx", GPR_RCX), GPR("rdx", GPR_RDX),
    GPR("rsi", GPR_RSI), GPR("rdi", GPR_RDI),
    { "rbp", "data_ptr", CORE, 8, AT(reg[GPR_RBP]) },
    { "rsp", "data_ptr", CORE, 8, AT(reg[GPR_RSP]) },
    GPR("r8", 8), GPR("r9", 9), GPR("r10", 10), GPR("r11", 11), GPR("r12", 12), GPR("r13", 13), GPR("r14", 14), GPR("r15", 15),
    { "rip",    "code_ptr",    CORE, 8, AT(rip) },
    { "eflags", "i386_eflags", CORE, 4, offsetof(struct vcpu_state, rflags), 4 },
    SELECTOR("cs", SEG_CS), SELECTOR("ss", SEG_SS), SELECTOR("ds", SEG_DS),
    SELECTOR("es", SEG_ES), SELECTOR("fs", SEG_FS), SELECTOR("gs", SEG_GS),
    ST(0), ST(1), ST(2), ST(3), ST(4), ST(5), ST(6), ST(7),
    X87("fctrl", FX_CTRL, 2), X87("fstat", FX_STAT, 2),
    { "ftag",   "int",         CORE, 4, 0, 0 },
    X87("fiseg", FX_IP + 4, 2), X87("fioff", FX_IP, 4), X87("foseg", FX_DP + 4, 2), X87("fooff", FX_DP, 4), X87("fop", FX_OP, 2),
    XMM(0), XMM(1), XMM(2),  XMM(3),  XMM(4),  XMM(5),  XMM(6),  XMM(7),
    XMM(8), XMM(9), XMM(10), XMM(11), XMM(12), XMM(13), XMM(14), XMM(15),
    { "mxcsr",   "int", SSE, 4, AT(xsave[FX_MXCSR]) + 3 },
    { "fs_base", "int64", SEGMENTS, 8, AT(seg[SEG_FS].base) },
    { "gs_base", "int64", SEGMENTS, 8, AT(seg[SEG_GS].base) },
    SYS("cr0", cr0), SYS("cr2", cr2), SYS("cr3", cr3), SYS("cr4", cr4), SYS("cr8", cr8), SYS("efer", efer),
    SYS("cs_base", seg[SEG_CS].base), SYS("ss_base", seg[SEG_SS].base), SYS("ds_base", seg[SEG_DS].base),
    SYS("es_base", seg[SEG_ES].base), SYS("ldt_base", seg[SEG_LDTR].base), SYS("tr_base", seg[SEG_TR].base),
    SYS("gdt_base", gdt_base), SYS("gdt_limit", gdt_limit), SYS("idt_base", idt_base), SYS("idt_limit", idt_limit),
};

static const char *const features[GROUPS] = {
    [CORE]     = "org.gnu.gdb.i386.core",
    [SSE]      = "org.gnu.gdb.i386.sse",
    [SEGMENTS] = "org.gnu.gdb.i386.segments",
    [SYSTEM]   = "org.socle.system",
};

/* Types that the rows of a group use. */
static const char *const types[GROUPS] = {
    [CORE] =
        "<flags id=\"i386_eflags\" size=\"4\">"
        "<field name=\"CF\" start=\"0\" end=\"0\"/><field name=\"PF\" start=\"2\" end=\"2\"/><field name=\"AF\" start=\"4\" end=\"4\"/>"
        "<field name=\"ZF\" start=\"6\" end=\"6\"/><field name=\"SF\" start=\"7\" end=\"7\"/><field name=\"TF\" start=\"8\" end=\"8\"/>"
        "<field name=\"IF\" start=\"9\" end=\"9\"/><field name=\"DF\" start=\"10\" end=\"10\"/><field name=\"OF\" start=\"11\" end=\"11\"/>"
        "<field name=\"NT\" start=\"14\" end=\"14\"/><field name=\"RF\" start=\"16\" end=\"16\"/><field name=\"VM\" start=\"17\" end=\"17\"/>"
        "<field name=\"AC\" start=\"18\" end=\"18\"/><field name=\"VIF\" start=\"19\" end=\"19\"/><field name=\"VIP\" start=\"20\" end=\"20\"/>"
        "<field name=\"ID\" start=\"21\" end=\"21\"/></flags>",
    [SSE] =
        "<vector id=\"v4f\" type=\"ieee_single\" count=\"4\"/><vector id=\"v2d\" type=\"ieee_double\" count=\"2\"/>"
        "<vector id=\"v16i8\" type=\"int8\" count=\"16\"/><vector id=\"v8i16\" type=\"int16\" count=\"8\"/>"
        "<vector id=\"v4i32\" type=\"int32\" count=\"4\"/><vector id=\"v2i64\" type=\"int64\" count=\"2\"/>"
        "<union id=\"vec128\"><field name=\"v4_float\" type=\"v4f\"/><field name=\"v2_double\" type=\"v2d\"/>"
        "<field name=\"v16_int8\" type=\"v16i8\"/><field name=\"v8_int16\" type=\"v8i16\"/><field name=\"v4_int32\" type=\"v4i32\"/>"
        "<field name=\"v2_int64\" type=\"v2i64\"/><field name=\"uint128\" type=\"uint128\"/></union>",
    [SEGMENTS] = "",
    [SYSTEM] = "",
};
/* clang-format on */

u32 gdb_regs_count(void)
{
    return ARRAY_LEN(regs);
}

u32 gdb_regs_size(u32 n)
{
    must(n < ARRAY_LEN(regs));
    return regs[n].size;
}

/* FXSAVE has a bit for each register that is not empty, gdb wants two: 0 valid, 3 empty. */
static u32 tag_get(const u8 *fx)
{
    u32 tags = 0;

    for (u32 i = 0; i < 8; i++)
        if (!(fx[FX_TAG] >> i & 1))
            tags |= 3u << (2 * i);
    return tags;
}

static void tag_set(u8 *fx, u64 tags)
{
    fx[FX_TAG] = 0;
    for (u32 i = 0; i < 8; i++)
        if ((tags >> (2 * i) & 3) != 3)
            fx[FX_TAG] |= (u8)(1u << i);
}

void gdb_regs_get(const struct vcpu_state *s, u32 n, u8 *ret)
{
    const struct reg *r = &regs[n];

    must(n < ARRAY_LEN(regs));
    memset(ret, 0, r->size);
    if (r->held)
        memcpy(ret, (const u8 *)s + r->at, r->held);
    else
        le_store(ret, 4, tag_get(s->xsave));
}

void gdb_regs_set(struct vcpu_state *s, u32 n, const u8 *value)
{
    const struct reg *r = &regs[n];

    must(n < ARRAY_LEN(regs));
    if (r->held)
        memcpy((u8 *)s + r->at, value, r->held);
    else
        tag_set(s->xsave, le_load(value, 4));
    if (!r->held || r->at >= offsetof(struct vcpu_state, xsave))
        s->xsave[XSTATE_BV] |= XSTATE_X87_SSE;
}

void gdb_regs_xml(struct strbuf *out)
{
    enum group open = GROUPS;

    strbuf_add(out, "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\">"
                    "<target><architecture>i386:x86-64</architecture>");
    for_each_row(r, regs) {
        if (r->group != open)
            strbuf_add(out, "%s<feature name=\"%s\">%s", open == GROUPS ? "" : "</feature>",
                       features[r->group], types[r->group]);
        open = r->group;
        strbuf_add(out, "<reg name=\"%s\" bitsize=\"%d\" type=\"%s\"/>", r->name, r->size * 8,
                   r->type);
    }
    strbuf_add(out, "</feature></target>");
}
