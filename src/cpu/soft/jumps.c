/*
 * cpu/soft/jumps.c: how long a jump_entry is believed without a look at the TLB: while its stamp is the one in force.
 *   (1) User code's stamp is that of its TLB set: what was found in an address space is true when it comes back, until something is
 *       forgotten there.
 *   (2) A kernel's is one for all address spaces, as its code is in global pages: it lasts when CR3 changes, as their TLB entries
 *       do.  The first kernel code in a page that is not global makes stamps those of the sets, until the TLB forgets everything.
 *   (3) A page that INVLPG forgets holds data more often than code.  Each page with a jump's target has a mark, by a hash: where
 *       there is none, no jump leads.
 * Translated code does (3) and the comparison by itself: thunk `doubt` of jit/thunk.c.
 */
#include "cpu/soft/code.h"
#include "cpu/soft/soft_mem.h"

void soft_jumps_settle(struct soft_cpu *c)
{
    c->stamp_shared = !(c->key & KEY_USER) && !c->kernel_local;
    c->stamp = (c->stamp_shared ? c->kernel_stamp : c->set->stamp) << 16 | c->key;
}

void soft_jumps_doubt(struct soft_cpu *c)
{
    for (u32 i = 0; i < SOFT_TLB_SETS; i++)
        c->sets[i]->stamp = ++c->last_stamp;
    c->kernel_stamp = ++c->last_stamp;
    memset(c->jump_pages, 0, sizeof(c->jump_pages));
    soft_jumps_settle(c);
}

void soft_jumps_doubt_all_spaces(struct soft_cpu *c)
{
    c->kernel_local = false;
    soft_jumps_doubt(c);
}

void soft_jumps_doubt_set(struct soft_cpu *c, struct tlb_set *s)
{
    s->stamp = ++c->last_stamp;
}

void soft_jumps_doubt_page(struct soft_cpu *c, u64 lin)
{
    if (c->jump_pages[soft_jump_page(lin)])
        soft_jumps_doubt(c);
}

void soft_jump_stamp(struct soft_cpu *c, struct jump_entry *j, const struct tlb_entry *t)
{
    if (c->stamp_shared && !soft_tlb_is_global(c->set, t)) {
        c->kernel_local = true;
        soft_jumps_settle(c);
    }
    j->stamp = c->stamp;
    c->jump_pages[soft_jump_page(j->lin)] = 1;
}
