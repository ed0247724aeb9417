/*
 * box/numa.c: lists of CPUs and nodes as masks, and the system calls that take these.
 */
#include "box/numa.h"

#include <sys/syscall.h>
#include <unistd.h>

enum { BITS = 64, NODES = 1024, CPUS_ALL = OCI_CPUS_MAX / BITS, NODES_ALL = NODES / BITS };

static void fill(u64 *mask, const char *list)
{
    u32 first, last;

    while (oci_range_next(&list, &first, &last))
        for (u32 i = first; i <= last; i++)
            mask[i / BITS] |= 1ull << i % BITS;
}

int numa_run_on(pid_t pid, const char *list, const char *what, struct err *e)
{
    u64 mask[CPUS_ALL] = {};

    if (list)
        fill(mask, list);
    else
        memset(mask, 0xff, sizeof(mask));
    return syscall(SYS_sched_setaffinity, pid, sizeof(mask), mask) < 0
               ? err_errno(e, "%s: '%.60s'", what, list ? list : "all")
               : 0;
}

int numa_set_policy(const struct oci_memory_policy *p, struct err *e)
{
    /* At the place of the words of oci_linux.c (set_mempolicy(2)). */
    static const unsigned flags[] = { 1u << 13, 1u << 14, 1u << 15 };
    const bool nodes = p->nodes && *p->nodes;
    u64 mask[NODES_ALL] = {};
    unsigned mode = (unsigned)p->mode;

    if (p->mode == OCI_NO_POLICY)
        return 0;
    for_each_of(const struct oci_word, w, &p->flags) mode |= flags[w->word];
    if (nodes)
        fill(mask, p->nodes);
    /* The kernel takes one bit less than it is told. */
    return syscall(SYS_set_mempolicy, mode, nodes ? mask : NULL, nodes ? NODES + 1 : 0) < 0
               ? err_errno(e, "linux.memoryPolicy: nodes '%.60s'", nodes ? p->nodes : "")
               : 0;
}
