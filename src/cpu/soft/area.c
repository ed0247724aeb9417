/*
 * cpu/soft/area.c: see area.h.
 */
#include "cpu/soft/area.h"

#include <sys/mman.h>

#define LARGE_PAGE ((size_t)2 << 20)

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1; Debian's libc is older */
#endif

/* `size` bytes of addresses on a boundary that 2 MiB pages want. */
static u8 *reserve(size_t size)
{
    u8 *space = mmap(NULL, size + LARGE_PAGE, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0),
       *at;

    if (space == MAP_FAILED)
        return NULL;
    at = (u8 *)align_up((uintptr_t)space, LARGE_PAGE);
    if (at > space)
        munmap(space, (size_t)(at - space));
    munmap(at + size, (size_t)(space + LARGE_PAGE - at));
    return at;
}

/* Of shared memory, and mremap maps no bytes of it to another place: the same bytes once more (mremap(2), old_size 0).  A memfd would do
 * as well, but perf(1) looks into its map of names for memory without a file only. */
int code_area_open(struct code_area *a, size_t size, struct err *e)
{
    int r;

    *a = (struct code_area){ reserve(size), reserve(size), size };
    if (a->write_at && a->run_at &&
        mmap(a->write_at, size, PROT_READ | PROT_WRITE,
             MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED &&
        mremap(a->write_at, 0, size, MREMAP_MAYMOVE | MREMAP_FIXED, a->run_at) != MAP_FAILED &&
        mprotect(a->run_at, size, PROT_READ | PROT_EXEC) == 0)
        return 0;
    r = err_errno(e, "map %zu bytes of code area twice", size);
    code_area_close(a);
    return r;
}

void code_area_filled(struct code_area *a, size_t from, size_t to)
{
    for (size_t at = align_down(from, LARGE_PAGE); at + LARGE_PAGE <= to; at += LARGE_PAGE)
        (void)!madvise(a->write_at + at, LARGE_PAGE, MADV_COLLAPSE);
}

void code_area_close(struct code_area *a)
{
    if (a->write_at)
        munmap(a->write_at, a->size);
    if (a->run_at)
        munmap(a->run_at, a->size);
    *a = (struct code_area){};
}
