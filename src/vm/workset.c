/*
 * vm/workset.c: which pages a restored guest needs first.
 *     offset 0: "SOCLEWS1"   8: pages of RAM   16: the state's id, 32 hex digits   48: image_sum over the header with 0 here, and the map
 *     56: a bit for each page, lowest first, in words of 64 bits
 * What was touched is what is mapped: /proc/self/pagemap tells it, also of pages that the host's page cache had.  The kernel maps some
 * neighbours of a page that is read, which are as quick to fetch.
 */
#include "vm/workset.h"

#include "fw/image.h"
#include "vm/statefile.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14; a header of before may be in use */
#endif

struct header {
    char magic[8];
    le64 pages;
    char id[STATEFILE_ID_LEN];
    le64 sum;
};
static_assert(sizeof(struct header) == 56, "what doc/state-file.md says");

static const char magic[8] = "SOCLEWS1";

enum {
    ENTRIES = 512,       /* of pagemap, looked at with one read: 2 MiB of RAM */
    RUN_PAGES_MAX = 512, /* mapped with one call, and how late a cancel may be */
};
#define PRESENT (1ull << 63) /* admin-guide/mm/pagemap.rst */

static u64 words_of(u64 pages)
{
    return (pages + 63) / 64;
}

int workset_source(void)
{
    return open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
}

/* Pages [page, page + n), in order, which may not be in one region. */
static int look(const struct mem *m, int source, u64 page, u64 n, u64 *set)
{
    u64 entries[ENTRIES], at = (uintptr_t)mem_ordered(m, page * MEM_PAGE) / MEM_PAGE * sizeof(u64);
    int r = fd_pread_all(source, entries, n * sizeof(u64), at);

    for (u64 i = 0; i < n && r == 0; i++)
        if (entries[i] & PRESENT)
            set[(page + i) / 64] |= 1ull << (page + i) % 64;
    return r;
}

static int look_at_all(const struct mem *m, int source, u64 *set)
{
    const struct mem_region *regions;
    unsigned n;
    int r = 0;

    regions = mem_regions(m, &n);
    for (unsigned i = 0; i < n; i++)
        for (u64 at = 0, len; at < regions[i].size && r == 0; at += len) {
            len = min(regions[i].size - at, ENTRIES * (u64)MEM_PAGE);
            r = look(m, source, (regions[i].fd_offset + at) / MEM_PAGE, len / MEM_PAGE, set);
        }
    return r;
}

static u64 sum_of(struct header h, const u64 *set, u64 pages)
{
    h.sum = le64_of(0);
    return image_sum(image_sum(0, &h, sizeof(h)), set, words_of(pages) * sizeof(u64));
}

s64 workset_record(const struct mem *m, int source, const char *id, int fd, struct err *e)
{
    const u64 pages = mem_pages(m), words = words_of(pages);
    AUTO(free) u64 *set = xnew_n(u64, words);
    struct header h = { .pages = le64_of(pages) };
    s64 n = 0;
    int r = source < 0 ? -ENOENT : look_at_all(m, source, set);

    if (r < 0)
        return err_code(e, r, "which pages were touched: pagemap");
    memcpy(h.magic, magic, sizeof(magic));
    memcpy(h.id, id, sizeof(h.id));
    h.sum = le64_of(sum_of(h, set, pages));
    r = fd_pwrite_all(fd, &h, sizeof(h), 0);
    if (r == 0)
        r = fd_pwrite_all(fd, set, words * sizeof(u64), sizeof(h));
    for (u64 i = 0; i < words; i++)
        n += __builtin_popcountll(set[i]);
    return r < 0 ? err_code(e, r, "write which pages were touched") : n;
}

u64 *workset_parse(const void *data, u64 len, const char *id, u64 pages, struct err *e)
{
    const u64 bytes = words_of(pages) * sizeof(u64);
    struct header h;
    u64 *set;

    if (len != sizeof(h) + bytes) {
        err_set(e, -EBADMSG, "%llu bytes; for %llu pages %llu are needed", len, pages,
                sizeof(h) + bytes);
        return NULL;
    }
    memcpy(&h, data, sizeof(h));
    if (memcmp(h.magic, magic, sizeof(magic)) != 0 || le64_get(h.pages) != pages) {
        err_set(e, -EBADMSG, "not of %llu pages, or something else", pages);
        return NULL;
    }
    if (memcmp(h.id, id, sizeof(h.id)) != 0) {
        err_set(e, -ESTALE, "of another state");
        return NULL;
    }
    set = (u64 *)xdup_mem((const u8 *)data + sizeof(h), bytes);
    if (sum_of(h, set, pages) == le64_get(h.sum) && !(pages % 64 && set[pages / 64] >> pages % 64))
        return set;
    err_set(e, -EBADMSG, "damaged");
    free(set);
    return NULL;
}

u64 *workset_open(const char *state, const char *id, u64 pages)
{
    AUTO(free) char *path = str_new("%s.pages", state);
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    AUTO(free) u8 *data = NULL;
    struct err e = {};
    struct stat st;
    u64 *set = NULL;
    int r;

    if (fd < 0 || fstat(fd, &st) < 0)
        return NULL;
    data = try_new(u8, (u64)st.st_size, sizeof(struct header) + MEM_SIZE_MAX / MEM_PAGE / 8);
    r = data ? fd_pread_all(fd, data, (u64)st.st_size, 0) : -EFBIG;
    if (r < 0)
        err_code(&e, r, "read it");
    else
        set = workset_parse(data, (u64)st.st_size, id, pages, &e);
    if (!set)
        log_warn("'%s' is left aside: %s", path, e.text);
    return set;
}

static bool is_in(const u64 *set, u64 page)
{
    return set[page / 64] >> page % 64 & 1;
}

/* Advice for each run of pages, none longer than RUN_PAGES_MAX. */
static void advise(const struct mem *m, const u64 *set, int advice, const atomic_bool *cancel)
{
    const struct mem_region *regions;
    unsigned n;

    regions = mem_regions(m, &n);
    for (unsigned i = 0; i < n; i++) {
        u64 page = regions[i].fd_offset / MEM_PAGE, end = page + regions[i].size / MEM_PAGE, from;

        while (page < end && !atomic_load_explicit(cancel, memory_order_relaxed)) {
            while (page < end && !is_in(set, page))
                page += !set[page / 64] && page % 64 == 0 ? min(64ull, end - page) : 1;
            for (from = page; page < end && page - from < RUN_PAGES_MAX && is_in(set, page);)
                page++;
            /* a hint: what the host does not want to do is done when the guest comes there */
            if (page > from)
                (void)madvise((void *)(uintptr_t)mem_ordered(m, from * MEM_PAGE),
                              (page - from) * MEM_PAGE, advice);
        }
    }
}

void workset_fetch(const struct mem *m, const u64 *set, const atomic_bool *cancel)
{
    advise(m, set, MADV_WILLNEED, cancel);
    advise(m, set, MADV_POPULATE_READ, cancel);
}
