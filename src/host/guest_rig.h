/*
 * host/guest_rig.h: for tests: a guest whose agent (on a thread) keeps one file, and lies where it is told to; and an instance that is said to run.
 */
#pragma once

#include "host/agent.h"
#include "host/host_rig.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { GUEST_RIG_HANDLE = 1000 };

struct guest_rig {
    /* the file, which has a name once it was opened to be written */
    char *path;
    struct strbuf data;
    size_t at;        /* of the next byte that is read */
    atomic_int open;  /* handles that are not closed */
    const char *lies; /* command; NULL: it is honest */
    const char *lie;  /* what it answers then, a whole line; "": it goes */
    atomic_bool mute; /* it says nothing */
    int fd, stop[2];
    pthread_t thread;
};

/* All of it is said. */
static inline void guest_rig_say(int fd, json_t *answer)
{
    AUTO(free) char *text = json_dumps(answer, JSON_COMPACT);

    (void)fd_write_all(fd, text, strlen(text));
    (void)fd_write_all(fd, "\n", 1);
    json_decref(answer);
}

static inline int guest_rig_keep(void *arg, const u8 *p, size_t n)
{
    strbuf_add_mem(arg, p, n);
    return 0;
}

static inline json_t *guest_rig_open_file(struct guest_rig *g, const json_t *a)
{
    const char *path = json_string_value(json_object_get(a, "path")),
               *mode = json_string_value(json_object_get(a, "mode"));
    const bool writes = mode && mode[0] == 'w';

    if (!writes && (!g->path || strcmp(g->path, path) != 0))
        return json_pack("{s:{s:s}}", "error", "desc", "failed to open file: No such file");
    if (writes) {
        free(g->path);
        g->path = xdup(path);
        g->data.len = 0;
    }
    g->at = 0;
    g->open++;
    return json_pack("{s:i}", "return", GUEST_RIG_HANDLE);
}

static inline json_t *guest_rig_read(struct guest_rig *g, const json_t *a)
{
    const size_t want = (size_t)json_integer_value(json_object_get(a, "count")),
                 n = min(want, g->data.len - g->at);
    AUTO(free) char *text = agent_encode((const u8 *)g->data.text + g->at, n);

    g->at += n;
    return json_pack("{s:{s:I, s:s, s:b}}", "return", "count", (json_int_t)n, "buf-b64", text,
                     "eof", g->at == g->data.len);
}

static inline json_t *guest_rig_write(struct guest_rig *g, const json_t *a)
{
    const json_t *text = json_object_get(a, "buf-b64");
    const size_t before = g->data.len;

    (void)agent_decode(json_string_value(text), json_string_length(text), guest_rig_keep, &g->data);
    return json_pack("{s:{s:I}}", "return", "count", (json_int_t)(g->data.len - before));
}

static inline json_t *guest_rig_do(struct guest_rig *g, const char *what, const json_t *a)
{
    if (strcmp(what, "guest-sync-delimited") == 0)
        return json_pack("{s:O}", "return", json_object_get(a, "id"));
    if (strcmp(what, "guest-file-open") == 0)
        return guest_rig_open_file(g, a);
    if (json_integer_value(json_object_get(a, "handle")) != GUEST_RIG_HANDLE)
        return json_pack("{s:{s:s}}", "error", "desc", "no such handle");
    if (strcmp(what, "guest-file-read") == 0)
        return guest_rig_read(g, a);
    if (strcmp(what, "guest-file-write") == 0)
        return guest_rig_write(g, a);
    g->open--;
    return json_pack("{s:{}}", "return");
}

/* One line of a client's; false: the agent goes. */
static inline bool guest_rig_line(struct guest_rig *g, int fd, const char *line, size_t len)
{
    const bool marked = len && (u8)*line == 0xff;
    json_t *j = json_loadb(line + marked, len - marked, 0, NULL);
    const char *what = json_string_value(json_object_get(j, "execute"));
    const json_t *a = json_object_get(j, "arguments");
    bool stays = true;

    if (what && g->lies && strcmp(what, g->lies) == 0) {
        stays = *g->lie;
        (void)fd_write_all(fd, g->lie, strlen(g->lie));
    } else if (what) {
        if (marked)
            (void)fd_write_all(fd, "\xff", 1);
        guest_rig_say(fd, guest_rig_do(g, what, a));
    }
    json_decref(j);
    return stays;
}

/* One client, until he goes. */
static inline void guest_rig_serve(struct guest_rig *g, int fd)
{
    struct pollfd p[2] = { { fd, POLLIN, 0 }, { g->stop[0], POLLRDHUP, 0 } };
    AUTO(strbuf) struct strbuf got = {};
    char buf[65536];
    const char *eol;
    ssize_t n;

    while (poll(p, 2, -1) > 0 && !p[1].revents && (n = read(fd, buf, sizeof(buf))) > 0) {
        if (g->mute)
            continue;
        strbuf_add_mem(&got, buf, (size_t)n);
        while (got.len && (eol = memchr(got.text, '\n', got.len))) {
            const size_t len = (size_t)(eol - got.text);

            if (!guest_rig_line(g, fd, got.text, len))
                return;
            memmove(got.text, eol + 1, got.len - len - 1);
            got.len -= len + 1;
        }
    }
}

static inline void *guest_rig_main(void *arg)
{
    struct guest_rig *g = arg;
    struct pollfd p[2] = { { g->fd, POLLIN, 0 }, { g->stop[0], POLLRDHUP, 0 } };

    while (poll(p, 2, -1) > 0 && !p[1].revents) {
        AUTO(fd) int fd = accept4(g->fd, NULL, NULL, SOCK_CLOEXEC);

        guest_rig_serve(g, fd);
    }
    return NULL;
}

static inline void guest_rig_begin(struct guest_rig *g, const struct instance *i)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    AUTO(free) char *folder = host_folder(i->host, i);

    *g = (struct guest_rig){ .data = { .len = 0 } };
    str_fmt(at.sun_path, sizeof(at.sun_path), "%s/agent", folder);
    unlink(at.sun_path);
    g->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(bind(g->fd, (struct sockaddr *)&at, sizeof(at)) == 0);
    must(listen(g->fd, 8) == 0);
    must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, g->stop) == 0);
    must(pthread_create(&g->thread, NULL, guest_rig_main, g) == 0);
}

static inline void guest_rig_end(struct guest_rig *g)
{
    shutdown(g->stop[1], SHUT_RDWR);
    pthread_join(g->thread, NULL);
    close(g->fd);
    close(g->stop[0]);
    close(g->stop[1]);
    strbuf_fini(&g->data);
    free(g->path);
}

/* The file that the guest has. */
static inline void guest_rig_put(struct guest_rig *g, const char *path, const void *data,
                                 size_t len)
{
    free(g->path);
    g->path = xdup(path);
    g->data.len = 0;
    strbuf_add_mem(&g->data, data, len);
}

/* An instance that is said to be in that state. */
static inline struct instance *guest_rig_instance(struct rig *r, const char *name, int state)
{
    struct instance *i;

    rig_make(r, name);
    host_lock(&r->host);
    i = host_find_locked(&r->host, name);
    i->run.state = state;
    i->run.pid = 77;
    host_unlock(&r->host);
    return i;
}
