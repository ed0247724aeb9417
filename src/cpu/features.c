/*
 * cpu/features.c: the table of features, and the models.
 */
#include "cpu/features.h"

/* clang-format off */
const struct cpu_word_place cpu_words[CPU_WORDS] = {
    [CPU_W_1C] = { 1, 0, 2 },   [CPU_W_1D] = { 1, 0, 3 },
    [CPU_W_7B] = { 7, 0, 1 },   [CPU_W_7C] = { 7, 0, 2 },   [CPU_W_7D] = { 7, 0, 3 },
    [CPU_W_XA] = { 0xd, 1, 0 },
    [CPU_W_EC] = { 0x80000001, 0, 2 }, [CPU_W_ED] = { 0x80000001, 0, 3 },
};

const struct cpu_feature_row cpu_features[F_COUNT - 1] = {
    { F_FPU,          CPU_W_1D,  0, CPU_V1,     CPU_NATIVE, "fpu" },
    { F_VME,          CPU_W_1D,  1, CPU_V1,     CPU_OURS,   "vme" },
    { F_DE,           CPU_W_1D,  2, CPU_V1,     CPU_OURS,   "de" },
    { F_PSE,          CPU_W_1D,  3, CPU_V1,     CPU_OURS,   "pse" },
    { F_TSC,          CPU_W_1D,  4, CPU_V1,     CPU_OURS,   "tsc" },
    { F_MSR,          CPU_W_1D,  5, CPU_V1,     CPU_OURS,   "msr" },
    { F_PAE,          CPU_W_1D,  6, CPU_V1,     CPU_OURS,   "pae" },
    { F_CX8,          CPU_W_1D,  8, CPU_V1,     CPU_NATIVE, "cx8" },
    { F_SEP,          CPU_W_1D, 11, CPU_V1,     CPU_OURS,   "sep" },
    { F_MTRR,         CPU_W_1D, 12, CPU_V1,     CPU_OURS,   "mtrr" },
    { F_PGE,          CPU_W_1D, 13, CPU_V1,     CPU_OURS,   "pge" },
    { F_CMOV,         CPU_W_1D, 15, CPU_V1,     CPU_NATIVE, "cmov" },
    { F_PAT,          CPU_W_1D, 16, CPU_V1,     CPU_OURS,   "pat" },
    { F_CLFLUSH,      CPU_W_1D, 19, CPU_V1,     CPU_OURS,   "clflush" },
    { F_MMX,          CPU_W_1D, 23, CPU_V1,     CPU_NATIVE, "mmx" },
    { F_FXSR,         CPU_W_1D, 24, CPU_V1,     CPU_OURS,   "fxsr" },
    { F_SSE,          CPU_W_1D, 25, CPU_V1,     CPU_NATIVE, "sse" },
    { F_SSE2,         CPU_W_1D, 26, CPU_V1,     CPU_NATIVE, "sse2" },
    { F_SSE3,         CPU_W_1C,  0, CPU_V2,     CPU_NATIVE, "sse3" },
    { F_PCLMUL,       CPU_W_1C,  1, CPU_HOST,   CPU_NATIVE, "pclmulqdq" },
    { F_MONITOR,      CPU_W_1C,  3, CPU_UNSEEN, CPU_OURS,   "monitor" },
    { F_SSSE3,        CPU_W_1C,  9, CPU_V2,     CPU_NATIVE, "ssse3" },
    { F_FMA,          CPU_W_1C, 12, CPU_V3,     CPU_NATIVE, "fma" },
    { F_CX16,         CPU_W_1C, 13, CPU_V2,     CPU_NATIVE, "cx16" },
    { F_PCID,         CPU_W_1C, 17, CPU_V1,     CPU_OURS,   "pcid" },
    { F_SSE41,        CPU_W_1C, 19, CPU_V2,     CPU_NATIVE, "sse4.1" },
    { F_SSE42,        CPU_W_1C, 20, CPU_V2,     CPU_NATIVE, "sse4.2" },
    { F_X2APIC,       CPU_W_1C, 21, CPU_V1,     CPU_OURS,   "x2apic" },
    { F_MOVBE,        CPU_W_1C, 22, CPU_V3,     CPU_NATIVE, "movbe" },
    { F_POPCNT,       CPU_W_1C, 23, CPU_V2,     CPU_NATIVE, "popcnt" },
    { F_TSC_DEADLINE, CPU_W_1C, 24, CPU_V1,     CPU_OURS,   "tsc-deadline" },
    { F_AES,          CPU_W_1C, 25, CPU_HOST,   CPU_NATIVE, "aes" },
    { F_XSAVE,        CPU_W_1C, 26, CPU_V3,     CPU_OURS,   "xsave" },
    { F_AVX,          CPU_W_1C, 28, CPU_V3,     CPU_NATIVE, "avx" },
    { F_F16C,         CPU_W_1C, 29, CPU_V3,     CPU_NATIVE, "f16c" },
    { F_RDRAND,       CPU_W_1C, 30, CPU_HOST,   CPU_NATIVE, "rdrand" },
    { F_FSGSBASE,     CPU_W_7B,  0, CPU_V1,     CPU_OURS,   "fsgsbase" },
    { F_TSC_ADJUST,   CPU_W_7B,  1, CPU_V1,     CPU_OURS,   "tsc-adjust" },
    { F_BMI1,         CPU_W_7B,  3, CPU_V3,     CPU_NATIVE, "bmi1" },
    { F_AVX2,         CPU_W_7B,  5, CPU_V3,     CPU_NATIVE, "avx2" },
    { F_SMEP,         CPU_W_7B,  7, CPU_V1,     CPU_OURS,   "smep" },
    { F_BMI2,         CPU_W_7B,  8, CPU_V3,     CPU_NATIVE, "bmi2" },
    { F_ERMS,         CPU_W_7B,  9, CPU_V1,     CPU_OURS,   "erms" },
    { F_INVPCID,      CPU_W_7B, 10, CPU_V1,     CPU_OURS,   "invpcid" },
    { F_RDSEED,       CPU_W_7B, 18, CPU_HOST,   CPU_NATIVE, "rdseed" },
    { F_ADX,          CPU_W_7B, 19, CPU_HOST,   CPU_NATIVE, "adx" },
    { F_SMAP,         CPU_W_7B, 20, CPU_V1,     CPU_OURS,   "smap" },
    { F_CLFLUSHOPT,   CPU_W_7B, 23, CPU_V1,     CPU_OURS,   "clflushopt" },
    { F_CLWB,         CPU_W_7B, 24, CPU_V1,     CPU_OURS,   "clwb" },
    { F_SHA,          CPU_W_7B, 29, CPU_HOST,   CPU_NATIVE, "sha" },
    { F_UMIP,         CPU_W_7C,  2, CPU_V1,     CPU_OURS,   "umip" },
    { F_PKU,          CPU_W_7C,  3, CPU_V3,     CPU_OURS,   "pku" },
    { F_GFNI,         CPU_W_7C,  8, CPU_HOST,   CPU_NATIVE, "gfni" },
    { F_VAES,         CPU_W_7C,  9, CPU_HOST,   CPU_NATIVE, "vaes" },
    { F_VPCLMUL,      CPU_W_7C, 10, CPU_HOST,   CPU_NATIVE, "vpclmulqdq" },
    { F_RDPID,        CPU_W_7C, 22, CPU_V1,     CPU_OURS,   "rdpid" },
    { F_FSRM,         CPU_W_7D,  4, CPU_V1,     CPU_OURS,   "fsrm" },
    { F_XSAVEOPT,     CPU_W_XA,  0, CPU_V3,     CPU_OURS,   "xsaveopt" },
    { F_XSAVEC,       CPU_W_XA,  1, CPU_V3,     CPU_OURS,   "xsavec" },
    { F_XGETBV1,      CPU_W_XA,  2, CPU_V3,     CPU_OURS,   "xgetbv1" },
    { F_LAHF64,       CPU_W_EC,  0, CPU_V2,     CPU_OURS,   "lahf-lm" },
    { F_LZCNT,        CPU_W_EC,  5, CPU_V3,     CPU_NATIVE, "lzcnt" },
    { F_SSE4A,        CPU_W_EC,  6, CPU_HOST,   CPU_NATIVE, "sse4a" },
    { F_PREFETCHW,    CPU_W_EC,  8, CPU_V1,     CPU_OURS,   "prefetchw" },
    { F_SYSCALL,      CPU_W_ED, 11, CPU_V1,     CPU_OURS,   "syscall" },
    { F_NX,           CPU_W_ED, 20, CPU_V1,     CPU_OURS,   "nx" },
    { F_GB_PAGES,     CPU_W_ED, 26, CPU_V1,     CPU_OURS,   "1gb-pages" },
    { F_RDTSCP,       CPU_W_ED, 27, CPU_V1,     CPU_OURS,   "rdtscp" },
    { F_LM,           CPU_W_ED, 29, CPU_V1,     CPU_OURS,   "lm" },
};
/* clang-format on */

const char *const cpu_models[] = { "host", "x86-64-v1", "x86-64-v2", "x86-64-v3", NULL };

enum cpu_level cpu_model_level(enum cpu_model model)
{
    static const u8 levels[] = {
        [CPU_MODEL_HOST] = CPU_HOST,
        [CPU_MODEL_V1] = CPU_V1,
        [CPU_MODEL_V2] = CPU_V2,
        [CPU_MODEL_V3] = CPU_V3,
    };

    return levels[model];
}

u32 cpu_model_word(enum cpu_model model, enum cpu_word word)
{
    u32 v = 0;

    for_each_row(f, cpu_features)
        if (f->word == word && f->level <= cpu_model_level(model))
            v |= 1u << f->bit;
    return v;
}

int cpu_model_check(enum cpu_model model, const u32 have[CPU_WORDS], struct err *e)
{
    for_each_row(f, cpu_features)
        if (f->how == CPU_NATIVE && f->level <= cpu_model_level(model) && model != CPU_MODEL_HOST &&
            !(have[f->word] >> f->bit & 1))
            return err_set(e, -ENOTSUP, "CPU model '%s' needs %s, which this host's CPU lacks",
                           cpu_models[model], f->name);
    return 0;
}
