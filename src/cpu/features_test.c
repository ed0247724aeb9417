/*
 * cpu/features_test.c: the table of features is whole.
 */
#include "cpu/features.h"

#include "testlib/test.h"

#include <string.h>

TEST(features_have_a_row_each)
{
    for (u32 id = F_ALWAYS + 1; id < F_COUNT; id++) {
        u32 n = 0;

        for_each_row(f, cpu_features)
            n += f->id == id;
        CHECK_EQ(n, 1);
    }
    for_each_row(f, cpu_features) {
        test_row(f->name);
        CHECK(f->name && f->word < CPU_WORDS && f->bit < 32);
        CHECK(f->level >= CPU_V1 && f->level <= CPU_UNSEEN);
        for_each_row(other, cpu_features) /* a bit tells of one feature */
            CHECK(other == f || other->word != f->word || other->bit != f->bit);
    }
}
