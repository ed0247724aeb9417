/*
 * share/handle.c: what the guest has open.
 */
#include "share/share_internal.h"

#include <sys/mman.h>

static size_t bytes_of(const struct share *s)
{
    return s->handles_max * sizeof(struct handle);
}

int handles_init(struct share *s, u32 max)
{
    void *at;

    s->handles_max = min(max, (u32)SHARE_HANDLES_MAX);
    at = mmap(NULL, bytes_of(s), PROT_READ | PROT_WRITE,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return -ENOMEM;
    s->handles = at;
    return 0;
}

int handle_new(struct share *s, int fd, bool is_dir, uint64_t *ret)
{
    AUTO(fd) int own = fd;
    u32 i = s->free ? s->free - 1 : s->n_fresh;

    if (i == s->handles_max)
        return -ENFILE;
    if (s->free)
        s->free = s->handles[i].next_free;
    else
        s->n_fresh++;
    s->handles[i] = (struct handle){ .fd = TAKE_FD(own), .is_dir = is_dir };
    *ret = i;
    return 0;
}

struct handle *handle_get(struct share *s, u64 number, bool is_dir)
{
    struct handle *h = number < s->n_fresh ? &s->handles[number] : NULL;

    return h && h->fd >= 0 && h->is_dir == is_dir ? h : NULL;
}

void handle_close(struct share *s, struct handle *h)
{
    fd_close(&h->fd);
    h->next_free = s->free;
    s->free = (u32)(h - s->handles) + 1;
}

void handles_reset(struct share *s)
{
    for (u32 i = 0; i < s->n_fresh; i++)
        fd_close(&s->handles[i].fd);
    s->n_fresh = s->free = 0;
}

void handles_fini(struct share *s)
{
    if (!s->handles)
        return;
    handles_reset(s);
    munmap(s->handles, bytes_of(s));
    s->handles = NULL;
}
