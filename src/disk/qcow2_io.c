/*
 * disk/qcow2_io.c: queues of a qcow2 disk, and how its requests go on; reads and flushes.
 *   (1) Steps of a request run on its queue's loop only; from elsewhere it is made runnable, and the loop's eventfd is signalled.
 *   (2) Whoever drains a queue also steps the other queues of its loop: one of them may hold what this one waits for.
 */
#include "disk/qcow2_req.h"

#include <stdlib.h>
#include <sys/mman.h>

static struct q2_queue *queue_of(struct disk_queue *q)
{
    return container_of(q, struct q2_queue, q);
}

/* ---- lists ---- */

static void list_add(struct q2_wait_list *l, struct q2_req *w)
{
    w->next = NULL;
    if (l->last)
        l->last->next = w;
    else
        l->first = w;
    l->last = w;
}

static struct q2_req *list_take(struct q2_wait_list *l)
{
    struct q2_req *w = l->first;

    if (w)
        l->first = w->next;
    if (!l->first)
        l->last = NULL;
    return w;
}

int q2_park(struct q2_req *w, const void *key)
{
    w->key = key;
    w->woken = 0;
    list_add(&q2_of_req(w)->waits, w);
    return Q2_LATER;
}

static void make_runnable(struct q2_req *w, int result)
{
    struct q2_queue *qq = w->qq;

    w->woken = result;
    list_add(&qq->runnable, w);
    if (!atomic_exchange(&qq->has_runnable, true))
        fd_event_signal(qq->event);
}

void q2_wake(struct qcow2 *q, const void *key, int result)
{
    struct q2_wait_list all = q->waits;
    struct q2_req *w;

    q->waits = (struct q2_wait_list){};
    while ((w = list_take(&all))) {
        if (w->key == key)
            make_runnable(w, result);
        else
            list_add(&q->waits, w);
    }
    pthread_cond_broadcast(&q->cond);
}

void q2_fly(struct q2_req *w, u64 at, u64 len)
{
    struct qcow2 *q = q2_of_req(w);

    if (q->data_apart)
        return; /* clusters of a data file are nobody else's */
    must(!w->flying);
    w->flying = true;
    w->fly_first = at >> q->bits;
    w->fly_last = (at + len - 1) >> q->bits;
    w->fly_next = q->flights;
    w->fly_at = &q->flights;
    if (q->flights)
        q->flights->fly_at = &w->fly_next;
    q->flights = w;
}

static void land(struct q2_req *w)
{
    if (!w->flying)
        return;
    w->flying = false;
    *w->fly_at = w->fly_next;
    if (w->fly_next)
        w->fly_next->fly_at = w->fly_at;
}

/* ---- io below ---- */

static void on_sub(struct disk_req *sub);

static int submit_sub(struct q2_req *w, struct disk_queue *to)
{
    w->piece = w->sub.len;
    w->sub.done = on_sub;
    w->qq->moved = true;
    disk_submit(to, &w->sub);
    return Q2_LATER;
}

int q2_send(struct q2_req *w, struct disk_queue *to, enum disk_op op, u64 at, u64 len,
            const struct disk_req *c)
{
    u64 sum = 0;
    u32 n = 0;

    for (; sum < len && (op == DISK_READ || op == DISK_WRITE); n++) {
        w->vec[n] = c->iov[n];
        w->vec[n].iov_len = min(w->vec[n].iov_len, len - sum);
        sum += w->vec[n].iov_len;
    }
    w->sub = (struct disk_req){ .op = op, .offset = at, .len = len, .iov = w->vec, .n_iov = n };
    w->sub.may_unmap = w->r->may_unmap;
    return submit_sub(w, to);
}

int q2_send_buf(struct q2_req *w, struct disk_queue *to, enum disk_op op, u64 at, void *buf,
                u64 len)
{
    w->vec[0] = (struct iovec){ buf, len };
    w->sub = (struct disk_req){ .op = op, .offset = at, .len = len, .iov = w->vec, .n_iov = 1 };
    return submit_sub(w, to);
}

int q2_moved(struct q2_req *w, struct disk_req *c)
{
    disk_req_advance(c, w->piece - w->sub.len);
    return w->sub.result < 0 ? w->sub.result : Q2_AGAIN;
}

/* ---- reads ---- */

static struct disk_req *cursor(struct q2_req *w)
{
    return w->filling ? &w->fill : w->r;
}

