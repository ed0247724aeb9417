/*
 * base/alloc.h: heap memory and scope-end cleanup.
 * xnew and friends abort on failure and are for small sizes that we chose ourselves; a size that comes from a guest, an image
 * or a client goes through try_new with a stated limit.
 */
#pragma once

#include "base/base.h"

/* Zeroed memory for one, or `n`, of `type`; never NULL. */
#define xnew(type)      ((type *)alloc_x(1, sizeof(type)))
#define xnew_n(type, n) ((type *)alloc_x((n), sizeof(type)))

/* Zeroed memory for `n` of `type`; NULL when there is none, when n is 0, or when the bytes exceed `limit`. */
#define try_new(type, n, limit) ((type *)alloc_try((n), sizeof(type), (limit)))

void *alloc_x(size_t n, size_t size);
void *alloc_try(u64 n, size_t size, u64 limit);

/* Owned copies; never NULL. */
char *xdup(const char *s);
void *xdup_mem(const void *p, size_t len);

/*
 * AUTO(fd) int fd = -1; calls auto_fd(&fd) when the scope ends.  A folder adds its own types with AUTO_DEFINE below.
 * Ownership leaves such a variable by TAKE (pointers) or TAKE_FD only.
 */
#define AUTO(kind) __attribute__((cleanup(auto_##kind)))
#define TAKE(p)                      \
    ({                               \
        __typeof__(p) take_p_ = (p); \
        (p) = NULL;                  \
        take_p_;                     \
    })
#define TAKE_FD(fd)          \
    ({                       \
        int take_fd_ = (fd); \
        (fd) = -1;           \
        take_fd_;            \
    })

/* Makes AUTO(kind) free a `type` by `release`, which accepts NULL. */
#define AUTO_DEFINE(kind, type, release)    \
    static inline void auto_##kind(type *p) \
    {                                       \
        release(*p);                        \
    }

/* AUTO(free) char *p = ...; */
void auto_free(void *pointer_to_pointer);
