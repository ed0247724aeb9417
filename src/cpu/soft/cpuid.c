/*
 * cpu/soft/cpuid.c: what CPUID says, of the models that cpu/features.c has the features of.
 * (Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E; x86-64 psABI, micro-architecture levels;
 *  Linux Documentation/virt/kvm/x86/cpuid.rst)
 *   (1) What is shown decodes, and what decodes and is of use to guests is shown.  Shown nowhere: MONITOR, because an idle loop
 *       made of MWAIT keeps a host CPU busy while HLT sleeps; 57-bit addresses, CET, TSX, VMX, SVM, AVX-512, MPX, 3DNow.
 *   (2) Named models are of one vendor and depend on the host only in that it must be able to do what they promise.
 *   (3) Guests are told that no known speculation flaw concerns them: no guest instruction of theirs is run by speculation of
 *       the host's branch predictors, and the host's kernel does its own work at its own boundary.
 */
#include "cpu/soft/cpuid.h"

#include "cpu/soft/fpu.h"
#include "cpu/soft/pv.h"

#include <cpuid.h>
#include <pthread.h>
#include <stdatomic.h>

#define VENDOR_NAMED    "AuthenticAMD"
#define BRAND_NAMED     "Socle virtual CPU"
#define SIGNATURE_NAMED 0x00a00f11u /* family 25: one that Linux needs no quirks for */

#define ECX1_OSXSAVE    (1u << 27)
#define ECX1_HYPERVISOR (1u << 31)
#define EDX1_MCE        (1u << 7)
#define EDX1_APIC       (1u << 9)
#define EDX1_MCA        (1u << 14)
#define EDX1_PSE36      (1u << 17)
#define EDX1_HTT        (1u << 28)
#define ECX7_OSPKE      (1u << 4)
#define EDX7_ARCH_CAPS  (1u << 29)
#define EAX6_ARAT       (1u << 2)
/* What AMD repeats of leaf 1 EDX in 0x80000001 EDX, and its MMX extensions, which SSE brought to everyone. */
#define EDX1_REPEATED 0x0183f3ffu
#define EDX81_MMXEXT  (1u << 22)
#define ECX81_CMP     (1u << 1)
#define ECX81_TOPOEXT (1u << 22)
#define EDX87_TSC     (1u << 8) /* invariant */
#define EBX88_NO_FLAWS \
    (1u << 2 | 1u << 26 | 1u << 29) /* XSAVE's error pointers always; SSB_NO; BTC_NO */
#define EAX821_PLAIN \
    (1u << 2 | 1u << 6 | 1u << 29)          /* LFENCE serializes; null clears bases; SRSO_NO */
#define ECX821_NO_FLAWS (1u << 1 | 1u << 2) /* TSA */

enum {
    XSAVE_AVX_SIZE = 256,
    XSAVE_PKRU_SIZE = 8,
    PHYS_BITS_NAMED = 46,
    PHYS_BITS_MAX = 52,
    LIN_BITS = 48
};

enum cache_leaf { CACHE_INTEL, CACHE_L1, CACHE_L2, CACHE_AMD, CACHE_LEAFS };
enum { CACHE_SUBLEAFS = 8 };

static struct cpuid_regs host_cpuid(u32 leaf, u32 subleaf)
{
    struct cpuid_regs r;

    __cpuid_count(leaf, subleaf, r.eax, r.ebx, r.ecx, r.edx);
    return r;
}

/* As host_cpuid, but zeroes for leafs it does not have. */
static struct cpuid_regs host_leaf(u32 leaf, u32 subleaf)
{
    u32 max = host_cpuid(leaf & 0x80000000, 0).eax;

    return leaf > max ? (struct cpuid_regs){} : host_cpuid(leaf, subleaf);
}

/* As host_leaf, asked once: C libraries ask for caches a dozen times at each start of a program, and in a virtual machine each of our own
 * CPUIDs is an exit. */
