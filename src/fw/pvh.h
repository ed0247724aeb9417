/*
 * fw/pvh.h: the PVH start info, by which a kernel with a PVH entry is told about its machine.
 */
#pragma once

#include "fw/entry.h"

/* Writes start info, memory map, module list and command line at LAYOUT_INFO, whose address goes into EBX. */
int pvh_write(const struct entry_args *a, struct err *e);
