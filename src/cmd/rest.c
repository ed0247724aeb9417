/*
 * cmd/rest.c: HTTP/1.1 to socled: one request a connection, answers with a Content-Length, or an event stream.
 * A general client takes longer to load than `socle list` may take (doc/notes/016-daemon.md).
 */
#include "cmd/rest.h"

#include "base/clock.h"
#include "cmd/more.h"
#include "cmd/progress.h"
#include "host/host.h"
#include "host/spawn.h"

#include <ctype.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { START_SECONDS = 20, HEAD_MAX = 16 * 1024, AGAIN_SECONDS = 20, DRAW_MS = 200 };
enum { KEY_BYTES = 16, AGAIN_MS = 100, FEED_BYTES = 64 * 1024 };

/* ---- connecting ---- */

static int dial(const char *dir, struct err *e)
{
    AUTO(free) char *path = str_new("%s/api.sock", dir);
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    AUTO(fd) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return err_errno(e, "make a socket");
    if (!str_copy(at.sun_path, sizeof(at.sun_path), path))
        return err_set(e, -EINVAL, "folder '%.60s…': its path is too long", dir);
    if (connect(fd, (const struct sockaddr *)&at, sizeof(at)) < 0)
        return err_errno(e, "connect to '%s'", path);
    return TAKE_FD(fd);
}

/* In the child: of nobody's terminal, in no folder that would be kept busy. */
_Noreturn static void become(const char *dir)
{
    AUTO(free) char *program = spawn_find("socled", "SOCLED"), *log = str_new("%s/socled.log", dir);
    const char *const argv[] = { program, "--dir", dir, NULL };
    AUTO(fd) int out = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    AUTO(fd) int null = open("/dev/null", O_RDWR | O_CLOEXEC);

    setsid();
    if (null >= 0) {
        dup2(null, STDIN_FILENO);                   /* tidy: allow banned: it must survive execve */
        dup2(out >= 0 ? out : null, STDOUT_FILENO); /* tidy: allow banned: it must survive execve */
        dup2(out >= 0 ? out : null, STDERR_FILENO); /* tidy: allow banned: it must survive execve */
    }
    if (chdir("/") == 0)
        execv(program, (char *const *)(uintptr_t)argv);
    _exit(127);
}

/* A grandchild, so that it is nobody's zombie.  If another client did the same, one of the two has the folder's lock, and serves. */
static int start(const char *dir, struct err *e)
{
    pid_t pid = fork();

    if (pid < 0)
        return err_errno(e, "start socled");
    if (pid == 0) {
        pid = fork();
        if (pid == 0)
            become(dir);
        _exit(pid < 0);
    }
    return waitpid(pid, NULL, 0) < 0 ? err_errno(e, "start socled") : 0;
}

/* The folder, for socled.log; socled makes what is missing in it. */
static void make_folder(const char *dir)
{
    AUTO(free) char *path = xdup(dir);

    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        (void)mkdir(path, 0700);
        *slash = '/';
    }
    (void)mkdir(path, 0700);
}

static int dial_or_start(const char *dir, struct err *e)
{
    const u64 limit = clock_mono_ns() + START_SECONDS * NSEC_PER_SEC;
    int fd = dial(dir, e), r;

    if (fd >= 0 || (e->code != -ENOENT && e->code != -ECONNREFUSED))
        return fd;
    make_folder(dir);
    r = start(dir, e);
    if (r < 0)
        return r;
    while ((fd = dial(dir, e)) < 0 && clock_mono_ns() < limit)
        poll(NULL, 0, 2);
    return fd < 0 ? err_set(e, -ETIMEDOUT, "socled does not start; '%s/socled.log' says why", dir)
                  : fd;
}

