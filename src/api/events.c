/*
 * api/events.c: streams of what changes.  A stream reads the store as its client takes it, so a slow client costs nothing, and one that
 * falls behind what the store keeps is dropped.
 * Who may see only some instances gets the events of these.  That one was deleted is told to whom the stream had shown it.
 *   (1) Streams that have come equally far are told the same: what they read is read and made into text once.
 *   (2) A change costs a write to each stream.  The first after a pause is told at once; of many that follow each other, those of a
 *       while are told together, so that there are no more than EVENTS_WRITES of these in a second.
 */
#include "api/server_internal.h"
#include "base/clock.h"

#include <stdlib.h>

enum {
    EVENTS_AT_ONCE = 64,
    BATCH_MAX = EVENTS_AT_ONCE + STORE_OPS_MAX, /* with the rest of the last one's transaction */
    EVENTS_WRITES = 1000,
};

/* What was changed after revision `from`, when the store had revision `at`. */
struct event_batch {
    u64 from, at, to; /* to: the last that is in it */
    bool valid, more;
    u32 n;
    struct batch_event {
        u64 rev;
        json_t *event; /* NULL: it is none for anybody */
        char *text;
        bool last; /* of its transaction */
    } e[BATCH_MAX];
    struct strbuf
        all[2]; /* of who may see everything: CLIENT_SSE, CLIENT_EVENTS; made when it is needed */
    bool made[2];
};

/* ---- who is told when ---- */

static void tell_all(struct server *s)
{
    s->told_ns = clock_mono_ns();
    for (struct client *c = s->clients; c; c = c->next)
        if (c->mode == CLIENT_SSE || c->mode == CLIENT_EVENTS)
            lws_callback_on_writable(c->wsi);
}

static void on_gap(uv_timer_t *timer)
{
    tell_all(timer->data);
}

void events_open(struct server *s)
{
    uv_timer_init(&s->loop->uv, &s->event_gap);
    s->event_gap.data = s;
}

void events_changed(struct server *s)
{
    const u64 next_ns = s->told_ns + s->n_streams * (NSEC_PER_SEC / EVENTS_WRITES),
              now_ns = clock_mono_ns();

    if (now_ns >= next_ns)
        tell_all(s);
    else if (!uv_is_active((uv_handle_t *)&s->event_gap))
        uv_timer_start(&s->event_gap, on_gap, (next_ns - now_ns) / NSEC_PER_MSEC + 1, 0);
}

/* ---- what is told ---- */

/* What may be seen now, so that its end is told. */
static void note_seen(struct client *c)
{
    struct host *h = c->server->host;

    c->seen = json_object();
    host_lock(h);
    for (u32 i = 0; i < h->n; i++)
        if (access_rights_on(&c->who, h->list[i]) & API_VIEW)
            json_object_set_new(c->seen, h->list[i]->id, json_true());
    host_unlock(h);
}

int events_begin(struct client *c)
{
    c->from = c->answer.from;
    c->sent = 0;
    if (!(c->rights & API_VIEW))
        note_seen(c);
    if (c->mode == CLIENT_EVENTS)
        return 0;
    return client_watch(c) < 0 || lws_http_mark_sse(c->wsi) ? -1 : 0;
}

void events_end(struct client *c)
{
    json_decref(c->seen);
    c->seen = NULL;
}

static bool may_see(struct client *c, const json_t *event)
{
    const char *id = json_string_value(json_object_get(event, "id"));
    struct host *h = c->server->host;
    const struct instance *i;
    bool sees;

    if (c->rights & API_VIEW)
        return true;
    if (!id)
        return false;
    host_lock(h);
    i = host_by_id_locked(h, id);
    sees = i && (access_rights_on(&c->who, i) & API_VIEW);
    host_unlock(h);
    if (sees && c->seen)
        json_object_set_new(c->seen, id, json_true());
    return i ? sees : json_object_get(c->seen, id) != NULL;
}

