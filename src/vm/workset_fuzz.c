/*
 * vm/workset_fuzz.c: any bytes as the file that says which pages a restored guest needs first: what is taken has no page that does not exist.
 */
#include "vm/workset.h"

#include "testlib/fuzz.h"

#include <stdlib.h>

FUZZ(workset)
{
    static const char id[] = "0123456789abcdef0123456789abcdef";

    for (u64 pages = 256; pages <= 300; pages += 44) {
        struct err e = {};
        AUTO(free) u64 *set = workset_parse(data, size, id, pages, &e);

        must(set || (e.code < 0 && e.text[0]));
        must(!set || pages % 64 == 0 || !(set[pages / 64] >> pages % 64));
    }
}
