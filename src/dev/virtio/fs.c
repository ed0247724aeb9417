/*
 * dev/virtio/fs.c: a folder of the host in the guest.  (virtio 1.2, 5.11)
 * Requests are the FUSE protocol's.  What is asked by name goes to the folder's server, a process of its own (share/link.h); an open brings
 * the file itself along, and reads and writes are done here, from and to the guest's pages.
 *   (1) Requests to the server are answered in their order: `asked` is a ring of those that wait.
 *   (2) A request is decided upon, and sent, from our copy; of a read or write only the data is looked at in the guest's memory.
 *   (3) What is reset or paused has no request under way: it waits for the server, as a disk does for its image.
 */
#include "dev/virtio/fs.h"

#include "dev/virtio/vdev.h"
#include "share/link.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { HIPRIO, REQUEST, QUEUES };

enum {
    CFG_TAG = 0,
    CFG_QUEUES = FS_TAG_MAX,
    CFG_LEN = FS_TAG_MAX + 4,
    ASKED_MAX = 64,
    BUDGET = 64, /* requests of one turn */
    HEAD = sizeof(struct fuse_in_header),
    ANSWER = sizeof(struct fuse_out_header),
};

#define FS_STATS(X) X(reads) X(read_bytes) X(writes) X(written_bytes) X(asked) X(opened) X(errors)
#define X(name)     STAT_##name,
enum fs_stat { FS_STATS(X) STATS };
#undef X

struct fs_req {
    struct chain c;
    struct fuse_in_header h; /* our copy */
    u16 queue;
};

struct fs {
    struct vdev v;
    struct loop
        loop;      /* the one I/O thread, which owns what follows between activate and deactivate */
    int link;      /* host fd, -1: nobody serves */
    int *files;    /* by the number of the guest's handle: host fd, -1 */
    u32 files_max; /* fixed */
    struct loop_fd kicks[QUEUES], answers;
    atomic_ullong stats[STATS]; /* written by the I/O thread only */

    bool active;        /* host: between activate and deactivate */
    bool broken;        /* host, rebuilt by activate: the guest is at fault, nothing is served */
    bool stuffed;       /* host, rebuilt: the link takes no more now */
    u32 held;           /* host, rebuilt: queues that wait for room, one bit each */
    u32 first, n_asked; /* host */
    struct fs_req *asked;
    struct iovec iov[VQ_SEGS_MAX];                                              /* scratch */
    u64 ask[SHARE_ASK_MAX / sizeof(u64)], reply[SHARE_REPLY_MAX / sizeof(u64)]; /* scratch */
};

static struct fs *fs_of(struct device *d)
{
    return container_of(vdev_of(d), struct fs, v);
}

static void count(struct fs *s, enum fs_stat i, u64 by)
{
    u64 v = atomic_load_explicit(&s->stats[i], memory_order_relaxed);

    atomic_store_explicit(&s->stats[i], v + by, memory_order_relaxed);
}

/* ---- the guest's open files ---- */

static int file_of(const struct fs *s, u64 fh)
{
    return fh < s->files_max ? s->files[fh] : -1;
}

static void close_file(struct fs *s, u64 fh)
{
    if (fh < s->files_max)
        fd_close(&s->files[fh]);
}

static void close_files(struct fs *s)
{
    for (u32 i = 0; s->files && i < s->files_max; i++)
        fd_close(&s->files[i]);
}

/* ---- answers ---- */

static void give_back(struct fs *s, struct fs_req *r)
{
    vq_push(&s->v.q[r->queue], &r->c);
}

/* `n`: bytes of data that are behind the header already, or a negative errno. */
static void answer(struct fs *s, struct fs_req *r, ssize_t n)
{
    const struct fuse_out_header out = { .len = (u32)(ANSWER + max(n, (ssize_t)0)),
                                         .error = n < 0 ? (int)n : 0,
                                         .unique = r->h.unique };

    count(s, STAT_errors, n < 0);
    if (chain_put(&r->c, &out, sizeof(out)) == 0 && n > 0)
        chain_wrote(&r->c, (u32)n);
    give_back(s, r);
}

