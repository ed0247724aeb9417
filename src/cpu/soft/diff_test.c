/*
 * cpu/soft/diff_test.c: a short, repeatable run of the comparison with the host's CPU.  soft_diff is the long one.
 */
#include "cpu/soft/diff.h"

#include "testlib/test.h"

#include <stdio.h>

enum { BATCHES = 40 };

/* Runs the first `n` tests; the first difference fails the test. */
static void compare_all(struct diff *d, struct oracle *o, const struct diff_insn *di, u32 n)
{
    static struct oracle_test before[ORACLE_BATCH];
    struct oracle_test *t = oracle_tests(o);
    struct diff_result r;
    char text[512], form[64], want[640];
    struct err e = {};

    memcpy(before, t, n * sizeof(before[0]));
    CHECK_OK(oracle_run(o, n, &e), &e);
    for (u32 i = 0; i < n; i++) {
        diff_engine(d, &before[i], &r);
        diff_compare(&di[i], &t[i], &r, text, sizeof(text));
        diff_form(&di[i], form, sizeof(form));
        if (!text[0])
            continue;
        snprintf(want, sizeof(want), "%s, %u bits, opcode %02x: %s", form, before[i].bits,
                 di[i].in.opcode, text);
        CHECK_STR(want, "");
    }
}

static void random_batch(struct diff *d, struct oracle *o, u64 *seed, u32 bits)
{
    static struct diff_insn di[ORACLE_BATCH];

    for (u32 i = 0; i < ORACLE_BATCH; i++)
        diff_generate(seed, bits, &oracle_tests(o)[i], &di[i]);
    compare_all(d, o, di, ORACLE_BATCH);
}

/* Skips the test where no oracle can be had. */
static struct diff *both(struct oracle **ret)
{
    struct err e = {};
    struct diff *d = diff_new(&e);

    CHECK(d);
    *ret = oracle_new(&e);
    if (!*ret) {
        diff_free(d);
        test_skip(e.text);
    }
    return d;
}

static void run_bits(u32 bits)
{
    struct oracle *o;
    struct diff *d = both(&o);
    u64 seed = 20240229 + bits;

    if (!oracle_can(o, bits)) {
        oracle_free(o);
        diff_free(d);
        test_skip("this host does not run code of that size as a CPU does");
    }
    for (u32 i = 0; i < BATCHES; i++)
        random_batch(d, o, &seed, bits);
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

/* The host's kernel says of its own addresses that they are mapped, whether they are or not. */
TEST(soft_diff_kernel_address)
{
    static const u8 load[] = { 0x48, 0x8b, 0x03 }; /* mov rax, [rbx] */
    struct diff_insn di;
    struct oracle *o;
    struct diff *d = both(&o);
    u64 seed = 1;

    CHECK(diff_prepare(&seed, 64, load, sizeof(load), &oracle_tests(o)[0], &di));
    oracle_tests(o)[0].in.reg[GPR_RBX] = 0xffffffff80000000ull;
    compare_all(d, o, &di, 1);
    CHECK_EQ(oracle_tests(o)[0].vector, VEC_PF);
    oracle_free(o);
    diff_free(d);
}
