/*
 * cpu/soft/sys_test.c: control and debug registers, MSRs, CPUID, ports, halting, the paravirtual clock, hypercalls.
 */
#include "cpu/soft/sys.h"

#include "cpu/soft/cpuid.h"
#include "cpu/soft/io.h"
#include "cpu/soft/msr.h"
#include "cpu/soft/pv.h"
#include "cpu/soft/rig.h"
#include "cpu/soft/seg.h"
#include "testlib/test.h"

#include <cpuid.h>
#include <stdlib.h>

enum { NONE = 255 };

/* Runs code once in a mode, with RAX, RCX, RDX given.  The exception's vector, or NONE. */
struct shot {
    const char *why;
    enum rig_mode mode;
    const char *code;
    u32 len;
    u64 rax, rcx, rdx;
    u8 want; /* vector */
    u64 want_rax;
};

static u8 fire(struct rig *r, const struct shot *s)
{
    struct soft_cpu *c = r->c;

    rig_code(r, s->code, s->len);
    c->reg[GPR_RAX] = s->rax;
    c->reg[GPR_RCX] = s->rcx;
    c->reg[GPR_RDX] = s->rdx;
    return rig_step(r) == RIG_END_EXCEPTION ? c->event.vector : NONE;
}

#define CODE(bytes) bytes, sizeof(bytes) - 1
#define MOV_CR0_RAX "\x0f\x22\xc0"
#define MOV_CR3_RAX "\x0f\x22\xd8"
#define MOV_CR4_RAX "\x0f\x22\xe0"
#define MOV_CR8_RAX "\x44\x0f\x22\xc0"
#define MOV_DR4_RAX "\x0f\x23\xe0"
#define MOV_DR6_RAX "\x0f\x23\xf0"
#define MOV_DR7_RAX "\x0f\x23\xf8"
#define RDMSR       "\x0f\x32"
#define WRMSR       "\x0f\x30"
#define XSETBV      "\x0f\x01\xd1"

