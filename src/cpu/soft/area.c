/*
 * cpu/soft/area.c: see area.h.
 */
#include "cpu/soft/area.h"

#include <sys/mman.h>
#include <unistd.h>

static u8 *map(int fd, size_t size, int prot)
{
    void *at = mmap(NULL, size, prot, MAP_SHARED, fd, 0);

    return at == MAP_FAILED ? NULL : at;
}

int code_area_open(struct code_area *a, const char *name, size_t size, struct err *e)
{
    AUTO(fd) int fd = memfd_create(name, MFD_CLOEXEC);

    *a = (struct code_area){ .size = size };
    if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
        return err_errno(e, "create %zu bytes of code area", size);
    a->write_at = map(fd, size, PROT_READ | PROT_WRITE);
    if (!a->write_at)
        return err_errno(e, "map the code area");
    a->run_at = map(fd, size, PROT_READ | PROT_EXEC);
    if (a->run_at)
        return 0;
    int r = err_errno(e, "map the code area for execution");
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
