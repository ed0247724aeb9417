/*
 * fw/aml.c: a writer of ACPI machine language.  (ACPI 6.4, chapter 20 for terms, 6.4 for resource descriptors)
 */
#include "fw/aml.h"

/* clang-format off */
enum op {
    OP_NAME = 0x08, OP_BYTE = 0x0a, OP_WORD = 0x0b, OP_DWORD = 0x0c, OP_STRING = 0x0d, OP_QWORD = 0x0e, OP_SCOPE = 0x10,
    OP_BUFFER = 0x11, OP_PACKAGE = 0x12, OP_METHOD = 0x14, OP_DUAL = 0x2e, OP_MULTI = 0x2f, OP_EXT = 0x5b, OP_LOCAL0 = 0x60,
    OP_STORE = 0x70, OP_AND = 0x7b, OP_NOTIFY = 0x86, OP_IF = 0xa0,
    EXT_REGION = 0x80, EXT_FIELD = 0x81, EXT_DEVICE = 0x82,
};

enum res {
    RES_IO = 0x47, RES_END = 0x79, RES_MEM32 = 0x86, RES_DWORD = 0x87, RES_WORD = 0x88, RES_IRQ = 0x89, RES_QWORD = 0x8a,
};
/* clang-format on */

enum { SEGS_MAX = 8 };

void aml_init(struct aml *a, void *buf, size_t room)
{
    *a = (struct aml){ .buf = buf, .room = room };
}

static void put(struct aml *a, const void *p, size_t len)
{
    if (a->bad || len > a->room - a->len) {
        a->bad = true;
        return;
    }
    memcpy(a->buf + a->len, p, len);
    a->len += len;
}

static void put_int(struct aml *a, u64 v, size_t len)
{
    le64 raw = le64_of(v);

    put(a, &raw, len);
}

void aml_byte(struct aml *a, u8 v)
{
    put(a, &v, 1);
}

/* ---- names and values ---- */

void aml_path(struct aml *a, const char *path)
{
    char segs[SEGS_MAX][4];
    unsigned n = 0;

    if (*path == '\\') {
        aml_byte(a, '\\');
        path++;
    }
    while (*path && n < SEGS_MAX) {
        size_t len = strcspn(path, ".");

        must(len > 0 && len <= 4);
        memset(segs[n], '_', 4);
        memcpy(segs[n++], path, len);
        path += len + (path[len] == '.');
    }
    must(n > 0 && *path == '\0');
    if (n == 2)
        aml_byte(a, OP_DUAL);
    if (n > 2) {
        aml_byte(a, OP_MULTI);
        aml_byte(a, (u8)n);
    }
    put(a, segs, 4 * (size_t)n);
}

void aml_int(struct aml *a, u64 v)
{
    static const struct {
        u64 max;
        u8 op, len;
    } rows[] = { { 0xff, OP_BYTE, 1 },
                 { 0xffff, OP_WORD, 2 },
                 { 0xffffffff, OP_DWORD, 4 },
                 { ~0ull, OP_QWORD, 8 } };
    unsigned i = 0;

    if (v <= 1) { /* ZeroOp and OneOp are their values */
        aml_byte(a, (u8)v);
        return;
    }
    while (v > rows[i].max)
        i++;
    aml_byte(a, rows[i].op);
    put_int(a, v, rows[i].len);
}

void aml_string(struct aml *a, const char *s)
{
    aml_byte(a, OP_STRING);
    put(a, s, strlen(s) + 1);
}

/* The low 4 bits of an upper-case hex digit; base/ reads numbers only from whole strings. */
static u32 hex(char c)
{
    return (u32)(c <= '9' ? c - '0' : c - 'A' + 10);
}

/* Three letters of 5 bits, four hex digits, big-endian. */
void aml_eisaid(struct aml *a, const char *id)
{
    u32 v = 0;

    must(strlen(id) == 7);
    for (unsigned i = 0; i < 3; i++)
        v = v << 5 | (u32)(id[i] - '@');
    for (unsigned i = 3; i < 7; i++)
        v = v << 4 | hex(id[i]);
    aml_byte(a, OP_DWORD);
    be32 raw = be32_of(v);
    put(a, &raw, sizeof(raw));
}

void aml_name(struct aml *a, const char *name)
{
    aml_byte(a, OP_NAME);
    aml_path(a, name);
}

void aml_name_int(struct aml *a, const char *name, u64 v)
{
    aml_name(a, name);
    aml_int(a, v);
}

void aml_region_io(struct aml *a, const char *name, u16 port, u8 len)
{
    aml_byte(a, OP_EXT);
    aml_byte(a, EXT_REGION);
    aml_path(a, name);
    aml_byte(a, 1); /* SystemIO */
    aml_int(a, port);
    aml_int(a, len);
}

void aml_notify(struct aml *a, const char *path, u8 v)
{
    aml_byte(a, OP_NOTIFY);
    aml_path(a, path);
    aml_int(a, v);
}

void aml_store_local0(struct aml *a, const char *from)
{
    aml_byte(a, OP_STORE);
    aml_path(a, from);
    aml_byte(a, OP_LOCAL0);
}

/* ---- what has an inside ---- */

static void open_here(struct aml *a, bool is_res)
{
    if (a->depth == AML_DEPTH_MAX) {
        a->bad = true;
        return;
    }
    a->open[a->depth].at = a->len;
    a->open[a->depth++].is_res = is_res;
}