/* clang-format off */
static const struct shot at_ring0[] = {
    { "CR0: PG needs PE",            RIG_PROT32, CODE(MOV_CR0_RAX), .rax = CR0_PG, .want = VEC_GP },
    { "CR0: NW needs CD",            RIG_PROT32, CODE(MOV_CR0_RAX), .rax = CR0_PE | CR0_NW, .want = VEC_GP },
    { "CR0: upper half",             RIG_LONG,   CODE(MOV_CR0_RAX), .rax = 1ull << 32 | CR0_PE | CR0_PG, .want = VEC_GP },
    { "CR0: PG stays in 64-bit code", RIG_LONG,  CODE(MOV_CR0_RAX), .rax = CR0_PE, .want = VEC_GP },
    { "CR0: unknown bits vanish",    RIG_PROT32, CODE(MOV_CR0_RAX), .rax = CR0_PE | 1 << 10, .want = NONE },
    { "CR3: above MAXPHYADDR",       RIG_LONG,   CODE(MOV_CR3_RAX), .rax = 1ull << 60, .want = VEC_GP },
    { "CR3: NOFLUSH needs PCIDE",    RIG_LONG,   CODE(MOV_CR3_RAX), .rax = 1ull << 63 | RIG_TABLES, .want = VEC_GP },
    { "CR3",                         RIG_LONG,   CODE(MOV_CR3_RAX), .rax = RIG_TABLES, .want = NONE },
    { "CR4: PAE stays in long mode", RIG_LONG,   CODE(MOV_CR4_RAX), .rax = 0, .want = VEC_GP },
    { "CR4: LA57 is not offered",    RIG_LONG,   CODE(MOV_CR4_RAX), .rax = CR4_PAE | 1 << 12, .want = VEC_GP },
    { "CR4: PCIDE needs long mode",  RIG_PROT32, CODE(MOV_CR4_RAX), .rax = CR4_PCIDE, .want = VEC_GP },
    { "CR4: PCIDE",                  RIG_LONG,   CODE(MOV_CR4_RAX), .rax = CR4_PAE | CR4_PCIDE, .want = NONE },
    { "CR8: 16",                     RIG_LONG,   CODE(MOV_CR8_RAX), .rax = 16, .want = VEC_GP },
    { "CR8: 15",                     RIG_LONG,   CODE(MOV_CR8_RAX), .rax = 15, .want = NONE },
    { "CR1 does not exist",          RIG_PROT32, CODE("\x0f\x22\xc8"), .want = VEC_UD },
    { "DR4 is DR6 without CR4.DE",   RIG_PROT32, CODE(MOV_DR4_RAX), .want = NONE },
    { "DR6: upper half",             RIG_LONG,   CODE(MOV_DR6_RAX), .rax = 1ull << 32, .want = VEC_GP },
    { "DR7: upper half",             RIG_LONG,   CODE(MOV_DR7_RAX), .rax = 1ull << 32, .want = VEC_GP },
    { "XSETBV: x87 must be on",      RIG_LONG,   CODE(XSETBV), .rax = 6, .want = VEC_GP },
    { "XSETBV: AVX needs SSE",       RIG_LONG,   CODE(XSETBV), .rax = 5, .want = VEC_GP },
    { "XSETBV: AVX-512",             RIG_LONG,   CODE(XSETBV), .rax = 0xe7, .want = VEC_GP },
    { "XSETBV: XCR1",                RIG_LONG,   CODE(XSETBV), .rax = 7, .rcx = 1, .want = VEC_GP },
    { "XSETBV",                      RIG_LONG,   CODE(XSETBV), .rax = 7, .want = NONE },
    { "XGETBV",                      RIG_LONG,   CODE("\x0f\x01\xd0"), .want = NONE, .want_rax = 7 },
    { "XGETBV 2",                    RIG_LONG,   CODE("\x0f\x01\xd0"), .rcx = 2, .want = VEC_GP },
    { "RDMSR: none",                 RIG_LONG,   CODE(RDMSR), .rcx = 0xdead, .want = VEC_GP },
    { "RDMSR: EFER",                 RIG_LONG,   CODE(RDMSR), .rcx = MSR_EFER, .want = NONE, .want_rax = 0xd01 },
    { "RDMSR: MTRRCAP",              RIG_LONG,   CODE(RDMSR), .rcx = 0xfe, .want = NONE, .want_rax = 0x508 },
    { "RDMSR: PRED_CMD is for writing", RIG_LONG, CODE(RDMSR), .rcx = 0x49, .want = VEC_GP },
    { "RDMSR: below a row of two",   RIG_LONG,   CODE(RDMSR), .rcx = 0x257, .want = VEC_GP },
    { "RDMSR: behind a row of two",  RIG_LONG,   CODE(RDMSR), .rcx = 0x25a, .want = VEC_GP },
    { "WRMSR: MTRRCAP is read-only", RIG_LONG,   CODE(WRMSR), .rcx = 0xfe, .want = VEC_GP },
    { "WRMSR: EFER.LME while paging", RIG_LONG,  CODE(WRMSR), .rcx = MSR_EFER, .rax = EFER_NXE, .want = VEC_GP },
    { "WRMSR: EFER.SVME",            RIG_LONG,   CODE(WRMSR), .rcx = MSR_EFER, .rax = 0x1d01, .want = VEC_GP },
    { "WRMSR: EFER.SCE off",         RIG_LONG,   CODE(WRMSR), .rcx = MSR_EFER, .rax = 0xd00, .want = NONE },
    { "WRMSR: LSTAR not canonical",  RIG_LONG,   CODE(WRMSR), .rcx = 0xc0000082, .rdx = 0x8000, .want = VEC_GP },
    { "WRMSR: FS_BASE not canonical", RIG_LONG,  CODE(WRMSR), .rcx = MSR_FS_BASE, .rdx = 0x00800000, .want = VEC_GP },
    { "WRMSR: GS_BASE",              RIG_LONG,   CODE(WRMSR), .rcx = MSR_GS_BASE, .rdx = 0xffff8000, .want = NONE },
    { "WRMSR: PAT type 2",           RIG_LONG,   CODE(WRMSR), .rcx = 0x277, .rax = 2, .want = VEC_GP },
    { "WRMSR: PAT type 7",           RIG_LONG,   CODE(WRMSR), .rcx = 0x277, .rax = 7, .want = NONE },
    { "WRMSR: MTRR type 7",          RIG_LONG,   CODE(WRMSR), .rcx = 0x2ff, .rax = 7, .want = VEC_GP },
    { "WRMSR: MTRR default WB",      RIG_LONG,   CODE(WRMSR), .rcx = 0x2ff, .rax = 0xc06, .want = NONE },
    { "WRMSR: MC status",            RIG_LONG,   CODE(WRMSR), .rcx = 0x401, .rax = 1, .want = VEC_GP },
    { "WRMSR: XSS",                  RIG_LONG,   CODE(WRMSR), .rcx = 0xda0, .rax = 1, .want = VEC_GP },
    { "WRMSR: APIC_BASE reserved",   RIG_LONG,   CODE(WRMSR), .rcx = 0x1b, .rax = 0xfee00801, .want = VEC_GP },
    { "WRMSR: steal time reserved",  RIG_LONG,   CODE(WRMSR), .rcx = MSR_PV_STEAL, .rax = 3, .want = VEC_GP },
    { "RDPMC",                       RIG_LONG,   CODE("\x0f\x33"), .want = VEC_GP },
    { "RDPKRU needs CR4.PKE",        RIG_LONG,   CODE("\x0f\x01\xee"), .want = VEC_UD },
    { "RDFSBASE needs CR4.FSGSBASE", RIG_LONG,   CODE("\xf3\x48\x0f\xae\xc0"), .want = VEC_UD },
    { "SWAPGS in 32-bit code",       RIG_PROT32, CODE("\x0f\x01\xf8"), .want = VEC_UD },
    { "RSM",                         RIG_PROT32, CODE("\x0f\xaa"), .want = VEC_UD },
    { "UD2",                         RIG_PROT32, CODE("\x0f\x0b"), .want = VEC_UD },
    { "WBINVD",                      RIG_PROT32, CODE("\x0f\x09"), .want = NONE },
    { "IN AL keeps the rest of EAX", RIG_PROT32, CODE("\xe4\x10"), .rax = 0x11223344, .want = NONE, .want_rax = 0x1122334a },
    { "IN EAX clears the rest of RAX", RIG_LONG, CODE("\xed"), .rax = ~0ull, .rdx = 0x10, .want = NONE, .want_rax = 0x5a5a5a4a },
    { "SMSW",                        RIG_PROT32, CODE("\x0f\x01\xe0"), .want = NONE, .want_rax = CR0_PE | CR0_ET | CR0_NE },
    { "VMCALL of no call",           RIG_LONG,   CODE("\x0f\x01\xc1"), .rax = 999, .want = NONE, .want_rax = (u64)-1000 },
    { "VMMCALL of no call",          RIG_PROT32, CODE("\x0f\x01\xd9"), .rax = 999, .want = NONE, .want_rax = (u32)-1000 },
};

