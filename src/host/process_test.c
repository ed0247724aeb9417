/*
 * host/process_test.c: what a machine that an earlier socled started is found doing.
 */
#include "host/process.h"

#include "host/host_rig.h"
#include "testlib/test.h"

#include <pthread.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>

/* A machine's control socket that answers one request of one client. */
struct machine_rig {
    int fd;
    const char *status;
    pthread_t thread;
};

static void *main_of_machine(void *arg)
{
    const struct machine_rig *m = arg;
    AUTO(fd) int fd = accept4(m->fd, NULL, NULL, SOCK_CLOEXEC);
    AUTO(free)
    char *answer = str_new("{\"id\": 1, \"ok\": true, \"result\": {%s}}\n", m->status);
    char buf[256];

    if (read(fd, buf, sizeof(buf)) > 0)
        (void)fd_write_all(fd, answer, strlen(answer));
    return NULL;
}

static void machine_begin(struct machine_rig *m, const struct instance *i, const char *status)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    AUTO(free) char *path = process_path(i, "control");

    *m = (struct machine_rig){ socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), status };
    must(str_copy(at.sun_path, sizeof(at.sun_path), path));
    unlink(path);
    CHECK_EQ(bind(m->fd, (struct sockaddr *)&at, sizeof(at)), 0);
    CHECK_EQ(listen(m->fd, 1), 0);
    CHECK_EQ(pthread_create(&m->thread, NULL, main_of_machine, m), 0);
}

static void machine_end(struct machine_rig *m)
{
    pthread_join(m->thread, NULL);
    close(m->fd);
}

TEST(process_found_doing)
{
    static const struct {
        const char *why, *status;
        enum host_state state;
    } rows[] = {
        { "it runs", "\"state\": \"running\", \"reason\": \"\"", HOST_RUNNING },
        { "somebody paused it", "\"state\": \"paused\", \"reason\": \"asked for\"", HOST_PAUSED },
        { "its CPUs still park", "\"state\": \"pausing\", \"reason\": \"asked for\"", HOST_PAUSED },
        { "a debugger", "\"state\": \"paused\", \"reason\": \"held by the debugger\"",
          HOST_PAUSED },
        { "for a moment, for a snapshot", "\"state\": \"paused\", \"reason\": \"\"", HOST_RUNNING },
        { "just before that", "\"state\": \"pausing\", \"reason\": \"\"", HOST_RUNNING },
        { "a container", "\"state\": \"paused\", \"pid\": 5", HOST_PAUSED },
        { "a container that runs", "\"state\": \"running\", \"pid\": 5", HOST_RUNNING },
    };
    const struct instance *i;
    struct rig r;

    rig_open(&r, test_dir(), "process");
    rig_make(&r, "a");
    host_lock(&r.host);
    i = host_find_locked(&r.host, "a");
    host_unlock(&r.host);
    for_each_row(c, rows) {
        enum host_state state = HOST_OFF;
        struct machine_rig m;
        struct err e = {};
        pid_t pid;
        int fd;

        ROW(c);
        machine_begin(&m, i, c->status);
        fd = process_ask(i, &pid, &state, &e);
        machine_end(&m);
        CHECK_OK(fd, &e);
        CHECK_EQ(pid, getpid());
        CHECK_EQ(state, c->state);
        close(fd);
    }
    rig_close(&r);
}

static u64 revision(struct host *h)
{
    u64 rev;

    host_lock(h);
    rev = store_revision(h->store);
    host_unlock(h);
    return rev;
}

/* What is as it was recorded is not recorded again: it has been so since then, and there may be no room to write. */
TEST(process_found_as_recorded)
{
    static const struct {
        const char *why, *status;
        int changes;
        enum host_state state;
    } rows[] = {
        { "it still runs", "\"state\": \"running\", \"reason\": \"\"", 0, HOST_RUNNING },
        { "it was paused meanwhile", "\"state\": \"paused\", \"reason\": \"x\"", 1, HOST_PAUSED },
    };

    for_each_row(c, rows) {
        AUTO(free) char *log = NULL;
        AUTO(fd) int fd = -1;
        struct machine_rig m;
        struct instance *i;
        struct err e = {};
        struct rig r;
        bool silent;
        u64 rev;

        ROW(c);
        rig_open(&r, test_dir(), c->changes ? "found-paused" : "found-running");
        rig_make(&r, "a");
        host_lock(&r.host);
        i = host_find_locked(&r.host, "a");
        i->run.pid = (u32)getpid();
        CHECK_OK(host_set_state_locked(i, HOST_RUNNING, NULL, &e), &e);
        i->run.since = 5;
        host_unlock(&r.host);
        log = process_path(i, "vm.log");
        fd = open(log, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        CHECK_EQ(flock(fd, LOCK_EX), 0); /* it is alive */
        rev = revision(&r.host);
        machine_begin(&m, i, c->status);
        CHECK_OK(process_find(i, &silent, &e), &e);
        machine_end(&m);
        CHECK(!silent);
        CHECK_EQ(revision(&r.host), rev + (u64)c->changes);
        CHECK_EQ(i->run.state, c->state);
        CHECK_EQ(i->run.since == 5, c->changes == 0);
        rig_close(&r);
    }
}
