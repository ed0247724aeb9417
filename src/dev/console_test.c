/*
 * dev/console_test.c: every backend of a console, without a device and without waiting.
 */
#include "dev/console.h"

#include "base/base.h"

#include "base/clock.h"
#include "base/console_head.h"
#include "base/loop.h"
#include "testlib/test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* A device that takes `room` bytes. */
struct taker {
    struct loop loop;
    struct chardev *c;
    u32 room, got, told;
    u8 bytes[256];
};

static u32 on_ask_room(void *arg)
{
    return ((struct taker *)arg)->room;
}

static void on_input(void *arg, const u8 *data, u32 len)
{
    struct taker *t = arg;

    must(len <= t->room && t->got + len <= sizeof(t->bytes));
    memcpy(t->bytes + t->got, data, len);
    t->got += len;
    t->room -= len;
}

static void on_room(void *arg)
{
    ((struct taker *)arg)->told++;
}

static const struct chardev_ops ops = { on_ask_room, on_input, on_room };

static void taker_open(struct taker *t, const char *backend)
{
    struct err e = {};

    sigaction(SIGPIPE, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL); /* as socle-vm */
    *t = (struct taker){};
    CHECK_EQ(loop_init(&t->loop, "test"), 0);
    CHECK_OK(chardev_open(&t->loop, backend, &ops, t, &t->c, &e), &e);
}

static void turn(struct taker *t)
{
    for (u32 i = 0; i < 4; i++)
        uv_run(&t->loop.uv, UV_RUN_NOWAIT);
}

static void taker_close(struct taker *t)
{
    chardev_close(t->c);
    loop_fini(&t->loop);
}

