/*
 * mem/mem_file.c: guest RAM that begins as what files hold: mapped privately, so that a page is read when it is touched, copied when
 * it is written, and shared by all machines that began with the same file.
 *   (1) A hole of a file is memory of ours wherever it is long: nothing is read for it, and the page cache keeps no zeroes.
 *   (2) A discarded page must read as zeroes, and MADV_DONTNEED would bring back what the file holds.  So memory of ours is put
 *       over it; where the pieces are short that would cost a mapping each, of which a process has few: they are zeroed.
 *   (3) The files are never written, and must not shrink: a page beyond their end is a SIGBUS.
 */
#include "mem/mem_file.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    MAP_PAGES_MIN = 16,  /* shorter runs of an upper layer are read instead of mapped */
    MAP_RUNS_MAX = 8192, /* mappings of one layer; Linux allows a process 65530 in all */
    CUTS_MAX = 8192,     /* mappings that discards may add */
};
#define HOLE_MIN (2 * MiB)

struct range {
    u64 at, len; /* bytes of RAM */
};

/* The pages of a range are ours, or not; a word of the map at a time. */
static void mark_own(struct mem_file *f, const struct range *r, bool own)
{
    const u64 end = (r->at + r->len) / MEM_PAGE;

    for (u64 page = r->at / MEM_PAGE, next; page < end; page = next) {
        u64 bits;

        next = min(align_down(page, 64ull) + 64, end);
        bits = ~0ull >> (64 - (next - page)) << page % 64;
        f->own[page / 64] = own ? f->own[page / 64] | bits : f->own[page / 64] & ~bits;
    }
}

static int map_own(struct mem_file *f, u8 *host, const struct range *r)
{
    if (mmap(host + r->at, r->len, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
        return -errno;
    madvise(host + r->at, r->len, MADV_DONTDUMP);
    mark_own(f, r, true);
    return 0;
}

static int map_data(struct mem_file *f, u8 *host, const struct mem_layer *l, const struct range *r)
{
    if (mmap(host + r->at, r->len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED,
             l->fd, (off_t)(l->at + r->at)) == MAP_FAILED)
        return -errno;
    madvise(host + r->at, r->len, MADV_DONTDUMP);
    mark_own(f, r, false);
    return 0;
}

/* Where the file's next data begin, at or after byte `at` of RAM; `end` when there are none before.  Whole pages. */
static u64 next_data(const struct mem_layer *l, u64 at, u64 end)
{
    off_t p = lseek(l->fd, (off_t)(l->at + at), SEEK_DATA);

    if (p < 0)
        return errno == ENXIO ? end : at; /* others: a file system without holes */
    return min(max(align_down((u64)p - l->at, (u64)MEM_PAGE), at), end);
}

/* … and where they end; holes shorter than HOLE_MIN are taken for data. */
static u64 data_end(const struct mem_layer *l, u64 at, u64 end)
{
    while (at < end) {
        off_t hole = lseek(l->fd, (off_t)(l->at + at), SEEK_HOLE);
        u64 from = hole < 0 ? end : min(align_up((u64)hole - l->at, (u64)MEM_PAGE), end);
        u64 to = from < end ? next_data(l, from, end) : end;

        at = to;
        if (from == end || to - from >= HOLE_MIN || to == end)
            return from;
    }
    return end;
}

/* A range of one layer: the file where it has data, memory of ours where it has a long hole. */
static int map_range(struct mem_file *f, u8 *host, const struct mem_layer *l, const struct range *r)
{
    const u64 end = r->at + r->len;
    int res = 0;

    for (u64 at = r->at, to; at < end && res == 0; at = to) {
        u64 data = next_data(l, at, end);

        if (data > at && (data - at >= HOLE_MIN || data == end)) {
            to = data;
            res = map_own(f, host, &(struct range){ at, to - at });
        } else {
            to = data_end(l, data, end);
            res = map_data(f, host, l, &(struct range){ at, to - at });
        }
    }
    return res;
}

static bool has(const u64 *pages, u64 page)
{
    return pages[page / 64] >> page % 64 & 1;
}

/* The next run of pages at or after *at; false: there is none. */
static bool next_run(const u64 *pages, u64 n, u64 *at, u64 *ret_end)
{
    u64 page = *at, end;

    while (page < n && !has(pages, page))
        page += page % 64 == 0 && pages[page / 64] == 0 ? 64 : 1;
    if (page >= n)
        return false;
    for (end = page; end < n && has(pages, end);)
        end++;
    *at = page;
    *ret_end = end;
    return true;
}

/* From how many pages on a run is mapped, so that there are at most MAP_RUNS_MAX mappings. */
static u64 shortest_mapped(const u64 *pages, u64 n)
{
    u64 least = MAP_PAGES_MIN, runs = MAP_RUNS_MAX + 1;

    while (runs > MAP_RUNS_MAX) {
        runs = 0;
        for (u64 at = 0, end; next_run(pages, n, &at, &end); at = end)
            runs += end - at >= least;
        least *= runs > MAP_RUNS_MAX ? 2 : 1;
    }
    return least;
}

/* A layer that holds some pages only. */
static int map_some(struct mem_file *f, u8 *host, u64 size, const struct mem_layer *l)
{
    const u64 n = size / MEM_PAGE, least = shortest_mapped(l->pages, n);
    int r = 0;

    for (u64 at = 0, end; r == 0 && next_run(l->pages, n, &at, &end); at = end) {
        const struct range run = { at * MEM_PAGE, (end - at) * MEM_PAGE };

        if (end - at >= least)
            r = map_range(f, host, l, &run);
        else
            r = fd_pread_all(l->fd, host + run.at, run.len, l->at + run.at);
    }
    return r;
}

int mem_file_map(struct mem_file *f, u8 *host, u64 size, const struct mem_layer *layers, u32 n,
                 struct err *e)
{
    int r = 0;

    pthread_mutex_init(&f->lock, NULL);
    f->own = xnew_n(u64, (size / MEM_PAGE + 63) / 64);
    for (u32 i = 0; i < n && r == 0; i++) {
        must(i > 0 || !layers[i].pages);
        r = layers[i].pages ? map_some(f, host, size, &layers[i])
                            : map_range(f, host, &layers[i], &(struct range){ 0, size });
        if (r < 0)
            return err_code(e, r, "map layer %u of the guest's memory", i);
    }
    return 0;
}

void mem_file_fini(struct mem_file *f)
{
    if (f->own)
        pthread_mutex_destroy(&f->lock);
    free(f->own);
}

int mem_file_discard(struct mem_file *f, u8 *host, u64 at, u64 len)
{
    const u64 end = at + len;
    int r = 0;

    pthread_mutex_lock(&f->lock);
    for (u64 to; at < end && r == 0; at = to) {
        const bool own = has(f->own, at / MEM_PAGE);

        for (to = at + MEM_PAGE; to < end && has(f->own, to / MEM_PAGE) == own;)
            to += MEM_PAGE;
        if (own) {
            r = madvise(host + at, to - at, MADV_DONTNEED) < 0 ? -errno : 0;
        } else if (to - at >= (u64)MAP_PAGES_MIN * MEM_PAGE && f->cuts < CUTS_MAX) {
            f->cuts++;
            r = map_own(f, host, &(struct range){ at, to - at });
        } else {
            memset(host + at, 0, to - at);
        }
    }
    pthread_mutex_unlock(&f->lock);
    return r;
}
