/*
 * host/agent_test.c: a guest agent as it should be, as an earlier client left it, and as a hostile guest would have it.
 */
#include "host/agent.h"

#include "testlib/test.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

TEST(agent_answers)
{
    static const struct {
        const char *why, *text, *says; /* NULL: it returns something */
        int code;
    } rows[] = {
        { "number", "{\"return\": 4}", NULL, 0 },
        { "object", "{\"return\": {}}", NULL, 0 },
        { "refused", "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no such file\"}}",
          "the guest agent refuses: no such file", -EREMOTEIO },
        { "moves the cursor", "{\"error\": {\"desc\": \"a\\u001b[2Jb\\u009bc\\n\"}}",
          "refuses: a [2Jb  c ", -EREMOTEIO },
        { "no reason", "{\"error\": {}}", "does not say why", -EREMOTEIO },
        { "no JSON", "hello", "no answer", -EBADMSG },
        { "a list", "[1]", "no answer", -EBADMSG },
        { "neither", "{\"id\": 1}", "no answer", -EBADMSG },
        { "empty", "", "no answer", -EBADMSG },
    };

    for_each_row(c, rows) {
        struct err e = {};
        json_t *j = agent_answer(c->text, strlen(c->text), &e);

        ROW(c);
        CHECK_EQ(j == NULL, c->says != NULL);
        CHECK_EQ(e.code, c->code);
        if (c->says)
            CHECK_HAS(e.text, c->says);
        json_decref(j);
    }
}

TEST(agent_statuses)
{
    static const struct {
        const char *why, *text;
        int r, status; /* -1: it runs */
    } rows[] = {
        { "runs", "{\"exited\": false}", 0, -1 },
        { "went well", "{\"exited\": true, \"exitcode\": 0}", 0, 0 },
        { "seven", "{\"exited\": true, \"exitcode\": 7, \"out-data\": \"aGk=\"}", 0, 7 },
        { "killed", "{\"exited\": true, \"signal\": 9}", 0, 137 },
        { "no signal that there is", "{\"exited\": true, \"signal\": 999}", 0, 255 },
        { "Windows", "{\"exited\": true, \"exitcode\": 3221225477}", 0, 255 },
        { "256 is no success", "{\"exited\": true, \"exitcode\": 256}", 0, 255 },
        { "negative", "{\"exited\": true, \"exitcode\": -1}", 0, 255 },
        { "how did it end?", "{\"exited\": true}", -EBADMSG, 0 },
        { "did it end?", "{\"exitcode\": 0}", -EBADMSG, 0 },
        { "yes in words", "{\"exited\": \"yes\", \"exitcode\": 0}", -EBADMSG, 0 },
        { "a list", "[]", -EBADMSG, 0 },
    };

    for_each_row(c, rows) {
        json_t *j = json_loads(c->text, 0, NULL);
        struct agent_status s;
        struct err e = {};

        ROW(c);
        CHECK_EQ(agent_exec_status(j, &s, &e), c->r);
        if (c->r == 0) {
            CHECK_EQ(s.exited, c->status >= 0);
            CHECK_EQ(s.status, max(c->status, 0));
            CHECK_EQ(strlen(s.out), s.out_len);
        }
        json_decref(j);
    }
}

static int take_bytes(void *arg, const u8 *p, size_t n)
{
    strbuf_add_mem(arg, p, n);
    return 0;
}

TEST(agent_base64)
{
    enum { LEN = 3 * AGENT_PIECE + 5 };
    AUTO(free) u8 *bytes = xnew_n(u8, LEN);
    static const char *const bad[] = { "a", "ab=c", "a\nbc", "====", "YWJj\033" };
    u64 seed = 5;

    for (u32 i = 0; i < LEN; i++)
        bytes[i] = (u8)test_rand(&seed);
    for (u32 len = LEN - 4; len <= LEN; len++) {
        AUTO(free) char *text = agent_encode(bytes, len);
        AUTO(strbuf) struct strbuf got = {};

        CHECK_EQ(agent_decode(text, strlen(text), take_bytes, &got), 0);
        CHECK_EQ(got.len, len);
        CHECK_MEM(got.text, bytes, len);
    }
    for_each_row(b, bad) {
        AUTO(strbuf) struct strbuf got = {};

        CHECK_EQ(agent_decode(*b, strlen(*b), take_bytes, &got), -EBADMSG);
    }
}