static int after_read(struct q2_req *w)
{
    return q2_moved(w, cursor(w));
}

bool q2_absent_is_zero(const struct qcow2 *q, u64 offset)
{
    return !q->disk.backing || offset >= q->disk.backing->size;
}

static int read_absent(struct q2_req *w, struct disk_req *c, u64 len)
{
    struct qcow2 *q = q2_of_req(w);

    if (q2_absent_is_zero(q, c->offset)) {
        disk_req_clear(c, len);
        return Q2_AGAIN;
    }
    len = min(len, q->disk.backing->size - c->offset);
    w->after = after_read;
    return q2_send(w, w->qq->backing, DISK_READ, c->offset, len, c);
}

/* Bytes of the unzipped cluster that the request wants. */
static void copy_unzipped(struct q2_req *w, struct disk_req *c)
{
    struct qcow2 *q = q2_of_req(w);
    u64 in = c->offset & (q->cluster - 1), len = min(c->len, q->cluster - in);

    while (len) {
        u64 part = min(len, (u64)c->iov->iov_len);

        memcpy(c->iov->iov_base, w->qq->unzipped + in, part);
        disk_req_advance(c, part);
        in += part;
        len -= part;
    }
}

static void put_zip(struct q2_req *w)
{
    struct qcow2 *q = q2_of_req(w);

    if (!w->zip)
        return;
    w->qq->zip[w->qq->n_zip++] = w->zip;
    w->zip = NULL;
    pthread_mutex_lock(&q->lock);
    q2_wake(q, w->qq->zip, 0);
    pthread_mutex_unlock(&q->lock);
}

static int after_zip(struct q2_req *w)
{
    struct qcow2 *q = q2_of_req(w);
    struct q2_queue *qq = w->qq;
    u64 at, len;
    int r = w->sub.result;

    q2_zip_range(q, w->zip_descriptor, &at, &len);
    if (r == 0) {
        qq->unzipped_is = 0;
        r = q2_unzip(q, w->zip + (at & (DISK_SECTOR - 1)), len, qq->unzipped);
    }
    put_zip(w);
    if (r < 0)
        return r == -EBADMSG ? -EIO : r;
    qq->unzipped_is = w->zip_descriptor;
    qq->unzipped_gen = w->zip_gen;
    copy_unzipped(w, cursor(w));
    return Q2_AGAIN;
}

/* Is it still there from the last read? */
static bool is_unzipped(const struct q2_req *w, u64 descriptor)
{
    return w->qq->unzipped_is == descriptor && w->qq->unzipped_gen == w->zip_gen;
}

static int read_zip(struct q2_req *w, struct disk_req *c, u64 descriptor)
{
    struct qcow2 *q = q2_of_req(w);
    struct q2_queue *qq = w->qq;
    u64 at, len, end;

    if (is_unzipped(w, descriptor)) {
        copy_unzipped(w, c);
        return Q2_AGAIN;
    }
    w->zip = qq->zip[--qq->n_zip];
    w->zip_descriptor = descriptor;
    q2_zip_range(q, descriptor, &at, &len);
    end = align_up(at + len, DISK_SECTOR);
    at = align_down(at, DISK_SECTOR);
    w->after = after_zip;
    return q2_send_buf(w, qq->file, DISK_READ, at, w->zip, end - at);
}

/* Finds out where the next bytes are; parks, or 0 with the extent.  Holds what may be freed. */
static int locate(struct q2_req *w, const struct disk_req *c, struct q2_extent *x)
{
    struct qcow2 *q = q2_of_req(w);
    struct q2_table *t;
    const void *key;
    u64 at, len;
    int r = q2_table_get(q, w->qq, q2_l1_index(q, c->offset), false, &t, &key);

    if (r == -EAGAIN)
        return q2_park(w, key);
    if (r >= 0)
        r = q2_extent_get(q, t, c->offset, c->len, x);
    if (r < 0)
        return q2_refused(q, r);
    if (x->kind == Q2_KIND_DATA)
        q2_fly(w, x->host, x->len);
    w->zip_gen = q->zip_gen;
    if (x->kind != Q2_KIND_ZIP || is_unzipped(w, x->host))
        return 0;
    if (!w->qq->n_zip)
        return q2_park(w, w->qq->zip);
    q2_zip_range(q, x->host, &at, &len);
    q2_fly(w, at, len);
    return 0;
}

