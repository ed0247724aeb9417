/*
 * cpu/soft/block.c: the decoded blocks of one vCPU: lookup, making, and dropping when their bytes are written.
 * The rules (1) to (3) are in code.h.
 *
 * Who keeps a pointer to a block beyond its run.  Dropped (page_drop), its memory stays and its key equals none; flushed
 * (soft_code_flush), its memory is reused.  Flushes come from block_make, before it takes room, from soft_code_attend, and from
 * soft_state_set and soft_regs_set, whose vCPU is parked; never from a handler.
 *   hash, page lists   zeroed by a flush; a dropped block is taken out of both
 *   block.succ         dies with its block; the key of what it leads to is looked at, and so is the mapping, between pages
 *   soft_cpu.jumps     zeroed by a flush; a drop changes the stamp, after which the key is looked at (jumps.c)
 *   soft_cpu.link, .block   NULL after a flush; whoever calls soft_block reads `link` again.  check.c does not put them back
 *   jit_block, edges   of the same life as the block; a drop takes the jumps back that lead to it and from it
 *   translated code    names blocks in calls of handlers and ways out; jit_call comes back to it only when its handler made no block
 *   check.suspect      compared, never followed
 */
#include "cpu/soft/code.h"
#include "cpu/soft/jit/jit.h"
#include "cpu/soft/soft_mem.h"

#include <stdlib.h>
#include <sys/mman.h>

enum {
    HASH_BITS = 16,
    PAGE_HASH_BITS = 12,
    WRITTEN_MAX = 64, /* pages that others wrote to, until we look; more: everything is dropped */
    FRESH_MAX = 512,
    HOT_HITS = 64,  /* more in HOT_INSNS: a page that rewrites itself all the time */
    HOT_BYTES = 32, /* ... has blocks of at most so many bytes */
};
#define HOT_INSNS (1000 * 1000)
#define NO_PAGE   (~0ull)
#define POOL_SIZE ((u64)SOFT_CODE_MAX) /* of address space; touched as it fills */

/* A page of guest RAM that holds decoded code. */
struct code_page {
    u64 page; /* index in the memfd */
    /* Bit i: bytes of granule i were decoded; `crossing`: by blocks that begin in the page before. */
    u64 granules[CODE_GRANULES / 64], crossing[CODE_GRANULES / 64];
    u64 since; /* instruction count at the first of `hits`: writes by this vCPU that met code */
    u32 hits;
    struct block *blocks;
    struct block *crossers; /* that begin elsewhere */
    struct code_page *next; /* in its hash row */
};

struct fresh_page {
    u64 page;
    u32 acks[CPU_MAX]; /* tlb_acks of the others when the page was marked */
};

struct code_cache {
    struct block *hash[1 << HASH_BITS];
    struct code_page *pages[1 << PAGE_HASH_BITS];
    u8 *pool;
    size_t used;
    struct fresh_page fresh[FRESH_MAX];
    u32 n_fresh;
    pthread_mutex_t lock; /* guards written, n_written */
    u64 written[WRITTEN_MAX];
    u32 n_written; /* above WRITTEN_MAX: too many */
};

