/*
 * disk/shorten_test.c: images leave chains whose head is written meanwhile; all reads as before, also by who opens the head anew.
 */
#include "disk/shorten.h"

#include "disk/job.h"
#include "disk/lock.h"
#include "disk/qcow2_rig.h"
#include "testlib/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { SIZE = 2 * 1024 * 1024, PIECE = 4096, IMAGES = 4, ROUNDS = 12 };

/* image[0] is the base, the last one the head, which is open and read by q. */
struct rig {
    char image[IMAGES][200];
    u8 want[SIZE];
    struct loop loop, helper;
    struct disk *head;
    struct disk_queue *q;
    u64 seed;
};

struct one {
    struct disk_req r;
    struct iovec iov;
    bool done;
};

static void on_done(struct disk_req *r)
{
    container_of(r, struct one, r)->done = true;
}

static int ask(struct disk_queue *q, enum disk_op op, void *buf, u64 len, u64 at)
{
    struct one o = { .iov = { buf, len } };

    o.r = (struct disk_req){
        .op = op, .offset = at, .len = len, .iov = &o.iov, .n_iov = buf ? 1 : 0, .done = on_done
    };
    disk_submit(q, &o.r);
    while (!o.done)
        disk_wait(q);
    return o.r.result;
}

static void no_batch(void *)
{
}

static struct disk_queue *open_queue(struct rig *r, struct loop *loop)
{
    const struct disk_queue_cfg cfg = {
        .loop = loop, .depth = 32, .batch = no_batch, .helper = &r->helper, .no_threads = true
    };
    struct disk_queue *q = NULL;
    struct err e = {};

    CHECK_OK(disk_queue_open(r->head, &cfg, &q, &e), &e);
    return q;
}

/* What a guest does: a piece becomes something, or zeroes. */
static void write_some(struct rig *r, struct disk_queue *q, u32 times)
{
    while (times--) {
        u64 len = PIECE * (1 + test_rand(&r->seed) % 24);
        u64 at = test_rand(&r->seed) % ((SIZE - len) / PIECE) * PIECE;
        bool zero = test_rand(&r->seed) % 4 == 0;

        memset(r->want + at, zero ? 0 : (int)(test_rand(&r->seed) % 255 + 1), len);
        CHECK_EQ(ask(q, zero ? DISK_ZERO : DISK_WRITE, zero ? NULL : r->want + at, len, at), 0);
    }
}

