/*
 * box/vm_link.c: frames in and out of buffers.  Lengths are the other side's: one is looked at before anything is kept of it.
 */
#include "box/vm_link.h"

#include <sys/socket.h>
#include <unistd.h>

enum { HEAD = 5 };

void vm_link_init(struct vm_link *l, int fd, u32 max)
{
    *l = (struct vm_link){ .fd = fd, .max = max };
}

void vm_link_fini(struct vm_link *l)
{
    strbuf_fini(&l->in);
    strbuf_fini(&l->out);
}

void vm_link_add(struct vm_link *l, enum vm_frame kind, const void *data, size_t len)
{
    const u8 head[HEAD] = { (u8)kind, (u8)len, (u8)(len >> 8), (u8)(len >> 16), (u8)(len >> 24) };

    strbuf_add_mem(&l->out, head, sizeof(head));
    if (len)
        strbuf_add_mem(&l->out, data, len);
}

bool vm_link_has_room(const struct vm_link *l)
{
    return l->out.len < VM_HELD_MAX;
}

static void drop(struct strbuf *b, size_t n)
{
    memmove(b->text, b->text + n, b->len - n);
    b->len -= n;
}

static u32 length_of(const char *head)
{
    const u8 *b = (const u8 *)head;

    return b[1] | (u32)b[2] << 8 | (u32)b[3] << 16 | (u32)b[4] << 24;
}

static bool is_broken(ssize_t n)
{
    return n < 0 && errno != EAGAIN && errno != EINTR;
}

int vm_link_pump(struct vm_link *l)
{
    char part[VM_PART_MAX];
    ssize_t n;

    while (l->out.len > 0) {
        n = send(l->fd, l->out.text, l->out.len, MSG_NOSIGNAL);
        if (is_broken(n))
            return -errno;
        if (n <= 0)
            break;
        drop(&l->out, (size_t)n);
    }
    if (l->ended || l->in.len >= (size_t)HEAD + l->max)
        return 0;
    n = read(l->fd, part, sizeof(part));
    if (is_broken(n))
        return -errno;
    l->ended = n == 0;
    if (n > 0)
        strbuf_add_mem(&l->in, part, (size_t)n);
    return 0;
}

int vm_link_next(const struct vm_link *l, const char **ret_data, u32 *ret_len)
{
    if (l->in.len < HEAD)
        return 0;
    *ret_len = length_of(l->in.text);
    if (l->in.text[0] < VM_PROCESS || l->in.text[0] > VM_FAILED || *ret_len > l->max)
        return -EBADMSG;
    if (l->in.len < (size_t)HEAD + *ret_len)
        return 0;
    *ret_data = l->in.text + HEAD;
    return l->in.text[0];
}

void vm_link_drop(struct vm_link *l)
{
    drop(&l->in, (size_t)HEAD + length_of(l->in.text));
}
