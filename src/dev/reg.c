/*
 * dev/reg.c: reads and writes of register banks by their rows.
 */
#include "dev/reg.h"

#include "dev/dev.h"

#define TRACE_DEF "dev/trace.def"
#include "base/trace_points.h"

/* The register that an access of `len` bytes at `off` lies in wholly; NULL when there is none. */
static const struct reg_def *reg_at(const struct reg_bank *b, u64 off, u32 len)
{
    u32 lo = 0, hi = b->n;
    const struct reg_def *r;

    while (lo < hi) { /* the first row that begins after `off` */
        u32 mid = (lo + hi) / 2;

        if (b->rows[mid].off <= off)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == 0)
        return NULL;
    r = &b->rows[lo - 1];
    return range_ok(off - r->off, len, r->size) ? r : NULL;
}

static u8 *reg_member(const struct reg_def *r, struct device *d)
{
    return (u8 *)d + r->at;
}

static u64 ones(u32 len)
{
    return len >= 8 ? ~0ull : (1ull << 8 * len) - 1;
}

u64 reg_read(const struct reg_bank *b, struct device *d, u64 off, u32 len)
{
    const struct reg_def *r = reg_at(b, off, len);
    u64 v;

    if (!r) {
        trace_reg_read_none(off, len);
        return 0;
    }
    v = r->peek ? r->peek(d) : le_load(reg_member(r, d), r->size);
    return v >> 8 * (off - r->off) & ones(len);
}

void reg_write(const struct reg_bank *b, struct device *d, u64 off, u32 len, u64 val)
{
    const struct reg_def *r = reg_at(b, off, len);
    u64 old, lanes, now;
    u32 shift;

    if (!r) {
        trace_reg_write_none(off, len, val);
        return;
    }
    shift = 8 * (u32)(off - r->off);
    lanes = ones(len) << shift; /* bytes of the register that are written */
    val = val << shift & lanes;
    old = le_load(reg_member(r, d), r->size);
    now = (old & ~(r->rw & lanes)) | (val & r->rw);
    le_store(reg_member(r, d), r->size, now & ~(val & r->w1c));
    if (r->wrote)
        r->wrote(d, old, val);
}

void reg_reset(const struct reg_bank *b, struct device *d)
{
    for (u32 i = 0; i < b->n; i++)
        le_store(reg_member(&b->rows[i], d), b->rows[i].size, b->rows[i].reset);
}
