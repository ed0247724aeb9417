/*
 * cpu/soft/msr.c: the table of model-specific registers, and RDMSR, WRMSR and saving by it.
 * (Intel SDM volume 4; AMD APM volume 2, appendix A; Linux Documentation/virt/kvm/x86/msr.rst)
 *   (1) A register exists when it has a row.  A value that the row does not allow is refused as hardware refuses it: #GP.
 *   (2) Rows with SAVE go into vcpu_state.msr under the index by which KVM saves them too.
 */
#include "cpu/soft/msr.h"

#include "cpu/soft/cpuid.h"
#include "cpu/soft/io.h"
#include "cpu/soft/pv.h"
#include "cpu/soft/soft_mem.h"

struct msr_row;
typedef u64 (*msr_get_fn)(struct soft_cpu *c, u32 i);
typedef bool (*msr_set_fn)(struct soft_cpu *c, u32 i, u64 val);

enum {
    SAVE = 1,
    CANON = 2, /* a linear address */
    DROP = 4,  /* writes are taken and forgotten */
    WONLY = 8, /* cannot be read */
};

/* `n` registers from `first` on, each a u64 at `at` in soft_msrs, or what get and set say, or always `value`. */
struct msr_row {
    u32 first;
    u16 n, at;
    u16 flags;
    const char *name;
    u64 value; /* read when there is neither `at` nor `get`; after reset when there is */
    u64 mask;  /* of bits that may be written; 0 without DROP: read-only */
    msr_get_fn get;
    msr_set_fn set;
};

enum { MTRR_CAP = MTRR_VARIABLE | 1 << 8 /* fixed ones */ | 1 << 10 /* write-combining */ };

#define ALL            (~0ull)
#define PAT_RESET      0x0007040600070406ull
#define HWCR_TSC_FREQ  (1ull << 24) /* the TSC counts at the nominal frequency */
#define HWCR_ALLOWED   (HWCR_TSC_FREQ | 1ull << 18 | 1ull << 8 | 1ull << 6 | 1ull << 3)
#define HWCR_MC_WRITE  (1ull << 18)
#define DE_CFG_LFENCE  2ull
#define PLATFORM_RATIO (10ull << 8)  /* of 100 MHz */
#define PATCH_LEVEL    0x01000065ull /* as KVM tells AMD guests */
#define MISC_ALLOWED   0x00851889ull
/* IA32_ARCH_CAPABILITIES: RDCL, IBRS_ALL, SKIP_L1DFL, SSB, MDS, PSCHANGE, TAA, SBDR, FBSDP, PSDP, BHI, PBRSB, GDS, RFDS, ITS. */
#define ARCH_CAPS                                                                               \
    (1ull << 0 | 1ull << 1 | 1ull << 3 | 1ull << 4 | 1ull << 5 | 1ull << 6 | 1ull << 8 |        \
     1ull << 13 | 1ull << 14 | 1ull << 15 | 1ull << 20 | 1ull << 24 | 1ull << 26 | 1ull << 27 | \
     1ull << 62)

static bool is_amd(const struct soft_cpu *c)
{
    return memcmp(c->vm->cpuid->vendor, "AuthenticAMD", sizeof(c->vm->cpuid->vendor)) == 0;
}

/* Time. */

static u64 tsc_get(struct soft_cpu *c, u32 i [[maybe_unused]])
{
    return soft_tsc(c);
}

static void tsc_moved(struct soft_cpu *c)
{
    lapic_tick(&c->lapic, soft_time(c));
    soft_pv_time_changed(c, false);
    soft_request(c, REQ_TIMER);
}

static bool tsc_set(struct soft_cpu *c, u32 i [[maybe_unused]], u64 val)
{
    u64 by = val - soft_tsc(c);

    c->msrs->tsc_offset += by;
    c->msrs->tsc_adjust += by;
    tsc_moved(c);
    return true;
}