static const struct shot at_ring3[] = {
    { "MOV CR0",  RIG_LONG,   CODE(MOV_CR0_RAX), .want = VEC_GP },
    { "MOV DR7",  RIG_LONG,   CODE(MOV_DR7_RAX), .want = VEC_GP },
    { "HLT",      RIG_PROT32, CODE("\xf4"), .want = VEC_GP },
    { "CLTS",     RIG_PROT32, CODE("\x0f\x06"), .want = VEC_GP },
    { "INVLPG",   RIG_PROT32, CODE("\x0f\x01\x38"), .want = VEC_GP },
    { "RDMSR",    RIG_LONG,   CODE(RDMSR), .rcx = MSR_EFER, .want = VEC_GP },
    { "WRMSR",    RIG_LONG,   CODE(WRMSR), .rcx = MSR_EFER, .want = VEC_GP },
    { "XSETBV",   RIG_LONG,   CODE(XSETBV), .rax = 7, .want = VEC_GP },
    { "SWAPGS",   RIG_LONG,   CODE("\x0f\x01\xf8"), .want = VEC_GP },
    { "STAC",     RIG_LONG,   CODE("\x0f\x01\xcb"), .want = VEC_UD },
    { "WBINVD",   RIG_PROT32, CODE("\x0f\x09"), .want = VEC_GP },
    { "IN",       RIG_PROT32, CODE("\xec"), .want = VEC_GP },
    { "OUT",      RIG_PROT32, CODE("\xee"), .want = VEC_GP },
    { "INSB",     RIG_PROT32, CODE("\x6c"), .want = VEC_GP },
    { "VMCALL is refused, not trapped", RIG_LONG, CODE("\x0f\x01\xc1"), .rax = 1, .want = NONE, .want_rax = (u64)-1 },
    { "RDTSC",    RIG_LONG,   CODE("\x0f\x31"), .want = NONE },
    { "SMSW",     RIG_PROT32, CODE("\x0f\x01\xe0"), .want = NONE, .want_rax = CR0_PE | CR0_ET | CR0_NE },
};
/* clang-format on */

static void check_shot(struct rig *r, const struct shot *s, bool user)
{
    ROW(s);
    rig_mode(r, s->mode);
    if (user)
        rig_user(r);
    r->c->seg[SEG_TR].limit = 0x60; /* no I/O bitmap */
    CHECK_EQ(fire(r, s), s->want);
    if (s->want_rax)
        CHECK_EQ(r->c->reg[GPR_RAX], s->want_rax);
    if (s->want == NONE)
        CHECK_EQ(r->c->rip, RIG_CODE + s->len);
    else
        CHECK_EQ(r->c->rip, RIG_CODE);
}

TEST(soft_sys_ring0)
{
    struct rig *r = rig_new(1);

    for_each_row(s, at_ring0)
        check_shot(r, s, false);
    rig_free(r);
}

TEST(soft_sys_ring3)
{
    struct rig *r = rig_new(1);

    for_each_row(s, at_ring3)
        check_shot(r, s, true);
    rig_free(r);
}