int q2_read_step(struct q2_req *w, struct disk_req *c)
{
    struct qcow2 *q = q2_of_req(w);
    struct q2_extent x;
    int r;

    if (!c->len)
        return w->filling ? q2_filled(w) : 0;
    pthread_mutex_lock(&q->lock);
    r = locate(w, c, &x);
    pthread_mutex_unlock(&q->lock);
    if (r)
        return r;
    switch (x.kind) {
    case Q2_KIND_ABSENT:
        return read_absent(w, c, x.len);
    case Q2_KIND_ZERO:
        disk_req_clear(c, x.len);
        return Q2_AGAIN;
    case Q2_KIND_DATA:
        w->after = after_read;
        return q2_send(w, w->qq->data, DISK_READ, x.host, x.len, c);
    case Q2_KIND_ZIP:
        return read_zip(w, c, x.host);
    }
    return -EIO;
}

/* ---- flushes ---- */

static int after_flush(struct q2_req *w)
{
    return w->sub.result;
}

static int after_flush_below(struct q2_req *w)
{
    w->flushed_below = true;
    return w->sub.result < 0 ? w->sub.result : Q2_AGAIN;
}

static int flush_below(struct q2_req *w)
{
    w->sub = (struct disk_req){ .op = DISK_FLUSH };
    w->after = after_flush_below;
    return submit_sub(w, w->qq->backing);
}

/*
 * With metadata to write back, a round of the disk's thread that begins after now.  Else the data is all there is, and a flush
 * of the file that it is in will do.
 */
int q2_flush_step(struct q2_req *w)
{
    struct qcow2 *q = q2_of_req(w);
    int r = 0;

    if (atomic_load(&q->flush_below) && !w->flushed_below)
        return flush_below(w);
    pthread_mutex_lock(&q->lock);
    if (!w->round && (q2_is_dirty(q) || q->round_busy || q->round_wanted))
        w->round = q2_round_begin(q);
    if (w->round && q->rounds_ended < w->round)
        r = q2_park(w, q);
    pthread_mutex_unlock(&q->lock);
    if (r)
        return r;
    if (w->round) {
        w->round = 0;
        return 0;
    }
    w->sub = (struct disk_req){ .op = DISK_FLUSH };
    w->after = after_flush;
    return submit_sub(w, w->qq->data);
}

/* ---- the way of a request ---- */

static int step(struct q2_req *w)
{
    if (w->filling)
        return q2_read_step(w, &w->fill);
    switch (w->r->op) {
    case DISK_READ:
        return q2_read_step(w, w->r);
    case DISK_WRITE:
        return q2_write_step(w);
    case DISK_FLUSH:
        return q2_flush_step(w);
    case DISK_DISCARD:
        return q2_discard_step(w);
    case DISK_ZERO:
        return q2_zero_step(w);
    case DISK_FILL:
        return q2_fill_step(w);
    }
    return -EINVAL;
}

static void finish(struct q2_req *w, int result)
{
    struct qcow2 *q = q2_of_req(w);
    struct q2_queue *qq = w->qq;
    struct disk_req *r = w->r;

    put_zip(w);
    q2_write_abort(w);
    atomic_fetch_sub(&q->n_active, 1);
    w->r = NULL;
    w->round = 0;
    w->flushed_below = false;
    w->next = qq->free;
    qq->free = w;
    qq->n_done++;
    disk_req_finish(r, result);
}

static void go_on(struct q2_req *w, int r)
{
    while (r == Q2_AGAIN)
        r = step(w);
    if (r != Q2_LATER)
        finish(w, r);
}

static void on_sub(struct disk_req *sub)
{
    struct q2_req *w = container_of(sub, struct q2_req, sub);
    struct qcow2 *q = q2_of_req(w);

    if (w->flying) {
        pthread_mutex_lock(&q->lock);
        land(w);
        pthread_mutex_unlock(&q->lock);
    }
    go_on(w, w->after(w));
}

static void on_load(struct disk_req *load)
{
    struct q2_table *t = container_of(load, struct q2_table, load);
    struct qcow2 *q = q2_of(t->loader->q.disk);

    pthread_mutex_lock(&q->lock);
    t->state = load->result < 0 ? Q2_TABLE_FREE : Q2_TABLE_READY;
    if (load->result < 0)
        q->l2.by_l1[t->l1] = NULL;
    q2_wake(q, t, load->result);
    q2_wake(q, &q->l2, 0);
    pthread_mutex_unlock(&q->lock);
}