/* ---- data ---- */

static void read_file(struct fs *s, struct fs_req *r)
{
    struct fuse_read_in in; /* our copy */
    int n, fd;
    u32 size;
    ssize_t done;

    if (chain_get(&r->c, &in, sizeof(in)) < 0 || in.offset > INT64_MAX) {
        answer(s, r, -EINVAL);
        return;
    }
    fd = file_of(s, in.fh);
    size = min(in.size, r->c.in_len - ANSWER);
    n = chain_in_iov(&r->c, ANSWER, size, s->iov, ARRAY_LEN(s->iov));
    done = fd < 0 || n < 0 ? -1 : preadv2(fd, s->iov, n, (off_t)in.offset, 0);
    if (done < 0)
        done = fd < 0 || n < 0 ? -EBADF : -errno;
    count(s, STAT_reads, 1);
    count(s, STAT_read_bytes, (u64)max(done, (ssize_t)0));
    answer(s, r, done);
}

/* Our own write would take them away; the server's does not. */
static bool has_set_ids(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 &&
           (st.st_mode & S_ISUID || (st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP));
}

static void answer_write(struct fs *s, struct fs_req *r, ssize_t done)
{
    const struct fuse_out_header out = { .len = ANSWER + sizeof(struct fuse_write_out),
                                         .unique = r->h.unique };
    const struct fuse_write_out wrote = { .size = (u32)done };

    count(s, STAT_written_bytes, (u64)done);
    (void)chain_put(&r->c, &out, sizeof(out));
    (void)chain_put(&r->c, &wrote, sizeof(wrote));
    give_back(s, r);
}

/* False: the server is to do it. */
static bool write_file(struct fs *s, struct fs_req *r, const struct fuse_write_in *in)
{
    const int fd = file_of(s, in->fh);
    ssize_t done;
    int n;

    if (fd >= 0 && !(in->write_flags & FUSE_WRITE_KILL_SUIDGID) && has_set_ids(fd))
        return false;
    n = chain_out_iov(&r->c, HEAD + sizeof(*in), in->size, s->iov, ARRAY_LEN(s->iov));
    count(s, STAT_writes, 1);
    if (fd < 0 || n < 0 || in->offset > INT64_MAX ||
        r->c.in_len < ANSWER + sizeof(struct fuse_write_out)) {
        answer(s, r, fd < 0 ? -EBADF : -EINVAL);
        return true;
    }
    done = pwritev2(fd, s->iov, n, (off_t)in->offset, share_write_flags(in->flags));
    if (done < 0)
        answer(s, r, -errno);
    else
        answer_write(s, r, done);
    return true;
}

/* ---- what the server is asked ---- */

static void watch_link(struct fs *s)
{
    loop_fd_events(&s->answers, UV_READABLE | (s->stuffed ? UV_WRITABLE : 0));
}

/* Nobody serves any more. */
static void lose_link(struct fs *s)
{
    if (s->link < 0)
        return;
    log_warn("%s: the folder's server is gone; the guest's requests fail", s->v.fn.dev.name);
    loop_fd_close(&s->answers);
    fd_close(&s->link);
    s->stuffed = false;
    for (u32 i = 0; i < QUEUES; i++)
        fd_event_signal(s->v.kick[i]); /* what waits for room need not any more */
    while (s->n_asked > 0) {
        struct fs_req *r = &s->asked[s->first];

        s->first = (s->first + 1) % ASKED_MAX;
        s->n_asked--;
        answer(s, r, -EIO);
    }
}

