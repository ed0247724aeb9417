/*
 * cpu/soft/window_test.c: the user window holds what the TLB may hold, and nothing of ours can be reached through it.
 */
#include "cpu/soft/window.h"

#include "cpu/soft/code.h"
#include "cpu/soft/jit/cache.h"
#include "cpu/soft/jit/jit_rig.h"
#include "cpu/soft/jit/verify.h"
#include "testlib/test.h"

#include <sys/auxv.h>

enum {
    HERE = 0x40000000,       /* where programs look ... */
    BEFORE = 0x20000,        /* ... and what page is there; */
    AFTER = BEFORE + 0x1000, /* another one, later */
    MAPS = RIG_TABLES,
    MAPS2 = MAPS + 0x8000, /* of another address space */
    ROUNDS = 20000,        /* more than a quantum */
    OTHER_CODE = 0x2000,   /* `loads` */
    OWN_MAPS = 0x60000,
    FAR_SLOT = 255,    /* of the PML4: what is in the low part is in the high part, too ... */
    BETWEEN_SLOT = 100 /* ... and between them */
};
#define FAR     (0x7f8000000000ull)
#define BETWEEN (0x320000000000ull)

static u64 base; /* of the guest's addresses */

/* Once in the low part of the window, once in the high part. */
#define TEST_PARTS(name)              \
    static void name##_in_part(void); \
    TEST(name)                        \
    {                                 \
        base = 0;                     \
        name##_in_part();             \
        base = FAR;                   \
        name##_in_part();             \
        base = 0;                     \
    }                                 \
    static void name##_in_part(void)

/* clang-format off */
static const struct program
    /* mov $20000,%ecx; 1: incl (%rdi); mov (%rdi),%eax; jmp 2f; 2: dec %ecx; jnz 1b */
    counts = ROW_OF("counts", "\xb9\x20\x4e\x00\x00\xff\x07\x8b\x07\xeb\x00\xff\xc9\x75\xf6"),
    /* mov $20000,%ecx; 1: mov (%rdi),%eax; mov 8(%rdi),%ebx; jmp 2f; 2: dec %ecx; jnz 1b */
    loads = ROW_OF("two loads", "\xb9\x20\x4e\x00\x00\x8b\x07\x8b\x5f\x08\xeb\x00\xff\xc9\x75\xf5"),
    /* mov $20000,%ecx; 1: dec %ecx; jnz 1b; mov $500,%ecx; xor %ebx,%ebx; xor %edx,%edx;
     * 1: mov (%rdi),%eax; cmp %ecx,%ecx; mov 4096(%rdi),%eax; setnz %dl; add %edx,%ebx; add $4096,%rdi; jmp 2f; 2: dec %ecx; jnz 1b */
    flags = ROW_OF("flags", "\xb9\x20\x4e\x00\x00\xff\xc9\x75\xfc\xb9\xf4\x01\x00\x00\x31\xdb\x31\xd2\x8b\x07\x39\xc9\x8b\x87\x00\x10\x00\x00\x0f\x95\xc2\x01\xd3\x48\x81\xc7\x00\x10\x00\x00\xeb\x00\xff\xc9\x75\xe4"),
    /* mov $20000,%ecx; 1: fldl (%rdi); mov 8(%rdi),%eax; fstp %st(0); jmp 2f; 2: dec %ecx; jnz 1b */
    x87 = ROW_OF("x87", "\xb9\x20\x4e\x00\x00\xdd\x07\x8b\x47\x08\xdd\xd8\xeb\x00\xff\xc9\x75\xf3"),
    /* mov $20000,%ecx; 1: dec %ecx; jnz 1b; mov $9000,%ecx; 1: movups (%rsi),%xmm0; addps %xmm0,%xmm0; movups %xmm0,(%rdi,%rdx,2); add $16,%rsi;
     * add $8,%rdx; sub $1,%rcx; jnz 1b */
    vectors = ROW_OF("vectors", "\xb9\x20\x4e\x00\x00\xff\xc9\x75\xfc\xb9\x28\x23\x00\x00\x0f\x10\x06\x0f\x58\xc0\x0f\x11\x04\x57\x48\x83\xc6\x10\x48\x83\xc2\x08\x48\x83\xe9\x01\x75\xe8"),
    /* mov $20000,%ecx; 1: push %rcx; call 3f; pop %rax; jmp 2f; 3: mov 8(%rsp),%rdx; ret; 2: dec %ecx; jnz 1b */
    stack = ROW_OF("stack", "\xb9\x20\x4e\x00\x00\x51\xe8\x03\x00\x00\x00\x58\xeb\x06\x48\x8b\x54\x24\x08\xc3\xff\xc9\x75\xed");
