/*
 * host/agent_memory.c: see agent_memory.h.
 */
#include "host/agent_memory.h"

#include "base/clock.h"

#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>

enum { LOOK_MS = 200 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static size_t used;

size_t agent_memory_used(void)
{
    size_t n;

    pthread_mutex_lock(&lock);
    n = used;
    pthread_mutex_unlock(&lock);
    return n;
}

static bool try_take(struct agent_memory *m, size_t bytes)
{
    bool fits = true;

    pthread_mutex_lock(&lock);
    if (bytes > m->bytes) {
        fits = bytes - m->bytes <= AGENT_MEMORY_MAX - used;
        if (fits) {
            used += bytes - m->bytes;
            m->bytes = bytes;
        }
    }
    pthread_mutex_unlock(&lock);
    return fits;
}

static int refuse(size_t more, struct err *e)
{
    return err_set(e, -ENOBUFS,
                   "what guest agents answer has %zu MiB of memory, and this answer may need %zu "
                   "more; %d MiB are allowed for all together",
                   agent_memory_used() >> 20, more >> 20, AGENT_MEMORY_MAX >> 20);
}

int agent_memory_take(struct agent_memory *m, size_t bytes, int stop, u64 until_ns, struct err *e)
{
    while (!try_take(m, bytes)) {
        struct pollfd p = { stop, POLLRDHUP, 0 };

        if (clock_mono_ns() >= until_ns)
            return refuse(bytes - m->bytes, e);
        if (poll(&p, 1, LOOK_MS) > 0)
            return err_set(e, -ECANCELED, "its client is gone");
    }
    return 0;
}

void agent_memory_give(struct agent_memory *m, size_t bytes)
{
    pthread_mutex_lock(&lock);
    if (bytes < m->bytes) {
        used -= m->bytes - bytes;
        m->bytes = bytes;
    }
    pthread_mutex_unlock(&lock);
}
