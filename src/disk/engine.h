/*
 * disk/engine.h: how is one system call on a disk's file done without waiting for it?  Private to disk/.
 * An engine belongs to one loop: all but engine_open and engine_close is called on that loop's thread, and so is io.done.
 *   (1) Each io that was submitted is done exactly once, never from inside engine_submit.
 *   (2) `done` may submit; it does not call engine_kick or engine_wait.
 *   (3) Nothing is allocated after engine_open.
 * Two kinds: uring.c (io_uring) and pool.c (threads: where the kernel forbids io_uring, and for what it cannot do).
 */
#pragma once

#include "base/base.h"

#include "base/loop.h"

#include <sys/uio.h>

enum io_op {
    IO_READ,    /* preadv */
    IO_WRITE,   /* pwritev2 with `flags` RWF_… */
    IO_SYNC,    /* fdatasync */
    IO_ALLOC,   /* fallocate with `flags` FALLOC_FL_… */
    IO_DISCARD, /* BLKDISCARD; only by the pool */
};

struct io {
    enum io_op op;
    int flags;
    u64 offset, len; /* len: IO_ALLOC, IO_DISCARD, and what may_join */
    bool may_join; /* READ, WRITE: `iov` holds `len` bytes; one call may do it and its neighbours */
    const struct iovec *iov;
    u32 n_iov;
    s64 result; /* bytes, 0, or a negative errno */
    void (*done)(struct io *io);
    struct engine *by; /* while under way */
    struct io *next;   /* in a list of the engine */
};

/* First in, first out.  Zeroed is empty. */
struct io_list {
    struct io *first, *last;
};
void io_add(struct io_list *l, struct io *io);
struct io *io_take(struct io_list *l); /* NULL when empty */

struct engine;
struct io_run;

struct engine_ops {
    void (*kick)(struct engine *e);
    void (*wait)(struct engine *e);
    void (*close)(struct engine *e);
};

struct engine {
    const struct engine_ops *ops;
    struct loop *loop;
    struct loop_fd ready;           /* completions are there */
    struct io_list todo;            /* submitted, not yet given to the kernel or the threads */
    u32 busy;                       /* submitted and not done */
    struct io_run *runs, *free_run; /* what joined ios are made into */
    void (*batch)(void *arg);
    void *arg;
};

struct engine_cfg {
    struct loop *loop;
    int fd;            /* of the file; borrowed */
    u32 depth;         /* ios under way at once, as a hint */
    bool may_register; /* the file may stay open for a second after engine_close */
    bool cached;       /* reads are copies out of the page cache, which takes the time of a CPU */
    /* After a group of done calls that came from the loop, not out of engine_kick or engine_wait. */
    void (*batch)(void *arg);
    void *arg;
};

/*
 * Threads shared by the engines of one disk.  Each is a loop, so that whoever confines threads can start it as any other; what
 * is submitted before waits.
 */
struct workers;
enum { POOL_THREADS_MAX = 4 };
/* `start` begins the thread of a loop, now or later; NULL: loop_start. */
int workers_new(u32 n_threads, int (*start)(void *arg, struct loop *l), void *arg,
                struct workers **ret, struct err *e);
/* One of a single thread, which is the helper's. */
int workers_on(struct loop *helper, struct workers **ret, struct err *e);
void workers_free(struct workers *p); /* its engines are closed */

/* Owned in *ret.  uring_open: -ENOSYS, -EPERM, … without a message worth showing, where the host has no io_uring for us. */
int uring_open(const struct engine_cfg *cfg, struct engine **ret);
int workers_open(struct workers *p, const struct engine_cfg *cfg, struct engine **ret,
                 struct err *e);

void engine_submit(struct engine *e, struct io *io);
/* Starts what was submitted; may call `done` of what is ready at once. */
void engine_kick(struct engine *e);
/* Waits until at least one io is done, if there is any under way. */
void engine_wait(struct engine *e);
/* Nothing is under way.  NULL is harmless. */
void engine_close(struct engine *e);

/* For the engines: fills the common part and watches `fd` on the loop; engine_fini frees.  0 or a negative errno. */
int engine_init(struct engine *e, const struct engine_ops *ops, const struct engine_cfg *cfg,
                int fd, void (*on_ready)(struct loop_fd *f, int events));
void engine_fini(struct engine *e);
void engine_done(struct engine *e, struct io *io, s64 result);
/*
 * For the engines: the next io to be given to the kernel, NULL: none.  Of neighbours in `todo` whose bytes lie together one is made:
 * 32 writes of 4 KiB in a row are one call then.  It goes back by engine_done, as any other.
 */
struct io *engine_take(struct engine *e);