void q2_load(struct q2_queue *qq, struct q2_table *t, u64 host)
{
    t->iov = (struct iovec){ t->e, q2_of(qq->q.disk)->cluster };
    t->load = (struct disk_req){
        .op = DISK_READ, .offset = host, .len = t->iov.iov_len, .iov = &t->iov, .n_iov = 1
    };
    t->load.done = on_load;
    t->loader = qq;
    qq->moved = true;
    disk_submit(qq->file, &t->load);
}

static bool has_todo(const struct q2_queue *qq)
{
    return qq->todo && (qq->free || qq->n_used < qq->n_reqs);
}

static struct q2_req *take_free(struct q2_queue *qq)
{
    struct q2_req *w = qq->free;

    if (w) {
        qq->free = w->next;
        return w;
    }
    w = &qq->reqs[qq->n_used++];
    w->qq = qq;
    return w;
}

static void take_todo(struct q2_queue *qq)
{
    struct qcow2 *q = q2_of(qq->q.disk);

    while (has_todo(qq)) {
        struct q2_req *w = take_free(qq);
        struct disk_req *r = qq->todo;

        qq->todo = r->next;
        atomic_fetch_add(&q->n_active, 1);
        w->r = r;
        w->woken = 0;
        go_on(w, Q2_AGAIN);
    }
}

static void take_runnable(struct q2_queue *qq)
{
    struct qcow2 *q = q2_of(qq->q.disk);
    struct q2_wait_list l;
    struct q2_req *w;

    if (!atomic_load(&qq->has_runnable))
        return;
    pthread_mutex_lock(&q->lock);
    l = qq->runnable;
    qq->runnable = (struct q2_wait_list){};
    atomic_store(&qq->has_runnable, false);
    pthread_mutex_unlock(&q->lock);
    while ((w = list_take(&l)))
        go_on(w, w->woken < 0 ? w->woken : Q2_AGAIN);
}

void q2_submit(struct disk_queue *dq, struct disk_req *r)
{
    struct q2_queue *qq = queue_of(dq);

    r->next = NULL;
    if (qq->todo)
        qq->todo_last->next = r;
    else
        qq->todo = r;
    qq->todo_last = r;
}

void q2_kick(struct disk_queue *dq)
{
    struct q2_queue *qq = queue_of(dq);

    do {
        take_todo(qq);
        take_runnable(qq);
        qq->moved = false;
        disk_kick(qq->file);
        if (qq->data != qq->file)
            disk_kick(qq->data);
        if (qq->backing)
            disk_kick(qq->backing);
    } while (qq->moved || has_todo(qq) || atomic_load(&qq->has_runnable));
}

static struct disk_queue *busy_below(const struct q2_queue *qq)
{
    if (qq->file->busy)
        return qq->file;
    if (qq->data->busy)
        return qq->data;
    return qq->backing && qq->backing->busy ? qq->backing : NULL;
}

/* Waits for the io of any queue of this loop, or until another thread made one of them runnable. */
static void wait_any(struct qcow2 *q, struct q2_queue *qq)
{
    struct disk_queue *below = busy_below(qq);
    bool runnable = false;

    pthread_mutex_lock(&q->lock);
    while (!below && !runnable) {
        for (struct q2_queue *o = q->queues; o && !below; o = o->next) {
            if (o->loop != qq->loop)
                continue;
            runnable |= o->runnable.first != NULL;
            below = busy_below(o);
        }
        if (!below && !runnable)
            pthread_cond_wait(&q->cond, &q->lock);
    }
    pthread_mutex_unlock(&q->lock);
    if (below && !runnable)
        disk_wait(below);
}

void q2_wait(struct disk_queue *dq)
{
    struct q2_queue *qq = queue_of(dq), *next;
    struct qcow2 *q = q2_of(dq->disk);
    u64 before = qq->n_done;

    q2_kick(dq);
    while (dq->busy && qq->n_done == before) {
        wait_any(q, qq);
        for (struct q2_queue *o = q->queues; o; o = next) {
            u64 done;

            next = o->next;
            if (o->loop != qq->loop)
                continue;
            done = o->n_done;
            q2_kick(&o->q);
            if (o != qq && o->n_done != done)
                fd_event_signal(o->event); /* its batch is due */
        }
    }
}