static bool tsc_adjust_set(struct soft_cpu *c, u32 i [[maybe_unused]], u64 val)
{
    c->msrs->tsc_offset += val - c->msrs->tsc_adjust;
    c->msrs->tsc_adjust = val;
    tsc_moved(c);
    return true;
}

static u64 deadline_get(struct soft_cpu *c, u32 i [[maybe_unused]])
{
    return lapic_tsc_deadline(&c->lapic);
}

static bool deadline_set(struct soft_cpu *c, u32 i [[maybe_unused]], u64 val)
{
    lapic_set_tsc_deadline(&c->lapic, val, soft_time(c));
    soft_request(c, REQ_TIMER);
    return true;
}

/* Intel refuses what does not fit in 32 bits, AMD cuts it. */
static bool tsc_aux_set(struct soft_cpu *c, u32 i [[maybe_unused]], u64 val)
{
    if (val >> 32 && !is_amd(c))
        return false;
    c->msrs->tsc_aux = (u32)val;
    return true;
}

/* Local APIC. */

static u64 apic_base_get(struct soft_cpu *c, u32 i [[maybe_unused]])
{
    return lapic_base(&c->lapic);
}

static bool apic_base_set(struct soft_cpu *c, u32 i [[maybe_unused]], u64 val)
{
    bool ok = lapic_set_base(&c->lapic, val) >= 0;

    soft_request(c, REQ_TIMER | REQ_IRQ);
    return ok;
}

/* Addresses. */

/* No component is saved by XSAVES alone. */
static bool xss_set(struct soft_cpu *c [[maybe_unused]], u32 i [[maybe_unused]], u64 val)
{
    return val == 0;
}

static u64 efer_get(struct soft_cpu *c, u32 i [[maybe_unused]])
{
    return c->efer;
}

bool soft_set_efer(struct soft_cpu *c, u64 val)
{
    u64 allowed = EFER_SCE | EFER_LME | EFER_LMA | (soft_has(c->vm, F_NX) ? EFER_NXE : 0);
    u64 old = c->efer;

    if (val & ~allowed)
        return false;
    if (((val ^ old) & EFER_LME) && (c->cr0 & CR0_PG))
        return false;
    c->efer = (val & ~(u64)EFER_LMA) | (old & EFER_LMA);
    if ((c->efer ^ old) & EFER_NXE)
        soft_tlb_flush_all(c);
    soft_mode_changed(c);
    return true;
}

static bool efer_set(struct soft_cpu *c, u32 i [[maybe_unused]], u64 val)
{
    return soft_set_efer(c, val);
}

static u64 base_get(struct soft_cpu *c, u32 i)
{
    return c->seg[SEG_FS + i].base;
}

static bool base_set(struct soft_cpu *c, u32 i, u64 val)
{
    c->seg[SEG_FS + i].base = val;
    return true;
}

static u64 sysenter_get(struct soft_cpu *c, u32 i)
{
    return i ? c->msrs->sysenter_eip : c->msrs->sysenter_esp;
}

/* Intel refuses what is not canonical, AMD makes it so. */
static bool sysenter_set(struct soft_cpu *c, u32 i, u64 val)
{
    if (!soft_canonical(val) && !is_amd(c))
        return false;
    val = (u64)((s64)(val << 16) >> 16);
    if (i)
        c->msrs->sysenter_eip = val;
    else
        c->msrs->sysenter_esp = val;
    return true;
}

/* Memory types. */

/* UC, WC, WT, WP, WB; and for PAT UC-, which is 7. */
static bool types_ok(u64 bytes, u64 allowed)
{
    for (u32 i = 0; i < 8; i++)
        if (bytes >> (8 * i) & 0xf8 || !(allowed >> (bytes >> (8 * i) & 7) & 1))
            return false;
    return true;
}
#define MTRR_TYPES 0x73u
#define PAT_TYPES  0xf3u

static u64 pat_get(struct soft_cpu *c, u32 i [[maybe_unused]])
{
    return c->msrs->pat;
}