/* PkgLength (20.2.4) counts itself; its first byte says how many follow. */
static size_t encode_length(size_t inside, u8 out[4])
{
    size_t more = 0, total = inside + 1;

    while (more < 3 &&
           total > (more ? (size_t)0xf << (8 * more) | ((1u << (8 * more)) - 1) : 0x3f)) {
        more++;
        total = inside + 1 + more;
    }
    if (more == 0) {
        out[0] = (u8)total;
        return 1;
    }
    out[0] = (u8)(more << 6 | (total & 0xf));
    for (size_t i = 1; i <= more; i++)
        out[i] = (u8)(total >> (8 * i - 4));
    return 1 + more;
}

void aml_close(struct aml *a)
{
    u8 length[4];
    size_t at, n, inside;

    if (a->bad)
        return;
    must(a->depth > 0);
    at = a->open[--a->depth].at;
    if (a->open[a->depth].is_res) {
        put(a, (u8[]){ RES_END, 0 }, 2); /* checksum 0: not used */
        if (a->bad)
            return;
        le_store(a->buf + at + 1, 2, a->len - at - 3);
    }
    inside = a->len - at;
    n = encode_length(inside, length);
    put(a, length, n); /* takes the room */
    if (a->bad)
        return;
    memmove(a->buf + at + n, a->buf + at, inside);
    memcpy(a->buf + at, length, n);
}

void aml_scope(struct aml *a, const char *path)
{
    aml_byte(a, OP_SCOPE);
    open_here(a, false);
    aml_path(a, path);
}

void aml_device(struct aml *a, const char *name)
{
    aml_byte(a, OP_EXT);
    aml_byte(a, EXT_DEVICE);
    open_here(a, false);
    aml_path(a, name);
}

void aml_method(struct aml *a, const char *name, u8 n_args, bool serialized)
{
    aml_byte(a, OP_METHOD);
    open_here(a, false);
    aml_path(a, name);
    aml_byte(a, (u8)(n_args | (serialized ? 8 : 0)));
}

void aml_package(struct aml *a, u8 n)
{
    aml_byte(a, OP_PACKAGE);
    open_here(a, false);
    aml_byte(a, n);
}

void aml_field_dword(struct aml *a, const char *region, const char *field)
{
    aml_byte(a, OP_EXT);
    aml_byte(a, EXT_FIELD);
    open_here(a, false);
    aml_path(a, region);
    aml_byte(a, 0x43); /* DWordAcc, NoLock, WriteAsZeros */
    aml_path(a, field);
    aml_byte(a, 32); /* bits, as a PkgLength */
    aml_close(a);
}

void aml_if_local0_and(struct aml *a, u32 mask)
{
    aml_byte(a, OP_IF);
    open_here(a, false);
    aml_byte(a, OP_AND);
    aml_byte(a, OP_LOCAL0);
    aml_int(a, mask);
    aml_byte(a, 0); /* no target */
}

/* ---- resources ---- */

void aml_res(struct aml *a)
{
    aml_byte(a, OP_BUFFER);
    open_here(a, true);
    aml_byte(a, OP_WORD);
    put_int(a, 0, 2); /* the buffer's size: aml_close knows it */
}

void aml_res_io(struct aml *a, u16 port, u8 len)
{
    aml_byte(a, RES_IO);
    aml_byte(a, 1); /* decodes 16 bits */
    put_int(a, port, 2);
    put_int(a, port, 2);
    aml_byte(a, 1); /* alignment */
    aml_byte(a, len);
}

void aml_res_irq(struct aml *a, u32 gsi)
{
    aml_byte(a, RES_IRQ);
    put_int(a, 6, 2);
    aml_byte(a, 0x3); /* consumer, edge, active high, exclusive */
    aml_byte(a, 1);
    put_int(a, gsi, 4);
}

void aml_res_mem32(struct aml *a, u32 base, u32 len)
{
    aml_byte(a, RES_MEM32);
    put_int(a, 9, 2);
    aml_byte(a, 0); /* read-only: nobody allocates from it */
    put_int(a, base, 4);
    put_int(a, len, 4);
}

/* An address space descriptor (6.4.3.5) with fields of `width` bytes: a range that is fixed at both ends. */
static void window(struct aml *a, enum res op, u8 kind, u8 kind_flags, u64 base, u64 len)
{
    size_t width = op == RES_QWORD ? 8 : op == RES_DWORD ? 4 : 2;

    aml_byte(a, (u8)op);
    put_int(a, 3 + 5 * width, 2);
    aml_byte(a, kind);
    aml_byte(a, 0x0c); /* minimum and maximum fixed, positive decode, producer */
    aml_byte(a, kind_flags);
    put_int(a, 0, width); /* granularity */
    put_int(a, base, width);
    put_int(a, base + len - 1, width);
    put_int(a, 0, width); /* translation */
    put_int(a, len, width);
}

void aml_res_bus(struct aml *a, u16 first, u16 last)
{
    window(a, RES_WORD, 2, 0, first, (u64)last - first + 1);
}

void aml_res_window_io(struct aml *a, u16 base, u64 len)
{
    window(a, RES_WORD, 1, 3, base, len); /* the whole range, not only ISA's */
}

void aml_res_window_mem32(struct aml *a, u32 base, u64 len)
{
    window(a, RES_DWORD, 0, 1, base, len); /* read-write, not cacheable */
}

void aml_res_window_mem64(struct aml *a, u64 base, u64 len)
{
    window(a, RES_QWORD, 0, 1, base, len);
}
