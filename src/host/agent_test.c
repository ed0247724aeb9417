/*
 * host/agent_test.c: a guest agent as it should be, as an earlier client left it, and as a hostile guest would have it.
 */
#include "host/agent.h"

#include "testlib/test.h"

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
        struct err e = {};
        struct agent a;
        json_t *j;
        int guest;

        ROW(c);
        strbuf_add(&says, "%s{\"return\": {\"pid\": 9}}\n", c->says);
        guest = talk(says.text, says.len, false, &a);
        CHECK_OK(agent_sync(&a, 77, &e), &e);
        j = agent_ask(&a, "guest-exec", json_pack("{s:s}", "path", "x"), &e);
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
    struct err e = {};
    struct agent a;
    pthread_t thread;
    int guest = talk("", 0, false, &a);

    CHECK_EQ(pthread_create(&thread, NULL, flood, &guest), 0);
    CHECK(!agent_ask(&a, "guest-exec-status", NULL, &e));
    CHECK_EQ(e.code, -EMSGSIZE);
    CHECK(a.got.len <= AGENT_LINE_MAX + 128 * 1024);
    agent_close(&a);
    pthread_join(thread, NULL);
    close(guest);
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

    CHECK_EQ(agent_open(&a, path, -1, &e), -ENXIO);
    CHECK_HAS(e.text, "no port for a guest agent");
    agent_close(&a);
}