static void on_batch(void *arg)
{
    struct q2_queue *qq = arg;

    q2_kick(&qq->q);
    qq->batch(qq->arg);
}

static void on_event(struct loop_fd *f, int)
{
    struct q2_queue *qq = f->arg;

    fd_event_take(qq->event);
    on_batch(qq);
}

/* ---- queues ---- */

/* Requests and buffers, as pages that are there when they are first used. */
static int make_memory(struct q2_queue *qq, u32 depth)
{
    struct qcow2 *q = q2_of(qq->q.disk);
    u32 n_cow = (u32)max(min(8 * MiB / q->cluster, (u64)Q2_COW_MAX), 4ull);
    size_t cow = align_up(q->cluster, 4096), zip = align_up(2 * q->cluster + DISK_SECTOR, 4096);
    size_t reqs = align_up(depth * sizeof(struct q2_req), 4096);
    u8 *p;

    qq->mem_len = reqs + (n_cow + 1) * cow + Q2_ZIP_MAX * zip;
    p = mmap(NULL, qq->mem_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
             -1, 0);
    if (p == MAP_FAILED)
        return -errno;
    qq->mem = p;
    qq->reqs = (struct q2_req *)p;
    qq->n_reqs = depth;
    p += reqs;
    while (qq->n_cow < n_cow) {
        qq->cow[qq->n_cow++] = p;
        p += cow;
    }
    qq->unzipped = p;
    p += cow;
    while (qq->n_zip < Q2_ZIP_MAX) {
        qq->zip[qq->n_zip++] = p;
        p += zip;
    }
    return 0;
}

static int open_below(struct q2_queue *qq, const struct disk_queue_cfg *cfg, struct err *e)
{
    struct qcow2 *q = q2_of(qq->q.disk);
    struct disk_queue_cfg below = *cfg;
    int r;

    below.batch = on_batch;
    below.arg = qq;
    if (!q->data)
        return err_set(e, -EINVAL, "disk '%s' was opened without its data file", q->disk.name);
    r = disk_queue_open(q->file, &below, &qq->file, e);
    qq->data = qq->file;
    if (r == 0 && q->data_apart)
        r = disk_queue_open(q->data, &below, &qq->data, e);
    if (r == 0 && q->disk.backing)
        r = disk_queue_open(q->disk.backing, &below, &qq->backing, e);
    return r;
}

static void link_queue(struct qcow2 *q, struct q2_queue *qq)
{
    pthread_mutex_lock(&q->lock);
    qq->next = q->queues;
    q->queues = qq;
    pthread_mutex_unlock(&q->lock);
}

static void unlink_queue(struct qcow2 *q, struct q2_queue *qq)
{
    pthread_mutex_lock(&q->lock);
    for (struct q2_queue **p = &q->queues; *p; p = &(*p)->next)
        if (*p == qq) {
            *p = qq->next;
            break;
        }
    pthread_mutex_unlock(&q->lock);
}

int q2_queue_open(struct disk *d, const struct disk_queue_cfg *cfg, struct disk_queue **ret,
                  struct err *e)
{
    struct q2_queue *qq = xnew(struct q2_queue);
    int r;

    qq->q.disk = d;
    qq->loop = cfg->loop;
    qq->batch = cfg->batch;
    qq->arg = cfg->arg;
    qq->event = fd_eventfd();
    r = qq->event < 0 ? qq->event : make_memory(qq, cfg->depth);
    if (r == 0)
        r = loop_fd_attach(cfg->loop, &qq->wake, qq->event, UV_READABLE, on_event, qq);
    r = r < 0 ? err_code(e, r, "a queue of disk '%s'", d->name) : open_below(qq, cfg, e);
    if (r == 0 && !d->readonly)
        r = q2_flusher_start(q2_of(d), cfg, e);
    link_queue(q2_of(d), qq);
    if (r < 0) {
        q2_queue_close(&qq->q);
        return r;
    }
    *ret = &qq->q;
    return 0;
}

void q2_queue_close(struct disk_queue *dq)
{
    struct q2_queue *qq = queue_of(dq);

    unlink_queue(q2_of(dq->disk), qq);
    disk_queue_close(qq->backing);
    if (qq->data != qq->file)
        disk_queue_close(qq->data);
    disk_queue_close(qq->file);
    loop_fd_detach(qq->loop, &qq->wake);
    fd_close(&qq->event);
    if (qq->mem)
        munmap(qq->mem, qq->mem_len);
    free(qq);
}
