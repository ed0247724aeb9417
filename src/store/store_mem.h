/*
 * store/store_mem.h: a store in memory, for tests: the same promises as the file's but that it lasts.
 */
#pragma once

#include "store/store.h"

struct store *store_mem_new(void);
