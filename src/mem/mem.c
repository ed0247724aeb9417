/*
 * mem/mem.c: guest RAM, seen through one mapping, and the checked door to it.
 */
#include "mem/mem.h"

#include "mem/mem_file.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/memfd.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_PAGE (2 * MiB)

struct mem {
    u64 size;
    int fd;
    bool huge;            /* MEM_HUGETLB */
    u8 *host;             /* all of RAM, in order of the memfd */
    struct mem_file file; /* MEM_PRIVATE with layers */
    struct mem_region regions[2];
    unsigned n_regions;
    atomic_bool dirty_on;
    atomic_ullong
        *dirty; /* one bit a page; made by the first mem_dirty_start, kept until mem_free */
    const atomic_ullong *watched; /* mem_watch */
    void (*on_write)(void *arg, u64 page);
    void *on_write_arg;
};

static int check_cfg(const struct mem_cfg *cfg, struct err *e)
{
    const u64 page = cfg->from == MEM_HUGETLB ? HUGE_PAGE : (u64)MEM_PAGE;

    if (cfg->size < MEM_SIZE_MIN || cfg->size > MEM_SIZE_MAX)
        return err_set(e, -EINVAL, "memory of %llu bytes: allowed are %llu MiB to %llu TiB",
                       cfg->size, MEM_SIZE_MIN / MiB, MEM_SIZE_MAX / TiB);
    if (!is_aligned(cfg->size, page))
        return err_set(e, -EINVAL, "memory of %llu bytes: not a multiple of the page size %llu",
                       cfg->size, page);
    return 0;
}