/* What the host's CPU can do, or may do in ring 0, and guests are not offered: it must not reach the host. */
TEST(soft_sys_not_offered)
{
    /* clang-format off */
    static const struct shot rows[] = {
        { "VMLAUNCH",   RIG_LONG, CODE("\x0f\x01\xc2"), .want = VEC_UD },
        { "VMXOFF",     RIG_LONG, CODE("\x0f\x01\xc4"), .want = VEC_UD },
        { "VMREAD",     RIG_LONG, CODE("\x0f\x78\xc0"), .want = VEC_UD },
        { "VMPTRLD",    RIG_LONG, CODE("\x0f\xc7\x30"), .want = VEC_UD },
        { "VMRUN",      RIG_LONG, CODE("\x0f\x01\xd8"), .want = VEC_UD },
        { "STGI",       RIG_LONG, CODE("\x0f\x01\xdc"), .want = VEC_UD },
        { "CLGI",       RIG_LONG, CODE("\x0f\x01\xdd"), .want = VEC_UD },
        { "SKINIT",     RIG_LONG, CODE("\x0f\x01\xde"), .want = VEC_UD },
        { "INVLPGA",    RIG_LONG, CODE("\x0f\x01\xdf"), .want = VEC_UD },
        { "ENCLS",      RIG_LONG, CODE("\x0f\x01\xcf"), .want = VEC_UD },
        { "ENCLU",      RIG_LONG, CODE("\x0f\x01\xd7"), .want = VEC_UD },
        { "GETSEC",     RIG_LONG, CODE("\x0f\x37"), .want = VEC_UD },
        { "MONITORX",   RIG_LONG, CODE("\x0f\x01\xfa"), .want = VEC_UD },
        { "MWAITX",     RIG_LONG, CODE("\x0f\x01\xfb"), .want = VEC_UD },
        { "CLZERO",     RIG_LONG, CODE("\x0f\x01\xfc"), .want = VEC_UD },
        { "RDPRU",      RIG_LONG, CODE("\x0f\x01\xfd"), .want = VEC_UD },
        { "INVLPGB",    RIG_LONG, CODE("\x0f\x01\xfe"), .want = VEC_UD },
        { "SERIALIZE",  RIG_LONG, CODE("\x0f\x01\xe8"), .want = VEC_UD },
        { "XTEST",      RIG_LONG, CODE("\x0f\x01\xd6"), .want = VEC_UD },
        { "XBEGIN",     RIG_LONG, CODE("\xc7\xf8\x00\x00\x00\x00"), .want = VEC_UD },
        { "XSAVES",     RIG_LONG, CODE("\x0f\xc7\x29"), .want = VEC_UD },
        { "XRSTORS",    RIG_LONG, CODE("\x0f\xc7\x19"), .want = VEC_UD },
        { "UMONITOR",   RIG_LONG, CODE("\xf3\x0f\xae\xf0"), .want = VEC_UD },
        { "TPAUSE",     RIG_LONG, CODE("\x66\x0f\xae\xf0"), .want = VEC_UD },
        { "PTWRITE",    RIG_LONG, CODE("\xf3\x0f\xae\xe0"), .want = VEC_UD },
        { "SETSSBSY",   RIG_LONG, CODE("\xf3\x0f\x01\xe8"), .want = VEC_UD },
        { "INCSSPQ",    RIG_LONG, CODE("\xf3\x48\x0f\xae\xe8"), .want = VEC_UD },
        { "WRSSQ",      RIG_LONG, CODE("\x48\x0f\x38\xf6\x08"), .want = VEC_UD },
        { "MOVDIR64B",  RIG_LONG, CODE("\x66\x0f\x38\xf8\x08"), .want = VEC_UD },
        { "MOVDIRI",    RIG_LONG, CODE("\x0f\x38\xf9\x08"), .want = VEC_UD },
        { "ENQCMD",     RIG_LONG, CODE("\xf2\x0f\x38\xf8\x08"), .want = VEC_UD },
        { "PCONFIG",    RIG_LONG, CODE("\x0f\x01\xc5"), .want = VEC_UD },
        { "3DNow FEMMS", RIG_LONG, CODE("\x0f\x0e"), .want = VEC_UD },
        { "3DNow PFADD", RIG_LONG, CODE("\x0f\x0f\xc0\x9e"), .want = VEC_UD },
        { "AVX-512",    RIG_LONG, CODE("\x62\xf1\x7c\x48\x58\xc0"), .want = VEC_UD },
        { "XOP",        RIG_LONG, CODE("\x8f\xe8\x78\xa2\xc0\x00"), .want = VEC_UD },
        { "FMA4",       RIG_LONG, CODE("\xc4\xe3\xf9\x69\xc0\x00"), .want = VEC_UD },
        { "LWPCB",      RIG_LONG, CODE("\x8f\xe9\x78\x12\xc0"), .want = VEC_UD },
    };
    /* clang-format on */
    struct rig *r = rig_new(1);

    for_each_row(s, rows)
        check_shot(r, s, false);
    rig_free(r);
}

