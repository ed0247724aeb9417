/*
 * mem/mem_file.h: guest RAM that begins as what files hold, for mem/mem.c only.
 */
#pragma once

#include "mem/mem.h"

#include <pthread.h>

/* Where such RAM still shows a file. */
struct mem_file {
    pthread_mutex_t lock; /* guards what follows: discards come from several threads */
    u64 *own; /* a bit for each page: memory of ours, no file behind it; NULL: not made */
    u32 cuts; /* mappings that discards have split */
};

/* Maps the layers over the `size` bytes at `host`, which are private memory.  Errors name the layer, 0 the lowest. */
int mem_file_map(struct mem_file *f, u8 *host, u64 size, const struct mem_layer *layers, u32 n,
                 struct err *e);
void mem_file_fini(struct mem_file *f);
/* [at, at + len), whole pages, reads as zeroes from now on.  0 or a negative errno. */
int mem_file_discard(struct mem_file *f, u8 *host, u64 at, u64 len);
