/*
 * cpu/soft/run.c: the loop of a vCPU: blocks, and between them interrupts, exceptions, time and sleep.
 *   (1) An exception leaves its handler by longjmp: `event` says which, c->rip which instruction.  The loop delivers it; what that
 *       raises replaces it by the rules of the double fault (SDM volume 3, "Interrupt 8").
 *   (2) Others ask for attention through `request`.  A bit is cleared before what it stands for is looked at.
 *   (3) An interrupt that finds IF clear sets irq_wait: the loop then looks again as soon as IF is set.
 *   (4) Between sleep and the next block all requests are seen to: a vCPU that is not in_guest holds no stale translation.
 */
#include "cpu/soft/check.h"
#include "cpu/soft/code.h"
#include "cpu/soft/debug.h"
#include "cpu/soft/fpu.h"
#include "cpu/soft/io.h"
#include "cpu/soft/jit/jit.h"
#include "cpu/soft/pv.h"
#include "cpu/soft/seg.h"
#include "cpu/soft/window.h"

#define TRACE_DEF "cpu/trace.def"
#include "base/trace_points.h"

/* Instructions between looks at the clock. */
#define QUANTUM 10000

/* What a block may add to the count beyond the budget: its instructions, an element of each (when they are repeated ones), and
 * the deliveries of what the last of them raises. */
#define BLOCK_MOST (2 * BLOCK_UOPS_MAX + 8)

#define SHADOW_MOV_SS 1

/* Nothing to report: the loop goes on. */
#define GO_ON ((enum vcpu_next) - 1)

#define DR6_BS (1u << 14)
#define DR6_B  15u /* which breakpoints */
#define DR6_BD (1u << 13)
#define DR7_GD (1u << 13)

/* Exceptions. */

enum fault_class { BENIGN, CONTRIBUTORY, PAGE_FAULT, DOUBLE_FAULT };

static enum fault_class class_of(u8 vector)
{
    switch (vector) {
    case VEC_DE:
    case VEC_TS:
    case VEC_NP:
    case VEC_SS:
    case VEC_GP:
        return CONTRIBUTORY;
    case VEC_PF:
        return PAGE_FAULT;
    case VEC_DF:
        return DOUBLE_FAULT;
    default:
        return BENIGN;
    }
}

/* A second exception while one is being delivered. */
static void merge(struct soft_cpu *c, struct soft_event *ev)
{
    enum fault_class first = c->delivering_soft ? BENIGN : class_of(c->delivering),
                     second = class_of(ev->vector);

    c->in_delivery = false;
    c->rip = c->delivery_rip;
    if (first == DOUBLE_FAULT && second != BENIGN)
        c->triple = true;
    else if ((first == CONTRIBUTORY && second == CONTRIBUTORY) ||
             (first == PAGE_FAULT && (second == CONTRIBUTORY || second == PAGE_FAULT)))
        *ev = (struct soft_event){ .vector = VEC_DF, .has_error = true };
}

static _Noreturn void raise_event(struct soft_cpu *c, const struct uop *op, struct soft_event ev)
{
    struct block *b = c->block;

    soft_exclusive_end(c);
    if (op && b && op >= b->ops && op < b->ops + b->n)
        c->budget += b->ops + b->n - op;
    if (op && !ev.soft) {
        u64 rip = c->base_rip + op->off;

        c->rip = soft_code64(c) ? rip : (c->key & KEY_SIZE) == SIZE_32 ? (u32)rip : (u16)rip;
    }
    if (ev.vector == VEC_PF)
        c->cr2 = ev.cr2;
    if (c->in_delivery)
        merge(c, &ev);
    ev.pending = true;
    c->event = ev;
    longjmp(*c->fault, 1);
}

void soft_raise(struct soft_cpu *c, const struct uop *op, u8 vector)
{
    raise_event(c, op, (struct soft_event){ .vector = vector });
}

void soft_raise_error(struct soft_cpu *c, const struct uop *op, u8 vector, u32 error)
{
    raise_event(c, op, (struct soft_event){ .vector = vector, .has_error = true, .error = error });
}

