/*
 * host/tree_live_test.c: a machine that has not noticed yet that its client was killed is waited for.  All else of machines that run:
 * test/sys/snapshot.sh, test/sys/daemon.py.
 */
#include "host/tree_live.h"

#include "testlib/test.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { SAVING = 3 /* answers that it is */ };

static struct {
    int listener;
    atomic_uint asked;       /* for its status */
    atomic_bool asked_early; /* for its disks, while it saved */
} machine;

static void answer(int fd, const char *line)
{
    const bool saves = atomic_load(&machine.asked) < SAVING;
    char text[300];

    if (strstr(line, "disks")) {
        atomic_store(&machine.asked_early, saves);
        str_fmt(text, sizeof(text),
                "{\"id\": 1, \"ok\": true, \"result\": [{\"name\": \"disk0\", \"file\": \"/d\", "
                "\"format\": "
                "\"raw\", \"size\": 512, \"readonly\": false, \"inode\": 1, \"no_overlay\": \"\", "
                "\"below\": []}]}\n");
    } else {
        atomic_fetch_add(&machine.asked, 1);
        str_fmt(text, sizeof(text), "{\"id\": 1, \"ok\": true, \"result\": {\"saving\": \"%s\"}}\n",
                saves ? "disks" : "");
    }
    must(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

static void *serve_one(void *arg)
{
    FILE *f = fdopen((int)(intptr_t)arg, "r+e");
    char line[300];

    must(f);
    while (fgets(line, sizeof(line), f))
        answer(fileno(f), line);
    fclose(f);
    return NULL;
}

static void *serve(void *)
{
    pthread_t one;
    int fd;

    while ((fd = accept4(machine.listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        must(pthread_create(&one, NULL, serve_one, (void *)(intptr_t)fd) == 0);
        pthread_detach(one);
    }
    return NULL;
}

TEST(tree_live_waits_until_it_is_settled)
{
    AUTO(free) char *path = str_new("%s/control", test_dir());
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    struct tree_live l = {};
    struct talk t = { .fd = -1 };
    struct err e = {};
    pthread_t server;

    CHECK(str_copy(at.sun_path, sizeof(at.sun_path), path));
    machine.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(bind(machine.listener, (const struct sockaddr *)&at, sizeof(at)), 0);
    CHECK_EQ(listen(machine.listener, 8), 0);
    CHECK_EQ(pthread_create(&server, NULL, serve, NULL), 0);
    CHECK_OK(talk_open(&t, path, TALK_SECONDS, &e), &e);
    CHECK_OK(tree_live_open(&l, &t, &e), &e);
    CHECK_EQ(atomic_load(&machine.asked), SAVING + 1);
    CHECK(!atomic_load(&machine.asked_early));
    CHECK_EQ(l.heads.n, 1);
    CHECK_STR(l.heads.head[0].file, "/d");
    tree_live_close(&l);
    talk_close(&t);
    shutdown(machine.listener, SHUT_RDWR);
    pthread_join(server, NULL);
    close(machine.listener);
}
