/*
 * testlib/fuzz.h: a fuzz target.  FUZZ(name) { … data, size … } is linked with libFuzzer by clang, and with
 * fuzz_replay.c (which runs the files and folders named on its command line) everywhere else.
 */
#pragma once

#include "base/base.h"

#define FUZZ(name)                                           \
    static void fuzz_##name(const u8 *data, size_t size);    \
    int LLVMFuzzerTestOneInput(const u8 *data, size_t size); \
    int LLVMFuzzerTestOneInput(const u8 *data, size_t size)  \
    {                                                        \
        fuzz_##name(data, size);                             \
        return 0;                                            \
    }                                                        \
    static void fuzz_##name(const u8 *data, size_t size)

/* The next bytes of a fuzz input as numbers; zeroes after the end. */
struct fuzz_in {
    const u8 *p;
    size_t left;
};

static inline u64 fuzz_take(struct fuzz_in *in, size_t bytes)
{
    u64 v = 0;
    size_t n = min(bytes, in->left);

    memcpy(&v, in->p, n);
    in->p += n;
    in->left -= n;
    return v;
}
