/*
 * base/console_head.c: see console_head.h.
 */
#include "base/console_head.h"

#include "base/base.h"

#include "base/clock.h"

#include <stddef.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>

/* Behind the 0 of an abstract name (unix(7)). */
static const char ask[] = "socle-console-head-";
static const char word[8] = { 's', 'o', 'c', 'l', 'e', 'h', 'd', '1' };

u64 console_head_new_stream(void)
{
    u64 n = 0;

    if (getrandom(&n, sizeof(n), GRND_NONBLOCK) != sizeof(n))
        n = clock_mono_ns(); /* before the kernel has entropy: other than the last one's is enough */
    return n ? n : 1;
}

int console_head_ask(int fd)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    socklen_t len;

    must(str_fmt(at.sun_path + 1, sizeof(at.sun_path) - 1, "%s%016llx", ask,
                 console_head_new_stream()));
    len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(at.sun_path + 1));
    return bind(fd, (const struct sockaddr *)&at, len) < 0 ? -errno : 0;
}

bool console_head_is_asked(int fd)
{
    struct sockaddr_un at = {};
    socklen_t len = sizeof(at);

    return getpeername(fd, (struct sockaddr *)&at, &len) == 0 &&
           len >= offsetof(struct sockaddr_un, sun_path) + 1 + sizeof(ask) - 1 &&
           at.sun_path[0] == 0 && memcmp(at.sun_path + 1, ask, sizeof(ask) - 1) == 0;
}

void console_head_put(u8 ret[CONSOLE_HEAD_SIZE], const struct console_head *h)
{
    memset(ret, 0, CONSOLE_HEAD_SIZE);
    memcpy(ret, word, sizeof(word));
    le_store(ret + 8, 8, h->stream);
    le_store(ret + 16, 8, h->position);
    le_store(ret + 24, 4, h->before);
}

bool console_head_get(const void *data, size_t len, struct console_head *ret)
{
    const u8 *p = data;

    if (len < CONSOLE_HEAD_SIZE || memcmp(p, word, sizeof(word)) != 0)
        return false;
    *ret = (struct console_head){ .stream = le_load(p + 8, 8),
                                  .position = le_load(p + 16, 8),
                                  .before = (u32)le_load(p + 24, 4) };
    return ret->stream && ret->before <= ret->position;
}