/* What a guest says, whatever it is asked, and whether it goes then. */
static int talk(const char *says, size_t len, bool goes, struct agent *a)
{
    int pair[2];

    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    *a = (struct agent){ .fd = pair[0], .stop = -1 };
    CHECK_EQ(fd_write_all(pair[1], says, len), 0);
    if (goes)
        CHECK_EQ(shutdown(pair[1], SHUT_WR), 0);
    return pair[1];
}

TEST(agent_stale_answers)
{
    static const struct {
        const char *why, *says;
    } rows[] = {
        { "nothing before", "\xff{\"return\": 77}\n" },
        { "half an answer", "a\": \"AAAA\"}}\n\xff{\"return\": 77}\n" },
        { "another's sync", "\xff{\"return\": 76}\n{\"return\": 1}\n\xff{\"return\": 77}\n" },
        { "our byte was an error", "{\"error\": {\"desc\": \"x\"}}\n\xff{\"return\": 77}\n" },
        { "delimiters", "\xff\xff\n\xff\n\xff{\"return\": 77}\n" },
    };

    for_each_row(c, rows) {
        AUTO(strbuf) struct strbuf says = {};
        struct agent_memory m = {};
        struct err e = {};
        struct agent a;
        json_t *j;
        int guest;

        ROW(c);
        strbuf_add(&says, "%s{\"return\": {\"pid\": 9}}\n", c->says);
        guest = talk(says.text, says.len, false, &a);
        CHECK_OK(agent_sync(&a, 77, &e), &e);
        j = agent_ask(&a, "guest-exec", json_pack("{s:s}", "path", "x"), &m, &e);
        CHECK(j);
        CHECK_EQ(json_integer_value(json_object_get(j, "pid")), 9);
        json_decref(j);
        agent_close(&a);
        close(guest);
    }
}

TEST(agent_goes)
{
    static const struct {
        const char *why, *says;
    } rows[] = {
        { "at once", "" },
        { "within a line", "\xff{\"return\":" },
        { "after another's answer", "\xff{\"return\": 3}\n" },
    };

    for_each_row(c, rows) {
        struct err e = {};
        struct agent a;
        int guest = talk(c->says, strlen(c->says), true, &a);

        ROW(c);
        CHECK_EQ(agent_sync(&a, 77, &e), -ENOTCONN);
        CHECK_HAS(e.text, "has its port open");
        agent_close(&a);
        close(guest);
    }
}

static void *flood(void *arg)
{
    static char many[64 * 1024];
    int fd = *(int *)arg;

    memset(many, 'A', sizeof(many));
    while (send(fd, many, sizeof(many), MSG_NOSIGNAL) > 0)
        continue;
    return NULL;
}

/* A line without an end is given up at its limit, and kept no longer. */
TEST(agent_endless_line)
{
    static const struct {
        const char *command;
        size_t limit;
    } rows[] = {
        { "guest-exec-status", AGENT_LINE_MAX },
        { "guest-file-read", AGENT_READ_LINE_MAX },
        { "guest-exec", AGENT_SHORT },
        { "guest-file-open", AGENT_SHORT },
    };

    for_each_row(c, rows) {
        AUTO(free) char *want = str_new("%zu are allowed", c->limit);
        struct agent_memory m = {};
        struct err e = {};
        struct agent a;
        pthread_t thread;
        int guest = talk("", 0, false, &a);

        CHECK_EQ(pthread_create(&thread, NULL, flood, &guest), 0);
        CHECK(!agent_ask(&a, c->command, NULL, &m, &e));
        CHECK_EQ(e.code, -EMSGSIZE);
        CHECK_HAS(e.text, c->command);
        CHECK_HAS(e.text, want);
        CHECK(a.got.len <= c->limit + 128 * 1024);
        CHECK_EQ(m.bytes, 0);
        CHECK_EQ(agent_memory_used(), 0);
        agent_close(&a);
        pthread_join(thread, NULL);
        close(guest);
    }
}