TEST(soft_sys_general_detect)
{
    static const struct shot s = { "GD", RIG_LONG, CODE(MOV_DR7_RAX), .want = VEC_DB };
    struct rig *r = rig_new(1);

    rig_mode(r, RIG_LONG);
    r->c->dr7 |= 1 << 13;
    CHECK_EQ(fire(r, &s), VEC_DB);
    CHECK(r->c->dr6 & 1 << 13);
    rig_mode(r, RIG_LONG);
    r->c->cr4 |= CR4_DE;
    CHECK_EQ(fire(r, &(struct shot){ .code = MOV_DR4_RAX, .len = 3 }), VEC_UD);
    rig_free(r);
}

TEST(soft_sys_pae_entries_are_checked)
{
    static const u64 reserved = RIG_DATA | 3;
    struct rig *r = rig_new(1);

    rig_mode(r, RIG_PROT32);
    r->c->cr3 = RIG_TABLES + 0x3000;
    CHECK(soft_set_cr4(r->c, CR4_PAE));
    memset(r->ram + RIG_TABLES + 0x3000, 0, 32);
    CHECK(soft_set_cr0(r->c, CR0_PE | CR0_PG));
    CHECK(soft_set_cr3(r->c, RIG_TABLES + 0x3000));
    memcpy(r->ram + RIG_TABLES + 0x3000, &reserved, 8);
    CHECK(!soft_set_cr3(r->c, RIG_TABLES + 0x3000));
    CHECK(soft_set_cr0(r->c, CR0_PE));
    CHECK(!soft_set_cr0(r->c, CR0_PE | CR0_PG));
    rig_free(r);
}

TEST(soft_sys_long_mode_enter_and_leave)
{
    struct rig *r = rig_new(1);
    struct soft_cpu *c = r->c;

    rig_mode(r, RIG_PROT32);
    CHECK(soft_set_efer(c, EFER_LME));
    CHECK(!soft_set_cr0(c, CR0_PE | CR0_PG)); /* PAE is off */
    c->cr3 = RIG_TABLES;
    CHECK(soft_set_cr4(c, CR4_PAE));
    CHECK(soft_set_cr0(c, CR0_PE | CR0_PG));
    CHECK_EQ(c->efer, EFER_LME | EFER_LMA);
    CHECK(!soft_code64(c));
    CHECK(soft_set_cr4(c, CR4_PAE | CR4_PCIDE));
    CHECK(!soft_set_cr0(c, CR0_PE)); /* PCIDE is on */
    CHECK(soft_set_cr4(c, CR4_PAE));
    CHECK(soft_set_cr0(c, CR0_PE));
    CHECK_EQ(c->efer, EFER_LME);
    rig_free(r);
}

TEST(soft_sys_io_bitmap)
{
    struct rig *r = rig_new(1);
    struct soft_cpu *c = r->c;
    u16 at = 0x68;
    const struct shot in8 = { "in", RIG_PROT32, CODE("\xec"), .rdx = 0x13 };
    const struct shot in16 = { "in", RIG_PROT32, CODE("\x66\xed"), .rdx = 0x13 };
    const struct {
        const char *why;
        u8 bits;
        u32 limit;
        const struct shot *s;
        u8 want;
    } rows[] = {
        { "allowed", 0xf7, 0x200, &in8, NONE },
        { "forbidden", 0x08, 0x200, &in8, VEC_GP },
        { "its second byte is forbidden", 0x10, 0x200, &in16, VEC_GP },
        { "the TSS ends before the bitmap's second byte", 0, 0x68 + 2, &in8, VEC_GP },
        { "the TSS ends behind it", 0, 0x68 + 3, &in8, NONE },
        { "the TSS has no bitmap", 0, 0x60, &in8, VEC_GP },
    };

    for_each_row(w, rows) {
        ROW(w);
        rig_mode(r, RIG_PROT32);
        rig_user(r);
        c->seg[SEG_TR] = (struct seg_state){ .base = RIG_DATA, .limit = w->limit, .attr = 0x8b };
        memset(r->ram + RIG_DATA, 0, 0x200);
        memcpy(r->ram + RIG_DATA + 102, &at, 2);
        r->ram[RIG_DATA + at + 2] = w->bits;
        CHECK_EQ(fire(r, w->s), w->want);
    }
    rig_free(r);
}

