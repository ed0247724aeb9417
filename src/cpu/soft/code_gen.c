/*
 * cpu/soft/code_gen.c: bytes for code_run.c: known instructions with random operands, whole idioms, and noise.
 */
#include "cpu/soft/code_run.h"

/* Hexadecimal bytes; ".." is any byte, ",," one of -32 … 31 (a short jump), "rr" a ModRM byte that names memory or registers. */
/* clang-format off */
static const char *const idioms[] = {
    /* arithmetic and moves */
    "01rr", "03rr", "11rr", "29rr", "2brr", "31rr", "39rr", "85rr", "87rr", "89rr", "8brr",
    "8drr", "88rr", "8arr", "83rr..", "80rr..", "81rr........", "c1rr..", "d1rr", "d3rr",
    "f7rr", "f6rr", "ffrr", "ferr", "c7rr........", "c6rr..", "b8........", "b0..", "40", "48",
    "50", "58", "60", "61", "68........", "6a..", "98", "99", "9c", "9d", "9e", "9f", "f5",
    "f8", "f9", "fc", "fd", "0fafrr", "0fb6rr", "0fbfrr", "0fa3rr", "0fabrr", "0fbarr..",
    "0fbcrr", "0fbdrr", "0fc8", "0fa4rr..", "0f4.rr", "0f9.rr", "0fb1rr", "0fc1rr", "0fc7rr",
    "f00fb1rr", "f001rr", "f00fc7rr", "0fa2", "37", "d4..", "d5..", "d7",
    /* jumps */
    "eb,,", "74,,", "75,,", "72,,", "e2,,", "e3,,", "e0,,", "e9,,ffffff", "e8,,000000",
    "e8,,ffffff", "c3", "cb", "c2..00", "c8..00..", "c9", "0f84,,ffffff", "0f85,,000000",
    "ffe0", "ffd3", "ff24rr", "ea........0800", "9a........0800", "ea............", "cf",
    /* loops over memory, and without it */
    "b9..00000003064883c6044883e90175f4", "b9..00000088074883c7..4883e90175f4",
    "b9..0000000f10060f58c00f11074883c6104883c7104883e90175e7", "b9..00000001c30fc883e90175f7",
    "b9..0000004885c94801044e4883c6f848ffc94839d175ed",
    /* strings */
    "f3a4", "f3a5", "f3aa", "f3ab", "a4", "a5", "aa", "ab", "ac", "ad", "a6", "f3a6", "f2ae",
    "f3af", "f3ac", "6c", "f36d", "6e", "f36f",
    /* self-modifying: a store next to where it stands */
    "c605..,,000000", "c705,,000000........", "8805,,ffffff", "8905,,000000", "fe05,,ffffff",
    "882e..00", "c606....,,", "890e....", "e800000000598841,,", "e80000000058fe40,,",
    "e80000000058ff40,,", "e8000058fe44,,", "66c7010f0b",
    /* the system side */
    "0f20..", "0f22..", "0f22c0", "0f22d8", "0f22e0", "0f21..", "0f23..", "0f01rr", "0f01d0",
    "0f01d1", "0f01f8", "0f01f9", "0f01ca", "0f01cb", "0f01ee", "0f01ef", "0f00rr", "0f02rr",
    "0f03rr", "0f05", "0f07", "0f34", "0f35", "0f30", "0f32", "b9800000c00f32",
    "b9800000c00f30", "b91000000f30", "0f31", "0f33", "0f06", "0f08", "0f09", "f4", "fa", "fb",
    "fb90", "8ed0", "8ed0bc00800000", "8ed8", "8ec0", "8ee0", "8ee8", "0fa0", "0fa1", "0fa8",
    "0fa9", "06", "07", "0e", "16", "17", "1e", "1f", "c4rr", "c5rr", "0fb2rr", "0fb4rr", "cc",
    "cd..", "ce", "f1", "cd80", "62rr", "63rr", "e4..", "e6..", "ec", "ee", "ed", "ef", "e661",
    "b036e643", "b0ffe640e640", "0f0b", "0fb9rr", "d6", "f30faerr", "0faerr", "0fc7rr",
    "0f18rr", "0f0drr", "f390", "660f3882rr", "9dfb", "6a029d", "68020100009d",
    /* the local APIC, where code_run.c maps it */
    "c70425f00020000f010000", "c705f00020000f010000", "c704252003200040000200",
    "c7058003200000020000", "c704258003200000010000", "c70425b000200000000000",
    "8b042520002000", "a180032000",
    /* floating point and vectors */
    "d8rr", "d9rr", "darr", "dbrr", "dcrr", "ddrr", "derr", "dfrr", "9b", "dbe3", "0f..rr",
    "660f..rr", "f20f..rr", "f30f..rr", "660f38..rr", "660f3a..rr..", "c5f8..rr", "c5fd..rr",
    "c4e2..,,rr", "c4e1f9..rr", "0f77", "c5f877",
};
/* clang-format on */

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static u8 modrm(u64 *s)
{
    u8 m = (u8)code_rand(s);

    return code_below(s, 3) ? (u8)((m & 0x3f) | (code_below(s, 2) ? 0x40 : 0)) : m | 0xc0;
}

static u8 idiom_byte(u64 *s, char a, char b)
{
    if (a == 'r')
        return modrm(s);
    if (a == ',')
        return (u8)((int)code_below(s, 64) - 32);
    return (u8)((digit(a) >= 0 ? digit(a) << 4 : (int)(code_rand(s) & 0xf0)) |
                (digit(b) >= 0 ? digit(b) : (int)(code_rand(s) & 15)));
}

static u32 idiom(u64 *s, u8 *buf)
{
    const char *p = idioms[code_below(s, ARRAY_LEN(idioms))];
    u32 n = 0;

    while (*p) {
        buf[n++] = idiom_byte(s, p[0], p[1]);
        p += 2;
    }
    return n;
}

static u32 prefixes(u64 *s, u32 bits, u8 *buf)
{
    static const u8 some[] = { 0x66, 0x66, 0x67, 0x2e, 0x36, 0x64, 0x65, 0xf2, 0xf3, 0xf0 };
    u32 n = 0;

    if (code_below(s, 4) == 0)
        buf[n++] = some[code_below(s, ARRAY_LEN(some))];
    if (bits == 64 && code_below(s, 3) == 0)
        buf[n++] = (u8)(0x40 | code_below(s, 16));
    return n;
}

u32 code_generate(u64 *seed, u32 bits, u8 *buf, u32 max)
{
    u32 n = 0, noise = code_below(seed, 16); /* of 16 pieces so many are random bytes */

    if (noise > 8)
        noise = 1;
    while (n + 32 < max) {
        if (code_below(seed, 16) < noise) {
            buf[n++] = (u8)code_rand(seed);
            continue;
        }
        n += prefixes(seed, bits, buf + n);
        n += idiom(seed, buf + n);
    }
    return n;
}