static void batch_clear(struct event_batch *b)
{
    for (u32 i = 0; i < b->n; i++) {
        json_decref(b->e[i].event);
        free(b->e[i].text);
    }
    for_each_row(text, b->all)
        strbuf_fini(text);
    *b = (struct event_batch){};
}

void events_close(struct server *s)
{
    if (s->events)
        batch_clear(s->events);
    free(TAKE(s->events));
}

static void batch_fill(struct event_batch *b, const struct store_list *l)
{
    must(l->n <= BATCH_MAX);
    b->n = l->n;
    for (u32 i = 0; i < b->n; i++) {
        const struct store_rec *r = &l->rec[i];
        struct batch_event *e = &b->e[i];

        e->rev = b->to = r->rev;
        e->last = i + 1 == l->n || l->rec[i + 1].rev != r->rev;
        e->event = api_event(r);
        e->text = e->event ? json_dumps(e->event, JSON_COMPACT) : NULL;
    }
}

/* NULL: too long ago. */
static struct event_batch *batch_after(struct server *s, u64 from)
{
    struct event_batch *b = s->events;
    AUTO(store_list) struct store_list l = {};
    u64 at;
    int r = 0;

    if (!b)
        b = s->events = xnew(struct event_batch);
    host_lock(s->host);
    at = store_revision(s->host->store);
    if (!b->valid || b->from != from || b->at != at) {
        batch_clear(b);
        r = store_changes(s->host->store, from, EVENTS_AT_ONCE, &l, NULL);
    }
    host_unlock(s->host);
    if (r < 0 || b->valid)
        return r < 0 ? NULL : b;
    b->from = b->to = from;
    b->at = at;
    b->more = l.more;
    b->valid = true;
    batch_fill(b, &l);
    return b;
}

/* Server-sent: the id is of what is complete: who resumes gets the rest of a transaction again, rather than never. */
static void add_event(enum client_mode mode, struct strbuf *out, const struct batch_event *e)
{
    if (mode == CLIENT_EVENTS)
        strbuf_add(out, "%s%s", out->len ? "," : "[", e->text);
    else if (e->last)
        strbuf_add(out, "id: %llu\ndata: %s\n\n", e->rev, e->text);
    else
        strbuf_add(out, "data: %s\n\n", e->text);
}

/* `c`: who may not see everything; NULL: one who may. */
static void add_batch(const struct event_batch *b, struct client *c, enum client_mode mode,
                      struct strbuf *out)
{
    for (u32 i = 0; i < b->n; i++)
        if (b->e[i].text && (!c || may_see(c, b->e[i].event)))
            add_event(mode, out, &b->e[i]);
    if (mode == CLIENT_EVENTS && out->len)
        strbuf_add(out, "]");
}

/* What everybody is told who may see everything. */
static const struct strbuf *text_for_all(struct event_batch *b, enum client_mode mode)
{
    const u32 k = mode == CLIENT_EVENTS;

    if (!b->made[k])
        add_batch(b, NULL, mode, &b->all[k]);
    b->made[k] = true;
    return &b->all[k];
}

int events_write(struct client *c)
{
    AUTO(strbuf) struct strbuf own = {};
    const struct strbuf *out = &own;
    struct event_batch *b;

    if (!client_still_may(c))
        return -1;
    b = batch_after(c->server, c->from);
    if (!b)
        return -1;
    if (c->sent == 0 && c->mode == CLIENT_SSE)
        strbuf_add(&own, ": from revision %llu\n\n", c->from);
    if (!own.len && (c->rights & API_VIEW))
        out = text_for_all(b, c->mode);
    else
        add_batch(b, c->rights & API_VIEW ? NULL : c, c->mode, &own);
    c->sent = 1;
    c->from = b->to;
    if (b->more)
        lws_callback_on_writable(c->wsi);
    if (!out->len)
        return 0;
    return client_write(c, out->text, out->len,
                        c->mode == CLIENT_EVENTS ? LWS_WRITE_TEXT : LWS_WRITE_HTTP);
}
