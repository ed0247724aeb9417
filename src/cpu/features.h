/*
 * cpu/features.h: what CPUs can do and CPUID tells of them, one row a feature; and the models that are made of these.
 * (Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E; x86-64 psABI, micro-architecture levels)
 */
#pragma once

#include "base/base.h"

enum cpu_feature {
    F_ALWAYS,
    F_FPU,
    F_CX8,
    F_CMOV,
    F_MMX,
    F_FXSR,
    F_SSE,
    F_SSE2,
    F_SSE3,
    F_SSSE3,
    F_SSE41,
    F_SSE42,
    F_PCLMUL,
    F_CX16,
    F_MOVBE,
    F_POPCNT,
    F_AES,
    F_XSAVE,
    F_AVX,
    F_F16C,
    F_FMA,
    F_RDRAND,
    F_RDSEED,
    F_AVX2,
    F_BMI1,
    F_BMI2,
    F_LZCNT,
    F_ADX,
    F_SHA,
    F_SYSCALL,
    F_SEP,
    F_LM,
    F_NX,
    F_GB_PAGES,
    F_RDTSCP,
    F_FSGSBASE,
    F_SMEP,
    F_SMAP,
    F_PKU,
    F_UMIP,
    F_PCID,
    F_INVPCID,
    F_ERMS,
    F_FSRM,
    F_CLFLUSH,
    F_CLFLUSHOPT,
    F_CLWB,
    F_RDPID,
    F_MONITOR,
    F_XSAVEOPT,
    F_XSAVEC,
    F_XGETBV1,
    F_LAHF64,
    F_X2APIC,
    F_TSC_DEADLINE,
    F_VAES,
    F_VPCLMUL,
    F_GFNI,
    F_SSE4A,
    F_PREFETCHW,
    F_TSC,
    F_MSR,
    F_PAE,
    F_PSE,
    F_PGE,
    F_PAT,
    F_MTRR,
    F_VME,
    F_DE,
    F_TSC_ADJUST,
    F_COUNT,
};

/* The CPUID registers that hold features. */
enum cpu_word {
    CPU_W_1C,
    CPU_W_1D,
    CPU_W_7B,
    CPU_W_7C,
    CPU_W_7D,
    CPU_W_XA,
    CPU_W_EC,
    CPU_W_ED,
    CPU_WORDS
};

struct cpu_word_place {
    u32 leaf, subleaf;
    u8 reg; /* 0 EAX … 3 EDX */
};

enum cpu_level {
    CPU_V1 = 1, /* in the named model of that level and those above */
    CPU_V2,
    CPU_V3,
    CPU_HOST,   /* in `host` only */
    CPU_UNSEEN, /* the software engine decodes it everywhere and shows it nowhere */
};

/* Who does it under the software engine.  What a program can do is NATIVE, which a named model promises; the rest is of the system. */
enum cpu_how {
    CPU_OURS,   /* the engine alone */
    CPU_NATIVE, /* the host's own instruction: the host must have it */
};

struct cpu_feature_row {
    u8 id; /* enum cpu_feature */
    u8 word, bit, level, how;
    const char *name;
};

extern const struct cpu_word_place cpu_words[CPU_WORDS];
/* Each feature once, but for F_ALWAYS: features_test.c. */
extern const struct cpu_feature_row cpu_features[F_COUNT - 1];
/* Components of the state that XSAVE saves (Intel SDM volume 1, 13.1), and where those begin that have a place of their own. */
enum {
    XCR0_X87 = 1 << 0,
    XCR0_SSE = 1 << 1,
    XCR0_AVX = 1 << 2,
    XCR0_PKRU = 1 << 9,
    XSAVE_LEGACY = 576, /* bytes of the first two, and the header */
};

/* In the order of enum cpu_model, and NULL. */
extern const char *const cpu_models[];

enum cpu_model { CPU_MODEL_HOST, CPU_MODEL_V1, CPU_MODEL_V2, CPU_MODEL_V3 };

/* The highest level whose features the model has. */
enum cpu_level cpu_model_level(enum cpu_model model);
/* Of the model, those of one register. */
u32 cpu_model_word(enum cpu_model model, enum cpu_word word);
/* -ENOTSUP: the model promises a feature that `have` (one register a word) lacks. */
int cpu_model_check(enum cpu_model model, const u32 have[CPU_WORDS], struct err *e);
