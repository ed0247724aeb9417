/*
 * host/guest_test.c: threads that work in guests: for whom they begin, what a client is told of what goes wrong, and how they end.
 */
#include "host/guest.h"

#include "host/guest_rig.h"
#include "os/copy.h"
#include "testlib/test.h"

/* What runs in these tests in place of exec and files: one question. */
static int ask_once(struct guest_run *g, struct err *e)
{
    json_t *j =
        guest_ask(g, "guest-file-open", json_pack("{s:s, s:s}", "path", "/f", "mode", "rb"), e);

    json_decref(j);
    return j ? guest_say(g, OS_FRAME_END, NULL, 0) : e->code;
}

/* It says whether its client is still there, and what the machine does. */
static int tell_state(struct guest_run *g, struct err *e)
{
    char text[40];

    if (guest_is_alone(g, 0))
        return err_set(e, -ECANCELED, "alone");
    str_fmt(text, sizeof(text), "%s", host_state_words[guest_state(g)]);
    return guest_say(g, OS_FRAME_OUT, text, strlen(text));
}

/* Until its client goes. */
static int wait_long(struct guest_run *g, struct err *e)
{
    return guest_is_alone(g, -1) ? err_set(e, -ECANCELED, "alone") : 0;
}

static void set_state(struct instance *i, int state)
{
    host_lock(i->host);
    i->run.state = state;
    host_unlock(i->host);
}

/* Until no thread is left. */
static void wait_idle(struct host *h)
{
    host_lock(h);
    while (h->guests)
        pthread_cond_wait(&h->changed, &h->lock);
    host_unlock(h);
}

/* The next frame, at the client's end; `ret` is what it has. */
static int hear(int fd, struct copy_in *in, struct strbuf *ret, struct err *e)
{
    const u8 *data;
    size_t len;
    int kind;

    CHECK_EQ(fcntl(fd, F_SETFL, 0), 0);
    in->fd = fd;
    kind = copy_next(in, &data, &len, e);
    ret->len = 0;
    strbuf_add(ret, "%s", "");
    if (kind >= 0)
        strbuf_add_mem(ret, data, len);
    return kind;
}

TEST(guest_for_whom)
{
    static const struct {
        const char *why, *id; /* NULL: the instance's */
        int state, code;
        const char *says;
    } rows[] = {
        { "runs", NULL, HOST_RUNNING, 0, "" },
        { "off", NULL, HOST_OFF, -EBUSY, "'a' is off" },
        { "paused", NULL, HOST_PAUSED, -EBUSY, "'a' is paused" },
        { "suspended", NULL, HOST_SUSPENDED, -EBUSY, "'a' is suspended" },
        { "failed", NULL, HOST_FAILED, -EBUSY, "'a' is failed" },
        { "nobody", "i999", HOST_RUNNING, -ENOENT, "no instance 'i999'" },
    };
    struct instance *i;
    struct rig r;

    rig_open(&r, test_dir(), "guest-whom");
    i = guest_rig_instance(&r, "a", HOST_RUNNING);
    for_each_row(c, rows) {
        struct err e = {};
        int fd = -1;

        ROW(c);
        set_state(i, c->state);
        CHECK_EQ(guest_begin(&r.host, c->id ? c->id : i->id, tell_state, &fd, &e), c->code);
        CHECK_EQ(fd >= 0, c->code == 0);
        if (c->code)
            CHECK_HAS(e.text, c->says);
        fd_close(&fd);
        wait_idle(&r.host);
    }
    rig_close(&r);
}

/* The state is the machine's of now, not of when the client came; a client that went leaves its thread alone. */
TEST(guest_sees_both_sides)
{
    AUTO(strbuf) struct strbuf got = {};
    struct copy_in in = {};
    struct err e = {};
    struct instance *i;
    struct rig r;
    int fd;

    rig_open(&r, test_dir(), "guest-sides");
    i = guest_rig_instance(&r, "a", HOST_STOPPING);
    CHECK_OK(guest_begin(&r.host, i->id, tell_state, &fd, &e), &e);
    CHECK_EQ(hear(fd, &in, &got, &e), OS_FRAME_OUT);
    CHECK_STR(got.text, "stopping");
    close(fd);
    CHECK_OK(guest_begin(&r.host, i->id, wait_long, &fd, &e), &e);
    host_lock(&r.host);
    CHECK(r.host.guests);
    host_unlock(&r.host);
    close(fd);
    wait_idle(&r.host);
    copy_in_fini(&in);
    rig_close(&r);
}