void soft_raise_pf(struct soft_cpu *c, const struct uop *op, u64 lin, u32 error)
{
    raise_event(
        c, op,
        (struct soft_event){ .vector = VEC_PF, .has_error = true, .error = error, .cr2 = lin });
}

void soft_raise_int(struct soft_cpu *c, const struct uop *op, u8 vector)
{
    u64 start = c->base_rip + op->off;

    c->delivery_rip = soft_code64(c)                   ? start
                      : (c->key & KEY_SIZE) == SIZE_32 ? (u32)start
                                                       : (u16)start;
    c->rip = soft_next_rip(c, op);
    raise_event(c, op, (struct soft_event){ .vector = vector, .soft = true });
}

/* Enters the handler of `ev`; may come back by longjmp to (1). */
static void deliver(struct soft_cpu *c, struct soft_event ev)
{
    c->budget--; /* time passes also where each handler faults before its first instruction */
    c->event.pending = false;
    c->in_delivery = true;
    c->delivering = ev.vector;
    c->delivering_soft = ev.soft || ev.external;
    if (ev.external)
        trace_cpu_interrupt(c->rip, ev.vector);
    else
        trace_cpu_exception(c->rip, ev.vector, ev.error, ev.cr2);
    if (!ev.soft)
        c->delivery_rip = c->rip;
    c->shadow = 0;
    c->halted = false;
    /* a step of what is interrupted is due when it goes on, by its TF; of INT n, the data that it met is reported in the handler */
    c->db_pending &= ev.soft ? DR6_B : 0;
    if (ev.vector == VEC_DB && !ev.soft)
        c->dr7 &= ~(u64)DR7_GD;
    soft_deliver(c, &ev);
    c->in_delivery = false;
    c->link = NULL;
    if (c->db_pending)
        soft_mode_changed(c);
}

/* Requests. */

void soft_request(struct soft_cpu *c, u32 bits)
{
    atomic_fetch_or(&c->request, bits);
    if (!atomic_load(&c->sleeping))
        return;
    pthread_mutex_lock(&c->sleep_lock);
    pthread_cond_signal(&c->awake);
    pthread_mutex_unlock(&c->sleep_lock);
}

/* KEY_* of the mode. */

static bool flat_data(const struct seg_state *s)
{
    return !s->unusable && s->base == 0 && s->limit == 0xffffffff &&
           (s->attr & (SEG_P | SEG_S | SEG_CODE | SEG_WRITE | SEG_DOWN)) ==
               (SEG_P | SEG_S | SEG_WRITE);
}

static bool is_flat(const struct soft_cpu *c)
{
    const struct seg_state *cs = &c->seg[SEG_CS];

    return cs->base == 0 && cs->limit == 0xffffffff && flat_data(&c->seg[SEG_ES]) &&
           flat_data(&c->seg[SEG_SS]) && flat_data(&c->seg[SEG_DS]);
}

static bool steps(const struct soft_cpu *c)
{
    return (c->eflags & (RF_TF | RF_RF)) || (c->dr7 & 0xff) || c->shadow || c->db_pending ||
           c->debugging || c->exact || c->vm->block_max == 1 ||
           atomic_load_explicit(&trace_point_cpu_insn.on, memory_order_relaxed);
}

void soft_mode_changed(struct soft_cpu *c)
{
    bool real = !soft_protected(c), long64 = soft_long_mode(c) && (c->seg[SEG_CS].attr & SEG_L);
    u32 key = long64 ? SIZE_64 : c->seg[SEG_CS].attr & SEG_DB ? SIZE_32 : SIZE_16;

    key |= (long64 ? SIZE_64 : c->seg[SEG_SS].attr & SEG_DB ? SIZE_32 : SIZE_16) << KEY_STACK_SHIFT;
    if (long64 || (!real && is_flat(c)))
        key |= KEY_FLAT;
    if (real)
        key |= KEY_REAL;
    if (c->cpl == 3)
        key |= KEY_USER;
    if (steps(c))
        key |= KEY_SINGLE;
    if (atomic_load_explicit(&trace_point_cpu_block.on, memory_order_relaxed))
        key |= KEY_PLAIN;
    c->key = key;
    c->tlb_fetch = soft_tlb_of_fetches(c);
    c->tlb = soft_tlb_is_watched(c) ? soft_tlb_never(c) : c->tlb_fetch;
    if (soft_window_in_force(c))
        c->key |= KEY_WINDOW;
    soft_recent_settle(c);
    soft_jumps_settle(c);
}

