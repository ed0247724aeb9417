/*
 * host/guest_files_test.c: files into a guest and out of it, by an agent that is honest, and by one that is not.
 */
#include "host/guest.h"
#include "host/guest_rig.h"
#include "os/copy.h"
#include "testlib/test.h"

enum { LEN = 2 * AGENT_READ_MAX + 12345 };

struct files_rig {
    struct rig r;
    struct guest_rig g;
    struct instance *i;
    u8 *data; /* LEN bytes of this and that */
    int fd;   /* the client's end */
    struct copy_in in;
};

static void files_open(struct files_rig *f, const char *name)
{
    AUTO(free) char *folder = str_new("files-%s", name);
    u64 seed = 7;

    *f = (struct files_rig){ .data = xnew_n(u8, LEN), .fd = -1 };
    for (u32 k = 0; k < LEN; k++)
        f->data[k] = (u8)test_rand(&seed);
    rig_open(&f->r, test_dir(), folder);
    f->i = guest_rig_instance(&f->r, "a", HOST_RUNNING);
    guest_rig_begin(&f->g, f->i);
}

/* The client comes, and says what he wants. */
static void files_ask(struct files_rig *f, const char *ask)
{
    struct err e = {};

    CHECK_OK(guest_files(&f->r.host, f->i->id, &f->fd, &e), &e);
    CHECK_EQ(fcntl(f->fd, F_SETFL, 0), 0);
    f->in = (struct copy_in){ .fd = f->fd };
    CHECK_EQ(copy_say(f->fd, OS_FRAME_RUN, ask, strlen(ask)), 0);
}

/* He goes, and so does the thread. */
static void files_leave(struct files_rig *f)
{
    struct host *h = &f->r.host;

    fd_close(&f->fd);
    copy_in_fini(&f->in);
    host_lock(h);
    while (h->guests)
        pthread_cond_wait(&h->changed, &h->lock);
    host_unlock(h);
}

static void files_close(struct files_rig *f)
{
    guest_rig_end(&f->g);
    rig_close(&f->r);
    free(f->data);
}

/* What one file out of the guest is, which is looked at as it comes. */
static size_t hear_file(struct files_rig *f, const char *name, struct err *e)
{
    struct copy_entry entry;
    const u8 *data;
    size_t len, at = 0;
    int kind = copy_next(&f->in, &data, &len, e);

    CHECK_EQ(kind, COPY_ENTRY);
    CHECK_EQ(copy_entry_parse(data, len, &entry), 0);
    CHECK_EQ(entry.kind, COPY_FILE);
    CHECK_STR(entry.name, name);
    while ((kind = copy_next(&f->in, &data, &len, e)) == COPY_DATA) {
        CHECK(at + len <= f->g.data.len);
        CHECK_MEM(data, f->data + at, len);
        at += len;
    }
    CHECK(kind == COPY_DONE || kind < 0);
    return at;
}

TEST(guest_files_pull)
{
    static const struct {
        const char *why;
        size_t len;
    } rows[] = {
        { "nothing in it", 0 },
        { "one byte", 1 },
        { "a piece, to the byte", AGENT_READ_MAX },
        { "one more", AGENT_READ_MAX + 1 },
        { "several pieces", LEN },
    };
    struct files_rig f;

    files_open(&f, "pull");
    for_each_row(c, rows) {
        struct err e = {};

        ROW(c);
        guest_rig_put(&f.g, "/etc/file", f.data, c->len);
        files_ask(&f, "{\"paths\": [\"/etc/file\"]}");
        CHECK_EQ(hear_file(&f, "file", &e), c->len);
        CHECK_OK(e.code, &e);
        files_leave(&f);
        CHECK_EQ(f.g.open, 0);
    }
    files_close(&f);
}

/* Pushes data by frames of so many bytes under a name; what the guest has then. */
static int push(struct files_rig *f, const char *name, size_t len, size_t frame, struct err *e)
{
    const struct copy_entry entry = { COPY_FILE, 0600, name, "" };
    AUTO(strbuf) struct strbuf head = {};
    const u8 *data;
    size_t n;

    copy_entry_add(&head, &entry);
    CHECK_EQ(copy_say(f->fd, COPY_ENTRY, head.text, head.len), 0);
    for (size_t at = 0; at < len; at += frame)
        if (copy_say(f->fd, COPY_DATA, f->data + at, min(frame, len - at)) < 0)
            break; /* it has failed, and says why */
    (void)copy_say(f->fd, COPY_DONE, NULL, 0);
    return copy_next(&f->in, &data, &n, e);
}

TEST(guest_files_push)
{
    static const struct {
        const char *why, *ask, *path;
        size_t len, frame;
    } rows[] = {
        { "nothing in it", "{\"push\": true, \"paths\": [\"/srv/x\"]}", "/srv/x", 0, 1 },
        { "small", "{\"push\": true, \"paths\": [\"/srv/x\"]}", "/srv/x", 100, 7 },
        { "into a folder", "{\"push\": true, \"paths\": [\"/srv\"], \"into\": true}", "/srv/name",
          100, 100 },
        { "large frames", "{\"push\": true, \"paths\": [\"/srv/x\"]}", "/srv/x", 1000000, 200000 },
    };
    struct files_rig f;

    files_open(&f, "push");
    for_each_row(c, rows) {
        struct err e = {};

        ROW(c);
        files_ask(&f, c->ask);
        CHECK_EQ(push(&f, "name", c->len, c->frame, &e), OS_FRAME_END);
        files_leave(&f);
        CHECK_STR(f.g.path, c->path);
        CHECK_EQ(f.g.data.len, c->len);
        if (c->len)
            CHECK_MEM(f.g.data.text, f.data, c->len);
        CHECK_EQ(f.g.open, 0);
    }
    files_close(&f);
}

