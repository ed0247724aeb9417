/*
 * base/err.c: error messages on the caller's stack.
 */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

__attribute__((format(printf, 4, 0))) static void
set_text(struct err *e, int code, const char *suffix, const char *fmt, va_list ap)
{
    int n = vsnprintf(e->text, sizeof(e->text), fmt, ap);

    e->code = code;
    e->field[0] = 0;
    if (suffix && n >= 0 && (size_t)n < sizeof(e->text))
        snprintf(e->text + n, sizeof(e->text) - (size_t)n, ": %s", suffix);
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
    va_list ap;

    must(code < 0);
    if (!e)
        return code;
    va_start(ap, fmt);
    set_text(e, code, NULL, fmt, ap);
    va_end(ap);
    return code;
}

int err_errno(struct err *e, const char *fmt, ...)
{
    int code = errno ? -errno : -EIO;
    va_list ap;

    if (!e)
        return code;
    va_start(ap, fmt);
    set_text(e, code, strerror(-code), fmt, ap);
    va_end(ap);
    return code;
}

int err_code(struct err *e, int code, const char *fmt, ...)
{
    va_list ap;

    must(code < 0);
    if (!e)
        return code;
    va_start(ap, fmt);
    set_text(e, code, strerror(-code), fmt, ap);
    va_end(ap);
    return code;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
    char old[sizeof(e->text)];
    va_list ap;

    if (!e || !e->code)
        return -EIO;
    memcpy(old, e->text, sizeof(old));
    va_start(ap, fmt);
    set_text(e, e->code, old, fmt, ap);
    va_end(ap);
    return e->code;
}

int err_field(struct err *e, const char *name)
{
    if (!e)
        return -EINVAL;
    if (!str_copy(e->field, sizeof(e->field), name))
        e->field[0] = 0;
    return e->code;
}