struct saying {
    int fd;
    const char *text;
    size_t len;
};

static void *say(void *arg)
{
    const struct saying *s = arg;

    (void)fd_write_all(s->fd, s->text, s->len);
    return NULL;
}

/* An answer of `len` bytes, with its string as long as that needs. */
static json_t *ask_for(const char *command, size_t len, struct agent_memory *m, struct err *e)
{
    static const char head[] = "{\"return\": \"", foot[] = "\"}";
    AUTO(strbuf) struct strbuf text = {};
    struct saying says;
    struct agent a;
    pthread_t thread;
    json_t *j;
    int guest = talk("", 0, false, &a);

    strbuf_add(&text, "%s", head);
    for (size_t n = strlen(head) + strlen(foot); n < len; n++)
        strbuf_add_mem(&text, "A", 1);
    strbuf_add(&text, "%s\n", foot);
    says = (struct saying){ guest, text.text, text.len };
    CHECK_EQ(pthread_create(&thread, NULL, say, &says), 0);
    j = agent_ask(&a, command, NULL, m, e);
    agent_close(&a);
    pthread_join(thread, NULL);
    close(guest);
    return j;
}

/* To the byte; and what is long has its part of the memory of all for as long as it is there. */
TEST(agent_longest_line)
{
    static const struct {
        const char *why, *command;
        size_t limit;
    } rows[] = {
        { "what a program wrote", "guest-exec-status", AGENT_LINE_MAX },
        { "a piece of a file", "guest-file-read", AGENT_READ_LINE_MAX },
        { "all else", "guest-file-close", AGENT_SHORT },
    };

    for_each_row(c, rows)
        for (u32 more = 0; more < 2; more++) {
            struct agent_memory m = {};
            struct err e = {};
            json_t *j = ask_for(c->command, c->limit + more, &m, &e);

            ROW(c);
            CHECK_EQ(j != NULL, more == 0);
            CHECK_EQ(e.code, more ? -EMSGSIZE : 0);
            CHECK_EQ(m.bytes, more || c->limit == AGENT_SHORT ? 0 : c->limit);
            CHECK_EQ(agent_memory_used(), m.bytes);
            json_decref(j);
            agent_memory_give(&m, 0);
            CHECK_EQ(agent_memory_used(), 0);
        }
}

TEST(agent_memory_of_all)
{
    struct agent_memory first = {}, second = {};
    struct err e = {};

    CHECK_OK(agent_memory_take(&first, AGENT_MEMORY_MAX - 100, -1, 0, &e), &e);
    CHECK_OK(agent_memory_take(&second, 100, -1, 0, &e), &e);
    CHECK_OK(agent_memory_take(&second, 50, -1, 0, &e), &e);
    CHECK_EQ(second.bytes, 100);
    CHECK_EQ(agent_memory_take(&second, 101, -1, 0, &e), -ENOBUFS);
    CHECK_HAS(e.text, "256 MiB are allowed");
    CHECK_EQ(second.bytes, 100);
    agent_memory_give(&first, 1000);
    agent_memory_give(&first, 2000);
    CHECK_EQ(first.bytes, 1000);
    e = (struct err){};
    CHECK_OK(agent_memory_take(&second, AGENT_MEMORY_MAX - 1000, -1, 0, &e), &e);
    agent_memory_give(&first, 0);
    agent_memory_give(&second, 0);
    CHECK_EQ(agent_memory_used(), 0);
}

static void *give_late(void *arg)
{
    (void)poll(NULL, 0, 50);
    agent_memory_give(arg, 0);
    return NULL;
}