/* clang-format on */

static u64 mapped(const struct rig *r)
{
    return r->c->jit->stats.window_mapped;
}

/* At CPL 3, RDI at HERE of `base`; the address space gets the window at once. */
static struct rig *machine(const struct program *p)
{
    struct rig *r;
    u64 entry = (MAPS + 0x1000) | 7, entry2 = (MAPS2 + 0x1000) | 7;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    test_skip("a sanitizer has its own memory where the user window would be");
#endif
    if (!(getauxval(AT_HWCAP2) & 2))
        test_skip("this CPU, or its kernel, lets no program set its GS base");
    r = jit_machine(1, 1);
    r->c->vm->window_after = 1;
    jit_begin(r, RIG_CODE, p->code, p->n);
    jit_map(r, MAPS, BEFORE);
    jit_map(r, MAPS2, AFTER);
    mem_write(r->mem, MAPS + FAR_SLOT * 8, &entry, 8);
    mem_write(r->mem, MAPS + BETWEEN_SLOT * 8, &entry, 8);
    mem_write(r->mem, MAPS2 + FAR_SLOT * 8, &entry2, 8);
    r->c->cr0 |= CR0_WP;
    r->c->cr4 |= CR4_PCIDE;
    r->c->eflags |= RF_IOPL;
    r->c->rip += base;
    r->c->reg[GPR_RSP] += base;
    r->c->reg[GPR_RDI] = base + HERE;
    memcpy(r->ram + OTHER_CODE, loads.code, loads.n);
    memcpy(r->ram + OTHER_CODE + loads.n, jit_the_end, JIT_END_BYTES);
    rig_user(r);
    return r;
}

/* At CPL 3, from the beginning of a program. */
static void run_at(struct rig *r, u64 rip)
{
    r->c->rip = base + rip;
    r->c->reg[GPR_RDI] = base + HERE;
    r->c->reg[GPR_RSP] = base + RIG_STACK;
    rig_user(r);
    r->c->eflags |= RF_IOPL;
    CHECK_EQ(vcpu_run(r->c->v), VCPU_KICKED);
}

static void again(struct rig *r)
{
    run_at(r, RIG_CODE);
}

static u32 word(const struct rig *r, u64 at)
{
    u32 v;

    memcpy(&v, r->ram + at, 4);
    return v;
}

static void run(struct rig *r)
{
    u32 at;

    CHECK_EQ(vcpu_run(r->c->v), VCPU_KICKED);
    CHECK_EQ(r->c->jit->stats.window_taken, 1);
    CHECK_STR(jit_verify(r->c, &at), "");
}

TEST_PARTS(window_pages_are_mapped_once)
{
    struct rig *r = machine(&counts);

    run(r);
    CHECK_EQ(word(r, BEFORE), ROUNDS);
    CHECK(mapped(r) > 0 && mapped(r) < 100);
    CHECK(r->c->jit->stats.misses < 100);
    CHECK_EQ(r->c->jit->stats.window_outside, 0);
    rig_free(r);
}

TEST_PARTS(window_has_stacks)
{
    struct rig *r = machine(&stack);

    run(r);
    CHECK_EQ(r->c->reg[GPR_RAX], 1);
    CHECK_EQ(r->c->reg[GPR_RDX], 1);
    CHECK_EQ(r->c->reg[GPR_RSP], base + RIG_STACK);
    CHECK(r->c->jit->stats.misses < 100);
    rig_free(r);
}

/* The page at HERE is another one, and it was said so. */
static void say_page(struct soft_cpu *c)
{
    soft_tlb_flush_page(c, base + HERE);
}
static void say_cr3(struct soft_cpu *c)
{
    soft_tlb_switch(c, c->cr3, false);
}
static void say_invpcid_page(struct soft_cpu *c)
{
    soft_tlb_invpcid(c, 0, 0, base + HERE);
}
static void say_invpcid(struct soft_cpu *c)
{
    soft_tlb_invpcid(c, 1, 0, 0);
}
static void say_all(struct soft_cpu *c)
{
    soft_tlb_flush_all(c);
}
/* From another address space, and back. */
static void say_elsewhere(struct soft_cpu *c)
{
    u64 cr3 = c->cr3;

    c->cr3 = MAPS2 | 1;
    soft_tlb_switch(c, c->cr3, true);
    soft_tlb_invpcid(c, 1, 0, 0);
    c->cr3 = cr3;
    soft_tlb_switch(c, c->cr3, true);
}
/* ... which has forgotten the set of the window's space, and then other pages were asked for by its PCID. */
static void say_without_a_set(struct soft_cpu *c)
{
    u64 cr3 = c->cr3;

    for (u32 pcid = 1; pcid <= SOFT_TLB_SETS; pcid++)
        soft_tlb_switch(c, MAPS2 | pcid, true);
    soft_tlb_invpcid(c, 0, 0, base + HERE);
    c->cr3 = cr3;
    soft_tlb_switch(c, c->cr3, true);
}

