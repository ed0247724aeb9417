/*
 * testlib/test.c: runs the tests of one folder under cmocka: `x_tests [PATTERN]`.
 */
#include "testlib/test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

extern const struct test_case __start_test_cases[], __stop_test_cases[];

static const char *row_why;
static char *dir_made;

void test_row(const char *why)
{
    row_why = why;
}

static void print_row(void)
{
    if (row_why)
        print_error("  row: %s\n", row_why);
}

void test_eq(u64 got, u64 want, const char *what, const char *wanted, const char *file, int line)
{
    if (got == want)
        return;
    print_row();
    print_error("  %s is %llu (0x%llx), want %s = %llu (0x%llx)\n", what, got, got, wanted, want,
                want);
    _fail(file, line);
}

void test_str(const char *got, const char *want, const char *what, const char *file, int line)
{
    if (got && want && strcmp(got, want) == 0)
        return;
    print_row();
    print_error("  %s is '%s', want '%s'\n", what, got ? got : "(null)", want ? want : "(null)");
    _fail(file, line);
}

void test_mem(const void *got, const void *want, size_t len, const char *what, const char *file,
              int line)
{
    const u8 *g = got, *w = want;

    for (size_t i = 0; i < len; i++) {
        if (g[i] == w[i])
            continue;
        print_row();
        print_error("  %s differs at byte %zu of %zu: 0x%02x, want 0x%02x\n", what, i, len, g[i],
                    w[i]);
        _fail(file, line);
    }
}

void test_true(bool ok, const char *what, const char *file, int line)
{
    if (ok)
        return;
    print_row();
    print_error("  false: %s\n", what);
    _fail(file, line);
}

void test_ok(int r, const struct err *e, const char *what, const char *file, int line)
{
    if (r >= 0)
        return;
    print_row();
    print_error("  %s is %d: %s\n", what, r, e ? e->text : strerror(-r));
    _fail(file, line);
}

void test_has(const char *text, const char *part, const char *file, int line)
{
    if (text && strstr(text, part))
        return;
    print_row();
    print_error("  '%s' does not contain '%s'\n", text ? text : "(null)", part);
    _fail(file, line);
}

_Noreturn void test_skip(const char *why)
{
    print_message("  skipped: %s\n", why);
    skip();
    abort();
}

u64 test_rand(u64 *state)
{
    u64 x = *state;

    must(x);
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * 0x2545f4914f6cdd1dull;
}

static void remove_dir(void)
{
    char *cmd = str_new("rm -rf '%s'", dir_made);

    (void)!system(cmd);
    free(cmd);
    free(dir_made);
}

const char *test_dir(void)
{
    if (!dir_made) {
        dir_made = str_new("%s/socle-test-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
        must(mkdtemp(dir_made));
        atexit(remove_dir);
    }
    return dir_made;
}

static void run_case(void **state)
{
    const struct test_case *c = *state;

    row_why = NULL;
    c->fn();
}

int main(int argc, char **argv)
{
    size_t n = (size_t)(__stop_test_cases - __start_test_cases);
    struct CMUnitTest *tests = xnew_n(struct CMUnitTest, n);
    int failed;

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    for (size_t i = 0; i < n; i++) {
        void *state = (void *)(uintptr_t)&__start_test_cases[i];

        tests[i] = (struct CMUnitTest){ .name = __start_test_cases[i].name,
                                        .test_func = run_case,
                                        .initial_state = state };
    }
    failed = _cmocka_run_group_tests("socle", tests, n, NULL, NULL);
    free(tests);
    return failed ? 1 : 0;
}
