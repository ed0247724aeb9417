/*
 * state/state_test.c: round trips, versions, and every way a stream can lie.
 */
#include "state/state.h"

#include "testlib/test.h"

#define CHAN(F, S)                                   \
    F(S, VAL, u16, reload, "count the guest loaded") \
    F(S, VAL, bool, on, "counting")
#define CHIP(F, S)                         \
    F(S, SUB, t_chan, chan, 2, "counters") \
    F(S, ARR, u8, latch, 3, "bytes")       \
    F(S, VAL, u64, big, "a wide one")      \
    F(S, VAL, u8, late, "newer", .since = 2, .dflt = 9)
STATE_STRUCT(t_chan, CHAN);
STATE_STRUCT(t_chip, CHIP);

static int chan_check(void *obj, struct err *e)
{
    struct t_chan *c = obj;

    return c->reload == 13 ? err_set(e, -EBADMSG, "reload 13") : 0;
}
STATE_TABLE(t_chan, CHAN, .after_load = chan_check);
STATE_TABLE(t_chip, CHIP, .version = 2);

static const struct t_chip sample = {
    .chan = { { 0x1234, true }, { 7, false } },
    .latch = { 1, 2, 3 },
    .big = 1ull << 63,
    .late = 5,
};

TEST(state_round_trip)
{
    struct strbuf once = {}, twice = {}, text = {};
    struct t_chip got = {};
    struct err e;

    state_save(&t_chip_def, &sample, &once);
    CHECK_OK(state_load(&t_chip_def, &got, 2, once.text, once.len, &e), &e);
    CHECK_EQ(state_compare(&t_chip_def, &sample, &got, NULL), 0);
    state_save(&t_chip_def, &got, &twice);
    CHECK_EQ(once.len, twice.len);
    CHECK_MEM(once.text, twice.text, once.len);
    state_print(&t_chip_def, &got, &text);
    CHECK_STR(text.text,
              "{\"chan\": [{\"reload\": 4660, \"on\": true}, {\"reload\": 7, \"on\": false}], "
              "\"latch\": \"010203\", \"big\": \"0x8000000000000000\", \"late\": 5}");
    strbuf_fini(&once);
    strbuf_fini(&twice);
    strbuf_fini(&text);
}

TEST(state_older_version_gets_the_default)
{
    struct strbuf s = {};
    struct t_chip got = {};
    struct err e;

    state_save(&t_chip_def, &sample, &s);
    CHECK_OK(state_load(&t_chip_def, &got, 1, s.text, s.len - 7, &e),
             &e); /* 7: the bytes of field `late` */
    CHECK_EQ(got.late, 9);
    CHECK_EQ(state_load(&t_chip_def, &got, 3, s.text, s.len, &e), -EBADMSG);
    strbuf_fini(&s);
}

TEST(state_load_refuses)
{
    static const struct {
        const char *why, *says;
        int at; /* byte to change; -1 none */
        u8 to;
        int grow; /* bytes more or fewer */
    } rows[] = {
        { "bad bool", "bool of value 2", 24, 2, 0 },
        { "wrong tag", "tag 9", 0, 9, 0 },
        { "trailing byte", "after the last", -1, 0, 1 },
        { "cut short", "", -1, 0, -1 },
        { "length beyond the end", "stands there", 5, 0xff, 0 },
        { "after_load of a sub-list", "reload 13", 16, 13, 0 },
    };

    for_each_row(c, rows) {
        struct strbuf s = {};
        struct t_chip got = sample;
        struct err e = {};

        ROW(c);
        state_save(&t_chip_def, &sample, &s);
        strbuf_add_mem(&s, "\0", 1);
        if (c->at == 16)
            s.text[17] = 0;
        if (c->at >= 0)
            s.text[c->at] = (char)c->to;
        CHECK_EQ(state_load(&t_chip_def, &got, 2, s.text, s.len - 1 + (size_t)c->grow, &e),
                 -EBADMSG);
        CHECK_HAS(e.text, c->says);
        CHECK_EQ(state_compare(&t_chip_def, &sample, &got, NULL), 0);
        strbuf_fini(&s);
    }
}

TEST(state_stream)
{
    struct strbuf s = {};
    struct state_reader r;
    struct state_section sec;
    struct err e;

    state_stream_begin(&s);
    state_stream_put(&s, "pit0", &t_chip_def, &sample);
    state_stream_end(&s);
    CHECK_OK(state_reader_init(&r, s.text, s.len, &e), &e);
    CHECK_EQ(state_reader_next(&r, &sec, &e), 1);
    CHECK_STR(sec.name, "t_chip");
    CHECK_STR(sec.instance, "pit0");
    CHECK_EQ(sec.version, 2);
    CHECK_EQ(state_reader_next(&r, &sec, &e), 0);
    for (size_t cut = 0; cut < s.len; cut++) { /* no prefix of a stream is a stream */
        int got = state_reader_init(&r, s.text, cut, &e);

        while (got == 0 && (got = state_reader_next(&r, &sec, &e)) > 0)
            got = 0;
        CHECK_EQ(got, -EBADMSG);
    }
    strbuf_fini(&s);
}
