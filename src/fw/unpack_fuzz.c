/*
 * fw/unpack_fuzz.c: any bytes as a packed stream: an answer, the same one each time, and not one byte too many.
 */
#include "fw/unpack.h"

#include "testlib/fuzz.h"

#include <stdlib.h>

enum { ROOM = 1 << 16, GUARD = 64 };

/* The first 4 bytes of the input say how much is expected. */
FUZZ(unpack)
{
    struct fuzz_in in = { data, size };
    size_t len = (size_t)fuzz_take(&in, 4) % ROOM;
    AUTO(free) u8 *first = xnew_n(u8, ROOM + GUARD);
    AUTO(free) u8 *second = xnew_n(u8, ROOM + GUARD);
    struct err e = {};
    int r = unpack(in.p, in.left, first, len, &e);

    must(r == 0 || (r < 0 && e.text[0]));
    must((unpack_format(in.p, in.left) == NULL) == (r == -ENOSYS));
    for (size_t i = 0; i < GUARD; i++)
        must(first[len + i] == 0);
    must(unpack(in.p, in.left, second, len, NULL) == r);
    must(r < 0 || memcmp(first, second, len) == 0);
}
