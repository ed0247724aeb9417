/*
 * base/alloc.c: heap memory that is zeroed, and bounded or never NULL.
 */
#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>

static _Noreturn void alloc_failed(size_t bytes)
{
    fprintf(stderr, "socle: out of memory: %zu bytes\n", bytes);
    abort();
}

void *alloc_x(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size);

    if (!p)
        alloc_failed(n * size);
    return p;
}

void *alloc_try(u64 n, size_t size, u64 limit)
{
    u64 bytes;

    if (n == 0 || !mul_ok(&bytes, n, size) || bytes > limit)
        return NULL;
    return calloc(n, size);
}

char *xdup(const char *s)
{
    return xdup_mem(s, strlen(s) + 1);
}

void *xdup_mem(const void *p, size_t len)
{
    void *copy = alloc_x(1, len ? len : 1);

    if (len)
        memcpy(copy, p, len);
    return copy;
}

void auto_free(void *pointer_to_pointer)
{
    void *p;

    memcpy(&p, pointer_to_pointer, sizeof(p));
    free(p);
}