static void open_pair(struct taker *t, int *ret_host)
{
    char backend[32];
    int fds[2];

    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    CHECK_EQ(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
    str_fmt(backend, sizeof(backend), "fd:%d:%d", fds[1], fds[1]);
    taker_open(t, backend);
    close(fds[1]);
    *ret_host = fds[0];
}

TEST(console_backend_words)
{
    static const struct {
        const char *why;
        bool ok;
    } rows[] = {
        { "none", true },           { "stdio", true },  { "pty", true },       { "unix:/x", true },
        { "file:x", true },         { "fd:3", true },   { "fd:3:4", true },    { "", false },
        { "unix:", false },         { "file:", false }, { "fd:", false },      { "fd:3:", false },
        { "fd:-1", false },         { "fd::4", false }, { "fd:3:4:5", false }, { "stdio2", false },
        { "fd:4294967296", false },
    };

    for_each_row(c, rows) {
        ROW(c);
        CHECK_EQ(chardev_backend_ok(c->why), c->ok);
    }
}

TEST(console_none)
{
    struct taker t;

    taker_open(&t, "none");
    for (u32 i = 0; i < 100; i++)
        CHECK_EQ(chardev_write(t.c, t.bytes, sizeof(t.bytes)), sizeof(t.bytes));
    CHECK_EQ(chardev_room(t.c, 64), CHARDEV_RING);
    chardev_accept(t.c);
    turn(&t);
    CHECK(!chardev_pty(t.c));
    taker_close(&t);
    chardev_close(NULL);
}

TEST(console_input_waits_for_the_device)
{
    struct taker t;
    int host;

    open_pair(&t, &host);
    CHECK_EQ(write(host, "abcdef", 6), 6);
    turn(&t);
    CHECK_EQ(t.got, 0);
    t.room = 2;
    turn(&t);
    CHECK_EQ(t.got, 0); /* nobody said so */
    chardev_accept(t.c);
    turn(&t);
    CHECK_EQ(t.got, 2);
    t.room = 100;
    chardev_accept(t.c);
    turn(&t);
    CHECK_EQ(t.got, 6);
    CHECK_MEM(t.bytes, "abcdef", 6);
    close(host);
    turn(&t);
    CHECK_EQ(chardev_write(t.c, "x", 1), 1); /* into the void, and never blocked */
    CHECK_EQ(chardev_room(t.c, 64), CHARDEV_RING);
    taker_close(&t);
}

/* Fills the host and the ring with a pattern; returns how much they took. */
static u32 fill(struct taker *t)
{
    u32 sent = 0, n = 1;

    while (n) {
        u8 b = (u8)(sent * 11);

        n = chardev_write(t->c, &b, 1);
        sent += n;
    }
    return sent;
}

TEST(console_output_waits_for_the_host)
{
    struct taker t;
    int host;
    u32 sent, got = 0;
    u8 bytes[4096];
    ssize_t n;

    open_pair(&t, &host);
    sent = fill(&t);
    CHECK(sent > CHARDEV_RING);
    CHECK_EQ(chardev_room(t.c, 1), 0);
    turn(&t);
    CHECK_EQ(t.told, 0);
    while (got < sent && (n = read(host, bytes, sizeof(bytes))) > 0) {
        for (ssize_t i = 0; i < n; i++)
            CHECK_EQ(bytes[i], (got++ * 11) & 0xff);
        turn(&t);
    }
    CHECK_EQ(got, sent);
    CHECK_EQ(t.told, 1);
    CHECK_EQ(chardev_room(t.c, 1), CHARDEV_RING);
    close(host);
    taker_close(&t);
}

TEST(console_close_flushes)
{
    struct taker t;
    int host;
    u32 sent, got = 0;
    u8 bytes[4096];
    ssize_t n;

    open_pair(&t, &host);
    sent = fill(&t);
    while ((n = read(host, bytes, sizeof(bytes))) > 0)
        got += (u32)n;
    CHECK_EQ(got, sent - CHARDEV_RING);
    taker_close(&t);
    while ((n = read(host, bytes, sizeof(bytes))) > 0)
        got += (u32)n;
    CHECK_EQ(got, sent);
    close(host);
}

TEST(console_reader_that_dies_frees_the_device)
{
    struct taker t;
    int host;

    open_pair(&t, &host);
    fill(&t);
    turn(&t);
    close(host);
    turn(&t);
    CHECK_EQ(t.told, 1);
    CHECK_EQ(chardev_write(t.c, "x", 1), 1);
    taker_close(&t);
}

TEST(console_file)
{
    struct taker t;
    char path[256], backend[300], text[8] = {};
    struct stat st;
    int fd;

    str_fmt(path, sizeof(path), "%s/console.log", test_dir());
    str_fmt(backend, sizeof(backend), "file:%s", path);
    for (u32 i = 0; i < 2; i++) {
        taker_open(&t, backend);
        CHECK_EQ(chardev_write(t.c, "log", 3), 3);
        taker_close(&t);
    }
    fd = open(path, O_RDONLY);
    CHECK_EQ(read(fd, text, sizeof(text)), 6);
    CHECK_STR(text, "loglog");
    CHECK_EQ(fstat(fd, &st), 0);
    CHECK_EQ(st.st_mode & 0777, 0600);
    close(fd);
}

/* Input from a regular file, which epoll refuses. */
TEST(console_input_from_a_file)
{
    struct taker t;
    char path[256], backend[32];
    int fd;

    str_fmt(path, sizeof(path), "%s/input", test_dir());
    fd = open(path, O_RDWR | O_CREAT, 0600);
    CHECK_EQ(write(fd, "0123456789", 10), 10);
    CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
    str_fmt(backend, sizeof(backend), "fd:%d", fd);
    taker_open(&t, backend);
    t.room = 4;
    turn(&t);
    CHECK_EQ(t.got, 4);
    t.room = 100;
    chardev_accept(t.c);
    turn(&t);
    CHECK_EQ(t.got, 10);
    taker_close(&t);
    close(fd);
}

/* The flags of a file that is shared with others come back. */
TEST(console_gives_flags_back)
{
    struct taker t;
    char backend[32];
    int fds[2];

    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    str_fmt(backend, sizeof(backend), "fd:%d", fds[0]);
    taker_open(&t, backend);
    CHECK(fcntl(fds[0], F_GETFL) & O_NONBLOCK);
    taker_close(&t);
    CHECK(!(fcntl(fds[0], F_GETFL) & O_NONBLOCK));
    close(fds[0]);
    close(fds[1]);
}

TEST(console_pipe_is_not_made_nonblocking)
{
    struct taker t;
    char backend[32], text[8] = {};
    int fds[2];

    CHECK_EQ(pipe(fds), 0);
    str_fmt(backend, sizeof(backend), "fd:%d:%d", fds[0], fds[1]);
    taker_open(&t, backend);
    CHECK(!(fcntl(fds[0], F_GETFL) & O_NONBLOCK));
    CHECK(!(fcntl(fds[1], F_GETFL) & O_NONBLOCK));
    CHECK_EQ(chardev_write(t.c, "pipe", 4), 4);
    t.room = 8;
    turn(&t);
    CHECK_EQ(t.got, 4); /* it talks to itself */
    taker_close(&t);
    CHECK_EQ(close(fds[1]), 0);
    CHECK_EQ(read(fds[0], text, sizeof(text)), 0);
    close(fds[0]);
}

TEST(console_pty_keeps_the_newest)
{
    struct taker t;
    u8 bytes[1024];
    u32 run = 0; /* bytes that came without a gap */
    u8 last = 0;
    ssize_t n;
    int fd;

    taker_open(&t, "pty");
    for (u32 i = 0; i < 3 * CHARDEV_RING; i++)
        CHECK_EQ(chardev_write(t.c, &(u8){ (u8)(i % 251) }, 1), 1);
    fd = open(chardev_pty(t.c), O_RDWR | O_NOCTTY | O_NONBLOCK);
    CHECK(fd >= 0);
    for (u32 idle = 0; idle < 3; turn(&t)) {
        n = read(fd, bytes, sizeof(bytes));
        idle = n > 0 ? 0 : idle + 1;
        for (ssize_t i = 0; i < n; i++) {
            run = bytes[i] == (last + 1) % 251 ? run + 1 : 1;
            last = bytes[i];
        }
    }
    CHECK(run >= CHARDEV_RING);
    CHECK_EQ(last, (3 * CHARDEV_RING - 1) % 251);
    t.room = 8;
    chardev_accept(t.c);
    CHECK_EQ(write(fd, "\x03\r", 2), 2); /* raw: as they are */
    for (u32 i = 0; i < 1000 && t.got < 2; i++)
        turn(&t);
    CHECK_MEM(t.bytes, "\x03\r", 2);
    close(fd);
    taker_close(&t);
}

static int dial(const char *path)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

    str_copy(at.sun_path, sizeof(at.sun_path), path);
    CHECK_EQ(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    return fd;
}

TEST(console_socket_clients)
{
    struct taker t;
    char path[100], backend[120], text[32] = {};
    struct stat st;
    int one, two;

    str_fmt(path, sizeof(path), "%s/kept.sock", test_dir());
    str_fmt(backend, sizeof(backend), "unix:%s", path);
    taker_open(&t, backend);
    CHECK_EQ(stat(path, &st), 0);
    CHECK_EQ(st.st_mode & 0777, 0600);
    CHECK_EQ(chardev_write(t.c, "boot ", 5), 5);
    one = dial(path);
    turn(&t);
    CHECK_EQ(chardev_write(t.c, "one", 3), 3);
    CHECK_EQ(read(one, text, sizeof(text)), 8);
    CHECK_STR(text, "boot one");
    two = dial(path);
    turn(&t);
    CHECK_EQ(chardev_write(t.c, "both", 4), 4);
    CHECK_EQ(read(one, text, sizeof(text)), 4);
    CHECK_EQ(read(two, text, sizeof(text)), 4);
    CHECK_MEM(text, "both", 4);
    CHECK_EQ(write(two, "2", 1), 1);
    turn(&t);
    CHECK_EQ(t.got, 0);
    t.room = 10;
    chardev_accept(t.c);
    turn(&t);
    CHECK_EQ(write(one, "1", 1), 1);
    turn(&t);
    CHECK_MEM(t.bytes, "21", 2);
    close(one);
    turn(&t);
    fill(&t);
    close(two); /* with the device waiting for it */
    turn(&t);
    CHECK_EQ(t.told, 1);
    CHECK_EQ(chardev_write(t.c, "x", 1), 1);
    taker_close(&t);
}

/* What the device writes at this position. */
static u8 written_at(u64 position)
{
    return (u8)(position * 11 ^ position >> 8);
}

struct headed {
    int fd;
    u64 position; /* of the next byte */
};

/* He has a head, and gets what was written from where it says, byte by byte. */
static void headed_come(struct headed *h, struct taker *t, const char *path, u64 written)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    u8 bytes[CONSOLE_HEAD_SIZE];
    struct console_head head;

    h->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CHECK_EQ(console_head_ask(h->fd), 0);
    str_copy(at.sun_path, sizeof(at.sun_path), path);
    CHECK_EQ(connect(h->fd, (struct sockaddr *)&at, sizeof(at)), 0);
    turn(t);
    CHECK_EQ(read(h->fd, bytes, sizeof(bytes)), (ssize_t)sizeof(bytes));
    CHECK(console_head_get(bytes, sizeof(bytes), &head));
    CHECK_EQ(head.position, written);
    CHECK_EQ(head.before, min(written, (u64)CHARDEV_RING));
    h->position = head.position - head.before;
}

