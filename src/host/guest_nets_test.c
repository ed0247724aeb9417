/*
 * host/guest_nets_test.c: addresses that guests tell, of guests that answer, change their mind, are silent, or go.
 */
#include "host/guest_nets.h"

#include "base/clock.h"
#include "host/agent_nets.h"
#include "host/host_rig.h"
#include "testlib/test.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>

#define MAC       "52:54:00:00:00:07"
#define SAYS(ips) "[{\"hardware-address\":\"" MAC "\",\"ip-addresses\":[" ips "]}]"
#define V4(text)  "{\"ip-address\":\"" text "\",\"ip-address-type\":\"ipv4\"}"

/* An agent, on a thread. */
struct agent_rig {
    const char *_Atomic says; /* what it returns; "": it goes; NULL: it says nothing */
    atomic_uint asked;
    int fd, stop[2];
    pthread_t thread;
};

/* What one client says, until it goes. */
static void answer(struct agent_rig *a, int fd)
{
    struct pollfd p[2] = { { fd, POLLIN, 0 }, { a->stop[0], POLLRDHUP, 0 } };
    char buf[4096];
    ssize_t n;

    while (poll(p, 2, -1) > 0 && !p[1].revents && (n = read(fd, buf, sizeof(buf) - 1)) > 0) {
        AUTO(strbuf) struct strbuf out = {};
        const char *id, *says;

        buf[n] = 0;
        says = a->says;
        if (!says)
            continue;
        if (!*says)
            return;
        id = strstr(buf, "\"id\":");
        if (id)
            strbuf_add(&out, "\xff{\"return\": %.*s}\n", (int)strspn(id + 5, "0123456789"), id + 5);
        else
            strbuf_add(&out, "{\"return\": %s}\n", says);
        (void)fd_write_all(fd, out.text, out.len);
    }
}

static void *main_of_agent(void *arg)
{
    struct agent_rig *a = arg;
    struct pollfd p[2] = { { a->fd, POLLIN, 0 }, { a->stop[0], POLLRDHUP, 0 } };

    while (poll(p, 2, -1) > 0 && !p[1].revents) {
        AUTO(fd) int fd = accept4(a->fd, NULL, NULL, SOCK_CLOEXEC);

        atomic_fetch_add(&a->asked, 1);
        answer(a, fd);
    }
    return NULL;
}

static void agent_begin(struct agent_rig *a, const struct instance *i, const char *says)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    AUTO(free) char *folder = host_folder(i->host, i);

    *a = (struct agent_rig){ .says = says };
    str_fmt(at.sun_path, sizeof(at.sun_path), "%s/agent", folder);
    a->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(bind(a->fd, (struct sockaddr *)&at, sizeof(at)), 0);
    CHECK_EQ(listen(a->fd, 8), 0);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, a->stop), 0);
    CHECK_EQ(pthread_create(&a->thread, NULL, main_of_agent, a), 0);
}

static void agent_end(struct agent_rig *a)
{
    shutdown(a->stop[1], SHUT_RDWR);
    pthread_join(a->thread, NULL);
    close(a->fd);
    close(a->stop[0]);
    close(a->stop[1]);
}

/* An instance that is said to run.  `mac` NULL: without a card. */
static struct instance *make(struct rig *r, const char *name, const char *mac)
{
    AUTO(free)
    char *card = mac ? str_new("\"mac\": \"%s\"", mac) : xdup("\"kind\": \"none\""),
         *text = str_new("{\"name\": \"%s\", \"kernel\": \"/k\", \"nets\": [{%s}]}", name, card);
    struct instance *i;
    struct err e = {};
    u64 task;

    CHECK_OK(rig_create(r, text, &task, &e), &e);
    CHECK_EQ(rig_wait(r, task), TASK_DONE);
    host_lock(&r->host);
    i = host_find_locked(&r->host, name);
    i->run.state = HOST_RUNNING;
    i->run.pid = 77;
    host_unlock(&r->host);
    return i;
}