static struct cpuid_regs host_cache(enum cache_leaf which, u32 subleaf)
{
    static const u32 leafs[CACHE_LEAFS] = { 4, 0x80000005, 0x80000006, 0x8000001d };
    static struct {
        atomic_bool known;
        struct cpuid_regs r;
    } rows[CACHE_LEAFS][CACHE_SUBLEAFS];
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

    if (subleaf >= CACHE_SUBLEAFS)
        return host_leaf(leafs[which], subleaf);
    if (!atomic_load_explicit(&rows[which][subleaf].known, memory_order_acquire)) {
        pthread_mutex_lock(&lock);
        rows[which][subleaf].r = host_leaf(leafs[which], subleaf);
        atomic_store_explicit(&rows[which][subleaf].known, true, memory_order_release);
        pthread_mutex_unlock(&lock);
    }
    return rows[which][subleaf].r;
}

static u32 host_word(enum cpu_word w)
{
    struct cpuid_regs r = host_leaf(cpu_words[w].leaf, cpu_words[w].subleaf);
    const u32 regs[] = { r.eax, r.ebx, r.ecx, r.edx };

    return regs[cpu_words[w].reg];
}

/* May programs here use AVX's registers?  `word_1c`: leaf 1 ECX. */
static bool host_has_avx_state(u32 word_1c)
{
    u32 low, high;

    if (!(word_1c & ECX1_OSXSAVE))
        return false;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & (XCR0_SSE | XCR0_AVX)) == (XCR0_SSE | XCR0_AVX);
}

static bool needs_avx_state(u8 id)
{
    static const u8 them[] = { F_AVX, F_AVX2, F_FMA, F_F16C, F_VAES, F_VPCLMUL };

    return memchr(them, id, sizeof(them));
}

static bool host_has(const struct cpu_feature_row *f, const u32 host[CPU_WORDS], bool avx_state)
{
    return f->how == CPU_OURS ||
           ((host[f->word] >> f->bit & 1) && (avx_state || !needs_avx_state(f->id)));
}

static int pick_features(struct soft_cpuid *m, enum cpu_model model, struct err *e)
{
    u32 host[CPU_WORDS];
    bool avx_state;

    for (u32 i = 0; i < CPU_WORDS; i++) /* once each: in a virtual machine CPUID is an exit */
        host[i] = host_word(i);
    avx_state = host_has_avx_state(host[CPU_W_1C]);
    m->features[F_ALWAYS / 64] |= 1ull << (F_ALWAYS % 64);
    for_each_row(f, cpu_features) {
        if (!host_has(f, host, avx_state))
            host[f->word] &= ~(1u << f->bit);
        else if (f->level <= cpu_model_level(model) || f->level == CPU_UNSEEN)
            m->features[f->id / 64] |= 1ull << (f->id % 64);
    }
    return cpu_model_check(model, host, e);
}

static bool has(const struct soft_cpuid *m, enum cpu_feature f)
{
    return m->features[f / 64] >> (f % 64) & 1;
}

static u32 model_word(const struct soft_cpuid *m, enum cpu_word w)
{
    u32 v = 0;

    for_each_row(f, cpu_features)
        if (f->word == w && f->level != CPU_UNSEEN && has(m, f->id))
            v |= 1u << f->bit;
    return v;
}

static void name_it(struct soft_cpuid *m)
{
    struct cpuid_regs r = host_cpuid(0, 0);

    memcpy(m->vendor, VENDOR_NAMED, sizeof(m->vendor));
    str_copy(m->brand, sizeof(m->brand), BRAND_NAMED);
    m->signature = SIGNATURE_NAMED;
    m->phys_bits = PHYS_BITS_NAMED;
    if (!m->pass)
        return;
    memcpy(m->vendor, &r.ebx, 4);
    memcpy(m->vendor + 4, &r.edx, 4);
    memcpy(m->vendor + 8, &r.ecx, 4);
    m->signature = host_cpuid(1, 0).eax;
    m->phys_bits = host_leaf(0x80000008, 0).eax & 0xff;
    m->phys_bits = min(max(m->phys_bits, 36u), (u32)PHYS_BITS_MAX);
    for (u32 i = 0; i < 3; i++) {
        r = host_leaf(0x80000002 + i, 0);
        memcpy(m->brand + 16ull * i, &r, sizeof(r));
    }
}