/* Time. */

static void timers(struct soft_cpu *c)
{
    struct lapic_time now = soft_time(c);

    if (now.ns >= lapic_deadline_ns(&c->lapic)) {
        lapic_tick(&c->lapic, now);
        soft_pv_steal_update(c);
    }
    if (c->v->index == 0 && now.ns >= irqchip_deadline_ns(&c->vm->irqchip))
        irqchip_tick(&c->vm->irqchip, now.ns);
}

static u64 next_deadline(struct soft_cpu *c)
{
    u64 at = lapic_deadline_ns(&c->lapic);

    return c->v->index == 0 ? min(at, irqchip_deadline_ns(&c->vm->irqchip)) : at;
}

/* icount: blocks as long as nothing can become due in one, then single instructions up to the one at which it does. */
static s64 icount_quantum(struct soft_cpu *c)
{
    u64 now = soft_now_ns(c->vm), at = next_deadline(c), left = at > now ? at - now : 1;

    if (c->stop_insns)
        left = min(left, c->stop_insns > c->insns ? c->stop_insns - c->insns : 1);
    left = min(left, (u64)QUANTUM);
    c->exact = left <= BLOCK_MOST;
    return (s64)(c->exact ? left - 1 : left - BLOCK_MOST);
}

/* Counts what was run; blocks may run until `budget` is used up. */
static void new_quantum(struct soft_cpu *c)
{
    c->insns += (u64)(c->quantum - c->budget);
    c->quantum = c->budget;
    c->quantum = c->budget = c->vm->icount ? icount_quantum(c) : QUANTUM;
}

/* Waits for a request, at most until the next deadline. */
static void sleep_until(struct soft_cpu *c, u64 deadline_ns)
{
    u64 now = soft_now_ns(c->vm);

    if (deadline_ns <= now)
        return;
    if (c->vm->icount && (deadline_ns != LAPIC_NEVER ||
                          c->stop_insns)) { /* nothing happens until then: so it is then */
        soft_icount_skip(c, deadline_ns);
        c->budget--;
        if (deadline_ns == LAPIC_NEVER)
            soft_request(c, REQ_KICK);
        return;
    }
    soft_idle_wait(c, deadline_ns == LAPIC_NEVER ? LAPIC_NEVER : deadline_ns - now);
}

/* Signals from other vCPUs. */

static void on_init(struct soft_cpu *c)
{
    soft_cpu_init(c, true);
    c->link = NULL;
}

static void on_sipi(struct soft_cpu *c)
{
    if (!c->wait_sipi)
        return;
    c->wait_sipi = false;
    c->seg[SEG_CS].selector = (u16)(c->sipi_vector << 8);
    c->seg[SEG_CS].base = (u64)c->sipi_vector << 12;
    c->rip = 0;
    c->link = NULL;
    soft_mode_changed(c);
}

/* Interrupts. */

static int take_pic(struct soft_cpu *c)
{
    if (c->v->index != 0 || !atomic_load(&c->vm->pic_intr) || !lapic_takes_pic(&c->lapic))
        return -1;
    return c->eflags & RF_IF ? irqchip_ack(&c->vm->irqchip) : 256;
}

/* An interrupt that can be taken now is being delivered on return; one that cannot sets irq_wait. */
static void interrupts(struct soft_cpu *c)
{
    int vector;

    c->irq_wait = 0;
    vector = lapic_pending(&c->lapic);
    if (vector >= 0 && !(c->eflags & RF_IF)) {
        c->irq_wait = RF_IF;
        return;
    }
    if (vector >= 0) {
        lapic_ack(&c->lapic, (u8)vector);
        c->irq_wait = RF_IF; /* there may be more */
    } else {
        vector = take_pic(c);
        if (vector == 256)
            c->irq_wait = RF_IF;
        if (vector < 0 || vector == 256)
            return;
        c->irq_wait = RF_IF;
    }
    deliver(c, (struct soft_event){ .vector = (u8)vector, .external = true });
}

