/*
 * host/agent_fuzz.c: a hostile guest's answers, in place of an agent's.
 * Oracle: a conversation ends by an answer or by a reason that a terminal may show; a status is one of a process; what is not base64 is refused.
 * Whatever was said, parsing it took no more memory than was counted on, a long answer has its part until it is given back, and then nobody has.
 */
#include "host/agent.h"

#include "testlib/fuzz.h"

#include <malloc.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ID = 7, SAYS_MAX = 32 * 1024 };

/* What jansson has now, and had at most. */
static size_t has, had;

static void *count_alloc(size_t n)
{
    void *p = xnew_n(u8, n + 1);

    has += malloc_usable_size(p);
    had = max(had, has);
    return p;
}

static void count_free(void *p)
{
    has -= malloc_usable_size(p);
    free(p);
}

/* A string that is read is kept in a buffer whose room is doubled: three times its bytes at most. */
static void check_parsing(const char *line, size_t len)
{
    const struct agent_extent x = agent_measure(line, len);
    json_t *j;

    json_set_alloc_funcs(count_alloc, count_free);
    has = had = 0;
    j = agent_answer(line, len, NULL);
    must(had <=
         agent_memory_of(len) + min(x.values, (size_t)AGENT_VALUES_MAX) * AGENT_VALUE_BYTES + 1024);
    must(had == 0 || (x.values <= AGENT_VALUES_MAX && x.depth <= AGENT_DEPTH_MAX));
    json_decref(j);
    must(has == 0);
    json_set_alloc_funcs(malloc, free);
}

static void check_plain(const struct err *e)
{
    must(e->code < 0 && e->text[0]);
    for (const char *p = e->text; *p; p++)
        must((u8)*p >= 0x20 && *p != 0x7f);
}

static int count(void *arg, const u8 *, size_t n)
{
    must(n > 0 && n <= AGENT_PIECE);
    *(size_t *)arg += n;
    return 0;
}

static void check_status(const json_t *j)
{
    struct agent_status s;
    struct err e = {};
    size_t n = 0;
    s64 pid;

    if (agent_exec_pid(j, &pid, &e) < 0)
        check_plain(&e);
    e = (struct err){};
    if (agent_exec_status(j, &s, &e) < 0) {
        check_plain(&e);
        return;
    }
    must(s.status >= 0 && s.status <= 255 && (s.exited || (!s.out_len && !s.err_len)));
    if (agent_decode(s.out, s.out_len, count, &n) == 0)
        must(n <= s.out_len / 4 * 3);
    n = 0;
    if (agent_decode(s.err, s.err_len, count, &n) == 0)
        must(n <= s.err_len / 4 * 3);
}

FUZZ(agent)
{
    struct agent_memory m = {};
    struct agent a = { .stop = -1 };
    struct err e = {};
    int pair[2], r;
    json_t *j;

    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
    a.fd = pair[0];
    size = min(size, (size_t)SAYS_MAX);
    check_parsing((const char *)data, size);
    must(size == 0 || write(pair[1], data, size) == (ssize_t)size);
    must(shutdown(pair[1], SHUT_WR) == 0);
    r = agent_sync(&a, ID, &e);
    if (r < 0)
        check_plain(&e);
    for (u32 i = 0; r >= 0 && i < 8; i++) {
        e = (struct err){};
        j = agent_ask(&a, "guest-exec-status", json_pack("{s:i}", "pid", 1), &m, &e);
        if (j)
            check_status(j);
        else
            check_plain(&e);
        json_decref(j);
        must(m.bytes == 0 && agent_memory_used() == 0); /* all that it says is short */
    }
    agent_close(&a);
    close(pair[1]);
}