static bool pat_set(struct soft_cpu *c, u32 i [[maybe_unused]], u64 val)
{
    if (!types_ok(val, PAT_TYPES))
        return false;
    c->msrs->pat = val;
    return true;
}

static u64 mtrr_def_get(struct soft_cpu *c, u32 i [[maybe_unused]])
{
    return c->msrs->mtrr_def;
}

static bool mtrr_def_set(struct soft_cpu *c, u32 i [[maybe_unused]], u64 val)
{
    if (val & ~0xcffull || !types_ok(val & 0xff, MTRR_TYPES))
        return false;
    c->msrs->mtrr_def = val;
    return true;
}

static u64 mtrr_var_get(struct soft_cpu *c, u32 i)
{
    return c->msrs->mtrr_var[i];
}

/* Base and type at even indices, mask and valid bit at odd ones. */
static bool mtrr_var_set(struct soft_cpu *c, u32 i, u64 val)
{
    u64 address = c->vm->gpa_mask & GUEST_PAGE_MASK;

    if (val & ~(address | (i & 1 ? 1u << 11 : 0xffu)))
        return false;
    if (!(i & 1) && !types_ok(val & 0xff, MTRR_TYPES))
        return false;
    c->msrs->mtrr_var[i] = val;
    return true;
}

/* 0x250; 0x258, 0x259; 0x268 to 0x26f: three rows of the table, one array. */
static u64 mtrr_fixed64_get(struct soft_cpu *c, u32 i)
{
    return c->msrs->mtrr_fixed[i];
}
static u64 mtrr_fixed16_get(struct soft_cpu *c, u32 i)
{
    return c->msrs->mtrr_fixed[1 + i];
}
static u64 mtrr_fixed4_get(struct soft_cpu *c, u32 i)
{
    return c->msrs->mtrr_fixed[3 + i];
}

static bool mtrr_fixed_set(struct soft_cpu *c, u32 at, u64 val)
{
    if (!types_ok(val, MTRR_TYPES))
        return false;
    c->msrs->mtrr_fixed[at] = val;
    return true;
}
static bool mtrr_fixed64_set(struct soft_cpu *c, u32 i, u64 val)
{
    return mtrr_fixed_set(c, i, val);
}
static bool mtrr_fixed16_set(struct soft_cpu *c, u32 i, u64 val)
{
    return mtrr_fixed_set(c, 1 + i, val);
}
static bool mtrr_fixed4_set(struct soft_cpu *c, u32 i, u64 val)
{
    return mtrr_fixed_set(c, 3 + i, val);
}

/* Machine check: four registers a bank: control, status, address, more. */

static u64 mc_get(struct soft_cpu *c, u32 i)
{
    return c->msrs->mc[i];
}

static bool mc_set(struct soft_cpu *c, u32 i, u64 val)
{
    bool status = i % 4 == 1;

    if (status && val && !(c->msrs->hwcr & HWCR_MC_WRITE))
        return false;
    c->msrs->mc[i] = val;
    return true;
}

/* Paravirtual.  The old numbers of the two clock registers are other names for the new ones. */

static u64 pv_wall_get(struct soft_cpu *c, u32 i [[maybe_unused]])
{
    return c->msrs->pv_wall;
}
static bool pv_wall_set(struct soft_cpu *c, u32 i [[maybe_unused]], u64 val)
{
    return soft_pv_set_wall(c, val);
}
static u64 pv_time_get(struct soft_cpu *c, u32 i [[maybe_unused]])
{
    return c->msrs->pv_time;
}
static bool pv_time_set(struct soft_cpu *c, u32 i [[maybe_unused]], u64 val)
{
    return soft_pv_set_time(c, val);
}
static u64 pv_steal_get(struct soft_cpu *c, u32 i [[maybe_unused]])
{
    return c->msrs->pv_steal;
}
static bool pv_steal_set(struct soft_cpu *c, u32 i [[maybe_unused]], u64 val)
{
    return soft_pv_set_steal(c, val);
}

