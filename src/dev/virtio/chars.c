/*
 * dev/virtio/chars.c: see chars.h.
 */
#include "dev/virtio/chars.h"

static int check_console(void *obj, struct err *e)
{
    const struct console_state *s = obj;

    if (s->n_input > CHARS_INPUT_MAX)
        return err_set(e, -EBADMSG, "%u bytes of input; at most %u", s->n_input, CHARS_INPUT_MAX);
    return 0;
}
STATE_TABLE(console_state, CONSOLE_STATE, .after_load = check_console);

/* ---- output ---- */

/* Writes what the backend and *budget allow of the chain; true when it is all out. */
static bool write_chain(struct chars *s, const struct chain *c, u32 *budget)
{
    struct iovec iov[VQ_SEGS_MAX];
    u32 want;
    int n;

    if (s->st.tx_done >= c->out_len) /* also when the guest shortened it since */
        return true;
    want = min(c->out_len - s->st.tx_done, *budget);
    n = chain_out_iov(c, s->st.tx_done, want, iov, VQ_SEGS_MAX);
    for (int i = 0; i < n; i++) {
        u32 took = chardev_write(s->host, iov[i].iov_base, (u32)iov[i].iov_len);

        s->st.tx_done += took;
        s->out += took;
        *budget -= took;
        if (took < iov[i].iov_len) /* on_room will go on */
            break;
    }
    return s->st.tx_done == c->out_len;
}

void chars_tx(struct chars *s)
{
    struct vq *q = &s->v->q[s->tx];
    u32 budget = CHARS_TX_BUDGET;
    struct chain c;
    int r = 1;

    for (u32 n = 0; n < VDEV_SERVE_MAX && (r = vq_pop(q, &c)) == 1; n++) {
        if (!write_chain(s, &c, &budget)) {
            vq_unpop(q, &c);
            break;
        }
        s->st.tx_done = 0;
        vq_push(q, &c);
    }
    if (r < 0)
        vdev_fail(s->v, "malformed output ring");
    if (vq_kicks(q, true) && chardev_room(s->host, 1) > 0)
        vdev_kick_later(s->v);
    vdev_notify(s->v, s->tx);
}

/* ---- input ---- */

void chars_rx(struct chars *s)
{
    struct vq *q = &s->v->q[s->rx];
    struct chain c;
    int r = 0;

    while (s->st.n_input > 0 && (r = vq_pop(q, &c)) == 1) {
        u32 n = min(c.in_len, (u32)s->st.n_input);

        must(chain_put(&c, s->st.input, n) == 0);
        s->st.n_input = (u16)(s->st.n_input - n);
        memmove(s->st.input, s->st.input + n, s->st.n_input);
        vq_push(q, &c);
    }
    if (r < 0)
        vdev_fail(s->v, "malformed input ring");
    if (vq_kicks(q, true) && s->st.n_input > 0)
        vdev_kick_later(s->v);
    vdev_notify(s->v, s->rx);
    chardev_accept(s->host);
}

/* ---- the backend's callbacks: control loop, no lock ---- */

static u32 on_ask_room(void *arg)
{
    struct chars *s = arg;
    u32 room;

    pthread_mutex_lock(&s->v->fn.dev.lock);
    room = s->v->active ? CHARS_INPUT_MAX - s->st.n_input : 0;
    pthread_mutex_unlock(&s->v->fn.dev.lock);
    return room;
}

static void on_input(void *arg, const u8 *data, u32 len)
{
    struct chars *s = arg;

    pthread_mutex_lock(&s->v->fn.dev.lock);
    len =
        min(len, (u32)CHARS_INPUT_MAX - s->st.n_input); /* a reset between may not make room less */
    memcpy(s->st.input + s->st.n_input, data, len);
    s->st.n_input = (u16)(s->st.n_input + len);
    s->in += len;
    if (s->v->active)
        vdev_kick_later(s->v);
    pthread_mutex_unlock(&s->v->fn.dev.lock);
}

static void on_room(void *arg)
{
    struct chars *s = arg;

    pthread_mutex_lock(&s->v->fn.dev.lock);
    if (s->v->active)
        vdev_kick_later(s->v);
    pthread_mutex_unlock(&s->v->fn.dev.lock);
}

static bool on_welcome(void *arg)
{
    const struct chars *s = arg;

    return !s->welcome || s->welcome(s->v);
}

static const struct chardev_ops host_ops = {
    .room = on_ask_room, .on_input = on_input, .on_room = on_room, .welcome = on_welcome
};

/* ---- life ---- */

int chars_open(struct chars *s, const char *backend, struct err *e)
{
    return chardev_open(s->v->fn.dev.machine->loop, backend, &host_ops, s, &s->host, e);
}

void chars_close(struct chars *s)
{
    chardev_close(TAKE(s->host));
}
