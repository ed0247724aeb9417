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
void code_area_close(struct code_area *a);
