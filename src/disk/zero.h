/*
 * disk/zero.h: is memory all zeroes?  Private to disk/.
 */
#pragma once

#include "base/base.h"

/* `len` is a multiple of 512. */
bool is_zero(const void *p, size_t len);
