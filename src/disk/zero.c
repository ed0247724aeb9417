/*
 * disk/zero.c: is memory all zeroes?  Most memory that is not shows it at once, so that a few words decide before all is read.
 */
#include "disk/zero.h"

/* The compiler makes SSE2 or AVX2 of it, as it was told. */
typedef u64 wide __attribute__((vector_size(32), aligned(1), may_alias));

bool is_zero(const void *p, size_t len)
{
    const u8 *b = p;
    u64 few[3];

    must(len % 512 == 0);
    if (len == 0)
        return true;
    memcpy(&few[0], b, 8);
    memcpy(&few[1], b + len / 2, 8);
    memcpy(&few[2], b + len - 8, 8);
    if (few[0] | few[1] | few[2])
        return false;
    for (size_t i = 0; i < len; i += 256) {
        const wide *w = (const void *)(b + i);
        wide all = ((w[0] | w[1]) | (w[2] | w[3])) | ((w[4] | w[5]) | (w[6] | w[7]));

        if (all[0] | all[1] | all[2] | all[3])
            return false;
    }
    return true;
}