TEST_PARTS(window_forgets_what_the_tlb_forgets)
{
    static void (*const say[])(struct soft_cpu * c) = {
        say_page, say_cr3, say_invpcid_page, say_invpcid, say_all, say_elsewhere, say_without_a_set,
    };

    for (u32 i = 0; i < ARRAY_LEN(say); i++) {
        struct rig *r = machine(&counts);

        run(r);
        jit_map(r, MAPS, AFTER);
        say[i](r->c);
        again(r);
        CHECK_EQ(word(r, BEFORE), ROUNDS);
        CHECK_EQ(word(r, AFTER), ROUNDS);
        rig_free(r);
    }
}

TEST_PARTS(window_is_of_one_address_space)
{
    struct rig *r = machine(&counts);

    run(r);
    r->c->vm->window_after = 1000000;
    r->c->cr3 = MAPS2 | 1;
    soft_tlb_switch(r->c, r->c->cr3, true);
    again(r);
    CHECK(!(r->c->key & KEY_WINDOW));
    CHECK_EQ(word(r, BEFORE), ROUNDS);
    CHECK_EQ(word(r, AFTER), ROUNDS);
    rig_free(r);
}

TEST_PARTS(window_has_the_rights_of_the_page)
{
    struct rig *r = machine(&counts);
    u64 entry = BEFORE | 5;

    run(r);
    mem_write(r->mem, MAPS + 0x7000, &entry, 8);
    soft_tlb_flush_page(r->c, base + HERE);
    run_at(r, OTHER_CODE); /* maps it */
    CHECK_EQ((u32)r->c->reg[GPR_RAX], ROUNDS);
    again(r);
    CHECK_EQ(r->c->cr2, base + HERE);
    CHECK_EQ(word(r, BEFORE), ROUNDS);
    CHECK_EQ((u32)r->c->reg[GPR_RCX], ROUNDS);
    rig_free(r);
}

/* Pages that only the TLB can reach: each time by the handler at first, then by other code. */
TEST(window_leaves_addresses_outside_to_the_tlb)
{
    struct rig *r = machine(&loads);

    r->c->reg[GPR_RDI] = BETWEEN + RIG_DATA;
    run(r);
    CHECK_EQ((u32)r->c->reg[GPR_RAX], word(r, RIG_DATA));
    CHECK_EQ((u32)r->c->reg[GPR_RBX], word(r, RIG_DATA + 8));
    CHECK(r->c->jit->stats.window_outside > 0 && r->c->jit->stats.window_outside < 20);
    CHECK(r->c->jit->stats.misses < 100);
    rig_free(r);
}

/* Addresses that no user may use, and those that would be ours. */
TEST_PARTS(window_faults_as_the_cpu_does)
{
    static const struct {
        u64 at;
        bool page_fault;
    } rows[] = {
        { 0xffff888000000000, true },  { 0xffffffffffffffff, true },  { 0x00007fffffffffff, true },
        { 0x0000800000000000, false }, { 0x0000bfffffffffff, false }, { 0x0000d55555554000, false },
        { 0x0000400000001000, true },  { 0x00003fffffff0000, true },  { 0xffff400000000000, false },
        { 0x8000000000000000, false }, { 0x5a5a5a5a5a5a5a5a, false },
    };

    for_each_row(row, rows) {
        struct rig *r = machine(&counts);

        run(r);
        r->c->cr2 = 0;
        r->c->rip = base + RIG_CODE + 5; /* the loop, translated */
        r->c->reg[GPR_RCX] = 2;
        r->c->reg[GPR_RDI] = row->at;
        rig_user(r);
        r->c->eflags |= RF_IOPL;
        CHECK_EQ(vcpu_run(r->c->v), VCPU_KICKED);
        CHECK_EQ(r->c->reg[GPR_RCX], 2);
        CHECK(row->page_fault ? r->c->cr2 == row->at || r->c->cr2 == row->at + 1 : r->c->cr2 == 0);
        rig_free(r);
    }
}

