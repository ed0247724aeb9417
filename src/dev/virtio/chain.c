/*
 * dev/virtio/chain.c: bytes in and out of one request of the guest.
 * The segments were checked by vq_pop and are never looked up again.
 */
#include "dev/virtio/vq.h"
#include "mem/mem.h"

/* Bytes [skip, skip + len) of `n` segments as iovecs in `out`; how many, or -EMSGSIZE when they do not fit. */
static int slice(const struct iovec *seg, u32 n, u64 skip, u64 len, struct iovec *out, u32 max)
{
    u32 used = 0;

    for (u32 i = 0; i < n && len > 0; i++) {
        u64 part;

        if (skip >= seg[i].iov_len) {
            skip -= seg[i].iov_len;
            continue;
        }
        if (used == max)
            return -EMSGSIZE;
        part = min((u64)seg[i].iov_len - skip, len);
        out[used++] = (struct iovec){ (u8 *)seg[i].iov_base + skip, part };
        len -= part;
        skip = 0;
    }
    return len > 0 ? -EMSGSIZE : (int)used;
}

int chain_out_iov(const struct chain *c, u32 skip, u32 len, struct iovec *iov, u32 max)
{
    if (!range_ok(skip, len, c->out_len))
        return -EMSGSIZE;
    return slice(c->iov, c->n_out, skip, len, iov, max);
}

int chain_in_iov(const struct chain *c, u32 skip, u32 len, struct iovec *iov, u32 max)
{
    if (!range_ok(skip, len, c->in_len))
        return -EMSGSIZE;
    return slice(c->iov + c->n_out, c->n_in, skip, len, iov, max);
}

int chain_get(struct chain *c, void *buf, u32 len)
{
    u8 *to = buf;
    u64 skip = c->out_done;

    if (!range_ok(skip, len, c->out_len))
        return -EMSGSIZE;
    c->out_done += len;
    for (const struct iovec *s = c->iov; len > 0; s++) {
        u32 part;

        if (skip >= s->iov_len) {
            skip -= s->iov_len;
            continue;
        }
        part = (u32)min((u64)s->iov_len - skip, (u64)len);
        memcpy(to, (u8 *)s->iov_base + skip, part);
        to += part;
        len -= part;
        skip = 0;
    }
    return 0;
}

/* Bytes [skip, skip + len) of the in part: copies them from `buf` unless it is NULL, and tells the dirty log. */
static void put_at(struct chain *c, u64 skip, const u8 *buf, u64 len)
{
    for (u32 i = c->n_out; len > 0; i++) {
        const struct iovec *s = &c->iov[i];
        u64 part;

        if (skip >= s->iov_len) {
            skip -= s->iov_len;
            continue;
        }
        part = min((u64)s->iov_len - skip, len);
        if (buf) {
            memcpy((u8 *)s->iov_base + skip, buf, part);
            buf += part;
        }
        mem_dirty(c->mem, c->gpas[i] + skip, part);
        len -= part;
        skip = 0;
    }
}

int chain_put(struct chain *c, const void *buf, u32 len)
{
    if (!range_ok(c->in_done, len, c->in_len))
        return -EMSGSIZE;
    put_at(c, c->in_done, buf, len);
    c->in_done += len;
    return 0;
}

int chain_put_last(struct chain *c, u8 byte)
{
    if (c->in_len == 0)
        return -EMSGSIZE;
    put_at(c, c->in_len - 1, &byte, 1);
    c->in_done = c->in_len;
    return 0;
}

void chain_wrote(struct chain *c, u32 len)
{
    must(range_ok(c->in_done, len, c->in_len));
    put_at(c, c->in_done, NULL, len);
    c->in_done += len;
}
