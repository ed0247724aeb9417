/*
 * cpu/soft/window.c: see window.h.
 * Who gets the window: the CR3 that most quanta of ring 3 ended in of late, once there were enough of them.  It keeps it while a
 * quantum's gain (about half of it) pays for traps and mappings; who does not is not asked again for four times as long.
 */
#include "cpu/soft/window.h"

#include "cpu/soft/code.h"
#include "cpu/soft/io.h"
#include "cpu/soft/jit/cache.h"
#include "cpu/soft/soft_mem.h"

#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#define WINDOW_SIZE  (1ull << 46)
#define WINDOW_FIRST (64 * KiB) /* Linux keeps what is below (vm.mmap_min_addr) */
/* Behind an end: a register is compared, or a sum that is within 2 GiB of it; then 1 GiB is added in a loop, 1 GiB behind it, and a
 * displacement.  In front of the low part the same. */
#define WINDOW_GUARD    (8 * GiB)
#define CR3_KEEPS       (1ull << 63)
#define HWCAP2_FSGSBASE 2ul

enum {
    AFTER_MAX = 64 * WINDOW_AFTER,
    CREDIT_FIRST = 20000, /* quanta of some 4 us */
    CREDIT_MAX = 40000,
    COST_OF_TRAP = 2,
    COST_OF_PAGE = 1,
    COST_OF_DROP = 1,
    COST_OF_FORGET = 50,
    STRIKES_MAX = 3,
    QUANTA_MIN = 100, /* that keep the window when another vCPU asks for it */
};

static _Atomic(struct soft_cpu *) owner;
static pthread_mutex_t reserve_lock = PTHREAD_MUTEX_INITIALIZER;
static enum { UNKNOWN, RESERVED, REFUSED } reserved; /* with reserve_lock */
static u64 low_host;                                 /* where the low part begins; as `reserved` */

/* Maps nothing over [from, from + len) of ours; what was there is gone. */
static bool clear_range(u64 from, u64 len, int how)
{
    void *at = (void *)(uintptr_t)from; /* NOLINT(performance-no-int-to-ptr) */

    return mmap(at, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | how, -1, 0) == at;
}