static void nmi(struct soft_cpu *c)
{
    if (c->nmi_masked) {
        c->nmi_waits = true; /* IRET asks again */
        return;
    }
    c->nmi_masked = true;
    c->nmi_waits = false;
    deliver(c, (struct soft_event){ .vector = VEC_NMI, .external = true });
}

/* What was asked for since the last look.  GO_ON: enter the next block. */
static enum vcpu_next attend(struct soft_cpu *c)
{
    bool later =
        c->shadow || (c->debugging && c->debug.step); /* a step does not end in a handler */
    u32 keep = later ? REQ_IRQ | REQ_NMI : 0, req;

    c->link = NULL;
    if (c->budget < 0 || c->vm->icount) {
        timers(c);
        new_quantum(c);
        soft_window_sample(c);
    }
    req = atomic_fetch_and(&c->request, keep) & ~keep;
    soft_window_answer(c);
    if (req & REQ_TLB) {
        soft_tlb_drop_writes(c);
        atomic_fetch_add(&c->tlb_acks, 1);
    }
    if (req & REQ_CODE)
        soft_code_attend(c);
    soft_code_second_look(c);
    if (c->triple)
        return VCPU_TRIPLE_FAULT;
    if (req & REQ_INIT)
        on_init(c);
    if (req & REQ_SIPI)
        on_sipi(c);
    if (req & REQ_TIMER) {
        timers(c);
        new_quantum(c);
    }
    if (c->stop_insns && c->insns >= c->stop_insns)
        req |= REQ_KICK;
    if (req & REQ_KICK) {
        soft_request(c, req & (REQ_IRQ | REQ_NMI)); /* for when we come back */
        c->v->exits[SOFT_EXIT_KICK]++;
        trace_cpu_kick(c->v->exits[SOFT_EXIT_KICK]);
        return VCPU_KICKED;
    }
    soft_mode_changed(c); /* a shadow makes the next instruction a block of its own */
    if (c->wait_sipi)
        return GO_ON;
    if (req & REQ_NMI)
        nmi(c);
    else if (!later && (req & REQ_IRQ || c->irq_wait & c->eflags))
        interrupts(c);
    return GO_ON;
}

bool soft_run_quantum(struct soft_cpu *c, const struct block *b)
{
    const u32 key = c->key;

    if (c->vm->icount || c->stop_insns || c->check || !soft_code_is_settled(c))
        return false;
    c->budget += b->n; /* it was not run */
    timers(c);
    new_quantum(c);
    soft_window_sample(c);
    c->budget -= b->n;
    soft_mode_changed(c); /* what is traced decides on the key */
    return c->key == key && !atomic_load_explicit(&c->request, memory_order_relaxed) &&
           !(c->irq_wait & c->eflags);
}

/* HLT and wait-for-SIPI. */
static void idle(struct soft_cpu *c)
{
    if (c->halted && atomic_exchange(&c->pv_kicked, false)) { /* the hypercall ends this HLT */
        c->halted = false;
        return;
    }
    soft_pv_steal_update(c);
    if (!atomic_load(&c->request)) {
        atomic_store(&c->in_guest, false);
        sleep_until(c, c->wait_sipi ? LAPIC_NEVER : next_deadline(c));
        atomic_store(&c->in_guest, true);
    }
    soft_pv_steal_skip(c);
    timers(c);
}

/* Blocks. */

void soft_run_block(struct soft_cpu *c, struct block *b)
{
    trace_cpu_block(c->rip, b->gpa, b->key);
    c->block = b;
    c->base_rip = c->rip;
    *soft_reg(c, REG_RIP) = c->rip;
    *soft_reg(c, REG_RIP_FAR) = c->rip + GiB;
    c->budget -= b->n;
    b->ops[0].fn(c, b->ops);
}