int soft_cpuid_init(struct soft_cpuid *ret, enum cpu_model model, struct err *e)
{
    struct soft_cpuid m = { .lin_bits = LIN_BITS,
                            .model = cpu_models[model],
                            .pass = model == CPU_MODEL_HOST };
    int r = pick_features(&m, model, e);

    if (r < 0)
        return r;
    name_it(&m);
    m.xcr0 =
        XCR0_X87 | XCR0_SSE | (has(&m, F_AVX) ? XCR0_AVX : 0) | (has(&m, F_PKU) ? XCR0_PKRU : 0);
    *ret = m;
    return 0;
}

u32 soft_xsave_size(u64 components)
{
    u32 size = XSAVE_LEGACY;

    if (components & XCR0_AVX)
        size = XSAVE_AVX + XSAVE_AVX_SIZE;
    if (components & XCR0_PKRU)
        size = max(size, soft_pkru_at() + XSAVE_PKRU_SIZE);
    return size;
}

/* The leafs.  Each gets the vCPU whose CPUID it is, and the subleaf. */

typedef struct cpuid_regs (*leaf_fn)(const struct soft_cpu *c, const struct soft_cpuid *m,
                                     u32 subleaf);

/* Bits that an APIC id takes for `n` vCPUs. */
static u32 id_bits(u32 n)
{
    return n > 1 ? 32 - (u32)__builtin_clz(n - 1) : 0;
}

static struct cpuid_regs vendor_regs(const struct soft_cpuid *m, u32 max_leaf)
{
    struct cpuid_regs r = { .eax = max_leaf };

    memcpy(&r.ebx, m->vendor, 4);
    memcpy(&r.edx, m->vendor + 4, 4);
    memcpy(&r.ecx, m->vendor + 8, 4);
    return r;
}

enum { LEAF_MAX = 0x16, LEAF_PV_MAX = 0x40000010 };
#define LEAF_EXT_MAX 0x80000021u

static struct cpuid_regs leaf_vendor(const struct soft_cpu *c [[maybe_unused]],
                                     const struct soft_cpuid *m, u32 subleaf [[maybe_unused]])
{
    return vendor_regs(m, LEAF_MAX);
}

static struct cpuid_regs leaf_features(const struct soft_cpu *c, const struct soft_cpuid *m,
                                       u32 subleaf [[maybe_unused]])
{
    u32 n = c->vm->n_cpus;
    struct cpuid_regs r = {
        .eax = m->signature,
        .ebx = 64 / 8 << 8 | n << 16 | c->v->index << 24,
        .ecx = model_word(m, CPU_W_1C) | ECX1_HYPERVISOR,
        .edx = model_word(m, CPU_W_1D) | EDX1_MCE | EDX1_MCA | EDX1_PSE36,
    };

    if (c->cr4 & CR4_OSXSAVE)
        r.ecx |= ECX1_OSXSAVE;
    if (n > 1)
        r.edx |= EDX1_HTT;
    if (lapic_base(&c->lapic) & 1u << 11)
        r.edx |= EDX1_APIC;
    return r;
}

static bool is_amd(const struct soft_cpuid *m)
{
    return memcmp(m->vendor, VENDOR_NAMED, sizeof(m->vendor)) == 0;
}

static struct cpuid_regs leaf_cache_intel(const struct soft_cpu *c, const struct soft_cpuid *m,
                                          u32 subleaf)
{
    struct cpuid_regs r = {};

    if (is_amd(m))
        return r;
    r = host_cache(CACHE_INTEL, subleaf);
    if (r.eax & 0x1f) /* shared by one thread; cores a package */
        r.eax = (r.eax & 0x3fff) | (c->vm->n_cpus - 1) << 26;
    return r;
}