/* mmap at an address that 2 MiB pages fit: offset 0 of RAM on a 2 MiB boundary.  fd -1: private memory. */
static void *map_aligned(int fd, u64 size)
{
    const int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED;
    u8 *space =
        mmap(NULL, size + HUGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    u8 *at;

    if (space == MAP_FAILED)
        return MAP_FAILED;
    at = (u8 *)align_up((uintptr_t)space, HUGE_PAGE);
    if (at > space)
        munmap(space, (size_t)(at - space));
    munmap(at + size, (size_t)(space + HUGE_PAGE - at));
    return mmap(at, size, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, 0);
}

static int make_memfd(struct mem *m, bool huge, struct err *e)
{
    m->fd = memfd_create("guest-ram",
                         MFD_CLOEXEC | (huge ? MFD_HUGETLB | MFD_HUGE_2MB : MFD_ALLOW_SEALING));
    if (m->fd < 0)
        return err_errno(e, "create the guest's memory%s", huge ? " from 2 MiB pages" : "");
    if (ftruncate(m->fd, (off_t)m->size) < 0)
        return err_errno(e, "size the guest's memory to %llu MiB", m->size / MiB);
    return 0;
}

/* Reads the layer's pages into memory that is zero. */
static int read_layer(struct mem *m, const struct mem_layer *l)
{
    for (u64 at = 0, to; at < m->size; at = to) {
        off_t data = l->pages ? (off_t)(l->at + at) : lseek(l->fd, (off_t)(l->at + at), SEEK_DATA);
        u64 page = data < 0 ? m->size : align_down((u64)data - l->at, (u64)MEM_PAGE);
        int r = 0;

        if (page >= m->size)
            return data < 0 && errno != ENXIO ? -errno : 0;
        to = page + MEM_PAGE;
        if (!l->pages || l->pages[page / MEM_PAGE / 64] >> page / MEM_PAGE % 64 & 1)
            r = fd_pread_all(l->fd, m->host + page, MEM_PAGE, l->at + page);
        if (r < 0)
            return r;
    }
    return 0;
}

static int fill(struct mem *m, const struct mem_cfg *cfg, struct err *e)
{
    if (cfg->from == MEM_PRIVATE && cfg->n_layers)
        return mem_file_map(&m->file, m->host, m->size, cfg->layers, cfg->n_layers, e);
    for (u32 i = 0; i < cfg->n_layers; i++) {
        int r = read_layer(m, &cfg->layers[i]);

        if (r < 0)
            return err_code(e, r, "read layer %u of the guest's memory", i);
    }
    return 0;
}

static int map_ram(struct mem *m, const struct mem_cfg *cfg, struct err *e)
{
    const bool huge = cfg->from == MEM_HUGETLB;
    int r = cfg->from == MEM_PRIVATE ? 0 : make_memfd(m, huge, e);

    if (r < 0)
        return r;
    m->huge = huge;
    m->host = map_aligned(m->fd, cfg->size);
    if (m->host == MAP_FAILED) {
        m->host = NULL;
        return err_errno(e, "map %llu MiB of guest memory%s", cfg->size / MiB,
                         huge ? " from reserved 2 MiB pages" : "");
    }
    if (!huge)
        madvise(m->host, cfg->size, MADV_HUGEPAGE); /* a hint */
    madvise(m->host, cfg->size, MADV_DONTDUMP);
    return 0;
}

int mem_new(const struct mem_cfg *cfg, struct mem **ret, struct err *e)
{
    int r = check_cfg(cfg, e);

    if (r < 0)
        return r;
    AUTO(mem) struct mem *m = xnew(struct mem);
    m->fd = -1;
    m->size = cfg->size;
    r = map_ram(m, cfg, e);
    if (r >= 0)
        r = fill(m, cfg, e);
    if (r >= 0 && cfg->prealloc && madvise(m->host, cfg->size, MADV_POPULATE_WRITE) < 0)
        r = err_errno(e, "allocate %llu MiB of guest memory now", cfg->size / MiB);
    if (r < 0)
        return r;
    u64 low = min(cfg->size, MEM_LOW_END);
    m->regions[m->n_regions++] = (struct mem_region){ .gpa = 0, .size = low, .host = m->host };
    if (cfg->size > low)
        m->regions[m->n_regions++] = (struct mem_region){
            .gpa = MEM_HIGH_START, .size = cfg->size - low, .host = m->host + low, .fd_offset = low
        };
    *ret = TAKE(m);
    return 0;
}

void mem_free(struct mem *m)
{
    if (!m)
        return;
    if (m->host)
        munmap(m->host, m->size);
    fd_close(&m->fd);
    mem_file_fini(&m->file);
    free(m->dirty);
    free(m);
}

u64 mem_size(const struct mem *m)
{
    return m->size;
}

int mem_fd(const struct mem *m)
{
    return m->fd;
}

int mem_page_fd(const struct mem *m)
{
    return m->huge ? -1 : m->fd;
}

const struct mem_region *mem_regions(const struct mem *m, unsigned *ret_n)
{
    *ret_n = m->n_regions;
    return m->regions;
}

u64 mem_end(const struct mem *m)
{
    const struct mem_region *last = &m->regions[m->n_regions - 1];

    return max(last->gpa + last->size, MEM_HIGH_START);
}

static const struct mem_region *region_of(const struct mem *m, u64 gpa, u64 len)
{
    for (const struct mem_region *r = m->regions; r < m->regions + m->n_regions; r++)
        if (gpa >= r->gpa && range_ok(gpa - r->gpa, len, r->size))
            return r;
    return NULL;
}

const void *mem_at(const struct mem *m, u64 gpa, u64 len)
{
    const struct mem_region *r = region_of(m, gpa, len);

    return r ? r->host + (gpa - r->gpa) : NULL;
}

void *mem_at_rw(struct mem *m, u64 gpa, u64 len)
{
    const struct mem_region *r = region_of(m, gpa, len);

    if (!r)
        return NULL;
    mem_dirty(m, gpa, len);
    return r->host + (gpa - r->gpa);
}

int mem_read(const struct mem *m, u64 gpa, void *buf, u64 len)
{
    const void *at = mem_at(m, gpa, len);

    if (!at)
        return -EFAULT;
    memcpy(buf, at, len);
    return 0;
}

int mem_write(struct mem *m, u64 gpa, const void *buf, u64 len)
{
    void *at = mem_at_rw(m, gpa, len);

    if (!at)
        return -EFAULT;
    memcpy(at, buf, len);
    mem_dirty(m, gpa, len);
    return 0;
}

static int discard(struct mem *m, const struct mem_region *r, u64 gpa, u64 len)
{
    const u64 at = r->fd_offset + gpa - r->gpa;

    if (m->file.own)
        return mem_file_discard(&m->file, m->host, at, len);
    if (m->fd < 0)
        return madvise(m->host + at, len, MADV_DONTNEED) < 0 ? -errno : 0;
    return fallocate(m->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)len) < 0
               ? -errno
               : 0;
}

