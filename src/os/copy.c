/*
 * os/copy.c: frames of files and trees: taken apart, put together, and sent.
 */
#include "os/copy.h"

#include "layer/beneath.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CHUNK = 64 * 1024, HEAD = 3 };

/* ---- entries ---- */

/* Relative, and each part of it a name: "a/b", not "", "/a", "a//b", "a/", "../a". */
static bool name_ok(const char *name)
{
    const char *at = name;

    if (strlen(name) > COPY_NAME_MAX)
        return false;
    for (;;) {
        const size_t len = strcspn(at, "/");

        if (len == 0 || (at[0] == '.' && (len == 1 || (len == 2 && at[1] == '.'))))
            return false;
        if (!at[len])
            return true;
        at += len + 1;
    }
}

int copy_entry_parse(const u8 *p, size_t len, struct copy_entry *ret)
{
    const char *text = (const char *)p + HEAD, *target;
    const u8 *end;

    if (len < HEAD + 2 || p[0] >= COPY_KINDS || p[len - 1] != 0)
        return -EBADMSG;
    end = memchr(text, 0, len - HEAD);
    target = (const char *)end + 1;
    if (target + strlen(target) + 1 != (const char *)p + len) /* another NUL ends it */
        return -EBADMSG;
    *ret = (struct copy_entry){ p[0], (u32)(p[1] << 8 | p[2]), text, target };
    if (ret->mode > 07777 || !name_ok(text) || (ret->kind == COPY_LINK) != (*target != 0))
        return -EBADMSG;
    return 0;
}

void copy_entry_add(struct strbuf *out, const struct copy_entry *n)
{
    const u8 head[HEAD] = { (u8)n->kind, (u8)(n->mode >> 8), (u8)n->mode };

    strbuf_add_mem(out, head, sizeof(head));
    strbuf_add_mem(out, n->name, strlen(n->name) + 1);
    strbuf_add_mem(out, n->target, strlen(n->target) + 1);
}

/* ---- frames ---- */

static int take(struct copy_in *in, struct err *e)
{
    char buf[CHUNK];
    ssize_t n;

    do
        n = read(in->fd, buf, sizeof(buf));
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return err_set(e, -EPIPE, "the other side ended, or its connection");
    strbuf_add_mem(&in->got, buf, (size_t)n);
    return 0;
}

int copy_next(struct copy_in *in, const u8 **ret_data, size_t *ret_len, struct err *e)
{
    ssize_t n = 0;
    u8 kind = 0;

    for (;;) {
        if (in->got.len > in->at)
            n = os_frame_parse((const u8 *)in->got.text + in->at, in->got.len - in->at, &kind,
                               ret_data, ret_len);
        if (n)
            break;
        if (in->at) { /* else there may be no memory yet */
            memmove(in->got.text, in->got.text + in->at, in->got.len - in->at);
            in->got.len -= in->at;
            in->at = 0;
        }
        if (take(in, e) < 0)
            return -EPIPE;
    }
    if (n < 0)
        return err_set(e, -EBADMSG, "a frame has more than %d bytes", OS_FRAME_MAX);
    in->at += (size_t)n;
    if (kind == OS_FRAME_FAILED)
        return err_set(e, -EREMOTEIO, "%.*s", (int)min(*ret_len, (size_t)230),
                       (const char *)*ret_data);
    return kind;
}

void copy_in_fini(struct copy_in *in)
{
    strbuf_fini(&in->got);
}

int copy_say(int fd, u8 kind, const void *data, size_t len)
{
    AUTO(strbuf) struct strbuf out = {};

    os_frame_add(&out, kind, data, len);
    return fd_write_all(fd, out.text, out.len);
}

/* ---- sending ---- */

/* 0, or -EPIPE when the other side does not listen any more. */
static int say(const struct copy_from *f, u8 kind, const void *data, size_t len, struct err *e)
{
    struct pollfd p = { f->conn, POLLIN, 0 };

    if ((f->listens && poll(&p, 1, 0) > 0) || copy_say(f->conn, kind, data, len) < 0)
        return err_set(e, -EPIPE, "the other side does not take it");
    return 0;
}

static int say_entry(struct copy_from *f, const struct copy_entry *n, struct err *e)
{
    AUTO(strbuf) struct strbuf text = {};

    if (strlen(n->name) > COPY_NAME_MAX)
        return err_set(e, -ENAMETOOLONG, "'%.80s…': a name has at most %d bytes", n->name,
                       COPY_NAME_MAX);
    if (++f->n_entries > COPY_ENTRIES_MAX)
        return err_set(e, -E2BIG, "there are more than %d files", COPY_ENTRIES_MAX);
    copy_entry_add(&text, n);
    return say(f, COPY_ENTRY, text.text, text.len, e);
}

/* At most `limit` bytes: a file may grow as fast as it is read. */
static int say_data(const struct copy_from *f, int fd, u64 limit, const char *name, struct err *e)
{
    char buf[CHUNK];
    ssize_t n = 1;
    int r = 0;

    while (limit && r >= 0) {
        n = read(fd, buf, min((u64)sizeof(buf), limit));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(e, "read '%.80s'", name);
        if (n == 0)
            break;
        limit -= (u64)n;
        r = say(f, COPY_DATA, buf, (size_t)n, e);
    }
    return r;
}