/* The low part and what guards it. */
static bool reserve_low(void)
{
    void *at = mmap(NULL, WINDOW_GUARD + WINDOW_LOW_SIZE + WINDOW_GUARD, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    low_host = (uintptr_t)at + WINDOW_GUARD;
    return at != MAP_FAILED;
}

/* The addresses of the window, once for the process.  False: something else is there, or the CPU cannot. */
static bool reserve(void)
{
    bool ok;

    pthread_mutex_lock(&reserve_lock);
    if (reserved == UNKNOWN) {
        bool can = getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE;

        ok = can &&
             clear_range(WINDOW_FIRST, WINDOW_SIZE + WINDOW_GUARD - WINDOW_FIRST,
                         MAP_FIXED_NOREPLACE) &&
             reserve_low();
        reserved = ok ? RESERVED : REFUSED;
        if (!ok)
            log_debug("no user window: %s", can ? "its addresses are taken" : "no FSGSBASE");
    }
    ok = reserved == RESERVED;
    pthread_mutex_unlock(&reserve_lock);
    return ok;
}

void soft_window_open(struct soft_cpu *c)
{
    c->window = xnew(struct window);
    c->window_miss = WINDOW_NO_MISS;
}

/* --- pages --- */

/* Where page `lin` is, which has room. */
static u64 host_of(u64 lin)
{
    return lin < WINDOW_LOW_SIZE ? low_host + lin : lin - WINDOW_START;
}

static bool is_in_low(u64 host)
{
    return host - (low_host - WINDOW_GUARD) < WINDOW_GUARD + WINDOW_LOW_SIZE + WINDOW_GUARD;
}

static u32 *row_of(struct window *w, u64 lin)
{
    return &w->row[(lin / GUEST_PAGE * 0x9e3779b97f4a7c15ull) >> 50];
}

static struct window_page *find(struct window *w, u64 lin)
{
    u32 i = *row_of(w, lin);

    while (i && w->pages[i - 1].lin != lin)
        i = w->pages[i - 1].next;
    return i ? &w->pages[i - 1] : NULL;
}

static struct window_page *add(struct window *w, u64 lin)
{
    u32 *row = row_of(w, lin), i = w->free;
    struct window_page *p;

    if (!i && w->used == WINDOW_PAGES)
        return NULL;
    if (i)
        w->free = w->pages[i - 1].next;
    else
        i = ++w->used;
    p = &w->pages[i - 1];
    *p = (struct window_page){ .lin = lin, .next = *row };
    *row = i;
    return p;
}

static void remove_page(struct window *w, struct window_page *p)
{
    u32 i = (u32)(p - w->pages) + 1, *at = row_of(w, p->lin);

    must(clear_range(host_of(p->lin), GUEST_PAGE, MAP_FIXED));
    while (*at != i)
        at = &w->pages[*at - 1].next;
    *at = p->next;
    *p = (struct window_page){ .lin = BLOCK_ONE_PAGE, .next = w->free };
    w->free = i;
}

static void remove_all(struct soft_cpu *c)
{
    struct window *w = c->window;

    if (w->used == 0)
        return;
    must(clear_range(WINDOW_FIRST, WINDOW_SIZE - WINDOW_FIRST, MAP_FIXED));
    must(clear_range(low_host, WINDOW_LOW_SIZE, MAP_FIXED));
    memset(w->row, 0, sizeof(w->row));
    w->used = w->free = 0;
    w->large = w->giant = 0;
    c->jit->stats.window_forgotten++;
    w->credit -= COST_OF_FORGET;
}

static bool has_room_for(u64 lin)
{
    return lin < WINDOW_LOW_SIZE ||
           (lin - WINDOW_START >= WINDOW_FIRST && lin - WINDOW_START < WINDOW_SIZE);
}

/* The page of the user's entry `t`, as it says. */
static void map_entry(struct soft_cpu *c, const struct tlb_entry *t)
{
    struct window *w = c->window;
    u64 lin = t->tag_r, at = host_of(lin);
    const u8 *host = (const u8 *)(uintptr_t)(lin + (u64)t->addend);
    bool writes = t->tag_w == lin;
    struct window_page *p;

    if (w->used == WINDOW_PAGES && !w->free)
        remove_all(c);
    p = find(w, lin);
    if (!p)
        p = add(w, lin);
    must(p);
    p->page = (u64)(host - soft_ram_page(c->vm, 0)) / GUEST_PAGE;
    p->writes = writes;
    w->large |= c->set->large;
    w->giant |= c->set->giant;
    /* NOLINTNEXTLINE(performance-no-int-to-ptr) */
    if (mmap((void *)(uintptr_t)at, GUEST_PAGE, PROT_READ | (writes ? PROT_WRITE : 0),
             MAP_SHARED | MAP_FIXED | MAP_POPULATE, mem_page_fd(c->vm->mem),
             (off_t)(p->page * GUEST_PAGE)) == MAP_FAILED)
        remove_page(w, p);
    c->jit->stats.window_mapped++;
    w->credit -= COST_OF_PAGE;
}

/* --- who has it --- */

static bool is_mine(const struct soft_cpu *c)
{
    return c->window->on;
}

bool soft_window_in_force(const struct soft_cpu *c)
{
    const struct window *w = c->window;

    return w->on && c->cpl == 3 && (c->cr3 & ~CR3_KEEPS) == w->cr3 && soft_code64(c) &&
           c->tlb == c->set->e[MMU_USER] && !atomic_load(&c->vm->dirty_log);
}

void soft_window_enter(struct soft_cpu *c)
{
    if (is_mine(c))
        __asm__ volatile("wrgsbase %0" : : "r"(0 - WINDOW_START));
}

static void give_up(struct soft_cpu *c)
{
    struct window *w = c->window;

    remove_all(c);
    w->on = false;
    w->score = 0;
    c->jit->stats.window_given_up++;
    soft_mode_changed(c);
    atomic_store(&owner, NULL);
}

void soft_window_close(struct soft_cpu *c)
{
    if (!c->window)
        return;
    if (is_mine(c))
        give_up(c);
    free(c->window);
    c->window = NULL;
}

void soft_window_answer(struct soft_cpu *c)
{
    struct window *w = c->window;

    if (!atomic_load_explicit(&w->asked, memory_order_relaxed))
        return;
    atomic_store(&w->asked, false);
    if (w->on && w->quanta < QUANTA_MIN)
        give_up(c);
    w->quanta = 0;
}

/* The window is another vCPU's: is it still in use?  We look again when as many quanta have passed. */
static void ask(struct soft_cpu *c, struct soft_cpu *other)
{
    c->window->score = 0;
    atomic_store(&other->window->asked, true);
    soft_request(other, REQ_TIMER);
}

static void take(struct soft_cpu *c)
{
    struct window *w = c->window;
    struct soft_cpu *has = NULL;

    if (!reserve())
        return;
    if (!atomic_compare_exchange_strong(&owner, &has, c)) {
        ask(c, has);
        return;
    }
    w->quanta = 0;
    w->on = true;
    w->cr3 = c->cr3 & ~CR3_KEEPS;
    w->pcid = c->set->pcid;
    w->credit = CREDIT_FIRST;
    c->window_end = WINDOW_START + WINDOW_SIZE;
    c->window_low_end = WINDOW_LOW_SIZE;
    c->window_low_delta = low_host;
    memset(w->sites, 0, sizeof(w->sites));
    c->jit->stats.window_taken++;
    soft_window_enter(c);
    for (u32 i = 0; i < SOFT_TLB_SIZE; i++)
        if (c->tlb[i].tag_r != TLB_NONE && has_room_for(c->tlb[i].tag_r))
            map_entry(c, &c->tlb[i]);
    soft_mode_changed(c);
}

/* Most of the quanta of late: the one that is left when each takes one of another's. */
static void vote(struct window *w, u64 cr3)
{
    if (w->candidate == cr3) {
        w->score++;
    } else if (w->score == 0) {
        w->candidate = cr3;
        w->score = 1;
    } else {
        w->score--;
    }
}

static bool may_have_it(const struct soft_cpu *c)
{
    return c->vm->window_after && c->cpl == 3 && soft_code64(c) && c->cr0 & CR0_PG &&
           c->tlb == c->set->e[MMU_USER] && !atomic_load(&c->vm->dirty_log);
}

void soft_window_sample(struct soft_cpu *c)
{
    struct window *w = c->window;
    u64 cr3 = c->cr3 & ~CR3_KEEPS;

    if (w->on && w->credit < 0)
        w->after = min(4 * max(w->after, c->vm->window_after), (u32)AFTER_MAX);
    if (w->on && (w->credit < 0 || !c->vm->window_after))
        give_up(c);
    if (!may_have_it(c))
        return;
    vote(w, cr3);
    if (w->on && w->cr3 == cr3) {
        w->credit = min(w->credit + 1, (s32)CREDIT_MAX);
        w->quanta++;
        return;
    }
    if (w->candidate != cr3 || w->score < max(w->after, c->vm->window_after))
        return;
    if (w->on)
        give_up(c);
    take(c);
}

/* --- what translated code could not do --- */

void soft_window_trap(struct soft_cpu *c, u64 at)
{
    c->window->trapped_low = is_in_low(at);
    c->window_miss = c->window->trapped_low ? at - low_host : at + WINDOW_START;
    c->window->credit -=
        COST_OF_TRAP; /* also where the guest's page is not there, and nothing is to be mapped */
}

void soft_window_outside(struct soft_cpu *c, struct block *b, u32 i, enum window_part part)
{
    struct window *w = c->window;
    u64 gpa = b->gpa + b->ops[i].off;
    u8 *site = &w->sites[soft_window_site(gpa)];
    u32 strikes = *site / (WINDOW_AVOIDED + 1) + 1, known = *site & 3;

    c->jit->stats.window_outside++;
    if (b->key & KEY_DROPPED)
        return;
    if (known == WINDOW_AVOIDED || (part && known == part)) { /* learned by another block */
        soft_code_forget(c, b);
        return;
    }
    if (strikes < STRIKES_MAX)
        *site = (u8)(strikes * (WINDOW_AVOIDED + 1) + (part ? part : known));
    else
        *site = WINDOW_AVOIDED;
    if (part || *site == WINDOW_AVOIDED)
        soft_code_forget(c, b);
}

void soft_window_missed(struct soft_cpu *c, struct block *b, u32 i, u64 lin)
{
    struct window *w = c->window;
    u64 page = lin & GUEST_PAGE_MASK;
    u32 at = (u32)(page / GUEST_PAGE) % SOFT_TLB_SIZE;
    const struct tlb_entry *t = &c->tlb[at];
    enum window_part part = lin < WINDOW_LOW_SIZE ? WINDOW_LOW : WINDOW_HIGH;
    const struct window_page *p;

    if (!(b->key & KEY_WINDOW) || !w->on)
        return;
    if (t->tag_r != page)
        t = &c->tlb[at ^ SOFT_TLB_OTHER];
    p = find(w, page);
    /* One that is there as it may be, and traps: a device's, or written to beside code. */
    if (t->tag_r != page || !has_room_for(page))
        soft_window_outside(c, b, i, WINDOW_NONE);
    else if (w->trapped_low != (part == WINDOW_LOW))
        soft_window_outside(c, b, i, part);
    else if (p && p->writes == (t->tag_w == page))
        soft_window_outside(c, b, i, WINDOW_NONE);
    else
        map_entry(c, t);
}

/* --- what mmu.c forgets --- */

void soft_window_forget(struct soft_cpu *c, u64 pcid)
{
    if (is_mine(c) && (pcid == ~0ull || pcid == c->window->pcid))
        remove_all(c);
}

void soft_window_forget_page(struct soft_cpu *c, u64 lin, u32 bits)
{
    struct window *w = c->window;
    struct window_page *p;

    if (!is_mine(c) || w->used == 0)
        return;
    if (w->giant & soft_tlb_region(lin, GIANT_BITS))
        bits = GIANT_BITS;
    else if (w->large & soft_tlb_region(lin, LARGE_BITS))
        bits = max(bits, (u32)LARGE_BITS);
    if (bits > PAGE_BITS) {
        for (p = w->pages; p < w->pages + w->used; p++)
            if (p->lin != BLOCK_ONE_PAGE && (p->lin ^ lin) >> bits == 0) {
                remove_page(w, p);
                w->credit -= COST_OF_DROP;
            }
        return;
    }
    p = find(w, lin & GUEST_PAGE_MASK);
    if (!p)
        return;
    remove_page(w, p);
    w->credit -= COST_OF_DROP;
}

static void protect(struct window *w, struct window_page *p)
{
    /* NOLINTNEXTLINE(performance-no-int-to-ptr) */
    void *at = (void *)(uintptr_t)host_of(p->lin);

    if (mprotect(at, GUEST_PAGE, PROT_READ) < 0)
        remove_page(w, p);
    else
        p->writes = false;
}

void soft_window_drop_writes(struct soft_cpu *c, bool log)
{
    struct window *w = c->window;

    if (!is_mine(c))
        return;
    for (struct window_page *p = w->pages; p < w->pages + w->used; p++) {
        if (p->lin == BLOCK_ONE_PAGE || !p->writes)
            continue;
        if (log)
            soft_dirty(c->vm, p->page);
        protect(w, p);
        w->credit -= COST_OF_DROP;
    }
}

void soft_window_drop_write(struct soft_cpu *c, u64 page)
{
    struct window *w = c->window;

    if (!is_mine(c))
        return;
    for (struct window_page *p = w->pages; p < w->pages + w->used; p++)
        if (p->lin != BLOCK_ONE_PAGE && p->writes && p->page == page)
            protect(w, p);
}
