/*
 * cmd/socle_box_criu.c: the program `socle-box-criu`: has CRIU do what `socle-box` checkpoint and restore ask for (box/criu.h), by the
 * protocol of `criu swrk`.  It alone has the library for that (note 047).
 *     socle-box-criu dump|pre-dump|restore SOCKET CONSOLE OPTION=VALUE…
 * SOCKET: a descriptor, to who asks; CONSOLE: one that takes the terminal's master, or -1.  OPTION is a member of CriuOpts.
 *
 *     socle-box               this                        criu swrk
 *        │                      │ ──── request ──────────────> │
 *        │ <─── SYNC_HOOKS ──── │ <─── setup-namespaces ────── │    (restore) namespaces are there, files not yet
 *        │                      │ <─── orphan-pts-master ───── │    (restore) the terminal, which goes to CONSOLE
 *        │ <─── SYNC_PID ────── │ <─── post-restore ────────── │    (restore) all is there; nothing runs yet
 *        │ ──── SYNC_GO ──────> │ ──── notified ─────────────> │    after each
 *        │ <─── SYNC_READY ──── │ <─── reply ───────────────── │    or SYNC_ERROR, at any time
 */
#include "base/base.h"

#include "box/sync.h"
#include "cmd/criu.pb-c.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* The kinds of requests of the protocol; pre-dump: the one after which CRIU waits for no other. */
enum { KIND_DUMP = 1, KIND_RESTORE = 2, KIND_NOTIFY = 6, KIND_PRE_DUMP = 13 };
enum { OPTIONS_MAX = 16384, REPLY_MAX = 64 * 1024 };

static const struct {
    const char *name;
    u32 kind;
} verbs[] = { { "dump", KIND_DUMP }, { "pre-dump", KIND_PRE_DUMP }, { "restore", KIND_RESTORE } };

struct talk {
    int asker, console, criu; /* sockets */
    struct err why;           /* of what we refused */
};

static int number(const char *text, int *ret)
{
    u64 n;

    if (strcmp(text, "-1") == 0) {
        *ret = -1;
        return 0;
    }
    if (str_u64(text, &n) < 0 || n > INT32_MAX)
        return -EINVAL;
    *ret = (int)n;
    return 0;
}

/* "N:KEY" */
static int new_file(char *value, void **ret)
{
    CriuFile *f = xnew(CriuFile);
    char *colon = strchr(value, ':');

    criu_file__init(f);
    *ret = f;
    if (!colon)
        return -EINVAL;
    *colon = 0;
    f->key = colon + 1;
    return number(value, &f->fd);
}

static int new_group(char *value, void **ret)
{
    CriuGroup *g = xnew(CriuGroup);

    criu_group__init(g);
    g->path = value;
    *ret = g;
    return 0;
}

static int add_one(const ProtobufCFieldDescriptor *f, CriuOpts *o, char *value)
{
    void ***items = (void ***)((u8 *)o + f->offset);
    size_t *n = (size_t *)((u8 *)o + f->quantifier_offset);

    if (!*items)
        *items = xnew_n(void *, OPTIONS_MAX);
    if (*n == OPTIONS_MAX)
        return -E2BIG;
    if (f->type == PROTOBUF_C_TYPE_STRING) {
        (*items)[(*n)++] = value;
        return 0;
    }
    return f->descriptor == &criu_file__descriptor ? new_file(value, &(*items)[(*n)++])
                                                   : new_group(value, &(*items)[(*n)++]);
}

static int set_one(const ProtobufCFieldDescriptor *f, CriuOpts *o, char *value)
{
    void *at = (u8 *)o + f->offset;

    if (f->type == PROTOBUF_C_TYPE_STRING) {
        *(char **)at = value;
        return 0;
    }
    if (f->label == PROTOBUF_C_LABEL_OPTIONAL)
        *(protobuf_c_boolean *)((u8 *)o + f->quantifier_offset) = true;
    if (f->type == PROTOBUF_C_TYPE_BOOL) {
        *(protobuf_c_boolean *)at = true;
        return strcmp(value, "1") == 0 ? 0 : -EINVAL;
    }
    return number(value, at);
}

