/*
 * vm/gdb_query.h: the stub's answers to what gdb asks and sets in general: packets "q…" and "Q…".
 */
#pragma once

#include "vm/gdb_internal.h"

void gdb_query(struct gdb *g, const char *packet, size_t len);