/* A trap between a comparison and who looks at its flags. */
TEST_PARTS(window_traps_keep_flags)
{
    struct rig *r = machine(&flags);

    r->c->reg[GPR_RDI] = base + 0x100000;
    run(r);
    CHECK_EQ((u32)r->c->reg[GPR_RBX], 0);
    CHECK_EQ((u32)r->c->reg[GPR_RCX], 0);
    CHECK(mapped(r) >= 500);
    rig_free(r);
}

TEST_PARTS(window_writes_are_in_the_dirty_log)
{
    struct rig *r = machine(&counts);
    u64 bits[4 * MiB / GUEST_PAGE / 64] = {};
    struct err e;

    run(r);
    CHECK(cpu_dirty_start(r->vm, &e) >= 0);
    again(r);
    CHECK(cpu_dirty_take(r->vm, bits, &e) >= 0);
    CHECK(bits[BEFORE / GUEST_PAGE / 64] >> BEFORE / GUEST_PAGE % 64 & 1);
    CHECK_EQ(word(r, BEFORE), 2 * ROUNDS);
    memset(bits, 0, sizeof(bits));
    again(r);
    CHECK(cpu_dirty_take(r->vm, bits, &e) >= 0);
    CHECK(bits[BEFORE / GUEST_PAGE / 64] >> BEFORE / GUEST_PAGE % 64 & 1);
    rig_free(r);
}

/* Also those that the TLB has no entry of any more. */
TEST_PARTS(window_notes_what_it_wrote)
{
    struct rig *r = machine(&counts);
    u64 bits[4 * MiB / GUEST_PAGE / 64] = {};
    struct err e;

    run(r);
    CHECK(cpu_dirty_start(r->vm, &e) >= 0);
    for (u32 i = 0; i < SOFT_TLB_SIZE; i++)
        r->c->set->e[MMU_USER][i].tag_w = TLB_NONE;
    soft_tlb_drop_writes(r->c);
    CHECK(cpu_dirty_take(r->vm, bits, &e) >= 0);
    CHECK(bits[BEFORE / GUEST_PAGE / 64] >> BEFORE / GUEST_PAGE % 64 & 1);
    for (u32 i = 0; i < r->c->window->used; i++)
        CHECK(!r->c->window->pages[i].writes);
    rig_free(r);
}

/*
 * The guest's address by which the low part would lead to a page of ours; the guest has AFTER there.  (The addresses by which the high part
 * would are no valid ones: window_faults_as_the_cpu_does.)
 */
static u64 address_of_ours(struct rig *r, const u8 *ours)
{
    u64 v = (uintptr_t)ours - r->c->window_low_delta, entry;
    u32 first = v >> 39 ? 0 : 1; /* there is a table for the first 512 GiB */

    CHECK(v >> 47 == 0 && v > WINDOW_LOW_SIZE);
    for (u32 level = first; level < 4; level++) {
        u64 table = level > first ? OWN_MAPS + level * GUEST_PAGE : MAPS + first * GUEST_PAGE;

        entry = (level == 3 ? AFTER : OWN_MAPS + (level + 1) * GUEST_PAGE) | 7;
        mem_write(r->mem, table + (v >> (39 - 9 * level) & 511) * 8, &entry, 8);
    }
    soft_tlb_flush_all(r->c);
    return v;
}

static u8 *page_in(u8 *space, u8 fill)
{
    u8 *page = space + (0 - (uintptr_t)space) % GUEST_PAGE;

    memset(page, fill, GUEST_PAGE);
    return page;
}

/* Each of the guest's own bytes there is 7. */
static void run_translated(struct rig *r, u64 rdi)
{
    r->c->rip = RIG_CODE + 5;
    r->c->reg[GPR_RCX] = 1;
    r->c->reg[GPR_RDI] = rdi;
    rig_user(r);
    r->c->eflags |= RF_IOPL;
    CHECK_EQ(vcpu_run(r->c->v), VCPU_KICKED);
    CHECK_EQ((u32)r->c->reg[GPR_RAX], 0x07070707);
    CHECK_EQ(r->c->reg[GPR_RCX], 0);
}