static void debug_trap(struct soft_cpu *c, u64 bits)
{
    c->dr6 = (c->dr6 & ~(u64)DR6_B) | bits;
    c->db_pending = 0;
    soft_raise(c, NULL, VEC_DB);
}

/* Instruction breakpoints at the next instruction. */
static u64 breakpoints(const struct soft_cpu *c)
{
    u64 lin = soft_code64(c) ? c->rip : (u32)(c->seg[SEG_CS].base + c->rip), hit = 0;

    for (u32 i = 0; i < 4; i++)
        if ((c->dr7 >> (2 * i) & 3) && !(c->dr7 >> (16 + 4 * i) & 3) && c->dr[i] == lin)
            hit |= 1ull << i;
    return hit;
}

/* One instruction, looked at from all sides: single step, breakpoints, interrupt shadows. */
static void single(struct soft_cpu *c)
{
    u32 flags = c->eflags;
    u8 shadow = c->shadow;
    u64 hit = (flags & RF_RF ? 0 : breakpoints(c)) | c->db_pending;

    if (hit && !(shadow & SHADOW_MOV_SS))
        debug_trap(c, hit);
    c->eflags &= ~RF_RF;
    c->step_flags = flags;
    trace_cpu_insn(c->rip, c->reg[GPR_RAX], c->reg[GPR_RSP], soft_flags(c));
    soft_run_block(c, soft_block(c));
    if (c->shadow == shadow)
        c->shadow = 0;
    if (flags & RF_TF)
        c->db_pending |= DR6_BS;
    soft_mode_changed(c);
    if (c->irq_wait || c->shadow)
        soft_request(c, REQ_IRQ);
    if (c->db_pending && !(c->shadow & SHADOW_MOV_SS))
        debug_trap(c, c->db_pending);
}

void soft_run_alone(struct soft_cpu *c, const struct uop *op)
{
    const struct block *b = c->block;

    if (unlikely(c->check_dry))
        soft_check_give_up(c);
    if (likely(!c->vm->icount) || !op || (c->key & KEY_SINGLE) || op < b->ops ||
        op >= b->ops + b->n)
        return;
    soft_exclusive_end(c);
    soft_op_cut(c, op);
    c->key |= KEY_SINGLE;
    longjmp(*c->fault, 1);
}

/* Is a linked block still what is at RIP?  Inside a page only the page's bytes can change, else the mapping too. */
static inline bool still_true(struct soft_cpu *c, const struct block *b)
{
    const struct tlb_entry *t = soft_fetch_at(c, c->rip);

    if (b->key != c->key ||
        (unlikely(b->gpa2 != BLOCK_ONE_PAGE) && !soft_code_crosses(c, b, c->rip)))
        return false;
    return c->link_near ||
           (t->tag_x == (c->rip & GUEST_PAGE_MASK) && b->host == c->rip + (u64)t->addend);
}

/* What runs next: the successor of the block that has ended, or what is found at RIP; raises what fetching raises. */
static inline struct block *next_block(struct soft_cpu *c)
{
    struct block **link = c->link, *b = link ? *link : NULL;

    if (b && likely(still_true(c, b)))
        return b;
    b = soft_block(c);
    if (c->link && (c->key & KEY_FLAT)) /* others are held against CS's limit each time */
        *c->link = b;
    return b;
}

/* The translation of `b` is next: the jump that led to it goes there by itself from now on. */
static inline void link_code(struct soft_cpu *c, struct block *b)
{
    if (c->link && *c->link == b && !soft_check_wants(c, b))
        soft_jit_link(c, c->block, (u32)(c->link - c->block->succ), b);
}

/* The translation at RIP, if an indirect jump went there before: found as translated code would find it. */
static struct block *jumped_to(const struct soft_cpu *c)
{
    u64 lin = c->rip;
    const struct jump_entry *j = &c->jumps[soft_jump_at(lin)];

    return !c->link && soft_code64(c) && j->lin == lin && j->stamp == c->stamp && j->block->code &&
                   !soft_check_wants(c, j->block)
               ? j->block
               : NULL;
}

