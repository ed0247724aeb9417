/*
 * host/talk.c: one side of a conversation with a machine's control socket: a request a line, an answer a line, files with them.
 */
#include "host/talk.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { REPLY_MAX = 64 * 1024 * 1024, TICK_MS = 100 };

int talk_dial(const char *path, int seconds, struct err *e)
{
    const struct timeval limit = { .tv_sec = seconds };
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    AUTO(fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return err_errno(e, "make a socket");
    if (!str_copy(at.sun_path, sizeof(at.sun_path), path))
        return err_set(e, -EINVAL, "'%.60s…': a socket's path has at most %zu bytes", path,
                       sizeof(at.sun_path) - 1);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    if (connect(fd, (const struct sockaddr *)&at, sizeof(at)) < 0)
        return err_errno(e, "connect to '%s'", path);
    return TAKE_FD(fd);
}

/* Reads what there is. */
static int read_more(struct talk *rd, struct err *e)
{
    char buf[16384];
    ssize_t n = recv(rd->fd, buf, sizeof(buf), 0);

    if (n < 0 && errno == EINTR)
        return 0;
    if (n < 0 && errno == EAGAIN)
        return err_set(e, -ETIMEDOUT, "no answer in %d seconds", rd->seconds);
    if (n < 0)
        return err_errno(e, "read the answer");
    if (n == 0)
        return err_set(e, -EPIPE, "the machine ended before it answered");
    if (rd->got.len > REPLY_MAX)
        return err_set(e, -EBADMSG, "an answer of more than %d bytes", REPLY_MAX);
    strbuf_add_mem(&rd->got, buf, (size_t)n);
    return 0;
}

/* The next line as JSON, owned; NULL with `e`. */
static json_t *read_object(struct talk *rd, struct err *e)
{
    const char *line, *eol = NULL;
    json_t *j;

    while (!eol) {
        if (rd->got.len > rd->at)
            eol = memchr(rd->got.text + rd->at, '\n', rd->got.len - rd->at);
        if (!eol && read_more(rd, e) < 0)
            return NULL;
    }
    line = rd->got.text + rd->at;
    j = json_loadb(line, (size_t)(eol - line), 0, NULL);
    rd->at = (size_t)(eol + 1 - rd->got.text);
    if (json_is_object(j))
        return j;
    json_decref(j);
    err_set(e, -EBADMSG, "the answer is not JSON: is it a control socket");
    return NULL;
}

/* Sends a line; the files are handed in with it (unix(7), SCM_RIGHTS). */
static int send_line(int fd, const char *text, const int *files, u32 n, struct err *e)
{
    AUTO(free) char *line = str_new("%s\n", text);
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(TALK_FILES_MAX * sizeof(int))];
    } control = { .head = { .cmsg_len = CMSG_LEN(n * sizeof(int)),
                            .cmsg_level = SOL_SOCKET,
                            .cmsg_type = SCM_RIGHTS } };
    struct iovec iov = { line, strlen(line) };
    struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

    must(n <= TALK_FILES_MAX);
    if (n) {
        memcpy(CMSG_DATA(&control.head), files, n * sizeof(int));
        m.msg_control = &control;
        m.msg_controllen = CMSG_SPACE(n * sizeof(int));
    }
    if (sendmsg(fd, &m, MSG_NOSIGNAL) != (ssize_t)iov.iov_len)
        return err_errno(e, "send the command");
    return 0;
}

/* Past what answers nothing. */
static json_t *read_reply(struct talk *t, struct err *e)
{
    json_t *reply;

    while ((reply = read_object(t, e))) {
        if (json_integer_value(json_object_get(reply, "id")) == 1)
            break;
        json_decref(reply);
    }
    return reply;
}

json_t *talk_ask(struct talk *t, const char *request, const int *files, u32 n, struct err *e)
{
    return send_line(t->fd, request, files, n, e) < 0 ? NULL : read_reply(t, e);
}

int talk_open(struct talk *t, const char *path, int seconds, struct err *e)
{
    *t = (struct talk){ .path = path, .fd = -1, .seconds = seconds };
    t->fd = talk_dial(path, seconds, e);
    return t->fd;
}

void talk_close(struct talk *t)
{
    fd_close(&t->fd);
    strbuf_fini(&t->got);
}

/* What a reply has, which is dropped. */
static json_t *result_of(json_t *reply, struct err *e)
{
    const char *error;
    json_t *result;

    if (!reply)
        return NULL;
    error = json_string_value(json_object_get(reply, "error"));
    result = json_incref(json_object_get(reply, "result"));
    if (!json_is_true(json_object_get(reply, "ok")) || !result) {
        json_decref(result);
        result = NULL;
        err_set(e, -EREMOTEIO, "%s", error ? error : "refused without a reason");
    }
    json_decref(reply);
    return result;
}

json_t *talk_result(struct talk *t, const char *request, const int *files, u32 n, struct err *e)
{
    return result_of(talk_ask(t, request, files, n, e), e);
}

json_t *talk_wait(struct talk *t, const struct talk_request *rq, struct err *e)
{
    struct pollfd p = { .fd = t->fd, .events = POLLIN };

    if (send_line(t->fd, rq->text, rq->files, rq->n_files, e) < 0)
        return NULL;
    while (poll(&p, 1, TICK_MS) == 0)
        if (rq->tick(rq->arg, e) < 0) {
            talk_close(t);
            return NULL;
        }
    return result_of(read_reply(t, e), e);
}

pid_t talk_peer(const struct talk *t)
{
    struct ucred peer = {};
    socklen_t len = sizeof(peer);

    return getsockopt(t->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 ? peer.pid : 0;
}