TEST(soft_sys_string_io)
{
    struct rig *r = rig_new(1);
    struct soft_cpu *c = r->c;

    rig_mode(r, RIG_LONG);
    rig_code(r, CODE("\xf3\x6d\xe6\xf4\xf4")); /* rep insd; out RIG_PORT, al; hlt */
    c->reg[GPR_RCX] = 5000;
    c->reg[GPR_RDX] = 0x10;
    c->reg[GPR_RDI] = RIG_DATA;
    CHECK_EQ(vcpu_run(c->v), VCPU_KICKED);
    CHECK_EQ(c->reg[GPR_RCX], 0);
    CHECK_EQ(c->reg[GPR_RDI], RIG_DATA + 20000);
    CHECK_EQ(le_load(r->ram + RIG_DATA + 19996, 4), 0x5a5a5a4a);

    rig_mode(r, RIG_REAL);
    rig_code(r, CODE("\xfd\xf3\x6e\xf4")); /* std; rep outsb; hlt */
    r->ram[2] = 0x77;
    c->reg[GPR_RCX] = 0xabcd0003;
    c->reg[GPR_RDX] = RIG_PORT;
    c->reg[GPR_RSI] = 0x12340004;
    while (rig_run(r, 100) != RIG_END_HLT)
        ;
    CHECK_EQ(c->reg[GPR_RCX], 0xabcd0000);
    CHECK_EQ(c->reg[GPR_RSI], 0x12340001);
    CHECK_EQ(r->port_writes, 1 + 3);
    CHECK_EQ(r->port_value, 0x77);
    rig_free(r);
}

/* INS must not read the port when its element cannot be stored. */
TEST(soft_sys_ins_faults_first)
{
    struct rig *r = rig_new(1);
    struct shot s = { "ins", RIG_LONG, CODE("\x6c"), .rdx = 0x10 };
    u64 before;

    rig_mode(r, RIG_LONG);
    r->c->reg[GPR_RDI] = 3ull << 30;
    before = r->c->v->exits[SOFT_EXIT_IO];
    CHECK_EQ(fire(r, &s), VEC_PF);
    CHECK_EQ(r->c->v->exits[SOFT_EXIT_IO], before);
    CHECK_EQ(r->c->reg[GPR_RDI], 3ull << 30);
    rig_free(r);
}

static u32 cpuid(struct rig *r, u32 leaf, u32 subleaf, u32 which)
{
    struct cpuid_regs c = soft_cpuid_query(r->c, leaf, subleaf);
    const u32 regs[] = { c.eax, c.ebx, c.ecx, c.edx };

    return regs[which];
}

TEST(soft_cpuid_models)
{
    static const struct {
        const char *why;
        enum cpu_model model;
        enum cpu_feature in, out;
    } rows[] = {
        { "v1 has SSE2, not SSE3", CPU_MODEL_V1, F_SSE2, F_SSE3 },
        { "v2 has SSE4.2, not AVX", CPU_MODEL_V2, F_SSE42, F_AVX },
        { "v2 has no XSAVE", CPU_MODEL_V2, F_POPCNT, F_XSAVE },
        { "v3 has AVX2, not AES", CPU_MODEL_V3, F_AVX2, F_AES },
    };
    struct soft_cpuid m;
    struct err e = {};

    for_each_row(w, rows) {
        ROW(w);
        int r = soft_cpuid_init(&m, w->model, &e);
        if (r == -ENOTSUP)
            test_skip("this host's CPU cannot do that model");
        CHECK_OK(r, &e);
        CHECK(m.features[w->in / 64] >> (w->in % 64) & 1);
        CHECK(!(m.features[w->out / 64] >> (w->out % 64) & 1));
    }
}

TEST(soft_cpuid_leafs)
{
    struct rig *r = rig_new(4);

    rig_mode(r, RIG_LONG);
    CHECK_EQ(cpuid(r, 1, 0, 1) >> 16 & 0xff, 4);
    CHECK_EQ(cpuid(r, 0xb, 0, 1), 1);
    CHECK_EQ(cpuid(r, 0xb, 1, 0), 2);
    CHECK_EQ(cpuid(r, 0xb, 1, 1), 4);
    CHECK_EQ(cpuid(r, 0xb, 2, 1), 0);
    CHECK_EQ(cpuid(r, 0x40000000, 0, 1), 0x4b4d564b);
    CHECK_EQ(cpuid(r, 0x40000010, 0, 0), SOFT_TSC_KHZ);
    CHECK_EQ(cpuid(r, 0x15, 0, 2), SOFT_TSC_KHZ * 1000u);
    CHECK(!(cpuid(r, 1, 0, 2) & 1 << 3));  /* MONITOR is not shown */
    CHECK(!(cpuid(r, 7, 0, 2) & 1 << 16)); /* LA57 */
    r->c->cr4 = CR4_PAE;
    CHECK(!(cpuid(r, 1, 0, 2) & 1 << 27));
    r->c->cr4 |= CR4_OSXSAVE;
    CHECK(cpuid(r, 1, 0, 2) & 1 << 27);
    r->c->xcr0 = 1;
    CHECK_EQ(cpuid(r, 0xd, 0, 1), 576);
    CHECK_EQ(cpuid(r, 0x12345678, 0, 0), cpuid(r, 0x12345678, 0, 0));
    rig_free(r);
}