const u8 *soft_run_follow(struct soft_cpu *c)
{
    u32 want = atomic_load_explicit(&c->request, memory_order_relaxed) | (c->irq_wait & c->eflags);
    struct block *b;

    if (want || c->budget < 0 || c->halted || c->wait_sipi || c->key & KEY_SINGLE)
        return NULL;
    b = jumped_to(c);
    if (b)
        return soft_jit_enter(c, b);
    b = next_block(c);
    if (!soft_jit_warm(c, b) || soft_check_wants(c, b))
        return NULL;
    link_code(c, b);
    return soft_jit_enter(c, b);
}

/* A vCPU that waits, or goes in single steps. */
static enum vcpu_next seldom(struct soft_cpu *c)
{
    if (c->halted || c->wait_sipi) {
        if (c->debugging && (c->debug_ran || c->debug_hit) && soft_debug_stop(c))
            return VCPU_DEBUG;
        idle(c);
        return GO_ON;
    }
    if (unlikely(c->debugging) && soft_debug_stop(c))
        return VCPU_DEBUG;
    single(c);
    return GO_ON;
}

static enum vcpu_next loop(struct soft_cpu *c)
{
    for (;;) {
        struct block *b;
        u32 want =
            atomic_load_explicit(&c->request, memory_order_relaxed) | (c->irq_wait & c->eflags);

        if (unlikely(want || c->budget < 0)) {
            enum vcpu_next next = attend(c);

            if (next != GO_ON)
                return next;
        }
        if (unlikely(c->halted || c->wait_sipi || c->key & KEY_SINGLE)) {
            enum vcpu_next next = seldom(c);

            if (next != GO_ON)
                return next;
            continue;
        }
        b = next_block(c);
        if (!soft_jit_warm(c, b)) {
            soft_run_block(c, b);
            continue;
        }
        link_code(c, b);
        if (likely(!c->check))
            soft_jit_run(c, b);
        else if (!soft_check_run(c, b))
            return VCPU_FAILED;
    }
}

enum vcpu_next soft_run(struct vcpu *v)
{
    struct soft_cpu *c = v->engine_data;
    enum vcpu_next next;
    jmp_buf fault;

    c->fault = &fault;
    c->link = NULL;
    soft_pv_steal_skip(c);
    if (c->vm->icount)
        soft_request(c, REQ_TIMER); /* stop_insns may be new */
    atomic_store(&c->in_guest, true);
    soft_fpu_enter(c);
    soft_window_enter(c);
    if (_setjmp(fault))
        c->link = NULL;
    if (c->triple) {
        next = VCPU_TRIPLE_FAULT;
    } else {
        if (c->event.pending)
            deliver(c, c->event);
        next = loop(c);
    }
    if (next == VCPU_TRIPLE_FAULT)
        v->exits[SOFT_EXIT_SHUTDOWN]++;
    soft_fpu_park(c);
    atomic_store(&c->in_guest, false);
    c->fault = NULL;
    return next;
}

enum vcpu_next soft_run_test(struct soft_cpu *c, u32 max)
{
    jmp_buf fault;

    c->fault = &fault;
    c->link = NULL;
    c->in_delivery = false;
    atomic_store(&c->in_guest, true);
    soft_fpu_enter(c);
    if (_setjmp(fault)) {
        soft_fpu_park(c);
        atomic_store(&c->in_guest, false);
        return c->triple ? VCPU_TRIPLE_FAULT : VCPU_FAILED;
    }
    for (volatile u32 n = 0; n < max; n++) {
        if (atomic_load(&c->request) && attend(c) != GO_ON)
            break;
        if (c->halted)
            break;
        c->key |= KEY_SINGLE;
        single(c);
    }
    soft_fpu_park(c);
    atomic_store(&c->in_guest, false);
    return c->triple ? VCPU_TRIPLE_FAULT : VCPU_KICKED;
}

u64 soft_insns(const struct soft_cpu *c)
{
    return c->insns + (u64)(c->quantum - c->budget);
}
