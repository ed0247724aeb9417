/*
 * cmd/transfer.c: in `socle-more`: files sent to a socled and had from one, gone on with after an interruption, and compared by SHA-256.
 */
#include "base/clock.h"
#include "cmd/more.h"
#include "cmd/progress.h"
#include "layer/digest.h"

#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    CHUNK = 1024 * 1024,
    STUCK_SECONDS = 120, /* without a byte more: given up */
    PAUSE_MS = 500,
    DRAW_MS = 200,
};

/* ---- what is drawn ---- */

struct bar {
    const char *what;
    u64 total, began_ns, drawn_ns;
    bool tty, drawn;
};

static struct bar bar_begin(const char *what, u64 total)
{
    return (struct bar){
        .what = what, .total = total, .began_ns = clock_mono_ns(), .tty = isatty(STDERR_FILENO)
    };
}

static void bar_draw(struct bar *b, u64 at)
{
    const u64 now = clock_mono_ns();
    AUTO(strbuf) struct strbuf line = {};

    if (!b->tty || now < b->drawn_ns + DRAW_MS * NSEC_PER_MSEC)
        return;
    b->drawn_ns = now;
    b->drawn = true;
    progress_line(b->what, at, b->total, now - b->began_ns, &line);
    fprintf(stderr, "\r%s\x1b[K", line.text);
}

static void bar_end(const struct bar *b)
{
    if (b->drawn)
        fprintf(stderr, "\r\x1b[K");
}

static void on_sent(void *arg, u64 at)
{
    bar_draw(arg, at);
}

/* ---- sums ---- */

static int sum_of(int fd, u64 size, char ret[DIGEST_HEX + 1], struct err *e)
{
    AUTO(free) u8 *buf = xnew_n(u8, CHUNK);
    struct bar bar = bar_begin("read", size);
    struct digest d = {};
    char text[DIGEST_TEXT];
    int r = 0;

    digest_init(&d);
    for (u64 at = 0; at < size && r >= 0;) {
        const size_t n = (size_t)min(size - at, (u64)CHUNK);

        r = fd_pread_all(fd, buf, n, at);
        if (r >= 0)
            digest_add(&d, buf, n);
        at += n;
        bar_draw(&bar, at);
    }
    bar_end(&bar);
    digest_end(&d, text);
    digest_fini(&d);
    str_copy(ret, DIGEST_HEX + 1, digest_hex(text));
    return r < 0 ? err_code(e, r, "read the file") : 0;
}

/* ---- to a socled ---- */

static const char *text_of(const json_t *j, const char *name)
{
    const char *s = json_string_value(json_object_get(j, name));

    return s ? s : "";
}

static u64 number_of(const json_t *j, const char *name)
{
    return (u64)json_integer_value(json_object_get(j, name));
}

struct sending {
    const char *name;
    char sum[DIGEST_HEX + 1], id[40];
    u64 size, received;
    int fd;
};

/* One that was begun before. */
static int find_begun(struct rest *r, struct sending *s, struct err *e)
{
    const struct rest_request rq = { .method = "GET", .path = "/1.0/uploads" };
    json_t *j = rest_ask(r, &rq, NULL, e), *u;
    size_t i;

    json_array_foreach(json_object_get(j, "list"), i, u)
    {
        if (strcmp(text_of(u, "sha256"), s->sum) == 0 && number_of(u, "size") == s->size) {
            str_copy(s->id, sizeof(s->id), text_of(u, "id"));
            s->received = number_of(u, "received");
        }
    }
    json_decref(j);
    return j ? 0 : e->code;
}

static int begin(struct rest *r, struct sending *s, struct err *e)
{
    json_t *body = json_pack("{s:s, s:I, s:s}", "name", s->name, "size", (json_int_t)s->size,
                             "sha256", s->sum);
    const struct rest_request rq = { .method = "POST", .path = "/1.0/uploads", .body = body };
    json_t *j = body ? rest_ask(r, &rq, NULL, e) : NULL;

    if (!body)
        err_set(e, -EINVAL, "the file's name is not UTF-8");
    str_copy(s->id, sizeof(s->id), text_of(j, "id"));
    json_decref(body);
    json_decref(j);
    return j ? 0 : e->code;
}

