/*
 * cpu/soft/cond.h: the sixteen conditions of Jcc, SETcc and CMOVcc over flags in LAHF;SETO form.
 */
#pragma once

#include "cpu/soft/soft.h"

/* X(name, expression over fl): in the order of the condition codes. */
#define CONDITIONS(X)                            \
    X(o, fl &FL_OF)                              \
    X(no, !(fl & FL_OF))                         \
    X(b, fl &FL_CF)                              \
    X(nb, !(fl & FL_CF))                         \
    X(z, fl &FL_ZF)                              \
    X(nz, !(fl & FL_ZF))                         \
    X(be, fl &(FL_CF | FL_ZF))                   \
    X(nbe, !(fl & (FL_CF | FL_ZF)))              \
    X(s, fl &FL_SF)                              \
    X(ns, !(fl & FL_SF))                         \
    X(p, fl &FL_PF)                              \
    X(np, !(fl & FL_PF))                         \
    X(l, (fl >> 15 ^ fl) & 1)                    \
    X(nl, !((fl >> 15 ^ fl) & 1))                \
    X(le, (fl & FL_ZF) || ((fl >> 15 ^ fl) & 1)) \
    X(nle, !(fl & FL_ZF) && !((fl >> 15 ^ fl) & 1))

#define COND_FUNCTION(name, expr)          \
    static inline bool cond_##name(u32 fl) \
    {                                      \
        return expr;                       \
    }
CONDITIONS(COND_FUNCTION)
