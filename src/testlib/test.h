/*
 * testlib/test.h: unit tests that register themselves and run under cmocka.
 *     TEST(name) { ... CHECK_EQ(got, want); ... }
 * A table test calls ROW(row) so that a failure prints row->why.  Bodies live in one linker section of the test program.
 */
#pragma once

#include "base/base.h"

struct test_case {
    const char *name;
    void (*fn)(void);
};

#define TEST(test_name)                                                                  \
    static void test_##test_name(void);                                                  \
    static const struct test_case test_case_##test_name                                  \
        __attribute__((used, section("test_cases"), aligned(8))) = { #test_name,         \
                                                                     test_##test_name }; \
    static void test_##test_name(void)

/* The row that the following checks are about. */
#define ROW(row) test_row((row)->why)
void test_row(const char *why);

/* Fails the test with both values printed. */
#define CHECK_EQ(got, want)       test_eq((u64)(got), (u64)(want), #got, #want, __FILE__, __LINE__)
#define CHECK_STR(got, want)      test_str((got), (want), #got, __FILE__, __LINE__)
#define CHECK_MEM(got, want, len) test_mem((got), (want), (len), #got, __FILE__, __LINE__)
#define CHECK(cond)               test_true(!!(cond), #cond, __FILE__, __LINE__)
/* `r` is a result: not negative.  Prints e.text when it is. */
#define CHECK_OK(r, e) test_ok((r), (e), #r, __FILE__, __LINE__)
/* The text contains `part`. */
#define CHECK_HAS(text, part) test_has((text), (part), __FILE__, __LINE__)
/* Leaves the test as skipped; the reason is printed. */
_Noreturn void test_skip(const char *why);

void test_eq(u64 got, u64 want, const char *what, const char *wanted, const char *file, int line);
void test_str(const char *got, const char *want, const char *what, const char *file, int line);
void test_mem(const void *got, const void *want, size_t len, const char *what, const char *file,
              int line);
void test_true(bool ok, const char *what, const char *file, int line);
void test_ok(int r, const struct err *e, const char *what, const char *file, int line);
void test_has(const char *text, const char *part, const char *file, int line);

/* Repeatable pseudo-random numbers (xorshift64*); the state is the caller's and must not be 0. */
u64 test_rand(u64 *state);

/* A new empty directory, removed with what is in it when the program ends. */
const char *test_dir(void);