int soft_code_init(struct soft_cpu *c, struct err *e)
{
    struct code_cache *cc = xnew(struct code_cache);

    c->code = cc;
    pthread_mutex_init(&cc->lock, NULL);
    c->jumps = xnew_n(struct jump_entry, 1 << SOFT_JUMP_BITS);
    cc->pool = mmap(NULL, POOL_SIZE, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (cc->pool == MAP_FAILED) {
        cc->pool = NULL;
        return err_errno(e, "reserve %llu MiB for decoded code", POOL_SIZE / MiB);
    }
    return 0;
}

void soft_code_fini(struct soft_cpu *c)
{
    if (c->code && c->code->pool)
        munmap(c->code->pool, POOL_SIZE);
    free(c->code);
    free(c->jumps);
    c->code = NULL;
    c->jumps = NULL;
}

static void *pool_take(struct code_cache *cc, size_t size)
{
    void *at = cc->pool + cc->used;

    must(cc->used + size <= POOL_SIZE);
    cc->used += align_up(size, (size_t)32);
    return at;
}

/* Pages. */

/* The granules of bytes [gpa, gpa + len), which do not leave their page. */
static void granules_mark(u64 *map, u64 gpa, u32 len)
{
    for (u32 g = (u32)(gpa % GUEST_PAGE) / CODE_GRANULE;
         g <= ((u32)(gpa % GUEST_PAGE) + len - 1) / CODE_GRANULE; g++)
        map[g / 64] |= 1ull << (g % 64);
}

static bool granules_hit(const u64 *map, u64 gpa, u32 len)
{
    for (u32 g = (u32)(gpa % GUEST_PAGE) / CODE_GRANULE;
         g <= ((u32)(gpa % GUEST_PAGE) + len - 1) / CODE_GRANULE; g++)
        if (map[g / 64] >> (g % 64) & 1)
            return true;
    return false;
}

static struct code_page **page_row(struct code_cache *cc, u64 page)
{
    return &cc->pages[(page * 0x9e3779b97f4a7c15ull) >> (64 - PAGE_HASH_BITS)];
}

static struct code_page *page_find(struct code_cache *cc, u64 page)
{
    struct code_page *p = *page_row(cc, page);

    while (p && p->page != page)
        p = p->next;
    return p;
}

/* The page's bit goes up before its bytes are read (1); whoever held a write tag for it is asked to drop it (2). */
static void page_mark(struct soft_cpu *c, u64 page)
{
    struct code_cache *cc = c->code;
    u64 bit = 1ull << c->v->index;
    struct fresh_page *f;

    if (atomic_fetch_or(&c->vm->page_code[page], bit) & bit)
        return;
    soft_tlb_drop_write(c, soft_ram_page(c->vm, page));
    if (c->vm->n_cpus == 1)
        return;
    must(cc->n_fresh < FRESH_MAX); /* make_room saw to it */
    f = &cc->fresh[cc->n_fresh++];
    f->page = page;
    for (u32 i = 0; i < c->vm->n_cpus; i++) {
        struct soft_cpu *o = c->vm->cpus[i];

        if (o == c || !o)
            continue;
        f->acks[i] = atomic_load(&o->tlb_acks);
        soft_request(o, REQ_TLB);
    }
}

static struct code_page *page_of(struct soft_cpu *c, u64 page)
{
    struct code_cache *cc = c->code;
    struct code_page *p = page_find(cc, page);

    if (p)
        return p;
    p = pool_take(cc, sizeof(*p));
    *p = (struct code_page){ .page = page, .next = *page_row(cc, page) };
    *page_row(cc, page) = p;
    return p;
}

static u32 sum_of(const u8 *bytes, u32 n, u32 seed)
{
    u32 s = seed;

    for (u32 i = 0; i < n; i++)
        s = (s ^ bytes[i]) * 16777619u;
    return s;
}

u32 soft_code_sum(const u8 *bytes, u32 n)
{
    return sum_of(bytes, n, 0);
}

/* Lookup. */

static struct block **block_row(struct code_cache *cc, u64 gpa, u32 key)
{
    return &cc->hash[((gpa * 256 + key) * 0x9e3779b97f4a7c15ull) >> (64 - HASH_BITS)];
}

static struct block *block_find(struct code_cache *cc, u64 gpa, u32 key)
{
    struct block *b = *block_row(cc, gpa, key);

    while (b && (b->gpa != gpa || b->key != key))
        b = b->hash_next;
    return b;
}

static void row_remove(struct code_cache *cc, struct block *b)
{
    struct block **at = block_row(cc, b->gpa, b->key);

    while (*at && *at != b)
        at = &(*at)->hash_next;
    if (*at)
        *at = b->hash_next;
}

/* Bytes of a block in its first page. */
static u32 first_bytes(const struct block *b)
{
    return (u32)min((u64)b->bytes, GUEST_PAGE - b->gpa % GUEST_PAGE);
}

/* Do the block's bytes in this page meet [first, last], offsets in the page? */
static bool touches(const struct block *b, u32 first, u32 last)
{
    u32 at = (u32)(b->gpa % GUEST_PAGE);

    return at <= last && first < at + first_bytes(b);
}

/* Is this a page where code and what it writes lie side by side? */
static bool is_hot(const struct soft_cpu *c, const struct code_page *p)
{
    return p->hits > HOT_HITS && c->insns - p->since < HOT_INSNS;
}

static void note_hit(struct soft_cpu *c, struct code_page *p)
{
    if (c->insns - p->since >= HOT_INSNS) {
        p->since = c->insns;
        p->hits = 0;
    }
    p->hits++;
}

/* A page without blocks is plain again; not at once where it will hold code again soon, for marking it costs a look at all tags. */
static void page_settle(struct soft_cpu *c, const struct code_page *p)
{
    if (!p->blocks && !is_hot(c, p) && !granules_hit(p->crossing, 0, GUEST_PAGE))
        atomic_fetch_and(&c->vm->page_code[p->page], ~(1ull << c->v->index));
}

/* Who is linked to it sees it by its key.  It stays in the lists of its pages until they are gone through. */
static void block_drop(struct soft_cpu *c, struct block *b)
{
    row_remove(c->code, b);
    soft_jit_drop(c, b);
    b->key |= KEY_DROPPED;
}

static void crossers_drop(struct soft_cpu *c, struct code_page *p, u32 first)
{
    struct block **at = &p->crossers;

    memset(p->crossing, 0, sizeof(p->crossing));
    while (*at) {
        struct block *b = *at;
        u32 n2 = b->bytes - first_bytes(b);

        if (!(b->key & KEY_DROPPED) && first < n2)
            block_drop(c, b);
        if (b->key & KEY_DROPPED) {
            *at = b->cross_next;
        } else {
            granules_mark(p->crossing, 0, n2);
            at = &b->cross_next;
        }
    }
}

/* Drops the blocks of a page that have bytes in [first, last]. */
static void page_drop(struct soft_cpu *c, struct code_page *p, u32 first, u32 last)
{
    struct block **at = &p->blocks;

    crossers_drop(c, p, first);
    memcpy(p->granules, p->crossing, sizeof(p->granules));
    soft_jumps_doubt(c);
    while (*at) {
        struct block *b = *at;

        if (!(b->key & KEY_DROPPED) && touches(b, first, last))
            block_drop(c, b);
        if (b->key & KEY_DROPPED) {
            *at = b->page_next;
        } else {
            granules_mark(p->granules, b->gpa, first_bytes(b));
            at = &b->page_next;
        }
    }
    page_settle(c, p);
}

void soft_code_flush(struct soft_cpu *c)
{
    struct code_cache *cc = c->code;

    c->link = NULL;
    c->block = NULL;
    if (cc->used == 0) /* all that is kept here begins with a block */
        return;
    for (u32 i = 0; i < ARRAY_LEN(cc->pages); i++)
        for (struct code_page *p = cc->pages[i]; p; p = p->next)
            atomic_fetch_and(&c->vm->page_code[p->page], ~(1ull << c->v->index));
    memset(cc->hash, 0, sizeof(cc->hash));
    memset(cc->pages, 0, sizeof(cc->pages));
    cc->used = 0;
    cc->n_fresh = 0;
    memset(c->jumps, 0, sizeof(*c->jumps) << SOFT_JUMP_BITS);
    soft_stubs_reset(c);
    soft_jit_reset(c);
}

/*
 * The rest of the block under way is stale where the write met it: it is left after this instruction.  Only then: a block that is
 * still found has the handlers it was decoded to, which the translator looks at.
 */
static void cut_current(struct soft_cpu *c, const struct uop *op)
{
    struct block *b = c->block;

    if (!op || !b || !(b->key & KEY_DROPPED) || op < b->ops || op >= b->ops + b->n)
        return;
    for (struct uop *u = b->ops + (op - b->ops) + 1; u < b->ops + b->n; u++)
        u->fn = soft_op_cut;
}

static void own_page_written(struct soft_cpu *c, const struct uop *op, u64 page, u64 gpa, u32 len)
{
    struct code_page *p = page_find(c->code, page);
    u32 first = (u32)(gpa % GUEST_PAGE);

    if (!p) {
        atomic_fetch_and(&c->vm->page_code[page], ~(1ull << c->v->index));
        return;
    }
    if (!granules_hit(p->granules, gpa, len)) {
        page_settle(c, p);
        return;
    }
    note_hit(c, p);
    if (is_hot(c, p)) /* all: so its list stays as short as what ran since the last one */
        page_drop(c, p, 0, GUEST_PAGE - 1);
    else
        page_drop(c, p, first, first + len - 1);
    cut_current(c, op);
}

void soft_code_forget(struct soft_cpu *c, struct block *b)
{
    u64 lin = soft_code64(c) ? c->base_rip : (u32)(c->seg[SEG_CS].base + c->base_rip);
    struct jump_entry *j = &c->jumps[soft_jump_at(lin)];

    block_drop(c, b);
    if (j->block == b)
        *j = (struct jump_entry){};
}

/* Tells vCPU `o` that a page it decoded was written to. */
static void tell(struct soft_cpu *o, u64 page)
{
    struct code_cache *cc = o->code;

    pthread_mutex_lock(&cc->lock);
    if (cc->n_written < WRITTEN_MAX)
        cc->written[cc->n_written] = page;
    if (cc->n_written <= WRITTEN_MAX)
        cc->n_written++;
    pthread_mutex_unlock(&cc->lock);
    soft_request(o, REQ_CODE);
}

void soft_code_written(struct soft_cpu *c, const struct uop *op, u64 page, u64 gpa, u32 len)
{
    u64 who;

    atomic_thread_fence(memory_order_seq_cst);
    who = atomic_load_explicit(&c->vm->page_code[page], memory_order_relaxed);
    if (likely(who == 0))
        return;
    if (who & 1ull << c->v->index)
        own_page_written(c, op, page, gpa, len);
    for (who &= ~(1ull << c->v->index); who; who &= who - 1)
        tell(c->vm->cpus[__builtin_ctzll(who)], page);
}

void soft_code_dma(struct soft_vm *vm, u64 page)
{
    u64 who = atomic_load(&vm->page_code[page]);

    for (; who; who &= who - 1)
        tell(vm->cpus[__builtin_ctzll(who)], page);
}

void soft_code_attend(struct soft_cpu *c)
{
    struct code_cache *cc = c->code;
    u64 pages[WRITTEN_MAX];
    u32 n;

    pthread_mutex_lock(&cc->lock);
    n = cc->n_written;
    memcpy(pages, cc->written, sizeof(pages));
    cc->n_written = 0;
    pthread_mutex_unlock(&cc->lock);
    if (n > WRITTEN_MAX || soft_jit_full(c)) {
        soft_code_flush(c);
        return;
    }
    for (u32 i = 0; i < n; i++) {
        struct code_page *p = page_find(cc, pages[i]);

        if (p)
            page_drop(c, p, 0, GUEST_PAGE - 1);
    }
    c->link = NULL;
}

bool soft_code_bytes(const struct soft_vm *vm, const struct block *b, u8 *ret)
{
    u32 n1 = first_bytes(b);
    const u8 *at = soft_ram(vm, b->gpa, n1, NULL);
    const u8 *at2 = n1 < b->bytes ? soft_ram(vm, b->gpa2, b->bytes - n1, NULL) : at;

    if (!at || !at2)
        return false;
    memcpy(ret, at, n1);
    memcpy(ret + n1, at2, b->bytes - n1);
    return true;
}

static bool block_is_true(const struct soft_cpu *c, const struct block *b)
{
    u8 now[BLOCK_UOPS_MAX * INSN_LEN_MAX];

    return b->key & KEY_DROPPED ||
           (b->gpa2 != BLOCK_ONE_PAGE && !soft_ram(c->vm, b->gpa2, 1, NULL)) ||
           (soft_code_bytes(c->vm, b, now) && sum_of(now, b->bytes, 0) == b->sum);
}

static bool page_is_true(const struct soft_cpu *c, const struct code_page *p)
{
    for (const struct block *b = p->blocks; b; b = b->page_next)
        if (!block_is_true(c, b))
            return false;
    for (const struct block *b = p->crossers; b; b = b->cross_next)
        if (!block_is_true(c, b))
            return false;
    return true;
}

bool soft_code_is_true(struct soft_cpu *c)
{
    for (u32 i = 0; i < ARRAY_LEN(c->code->pages); i++) {
        const struct code_page *p = c->code->pages[i];

        while (p && page_is_true(c, p))
            p = p->next;
        if (p)
            return false;
    }
    return true;
}

/* All others have dropped their write tags since, or run nothing. */
static bool others_passed(const struct soft_cpu *c, const struct fresh_page *f)
{
    for (u32 i = 0; i < c->vm->n_cpus; i++) {
        struct soft_cpu *o = c->vm->cpus[i];

        if (o != c && atomic_load(&o->in_guest) && atomic_load(&o->tlb_acks) == f->acks[i])
            return false;
    }
    return true;
}

void soft_code_second_look(struct soft_cpu *c)
{
    struct code_cache *cc = c->code;

    for (u32 i = 0; i < cc->n_fresh;) {
        struct code_page *p;

        if (!others_passed(c, &cc->fresh[i])) {
            i++;
            continue;
        }
        p = page_find(cc, cc->fresh[i].page);
        cc->fresh[i] = cc->fresh[--cc->n_fresh];
        if (p && !page_is_true(c, p)) {
            page_drop(c, p, 0, GUEST_PAGE - 1);
            c->link = NULL;
        }
    }
}

bool soft_code_is_settled(const struct soft_cpu *c)
{
    return c->code->n_fresh == 0;
}

/* Making. */

static void block_add(struct soft_cpu *c, struct block *b, u64 page, u64 page2)
{
    struct code_cache *cc = c->code;
    struct block **row = block_row(cc, b->gpa, b->key);
    u32 n1 = first_bytes(b);
    struct code_page *p = page_of(c, page);

    b->hash_next = *row;
    *row = b;
    b->page_next = p->blocks;
    p->blocks = b;
    granules_mark(p->granules, b->gpa, n1);
    if (page2 != NO_PAGE) {
        p = page_of(c, page2);
        b->cross_next = p->crossers;
        p->crossers = b;
        granules_mark(p->crossing, 0, b->bytes - n1);
        granules_mark(p->granules, 0, b->bytes - n1);
    }
}

/* Where the code at `lin` is; raises. */
static u64 fetch_gpa(struct soft_cpu *c, u64 lin)
{
    struct tlb_entry *t = soft_fetch_at(c, lin);

    if (t->tag_x == (lin & GUEST_PAGE_MASK)) {
        const u8 *host = (const u8 *)(uintptr_t)(lin + (u64)t->addend);

        for (const struct mem_region *r = c->vm->ram; r < c->vm->ram + c->vm->n_ram; r++)
            if (host >= r->host && host < r->host + r->size)
                return r->gpa + (u64)(host - r->host);
    }
    return soft_walk(c, NULL, lin, ACC_EXEC);
}

/* Bytes that cross into the next page, or that are outside RAM (all ones there). */
struct fetch {
    u8 bytes[2 * INSN_LEN_MAX + 2];
    u64 gpa2;
    u64 page2; /* of the memfd; NO_PAGE: not in RAM, which soft_code_crosses looks after */
};

static u32 code_byte_limit(struct soft_cpu *c, u64 rip)
{
    u64 left;

    if ((c->key & KEY_SIZE) == SIZE_64 || (c->key & KEY_FLAT))
        return INSN_LEN_MAX;
    if (rip > c->seg[SEG_CS].limit)
        soft_raise_error(c, NULL, VEC_GP, 0);
    left = c->seg[SEG_CS].limit - rip + 1;
    return (u32)min(left, (u64)INSN_LEN_MAX);
}

/* One instruction whose bytes do not all lie in RAM of one page. */
static void decode_crossing(struct soft_cpu *c, struct block *b, u64 lin, struct fetch *f)
{
    u32 n1 = (u32)(GUEST_PAGE - lin % GUEST_PAGE), limit = code_byte_limit(c, c->rip),
        n = min(n1, limit);
    const u8 *at = soft_ram(c->vm, b->gpa, n, NULL);
    u64 next = lin + n1;

    f->gpa2 = BLOCK_ONE_PAGE;
    if (at)
        memcpy(f->bytes, at, n);
    else
        memset(f->bytes, 0xff, n);
    if (n == limit || soft_decode(c, b, f->bytes, n, b->key, true) == 0) {
        if (n == limit && soft_decode(c, b, f->bytes, n, b->key, true) < 0)
            soft_raise_error(c, NULL, VEC_GP, 0);
        return;
    }
    if (!soft_code64(c))
        next = (u32)next;
    f->gpa2 = fetch_gpa(c, next);
    at = soft_ram(c->vm, f->gpa2, limit - n, &f->page2);
    if (at) {
        page_mark(c, f->page2);
        memcpy(f->bytes + n, at, limit - n);
    } else {
        memset(f->bytes + n, 0xff, limit - n);
    }
    if (soft_decode(c, b, f->bytes, limit, b->key, true) < 0)
        soft_raise_error(c, NULL, VEC_GP, 0);
}

/* What is not in RAM may be another instruction each time. */
bool soft_code_crosses(struct soft_cpu *c, const struct block *b, u64 lin)
{
    u32 n1 = first_bytes(b);
    u64 next = soft_code64(c) ? lin + n1 : (u32)(lin + n1);

    return fetch_gpa(c, next) == b->gpa2 && soft_ram(c->vm, b->gpa2, b->bytes - n1, NULL) &&
           (!b->code || soft_fetch_at(c, next)->tag_x == next);
}

/* Nothing that block_make does later may flush: it builds the block where the pool's free part begins. */
static void make_room(struct soft_cpu *c)
{
    size_t most = sizeof(struct block) + (BLOCK_UOPS_MAX + 1) * sizeof(struct uop) +
                  3 * sizeof(struct code_page) + 256;

    if (c->code->n_fresh + 2 > FRESH_MAX)
        soft_code_second_look(c);
    if (c->code->used + most > c->vm->code_budget || soft_stubs_full(c) || soft_jit_full(c) ||
        c->code->n_fresh + 2 > FRESH_MAX)
        soft_code_flush(c);
}

static struct block *block_make(struct soft_cpu *c, u64 lin, u64 gpa)
{
    struct code_cache *cc = c->code;
    struct fetch f = { .gpa2 = BLOCK_ONE_PAGE, .page2 = NO_PAGE };
    u8 copy[BLOCK_UOPS_MAX * INSN_LEN_MAX]; /* another vCPU may write to them while we look */
    struct block *b;
    const u8 *at;
    u64 page = 0;
    u32 n = (u32)min(GUEST_PAGE - gpa % GUEST_PAGE, (u64)sizeof(copy));

    make_room(c);
    at = soft_ram(c->vm, gpa, n, &page);
    if (at) {
        struct code_page *p = page_find(cc, page);

        page_mark(c, page);
        if (p && is_hot(c, p))
            n = min(n, (u32)HOT_BYTES);
        memcpy(copy, at, n);
        at = copy;
    }
    b = (struct block *)(void *)(cc->pool + cc->used);
    *b = (struct block){ .gpa = gpa,
                         .key = c->key,
                         .host = (uintptr_t)soft_ram(c->vm, gpa, 1, NULL) };
    if (!(c->key & KEY_FLAT) && c->rip + n - 1 > c->seg[SEG_CS].limit)
        n = (u32)min((u64)n, c->rip > c->seg[SEG_CS].limit ? 0 : c->seg[SEG_CS].limit - c->rip + 1);
    if (!at || n == 0 || soft_decode(c, b, at, n, c->key, false) < 0) {
        decode_crossing(c, b, lin, &f);
        at = f.bytes;
    }
    b->gpa2 = b->bytes > GUEST_PAGE - gpa % GUEST_PAGE ? f.gpa2 : BLOCK_ONE_PAGE;
    b->sum = sum_of(at, b->bytes, 0);
    pool_take(cc, sizeof(*b) + (b->n + 1u) * sizeof(struct uop));
    if (b->host)
        block_add(c, b, page, b->gpa2 == BLOCK_ONE_PAGE ? NO_PAGE : f.page2);
    return b;
}

static struct block *block_at(struct soft_cpu *c, u64 lin, u64 gpa)
{
    struct block *b = block_find(c->code, gpa, c->key);

    if (b && unlikely(!(c->key & KEY_FLAT)) && c->rip + b->bytes - 1 > c->seg[SEG_CS].limit) {
        row_remove(c->code, b); /* the segment ends inside it */
        b = NULL;
    }
    if (b && unlikely(b->gpa2 != BLOCK_ONE_PAGE) && !soft_code_crosses(c, b, lin)) {
        block_drop(c, b);
        b = NULL;
    }
    return b ? b : block_make(c, lin, gpa);
}

/* Is `j` the block at `lin`, by what the TLB knows of the page? */
static inline bool jump_is_true(struct soft_cpu *c, const struct jump_entry *j,
                                const struct tlb_entry *t, u64 lin)
{
    return j->lin == lin && t->tag_x == (lin & GUEST_PAGE_MASK) && j->block &&
           j->block->host == lin + (u64)t->addend && j->block->key == c->key &&
           (likely(j->block->gpa2 == BLOCK_ONE_PAGE) || soft_code_crosses(c, j->block, lin));
}

struct block *soft_block(struct soft_cpu *c)
{
    u64 lin = soft_code64(c) ? c->rip : (u32)(c->seg[SEG_CS].base + c->rip);
    struct jump_entry *j = &c->jumps[soft_jump_at(lin)];
    struct tlb_entry *t = soft_fetch_at(c, lin);
    bool known = jump_is_true(c, j, t, lin);
    u64 gpa = known ? 0 : fetch_gpa(c, lin);
    struct block *b;

    if (known || jump_is_true(c, j, t, lin)) { /* the TLB may have forgotten the page alone */
        j->code = soft_jit_code(c, j->block);
        soft_jump_stamp(c, j, t);
        return j->block;
    }
    b = block_at(c, lin, gpa);
    if ((c->key & KEY_FLAT) && t->tag_x == (lin & GUEST_PAGE_MASK)) {
        *j = (struct jump_entry){ .lin = lin, .block = b, .code = soft_jit_code(c, b) };
        soft_jump_stamp(c, j, t);
    }
    return b;
}
