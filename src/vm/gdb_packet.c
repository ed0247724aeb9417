/*
 * vm/gdb_packet.c: packets of gdb's remote protocol.
 */
#include "vm/gdb_packet.h"

#define ESCAPE 0x7d /* the next byte is meant XOR 0x20 */

int gdb_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void begin(struct gdb_reader *r)
{
    r->at = GDB_DATA;
    r->sum = 0;
    r->len = 0;
    r->bad = false;
}

static enum gdb_token outside(struct gdb_reader *r, u8 byte)
{
    switch (byte) {
    case '$':
        begin(r);
        return GDB_NOTHING;
    case '+':
        return GDB_ACK;
    case '-':
        return GDB_NAK;
    case 3:
        return GDB_BREAK;
    default:
        return GDB_NOTHING; /* noise between packets is to be skipped */
    }
}

static enum gdb_token take(struct gdb_reader *r, u8 byte)
{
    if (r->len == GDB_PACKET_MAX) {
        r->at = GDB_OUTSIDE;
        return GDB_TOO_LONG;
    }
    r->data[r->len++] = (char)byte;
    return GDB_NOTHING;
}

static enum gdb_token inside(struct gdb_reader *r, u8 byte)
{
    if (byte == '#') {
        r->at = GDB_SUM_1;
        return GDB_NOTHING;
    }
    if (byte == '$') { /* the rest of the former one was lost */
        begin(r);
        return GDB_NOTHING;
    }
    r->sum += byte;
    if (byte == ESCAPE) {
        r->at = GDB_ESCAPED;
        return GDB_NOTHING;
    }
    return take(r, byte);
}

static enum gdb_token checksum(struct gdb_reader *r, u8 byte)
{
    int digit = gdb_hex_digit((char)byte);

    r->bad |= digit < 0;
    r->wanted = (u8)(r->wanted << 4 | (digit & 15));
    if (r->at == GDB_SUM_1) {
        r->at = GDB_SUM_2;
        return GDB_NOTHING;
    }
    r->at = GDB_OUTSIDE;
    r->data[r->len] = 0;
    return r->bad || r->wanted != r->sum ? GDB_GARBLED : GDB_PACKET;
}

enum gdb_token gdb_packet_feed(struct gdb_reader *r, u8 byte)
{
    switch (r->at) {
    case GDB_OUTSIDE:
        return outside(r, byte);
    case GDB_DATA:
        return inside(r, byte);
    case GDB_ESCAPED:
        r->at = GDB_DATA;
        r->sum += byte;
        return take(r, byte ^ 0x20);
    case GDB_SUM_1:
    case GDB_SUM_2:
        break;
    }
    return checksum(r, byte);
}

void gdb_packet_add(struct strbuf *out, const void *data, size_t len)
{
    const u8 *p = data;
    u8 sum = 0;

    strbuf_add_mem(out, "$", 1);
    for (size_t i = 0; i < len; i++) {
        u8 two[2] = { ESCAPE, p[i] ^ 0x20 };
        bool special = p[i] == '#' || p[i] == '$' || p[i] == '*' || p[i] == ESCAPE;

        strbuf_add_mem(out, special ? two : p + i, special ? 2 : 1);
        sum = (u8)(sum + (special ? two[0] + two[1] : p[i]));
    }
    strbuf_add(out, "#%02x", sum);
}

void gdb_hex_add(struct strbuf *out, const void *data, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    const u8 *p = data;

    for (size_t i = 0; i < len; i++) {
        char two[2] = { digits[p[i] >> 4], digits[p[i] & 15] };

        strbuf_add_mem(out, two, 2);
    }
}

bool gdb_hex_bytes(const char *text, u8 *ret, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        int high = gdb_hex_digit(text[2 * i]);
        int low = high < 0 ? -1 : gdb_hex_digit(text[2 * i + 1]);

        if (low < 0)
            return false;
        ret[i] = (u8)(high << 4 | low);
    }
    return true;
}

bool gdb_hex_number(const char **p, u64 *ret)
{
    u64 v = 0;
    u32 n = 0;

    for (int digit; (digit = gdb_hex_digit(**p)) >= 0; (*p)++, n++) {
        if (n == 16)
            return false;
        v = v << 4 | (u64)digit;
    }
    if (!n)
        return false;
    *ret = v;
    return true;
}
