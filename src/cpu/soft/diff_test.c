/*
 * cpu/soft/diff_test.c: a short, repeatable run of the comparison with the host's CPU.  soft_diff is the long one.
 */
#include "cpu/soft/diff.h"

#include "testlib/test.h"

#include <stdio.h>

enum { BATCHES = 40 };

/* One batch; the first difference fails the test. */
static void run_batch(struct diff *d, struct oracle *o, u64 *seed, u32 bits)
{
    static struct diff_insn di[ORACLE_BATCH];
    static struct oracle_test before[ORACLE_BATCH];
    struct oracle_test *t = oracle_tests(o);
    struct diff_result r;
    char text[512], form[64], want[640];
    struct err e = {};

    for (u32 i = 0; i < ORACLE_BATCH; i++)
        diff_generate(seed, bits, &t[i], &di[i]);
    memcpy(before, t, sizeof(before));
    CHECK_OK(oracle_run(o, ORACLE_BATCH, &e), &e);
    for (u32 i = 0; i < ORACLE_BATCH; i++) {
        diff_engine(d, &before[i], &r);
        diff_compare(&t[i], &r, text, sizeof(text));
        diff_form(&di[i], form, sizeof(form));
        if (!text[0])
            continue;
        snprintf(want, sizeof(want), "%s, %u bits, opcode %02x: %s", form, bits, di[i].in.opcode, text);
        CHECK_STR(want, "");
    }
}

static void run_bits(u32 bits)
{
    struct err e = {};
    struct diff *d = diff_new(&e);
    u64 seed = 20240229 + bits;

    CHECK(d);
    struct oracle *o = oracle_new(&e);
    if (!o) {
        diff_free(d);
        test_skip(e.text);
    }
    for (u32 i = 0; i < BATCHES; i++)
        run_batch(d, o, &seed, bits);
    oracle_free(o);
    diff_free(d);
}

TEST(soft_diff_64)
{
    run_bits(64);
}

TEST(soft_diff_32)
{
    run_bits(32);
}

TEST(soft_diff_16)
{
    run_bits(16);
}