static struct cpuid_regs leaf_power(const struct soft_cpu *c [[maybe_unused]],
                                    const struct soft_cpuid *m [[maybe_unused]],
                                    u32 subleaf [[maybe_unused]])
{
    return (struct cpuid_regs){ .eax = EAX6_ARAT };
}

static struct cpuid_regs leaf_extended(const struct soft_cpu *c, const struct soft_cpuid *m,
                                       u32 subleaf)
{
    if (subleaf)
        return (struct cpuid_regs){};
    return (struct cpuid_regs){
        .ebx = model_word(m, CPU_W_7B),
        .ecx = model_word(m, CPU_W_7C) | (c->cr4 & CR4_PKE ? ECX7_OSPKE : 0),
        .edx = model_word(m, CPU_W_7D) | EDX7_ARCH_CAPS,
    };
}

/* One package of single-thread cores: level 0 is the thread, level 1 the core. */
static struct cpuid_regs leaf_topology(const struct soft_cpu *c,
                                       const struct soft_cpuid *m [[maybe_unused]], u32 subleaf)
{
    u32 n = c->vm->n_cpus;
    struct cpuid_regs r = { .ecx = subleaf & 0xff, .edx = c->v->index };

    if (subleaf > 1)
        return r;
    r.eax = subleaf == 0 ? 0 : id_bits(n);
    r.ebx = subleaf == 0 ? 1 : n;
    r.ecx |= (subleaf + 1) << 8;
    return r;
}

static u32 compact_size(u64 components)
{
    return XSAVE_LEGACY + (components & XCR0_AVX ? XSAVE_AVX_SIZE : 0) +
           (components & XCR0_PKRU ? XSAVE_PKRU_SIZE : 0);
}

static struct cpuid_regs leaf_xstate(const struct soft_cpu *c, const struct soft_cpuid *m,
                                     u32 subleaf)
{
    if (!has(m, F_XSAVE))
        return (struct cpuid_regs){};
    if (subleaf == 0)
        return (struct cpuid_regs){ .eax = (u32)m->xcr0,
                                    .ebx = soft_xsave_size(c->xcr0),
                                    .ecx = soft_xsave_size(m->xcr0) };
    if (subleaf == 1)
        return (struct cpuid_regs){ .eax = model_word(m, CPU_W_XA), .ebx = compact_size(c->xcr0) };
    if (subleaf == 2 && (m->xcr0 & XCR0_AVX))
        return (struct cpuid_regs){ .eax = XSAVE_AVX_SIZE, .ebx = XSAVE_AVX };
    if (subleaf == 9 && (m->xcr0 & XCR0_PKRU))
        return (struct cpuid_regs){ .eax = XSAVE_PKRU_SIZE, .ebx = soft_pkru_at() };
    return (struct cpuid_regs){};
}

/* The TSC is the crystal: numerator and denominator 1. */
static struct cpuid_regs leaf_tsc(const struct soft_cpu *c [[maybe_unused]],
                                  const struct soft_cpuid *m [[maybe_unused]],
                                  u32 subleaf [[maybe_unused]])
{
    return (struct cpuid_regs){ .eax = 1, .ebx = 1, .ecx = SOFT_TSC_KHZ * 1000u };
}

static struct cpuid_regs leaf_mhz(const struct soft_cpu *c [[maybe_unused]],
                                  const struct soft_cpuid *m [[maybe_unused]],
                                  u32 subleaf [[maybe_unused]])
{
    return (struct cpuid_regs){ .eax = SOFT_TSC_KHZ / 1000,
                                .ebx = SOFT_TSC_KHZ / 1000,
                                .ecx = SOFT_BUS_KHZ / 1000 };
}

