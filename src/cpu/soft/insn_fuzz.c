/*
 * cpu/soft/insn_fuzz.c: one instruction, on the host's CPU and in the engine, must have the same outcome.
 * Input: a byte for the code size, eight for the state, then the instruction.
 */
#include "cpu/soft/diff.h"
#include "testlib/fuzz.h"

#include <stdio.h>
#include <stdlib.h>

static struct diff *d;
static struct oracle *o;

static bool ready(void)
{
    struct err e = {};

    if (!d)
        d = diff_new(&e);
    if (d && !o)
        o = oracle_new(&e);
    return d && o;
}

static bool can_run(u32 bits)
{
    static int can[3]; /* of 16, 32, 64; 0: not asked yet */
    int *c = &can[bits / 32];

    if (!*c)
        *c = oracle_can(o, bits) ? 1 : -1;
    return *c > 0;
}

FUZZ(insn)
{
    static const u8 sizes[] = { 64, 32, 16 };
    static struct oracle_test before;
    struct fuzz_in in = { data, size };
    u32 bits = sizes[fuzz_take(&in, 1) % ARRAY_LEN(sizes)];
    u64 seed = fuzz_take(&in, 8) | 1;
    struct diff_result r;
    struct diff_insn di;
    char text[512], form[64];
    struct err e = {};
    u8 bytes[INSN_LEN_MAX] = {};

    if (!ready())
        return;
    if (!can_run(bits))
        return;
    memcpy(bytes, in.p, min(in.left, sizeof(bytes)));
    struct oracle_test *t = oracle_tests(o);
    if (!diff_prepare(&seed, bits, bytes, sizeof(bytes), t, &di))
        return;
    before = *t;
    if (oracle_run(o, 1, &e) < 0)
        return;
    diff_engine(d, &before, &r);
    if (diff_compare(&di, t, &r, text, sizeof(text)) == 0)
        return;
    diff_form(&di, form, sizeof(form));
    fprintf(stderr, "%s, %u bits: %s\n", form, bits, text);
    abort();
}