/* Of the host's caches the guest sees what they are, also when it asks again. */
TEST(soft_cpuid_of_the_hosts_caches)
{
    static const u32 leafs[] = { 0x80000005, 0x80000006 };
    struct rig *r = rig_new(1);

    rig_mode(r, RIG_LONG);
    for_each_row(leaf, leafs) {
        u32 host[4] = {};

        __get_cpuid(*leaf, &host[0], &host[1], &host[2], &host[3]);
        for (u32 i = 0; i < 8; i++)
            CHECK_EQ(cpuid(r, *leaf, 0, i % 4), host[i % 4]);
    }
    CHECK_EQ(cpuid(r, 0x8000001d, 100, 0), 0); /* beyond what is kept, and beyond what there is */
    rig_free(r);
}

/* Every row's registers survive a save and a load. */
TEST(soft_msrs_round_trip)
{
    struct rig *r = rig_new(1);
    struct vcpu_state *a = xnew(struct vcpu_state), *b = xnew(struct vcpu_state);
    struct err e = {};

    rig_mode(r, RIG_LONG);
    cpu_clock_stop(r->vm);
    for (u32 i = 0; i < 1000; i++)
        soft_msr_write(r->c, 0x200 + i, 6);
    CHECK(soft_msr_write(r->c, 0xc0000082, 0xffffffff81000000));
    CHECK(soft_msr_write(r->c, MSR_TSC, 123456789));
    CHECK(soft_msr_write(r->c, 0xc0000103, 3));
    CHECK_OK(vcpu_get(r->c->v, a, &e), &e);
    CHECK_OK(vcpu_reset(r->c->v, &e), &e);
    CHECK_OK(vcpu_set(r->c->v, a, &e), &e);
    CHECK_OK(vcpu_get(r->c->v, b, &e), &e);
    CHECK_EQ(a->n_msrs, b->n_msrs);
    for (u32 i = 0; i < a->n_msrs; i++) {
        CHECK_EQ(a->msr[i].index, b->msr[i].index);
        CHECK_EQ(a->msr[i].value, b->msr[i].value);
    }
    CHECK_EQ(soft_tsc(r->c), 123456789);
    CHECK_MEM(a->lapic, b->lapic, sizeof(a->lapic));
    CHECK_MEM(a->xsave, b->xsave, sizeof(a->xsave));
    free(a);
    free(b);
    rig_free(r);
}

TEST(soft_state_refuses_what_cannot_be)
{
    struct rig *r = rig_new(1);
    struct vcpu_state *s = xnew(struct vcpu_state);
    struct err e = {};

    rig_mode(r, RIG_LONG);
    CHECK_OK(vcpu_get(r->c->v, s, &e), &e);
    s->efer = EFER_LMA;
    CHECK_EQ(vcpu_set(r->c->v, s, &e), -EINVAL);
    s->efer = EFER_LMA | EFER_LME;
    s->cr4 = 0;
    CHECK_EQ(vcpu_set(r->c->v, s, &e), -EINVAL);
    s->cr4 = CR4_PAE;
    s->xcr0 = 1ull << 62;
    CHECK_EQ(vcpu_set(r->c->v, s, &e), -EINVAL);
    CHECK_OK(vcpu_reset(r->c->v, &e), &e);
    CHECK_EQ(r->c->rip, 0xfff0);
    CHECK_EQ(r->c->seg[SEG_CS].base, 0xffff0000);
    free(s);
    rig_free(r);
}

struct clock_page {
    u32 version, pad;
    u64 tsc, ns;
    u32 mul;
    s8 shift;
    u8 flags;
};

static u64 read_clock(const struct clock_page *p, u64 tsc)
{
    return p->ns + (u64)((unsigned __int128)((tsc - p->tsc) << p->shift) * p->mul >> 32);
}

TEST(soft_pv_clock)
{
    struct rig *r = rig_new(1);
    const struct clock_page *p = (const void *)(r->ram + RIG_DATA);

    rig_mode(r, RIG_LONG);
    cpu_clock_stop(r->vm);
    CHECK(soft_msr_write(r->c, MSR_PV_TIME, RIG_DATA | 1));
    CHECK_EQ(p->version % 2, 0);
    CHECK_EQ(p->flags, 1);
    CHECK_EQ(read_clock(p, soft_tsc(r->c)), soft_now_ns(r->c->vm));
    CHECK_EQ(read_clock(p, soft_tsc(r->c) + 1000), soft_now_ns(r->c->vm) + 1000);
    CHECK(soft_msr_write(r->c, MSR_TSC, 5)); /* the guest's own doing: its clock does not move */
    CHECK_EQ(read_clock(p, soft_tsc(r->c)), soft_now_ns(r->c->vm));
    cpu_clock_start(r->vm);
    CHECK_EQ(p->flags, 3); /* it stood */
    CHECK(soft_msr_write(r->c, MSR_PV_WALL, RIG_DATA + 64));
    CHECK(le_load(r->ram + RIG_DATA + 68, 4) > 1700000000);
    CHECK(soft_msr_write(r->c, MSR_PV_TIME, ~0ull)); /* not RAM */
    rig_free(r);
}