/* 0; -EAGAIN: not now. */
static int send_ask(struct fs *s, u32 len)
{
    struct iovec iov = { s->ask, len };
    const struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

    if (s->link < 0)
        return -EIO;
    if (sendmsg(s->link, &m, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
        return 0;
    if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS)
        return -EAGAIN;
    lose_link(s);
    return -EIO;
}

/* What of it is about open files happens here as well. */
static void mind_files(struct fs *s, const struct fs_req *r, const void *in, u32 len)
{
    const struct fuse_release_in *rel = in;

    if (r->h.opcode == FUSE_RELEASE && len >= sizeof(*rel))
        close_file(s, rel->fh);
    if (r->h.opcode == FUSE_INIT || r->h.opcode == FUSE_DESTROY)
        close_files(s);
}

/* s->ask holds the request's header, and of what follows `have` bytes; `more` of it are in the chain.  False: there is no room now. */
static bool ask_server(struct fs *s, struct fs_req *r, u32 have, u32 more)
{
    struct share_ask *ask = (struct share_ask *)s->ask;
    u8 *in = (u8 *)(ask + 1) + HEAD;
    int sent;

    if (have + more > SHARE_REQUEST_MAX - HEAD || chain_get(&r->c, in + have, more) < 0) {
        answer(s, r, -E2BIG);
        return true;
    }
    r->h.len = HEAD + have + more;
    memcpy(ask + 1, &r->h, HEAD);
    *ask = (struct share_ask){ .room = r->c.in_len };
    sent = send_ask(s, (u32)sizeof(*ask) + r->h.len);
    if (sent == -EAGAIN)
        return false;
    mind_files(s, r, in, have + more);
    count(s, STAT_asked, 1);
    if (share_is_quiet(r->h.opcode))
        give_back(s, r);
    else if (sent < 0)
        answer(s, r, sent);
    else
        s->n_asked++;
    return true;
}

static bool take_write(struct fs *s, struct fs_req *r)
{
    struct fuse_write_in in; /* our copy */

    if (chain_get(&r->c, &in, sizeof(in)) < 0 || in.size > r->c.out_len - r->c.out_done) {
        answer(s, r, -EINVAL);
        return true;
    }
    if (write_file(s, r, &in))
        return true;
    in.size =
        min(in.size, (u32)SHARE_DATA_MAX); /* the rest is asked for again, as of any short write */
    memcpy((u8 *)s->ask + sizeof(struct share_ask) + HEAD, &in, sizeof(in));
    return ask_server(s, r, sizeof(in), in.size);
}

/* The request in `r`, which is the ring's next.  False: there is no room now. */
static bool take(struct fs *s, struct fs_req *r)
{
    if (chain_get(&r->c, &r->h, HEAD) < 0 ||
        (!share_is_quiet(r->h.opcode) && r->c.in_len < ANSWER)) {
        give_back(s, r); /* nothing can be said */
        return true;
    }
    if (r->h.opcode == FUSE_WRITE)
        return take_write(s, r);
    if (r->h.opcode != FUSE_READ)
        return ask_server(s, r, 0, r->c.out_len - HEAD);
    read_file(s, r);
    return true;
}

static void fail(struct fs *s)
{
    s->broken = true;
    vdev_fail(&s->v, "malformed ring");
}

static void serve(struct fs *s, u16 queue)
{
    struct vq *q = &s->v.q[queue];
    u32 n = 0;
    bool room = true;

    vq_kicks(q, false);
    while (n < BUDGET && !s->broken) {
        struct fs_req *r = &s->asked[(s->first + s->n_asked) % ASKED_MAX];
        int got;

        room = s->n_asked < ASKED_MAX && !s->stuffed;
        if (!room)
            break; /* `r` may be one that waits */
        got = vq_pop(q, &r->c);
        if (got < 0)
            fail(s);
        if (got == 0 && !vq_kicks(q, true))
            break;
        if (got <= 0)
            continue;
        r->queue = queue;
        if (!take(s, r)) {
            vq_unpop(q, &r->c);
            s->stuffed = true;
            watch_link(s);
        }
        n++;
    }
    if (!room)
        s->held |= 1u << queue;
    if (n == BUDGET)
        fd_event_signal(s->v.kick[queue]);
    if (!s->broken)
        vdev_notify(&s->v, queue);
}

/* ---- what the server answers ---- */

static void keep_file(struct fs *s, const struct fs_req *r, u32 len, int fd)
{
    const struct fuse_open_out *out;
    u32 at;

    if (!share_opens(r->h.opcode, &at) || len < at + sizeof(*out)) {
        fd_close(&fd);
        return;
    }
    out = (const struct fuse_open_out *)((const u8 *)s->reply + at);
    close_file(s, out->fh);
    if (out->fh < s->files_max)
        s->files[out->fh] = TAKE_FD(fd);
    fd_close(&fd);
    count(s, STAT_opened, 1);
}

/* False: there is none now. */
static bool take_answer(struct fs *s)
{
    struct fs_req *r = &s->asked[s->first];
    int fd;
    ssize_t n = s->link < 0 ? -EAGAIN : share_take(s->link, s->reply, sizeof(s->reply), &fd);

    if (n == -EAGAIN)
        return false;
    if (n == 0 || s->n_asked == 0) {
        lose_link(s);
        return false;
    }
    s->first = (s->first + 1) % ASKED_MAX;
    s->n_asked--;
    if (fd >= 0)
        keep_file(s, r, (u32)n, fd);
    if (chain_put(&r->c, s->reply, (u32)n) < 0)
        answer(s, r, -EIO);
    else
        give_back(s, r);
    return true;
}

static void notify_all(struct fs *s)
{
    for (u32 i = 0; i < QUEUES && !s->broken; i++)
        if (s->v.q[i].started)
            vdev_notify(&s->v, (u16)i);
}

static void on_link(struct loop_fd *f, int events)
{
    struct fs *s = f->arg;
    u32 held = s->held;

    while (take_answer(s))
        ;
    if (events & UV_WRITABLE && s->stuffed) {
        s->stuffed = false;
        watch_link(s);
    }
    notify_all(s);
    s->held = 0;
    for (u32 i = 0; i < QUEUES; i++)
        if (held >> i & 1 && !s->broken)
            serve(s, (u16)i);
}

static void on_kick(struct loop_fd *f, int)
{
    struct fs *s = f->arg;
    u16 queue = (u16)(f - s->kicks);

    fd_event_take(s->v.kick[queue]);
    if (!s->broken)
        serve(s, queue);
}

/* ---- start and stop of the queues: from a vCPU, dev.lock held ---- */

static void wait_link(struct fs *s, short events)
{
    struct pollfd p = { .fd = s->link, .events = events };

    if (s->link >= 0)
        poll(&p, 1, -1);
}

static void close_queues(void *arg)
{
    struct fs *s = arg;

    while (s->n_asked > 0) {
        wait_link(s, POLLIN);
        take_answer(s);
    }
    s->active = false;
    loop_fd_close(&s->answers);
    for_each_row(k, s->kicks)
        loop_fd_close(k);
}

struct open_args {
    struct fs *s;
    int r;
};

static void open_queues(void *arg)
{
    struct open_args *a = arg;
    struct fs *s = a->s;

    s->broken = s->stuffed = false;
    s->held = 0;
    for (u32 i = 0; i < QUEUES && a->r == 0; i++)
        if (s->v.q[i].started)
            a->r = loop_fd_open(&s->loop, &s->kicks[i], s->v.kick[i], UV_READABLE, on_kick, s);
    if (a->r == 0 && s->link >= 0)
        a->r = loop_fd_open(&s->loop, &s->answers, s->link, UV_READABLE, on_link, s);
    s->active = a->r == 0;
    if (!s->active)
        close_queues(s);
}

static int fs_activate(struct vdev *v, struct err *e)
{
    struct fs *s = container_of(v, struct fs, v);
    struct open_args a = { .s = s };

    loop_call(&s->loop, open_queues, &a);
    return a.r < 0 ? err_code(e, a.r, "serve the queues") : 0;
}

static void fs_deactivate(struct vdev *v)
{
    struct fs *s = container_of(v, struct fs, v);

    loop_call(&s->loop, close_queues, s);
}

/* The server forgets what the guest knew. */
static void forget_guest(void *arg)
{
    struct fs *s = arg;

    close_files(s);
    *(struct share_ask *)s->ask = (struct share_ask){ .reset = 1 };
    while (send_ask(s, sizeof(struct share_ask)) == -EAGAIN)
        wait_link(s, POLLOUT);
}

static void fs_vdev_reset(struct vdev *v)
{
    struct fs *s = container_of(v, struct fs, v);

    loop_call(&s->loop, forget_guest, s);
}

static const struct vdev_def fs_vdef = {
    .type = VIRTIO_FS,
    .class_code = 0x018000, /* mass storage, other */
    .queue_size = VQ_SIZE_MAX,
    .activate = fs_activate,
    .deactivate = fs_deactivate,
    .reset = fs_vdev_reset,
};

/* ---- the device ---- */

/* Also of a half-built one. */
static void release(struct fs *s)
{
    loop_fini(&s->loop);
    close_files(s);
    free(s->files);
    free(s->asked);
    fd_close(&s->link);
}

static int build(struct fs *s, const struct fs_cfg *cfg, struct err *e)
{
    struct device *d = &s->v.fn.dev;
    int r;

    s->link = cfg->link ? (int)cfg->link : -1;
    s->files_max = min(cfg->files, (u32)SHARE_HANDLES_MAX);
    r = loop_init(&s->loop, d->name);
    if (r < 0)
        return err_code(e, r, "make a loop");
    s->files = xnew_n(int, max(s->files_max, 1u));
    for (u32 i = 0; i < s->files_max; i++)
        s->files[i] = -1;
    s->asked = xnew_n(struct fs_req, ASKED_MAX);
    memcpy(s->v.st.config + CFG_TAG, cfg->tag, strnlen(cfg->tag, FS_TAG_MAX));
    le_store(s->v.st.config + CFG_QUEUES, 4, QUEUES - 1);
    s->v.config_len = CFG_LEN;
    r = vdev_start(&s->v, &fs_vdef, 0, QUEUES, e);
    if (r < 0)
        return r;
    r = machine_io_start(d->machine, &s->loop, IO_FILES);
    if (r < 0) {
        vdev_stop(&s->v);
        return err_code(e, r, "start an I/O thread");
    }
    return 0;
}

static int fs_start(struct device *d, const void *cfg, struct err *e)
{
    struct fs *s = fs_of(d);
    int r = build(s, cfg, e);

    if (r < 0)
        release(s);
    return r;
}

static void fs_stop(struct device *d)
{
    vdev_stop(vdev_of(d));
    release(fs_of(d));
}

static void fs_reset(struct device *d)
{
    vdev_reset(vdev_of(d));
}

static void fs_pause(struct device *d)
{
    vdev_pause(vdev_of(d));
}

static void fs_resume(struct device *d)
{
    vdev_resume(vdev_of(d));
}

static void fs_stats(struct device *d, void (*put)(void *arg, const char *name, u64 value),
                     void *arg)
{
#define X(name) #name,
    static const char *const names[] = { FS_STATS(X) };
#undef X
    struct fs *s = fs_of(d);

    for (u32 i = 0; i < STATS; i++)
        put(arg, names[i], atomic_load_explicit(&s->stats[i], memory_order_relaxed));
}

bool fs_tag_ok(const char *s)
{
    const size_t len = strlen(s);

    return len > 0 && len <= FS_TAG_MAX &&
           strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") == len;
}

/* clang-format off */
const struct field fs_fields[] = {
    FIELD_STR(fs_cfg, tag,   "name that the guest mounts it by", .required = true, .first = true, .ok = fs_tag_ok,
              .want = "1 to 36 letters, digits, '.', '-' or '_'"),
    FIELD_INT(fs_cfg, link,  "link to the folder's server; 0: none", .max = 65535),
    FIELD_INT(fs_cfg, files, "files that may be open", .dflt = 1024, .min = 1, .max = SHARE_HANDLES_MAX),
    {},
};
/* clang-format on */

const struct device_def virtio_fs_def = {
    .name = "virtio-fs",
    .doc = "a folder of the host",
    .size = sizeof(struct fs),
    .fields = fs_fields,
    .cfg_size = sizeof(struct fs_cfg),
    .parts = { VDEV_PARTS(fs, v) },
    .start = fs_start,
    .stop = fs_stop,
    .reset = fs_reset,
    .pause = fs_pause,
    .resume = fs_resume,
    .stats = fs_stats,
};