/* How much has come, when the connection was lost meanwhile. */
static int ask_received(struct rest *r, struct sending *s, struct err *e)
{
    AUTO(free) char *path = str_new("/1.0/uploads/%s", s->id);
    const struct rest_request rq = { .method = "GET", .path = path };
    json_t *j = rest_ask(r, &rq, NULL, e);

    if (j)
        s->received = number_of(j, "received");
    json_decref(j);
    return j ? 0 : e->code;
}

static int send_rest(struct rest *r, struct sending *s, struct bar *bar, struct err *e)
{
    AUTO(free) char *path = str_new("/1.0/uploads/%s?offset=%llu", s->id, s->received);
    struct rest_feed feed = {
        .fd = s->fd, .at = s->received, .end = s->size, .told = on_sent, .arg = bar
    };
    const struct rest_request rq = { .method = "PUT", .path = path, .feed = &feed };
    json_t *j = rest_ask(r, &rq, NULL, e);

    if (j)
        s->received = number_of(j, "received");
    json_decref(j);
    return j ? 0 : e->code;
}

/* Worth another try: the connection broke, or the one that broke is not known to be gone yet. */
static bool goes_on(int code)
{
    return rest_is_lost(code) || code == -EBUSY || code == -ETIMEDOUT;
}

static int send_all(struct rest *r, struct sending *s, struct err *e)
{
    struct bar bar = bar_begin("upload", s->size);
    u64 limit = clock_mono_ns() + STUCK_SECONDS * NSEC_PER_SEC, before = s->received;
    int n = 0;

    while (s->received < s->size) {
        n = send_rest(r, s, &bar, e);
        if (n >= 0)
            continue;
        if (!goes_on(n) || clock_mono_ns() > limit)
            break;
        poll(NULL, 0, PAUSE_MS);
        n = ask_received(r, s, e);
        if (n < 0 && !goes_on(n))
            break;
        if (s->received > before)
            limit = clock_mono_ns() + STUCK_SECONDS * NSEC_PER_SEC;
        before = s->received;
    }
    bar_end(&bar);
    return s->received == s->size ? 0 : n;
}

int transfer_upload(struct rest *r, const char *file, char **ret, struct err *e)
{
    AUTO(free) char *copy = xdup(file);
    AUTO(fd) int fd = open(file, O_RDONLY | O_CLOEXEC);
    struct sending s = { .name = basename(copy), .fd = fd };
    struct stat st;
    int n;

    if (fd < 0 || fstat(fd, &st) < 0)
        return err_errno(e, "open '%s'", file);
    if (!S_ISREG(st.st_mode) || st.st_size == 0)
        return err_set(e, -EINVAL,
                       "'%s' is no file with something in it; of a folder a tar can be sent", file);
    s.size = (u64)st.st_size;
    rest_hang_up(r);
    n = sum_of(fd, s.size, s.sum, e);
    if (n >= 0)
        n = find_begun(r, &s, e);
    if (n >= 0 && !s.id[0])
        n = begin(r, &s, e);
    if (n >= 0)
        n = send_all(r, &s, e);
    if (n < 0)
        return err_wrap(e, "send '%s'", file);
    *ret = str_new("upload:%s", s.id);
    return 0;
}

/* ---- from a socled ---- */

struct having {
    u64 at;
    int fd;
    int error; /* of the file here */
    struct bar bar;
};

static int on_bytes(void *arg, const void *p, size_t len)
{
    struct having *h = arg;

    h->error = fd_pwrite_all(h->fd, p, len, h->at);
    if (h->error < 0)
        return h->error;
    h->at += len;
    bar_draw(&h->bar, h->at);
    return 0;
}