static int local_open(struct rest *r, struct err *e)
{
    const struct timeval limit = { .tv_sec = REST_SECONDS };

    r->fd = r->never_starts ? dial(r->dir, e) : dial_or_start(r->dir, e);
    if (r->fd >= 0)
        setsockopt(r->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    return r->fd < 0 ? r->fd : 0;
}

static int local_send(struct rest *r, const char *data, size_t len)
{
    return fd_write_all(r->fd, data, len);
}

static ssize_t local_recv(struct rest *r, void *buf, size_t size)
{
    ssize_t n;

    do
        n = recv(r->fd, buf, size, 0);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

static int local_wait(struct rest *r, int ms)
{
    struct pollfd p = { .fd = r->fd, .events = POLLIN };

    return poll(&p, 1, ms);
}

static void local_close(struct rest *r)
{
    fd_close(&r->fd);
}

static const struct rest_link local = { local_open, local_send, local_recv, local_wait,
                                        local_close };

int rest_open(struct rest *r, const char *dir, const char *host, struct err *e)
{
    *r = (struct rest){ .fd = -1 };
    if (host)
        return remote_open(r, host, e);
    r->link = &local;
    r->dir = dir ? realpath(dir, NULL) : host_default_dir();
    if (!r->dir && dir && dir[0] == '/')
        r->dir = xdup(dir); /* it is made */
    if (!r->dir)
        return err_set(e, -EINVAL,
                       "no folder: --dir DIR, a path from the root when it does not exist");
    return local_open(r, e);
}

int rest_open_running(struct rest *r, struct err *e)
{
    *r = (struct rest){ .fd = -1, .link = &local, .dir = host_default_dir(), .never_starts = true };
    return r->dir ? local_open(r, e) : err_set(e, -EINVAL, "no folder");
}

void rest_hang_up(struct rest *r)
{
    if (r->link && r->fd >= 0)
        r->link->close(r);
}

void rest_close(struct rest *r)
{
    rest_hang_up(r);
    strbuf_fini(&r->got);
    free(TAKE(r->dir));
}

/* ---- requests and answers ---- */

/* What a server refuses it answers before the end: then the answer is worth more than that nobody listened. */
static void send_file(struct rest *r, struct rest_feed *f)
{
    AUTO(free) char *buf = xnew_n(char, FEED_BYTES);

    while (f->at < f->end) {
        const size_t n = (size_t)min(f->end - f->at, (u64)FEED_BYTES);

        if (fd_pread_all(f->fd, buf, n, f->at) < 0 || r->link->send(r, buf, n) < 0)
            return;
        f->at += n;
        if (f->told)
            f->told(f->arg, f->at);
    }
}

static int send_request(struct rest *r, const struct rest_request *rq, struct err *e)
{
    AUTO(strbuf) struct strbuf out = {};
    AUTO(free) char *body = rq->body ? json_dumps(rq->body, JSON_COMPACT) : NULL;
    int n = r->fd < 0 ? r->link->open(r, e) : 0;

    if (n < 0)
        return n;
    r->got.len = r->at = 0;
    strbuf_add(&out, "%s %s HTTP/1.1\r\nHost: socle\r\nConnection: %s\r\n", rq->method, rq->path,
               rq->more ? "Upgrade" : "close");
    if (r->token)
        strbuf_add(&out, "Authorization: Bearer %s\r\n", r->token);
    if (rq->more)
        strbuf_add(&out, "%s", rq->more);
    if (rq->headers)
        strbuf_add(&out, "%s", rq->headers);
    if (rq->feed)
        strbuf_add(&out, "Content-Length: %llu\r\n", rq->feed->end - rq->feed->at);
    if (rq->once)
        strbuf_add(&out, "Idempotency-Key: %s\r\n", rq->once);
    if (rq->etag)
        strbuf_add(&out, "If-Match: \"%llu\"\r\n", rq->etag);
    if (body)
        strbuf_add(&out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", strlen(body));
    strbuf_add(&out, "\r\n%s", body ? body : "");
    n = r->link->send(r, out.text, out.len);
    explicit_bzero(out.text, out.len);
    if (body)
        explicit_bzero(body, strlen(body));
    if (n >= 0 && rq->feed)
        send_file(r, rq->feed);
    return n < 0 ? err_code(e, n, "send to socled") : 0;
}

/* Reads what there is; 0: the end. */
static ssize_t read_more(struct rest *r, struct err *e)
{
    char buf[65536];
    ssize_t n = r->link->recv(r, buf, sizeof(buf));

    if (n < 0)
        return n == -EAGAIN ? err_set(e, -ETIMEDOUT, "no answer in %d seconds", REST_SECONDS)
                            : err_code(e, (int)n, "read from socled");
    if (r->got.len + (size_t)n > REST_ANSWER_MAX)
        return err_set(e, -EBADMSG, "an answer of more than %d bytes", REST_ANSWER_MAX);
    if (n)
        strbuf_add_mem(&r->got, buf, (size_t)n);
    return n;
}

struct head {
    int status;
    u64 length; /* ~0: until the end */
    u64 etag;
};

/* The value of a header, within the head that ends with a NUL; NULL: it is missing. */
static const char *header(const char *head, const char *name)
{
    const size_t len = strlen(name);

    for (const char *p = strstr(head, "\r\n"); p; p = strstr(p + 2, "\r\n"))
        if (strncasecmp(p + 2, name, len) == 0 && p[2 + len] == ':')
            return p + 3 + len + strspn(p + 3 + len, " \"");
    return NULL;
}

static u64 number(const char *s, u64 otherwise)
{
    char digits[24] = {};
    size_t n = s ? strspn(s, "0123456789") : 0;
    u64 v;

    if (n == 0 || n >= sizeof(digits))
        return otherwise;
    memcpy(digits, s, n);
    return str_u64(digits, &v) < 0 ? otherwise : v;
}

static int read_head(struct rest *r, struct head *ret, struct err *e)
{
    char *end = NULL;
    ssize_t n = 1;

    while (!end) {
        if (r->got.len)
            end = strstr(r->got.text, "\r\n\r\n");
        if (!end && (n <= 0 || r->got.len > HEAD_MAX))
            return err_set(e, -EPIPE, "socled ended before it answered");
        if (!end && (n = read_more(r, e)) < 0)
            return (int)n;
    }
    *end = 0;
    ret->status = (int)number(strchr(r->got.text, ' ') ? strchr(r->got.text, ' ') + 1 : NULL, 0);
    ret->length = number(header(r->got.text, "content-length"), ret->status == 204 ? 0 : ~0ull);
    ret->etag = number(header(r->got.text, "etag"), 0);
    r->at = (size_t)(end + 4 - r->got.text);
    return 0;
}

static int read_body(struct rest *r, const struct head *h, struct err *e)
{
    ssize_t n = 1;

    while (r->got.len - r->at < h->length && (n = read_more(r, e)) > 0)
        continue;
    if (n < 0)
        return (int)n;
    return n == 0 && h->length != ~0ull ? err_set(e, -EPIPE, "socled ended within its answer") : 0;
}

/* The sentence of an answer that is no success. */
static int refused(struct rest *r, const struct head *h, struct err *e)
{
    json_t *j = json_loadb(r->got.text + r->at, r->got.len - r->at, 0, NULL);
    const json_t *error = json_object_get(j, "error");
    const char *sentence = json_string_value(json_object_get(error, "sentence"));
    const int code = h->status == 404   ? -ENOENT
                     : h->status == 409 ? -EBUSY
                     : h->status == 410 ? -EOVERFLOW
                                        : -EREMOTEIO;

    err_set(e, code, "%s", sentence ? sentence : "socled refused without a reason");
    json_decref(j);
    return code;
}

/* Sends, and reads all.  The connection is closed. */
static int exchange(struct rest *r, const struct rest_request *rq, struct head *h, struct err *e)
{
    int n = send_request(r, rq, e);

    if (n >= 0)
        n = read_head(r, h, e);
    if (n >= 0)
        n = read_body(r, h, e);
    rest_hang_up(r);
    if (n < 0)
        return n;
    return h->status >= 200 && h->status < 300 ? 0 : refused(r, h, e);
}

bool rest_is_lost(int code)
{
    return code == -EPIPE || code == -ECONNRESET || code == -ECONNREFUSED;
}

/* What changes something has a key, so that it can be sent again when nobody knows whether it was done: for a while. */
static int exchange_once(struct rest *r, const struct rest_request *rq, struct head *h,
                         struct err *e)
{
    struct rest_request keyed = *rq;
    char key[2 * KEY_BYTES + 1];
    u8 random[KEY_BYTES];
    u64 limit = 0;
    int n;

    if (strcmp(rq->method, "GET") == 0 || rq->feed)
        return exchange(r, rq, h, e);
    if (getrandom(random, sizeof(random), 0) != sizeof(random))
        return err_errno(e, "get random bytes");
    for (u32 i = 0; i < sizeof(random); i++)
        must(str_fmt(key + 2 * i, 3, "%02x", random[i]));
    keyed.once = key;
    while (rest_is_lost(n = exchange(r, &keyed, h, e))) {
        limit = limit ? limit : clock_mono_ns() + AGAIN_SECONDS * NSEC_PER_SEC;
        if (clock_mono_ns() > limit)
            break;
        poll(NULL, 0, AGAIN_MS);
    }
    return n;
}

json_t *rest_ask(struct rest *r, const struct rest_request *rq, u64 *ret_etag, struct err *e)
{
    struct head h = {};
    json_t *j;

    if (exchange_once(r, rq, &h, e) < 0)
        return NULL;
    if (ret_etag)
        *ret_etag = h.etag;
    if (r->got.len == r->at)
        return json_null();
    j = json_loadb(r->got.text + r->at, r->got.len - r->at, 0, NULL);
    if (!j)
        err_set(e, -EBADMSG, "socled's answer is no JSON");
    return j;
}

/* What read_head took of the body, and the rest of it. */
static int take_body(struct rest *r, const struct head *h, struct rest_bytes *to, struct err *e)
{
    u64 left = h->length;
    int n = 0;

    while (left && n >= 0) {
        const size_t len = (size_t)min((u64)(r->got.len - r->at), left);
        ssize_t more = 1;

        if (len)
            n = to->take(to->arg, r->got.text + r->at, len);
        left -= len;
        r->got.len = r->at = 0;
        if (left && n >= 0 && (more = read_more(r, e)) < 0)
            n = (int)more;
        if (more == 0)
            n = err_set(e, -EPIPE, "socled ended within its answer");
    }
    return n;
}

int rest_bytes(struct rest *r, const struct rest_request *rq, struct rest_bytes *to, struct err *e)
{
    struct head h = {};
    int n = send_request(r, rq, e);

    if (n >= 0)
        n = read_head(r, &h, e);
    to->status = h.status;
    if (n >= 0 && h.status != 200 && h.status != 206)
        n = read_body(r, &h, e) < 0 ? e->code : refused(r, &h, e);
    else if (n >= 0)
        n = take_body(r, &h, to, e);
    rest_hang_up(r);
    return n;
}

char *rest_text(struct rest *r, const char *path, size_t *ret_len, struct err *e)
{
    const struct rest_request rq = { .method = "GET", .path = path };
    struct head h = {};

    if (exchange(r, &rq, &h, e) < 0)
        return NULL;
    *ret_len = r->got.len - r->at;
    return xdup_mem(r->got.text + r->at, *ret_len + 1); /* strbuf ends with a NUL */
}

/* ---- events ---- */

/* The next line of a stream; NULL with r: 0 nothing within ms (-1: for ever), or negative. */
static char *next_line(struct rest *r, int ms, int *ret, struct err *e)
{
    *ret = 0;
    for (;;) {
        char *line = r->got.len > r->at ? r->got.text + r->at : NULL;
        char *eol = line ? memchr(line, '\n', r->got.len - r->at) : NULL;
        ssize_t n;

        if (eol) {
            *eol = 0;
            r->at = (size_t)(eol + 1 - r->got.text);
            return line;
        }
        if (r->at && r->got.text) {
            memmove(r->got.text, r->got.text + r->at, r->got.len - r->at + 1);
            r->got.len -= r->at;
            r->at = 0;
        }
        if (r->link->wait(r, ms) == 0)
            return NULL;
        n = read_more(r, e);
        if (n > 0)
            continue;
        *ret = n < 0 ? (int)n : err_set(e, -EPIPE, "socled ended");
        return NULL;
    }
}

static int open_stream(struct rest *r, u64 since, struct err *e)
{
    AUTO(free) char *path = str_new("/1.0/events?since=%llu", since);
    const struct rest_request rq = { .method = "GET", .path = path };
    struct head h = {};
    int n;

    rest_hang_up(r);
    n = send_request(r, &rq, e);
    if (n >= 0)
        n = read_head(r, &h, e);
    if (n >= 0 && h.status != 200)
        n = read_body(r, &h, e) < 0 ? e->code : refused(r, &h, e);
    return n;
}

int rest_follow(struct rest *r, u64 since, int (*fn)(void *arg, const json_t *event), void *arg,
                struct err *e)
{
    int n = open_stream(r, since, e);
    char *line;

    while (n == 0 && (line = next_line(r, -1, &n, e))) {
        json_t *j = str_starts(line, "data: ") ? json_loads(line + 6, 0, NULL) : NULL;

        if (j)
            n = fn(arg, j);
        json_decref(j);
    }
    rest_hang_up(r);
    return n;
}

/* ---- tasks ---- */

/* 1: it is done, 0: not yet; -ECHILD: it failed. */
static int task_state(const json_t *task, struct err *e)
{
    const char *state = json_string_value(json_object_get(task, "state")),
               *error = json_string_value(json_object_get(task, "error"));

    if (!state || strcmp(state, "waiting") == 0 || strcmp(state, "running") == 0)
        return 0;
    if (strcmp(state, "done") == 0)
        return 1;
    return err_set(e, -ECHILD, "%s", error ? error : "it was cancelled");
}

/* By a connection of its own: the other follows events. */
static json_t *get_task(const struct rest *from, u64 number, struct err *e)
{
    AUTO(free) char *path = str_new("/1.0/tasks/%llu", number);
    const struct rest_request rq = { .method = "GET", .path = path };
    struct rest r = { .link = from->link,
                      .dir = from->dir ? xdup(from->dir) : NULL,
                      .token = from->token,
                      .fd = -1 };
    json_t *j = rest_ask(&r, &rq, NULL, e);

    rest_close(&r);
    return j;
}

static void draw(const struct rest *r, u64 number, u64 began_ns)
{
    json_t *task = get_task(r, number, NULL);
    const u64 done = (u64)json_integer_value(json_object_get(task, "done")),
              total = (u64)json_integer_value(json_object_get(task, "total"));
    const char *what = json_string_value(json_object_get(task, "what"));
    AUTO(strbuf) struct strbuf line = {};

    if (total) {
        progress_line(what ? what : "", done, total, clock_mono_ns() - began_ns, &line);
        fprintf(stderr, "\r%s\x1b[K", line.text);
    }
    json_decref(task);
}

/* One connection's part of the wait. */
static int watch_task(struct rest *r, u64 number, u64 since, struct err *e)
{
    const bool tty = isatty(STDERR_FILENO);
    const u64 began_ns = clock_mono_ns();
    bool drawn = false;
    int n = open_stream(r, since, e);

    while (n == 0) {
        char *line = next_line(r, tty ? DRAW_MS : -1, &n, e);
        json_t *j = line && str_starts(line, "data: ") ? json_loads(line + 6, 0, NULL) : NULL;

        if (!line && n == 0) {
            draw(r, number, began_ns);
            drawn = true;
        }
        if (json_object_get(j, "what") &&
            (u64)json_integer_value(json_object_get(j, "number")) == number)
            n = task_state(j, e);
        json_decref(j);
    }
    rest_hang_up(r);
    if (drawn)
        fprintf(stderr, "\r\x1b[K");
    return n;
}

int rest_wait(struct rest *r, const json_t *started, struct err *e)
{
    const u64 number = (u64)json_integer_value(json_object_get(started, "task")),
              since = (u64)json_integer_value(json_object_get(started, "revision"));
    u64 limit = 0;
    int n = watch_task(r, number, since, e);

    while (n < 0 && n != -ECHILD) { /* socled ended, or the events are gone */
        json_t *task;

        limit = limit ? limit : clock_mono_ns() + AGAIN_SECONDS * NSEC_PER_SEC;
        if (clock_mono_ns() > limit)
            return n;
        poll(NULL, 0, 50);
        task = get_task(r, number, e);
        n = task ? task_state(task, e) : -EPIPE;
        json_decref(task);
        if (n == 0)
            n = watch_task(r, number, since, e);
    }
    return n < 0 ? n : 0;
}

/* ---- WebSockets ---- */

/* The nonce proves nothing to us: the connection is our own socled's, or pinned. */
int rest_upgrade(struct rest *r, const char *path, struct err *e)
{
    const struct rest_request rq = { .method = "GET",
                                     .path = path,
                                     .more = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                                             "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" };
    struct head h = {};
    int n = send_request(r, &rq, e);

    if (n >= 0)
        n = read_head(r, &h, e);
    if (n >= 0 && h.status != 101)
        n = read_body(r, &h, e) < 0 ? e->code : refused(r, &h, e);
    return n;
}
