/*
 * cpu/soft/area.c: see area.h.
 */
#include "cpu/soft/area.h"

#include <sys/mman.h>

/* Of shared memory, and mremap maps no bytes of it to another place: the same bytes once more (mremap(2), old_size 0).  A memfd would do
 * as well, but perf(1) looks into its map of names for memory without a file only. */
int code_area_open(struct code_area *a, size_t size, struct err *e)
{
    void *at =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    int r;

    *a = (struct code_area){ .size = size };
    if (at == MAP_FAILED)
        return err_errno(e, "map %zu bytes of code area", size);
    a->write_at = at;
    at = mremap(a->write_at, 0, size, MREMAP_MAYMOVE);
    a->run_at = at == MAP_FAILED ? NULL : at;
    if (a->run_at && mprotect(a->run_at, size, PROT_READ | PROT_EXEC) == 0)
        return 0;
    r = err_errno(e, "map the code area for execution");
    code_area_close(a);
    return r;
}

void code_area_close(struct code_area *a)
{
    if (a->write_at)
        munmap(a->write_at, a->size);
    if (a->run_at)
        munmap(a->run_at, a->size);
    *a = (struct code_area){};
}
