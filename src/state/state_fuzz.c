/*
 * state/state_fuzz.c: any bytes as a state stream: what loads must save to the same bytes.
 */
#include "state/state.h"

#include "testlib/fuzz.h"

#define SUBS(F, S) F(S, VAL, u16, a, "a") F(S, VAL, bool, b, "b")
#define MAIN(F, S) F(S, SUB, z_sub, sub, 2, "s") F(S, ARR, u32, words, 3, "w") F(S, VAL, u8, c, "c")
STATE_STRUCT(z_sub, SUBS);
STATE_STRUCT(z_main, MAIN);
STATE_TABLE(z_sub, SUBS);
STATE_TABLE(z_main, MAIN);

FUZZ(state)
{
    struct state_reader r;
    struct state_section sec;

    if (state_reader_init(&r, data, size, NULL) < 0)
        return;
    while (state_reader_next(&r, &sec, NULL) > 0) {
        struct z_main m = {};
        struct strbuf again = {};

        if (state_load(&z_main_def, &m, sec.version, sec.body, sec.len, NULL) < 0)
            continue;
        state_save(&z_main_def, &m, &again);
        must(again.len == sec.len && memcmp(again.text, sec.body, sec.len) == 0);
        strbuf_fini(&again);
    }
}
