/*
 * base/str.c: strings that are bounded, and numbers read from them.
 */
#include "base/str.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

bool str_copy(char *dst, size_t size, const char *src)
{
    size_t len = strlen(src);

    if (len >= size) {
        if (size)
            dst[0] = 0;
        return false;
    }
    memcpy(dst, src, len + 1);
    return true;
}

bool str_fmt(char *dst, size_t size, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(dst, size, fmt, ap);
    va_end(ap);
    return n >= 0 && (size_t)n < size;
}

bool str_starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

char *str_new(const char *fmt, ...)
{
    char *s = NULL;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vasprintf(&s, fmt, ap);
    va_end(ap);
    must(n >= 0);
    return s;
}

static int parse_u64(const char *s, const char **ret_end, u64 *ret)
{
    char *end;
    bool hex = s[0] == '0' && (s[1] == 'x' || s[1] == 'X');

    if (!isdigit((unsigned char)s[0]))
        return -EINVAL;
    errno = 0;
    *ret = strtoull(s, &end, hex ? 16 : 10);
    if (errno == ERANGE)
        return -ERANGE;
    *ret_end = end;
    return 0;
}

int str_u64(const char *s, u64 *ret)
{
    const char *end;
    u64 v;
    int r = parse_u64(s, &end, &v);

    if (r < 0)
        return r;
    if (*end)
        return -EINVAL;
    *ret = v;
    return 0;
}

int str_take_u64(const char **at, u64 *ret)
{
    const char *s = *at + strspn(*at, " \t");
    u64 v = 0;

    if (!isdigit((unsigned char)*s))
        return -EINVAL;
    for (; isdigit((unsigned char)*s); s++)
        if (!mul_ok(&v, v, 10ull) || !add_ok(&v, v, (u64)(*s - '0')))
            return -ERANGE;
    *at = s;
    *ret = v;
    return 0;
}

u32 str_take_u64s(const char *text, u64 *ret, u32 n)
{
    u32 k = 0;

    while (k < n && str_take_u64(&text, &ret[k]) == 0)
        k++;
    return k;
}

bool str_u64_after(const char *text, const char *word, u64 *ret)
{
    const char *at = strstr(text, word);

    *ret = 0;
    if (!at)
        return false;
    at += strlen(word);
    return str_take_u64(&at, ret) == 0;
}

int str_size(const char *s, u64 *ret)
{
    static const char units[] = "KkMmGgTt";
    const char *end, *unit;
    u64 v, scale = 1;
    int r = parse_u64(s, &end, &v);

    if (r < 0)
        return r;
    unit = *end ? strchr(units, *end) : NULL;
    if (unit) {
        scale = 1ull << (10 * ((unit - units) / 2 + 1));
        end++;
        end += strcmp(end, "iB") == 0 ? 2 : 0;
        end += strcmp(end, "B") == 0 ? 1 : 0;
    }
    if (*end)
        return -EINVAL;
    if (!mul_ok(&v, v, scale))
        return -ERANGE;
    *ret = v;
    return 0;
}

static void strbuf_room(struct strbuf *b, size_t more)
{
    size_t want = b->len + more + 1;

    if (want <= b->room)
        return;
    b->room = max(want, b->room * 2);
    b->text = realloc(b->text, b->room);
    must(b->text);
}

void strbuf_add_mem(struct strbuf *b, const void *p, size_t len)
{
    strbuf_room(b, len);
    if (len)
        memcpy(b->text + b->len, p, len);
    b->len += len;
    b->text[b->len] = 0;
}

void strbuf_add(struct strbuf *b, const char *fmt, ...)
{
    va_list ap, again;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    must(n >= 0);
    strbuf_room(b, (size_t)n);
    vsnprintf(b->text + b->len, (size_t)n + 1, fmt, again);
    b->len += (size_t)n;
    va_end(again);
    va_end(ap);
}

void strbuf_fini(struct strbuf *b)
{
    free(b->text);
    *b = (struct strbuf){};
}

void auto_strbuf(struct strbuf *b)
{
    strbuf_fini(b);
}