/* The texts stay where they are. */
static int set_option(CriuOpts *o, char *word, struct err *e)
{
    char *value = strchr(word, '=');
    const ProtobufCFieldDescriptor *f;
    int r;

    if (!value)
        return err_set(e, -EINVAL, "'%.60s' is not OPTION=VALUE", word);
    *value++ = 0;
    f = protobuf_c_message_descriptor_get_field_by_name(&criu_opts__descriptor, word);
    if (!f)
        return err_set(e, -EINVAL, "no option '%.60s'", word);
    r = f->label == PROTOBUF_C_LABEL_REPEATED ? add_one(f, o, value) : set_one(f, o, value);
    return r < 0 ? err_set(e, r, "'%.100s' is no value of '%.60s'", value, word) : 0;
}

static int send_request(const struct talk *t, const CriuRequest *q)
{
    const size_t len = criu_request__get_packed_size(q);
    AUTO(free) u8 *bytes = xnew_n(u8, len);
    ssize_t n;

    criu_request__pack(q, bytes);
    do
        n = send(t->criu, bytes, len, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

/* One message, and the descriptor that came with it, else -1. */
static ssize_t take(int socket, u8 *buf, int *ret_fd)
{
    union {
        char room[CMSG_SPACE(sizeof(int))];
        struct cmsghdr head;
    } control = {};
    struct iovec data = { buf, REPLY_MAX };
    struct msghdr m = { .msg_iov = &data,
                        .msg_iovlen = 1,
                        .msg_control = &control,
                        .msg_controllen = sizeof(control) };
    ssize_t n;

    do
        n = recvmsg(socket, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n > 0 && m.msg_controllen >= CMSG_LEN(sizeof(int)) && control.head.cmsg_type == SCM_RIGHTS)
        memcpy(ret_fd, CMSG_DATA(&control.head), sizeof(*ret_fd));
    return n;
}

static int ask(const struct talk *t, enum sync_kind kind, pid_t pid, struct err *e)
{
    int r = sync_send(t->asker, kind, pid);

    return r < 0 ? err_code(e, r, "tell socle-box") : sync_wait_go(t->asker, NULL, e);
}

static int pass_terminal(const struct talk *t, int fd, struct err *e)
{
    int r = -EPIPE;

    if (t->console < 0)
        return err_set(e, -EINVAL, "a terminal, but nobody to take it: process.terminal is false");
    if (fd >= 0)
        r = sync_send_fd(t->console, fd, "/dev/console");
    return r < 0 ? err_code(e, r, "hand over the terminal") : 0;
}

static int notified(struct talk *t, const CriuNotify *n, int fd)
{
    const char *what = n && n->script ? n->script : "";
    CriuRequest answer = CRIU_REQUEST__INIT;
    int r = 0;

    if (strcmp(what, "setup-namespaces") == 0)
        r = ask(t, SYNC_HOOKS, n->pid, &t->why);
    else if (strcmp(what, "post-restore") == 0)
        r = ask(t, SYNC_PID, n->pid, &t->why);
    else if (strcmp(what, "orphan-pts-master") == 0)
        r = pass_terminal(t, fd, &t->why);
    answer.type = KIND_NOTIFY;
    answer.has_notify_success = true;
    answer.notify_success = r == 0;
    return send_request(t, &answer);
}

/* The last word: 0 when all went well. */
static int judge(const struct talk *t, const CriuReply *reply, struct err *e)
{
    const int code = reply->cr_errno > 0 && reply->cr_errno < 4096 ? -reply->cr_errno : -EIO;
    const char *text = reply->cr_errmsg;

    if (t->why.code) {
        *e = t->why;
        return e->code;
    }
    if (reply->success)
        return 0;
    return err_set(e, code, "criu: %.*s", text && *text ? (int)min(strcspn(text, "\n"), 120u) : 60,
                   text && *text ? text : strerror(-code));
}

/* 1: it goes on. */
static int hear(struct talk *t, u8 *buf, struct err *e)
{
    AUTO(fd) int fd = -1;
    ssize_t n = take(t->criu, buf, &fd);
    CriuReply *reply = n > 0 ? criu_reply__unpack(NULL, (size_t)n, buf) : NULL;
    int r;

    if (!reply)
        return err_set(e, -EPIPE, n > 0 ? "criu: what it says is not understood" : "criu ended");
    if (reply->type == KIND_NOTIFY) {
        r = notified(t, reply->notify, fd);
        r = r < 0 ? err_code(e, r, "tell criu") : 1;
    } else {
        r = judge(t, reply, e);
    }
    criu_reply__free_unpacked(reply, NULL);
    return r;
}

/* `theirs` closes in this process. */
static int start_criu(int theirs, pid_t *ret, struct err *e)
{
    char number_text[16], name[] = "criu", verb[] = "swrk";
    char *argv[] = { name, verb, number_text, NULL };
    int r;

    str_fmt(number_text, sizeof(number_text), "%d", theirs);
    r = posix_spawnp(ret, "criu", NULL, NULL, argv, environ);
    if (r == ENOENT) /* engines have paths without it */
        r = posix_spawn(ret, "/usr/sbin/criu", NULL, NULL, argv, environ);
    close(theirs);
    if (r == ENOENT)
        return err_set(e, -ENOENT, "the program 'criu' is not there (Debian's package criu)");
    return r ? err_code(e, -r, "start 'criu'") : 0;
}

static int converse(struct talk *t, const CriuRequest *q, struct err *e)
{
    AUTO(free) u8 *buf = xnew_n(u8, REPLY_MAX);
    int pair[2], r;
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) < 0)
        return err_errno(e, "make a socket pair");
    t->criu = pair[0];
    if (fcntl(t->criu, F_SETFD, FD_CLOEXEC) < 0)
        return err_errno(e, "make a socket pair");
    r = start_criu(pair[1], &pid, e);
    if (r < 0)
        return r;
    r = send_request(t, q);
    if (r < 0)
        err_code(e, r, "tell criu");
    else
        r = 1;
    while (r == 1)
        r = hear(t, buf, e);
    close(t->criu); /* it ends by this */
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return r;
}

