/*
 * api/once.c: requests with an Idempotency-Key: their records, found, made and dropped.
 */
#include "api/once.h"

#include "api/api.h"

#include <sodium.h>
#include <stdlib.h>

enum { SUM_BYTES = 32, KEY_BYTES = 16, WHO_BYTES = ONCE_WHO / 2 };

/* clang-format off */
static const struct field once_fields[] = {
    FIELD_STR(once_rec, sum, "of the request, hex", .required = true),
    FIELD_INT(once_rec, at, "when, in seconds since 1970"),
    FIELD_INT(once_rec, status, "of the answer"),
    FIELD_STR(once_rec, body, "of the answer"),
    FIELD_INT(once_rec, etag, "of the answer"),
    {},
};
/* clang-format on */

bool once_key_ok(const char *key)
{
    const char *p = key;

    while (*p > ' ' && *p < 0x7f)
        p++;
    return p > key && !*p;
}

/* ---- which request it is ---- */

static void hash_hex(char *ret, size_t bytes, const char *who, const char *key)
{
    crypto_generichash_state s;
    u8 hash[32];

    crypto_generichash_init(&s, NULL, 0, bytes);
    crypto_generichash_update(&s, (const u8 *)who, strlen(who) + 1);
    crypto_generichash_update(&s, (const u8 *)key, strlen(key));
    crypto_generichash_final(&s, hash, bytes);
    sodium_bin2hex(ret, 2 * bytes + 1, hash, bytes);
}

static void add(crypto_generichash_state *s, const char *text)
{
    const u8 end = 0;

    if (text)
        crypto_generichash_update(s, (const u8 *)text, strlen(text));
    crypto_generichash_update(s, &end, 1);
}

/* A body may hold a password, so its sum cannot be compared with guesses by who has the records, and not the key. */
static char *sum_of(const struct api_request *rq)
{
    crypto_generichash_state s;
    u8 key[SUM_BYTES], sum[SUM_BYTES];
    char hex[2 * SUM_BYTES + 1];

    crypto_generichash(key, sizeof(key), (const u8 *)rq->once, strlen(rq->once), NULL, 0);
    crypto_generichash_init(&s, key, sizeof(key), sizeof(sum));
    add(&s, rq->method);
    add(&s, rq->path);
    add(&s, rq->query);
    add(&s, rq->if_match);
    crypto_generichash_update(&s, (const u8 *)rq->body, rq->body_len);
    crypto_generichash_final(&s, sum, sizeof(sum));
    sodium_bin2hex(hex, sizeof(hex), sum, sizeof(sum));
    return xdup(hex);
}

static void ride(struct host_rider *r, struct host_change *c);

struct once *once_new(const struct api_request *rq, int status, u64 now)
{
    struct once *o = xnew(struct once);
    const char *who = rq->who ? rq->who->name : "";

    *o = (struct once){ .rider.add = ride,
                        .all = &rq->access->once,
                        .rec = { .sum = sum_of(rq), .at = now, .status = (u32)status } };
    hash_hex(o->id, WHO_BYTES, who, "");
    o->id[ONCE_WHO] = '-';
    hash_hex(o->id + ONCE_WHO + 1, KEY_BYTES, who, rq->once);
    return o;
}

void once_free(struct once *o)
{
    if (!o)
        return;
    conf_fini(once_fields, &o->rec);
    free(o);
}

/* ---- those that there are ---- */

static void append(struct once_table *all, const char *id, u64 at)
{
    if (all->n == all->room) {
        struct once_slot *more = xnew_n(struct once_slot, max(2 * all->room, 64u));

        if (all->n)
            memcpy(more, all->slot, all->n * sizeof(*more));
        free(all->slot);
        all->slot = more;
        all->room = max(2 * all->room, 64u);
    }
    str_copy(all->slot[all->n].id, sizeof(all->slot->id), id);
    all->slot[all->n++].at = at;
}

static void drop(struct once_table *all, const char *id)
{
    u32 at = 0;

    while (at < all->n && strcmp(all->slot[at].id, id) != 0)
        at++;
    if (at == all->n)
        return;
    memmove(all->slot + at, all->slot + at + 1, (all->n - at - 1) * sizeof(*all->slot));
    all->n--;
}

static int by_time(const void *a, const void *b)
{
    const struct once_slot *x = a, *y = b;

    return x->at < y->at ? -1 : x->at > y->at;
}

int once_open(struct once_table *all, struct host *h, struct err *e)
{
    static const char prefix[] = "once/";
    AUTO(store_list) struct store_list l = {};
    int r;

    *all = (struct once_table){ .host = h };
    host_lock(h);
    r = store_range(h->store, prefix, NULL, UINT32_MAX - 1, &l, e);
    host_unlock(h);
    for (u32 i = 0; i < l.n && r >= 0; i++) {
        struct once_rec rec = {};

        r = conf_parse_text(once_fields, &rec, l.rec[i].value, l.rec[i].len, e);
        if (r >= 0)
            append(all, l.rec[i].key + strlen(prefix), rec.at);
        else
            err_wrap(e, "record '%.60s'", l.rec[i].key);
        conf_fini(once_fields, &rec);
    }
    if (all->n)
        qsort(all->slot, all->n, sizeof(*all->slot), by_time);
    return r;
}