static int send_file(struct copy_from *f, int fd, const struct stat *st, const char *name,
                     struct err *e)
{
    const struct copy_entry n = { COPY_FILE, st->st_mode & 07777, name, "" };
    int r = say_entry(f, &n, e);

    return r < 0 ? r
                 : say_data(f, fd, st->st_size > 0 ? (u64)st->st_size : COPY_VIRTUAL_MAX, name, e);
}

int copy_send_stream(struct copy_from *f, int fd, const char *name, struct err *e)
{
    const struct copy_entry n = { COPY_FILE, 0644, name, "" };
    int r = say_entry(f, &n, e);

    return r < 0 ? r : say_data(f, fd, UINT64_MAX, name, e);
}

/* A folder whose entries are being sent, and those that it is in. */
struct walk {
    struct copy_from *f;
    DIR *dir[COPY_DEPTH_MAX];
    size_t len[COPY_DEPTH_MAX]; /* of its name within `name` */
    u32 depth;
    struct strbuf name;
};

static void cut(struct strbuf *b, size_t len)
{
    b->len = len;
    b->text[len] = 0;
}

static void leave(struct walk *w)
{
    closedir(w->dir[--w->depth]);
    if (w->depth)
        cut(&w->name, w->len[w->depth - 1]);
}

/* `fd` is taken. */
static int enter(struct walk *w, int fd, const struct stat *st, struct err *e)
{
    const struct copy_entry n = { COPY_FOLDER, st->st_mode & 07777, w->name.text, "" };
    AUTO(fd) int own = fd;
    int r;

    if (w->depth == COPY_DEPTH_MAX)
        return err_set(e, -ELOOP, "there are more than %d folders in each other", COPY_DEPTH_MAX);
    r = say_entry(w->f, &n, e);
    if (r < 0)
        return r;
    w->dir[w->depth] = fdopendir(own);
    if (!w->dir[w->depth])
        return err_errno(e, "read '%.80s'", w->name.text);
    (void)TAKE_FD(own);
    w->len[w->depth++] = w->name.len;
    return 0;
}

static int send_link(struct walk *w, int dir, const char *name, struct err *e)
{
    char target[COPY_NAME_MAX + 1];
    const ssize_t len = readlinkat(dir, name, target, sizeof(target) - 1);
    const struct copy_entry n = { COPY_LINK, 0777, w->name.text, target };

    if (len <= 0) { /* it is something else by now */
        w->f->n_skipped++;
        return 0;
    }
    target[len] = 0;
    return say_entry(w->f, &n, e);
}

/* An entry of the innermost folder, whose name is in w->name.  What is no file is not even opened, unless it became that just now. */
static int send_entry(struct walk *w, const char *name, struct err *e)
{
    const int dir = dirfd(w->dir[w->depth - 1]);
    AUTO(fd) int fd = -1;
    struct stat st = {};

    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode))
        return send_link(w, dir, name, e);
    if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
        fd = beneath_open(dir, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_NOFOLLOW, 0);
    if (fd < 0 || fstat(fd, &st) < 0 || !(S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))) {
        w->f->n_skipped++; /* gone, changed, of another file system, or no file */
        return 0;
    }
    return S_ISDIR(st.st_mode) ? enter(w, TAKE_FD(fd), &st, e)
                               : send_file(w->f, fd, &st, w->name.text, e);
}

static int send_tree(struct walk *w, struct err *e)
{
    const struct dirent *de;
    int r = 0;

    while (w->depth && r >= 0) {
        const size_t len = w->len[w->depth - 1];

        de = readdir(w->dir[w->depth - 1]);
        if (!de) {
            leave(w);
            continue;
        }
        if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
            continue;
        strbuf_add(&w->name, "/%s", de->d_name);
        const u32 depth = w->depth;

        r = send_entry(w, de->d_name, e);
        if (w->depth == depth)
            cut(&w->name, len);
    }
    return r;
}

int copy_send(struct copy_from *f, int fd, const char *name, struct err *e)
{
    struct walk w = { .f = f };
    struct stat st;
    int own, r;

    if (fstat(fd, &st) < 0)
        return err_errno(e, "look at '%.80s'", name);
    if (S_ISREG(st.st_mode))
        return send_file(f, fd, &st, name, e);
    if (!S_ISDIR(st.st_mode))
        return err_set(e, -EINVAL, "'%.80s' is neither a file nor a folder", name);
    if (!f->recursive)
        return err_set(e, -EISDIR, "'%.80s' is a folder; --recursive copies it", name);
    own = beneath_open(fd, ".", O_RDONLY | O_DIRECTORY, 0);
    if (own < 0)
        return err_code(e, own, "read '%.80s'", name);
    strbuf_add(&w.name, "%s", name);
    r = enter(&w, own, &st, e);
    if (r >= 0)
        r = send_tree(&w, e);
    while (w.depth)
        leave(&w);
    strbuf_fini(&w.name);
    return r;
}