static int run(struct talk *t, int argc, char **argv, struct err *e)
{
    CriuRequest request = CRIU_REQUEST__INIT;
    CriuOpts opts = CRIU_OPTS__INIT;
    int r = 0;

    for_each_row(v, verbs)
        if (strcmp(argv[1], v->name) == 0)
            request.type = v->kind;
    if (!request.type)
        return err_set(e, -EINVAL, "no verb '%.40s'", argv[1]);
    request.opts = &opts;
    for (int i = 4; i < argc && r == 0; i++)
        r = set_option(&opts, argv[i], e);
    return r < 0 ? r : converse(t, &request, e);
}

int main(int argc, char **argv)
{
    struct talk t = { .asker = -1, .console = -1, .criu = -1 };
    struct err e = {};
    int r;

    log_set_name("socle-box-criu");
    if (argc < 4 || number(argv[2], &t.asker) < 0 || number(argv[3], &t.console) < 0 ||
        fcntl(t.asker, F_SETFD, FD_CLOEXEC) < 0) {
        log_error("socle-box executes this program; it is not to be used otherwise");
        return 2;
    }
    if (t.console >= 0)
        fcntl(t.console, F_SETFD, FD_CLOEXEC);
    r = run(&t, argc, argv, &e);
    if (r == 0)
        sync_send(t.asker, SYNC_READY, 0);
    else
        sync_fail(t.asker, &e);
    return r == 0 ? 0 : 1;
}
