/*
 * base/endian.h: integers whose byte order is fixed by someone else: guest rings, disk images, tables of the firmware.
 * They are structs of one member, so that a forgotten swap does not compile.
 */
#pragma once

#include "base/base.h"

#include <endian.h>

#define ENDIAN_TYPE(name, type, from, to) \
    struct name {                         \
        type raw;                         \
    } __attribute__((packed));            \
    typedef struct name name;             \
    static inline type name##_get(name v) \
    {                                     \
        return (type)from(v.raw);         \
    }                                     \
    static inline name name##_of(type v)  \
    {                                     \
        return (name){ (type)to(v) };     \
    }

ENDIAN_TYPE(le16, u16, le16toh, htole16)
ENDIAN_TYPE(le32, u32, le32toh, htole32)
ENDIAN_TYPE(le64, u64, le64toh, htole64)
ENDIAN_TYPE(be16, u16, be16toh, htobe16)
ENDIAN_TYPE(be32, u32, be32toh, htobe32)
ENDIAN_TYPE(be64, u64, be64toh, htobe64)

/* The low `len` (1, 2, 4 or 8) bytes at `p`, little-endian, whatever its alignment; and the reverse. */
static inline u64 le_load(const void *p, size_t len)
{
    u64 v = 0;

    memcpy(&v, p, len);
    return le64toh(v);
}

static inline void le_store(void *p, size_t len, u64 v)
{
    v = htole64(v);
    memcpy(p, &v, len);
}