static void add_image(struct rig *r, u32 i, u32 version)
{
    char name[2] = { (char)('0' + i), 0 }, below[2] = { (char)('0' + i - 1), 0 };
    struct qcow2_create_cfg cfg = { .size = SIZE, .version = version, .backing = below };
    struct err e = {};
    struct disk *was = r->head;

    cfg.backing_format = i == 1 ? "raw" : "qcow2";
    rig_path(r->image[i], name);
    if (i) {
        rig_create(r->image[i], &cfg);
    } else {
        AUTO(fd) int fd = open(r->image[i], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        CHECK(fd >= 0 && ftruncate(fd, SIZE) == 0);
    }
    CHECK_OK(disk_open(&(struct disk_cfg){ .file = r->image[i], .fd = -1 }, &r->head, &e), &e);
    r->q = open_queue(r, &r->loop);
    write_some(r, r->q, 6);
    disk_queue_close(r->q);
    disk_close(r->head);
    r->head = was;
}

static void begin(struct rig *r, u64 seed, u32 version)
{
    struct err e = {};

    *r = (struct rig){ .seed = seed };
    CHECK_EQ(loop_init(&r->loop, "rig"), 0);
    CHECK_EQ(loop_init(&r->helper, "helper"), 0);
    CHECK_EQ(loop_start(&r->helper), 0);
    for (u32 i = 0; i < IMAGES; i++)
        add_image(r, i, version);
    CHECK_OK(disk_open(&(struct disk_cfg){ .file = r->image[IMAGES - 1], .fd = -1 }, &r->head, &e),
             &e);
    r->q = open_queue(r, &r->loop);
}

static void check_reads(struct rig *r)
{
    AUTO(free) u8 *got = xnew_n(u8, SIZE);

    CHECK_EQ(ask(r->q, DISK_READ, got, SIZE, 0), 0);
    CHECK_MEM(got, r->want, SIZE);
}

static void end(struct rig *r)
{
    disk_queue_close(r->q);
    disk_close(r->head);
    loop_fini(&r->loop);
    loop_fini(&r->helper);
}

static struct overlay_file file_of(const char *path)
{
    struct overlay_file f = {};
    struct stat st;

    CHECK_EQ(stat(path, &st), 0);
    f.dev = st.st_dev;
    f.ino = st.st_ino;
    return f;
}

struct filler {
    struct shorten *c;
    struct shorten_fill fill;
    int r;
};

static void *fill_main(void *arg)
{
    struct filler *f = arg;

    f->r = shorten_fill(f->c, &f->fill, NULL);
    return NULL;
}

/* The head is filled on a thread while it is written. */
static void fill(struct rig *r, struct shorten *c)
{
    struct filler f = { .c = c };
    struct loop loop;
    pthread_t t;

    CHECK_EQ(loop_init(&loop, "fill"), 0);
    f.fill.q = open_queue(r, &loop);
    CHECK_EQ(pthread_create(&t, NULL, fill_main, &f), 0);
    write_some(r, r->q, 30);
    CHECK_EQ(pthread_join(t, NULL), 0);
    CHECK_EQ(f.r, 0);
    CHECK_EQ(atomic_load(&f.fill.done), SIZE);
    disk_queue_close(f.fill.q);
    loop_fini(&loop);
}

/* The file of image i, read by the chain, gets what it lacks. */
static void rebase(const struct rig *r, u32 i, const char *below)
{
    const struct job_rebase rb = { .overlay = { .file = r->image[i], .format = "qcow2" },
                                   .backing = below,
                                   .backing_format = below && *below == '0' ? "raw" : "qcow2",
                                   .beside_readers = true };
    struct job j = {};
    struct err e = {};

    CHECK_OK(job_rebase(&j, &rb, &e), &e);
}

/* Image `out` leaves the chain; `above` builds on `below` then, NULL: nothing. */
static void leave(struct rig *r, u32 out, u32 above, const char *below, bool mend)
{
    const struct overlay_file file = file_of(r->image[out]);
    struct disk_queue *fresh;
    struct shorten c;
    struct err e = {};

    if (above < IMAGES - 1)
        rebase(r, above, below);
    CHECK_OK(shorten_open(&c, r->head, &file, &e), &e);
    CHECK_EQ(shorten_fills(&c), above == IMAGES - 1);
    if (shorten_fills(&c))
        fill(r, &c);
    write_some(r, r->q, 3);
    disk_drain(r->q);
    shorten_cut(&c);
    if (mend) {
        shorten_mend(&c);
        check_reads(r);
        shorten_cut(&c);
    }
    fresh = open_queue(r, &r->loop);
    CHECK_OK(shorten_keep(&c, &e), &e);
    disk_queue_close(r->q);
    r->q = fresh;
    shorten_close(&c);
    CHECK_EQ(unlink(r->image[out]), 0);
    check_reads(r);
    write_some(r, r->q, 5);
    check_reads(r);
}

TEST(shorten_images_leave_while_it_is_written)
{
    static const u32 versions[] = { 2, 3 };
    struct rig *r = xnew(struct rig);

    for (u64 seed = 1; seed <= ROUNDS; seed++) {
        u32 version = versions[seed % 2];

        begin(r, seed, version);
        if (seed % 3 == 0) { /* the one below the head, then the one below that, then the base */
            leave(r, 2, 3, "1", true);
            leave(r, 1, 3, "0", false);
            leave(r, 0, 3, NULL, seed % 2);
        } else if (seed % 3 == 1) { /* from the base on */
            leave(r, 0, 1, NULL, false);
            leave(r, 1, 2, NULL, true);
            leave(r, 2, 3, NULL, false);
        } else { /* the middle one, then the base */
            leave(r, 1, 2, "0", seed % 4 == 0);
            leave(r, 0, 2, NULL, false);
        }
        end(r);
        if (rig_has_qemu())
            rig_judge(r->image[3], r->want, SIZE);
    }
    free(r);
}

/* A cancelled fill leaves what it did; the chain reads as before, and the next goes on. */
TEST(shorten_fill_is_cancelled)
{
    struct rig *r = xnew(struct rig);
    struct overlay_file file;
    struct shorten_fill f = { .cancel = true };
    struct shorten c;
    struct loop loop;
    struct err e = {};

    begin(r, 77, 3);
    file = file_of(r->image[2]);
    CHECK_EQ(loop_init(&loop, "fill"), 0);
    CHECK_OK(shorten_open(&c, r->head, &file, &e), &e);
    f.q = open_queue(r, &loop);
    CHECK_EQ(shorten_fill(&c, &f, &e), -ECANCELED);
    disk_queue_close(f.q);
    shorten_close(&c);
    loop_fini(&loop);
    check_reads(r);
    end(r);
    free(r);
}

TEST(shorten_refuses_what_it_does_not_build_on)
{
    struct rig *r = xnew(struct rig);
    struct overlay_file file;
    struct shorten c;
    struct err e = {};

    begin(r, 5, 3);
    file = file_of(r->image[3]);
    CHECK_EQ(shorten_open(&c, r->head, &file, &e), -ENOENT);
    CHECK_HAS(e.text, "does not build on that image");
    shorten_close(&c);
    check_reads(r);
    end(r);
    free(r);
}

/* Who fills an image beside its readers keeps writers away, and only them. */
TEST(shorten_locks_beside_readers)
{
    AUTO(disk) struct disk *reader = NULL, *beside = NULL;
    struct disk *writer = NULL;
    char path[200];
    struct err e = {};

    rig_path(path, "locks");
    rig_create(path, &(struct qcow2_create_cfg){ .size = SIZE });
    CHECK_OK(disk_open(&(struct disk_cfg){ .file = path, .fd = -1, .readonly = true }, &reader, &e),
             &e);
    CHECK_OK(disk_open(&(struct disk_cfg){ .file = path, .fd = -1, .beside_readers = true },
                       &beside, &e),
             &e);
    CHECK_EQ(disk_open(&(struct disk_cfg){ .file = path, .fd = -1 }, &writer, &e), -EAGAIN);
    disk_close(TAKE(beside));
    disk_close(TAKE(reader));
    CHECK_OK(disk_open(&(struct disk_cfg){ .file = path, .fd = -1 }, &writer, &e), &e);
    CHECK_EQ(disk_open(&(struct disk_cfg){ .file = path, .fd = -1, .beside_readers = true },
                       &beside, &e),
             -EAGAIN);
    disk_close(writer);
}
