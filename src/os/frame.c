/*
 * os/frame.c: frames of a conversation about a program (os/exec.h).
 */
#include "os/exec.h"

ssize_t os_frame_parse(const u8 *p, size_t len, u8 *ret_kind, const u8 **ret_data, size_t *ret_len)
{
    u32 size;

    if (len < OS_FRAME_HEAD)
        return 0;
    size = (u32)p[1] << 24 | (u32)p[2] << 16 | (u32)p[3] << 8 | p[4];
    if (size > OS_FRAME_MAX)
        return -EBADMSG;
    if (len - OS_FRAME_HEAD < size)
        return 0;
    *ret_kind = p[0];
    *ret_data = p + OS_FRAME_HEAD;
    *ret_len = size;
    return (ssize_t)(OS_FRAME_HEAD + size);
}

void os_frame_add(struct strbuf *out, u8 kind, const void *data, size_t len)
{
    const u8 head[OS_FRAME_HEAD] = { kind, (u8)(len >> 24), (u8)(len >> 16), (u8)(len >> 8),
                                     (u8)len };

    must(len <= OS_FRAME_MAX);
    strbuf_add_mem(out, head, sizeof(head));
    strbuf_add_mem(out, data, len);
}
