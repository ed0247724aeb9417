/*
 * vm/shed.c: gives back the memory that only the start of a machine needed: the free part of the heap, and the pages of code.
 * What is run again comes back from the page cache, 16 pages at a touch.
 *   (1) Only mappings that cannot be written are dropped: their pages are those of the file.  No library that we link has text
 *       relocations; a debugger's breakpoints are lost, which is why --no-jail keeps everything.
 */
#include "vm/shed.h"

#include "base/base.h"

#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

static int drop_object(struct dl_phdr_info *o, size_t, void *arg)
{
    const u64 page = *(const u64 *)arg;

    for (unsigned i = 0; i < o->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &o->dlpi_phdr[i];
        const u64 at = o->dlpi_addr + p->p_vaddr, begin = align_down(at, page);

        if (p->p_type == PT_LOAD && !(p->p_flags & PF_W))
            madvise((void *)begin, align_up(at + p->p_filesz, page) - begin, MADV_DONTNEED);
    }
    return 0;
}

void shed_startup(void)
{
    u64 page = (u64)sysconf(_SC_PAGESIZE);

    malloc_trim(0);
    dl_iterate_phdr(drop_object, &page);
}