static void headed_read(struct headed *h, struct taker *t)
{
    u8 bytes[4096];
    ssize_t n;

    for (u32 idle = 0; idle < 2; turn(t)) {
        n = read(h->fd, bytes, sizeof(bytes));
        idle = n > 0 ? 0 : idle + 1;
        for (ssize_t i = 0; i < n; i++)
            CHECK_EQ(bytes[i], written_at(h->position++));
    }
}

TEST(console_heads_miss_nothing)
{
    enum { CLIENTS = 5, ROUNDS = 400 };
    struct headed client[CLIENTS];
    char path[100], backend[120];
    struct taker t;
    u64 written = 0, random = 1;

    for_each_row(h, client)
        h->fd = -1;
    str_fmt(path, sizeof(path), "%s/head.sock", test_dir());
    str_fmt(backend, sizeof(backend), "unix:%s", path);
    taker_open(&t, backend);
    for (u32 round = 0; round < ROUNDS; round++) {
        struct headed *h = &client[test_rand(&random) % CLIENTS];
        u32 n = (u32)(test_rand(&random) % (round % 16 ? 3000 : 3 * CHARDEV_RING));

        for (u32 i = 0; i < n; i++)
            written += chardev_write(t.c, &(u8){ written_at(written) }, 1);
        if (h->fd < 0) {
            for_each_row(other, client)
                if (other->fd >= 0)
                    headed_read(other, &t);
            headed_come(h, &t, path, written);
        } else {
            headed_read(h, &t);
            if (round % 3 == 0)
                fd_close(&h->fd);
        }
    }
    for_each_row(h, client)
        if (h->fd >= 0) {
            headed_read(h, &t);
            CHECK_EQ(h->position, written);
            fd_close(&h->fd);
        }
    CHECK(written > 10 * (u64)CHARDEV_RING);
    taker_close(&t);
}