/* What is asked for that an agent cannot do is refused before the guest hears of it. */
TEST(guest_files_refused)
{
    static const struct {
        const char *why, *ask, *says;
    } rows[] = {
        { "no path", "{\"paths\": []}", "'paths' has 0 elements" },
        { "two places", "{\"push\": true, \"paths\": [\"/a\", \"/b\"]}", "'paths' has 2 elements" },
        { "folders", "{\"paths\": [\"/a\"], \"recursive\": true}", "single files" },
        { "an owner", "{\"push\": true, \"paths\": [\"/a\"], \"uid\": 0}", "single files" },
        { "a mode", "{\"push\": true, \"paths\": [\"/a\"], \"mode\": 420}", "single files" },
        { "no such field", "{\"paths\": [\"/a\"], \"x\": 1}", "'x'" },
        { "no JSON", "hello", "machine 'a'" },
        { "no such file", "{\"paths\": [\"/none\"]}",
          "machine 'a': the guest agent refuses: failed to open" },
    };
    struct files_rig f;

    files_open(&f, "refused");
    for_each_row(c, rows) {
        struct err e = {};
        const u8 *data;
        size_t len;

        ROW(c);
        files_ask(&f, c->ask);
        CHECK_EQ(copy_next(&f.in, &data, &len, &e), -EREMOTEIO);
        CHECK_HAS(e.text, c->says);
        files_leave(&f);
        CHECK(!f.g.path);
        CHECK_EQ(f.g.open, 0);
    }
    files_close(&f);
}

/* A client whose frames are not what is expected. */
TEST(guest_files_wrong_frames)
{
    static const struct {
        const char *why;
        u8 kind;
        const char *data;
        size_t len;
        const char *says;
    } rows[] = {
        { "bytes of no file", COPY_DATA, "x", 1, "a frame of kind 1 is not expected" },
        { "a kind that there is not", 9, "", 0, "a frame of kind 9 is not expected" },
        { "a folder", COPY_ENTRY, "\1\1\355d\0\0", 6, "'d' is no file" },
        { "a name that leads out", COPY_ENTRY, "\0\1\244../x\0\0", 9, "a name that cannot be one" },
        { "an entry that is none", COPY_ENTRY, "x", 1, "a name that cannot be one" },
    };
    struct files_rig f;

    files_open(&f, "frames");
    for_each_row(c, rows) {
        struct err e = {};
        const u8 *data;
        size_t len;

        ROW(c);
        files_ask(&f, "{\"push\": true, \"paths\": [\"/x\"]}");
        CHECK_EQ(copy_say(f.fd, c->kind, c->data, c->len), 0);
        CHECK_EQ(copy_next(&f.in, &data, &len, &e), -EREMOTEIO);
        CHECK_HAS(e.text, c->says);
        files_leave(&f);
        CHECK(!f.g.path);
    }
    files_close(&f);
}

/* An agent whose answers are no file's: it is told, nothing is asked for ever, and no handle that it gave is left open. */
TEST(guest_files_lies)
{
    static const struct {
        const char *why;
        bool push;
        const char *lies, *lie, *says;
        int open; /* handles that the guest is left with */
    } rows[] = {
        { "no handle", false, "guest-file-open", "{\"return\": \"seven\"}\n", "gives no handle",
          0 },
        { "more, and nothing", false, "guest-file-read",
          "{\"return\": {\"count\": 0, \"buf-b64\": \"\", \"eof\": false}}\n",
          "is no file's contents", 0 },
        { "no base64", false, "guest-file-read",
          "{\"return\": {\"count\": 3, \"buf-b64\": \"?!\", \"eof\": true}}\n",
          "is no file's contents", 0 },
        { "it refuses to read", false, "guest-file-read",
          "{\"error\": {\"desc\": \"it is a folder\"}}\n", "refuses: it is a folder", 0 },
        { "half of it is written", true, "guest-file-write", "{\"return\": {\"count\": 1}}\n",
          "its disk may be full", 0 },
        { "no count", true, "guest-file-write", "{\"return\": {}}\n", "its disk may be full", 0 },
        { "not written at its end", true, "guest-file-close",
          "{\"error\": {\"desc\": \"no space left\"}}\n", "refuses: no space left", 1 },
    };
    struct files_rig f;

    files_open(&f, "lies");
    for_each_row(c, rows) {
        struct err e = {};

        ROW(c);
        guest_rig_put(&f.g, "/x", f.data, 100);
        f.g.lies = c->lies;
        f.g.lie = c->lie;
        files_ask(&f, c->push ? "{\"push\": true, \"paths\": [\"/x\"]}" : "{\"paths\": [\"/x\"]}");
        if (c->push) {
            CHECK_EQ(push(&f, "x", 100, 100, &e), -EREMOTEIO);
        } else {
            const u8 *data;
            size_t len;
            int kind;

            while ((kind = copy_next(&f.in, &data, &len, &e)) >= 0)
                CHECK(kind == COPY_ENTRY || kind == COPY_DATA);
            CHECK_EQ(kind, -EREMOTEIO);
        }
        CHECK_HAS(e.text, c->says);
        files_leave(&f);
        CHECK_EQ(f.g.open, c->open);
        f.g.open = 0;
    }
    files_close(&f);
}
