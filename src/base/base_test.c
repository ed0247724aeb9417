/*
 * base/base_test.c: strings, numbers, errors, checked arithmetic, the loop.
 */
#include "base/base.h"

#include "base/loop.h"
#include "testlib/test.h"

TEST(str_size)
{
    static const struct {
        const char *why, *text;
        int r;
        u64 value;
    } rows[] = {
        { "plain", "4096", 0, 4096 },
        { "hex", "0x10", 0, 16 },
        { "suffix", "1G", 0, GiB },
        { "long suffix", "2MiB", 0, 2 * MiB },
        { "lower case", "3k", 0, 3 * KiB },
        { "no digits", "G", -EINVAL, 7 },
        { "negative", "-1", -EINVAL, 7 },
        { "garbage", "1Gx", -EINVAL, 7 },
        { "empty", "", -EINVAL, 7 },
        { "overflow by the suffix", "99999999999T", -ERANGE, 7 },
        { "overflow", "99999999999999999999", -ERANGE, 7 },
    };

    for_each_row(c, rows) {
        u64 v = 7; /* untouched on failure */

        ROW(c);
        CHECK_EQ(str_size(c->text, &v), c->r);
        CHECK_EQ(v, c->value);
    }
}

TEST(err_wrap_puts_the_context_before)
{
    struct err e = {};
    int r = err_set(&e, -EINVAL, "size is %d", 3);

    CHECK_EQ(r, -EINVAL);
    CHECK_EQ(err_wrap(&e, "open '%s'", "a"), -EINVAL);
    CHECK_STR(e.text, "open 'a': size is 3");
}

TEST(range_ok_never_overflows)
{
    CHECK(range_ok(0, 10, 10));
    CHECK(!range_ok(1, 10, 10));
    CHECK(!range_ok(~0ull, 2, 10));
    CHECK(!range_ok(2, ~0ull, 10));
}

static void add_one(void *arg)
{
    ++*(int *)arg;
}

TEST(loop_call_runs_on_the_thread_and_waits)
{
    struct loop l;
    int n = 0;

    CHECK_EQ(loop_init(&l, "test"), 0);
    loop_call(&l, add_one, &n);
    CHECK_EQ(n, 1); /* not started: on our thread */
    CHECK_EQ(loop_start(&l), 0);
    for (int i = 0; i < 100; i++)
        loop_call(&l, add_one, &n);
    CHECK_EQ(n, 101);
    loop_join(&l);
    loop_call(&l, add_one, &n);
    CHECK_EQ(n, 102);
    loop_fini(&l);
}