/* A process that goes on with a log shows its end, as long as there is a head to say so. */
TEST(console_head_begins_with_the_end_of_its_log)
{
    char path[100], backend[120], log[100], text[32] = {};
    struct err e = {};
    struct headed h;
    struct taker t;
    u64 written = 0;
    int fd;

    str_fmt(path, sizeof(path), "%s/past.sock", test_dir());
    str_fmt(log, sizeof(log), "%s/past.log", test_dir());
    str_fmt(backend, sizeof(backend), "unix:%s", path);
    fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    for (; written < 16384; written++)
        CHECK_EQ(write(fd, &(u8){ written_at(written) }, 1), 1);
    close(fd);
    taker_open(&t, backend);
    CHECK_OK(chardev_log(t.c, log, &e), &e);
    CHECK_EQ(chardev_write(t.c, &(u8){ written_at(written++) }, 1), 1);
    fd = dial(path);
    turn(&t);
    CHECK_EQ(read(fd, text, sizeof(text)), 1);
    close(fd);
    headed_come(&h, &t, path, written);
    headed_read(&h, &t);
    CHECK_EQ(h.position, 16385);
    close(h.fd);
    taker_close(&t);
}

/* What somebody with a head has seen is not kept for who comes without one; what nobody has seen is. */
TEST(console_head_beside_plain_clients)
{
    char path[100], backend[120], text[32] = {};
    struct headed h, again;
    struct taker t;
    u64 written = 0;
    int fd;

    str_fmt(path, sizeof(path), "%s/plain.sock", test_dir());
    str_fmt(backend, sizeof(backend), "unix:%s", path);
    taker_open(&t, backend);
    for (; written < 100; written++)
        CHECK_EQ(chardev_write(t.c, &(u8){ written_at(written) }, 1), 1);
    headed_come(&h, &t, path, written);
    headed_read(&h, &t);
    CHECK_EQ(h.position, 100);
    close(h.fd);
    turn(&t);
    CHECK_EQ(chardev_write(t.c, &(u8){ written_at(written++) }, 1), 1);
    fd = dial(path);
    turn(&t);
    CHECK_EQ(read(fd, text, sizeof(text)), 1);
    CHECK_EQ((u8)text[0], written_at(100));
    headed_come(&again, &t, path, written);
    headed_read(&again, &t);
    CHECK_EQ(again.position, 101);
    CHECK_EQ(read(fd, text, sizeof(text)), -1); /* he has it */
    close(again.fd);
    close(fd);
    taker_close(&t);
}