static int get_rest(struct rest *r, const struct transfer_get *get, struct having *h, struct err *e)
{
    AUTO(free) char *range = str_new("Range: bytes=%llu-\r\nIf-Range: \"%s\"\r\n", h->at, get->sum);
    const struct rest_request rq = { .method = "GET",
                                     .path = get->path,
                                     .headers = h->at && get->sum[0] ? range : NULL };
    struct rest_bytes to = { .take = on_bytes, .arg = h };
    int n;

    if (!rq.headers)
        h->at = 0;
    n = rest_bytes(r, &rq, &to, e);
    if (h->error < 0)
        return err_code(e, h->error, "write the file");
    if (n >= 0 && rq.headers && to.status != 206)
        return err_set(e, -ESTALE, "%s is another one meanwhile; once more", get->what);
    return n;
}

static int get_all(struct rest *r, const struct transfer_get *get, struct having *h, struct err *e)
{
    u64 limit = clock_mono_ns() + STUCK_SECONDS * NSEC_PER_SEC, before = h->at;
    int n = 0;

    h->bar = bar_begin("download", get->size);
    while (!get->sum[0] || h->at < get->size) {
        n = get_rest(r, get, h, e);
        if (n >= 0 || h->error < 0 || !rest_is_lost(n) || clock_mono_ns() > limit)
            break;
        if (h->at > before)
            limit = clock_mono_ns() + STUCK_SECONDS * NSEC_PER_SEC;
        before = h->at;
        poll(NULL, 0, PAUSE_MS);
    }
    bar_end(&h->bar);
    return n;
}

static int check_sum(const struct transfer_get *get, const struct having *h, struct err *e)
{
    char sum[DIGEST_HEX + 1];
    struct stat st;
    int r;

    if (fstat(h->fd, &st) < 0)
        return err_errno(e, "look at the file");
    r = sum_of(h->fd, (u64)st.st_size, sum, e);
    if (r < 0)
        return r;
    if (!get->sum[0]) {
        log_warn("the image is of an older version, which kept no SHA-256; what came has %s", sum);
        return 0;
    }
    return strcmp(sum, get->sum) == 0
               ? 0
               : err_set(e, -EBADMSG, "what came has the SHA-256 %s in place of %s", sum, get->sum);
}

/* What is there of an earlier try is of this sum, as its name says. */
static int have(struct rest *r, const struct transfer_get *get, const char *temp, struct having *h,
                struct err *e)
{
    struct stat st;
    int n;

    h->fd = open(temp, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (h->fd < 0 || fstat(h->fd, &st) < 0)
        return err_errno(e, "make '%s'", temp);
    h->at = get->sum[0] ? min((u64)st.st_size, get->size) : 0;
    if (ftruncate(h->fd, (off_t)h->at) < 0)
        return err_errno(e, "shorten '%s'", temp);
    n = get_all(r, get, h, e);
    if (n >= 0) {
        n = check_sum(get, h, e);
        if (n < 0)
            unlink(temp);
    }
    if (n >= 0 && fsync(h->fd) < 0)
        n = err_errno(e, "write '%s'", temp);
    if (n >= 0 && rename(temp, get->file) < 0)
        n = err_errno(e, "rename '%s'", temp);
    return n;
}

static char *part_name(const struct transfer_get *get)
{
    return str_new("%s.%.8s.part", get->file, get->sum[0] ? get->sum : "new");
}

int transfer_check(const struct transfer_get *get, struct err *e)
{
    return get->force || access(get->file, F_OK) < 0
               ? 0
               : err_set(e, -EEXIST, "'%s' is there already; --force replaces it", get->file);
}

bool transfer_is_begun(const struct transfer_get *get)
{
    AUTO(free) char *temp = part_name(get);

    return access(temp, F_OK) == 0;
}

int transfer_download(struct rest *r, const struct transfer_get *get, struct err *e)
{
    AUTO(free) char *temp = part_name(get);
    struct having h = { .fd = -1 };
    int n = have(r, get, temp, &h, e);

    fd_close(&h.fd);
    return n;
}
