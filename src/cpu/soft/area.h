/*
 * cpu/soft/area.h: memory for code that we write ourselves: written through one mapping, run through another, so that no page is
 * ever both.
 */
#pragma once

#include "base/base.h"

struct code_area {
    u8 *write_at, *run_at; /* of the same bytes */
    size_t size;
};

/* On failure nothing is left mapped. */
int code_area_open(struct code_area *a, size_t size, struct err *e);
/* Code was written up to `to`, from `from` on since the last time: what large pages are full become such, if the host can, so that few
 * entries of the CPU's TLB reach a lot of code. */
void code_area_filled(struct code_area *a, size_t from, size_t to);
void code_area_close(struct code_area *a);