/* The x87 is the handler's at first. */
TEST(window_does_not_lead_to_us)
{
    struct rig *r = machine(&x87);
    u8 space[2 * GUEST_PAGE], *ours = page_in(space, 0x55);

    run(r);
    memset(r->ram + AFTER, 7, GUEST_PAGE);
    run_translated(r, address_of_ours(r, ours));
    rig_free(r);
}

/* The first load makes the register one of the high part, the second is for the low part. */
TEST(window_parts_have_ends_of_their_own)
{
    struct rig *r = machine(&loads);
    u8 space[2 * GUEST_PAGE], *ours = page_in(space, 0x55);
    u64 v;

    CHECK_EQ(vcpu_run(r->c->v), VCPU_KICKED);
    memset(r->ram + AFTER, 7, GUEST_PAGE);
    v = address_of_ours(r, ours);
    for (u32 i = 0; i < 2; i++) { /* translated for that, and then run */
        soft_code_flush(r->c);
        r->c->window->sites[soft_window_site(RIG_CODE + 5)] = WINDOW_HIGH;
        r->c->window->sites[soft_window_site(RIG_CODE + 7)] = WINDOW_LOW;
        run_translated(r, v);
        CHECK_EQ((u32)r->c->reg[GPR_RBX], 0x07070707);
    }
    rig_free(r);
}

/* clang-format off */
/* mov $20000,%ecx; 1: mov (%rdi),%eax; mov (%rsi),%eax; mov (%rdx),%eax; incb 2f+2(%rip); 2: add $0,%ebx; jmp 3f; 16 NOPs; 3: dec %ecx; jnz 1b */
static const struct program rewrites = ROW_OF("rewrites itself", "\xb9\x20\x4e\x00\x00\x8b\x07\x8b\x06\x8b\x02\xfe\x05\x02\x00\x00\x00\x83\xc3\x00\xeb\x10" "\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90\x90" "\xff\xc9\x75\xdb");
/* clang-format on */

/* A block that is forgotten while it runs, for what its instructions point to was guessed wrong, writes to itself. */
TEST(window_block_that_is_forgotten_is_left)
{
    struct rig *r = machine(&rewrites);
    static const u64 where[] = { HERE, FAR + HERE, BETWEEN + HERE };

    r->c->reg[GPR_RSI] = r->c->reg[GPR_RDX] = HERE;
    CHECK_EQ(vcpu_run(r->c->v), VCPU_KICKED);
    r->c->window->credit = 1000000;
    for (u32 i = 0; i < 3 * 3 * 3 * 3; i++) {
        r->ram[RIG_CODE + 19] = 0; /* unseen, as is the translation of this */
        soft_code_flush(r->c);
        r->c->rip = RIG_CODE + 5;
        r->c->reg[GPR_RCX] = 1;
        r->c->reg[GPR_RBX] = 0;
        r->c->reg[GPR_RDI] = where[i % 3];
        r->c->reg[GPR_RSI] = where[i / 3 % 3];
        r->c->reg[GPR_RDX] = where[i / 9 % 3];
        rig_user(r);
        r->c->eflags |= RF_IOPL;
        CHECK_EQ(vcpu_run(r->c->v), VCPU_KICKED);
        CHECK_EQ(r->c->reg[GPR_RBX], 1);
        CHECK(r->c->key & KEY_WINDOW);
    }
    rig_free(r);
}

/* Code that reaches the low part and the high part in turn goes by the TLB soon; what was guessed wrong once does not. */
TEST(window_learns_where_an_instruction_points)
{
    struct rig *r = machine(&counts);

    run(r);
    r->c->vm->window_after = 1000000; /* or it would take the window anew, and know nothing */
    r->c->rip = RIG_CODE;
    r->c->reg[GPR_RDI] = FAR + HERE;
    rig_user(r);
    r->c->eflags |= RF_IOPL;
    CHECK_EQ(vcpu_run(r->c->v), VCPU_KICKED);
    CHECK_EQ(word(r, BEFORE), 2 * ROUNDS);
    CHECK_EQ(soft_window_part(r->c->window, RIG_CODE + 5), WINDOW_HIGH);
    run_at(r, RIG_CODE);
    CHECK_EQ(word(r, BEFORE), 3 * ROUNDS);
    CHECK_EQ(soft_window_part(r->c->window, RIG_CODE + 5), WINDOW_LOW);
    run_at(r, RIG_CODE);
    CHECK_EQ(soft_window_part(r->c->window, RIG_CODE + 5), WINDOW_LOW);
    CHECK(r->c->jit->stats.window_outside < 20);
    CHECK(r->c->jit->stats.misses < 200);
    rig_free(r);
}