/* One reads all the time, one nothing: after a while the device goes on without him. */
TEST(console_socket_client_that_sleeps)
{
    struct taker t;
    char path[100], backend[120], text[4096];
    u64 limit = clock_mono_ns() + 30 * NSEC_PER_SEC;
    bool woke = false;
    int one, two;

    str_fmt(path, sizeof(path), "%s/sleeps.sock", test_dir());
    str_fmt(backend, sizeof(backend), "unix:%s", path);
    taker_open(&t, backend);
    one = dial(path);
    two = dial(path);
    turn(&t);
    while (!t.told && clock_mono_ns() < limit) {
        woke |= chardev_write(t.c, text, sizeof(text)) < sizeof(text);
        while (read(one, text, sizeof(text)) > 0)
            continue;
        uv_run(&t.loop.uv, woke ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    }
    CHECK_EQ(t.told, 1);
    CHECK_EQ(chardev_write(t.c, "on", 2), 2);
    turn(&t);
    while (read(two, text, sizeof(text)) > 0)
        continue;
    CHECK_EQ(read(two, text, 1), 0); /* it is hung up */
    close(one);
    close(two);
    taker_close(&t);
}

TEST(console_socket_turns_the_ninth_away)
{
    struct taker t;
    char path[100], backend[120], byte;
    int fd[CHARDEV_CLIENTS + 1];

    str_fmt(path, sizeof(path), "%s/nine.sock", test_dir());
    str_fmt(backend, sizeof(backend), "unix:%s", path);
    taker_open(&t, backend);
    for_each_row(f, fd) {
        *f = dial(path);
        turn(&t);
    }
    CHECK_EQ(read(fd[CHARDEV_CLIENTS], &byte, 1), 0);
    CHECK_EQ(chardev_write(t.c, "x", 1), 1);
    for (u32 i = 0; i < CHARDEV_CLIENTS; i++)
        CHECK_EQ(read(fd[i], &byte, 1), 1);
    for_each_row(f, fd)
        close(*f);
    turn(&t);
    fd[0] = dial(path);
    turn(&t);
    CHECK_EQ(chardev_write(t.c, "y", 1), 1);
    CHECK_EQ(read(fd[0], &byte, 1), 1);
    CHECK_EQ(byte, 'y');
    close(fd[0]);
    taker_close(&t);
}

TEST(console_socket_that_exists)
{
    struct taker t;
    struct loop l;
    struct chardev *c;
    char path[100], backend[120];
    struct err e = {};

    str_fmt(path, sizeof(path), "%s/again.sock", test_dir());
    str_fmt(backend, sizeof(backend), "unix:%s", path);
    CHECK_EQ(loop_init(&l, "test"), 0);
    taker_open(&t, backend);
    CHECK_EQ(chardev_open(&l, backend, &ops, &t, &c, &e), -EADDRINUSE);
    CHECK_HAS(e.text, "someone listens");
    taker_close(&t);
    taker_open(&t, backend); /* the old one is stale now */
    taker_close(&t);
    unlink(path);
    close(open(path, O_WRONLY | O_CREAT, 0600));
    e = (struct err){};
    CHECK_EQ(chardev_open(&l, backend, &ops, &t, &c, &e), -EEXIST);
    CHECK_HAS(e.text, "is not a socket");
    CHECK_EQ(access(path, F_OK), 0);
    e = (struct err){};
    CHECK_EQ(chardev_open(&l, "fd:987654", &ops, &t, &c, &e), -EBADF);
    CHECK_HAS(e.text, "file descriptor 987654");
    loop_fini(&l);
}

/* A device on one thread, the control loop on another, a reader on a third: nothing is lost, nobody waits for ever. */
struct crowd {
    struct loop loop;
    struct chardev *c;
    pthread_mutex_t lock; /* as a device's: held while it writes, and taken by on_room */
    pthread_cond_t room;
    u32 told;
};

enum { CROWD_BYTES = 4 * 1024 * 1024 };

static void on_crowd_room(void *arg)
{
    struct crowd *w = arg;

    pthread_mutex_lock(&w->lock);
    w->told++;
    pthread_cond_signal(&w->room);
    pthread_mutex_unlock(&w->lock);
}

static void *crowd_read(void *arg)
{
    int fd = *(int *)arg;
    u8 bytes[1000];
    u32 got = 0, wrong = 0;
    ssize_t n;

    while (got < CROWD_BYTES && (n = read(fd, bytes, sizeof(bytes))) > 0)
        for (ssize_t i = 0; i < n; i++)
            wrong += bytes[i] != (u8)(got++ % 253);
    return got == CROWD_BYTES && !wrong ? arg : NULL;
}

static void crowd_write(struct crowd *w)
{
    u8 bytes[37];
    u32 sent = 0, n;

    pthread_mutex_lock(&w->lock);
    while (sent < CROWD_BYTES) {
        u32 len = min((u32)sizeof(bytes), CROWD_BYTES - sent), told = w->told;

        for (u32 i = 0; i < len; i++)
            bytes[i] = (u8)((sent + i) % 253);
        n = chardev_write(w->c, bytes, len);
        sent += n;
        while (n < len && w->told == told)
            pthread_cond_wait(&w->room, &w->lock);
    }
    pthread_mutex_unlock(&w->lock);
}

TEST(console_threads)
{
    static const struct chardev_ops crowd_ops = { .on_room = on_crowd_room };
    struct crowd w = { .lock = PTHREAD_MUTEX_INITIALIZER, .room = PTHREAD_COND_INITIALIZER };
    char backend[32];
    struct err e = {};
    pthread_t reader;
    void *all_well;
    int fds[2];

    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    str_fmt(backend, sizeof(backend), "fd:%d", fds[1]);
    CHECK_EQ(loop_init(&w.loop, "test"), 0);
    CHECK_OK(chardev_open(&w.loop, backend, &crowd_ops, &w, &w.c, &e), &e);
    CHECK_EQ(loop_start(&w.loop), 0);
    CHECK_EQ(pthread_create(&reader, NULL, crowd_read, &fds[0]), 0);
    crowd_write(&w);
    chardev_close(w.c); /* what is in the ring must be out */
    CHECK_EQ(pthread_join(reader, &all_well), 0);
    CHECK(all_well);
    loop_fini(&w.loop);
    close(fds[0]);
    close(fds[1]);
}

/* A log has what was written while nobody read, and of very much the end. */
TEST(console_log)
{
    char path[200], socket[200], backend[256];
    static u8 much[CHARDEV_LOG_MAX / 8], end[16];
    struct taker t;
    struct err e = {};
    struct stat st;
    AUTO(fd) int fd = -1;

    str_fmt(path, sizeof(path), "%s/kept.log", test_dir());
    str_fmt(socket, sizeof(socket), "%s/kept.sock", test_dir());
    str_fmt(backend, sizeof(backend), "unix:%s", socket);
    taker_open(&t, backend);
    CHECK_OK(chardev_log(t.c, path, &e), &e);
    CHECK_EQ(chardev_write(t.c, "hello ", 6), 6);
    turn(&t);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK_EQ(pread(fd, end, 6, 0), 6);
    CHECK_MEM(end, "hello ", 6);
    memset(much, 'x', sizeof(much));
    for (u32 i = 0; i < 9; i++) {
        CHECK_EQ(chardev_write(t.c, much, sizeof(much)), sizeof(much));
        turn(&t);
        CHECK_EQ(fstat(fd, &st), 0);
        CHECK(st.st_size <= CHARDEV_LOG_MAX);
    }
    CHECK_EQ(chardev_write(t.c, "the end", 7), 7);
    CHECK_EQ(fstat(fd, &st), 0);
    CHECK(st.st_size > CHARDEV_LOG_MAX / 2);
    CHECK_EQ(pread(fd, end, 7, st.st_size - 7), 7);
    CHECK_MEM(end, "the end", 7);
    taker_close(&t);
}