int mem_discard(struct mem *m, u64 gpa, u64 len)
{
    const struct mem_region *r = region_of(m, gpa, len);
    u64 first, end;
    int ret;

    if (!r)
        return -EFAULT;
    first = align_up(gpa, (u64)MEM_PAGE);
    end = align_down(gpa + len, (u64)MEM_PAGE);
    if (end <= first)
        return 0;
    mem_dirty(m, first, end - first);
    ret = discard(m, r, first, end - first);
    mem_dirty(m, first, end - first); /* whoever watches sees what the page holds now */
    return ret;
}

bool mem_data(const struct mem *m, u64 *at, u64 *ret_len)
{
    off_t data, hole;

    if (*at >= m->size)
        return false;
    *ret_len = m->size - *at;
    if (m->fd < 0)
        return true;
    data = lseek(m->fd, (off_t)*at, SEEK_DATA);
    if (data < 0)
        return errno != ENXIO; /* hugetlbfs does not know */
    hole = lseek(m->fd, data, SEEK_HOLE);
    *at = (u64)data;
    *ret_len = (hole < 0 ? m->size : (u64)hole) - *at;
    return true;
}

const u8 *mem_ordered(const struct mem *m, u64 at)
{
    must(at < m->size);
    return m->host + at;
}

u64 mem_pages(const struct mem *m)
{
    return m->size / MEM_PAGE;
}

static u64 bitmap_words(const struct mem *m)
{
    return (mem_pages(m) + 63) / 64;
}

void mem_dirty_start(struct mem *m)
{
    if (!m->dirty)
        m->dirty = xnew_n(atomic_ullong, bitmap_words(m));
    for (u64 i = 0; i < bitmap_words(m); i++)
        atomic_store_explicit(&m->dirty[i], 0, memory_order_relaxed);
    atomic_store_explicit(&m->dirty_on, true, memory_order_release);
}

void mem_dirty_stop(struct mem *m)
{
    atomic_store(&m->dirty_on, false);
}

void mem_watch(struct mem *m, const atomic_ullong *pages, void (*fn)(void *arg, u64 page),
               void *arg)
{
    m->on_write = fn;
    m->on_write_arg = arg;
    m->watched = pages;
}

/* The write comes before the look at the page's word: whoever sets it and then reads the page misses neither. */
static void tell_watcher(const struct mem *m, u64 page, u64 last)
{
    atomic_thread_fence(memory_order_seq_cst);
    for (; page <= last; page++)
        if (unlikely(atomic_load_explicit(&m->watched[page], memory_order_relaxed)))
            m->on_write(m->on_write_arg, page);
}

void mem_dirty(struct mem *m, u64 gpa, u64 len)
{
    bool log = atomic_load_explicit(&m->dirty_on, memory_order_acquire);
    const struct mem_region *r;
    u64 page, last;

    if (likely(!log && !m->watched) || len == 0)
        return;
    r = region_of(m, gpa, len);
    if (!r)
        return;
    page = (r->fd_offset + gpa - r->gpa) / MEM_PAGE;
    last = (r->fd_offset + gpa - r->gpa + len - 1) / MEM_PAGE;
    if (m->watched)
        tell_watcher(m, page, last);
    for (; log && page <= last; page++)
        atomic_fetch_or_explicit(&m->dirty[page / 64], 1ull << (page % 64), memory_order_relaxed);
}

void mem_dirty_take(struct mem *m, u64 *bitmap)
{
    if (!m->dirty)
        return;
    for (u64 i = 0; i < bitmap_words(m); i++)
        if (atomic_load_explicit(&m->dirty[i], memory_order_relaxed))
            bitmap[i] |= atomic_exchange_explicit(&m->dirty[i], 0, memory_order_relaxed);
}
