/*
 * state/state.c: save, load, compare and print of state lists.
 * Lists nest by SUB rows; their depth is what our own tables say, never what a stream says.
 */
#include "state/state.h"

#include <stdlib.h>

enum { FIELD_HEAD = 6, SECTION_HEAD = 12 };

static const char stream_magic[8] = "SOCLEST1";

static const u8 kind_size[] = {
    [STATE_U8] = 1, [STATE_U16] = 2, [STATE_U32] = 4, [STATE_U64] = 8, [STATE_BOOL] = 1,
};

static size_t elem_size(const struct state_field *f)
{
    return f->kind == STATE_SUB ? f->sub->size : kind_size[f->kind];
}

static void put_le(struct strbuf *out, size_t len, u64 v)
{
    u8 raw[8];

    le_store(raw, len, v);
    strbuf_add_mem(out, raw, len);
}

static void save_field(const struct state_field *f, const u8 *at, struct strbuf *out)
{
    for (u32 i = 0; i < f->count; i++, at += elem_size(f)) {
        struct strbuf sub = {};

        if (f->kind != STATE_SUB) {
            strbuf_add_mem(out, at, elem_size(f)); /* every host we run on is little-endian */
            continue;
        }
        state_save(f->sub, at, &sub);
        put_le(out, 4, sub.len);
        strbuf_add_mem(out, sub.text, sub.len);
        strbuf_fini(&sub);
    }
}

void state_save(const struct state_def *def, const void *obj, struct strbuf *out)
{
    for (const struct state_field *f = def->fields; f->kind; f++) {
        struct strbuf body = {};

        save_field(f, (const u8 *)obj + f->at, &body);
        put_le(out, 2, (u64)(f - def->fields) + 1);
        put_le(out, 4, body.len);
        strbuf_add_mem(out, body.text, body.len);
        strbuf_fini(&body);
    }
}

static int load_fields(const struct state_def *def, u8 *obj, u32 version, const u8 *p, size_t left,
                       struct err *e);

static int load_subs(const struct state_field *f, u8 *at, const u8 *p, size_t left, struct err *e)
{
    for (u32 i = 0; i < f->count; i++, at += f->sub->size) {
        size_t len = left >= 4 ? le_load(p, 4) : 0;
        int r;

        if (left < 4 || len > left - 4)
            return err_set(e, -EBADMSG, "field '%s' is cut short", f->name);
        r = load_fields(f->sub, at, f->sub->version, p + 4, len, e);
        if (r == 0 && f->sub->after_load)
            r = f->sub->after_load(at, e);
        if (r < 0)
            return err_wrap(e, "%s[%u]", f->name, i);
        p += 4 + len;
        left -= 4 + len;
    }
    if (left)
        return err_set(e, -EBADMSG, "field '%s' has %zu bytes too many", f->name, left);
    return 0;
}

static int load_field(const struct state_field *f, u8 *at, const u8 *p, size_t len, struct err *e)
{
    if (f->kind == STATE_SUB)
        return load_subs(f, at, p, len, e);
    if (len != f->count * elem_size(f))
        return err_set(e, -EBADMSG, "field '%s' has %zu bytes, not %zu", f->name, len,
                       f->count * elem_size(f));
    for (size_t i = 0; f->kind == STATE_BOOL && i < len; i++)
        if (p[i] > 1)
            return err_set(e, -EBADMSG, "field '%s' is a bool of value %u", f->name, p[i]);
    memcpy(at, p, len);
    return 0;
}

static void fill_default(const struct state_field *f, u8 *at)
{
    for (u32 i = 0; f->kind != STATE_SUB && i < f->count; i++)
        le_store(at + i * elem_size(f), elem_size(f), f->dflt);
}

static int load_fields(const struct state_def *def, u8 *obj, u32 version, const u8 *p, size_t left,
                       struct err *e)
{
    for (const struct state_field *f = def->fields; f->kind; f++) {
        size_t tag = (size_t)(f - def->fields) + 1, len;
        int r;

        if (f->since > version) {
            fill_default(f, obj + f->at);
            continue;
        }
        if (left < FIELD_HEAD)
            return err_set(e, -EBADMSG, "field '%s' is missing", f->name);
        len = le_load(p + 2, 4);
        if (le_load(p, 2) != tag || len > left - FIELD_HEAD)
            return err_set(e, -EBADMSG, "field '%s': tag %llu of %zu bytes stands there", f->name,
                           le_load(p, 2), len);
        r = load_field(f, obj + f->at, p + FIELD_HEAD, len, e);
        if (r < 0)
            return r;
        p += FIELD_HEAD + len;
        left -= FIELD_HEAD + len;
    }
    if (left)
        return err_set(e, -EBADMSG, "%zu bytes after the last field", left);
    return 0;
}

int state_load(const struct state_def *def, void *obj, u32 version, const void *data, size_t len,
               struct err *e)
{
    AUTO(free) u8 *copy = NULL;
    int r;

    if (version == 0 || version > def->version)
        return err_set(e, -EBADMSG, "%s: version %u, known are 1 to %u", def->name, version,
                       def->version);
    copy = xdup_mem(obj, def->size);
    r = load_fields(def, copy, version, data, len, e);
    if (r < 0)
        return err_wrap(e, "%s", def->name);
    memcpy(obj, copy, def->size);
    r = def->after_load ? def->after_load(obj, e) : 0;
    return r < 0 ? err_wrap(e, "%s", def->name) : 0;
}

static void print_elem(const struct state_field *f, const u8 *at, struct strbuf *out)
{
    u64 val;

    if (f->kind == STATE_SUB) {
        state_print(f->sub, at, out);
        return;
    }
    val = le_load(at, elem_size(f));
    if (f->kind == STATE_BOOL)
        strbuf_add(out, val ? "true" : "false");
    else
        strbuf_add(out, val > INT64_MAX ? "\"0x%llx\"" : "%llu", val);
}