/* Somebody looks, when what is known is old; what is known after the guest was asked. */
static void look(struct instance *i, bool old, struct strbuf *ret)
{
    struct host *h = i->host;
    json_t *list, *one;
    size_t k;

    host_lock(h);
    if (old)
        i->look.next_ns = 0;
    guest_nets_look_locked(i);
    while (h->looks.works)
        pthread_cond_wait(&h->changed, &h->lock);
    list = guest_nets_print_locked(i);
    host_unlock(h);
    ret->len = 0;
    strbuf_add(ret, "%s", "");
    json_array_foreach(list, k, one) strbuf_add(ret, "%s%s", k ? " " : "", json_string_value(one));
    json_decref(list);
}

static u64 revision(struct host *h)
{
    u64 rev;

    host_lock(h);
    rev = store_revision(h->store);
    host_unlock(h);
    return rev;
}

TEST(guest_nets_answers)
{
    AUTO(strbuf) struct strbuf got = {};
    struct agent_rig a;
    struct instance *i;
    struct rig r;
    u64 rev;

    rig_open(&r, test_dir(), "nets");
    i = make(&r, "a", MAC);
    agent_begin(&a, i, SAYS(V4("10.0.0.1")));
    look(i, false, &got);
    CHECK_STR(got.text, "10.0.0.1");
    CHECK_EQ(a.asked, 1);
    look(i, false, &got); /* it is fresh */
    CHECK_STR(got.text, "10.0.0.1");
    CHECK_EQ(a.asked, 1);
    rev = revision(&r.host);
    look(i, true, &got); /* nothing new is no event */
    CHECK_EQ(a.asked, 2);
    CHECK_EQ(revision(&r.host), rev);
    a.says = SAYS(V4("10.0.0.2") "," V4("10.0.0.3"));
    look(i, true, &got);
    CHECK_STR(got.text, "10.0.0.2 10.0.0.3");
    CHECK_EQ(revision(&r.host), rev + 1);
    a.says = "[]";
    look(i, true, &got);
    CHECK_STR(got.text, "");
    agent_end(&a);
    rig_close(&r);
}

/* Of a machine that has ended, or was started anew, nothing is known. */
TEST(guest_nets_of_this_start)
{
    static const struct {
        const char *why;
        int state;
        u32 pid;
        const char *want;
    } rows[] = {
        { "runs", HOST_RUNNING, 77, "10.0.0.1" },
        { "stands still", HOST_PAUSED, 77, "10.0.0.1" },
        { "is off", HOST_OFF, 0, "" },
        { "is off, and has a number", HOST_OFF, 77, "" },
        { "another process", HOST_PAUSED, 78, "" },
    };
    AUTO(strbuf) struct strbuf got = {};
    struct agent_rig a;
    struct instance *i;
    struct rig r;

    rig_open(&r, test_dir(), "starts");
    i = make(&r, "a", MAC);
    agent_begin(&a, i, SAYS(V4("10.0.0.1")));
    look(i, false, &got);
    for_each_row(c, rows) {
        ROW(c);
        i->run.state = c->state;
        i->run.pid = c->pid;
        look(i, false, &got);
        CHECK_STR(got.text, c->want);
        CHECK_EQ(a.asked, 1);
    }
    i->run.state = HOST_RUNNING;
    look(i, false, &got); /* not so old, but of another start */
    CHECK_STR(got.text, "10.0.0.1");
    CHECK_EQ(a.asked, 2);
    agent_end(&a);
    rig_close(&r);
}