/* When others have all of it, a short answer does not mind, a long one waits, and goes when its client does. */
TEST(agent_memory_waits)
{
    struct agent_memory all = {}, m = {};
    struct err e = {};
    pthread_t thread;
    json_t *j;
    int pair[2];

    CHECK_OK(agent_memory_take(&all, AGENT_MEMORY_MAX, -1, 0, &e), &e);
    j = ask_for("guest-exec-status", 1000, &m, &e);
    CHECK(j);
    json_decref(j);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    close(pair[1]);
    CHECK_EQ(agent_memory_take(&m, 1, pair[0], ~0ull, &e), -ECANCELED);
    close(pair[0]);
    e = (struct err){};
    CHECK_EQ(pthread_create(&thread, NULL, give_late, &all), 0);
    j = ask_for("guest-exec-status", 2 * AGENT_SHORT, &m, &e);
    CHECK_OK(e.code, &e);
    CHECK(j);
    json_decref(j);
    agent_memory_give(&m, 0);
    pthread_join(thread, NULL);
    CHECK_EQ(agent_memory_used(), 0);
}

/* What would be far larger than its line is not parsed at all. */
TEST(agent_hostile_trees)
{
    static const struct {
        const char *why, *head, *again, *foot;
        u32 n;
        const char *says; /* NULL: it is an answer */
    } rows[] = {
        { "numbers", "{\"return\":[0", ",0", "]}", AGENT_VALUES_MAX - 3, NULL },
        { "one more", "{\"return\":[0", ",0", "]}", AGENT_VALUES_MAX - 2,
          "has 4097 values; 4096 are allowed" },
        { "a line of numbers", "{\"return\":[0", ",0", "]}", 100000, "has 100003 values; 4096" },
        { "without an end", "[", "0,", "", 100000, "has 100002 values; 4096" },
        { "empty objects", "{\"return\":[{}", ",{}", "]}", 30000, "has 60004 values; 4096" },
        { "deep", "{\"return\":", "[", "", AGENT_DEPTH_MAX, "is 17 levels deep; 16 are allowed" },
        { "deeper", "", "{\"a\":", "", 4000, "is 4000 levels deep; 16" },
        { "many levels, none deep", "{\"return\":[0", ",[[[]]]", "]}", 600, NULL },
        { "commas in a string", "{\"return\":\"", ",[{", "\"}", 50000, NULL },
        { "behind a quoted quote", "{\"return\":\"\\\"", ",[{", "\\\\\"}", 50000, NULL },
        { "a string without an end", "{\"return\":\"", ",[{", "\\\"", 50000, "is no answer" },
        { "more ends than begins", "", "]", "", 50000, "is no answer" },
    };

    for_each_row(c, rows) {
        AUTO(strbuf) struct strbuf line = {};
        struct err e = {};
        json_t *j;

        ROW(c);
        strbuf_add(&line, "%s", c->head);
        for (u32 i = 0; i < c->n; i++)
            strbuf_add(&line, "%s", c->again);
        strbuf_add(&line, "%s", c->foot);
        j = agent_answer(line.text, line.len, &e);
        CHECK_EQ(j == NULL, c->says != NULL);
        if (c->says)
            CHECK_HAS(e.text, c->says);
        json_decref(j);
    }
}

TEST(agent_client_goes)
{
    struct err e = {};
    struct agent a;
    int guest = talk("", 0, false, &a), pair[2];

    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    a.stop = pair[0];
    close(pair[1]);
    CHECK_EQ(agent_sync(&a, 77, &e), -ECANCELED);
    agent_close(&a);
    close(pair[0]);
    close(guest);
}

TEST(agent_port_that_is_not_there)
{
    AUTO(free) char *path = str_new("%s/agent", test_dir());
    struct err e = {};
    struct agent a;

    CHECK_EQ(agent_open(&a, path, -1, 0, &e), -ENXIO);
    CHECK_HAS(e.text, "no port for a guest agent");
    agent_close(&a);
}