/* clang-format off */
#define AT(member) .at = offsetof(struct soft_msrs, member)
#define FN(f)      .get = f##_get, .set = f##_set
static const struct msr_row msr_rows[] = {
    { 0x00000000, 2, .name = "P5_MC",             .flags = DROP },
    { 0x00000010, 1, .name = "TSC",               FN(tsc), .flags = SAVE },
    { 0x00000011, 1, .name = "KVM_WALL_CLOCK_OLD",  FN(pv_wall) },
    { 0x00000012, 1, .name = "KVM_SYSTEM_TIME_OLD", FN(pv_time) },
    { 0x00000017, 1, .name = "PLATFORM_ID" },
    { 0x0000001b, 1, .name = "APIC_BASE",         FN(apic_base) },
    { 0x00000034, 1, .name = "SMI_COUNT" },
    { 0x0000003a, 1, .name = "FEATURE_CONTROL",   .value = 1 /* locked */ },
    { 0x0000003b, 1, .name = "TSC_ADJUST",        AT(tsc_adjust), .set = tsc_adjust_set, .flags = SAVE },
    { 0x00000048, 1, .name = "SPEC_CTRL",         AT(spec_ctrl), .mask = 7, .flags = SAVE },
    { 0x00000049, 1, .name = "PRED_CMD",          .flags = WONLY | DROP },
    { 0x00000079, 1, .name = "BIOS_UPDT_TRIG",    .flags = WONLY | DROP },
    { 0x0000008b, 1, .name = "BIOS_SIGN_ID",      .value = PATCH_LEVEL, .flags = DROP },
    { 0x000000ce, 1, .name = "PLATFORM_INFO",     .value = PLATFORM_RATIO },
    { 0x000000fe, 1, .name = "MTRRCAP",           .value = MTRR_CAP },
    { 0x0000010a, 1, .name = "ARCH_CAPABILITIES", .value = ARCH_CAPS },
    { 0x00000174, 1, .name = "SYSENTER_CS",       AT(sysenter_cs), .mask = 0xffffffff, .flags = SAVE },
    { 0x00000175, 2, .name = "SYSENTER_ESP_EIP",  FN(sysenter), .flags = SAVE },
    { 0x00000179, 1, .name = "MCG_CAP",           .value = MC_BANKS },
    { 0x0000017a, 1, .name = "MCG_STATUS",        AT(mcg_status), .mask = 7, .flags = SAVE },
    { 0x000001a0, 1, .name = "MISC_ENABLE",       AT(misc_enable), .value = 1, .mask = MISC_ALLOWED, .flags = SAVE },
    { 0x000001d9, 1, .name = "DEBUGCTL",          AT(debugctl), .mask = 3, .flags = SAVE },
    { 0x000001db, 4, .name = "LASTBRANCH" },
    { 0x00000200, 2 * MTRR_VARIABLE, .name = "MTRR_PHYS", FN(mtrr_var), .flags = SAVE },
    { 0x00000250, 1, .name = "MTRR_FIX64K",       FN(mtrr_fixed64), .flags = SAVE },
    { 0x00000258, 2, .name = "MTRR_FIX16K",       FN(mtrr_fixed16), .flags = SAVE },
    { 0x00000268, 8, .name = "MTRR_FIX4K",        FN(mtrr_fixed4), .flags = SAVE },
    { 0x00000277, 1, .name = "PAT",               FN(pat), .flags = SAVE },
    { 0x000002ff, 1, .name = "MTRR_DEF_TYPE",     FN(mtrr_def), .flags = SAVE },
    { MSR_MC,     4 * MC_BANKS, .name = "MC",     FN(mc), .flags = SAVE },
    { 0x000006e0, 1, .name = "TSC_DEADLINE",      FN(deadline), .flags = SAVE },
    { 0x00000da0, 1, .name = "XSS",               .set = xss_set, .flags = SAVE },
    { 0x4b564d00, 1, .name = "KVM_WALL_CLOCK",    FN(pv_wall), .flags = SAVE },
    { 0x4b564d01, 1, .name = "KVM_SYSTEM_TIME",   FN(pv_time), .flags = SAVE },
    { 0x4b564d03, 1, .name = "KVM_STEAL_TIME",    FN(pv_steal), .flags = SAVE },
    { 0xc0000080, 1, .name = "EFER",              FN(efer) },
    { 0xc0000081, 1, .name = "STAR",              AT(star), .mask = ALL, .flags = SAVE },
    { 0xc0000082, 1, .name = "LSTAR",             AT(lstar), .mask = ALL, .flags = SAVE | CANON },
    { 0xc0000083, 1, .name = "CSTAR",             AT(cstar), .mask = ALL, .flags = SAVE | CANON },
    { 0xc0000084, 1, .name = "SFMASK",            AT(sfmask), .mask = 0xffffffff, .flags = SAVE },
    { 0xc0000100, 2, .name = "FS_GS_BASE",        FN(base), .flags = CANON },
    { 0xc0000102, 1, .name = "KERNEL_GS_BASE",    AT(kernel_gs_base), .mask = ALL, .flags = SAVE | CANON },
    { 0xc0000103, 1, .name = "TSC_AUX",           AT(tsc_aux), .set = tsc_aux_set, .flags = SAVE },
    { 0xc0010010, 1, .name = "SYSCFG",            .flags = DROP },
    { 0xc0010015, 1, .name = "HWCR",              AT(hwcr), .value = HWCR_TSC_FREQ, .mask = HWCR_ALLOWED, .flags = SAVE },
    { 0xc001001f, 1, .name = "NB_CFG",            .flags = DROP },
    { 0xc0010020, 1, .name = "PATCH_LOADER",      .flags = WONLY | DROP },
    { 0xc0010058, 1, .name = "MMIO_CONF_BASE",    .flags = DROP },
    { 0xc0010114, 1, .name = "VM_CR",             .value = 0x18 /* SVM is off, and locked */, .flags = DROP },
    { 0xc0011020, 4, .name = "LS_IC_DC_TW_CFG",   .flags = DROP },
    { 0xc0011029, 1, .name = "DE_CFG",            AT(de_cfg), .value = DE_CFG_LFENCE, .mask = DE_CFG_LFENCE },
    { 0xc001102a, 1, .name = "BU_CFG2",           .flags = DROP },
};
/* clang-format on */

