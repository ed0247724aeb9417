/*
 * vm/gdb_packet.h: packets of gdb's remote protocol: "$data#checksum", bytes in between, hexadecimal numbers.
 * (GDB manual, appendix E "Remote Protocol", Overview)
 */
#pragma once

#include "base/base.h"

enum { GDB_PACKET_MAX = 16 * 1024 };

/* What a byte completed. */
enum gdb_token {
    GDB_NOTHING,
    GDB_PACKET,   /* r->data, r->len: its unescaped data; a NUL follows it */
    GDB_ACK,      /* + */
    GDB_NAK,      /* -: the last answer shall be sent again */
    GDB_BREAK,    /* ^C */
    GDB_GARBLED,  /* a packet with a wrong checksum */
    GDB_TOO_LONG, /* a packet of more than GDB_PACKET_MAX bytes */
};

struct gdb_reader {
    enum { GDB_OUTSIDE, GDB_DATA, GDB_ESCAPED, GDB_SUM_1, GDB_SUM_2 } at;
    u8 sum, wanted;
    bool bad; /* the checksum was not hexadecimal */
    size_t len;
    char data[GDB_PACKET_MAX + 1];
};

/* Zeroed is the beginning.  After a packet, its data stays until the next call. */
enum gdb_token gdb_packet_feed(struct gdb_reader *r, u8 byte);
/* Adds the packet of `data` to `out`. */
void gdb_packet_add(struct strbuf *out, const void *data, size_t len);

/* Value of a hexadecimal digit, or -1. */
int gdb_hex_digit(char c);
/* Adds the digits of `len` bytes. */
void gdb_hex_add(struct strbuf *out, const void *data, size_t len);
/* 2 × len digits at `text` into bytes; false: there are others, or fewer. */
bool gdb_hex_bytes(const char *text, u8 *ret, size_t len);
/* A number of 1 to 16 digits at *p, which is moved behind it. */
bool gdb_hex_number(const char **p, u64 *ret);
