/*
 * conf/conf_value.c: one value of a field: where it lies, what it may be, and the message when it is not.
 */
#include "conf/conf_value.h"

#include <stdlib.h>

unsigned conf_count(const struct field *fields)
{
    unsigned n = 0;

    while (fields[n].name)
        n++;
    must(n <= CONF_FIELDS_MAX);
    return n;
}

u64 conf_get(const struct field *f, const void *obj)
{
    u64 v = le_load((const u8 *)obj + f->at, f->size);

    if (f->is_signed && f->size == sizeof(s32))
        return (u64)(s64)(s32)v;
    return v;
}

void conf_put(const struct field *f, void *obj, u64 v)
{
    le_store((u8 *)obj + f->at, f->size, v);
}

void *conf_member(const struct field *f, void *obj)
{
    return (u8 *)obj + f->at;
}

u64 conf_int_max(const struct field *f)
{
    unsigned bits = 8 * f->size - f->is_signed; /* a signed field has 4 or 8 bytes */
    u64 type_max = bits >= 64 ? ~0ull : (1ull << bits) - 1;

    return f->max ? f->max : type_max;
}

void conf_int_text(const struct field *f, u64 v, char buf[24])
{
    static const char units[] = "TGMK";

    if (f->is_signed) {
        str_fmt(buf, 24, "%lld", (s64)v);
        return;
    }
    for (unsigned i = 0; f->bytes && v && i < sizeof(units) - 1; i++) {
        unsigned shift = 10 * (4 - i);

        if (v % (1ull << shift))
            continue;
        str_fmt(buf, 24, "%llu%c", v >> shift, units[i]);
        return;
    }
    str_fmt(buf, 24, "%llu", v);
}

/* The least value that the field takes. */
static u64 int_min(const struct field *f)
{
    if (!f->is_signed || f->min)
        return f->min;
    return f->size == sizeof(s32) ? (u64)(s64)INT32_MIN : (u64)INT64_MIN;
}

/* `found` is the value as it was written. */
static int out_of_range(const struct field *f, const char *found, struct err *e)
{
    char low[24], high[24];

    conf_int_text(f, int_min(f), low);
    conf_int_text(f, conf_int_max(f), high);
    return err_set(e, -EINVAL, "'%s' is %.40s; %s to %s is allowed", f->name, found, low, high);
}

bool conf_in_range(const struct field *f, u64 v)
{
    const u64 flip = f->is_signed ? 1ull << 63 : 0; /* so that signed ones compare as unsigned */

    return (v ^ flip) >= (int_min(f) ^ flip) && (v ^ flip) <= (conf_int_max(f) ^ flip);
}

int conf_put_int(const struct field *f, void *obj, u64 v, struct err *e)
{
    char found[24];

    if (!conf_in_range(f, v)) {
        conf_int_text(f, v, found);
        return out_of_range(f, found, e);
    }
    conf_put(f, obj, v);
    return 0;
}

int conf_put_int_text(const struct field *f, void *obj, const char *text, struct err *e)
{
    bool negative = f->is_signed && text[0] == '-';
    u64 v;
    int r = f->bytes ? str_size(text + negative, &v) : str_u64(text + negative, &v);

    if (f->is_signed && r == 0 && v > (u64)INT64_MAX + negative)
        return out_of_range(f, text, e);
    if (negative && r == 0)
        return conf_put_int(f, obj, 0 - v, e);
    if (r == -ERANGE || (text[0] == '-' && text[1] >= '0' && text[1] <= '9'))
        return out_of_range(f, text, e);
    if (r < 0)
        return err_set(e, -EINVAL, "'%s' is '%.40s'; a whole number%s is expected", f->name, text,
                       f->bytes ? " of bytes (or with K, M, G, T)" : "");
    return conf_put_int(f, obj, v, e);
}

int conf_put_str(const struct field *f, void *obj, const char *s, size_t len, struct err *e)
{
    char **at = conf_member(f, obj);
    json_t *utf8;
    char *copy;

    if (len > CONF_STR_MAX)
        return err_set(e, -EINVAL, "'%s' has %zu bytes; at most %d are allowed", f->name, len,
                       CONF_STR_MAX);
    if (memchr(s, 0, len))
        return err_set(e, -EINVAL, "'%s' has a zero byte in it", f->name);
    /* What cannot be printed as JSON again must not come in. */
    utf8 = json_stringn(s, len);
    if (!utf8)
        return err_set(e, -EINVAL, "'%s' is not UTF-8 text", f->name);
    json_decref(utf8);
    copy = try_new(char, len + 1, CONF_STR_MAX + 1);
    if (!copy)
        return err_set(e, -ENOMEM, "'%s': no memory for %zu bytes", f->name, len);
    memcpy(copy, s, len);
    if (f->ok && !f->ok(copy)) {
        err_set(e, -EINVAL, "'%s' is '%.80s'; %s is expected", f->name, copy,
                f->want ? f->want : f->doc);
        free(copy);
        return -EINVAL;
    }
    free(*at);
    *at = copy;
    return 0;
}

int conf_put_word(const struct field *f, void *obj, const char *word, struct err *e)
{
    AUTO(strbuf) struct strbuf all = {};

    for (unsigned i = 0; f->words[i]; i++) {
        if (strcmp(word, f->words[i]) == 0) {
            conf_put(f, obj, i);
            return 0;
        }
        strbuf_add(&all, "%s%s", i ? ", " : "", f->words[i]);
    }
    return err_set(e, -EINVAL, "'%s' is '%.40s'; allowed: %s", f->name, word, all.text);
}