TEST(guest_not_too_many)
{
    struct err e = {};
    struct instance *i;
    struct rig r;
    int fd[GUEST_RUNS_MAX], more = -1;

    rig_open(&r, test_dir(), "guest-many");
    i = guest_rig_instance(&r, "a", HOST_RUNNING);
    for (u32 k = 0; k < GUEST_RUNS_MAX; k++)
        CHECK_OK(guest_begin(&r.host, i->id, wait_long, &fd[k], &e), &e);
    CHECK_EQ(guest_begin(&r.host, i->id, wait_long, &more, &e), -EBUSY);
    CHECK_HAS(e.text, "16 clients are at work in guests; 16 are allowed");
    CHECK_EQ(more, -1);
    close(fd[0]);
    do { /* its place is free as soon as its thread has ended */
        e = (struct err){};
        (void)poll(NULL, 0, 1);
    } while (guest_begin(&r.host, i->id, wait_long, &more, &e) == -EBUSY);
    CHECK_OK(e.code, &e);
    guest_close(&r.host); /* all of them end, though their clients stay */
    CHECK(!r.host.guests);
    close(more);
    for (u32 k = 1; k < GUEST_RUNS_MAX; k++)
        close(fd[k]);
    rig_close(&r);
}

/* What goes wrong in the guest is said with the machine's name, and with what to do when there is no agent. */
TEST(guest_tells_why)
{
    static const struct {
        const char *why, *lies, *lie, *says;
    } rows[] = {
        { "nobody has the port open", "guest-sync-delimited", "", "install the package" },
        { "it refuses", "guest-file-open", "{\"error\": {\"desc\": \"not now\"}}\n",
          "machine 'a': the guest agent refuses: not now" },
        { "it says nothing that can be read", "guest-file-open", "hello\n", "machine 'a': " },
        { "it goes when it is asked", "guest-file-open", "", "no guest agent answers in 'a'" },
    };
    struct instance *i;
    struct guest_rig g;
    struct rig r;

    rig_open(&r, test_dir(), "guest-why");
    i = guest_rig_instance(&r, "a", HOST_RUNNING);
    guest_rig_begin(&g, i);
    for_each_row(c, rows) {
        AUTO(strbuf) struct strbuf got = {};
        struct copy_in in = {};
        struct err e = {};
        int fd;

        ROW(c);
        g.lies = c->lies;
        g.lie = c->lie;
        CHECK_OK(guest_begin(&r.host, i->id, ask_once, &fd, &e), &e);
        CHECK_EQ(hear(fd, &in, &got, &e), -EREMOTEIO);
        CHECK_HAS(e.text, c->says);
        close(fd);
        wait_idle(&r.host);
        copy_in_fini(&in);
    }
    guest_rig_end(&g);
    rig_close(&r);
}

/* A guest that says nothing holds up neither its client, who may go, nor the end of socled. */
TEST(guest_mute)
{
    struct err e = {};
    struct instance *i;
    struct guest_rig g;
    struct rig r;
    int fd;

    rig_open(&r, test_dir(), "guest-mute");
    i = guest_rig_instance(&r, "a", HOST_RUNNING);
    guest_rig_begin(&g, i);
    g.mute = true;
    CHECK_OK(guest_begin(&r.host, i->id, ask_once, &fd, &e), &e);
    close(fd);
    wait_idle(&r.host);
    CHECK_OK(guest_begin(&r.host, i->id, ask_once, &fd, &e), &e);
    guest_close(&r.host);
    close(fd);
    guest_rig_end(&g);
    rig_close(&r);
}