TEST(soft_pv_clock_jumps_leave_the_tsc)
{
    struct rig *r = rig_new(1);
    struct cpu_vm_state *s = xnew(struct cpu_vm_state);
    struct err e = {};

    rig_mode(r, RIG_LONG);
    cpu_clock_stop(r->vm);
    CHECK(soft_msr_write(r->c, MSR_TSC, 1000));
    CHECK_OK(cpu_vm_get(r->vm, s, &e), &e);
    s->clock_ns += 7 * NSEC_PER_SEC;
    CHECK_OK(cpu_vm_set(r->vm, s, &e), &e);
    CHECK_EQ(soft_now_ns(r->c->vm), s->clock_ns);
    CHECK_EQ(soft_tsc(r->c), 1000);
    free(s);
    rig_free(r);
}

TEST(soft_pv_kick_ends_one_halt)
{
    struct rig *r = rig_new(2);
    struct soft_cpu *c = r->c;
    const struct shot kick = { "kick", RIG_LONG, CODE("\x0f\x01\xc1"), .rax = 5, .rcx = 0 };

    rig_mode(r, RIG_LONG);
    CHECK_EQ(fire(r, &kick), NONE); /* itself */
    CHECK_EQ(c->reg[GPR_RAX], 0);
    rig_code(r, CODE("\x90\x90\x90\xf4\xf4"));
    CHECK_EQ(rig_run(r, 1), RIG_END_LIMIT);
    CHECK(!c->halted);
    CHECK_EQ(rig_run(r, 1), RIG_END_HLT);
    rig_free(r);
}

TEST(soft_pv_send_ipi)
{
    struct rig *r = rig_new(3);
    struct soft_cpu *other = r->c->vm->cpus[2];
    const struct shot s = {
        "ipi", RIG_LONG, CODE("\x0f\x01\xc1"), .rax = 10, .rdx = 1 /* APIC id of bit 0 */
    };

    rig_mode(r, RIG_LONG);
    r->c->reg[GPR_RBX] = 0xe; /* ids 2, 3, 4: two of them do not exist */
    r->c->reg[GPR_RSI] = 0x45;
    CHECK_EQ(fire(r, &(struct shot){ "ipi", RIG_LONG, s.code, s.len, .rax = 10, .rdx = 1 }), NONE);
    CHECK_EQ(r->c->reg[GPR_RAX], 1);
    (void)other;
    rig_free(r);
}

TEST(soft_doorbells)
{
    struct rig *r = rig_new(1);
    int a = fd_eventfd(), b = fd_eventfd();

    CHECK_EQ(cpu_doorbell(r->vm, 0xd0000010, 4, a, true), 0);
    CHECK_EQ(cpu_doorbell(r->vm, 0xd0000000, 0, b, true), 0);
    soft_mmio_write(r->c, 0xd0000010, 4, 1);
    soft_mmio_write(r->c, 0xd0000010, 2, 1); /* another length: a device's own */
    soft_mmio_write(r->c, 0xd0000000, 8, 1);
    soft_mmio_write(r->c, 0xd0000008, 4, 1);
    CHECK_EQ(fd_event_take(a), 1);
    CHECK_EQ(fd_event_take(b), 1);
    CHECK_EQ(r->mmio_writes, 2);
    CHECK_EQ(cpu_doorbell(r->vm, 0xd0000010, 4, a, false), 0);
    CHECK_EQ(cpu_doorbell(r->vm, 0xd0000010, 4, a, false), -ENOENT);
    soft_mmio_write(r->c, 0xd0000010, 4, 1);
    CHECK_EQ(r->mmio_writes, 3);
    fd_close(&a);
    fd_close(&b);
    rig_free(r);
}

TEST(soft_dirty_log)
{
    struct rig *r = rig_new(1);
    u64 bits[64] = {};
    struct err e = {};

    rig_mode(r, RIG_PROT32);
    rig_code(
        r, CODE("\xc7\x05\x00\x00\x01\x00\x01\x00\x00\x00\xf4")); /* mov dword [RIG_DATA], 1; hlt */
    CHECK_EQ(rig_run(r, 10), RIG_END_HLT);
    CHECK_OK(cpu_dirty_start(r->vm, &e), &e);
    CHECK_OK(cpu_dirty_take(r->vm, bits, &e), &e);
    CHECK_EQ(bits[0], 0);
    r->c->rip = RIG_CODE;
    r->c->halted = false;
    CHECK_EQ(rig_run(r, 10), RIG_END_HLT);
    CHECK_OK(cpu_dirty_take(r->vm, bits, &e), &e);
    CHECK_EQ(bits[0], 1ull << (RIG_DATA / 4096));
    cpu_dirty_stop(r->vm);
    rig_free(r);
}
