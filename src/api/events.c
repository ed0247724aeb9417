/*
 * api/events.c: streams of what changes.  A stream reads the store as its client takes it, so a slow client costs nothing, and one that
 * falls behind what the store keeps is dropped.
 * Who may see only some instances gets the events of these.  That one was deleted is told to whom the stream had shown it.
 */
#include "api/server_internal.h"

#include <stdlib.h>

enum { EVENTS_AT_ONCE = 64 };

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

static char *event_text(struct client *c, const struct store_rec *r)
{
    json_t *j = api_event(r);
    char *text = j && may_see(c, j) ? json_dumps(j, JSON_COMPACT) : NULL;

    json_decref(j);
    return text;
}

/* Server-sent: the id is of what is complete: who resumes gets the rest of a transaction again, rather than never. */
static void add_event(struct client *c, struct strbuf *out, const struct store_rec *r, bool last)
{
    char *text = event_text(c, r);

    if (text && c->mode == CLIENT_EVENTS)
        strbuf_add(out, "%s%s", out->len ? "," : "[", text);
    else if (text && last)
        strbuf_add(out, "id: %llu\ndata: %s\n\n", r->rev, text);
    else if (text)
        strbuf_add(out, "data: %s\n\n", text);
    free(text);
}

int events_write(struct client *c)
{
    struct host *h = c->server->host;
    AUTO(strbuf) struct strbuf out = {};
    AUTO(store_list) struct store_list l = {};
    int r;

    if (!client_still_may(c))
        return -1;
    if (c->sent == 0 && c->mode == CLIENT_SSE)
        strbuf_add(&out, ": from revision %llu\n\n", c->from);
    c->sent = 1;
    host_lock(h);
    r = store_changes(h->store, c->from, EVENTS_AT_ONCE, &l, NULL);
    host_unlock(h);
    if (r < 0)
        return -1;
    for (u32 i = 0; i < l.n; i++) {
        add_event(c, &out, &l.rec[i], i + 1 == l.n || l.rec[i + 1].rev != l.rec[i].rev);
        c->from = l.rec[i].rev;
    }
    if (l.more)
        lws_callback_on_writable(c->wsi);
    if (out.len && c->mode == CLIENT_EVENTS)
        strbuf_add(&out, "]");
    if (!out.len)
        return 0;
    return client_write(c, out.text, out.len,
                        c->mode == CLIENT_EVENTS ? LWS_WRITE_TEXT : LWS_WRITE_HTTP);
}