static_assert(offsetof(struct soft_msrs, tsc_offset) == 0,
              "what lies at 0 has no row, so that .at tells which have");

static bool has_place(const struct msr_row *r)
{
    return r->at;
}

static u64 *place(struct soft_cpu *c, const struct msr_row *r)
{
    return (u64 *)(void *)((u8 *)c->msrs + r->at);
}

static const struct msr_row *row_of(u32 index)
{
    u32 low = 0, high = ARRAY_LEN(msr_rows);

    while (low < high) {
        u32 mid = (low + high) / 2;
        const struct msr_row *r = &msr_rows[mid];

        if (index - r->first < r->n)
            return r;
        if (index < r->first)
            high = mid;
        else
            low = mid + 1;
    }
    return NULL;
}

static u64 read_row(struct soft_cpu *c, const struct msr_row *r, u32 i)
{
    if (r->get)
        return r->get(c, i);
    return has_place(r) ? *place(c, r) : r->value;
}

static bool write_row(struct soft_cpu *c, const struct msr_row *r, u32 i, u64 val)
{
    if ((r->flags & CANON) && !soft_canonical(val))
        return false;
    if (r->set)
        return r->set(c, i, val);
    if (r->flags & DROP)
        return true;
    if (!has_place(r) || val & ~r->mask)
        return false;
    *place(c, r) = val;
    return true;
}

/* Register accesses that may move the APIC's timer. */
static void timer_moved(struct soft_cpu *c, u64 deadline_before)
{
    if (lapic_deadline_ns(&c->lapic) != deadline_before)
        soft_request(c, REQ_TIMER);
}

