/*
 * base/str.h: strings that are bounded, and numbers read from them.
 */
#pragma once

#include "base/base.h"

#include <stdarg.h>

/* Copies `src` with its NUL; false, and `dst` empty, when it does not fit. */
bool str_copy(char *dst, size_t size, const char *src);

/* printf into a fixed buffer; false when cut. */
bool str_fmt(char *dst, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

bool str_starts(const char *s, const char *prefix);

/* Owned printf result; never NULL. */
char *str_new(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A whole unsigned number in base 10 or, after 0x, 16.  0 or -EINVAL / -ERANGE. */
int str_u64(const char *s, u64 *ret);

/* The number in base 10 at *at, past spaces and tabs; *at is then behind it.  0; or -EINVAL / -ERANGE, and *at stays. */
int str_take_u64(const char **at, u64 *ret);
/* Up to `n` such numbers; how many there were. */
u32 str_take_u64s(const char *text, u64 *ret, u32 n);
/* The number behind the first `word` of a text; false: there is none, and *ret is 0. */
bool str_u64_after(const char *text, const char *word, u64 *ret);

/* As str_u64 with an optional suffix K, M, G or T (binary, optional "iB" or "B").  "1G" → 1073741824. */
int str_size(const char *s, u64 *ret);

/* Text that grows; fini frees.  Zeroed is empty. */
struct strbuf {
    char *text; /* NUL-terminated once anything was added; NULL before */
    size_t len, room;
};
void strbuf_add(struct strbuf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void strbuf_add_mem(struct strbuf *b, const void *p, size_t len);
void strbuf_fini(struct strbuf *b);
void auto_strbuf(struct strbuf *b);