static struct cpuid_regs leaf_pv_vendor(const struct soft_cpu *c [[maybe_unused]],
                                        const struct soft_cpuid *m [[maybe_unused]],
                                        u32 subleaf [[maybe_unused]])
{
    static const u32 sig[3] = { 0x4b4d564b, 0x564b4d56, 0x4d }; /* "KVMKVMKVM" */

    return (struct cpuid_regs){ LEAF_PV_MAX, sig[0], sig[1], sig[2] };
}

static struct cpuid_regs leaf_pv_features(const struct soft_cpu *c [[maybe_unused]],
                                          const struct soft_cpuid *m [[maybe_unused]],
                                          u32 subleaf [[maybe_unused]])
{
    return (struct cpuid_regs){ .eax = PV_FEATURES };
}

static struct cpuid_regs leaf_pv_timing(const struct soft_cpu *c [[maybe_unused]],
                                        const struct soft_cpuid *m [[maybe_unused]],
                                        u32 subleaf [[maybe_unused]])
{
    return (struct cpuid_regs){ .eax = SOFT_TSC_KHZ, .ebx = SOFT_BUS_KHZ };
}

static struct cpuid_regs leaf_ext_vendor(const struct soft_cpu *c [[maybe_unused]],
                                         const struct soft_cpuid *m, u32 subleaf [[maybe_unused]])
{
    return vendor_regs(m, LEAF_EXT_MAX);
}

static struct cpuid_regs leaf_ext_features(const struct soft_cpu *c, const struct soft_cpuid *m,
                                           u32 subleaf [[maybe_unused]])
{
    struct cpuid_regs r = { .ecx = model_word(m, CPU_W_EC), .edx = model_word(m, CPU_W_ED) };

    if (!is_amd(m))
        return r;
    r.eax = m->signature;
    r.ecx |= ECX81_TOPOEXT | (c->vm->n_cpus > 1 ? ECX81_CMP : 0);
    r.edx |= (leaf_features(c, m, 0).edx & EDX1_REPEATED) | EDX81_MMXEXT;
    return r;
}

static struct cpuid_regs brand(const struct soft_cpuid *m, u32 part)
{
    struct cpuid_regs r;

    memcpy(&r, m->brand + 16ull * part, sizeof(r));
    return r;
}

static struct cpuid_regs leaf_brand0(const struct soft_cpu *c [[maybe_unused]],
                                     const struct soft_cpuid *m, u32 subleaf [[maybe_unused]])
{
    return brand(m, 0);
}

static struct cpuid_regs leaf_brand1(const struct soft_cpu *c [[maybe_unused]],
                                     const struct soft_cpuid *m, u32 subleaf [[maybe_unused]])
{
    return brand(m, 1);
}

static struct cpuid_regs leaf_brand2(const struct soft_cpu *c [[maybe_unused]],
                                     const struct soft_cpuid *m, u32 subleaf [[maybe_unused]])
{
    return brand(m, 2);
}

/* Caches of the named models: L1 32 KiB, L2 512 KiB, L3 32 MiB, as AMD's family 25 says it. */
static struct cpuid_regs leaf_l1(const struct soft_cpu *c [[maybe_unused]],
                                 const struct soft_cpuid *m, u32 subleaf [[maybe_unused]])
{
    return m->pass ? host_cache(CACHE_L1, 0)
                   : (struct cpuid_regs){ 0xff40ff40, 0xff40ff40, 0x20080140, 0x20080140 };
}

static struct cpuid_regs leaf_l2(const struct soft_cpu *c [[maybe_unused]],
                                 const struct soft_cpuid *m, u32 subleaf [[maybe_unused]])
{
    return m->pass ? host_cache(CACHE_L2, 0)
                   : (struct cpuid_regs){ 0x48002200, 0x68004200, 0x02006140, 0x01009140 };
}