void once_close(struct once_table *all)
{
    free(all->slot);
    *all = (struct once_table){};
}

int once_find(struct once_table *all, struct once *o, struct api_answer *ret, struct err *e)
{
    AUTO(free) char *key = str_new("once/%s", o->id);
    AUTO(store_rec) struct store_rec got = {};
    struct once_rec rec = {};
    int r;

    host_lock(all->host);
    r = store_get(all->host->store, key, &got, e);
    host_unlock(all->host);
    if (r == -ENOENT)
        return 0;
    if (r >= 0)
        r = conf_parse_text(once_fields, &rec, got.value, got.len, e);
    if (r >= 0 && rec.at + ONCE_KEPT_SECONDS <= o->rec.at) {
        r = 0; /* it leaves with a later change, or is replaced now */
    } else if (r >= 0 && strcmp(rec.sum, o->rec.sum) != 0) {
        r = err_set(e, -ENOTUNIQ,
                    "this Idempotency-Key was used for another request; each needs its own");
    } else if (r >= 0 && rec.status != 204 && !rec.body) {
        r = err_set(e, -EALREADY, "this was done before; its answer was told once, and not kept");
    } else if (r >= 0) {
        ret->status = (int)rec.status;
        ret->etag = rec.etag;
        if (rec.body)
            strbuf_add(&ret->body, "%s", rec.body);
        r = 1;
    }
    conf_fini(once_fields, &rec);
    return r;
}

/* ---- its record ---- */

/* Of at most two for each that comes, so those that are too old become none; and the oldest, where there are too many. */
static void choose_old(const struct once_table *all, struct once *o)
{
    u32 n = 0, same = 0;

    for (u32 i = 0; i < all->n; i++)
        same += strncmp(all->slot[i].id, o->id, ONCE_WHO) == 0;
    for (u32 i = 0; i < all->n && n < ARRAY_LEN(o->old); i++) {
        const struct once_slot *s = &all->slot[i];
        const bool own = strncmp(s->id, o->id, ONCE_WHO) == 0;

        if (strcmp(s->id, o->id) == 0 || (s->at + ONCE_KEPT_SECONDS > o->rec.at &&
                                          all->n - i < ONCE_MAX && !(own && same >= ONCE_USER_MAX)))
            continue;
        str_copy(o->old[n++], sizeof(o->old[0]), s->id);
        same -= own;
    }
}

static void put(struct once *o, struct host_change *c)
{
    host_change_put(c, host_change_key(c, "once", o->id), conf_print(once_fields, &o->rec));
}

static void ride(struct host_rider *r, struct host_change *c)
{
    struct once *o = container_of(r, struct once, rider);
    char *text = c->result ? json_dumps(c->result, JSON_COMPACT) : NULL;

    memset(o->old, 0, sizeof(o->old));
    choose_old(o->all, o);
    for_each_row(old, o->old)
        if ((*old)[0])
            store_txn_delete(&c->txn, host_change_key(c, "once", *old));
    free(o->rec.body);
    o->rec.body = text ? str_new("%s\n", text) : NULL;
    o->rec.etag = c->etag;
    free(text);
    put(o, c);
}

/* A change of nothing else. */
static int change_alone(struct once_table *all, struct once *o, bool keep)
{
    struct host_change c = {};
    struct err e = {};
    int r;

    if (keep)
        put(o, &c);
    else
        store_txn_delete(&c.txn, host_change_key(&c, "once", o->id));
    host_lock(all->host);
    r = host_change_do(all->host, &c, NULL, &e);
    host_unlock(all->host);
    if (r < 0)
        log_warn("an answer cannot be recorded for who asks again: %s", e.text);
    return r;
}

/* The answer as it was recorded: "revision" may have been looked up a change earlier. */
static void answer_as_recorded(const struct once *o, struct api_answer *ret)
{
    ret->body.len = 0;
    strbuf_add(&ret->body, "%s", o->rec.body);
    ret->etag = o->rec.etag;
}

void once_keep(struct once_table *all, struct once *o, int r, struct api_answer *ret)
{
    const bool kept = o->rider.done;

    if (r < 0) {
        if (kept)
            (void)change_alone(all, o, false);
        return;
    }
    if (kept && o->rec.body) {
        answer_as_recorded(o, ret);
    } else if (!kept || (ret->body.len && !ret->secret)) {
        if (ret->body.len && !ret->secret && ret->body.len <= ONCE_BODY_MAX)
            o->rec.body = xdup(ret->body.text);
        o->rec.etag = ret->etag;
        if (change_alone(all, o, true) < 0 && !kept)
            return;
    }
    for_each_row(old, o->old)
        if ((*old)[0])
            drop(all, *old);
    drop(all, o->id);
    append(all, o->id, o->rec.at);
}