static void print_field(const struct state_field *f, const u8 *at, struct strbuf *out)
{
    strbuf_add(out, "\"%s\": ", f->name);
    if (f->kind == STATE_U8 && f->count > 1) {
        strbuf_add(out, "\"");
        for (u32 i = 0; i < f->count; i++)
            strbuf_add(out, "%02x", at[i]);
        strbuf_add(out, "\"");
        return;
    }
    if (f->count != 1)
        strbuf_add(out, "[");
    for (u32 i = 0; i < f->count; i++) {
        strbuf_add(out, i ? ", " : "");
        print_elem(f, at + i * elem_size(f), out);
    }
    if (f->count != 1)
        strbuf_add(out, "]");
}

void state_print(const struct state_def *def, const void *obj, struct strbuf *out)
{
    strbuf_add(out, "{");
    for (const struct state_field *f = def->fields; f->kind; f++) {
        strbuf_add(out, f == def->fields ? "" : ", ");
        print_field(f, (const u8 *)obj + f->at, out);
    }
    strbuf_add(out, "}");
}

static int compare_field(const struct state_field *f, const u8 *a, const u8 *b, struct strbuf *out)
{
    struct strbuf was = {}, now = {};

    if (f->kind == STATE_SUB) {
        int n = 0;

        for (u32 i = 0; i < f->count; i++)
            n += state_compare(f->sub, a + i * f->sub->size, b + i * f->sub->size, out);
        return n;
    }
    if (memcmp(a, b, f->count * elem_size(f)) == 0)
        return 0;
    if (out) {
        print_field(f, a, &was);
        print_field(f, b, &now);
        strbuf_add(out, "%s -> %s\n", was.text, now.text);
        strbuf_fini(&was);
        strbuf_fini(&now);
    }
    return 1;
}

int state_compare(const struct state_def *def, const void *a, const void *b, struct strbuf *out)
{
    int n = 0;

    for (const struct state_field *f = def->fields; f->kind; f++)
        n += compare_field(f, (const u8 *)a + f->at, (const u8 *)b + f->at, out);
    return n;
}

void state_schema(const struct state_def *def, struct strbuf *out)
{
    static const char *const names[] = { "", "u8", "u16", "u32", "u64", "bool", "" };

    strbuf_add(out, "%s version %u\n", def->name, def->version);
    for (const struct state_field *f = def->fields; f->kind; f++)
        strbuf_add(out, "    %td %s %s[%u] since %u: %s\n", f - def->fields + 1, f->name,
                   f->kind == STATE_SUB ? f->sub->name : names[f->kind], f->count,
                   f->since ? f->since : 1, f->doc);
}

void state_stream_begin(struct strbuf *out)
{
    strbuf_add_mem(out, stream_magic, sizeof(stream_magic));
}

static void put_section(struct strbuf *out, const char *name, const char *instance, u32 version,
                        const struct strbuf *body)
{
    put_le(out, 2, strlen(name));
    put_le(out, 2, strlen(instance));
    put_le(out, 4, version);
    put_le(out, 4, body->len);
    strbuf_add_mem(out, name, strlen(name));
    strbuf_add_mem(out, instance, strlen(instance));
    strbuf_add_mem(out, body->text, body->len);
}

void state_stream_put(struct strbuf *out, const char *instance, const struct state_def *def,
                      const void *obj)
{
    struct strbuf body = {};

    state_save(def, obj, &body);
    put_section(out, def->name, instance, def->version, &body);
    strbuf_fini(&body);
}

void state_stream_end(struct strbuf *out)
{
    put_section(out, "", "", 0, &(struct strbuf){});
}

int state_reader_init(struct state_reader *r, const void *data, size_t len, struct err *e)
{
    if (len < sizeof(stream_magic) || memcmp(data, stream_magic, sizeof(stream_magic)) != 0)
        return err_set(e, -EBADMSG, "not a Socle state stream of version 1");
    *r = (struct state_reader){ (const u8 *)data + sizeof(stream_magic),
                                len - sizeof(stream_magic) };
    return 0;
}

static bool take_name(struct state_reader *r, char *dst, size_t room, size_t len)
{
    if (len >= room || len > r->left || memchr(r->p, 0, len))
        return false;
    memcpy(dst, r->p, len);
    dst[len] = 0;
    r->p += len;
    r->left -= len;
    return true;
}

int state_reader_next(struct state_reader *r, struct state_section *ret, struct err *e)
{
    size_t name_len, instance_len;

    if (r->left < SECTION_HEAD)
        return err_set(e, -EBADMSG, "the state stream ends in a section's head");
    name_len = le_load(r->p, 2);
    instance_len = le_load(r->p + 2, 2);
    *ret = (struct state_section){ .version = (u32)le_load(r->p + 4, 4),
                                   .len = (u32)le_load(r->p + 8, 4) };
    r->p += SECTION_HEAD;
    r->left -= SECTION_HEAD;
    if (!take_name(r, ret->name, sizeof(ret->name), name_len) ||
        !take_name(r, ret->instance, sizeof(ret->instance), instance_len))
        return err_set(e, -EBADMSG, "a section's name of %zu and %zu bytes", name_len,
                       instance_len);
    if (ret->len > r->left)
        return err_set(e, -EBADMSG, "section '%s' of %u bytes, %zu are left", ret->name, ret->len,
                       r->left);
    ret->body = r->p;
    r->p += ret->len;
    r->left -= ret->len;
    if (ret->name[0])
        return 1;
    return r->left || ret->len
               ? err_set(e, -EBADMSG, "%zu bytes after the last section", r->left + ret->len)
               : 0;
}