static struct cpuid_regs leaf_amd_cache(const struct soft_cpu *c [[maybe_unused]],
                                        const struct soft_cpuid *m, u32 subleaf)
{
    static const struct cpuid_regs named[] = {
        { 0x121, 0x01c0003f, 0x3f, 0 },
        { 0x122, 0x01c0003f, 0x3f, 0 },
        { 0x143, 0x01c0003f, 0x3ff, 2 },
        { 0x163, 0x03c0003f, 0x7fff, 1 },
    };
    struct cpuid_regs r = {};

    if (!is_amd(m))
        return r;
    if (m->pass)
        r = host_cache(CACHE_AMD, subleaf);
    else if (subleaf < ARRAY_LEN(named))
        r = named[subleaf];
    r.eax &= ~(0xfffu << 14); /* shared by one thread */
    return r;
}

static struct cpuid_regs leaf_amd_topology(const struct soft_cpu *c, const struct soft_cpuid *m,
                                           u32 subleaf [[maybe_unused]])
{
    if (!is_amd(m))
        return (struct cpuid_regs){};
    return (struct cpuid_regs){ .eax = c->v->index, .ebx = c->v->index & 0xff };
}

static struct cpuid_regs leaf_ext_power(const struct soft_cpu *c [[maybe_unused]],
                                        const struct soft_cpuid *m [[maybe_unused]],
                                        u32 subleaf [[maybe_unused]])
{
    return (struct cpuid_regs){ .edx = EDX87_TSC };
}

static struct cpuid_regs leaf_sizes(const struct soft_cpu *c, const struct soft_cpuid *m,
                                    u32 subleaf [[maybe_unused]])
{
    u32 n = c->vm->n_cpus;
    struct cpuid_regs r = { .eax = m->phys_bits | m->lin_bits << 8 };

    if (is_amd(m)) {
        r.ebx = EBX88_NO_FLAWS;
        r.ecx = (n - 1) | id_bits(n) << 12;
    }
    return r;
}

static struct cpuid_regs leaf_ext_more(const struct soft_cpu *c [[maybe_unused]],
                                       const struct soft_cpuid *m, u32 subleaf [[maybe_unused]])
{
    if (!is_amd(m))
        return (struct cpuid_regs){};
    return (struct cpuid_regs){ .eax = EAX821_PLAIN, .ecx = ECX821_NO_FLAWS };
}

/* clang-format off */
static const struct {
    u32 leaf;
    leaf_fn fn;
} leafs[] = {
    { 0x00,       leaf_vendor },
    { 0x01,       leaf_features },
    { 0x04,       leaf_cache_intel },
    { 0x06,       leaf_power },
    { 0x07,       leaf_extended },
    { 0x0b,       leaf_topology },
    { 0x0d,       leaf_xstate },
    { 0x15,       leaf_tsc },
    { 0x16,       leaf_mhz },
    { 0x40000000, leaf_pv_vendor },
    { 0x40000001, leaf_pv_features },
    { 0x40000010, leaf_pv_timing },
    { 0x80000000, leaf_ext_vendor },
    { 0x80000001, leaf_ext_features },
    { 0x80000002, leaf_brand0 },
    { 0x80000003, leaf_brand1 },
    { 0x80000004, leaf_brand2 },
    { 0x80000005, leaf_l1 },
    { 0x80000006, leaf_l2 },
    { 0x80000007, leaf_ext_power },
    { 0x80000008, leaf_sizes },
    { 0x8000001d, leaf_amd_cache },
    { 0x8000001e, leaf_amd_topology },
    { 0x80000021, leaf_ext_more },
};
/* clang-format on */

struct cpuid_regs soft_cpuid_query(const struct soft_cpu *c, u32 leaf, u32 subleaf)
{
    const struct soft_cpuid *m = c->vm->cpuid;
    u32 top = leaf & 0xc0000000;

    /* Above the last leaf of their range Intel's CPUs answer with the last basic one, AMD's with zeroes. */
    if (!is_amd(m) && top != 0x40000000 && leaf > (top ? LEAF_EXT_MAX : LEAF_MAX))
        leaf = LEAF_MAX;
    for_each_row(l, leafs)
        if (l->leaf == leaf)
            return l->fn(c, m, subleaf);
    return (struct cpuid_regs){};
}
