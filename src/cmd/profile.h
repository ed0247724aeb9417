/*
 * cmd/profile.h: shows what `ctl SOCKET profile` found, by function when the guest kernel's symbols are at hand.
 */
#pragma once

#include "base/base.h"

#include <jansson.h>

struct symbol {
    u64 at;
    const char *name; /* in symbols.text */
};

/* Functions, ascending. */
struct symbols {
    char *text;
    struct symbol *rows;
    size_t n;
};

/* Reads System.map or /proc/kallsyms: "address type name" a line.  -EINVAL with `e` when it has no functions. */
int symbols_load(struct symbols *ret, const char *path, struct err *e);
/* The same from text, which is copied. */
int symbols_parse(struct symbols *ret, const char *text, size_t len, struct err *e);
void symbols_fini(struct symbols *s);
/* The function that `at` is in, or NULL. */
const struct symbol *symbols_find(const struct symbols *s, u64 at);

/* The histogram.  Without symbols (n == 0), by page. */
void profile_print(const json_t *result, const struct symbols *s, struct strbuf *out);
