/*
 * vm/save_copy.c: pages of RAM on their way into a state file.
 */
#include "vm/save_copy.h"

#include "vm/statefile.h"

#include <stdlib.h>

#define RUN_MAX (1 * MiB) /* one write, and how late a cancel may be */

u64 save_words(const struct mem *m)
{
    return (mem_pages(m) + 63) / 64;
}

u64 save_count(const struct mem *m, const u64 *pages)
{
    u64 n = 0;

    for (u64 i = 0; i < save_words(m); i++)
        n += (u64)__builtin_popcountll(pages[i]);
    return n;
}

static bool wanted(const u64 *todo, u64 page)
{
    return !todo || todo[page / 64] >> page % 64 & 1;
}

static bool is_zero(const u8 *page)
{
    static const u8 zero[MEM_PAGE];

    return memcmp(page, zero, MEM_PAGE) == 0;
}

static int put(struct save_copy *c, u64 at, u64 len)
{
    c->pages += len / MEM_PAGE;
    return len ? fd_pwrite_all(c->fd, mem_ordered(c->mem, at), len, STATEFILE_RAM_AT + at) : 0;
}

/* Up to RUN_MAX bytes: runs of pages that are to be written, each with one write. */
static int copy_piece(struct save_copy *c, const u64 *todo, u64 at, u64 end)
{
    u64 from = at;
    int r = 0;

    for (; at < end && r == 0; at += MEM_PAGE) {
        if (wanted(todo, at / MEM_PAGE) && (c->again || !is_zero(mem_ordered(c->mem, at))))
            continue;
        r = put(c, from, at - from);
        from = at + MEM_PAGE;
    }
    return r == 0 && from < end ? put(c, from, end - from) : r;
}

/* Is any page of the 64 of this word wanted?  Spares touching the rest. */
static bool word_wanted(const u64 *todo, u64 at)
{
    return !todo || todo[at / MEM_PAGE / 64];
}

static int copy_range(struct save_copy *c, const u64 *todo, u64 at, u64 end)
{
    int r = 0;

    for (u64 to; at < end && r == 0; at = to) {
        if (atomic_load_explicit(&c->cancel, memory_order_relaxed))
            return -ECANCELED;
        to = min(end, align_down(at, 64ull * MEM_PAGE) + 64 * MEM_PAGE);
        if (!word_wanted(todo, at))
            continue;
        while (to < end && to - at < RUN_MAX && word_wanted(todo, to))
            to = min(end, to + 64 * MEM_PAGE);
        r = copy_piece(c, todo, at, to);
        atomic_store_explicit(&c->done, to, memory_order_relaxed);
    }
    return r;
}

int save_copy(struct save_copy *c, const u64 *todo)
{
    const u64 size = mem_size(c->mem);
    int r = 0;

    if (c->again) /* also what is a hole by now: a page that was given back */
        return copy_range(c, todo, 0, size);
    for (u64 at = 0, len; r == 0 && mem_data(c->mem, &at, &len); at += len)
        r = copy_range(c, todo, at, at + len);
    return r;
}

u8 *save_take(const struct mem *m, const u64 *todo, u64 limit)
{
    u64 n = save_count(m, todo), k = 0;
    u8 *taken = try_new(u8, n * MEM_PAGE, limit);

    for (u64 page = 0; taken && k < n; page++) {
        if (page % 64 == 0 && !todo[page / 64])
            page += 63;
        else if (wanted(todo, page))
            memcpy(taken + MEM_PAGE * k++, mem_ordered(m, page * MEM_PAGE), MEM_PAGE);
    }
    return taken;
}

int save_write(struct save_copy *c, const u64 *todo, const u8 *taken)
{
    const u64 n = save_count(c->mem, todo);
    int r = 0;

    for (u64 page = 0, k = 0; k < n && r == 0; page++) {
        if (!wanted(todo, page))
            continue;
        if (c->again || !is_zero(taken + k * MEM_PAGE)) {
            r = fd_pwrite_all(c->fd, taken + k * MEM_PAGE, MEM_PAGE,
                              STATEFILE_RAM_AT + page * MEM_PAGE);
            c->pages++;
        }
        k++;
    }
    return r;
}
