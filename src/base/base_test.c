/*
 * base/base_test.c: strings, numbers, errors, checked arithmetic, the loop, traces.
 */
#include "base/base.h"

#include "base/loop.h"
#include "base/trace.h"
#include "testlib/test.h"

#include <stdlib.h>
#include <sys/mman.h>

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

TEST(str_numbers)
{
    static const struct {
        const char *why, *text;
        u32 n;
        u64 first, second;
    } rows[] = {
        { "two", "1 22", 2, 1, 22 },
        { "spaces and tabs", " \t7\t 8 9", 2, 7, 8 },
        { "a letter ends them", "3x4", 1, 3, 0 },
        { "a line's end, too", "5\n6", 1, 5, 0 },
        { "none", "max", 0, 0, 0 },
        { "nothing", "", 0, 0, 0 },
        { "no sign", "-1", 0, 0, 0 },
        { "no other base", "0x10", 1, 0, 0 },
        { "the largest", "18446744073709551615 1", 2, UINT64_MAX, 1 },
        { "one more", "1 18446744073709551616", 1, 1, 0 },
        { "many digits", "99999999999999999999999999999", 0, 0, 0 },
    };
    u64 v = 1;

    for_each_row(c, rows) {
        u64 got[2] = {};

        ROW(c);
        CHECK_EQ(str_take_u64s(c->text, got, 2), c->n);
        CHECK_EQ(got[0], c->first);
        CHECK_EQ(got[1], c->second);
    }
    CHECK(str_u64_after("MemTotal:  12 kB\nMemFree: 3", "MemFree:", &v));
    CHECK_EQ(v, 3);
    CHECK(!str_u64_after("MemTotal: x", "MemTotal:", &v));
    CHECK_EQ(v, 0);
    CHECK(!str_u64_after("", "a", &v));
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

static struct trace_point point = { "knock", "number %llu", false, NULL };

static void *record_two(void *)
{
    pthread_setname_np(pthread_self(), "other");
    trace_record(&point, 2, 0, 0, 0);
    trace_record(&point, 3, 0, 0, 0);
    return NULL;
}

static void dump_into(char *text, size_t size, u64 most)
{
    FILE *f = fmemopen(text, size, "w");

    trace_dump(f, most);
    fclose(f);
}

TEST(trace_dump_merges_threads_by_time)
{
    char all[1024] = {}, newest[1024] = {};
    pthread_t t;

    pthread_setname_np(pthread_self(), "first");
    trace_record(&point, 1, 0, 0, 0);
    pthread_create(&t, NULL, record_two, NULL);
    pthread_join(t, NULL);
    trace_record(&point, 4, 0, 0, 0);
    dump_into(all, sizeof(all), ~0ull);
    CHECK_HAS(all, "first knock number 1\n");
    CHECK_HAS(all, "other knock number 2\n");
    CHECK(strstr(all, "number 2") < strstr(all, "number 3"));
    CHECK(strstr(all, "number 3") < strstr(all, "number 4"));
    dump_into(newest, sizeof(newest), 2);
    CHECK(!strstr(newest, "number 2"));
    CHECK_HAS(newest, "number 3");
}

TEST(fd_whole_file)
{
    AUTO(fd) int fd = memfd_create("test", MFD_CLOEXEC);
    char *text = NULL;
    size_t len = 0;

    CHECK_EQ(fd_read_whole(fd, 8, &text, &len), -EFBIG); /* it is empty */
    CHECK_EQ(fd_write_all(fd, "12345678", 8), 0);
    CHECK_EQ(fd_read_whole(fd, 7, &text, &len), -EFBIG);
    CHECK(!text);
    CHECK_EQ(fd_read_whole(fd, 8, &text, &len), 0);
    CHECK_EQ(len, 8);
    CHECK_EQ(memcmp(text, "12345678", 8), 0);
    free(text);
}