/* The page becomes one with code: what is written to it there is noticed. */
TEST_PARTS(window_does_not_write_to_code)
{
    struct rig *r = machine(&counts);
    u64 before;

    run(r);
    before = mapped(r);
    soft_tlb_drop_write(r->c, r->ram + BEFORE);
    again(r);
    CHECK_EQ(mapped(r), before + 1);
    CHECK_EQ(word(r, BEFORE), 2 * ROUNDS);
    rig_free(r);
}

/* A page with code and data: who writes there does it by the TLB, soon. */
TEST_PARTS(window_leaves_writes_beside_code_to_the_tlb)
{
    struct rig *r = machine(&counts);

    r->c->reg[GPR_RDI] = base + OTHER_CODE + 0x800;
    memset(r->ram + OTHER_CODE + 0x800, 0, 4);
    r->c->rip = base + OTHER_CODE;
    run(r);
    r->c->rip = base + RIG_CODE;
    r->c->reg[GPR_RDI] = base + OTHER_CODE + 0x800;
    rig_user(r);
    r->c->eflags |= RF_IOPL;
    CHECK_EQ(vcpu_run(r->c->v), VCPU_KICKED);
    CHECK_EQ(word(r, OTHER_CODE + 0x800), ROUNDS);
    CHECK(r->c->jit->stats.window_outside > 0 && r->c->jit->stats.window_outside < 20);
    rig_free(r);
}

TEST(window_is_given_up_where_it_costs)
{
    struct rig *r = machine(&counts);
    u64 given_up;

    run(r);
    given_up = r->c->jit->stats.window_given_up;
    r->c->window->credit = -1;
    again(r);
    CHECK_EQ(r->c->jit->stats.window_given_up, given_up + 1);
    CHECK_EQ(word(r, BEFORE), 2 * ROUNDS);
    rig_free(r);
}

/* Two machines in one process, as two vCPUs are. */
TEST(window_goes_to_who_uses_it)
{
    struct rig *first = machine(&counts), *second = machine(&counts);

    run(first);
    CHECK_EQ(vcpu_run(second->c->v), VCPU_KICKED);
    CHECK_EQ(second->c->jit->stats.window_taken, 0);
    first->c->window->quanta = 1000;
    again(first);
    again(second);
    CHECK_EQ(second->c->jit->stats.window_taken, 0);
    first->c->vm->window_after = 1000000; /* or it would take it back */
    again(first);
    CHECK_EQ(first->c->jit->stats.window_given_up, 1);
    again(second);
    CHECK_EQ(second->c->jit->stats.window_taken, 1);
    CHECK_EQ(word(first, BEFORE), 3 * ROUNDS);
    CHECK_EQ(word(second, BEFORE), 3 * ROUNDS);
    rig_free(first);
    rig_free(second);
}

/* 9000 rounds of a loop over 36 pages, which trap, and over a page that is not there in the end. */
TEST_PARTS(window_loops_run_without_checks)
{
    enum { FROM = 0x100000, TO = 0x200000, ALL = 9000 };
    struct rig *r = machine(&vectors);
    const float one = 1.5f;

    for (u32 i = 0; i < 4 * ALL; i++)
        memcpy(r->ram + FROM + 4 * i, &one, 4);
    r->c->reg[GPR_RSI] = base + FROM;
    r->c->reg[GPR_RDI] = base + TO;
    r->c->reg[GPR_RDX] = 0;
    run(r);
    for (u32 i = 0; i < 4 * ALL; i++)
        CHECK_EQ(word(r, TO + 4 * i), 0x40400000);
    CHECK_EQ(word(r, TO + 16 * ALL), 0);
    CHECK_EQ(r->c->reg[GPR_RCX], 0);
    CHECK_EQ(r->c->jit->stats.loops, 1);
    CHECK(r->c->jit->stats.misses < 200);

    r->c->reg[GPR_RSI] = base + FROM;
    r->c->reg[GPR_RDX] = 0;
    run_at(r, RIG_CODE + 14); /* to HERE, which is one page */
    CHECK_EQ(r->c->cr2, base + HERE + GUEST_PAGE);
    CHECK_EQ(r->c->reg[GPR_RSI], base + FROM + GUEST_PAGE);
    CHECK_EQ(word(r, BEFORE + GUEST_PAGE - 4), 0x40400000);
    rig_free(r);
}
