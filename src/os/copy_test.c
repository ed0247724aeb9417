/*
 * os/copy_test.c: entries, trees from one folder into another, and what stands in their way.
 */
#include "os/copy.h"

#include "testlib/test.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

TEST(copy_entries)
{
    static const struct {
        const char *why, *text;
        size_t len;
        bool ok;
    } rows[] = {
        { "a file", "\0\1\244a/b\0\0", 8, true },
        { "a link", "\2\1\377l\0../x\0", 10, true },
        { "a link that leads nowhere", "\2\1\377l\0\0", 6, false },
        { "a file with a target", "\0\1\244a\0b\0", 7, false },
        { "no such kind", "\3\1\244a\0\0", 6, false },
        { "modes end at 07777", "\0\20\0a\0\0", 6, false },
        { "up", "\0\1\244../a\0\0", 9, false },
        { "up, in the middle", "\0\1\244a/../b\0\0", 11, false },
        { "from the root", "\0\1\244/a\0\0", 7, false },
        { "two slashes", "\0\1\244a//b\0\0", 9, false },
        { "a slash at the end", "\0\1\244a/\0\0", 7, false },
        { "a dot", "\0\1\244a/.\0\0", 8, false },
        { "no name", "\0\1\244\0\0", 5, false },
        { "no end", "\0\1\244a\0b", 6, false },
        { "three texts", "\2\1\244a\0b\0c\0", 9, false },
        { "nothing", "", 0, false },
    };

    for_each_row(c, rows) {
        struct copy_entry n;

        ROW(c);
        CHECK_EQ(copy_entry_parse((const u8 *)c->text, c->len, &n) == 0, c->ok);
    }
}

struct sender {
    int conn, dir;
    const char *name;
    int r;
    struct err e;
};

static void *send_all(void *arg)
{
    struct sender *s = arg;
    AUTO(fd) int fd = openat(s->dir, s->name, O_RDONLY | O_CLOEXEC);
    struct copy_from f = { .conn = s->conn, .recursive = true };

    s->r = copy_send(&f, fd, s->name, &s->e);
    if (s->r >= 0)
        s->r = copy_say(s->conn, COPY_DONE, NULL, 0);
    close(s->conn);
    return NULL;
}

static void put_text(int dir, const char *name, const char *text)
{
    AUTO(fd) int fd = openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);

    CHECK(fd >= 0 && fd_write_all(fd, text, strlen(text)) == 0);
}

static bool has_text(int dir, const char *name, const char *text)
{
    AUTO(fd) int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    char got[64] = "";

    return fd >= 0 && read(fd, got, sizeof(got) - 1) >= 0 && strcmp(got, text) == 0;
}

/* From `from`/`name` to `to`. */
static int copy(int from, const char *name, int to, struct err *e)
{
    int pair[2], r;
    struct copy_in in;
    struct copy_to t = {
        .in = &in, .dir = to, .uid = -1, .gid = -1, .mode = -1, .mode_mask = 0777, .out = -1
    };
    struct sender s = { .dir = from, .name = name };
    pthread_t thread;

    /* who sends may find nobody there */
    sigaction(SIGPIPE, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL);
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    s.conn = pair[0];
    in = (struct copy_in){ .fd = pair[1] };
    CHECK_EQ(pthread_create(&thread, NULL, send_all, &s), 0);
    r = copy_receive(&t, e);
    close(pair[1]);
    pthread_join(thread, NULL);
    copy_in_fini(&in);
    return s.r < 0 ? s.r : r;
}

TEST(copy_trees)
{
    AUTO(fd) int top = open(test_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    AUTO(fd) int to = -1;
    struct err e = {};
    struct stat st;

    CHECK(top >= 0 && mkdirat(top, "tree", 0750) == 0 && mkdirat(top, "to", 0755) == 0 &&
          mkdirat(top, "tree/sub", 0755) == 0);
    put_text(top, "tree/a", "one");
    put_text(top, "tree/sub/b", "two");
    put_text(top, "tree/sub/empty", "");
    CHECK_EQ(symlinkat("/etc/shadow", top, "tree/link"), 0);
    CHECK_EQ(mkfifoat(top, "tree/fifo", 0600), 0);
    to = openat(top, "to", O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (u32 again = 0; again < 2; again++) { /* what is there is written over */
        CHECK_OK(copy(top, "tree", to, &e), &e);
        CHECK(has_text(to, "tree/a", "one") && has_text(to, "tree/sub/b", "two") &&
              has_text(to, "tree/sub/empty", ""));
        CHECK(faccessat(to, "tree/fifo", F_OK, 0) < 0);
        CHECK(fstatat(to, "tree/link", &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode));
        CHECK(fstatat(to, "tree/a", &st, 0) == 0 && (st.st_mode & 07777) == 0640);
        CHECK(fstatat(to, "tree", &st, 0) == 0 && (st.st_mode & 07777) == 0750);
        put_text(to, "tree/a", "longer than one");
    }
}

/* What is in the way is not followed, not opened, not written to. */
TEST(copy_keeps_below)
{
    static const char *const ways[] = { "folder is a link", "file is a link", "file is a FIFO",
                                        "file is a folder" };
    AUTO(fd) int top = open(test_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    sigaction(SIGPIPE, &(struct sigaction){ .sa_handler = SIG_IGN },
              NULL); /* who refuses goes, and what is sent then is lost */
    CHECK(top >= 0 && mkdirat(top, "src", 0755) == 0 && mkdirat(top, "out", 0755) == 0);
    put_text(top, "src/f", "hostile");
    put_text(top, "out/f", "good");
    for (u32 i = 0; i < ARRAY_LEN(ways); i++) {
        AUTO(fd) int to = -1;
        char name[16];
        struct err e = {};

        str_fmt(name, sizeof(name), "dst%u", i);
        CHECK(mkdirat(top, name, 0755) == 0 &&
              (to = openat(top, name, O_PATH | O_DIRECTORY | O_CLOEXEC)) >= 0);
        if (i == 0)
            CHECK_EQ(symlinkat("../out", to, "src"), 0);
        else
            CHECK_EQ(mkdirat(to, "src", 0755), 0);
        if (i == 1)
            CHECK_EQ(symlinkat("../../out/f", to, "src/f"), 0);
        if (i == 2)
            CHECK_EQ(mkfifoat(to, "src/f", 0600), 0);
        if (i == 3)
            CHECK_EQ(mkdirat(to, "src/f", 0755), 0);
        CHECK(copy(top, "src", to, &e) < 0);
        CHECK(has_text(top, "out/f", "good"));
    }
}