TEST(guest_nets_silence)
{
    static const char *const bad[] = { "", "{}", "[0" };

    for_each_row(b, bad) {
        AUTO(free) char *folder = str_new("silent%u", (u32)(b - bad));
        AUTO(strbuf) struct strbuf got = {};
        u64 waits[12], now;
        struct agent_rig a;
        struct instance *i;
        struct rig r;

        rig_open(&r, test_dir(), folder);
        i = make(&r, "a", MAC);
        agent_begin(&a, i, SAYS(V4("10.0.0.1")));
        look(i, true, &got);
        a.says = *b;
        for_each_row(w, waits) {
            now = clock_mono_ns();
            look(i, true, &got);
            CHECK_STR(got.text, w == waits ? "10.0.0.1" : ""); /* once is no silence */
            *w = (i->look.next_ns - now) / NSEC_PER_SEC;
            look(i, false, &got); /* it is left alone */
        }
        CHECK_EQ(a.asked, 1 + ARRAY_LEN(waits));
        CHECK(waits[0] >= GUEST_NETS_AGAIN_FIRST && waits[0] < waits[1] && waits[1] < waits[3]);
        CHECK(waits[11] >= GUEST_NETS_AGAIN_LAST);
        a.says = SAYS(V4("10.0.0.4"));
        look(i, true, &got);
        CHECK_STR(got.text, "10.0.0.4");
        CHECK_EQ(i->look.silent, 0);
        agent_end(&a);
        rig_close(&r);
    }
}

/* Nobody is asked who has no cards or does not run, and all who are looked at are. */
TEST(guest_nets_whom)
{
    AUTO(strbuf) struct strbuf got = {};
    struct agent_rig a, b;
    struct instance *first, *second, *bare;
    struct rig r;

    rig_open(&r, test_dir(), "whom");
    first = make(&r, "a", MAC);
    second = make(&r, "b", "52:54:00:00:00:08");
    bare = make(&r, "c", NULL);
    agent_begin(&a, first, SAYS(V4("10.0.0.1")));
    agent_begin(&b, second, SAYS(V4("10.0.0.2"))); /* says it of the other's card */
    host_lock(&r.host);
    guest_nets_look_locked(first);
    guest_nets_look_locked(second);
    guest_nets_look_locked(bare);
    CHECK(!bare->look.wanted);
    host_unlock(&r.host);
    look(first, false, &got);
    CHECK_STR(got.text, "10.0.0.1");
    look(second, false, &got);
    CHECK_STR(got.text, "");
    CHECK_EQ(a.asked, 1);
    CHECK_EQ(b.asked, 1);
    agent_end(&a);
    agent_end(&b);
    rig_close(&r);
}

/* A container's cards were given theirs; it has no agent that could be asked. */
TEST(guest_nets_of_container)
{
    AUTO(strbuf) struct strbuf got = {};
    struct agent_rig a;
    struct instance *i;
    struct rig r;

    rig_open(&r, test_dir(), "container");
    i = make(&r, "a", MAC);
    i->cfg.kind = INSTANCE_OS;
    spec_net(&i->cfg.spec, 0)->address = xdup("10.1.0.2");
    agent_begin(&a, i, SAYS(V4("10.0.0.1")));
    look(i, true, &got);
    CHECK_STR(got.text, "10.1.0.2");
    CHECK_EQ(a.asked, 0);
    i->run.state = HOST_OFF;
    look(i, true, &got);
    CHECK_STR(got.text, "");
    agent_end(&a);
    rig_close(&r);
}

/* The records know it; and a guest that says nothing keeps nobody from ending. */
TEST(guest_nets_ends)
{
    AUTO(strbuf) struct strbuf got = {};
    struct told_rec *told;
    struct agent_rig a;
    struct instance *i;
    struct rig r;

    rig_open(&r, test_dir(), "ends");
    i = make(&r, "a", MAC);
    agent_begin(&a, i, SAYS(V4("10.0.0.1")));
    look(i, false, &got);
    a.says = NULL;
    host_lock(&r.host);
    i->look.next_ns = 0;
    guest_nets_look_locked(i);
    host_unlock(&r.host);
    while (atomic_load(&a.asked) < 2)
        (void)poll(NULL, 0, 1);
    rig_close(&r);
    agent_end(&a);
    rig_open(&r, test_dir(), "ends");
    told = &host_find_locked(&r.host, "a")->told;
    CHECK_EQ(told->pid, 77);
    CHECK_EQ(told->addresses.n, 1);
    CHECK_STR(told->addresses.items[0], "10.0.0.1");
    rig_close(&r);
}
