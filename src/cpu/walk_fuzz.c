/*
 * cpu/walk_fuzz.c: any bytes as page tables: a walk ends, and what is read lies in RAM.
 * Input: CR0, CR4, EFER (one byte of choices), CR3 (2 bytes, pages), an address (8 bytes), then what lies in RAM from 0 on.
 */
#include "cpu/walk.h"

#include "mem/mem.h"
#include "testlib/fuzz.h"

enum { RAM = 1 * MiB, USED = 64 * KiB }; /* only USED is filled and cleared: quicker */

static void load(struct mem *m, const struct fuzz_in *in)
{
    size_t n = min(in->left, (size_t)USED);

    if (n)
        must(mem_write(m, 0, in->p, n) == 0);
}

FUZZ(walk)
{
    static struct mem *m; /* one for all inputs: making it costs more than a walk */
    static struct vcpu_state s;
    static const u8 zeroes[USED];
    struct fuzz_in in = { data, size };
    u8 bits = (u8)fuzz_take(&in, 1), buf[64];
    struct walk w;
    u64 gva, n;

    if (!m)
        must(mem_new(&(struct mem_cfg){ .size = RAM }, &m, NULL) == 0);
    must(mem_write(m, 0, zeroes, USED) == 0);
    s.cr0 = (bits & 1 ? 1ull : 0) | (bits & 2 ? 1ull << 31 : 0);
    s.cr4 = (bits & 4 ? 0x10 : 0) | (bits & 8 ? 0x20 : 0) | (bits & 16 ? 0x1000 : 0);
    s.efer = bits & 32 ? 0x400 : 0;
    s.cr3 = fuzz_take(&in, 2) << 12;
    gva = fuzz_take(&in, 8);
    load(m, &in);
    if (walk_gva(&s, m, gva, &w) == 0)
        must(w.left > 0 && w.left <= 1 * GiB);
    n = walk_read(&s, m, gva, buf, sizeof(buf));
    must(n <= sizeof(buf));
    for (u64 i = 0; i < n; i++) { /* byte by byte it is the same */
        u8 one;

        must(walk_gva(&s, m, gva + i, &w) == 0 && mem_read(m, w.gpa, &one, 1) == 0 &&
             one == buf[i]);
    }
    must(walk_write(&s, m, gva, buf, n) == n);
}