static bool is_x2apic(u32 index)
{
    return index - LAPIC_MSR < 0x100;
}

static void tell(const struct soft_cpu *c, const char *what, u32 index, u64 val)
{
    static atomic_ullong next;

    if (log_is_on(LOG_LEVEL_DEBUG) && log_may(&next))
        log_debug("vCPU %u: %s MSR 0x%x (0x%llx) refused", c->v->index, what, index, val);
}

bool soft_msr_read(struct soft_cpu *c, u32 index, u64 *ret)
{
    const struct msr_row *r;

    if (is_x2apic(index))
        return lapic_msr_read(&c->lapic, index, soft_time(c), ret) >= 0;
    r = row_of(index);
    if (!r || (r->flags & WONLY)) {
        tell(c, "read of", index, 0);
        return false;
    }
    *ret = read_row(c, r, index - r->first);
    return true;
}

bool soft_msr_write(struct soft_cpu *c, u32 index, u64 val)
{
    u64 deadline = lapic_deadline_ns(&c->lapic);
    const struct msr_row *r;
    bool ok;

    if (is_x2apic(index)) {
        ok = lapic_msr_write(&c->lapic, index, val, soft_time(c)) >= 0;
        timer_moved(c, deadline);
        return ok;
    }
    r = row_of(index);
    ok = r && write_row(c, r, index - r->first, val);
    if (!ok)
        tell(c, "write to", index, val);
    return ok;
}

void soft_msrs_reset(struct soft_cpu *c)
{
    *c->msrs = (struct soft_msrs){ .pat = PAT_RESET };
    for_each_row(r, msr_rows)
        if (has_place(r))
            *place(c, r) = r->value;
}

void soft_msrs_get(struct soft_cpu *c, struct vcpu_state *s)
{
    s->n_msrs = 0;
    for_each_row(r, msr_rows) {
        for (u32 i = 0; i < r->n && (r->flags & SAVE); i++) {
            must(s->n_msrs < VCPU_MSRS_MAX);
            s->msr[s->n_msrs++] = (struct msr_state){ r->first + i, read_row(c, r, i) };
        }
    }
}

/* As the guest's WRMSR but for the clock, whose two registers are independent here, and what has fields of its own. */
static bool load_one(struct soft_cpu *c, u32 index, u64 val)
{
    const struct msr_row *r = row_of(index);

    if (index - MSR_MC < ARRAY_LEN(c->msrs->mc)) { /* a guest may not write the status of a bank */
        c->msrs->mc[index - MSR_MC] = val;
        return true;
    }
    switch (index) {
    case MSR_TSC_ADJUST:
        c->msrs->tsc_adjust = val;
        return true;
    case MSR_TSC:
    case MSR_EFER:
    case MSR_APIC_BASE:
    case MSR_FS_BASE:
    case MSR_GS_BASE:
    case MSR_PV_WALL_OLD:
    case MSR_PV_TIME_OLD:
        return true;
    case MSR_PV_WALL: /* WRMSR makes the guest's page anew, whose time is that of the machine's start */
        c->msrs->pv_wall = val;
        return true;
    default:
        return r && write_row(c, r, index - r->first, val);
    }
}

void soft_msrs_set(struct soft_cpu *c, const struct vcpu_state *s)
{
    must(s->n_msrs <= VCPU_MSRS_MAX);
    for (u32 i = 0; i < s->n_msrs; i++) /* first: deadline and clock page depend on it */
        if (s->msr[i].index == MSR_TSC)
            c->msrs->tsc_offset += s->msr[i].value - soft_tsc(c);
    for (u32 i = 0; i < s->n_msrs; i++)
        if (!load_one(c, s->msr[i].index, s->msr[i].value))
            log_info("vCPU %u: this engine refuses MSR 0x%x = 0x%llx", c->v->index, s->msr[i].index,
                     s->msr[i].value);
}
