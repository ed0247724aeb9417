/*
 * mem/mem.h: guest RAM, and the one checked door to it.
 * RAM is private memory, a memfd, or private copies of a file's pages, mapped once: what is below MEM_LOW_END at its own
 * guest-physical address (GPA), the rest from 4 GiB on.  Devices reach RAM only by the functions here: each checks the whole
 * range, and each write is seen by the dirty log.  Thread-safe after mem_new; what several threads write to one place is the
 * guest's race, as on hardware.
 */
#pragma once

#include "base/base.h"

enum {
    MEM_PAGE = 4096,
    MEM_REGIONS_MAX = 16,
};
#define MEM_LOW_END \
    0xc0000000ull /* the 32-bit hole for PCI, ECAM and interrupt controllers begins here */
#define MEM_HIGH_START 0x100000000ull
#define MEM_SIZE_MIN   (1 * MiB)
#define MEM_SIZE_MAX   (4 * TiB)

/*
 * MEM_SHARED: a memfd, which other processes may map.  MEM_HUGETLB: the same, of 2 MiB pages that the host reserved.
 * MEM_PRIVATE: memory of this process, which the host backs with 2 MiB pages as it can (few hosts do so for memfds).
 */
enum mem_backing { MEM_SHARED, MEM_HUGETLB, MEM_PRIVATE };

/*
 * What RAM begins as: page n of RAM is at `at` + n × MEM_PAGE of the file, for the pages of `pages` (mem_pages bits; NULL: all).
 * The file is never written.  Its owner must not make it shorter while it is mapped.
 */
struct mem_layer {
    int fd; /* borrowed for mem_new */
    u64 at; /* a multiple of MEM_PAGE */
    const u64 *pages;
};

struct mem_cfg {
    u64 size; /* bytes of RAM, a multiple of MEM_PAGE; MEM_SIZE_MIN..MEM_SIZE_MAX */
    enum mem_backing
        from;      /* MEM_HUGETLB: 2 MiB pages reserved by the host, size a multiple of 2 MiB */
    bool prealloc; /* touch all of it now */
    /* Lowest first; the first has all pages, later ones replace some.  With MEM_PRIVATE the files are mapped, and a page is read
     * when it is touched; with others all that they hold is read now. */
    const struct mem_layer *layers;
    u32 n_layers;
};

struct mem_region {
    u64 gpa, size;
    u8 *host;      /* where our process sees it */
    u64 fd_offset; /* where it lies in the memfd, and in the order of pages of the dirty log */
};

struct mem;

/* Owned in *ret.  -EINVAL: a size that cannot be; -ENOMEM: the host refuses. */
int mem_new(const struct mem_cfg *cfg, struct mem **ret, struct err *e);
void mem_free(struct mem *m);
AUTO_DEFINE(mem, struct mem *, mem_free)

u64 mem_size(const struct mem *m);
int mem_fd(const struct mem *m); /* stays ours; -1 with MEM_PRIVATE */
int mem_page_fd(
    const struct mem *m); /* the same, for mappings of single pages: -1 with MEM_HUGETLB, too */
/* The RAM regions, ascending by GPA; *ret_n of them. */
const struct mem_region *mem_regions(const struct mem *m, unsigned *ret_n);
/* First GPA above all RAM and above the 32-bit hole. */
u64 mem_end(const struct mem *m);

/* Host address of [gpa, gpa + len), or NULL when it is not all inside one region.  For reading. */
const void *mem_at(const struct mem *m, u64 gpa, u64 len);
/* As mem_at, for writing: marks the pages dirty now, and mem_dirty must be called again after a write that is done later. */
void *mem_at_rw(struct mem *m, u64 gpa, u64 len);

/* Copies.  0, or -EFAULT and nothing copied when the range is not RAM. */
int mem_read(const struct mem *m, u64 gpa, void *buf, u64 len);
int mem_write(struct mem *m, u64 gpa, const void *buf, u64 len);

/* Atomic, aligned accesses to what guest and device share (ring indices).  `at` comes from mem_at. */
#define mem_load_acquire16(at)     ((u16)__atomic_load_n((const u16 *)(at), __ATOMIC_ACQUIRE))
#define mem_store_release16(at, v) __atomic_store_n((u16 *)(at), (u16)(v), __ATOMIC_RELEASE)

/* Tells the host that the guest does not need what whole pages are inside; they read as zeroes next.  -EFAULT: not RAM. */
int mem_discard(struct mem *m, u64 gpa, u64 len);

/*
 * The next range, in order of the memfd, at or after *at that may hold anything but zeroes; false: there is none.  Whole pages.  Where
 * it does not say more than all of RAM, reading what was never touched costs no memory.  One thread at a time.
 */
bool mem_data(const struct mem *m, u64 *at, u64 *ret_len);
/* Host address of the byte at `at` in order of the memfd, for reading. */
const u8 *mem_ordered(const struct mem *m, u64 at);

/*
 * Dirty log.  start: from now on writes through this door are noted (the engine notes its own).  take: ORs what was noted into
 * `bitmap` (one bit a page, in order of the memfd: mem_pages bits) and clears it.
 */
u64 mem_pages(const struct mem *m);
void mem_dirty_start(struct mem *m);
void mem_dirty_stop(struct mem *m);
void mem_dirty(struct mem *m, u64 gpa, u64 len);
void mem_dirty_take(struct mem *m, u64 *bitmap);

/*
 * Watched pages: `fn` is called after a write through this door to a page of the memfd whose word in `pages` (mem_pages of them,
 * changed by their owner with atomic operations) is not 0.  For an engine that keeps decoded code.  NULL ends it; nothing runs then.
 */
void mem_watch(struct mem *m, const atomic_ullong *pages, void (*fn)(void *arg, u64 page),
               void *arg);
