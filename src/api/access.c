/*
 * api/access.c: users and keys: their records, read, made, changed and deleted.
 */
#include "api/access.h"

#include "base/clock.h"

#include <sodium.h>
#include <stdlib.h>

enum { SECRET_BYTES = 32, HASH_BYTES = 32 };

static const char *const kinds[] = { "session", "token", NULL };

/* clang-format off */
static const struct field user_fields[] = {
    FIELD_ENUM(user_rec, role, access_roles, "on everything"),
    FIELD_STR(user_rec, password, "argon2id"),
    FIELD_STR(user_rec, totp, "secret of the codes, base32"),
    FIELD_STR(user_rec, totp_next, "one that was not shown to work yet"),
    FIELD_INT(user_rec, totp_used, "the step of the last code"),
    FIELD_BOOL(user_rec, disabled, "is refused"),
    FIELD_LIST(user_rec, grants, access_grant_fields, access_grant, ACCESS_GRANTS_MAX, "on single instances"),
    FIELD_INT(user_rec, created, "when, in seconds since 1970"),
    {},
};
static const struct field key_fields[] = {
    FIELD_ENUM(key_rec, kind, kinds, "what it is"),
    FIELD_STR(key_rec, user, "whose it is", .required = true),
    FIELD_STR(key_rec, name, "what a token is for"),
    FIELD_STR(key_rec, from, "where a session's login came from"),
    FIELD_ENUM(key_rec, role, access_roles, "at most this"),
    FIELD_BOOL(key_rec, shell, "a token: a shell of the host, too"),
    FIELD_STR(key_rec, hash, "BLAKE2b of its secret, hex", .required = true),
    FIELD_INT(key_rec, created, "when, in seconds since 1970"),
    FIELD_INT(key_rec, expires, "until when"),
    FIELD_INT(key_rec, used, "when last, about"),
    {},
};
/* clang-format on */

/* ---- records ---- */

static int put(struct access *a, const char *kind, const char *id, const struct field *fields,
               const void *rec, struct err *e)
{
    struct host_change c = {};
    int r;

    host_lock(a->host);
    host_change_put(&c, host_change_key(&c, kind, id), conf_print(fields, rec));
    r = host_change_do(a->host, &c, NULL, e);
    host_unlock(a->host);
    return r;
}

static int remove_record(struct access *a, const char *kind, const char *id, struct err *e)
{
    struct host_change c = {};
    int r;

    host_lock(a->host);
    store_txn_delete(&c.txn, host_change_key(&c, kind, id));
    r = host_change_do(a->host, &c, NULL, e);
    host_unlock(a->host);
    return r;
}

void user_rec_fini(struct user_rec *r)
{
    if (r->password)
        sodium_memzero(r->password, strlen(r->password));
    if (r->totp)
        sodium_memzero(r->totp, strlen(r->totp));
    if (r->totp_next)
        sodium_memzero(r->totp_next, strlen(r->totp_next));
    conf_fini(user_fields, r);
}

struct user_rec user_rec_copy(const struct user_rec *r)
{
    struct user_rec copy;

    conf_copy(user_fields, &copy, r);
    return copy;
}

static void user_free(struct user *u)
{
    user_rec_fini(&u->rec);
    free(u);
}

static void key_free(struct key *k)
{
    conf_fini(key_fields, &k->rec);
    free(k);
}

struct user *access_user(const struct access *a, const char *name)
{
    struct user *u = a->users;

    while (u && strcmp(u->name, name) != 0)
        u = u->next;
    return u;
}

/* IDs are random, and ours: nobody chooses where they are. */
static struct key **slot_of(struct access *a, const char *id)
{
    u32 hash = 0;

    for (const char *p = id; *p; p++)
        hash = hash * 31 + (u8)*p;
    return &a->by_id[hash % ACCESS_KEY_SLOTS];
}

struct key *access_key(struct access *a, const char *id)
{
    struct key *k = *slot_of(a, id);

    while (k && strcmp(k->id, id) != 0)
        k = k->same;
    return k;
}

static void insert_key(struct access *a, struct key *k)
{
    struct key **slot = slot_of(a, k->id);

    k->next = a->keys;
    a->keys = k;
    k->same = *slot;
    *slot = k;
}

static void drop_key(struct access *a, struct key *k)
{
    struct key **all = &a->keys, **same = slot_of(a, k->id);

    while (*all != k)
        all = &(*all)->next;
    while (*same != k)
        same = &(*same)->same;
    *all = k->next;
    *same = k->same;
    key_free(k);
}

static struct user *insert_user(struct access *a, const char *name)
{
    struct user *u = xnew(struct user), **p = &a->users;

    str_copy(u->name, sizeof(u->name), name);
    while (*p && strcmp((*p)->name, name) < 0)
        p = &(*p)->next;
    u->next = *p;
    *p = u;
    a->n_users++;
    return u;
}

static int load_user(struct access *a, const char *name, const struct store_rec *r, struct err *e)
{
    struct user_rec rec;
    int n = conf_parse_text(user_fields, &rec, r->value, r->len, e);

    if (n >= 0 && strlen(name) > ACCESS_NAME_MAX)
        n = err_set(e, -EBADMSG, "its name is too long");
    if (n >= 0)
        insert_user(a, name)->rec = rec;
    return n;
}

static int load_key(struct access *a, const char *id, const struct store_rec *r, struct err *e)
{
    struct key *k = xnew(struct key);
    int n = conf_parse_text(key_fields, &k->rec, r->value, r->len, e);

    if (n >= 0 && !str_copy(k->id, sizeof(k->id), id))
        n = err_set(e, -EBADMSG, "its name is too long");
    if (n < 0) {
        key_free(k);
        return n;
    }
    k->used = k->rec.used;
    insert_key(a, k);
    return 0;
}

static int load(struct access *a, const char *prefix,
                int (*fn)(struct access *, const char *, const struct store_rec *, struct err *),
                struct err *e)
{
    AUTO(store_list) struct store_list l = {};
    int r;

    host_lock(a->host);
    r = store_range(a->host->store, prefix, NULL, UINT32_MAX - 1, &l, e);
    host_unlock(a->host);
    for (u32 i = 0; i < l.n && r >= 0; i++) {
        r = fn(a, l.rec[i].key + strlen(prefix), &l.rec[i], e);
        if (r < 0)
            err_wrap(e, "record '%.60s'", l.rec[i].key);
    }
    return r;
}

static u64 real_seconds(void)
{
    return clock_real_ns() / NSEC_PER_SEC;
}

int access_open(struct access *a, struct host *h, struct err *e)
{
    int r;

    *a = (struct access){ .host = h, .now = real_seconds, .audit.fd = -1 };
    a->tries.slot = xnew_n(struct try, TRIES_MAX);
    if (sodium_init() < 0)
        return err_set(e, -EIO, "libsodium does not start");
    r = audit_open(&a->audit, h->dir, e);
    if (r >= 0)
        r = load(a, "user/", load_user, e);
    if (r >= 0)
        r = load(a, "key/", load_key, e);
    return r < 0 ? r : once_open(&a->once, h, e);
}

void access_close(struct access *a)
{
    struct user *u;
    struct key *k;

    while ((u = a->users)) {
        a->users = u->next;
        user_free(u);
    }
    while ((k = a->keys))
        drop_key(a, k);
    free(TAKE(a->tries.slot));
    audit_close(&a->audit);
    once_close(&a->once);
}

/* ---- users ---- */

int access_user_put(struct access *a, const char *name, struct user_rec *rec, struct err *e)
{
    struct user *u = access_user(a, name);
    int r;

    if (!u && a->n_users == ACCESS_USERS_MAX)
        return err_set(e, -ENOSPC, "there are %u users; more are not allowed", a->n_users);
    r = put(a, "user", name, user_fields, rec, e);
    if (r < 0)
        return r;
    if (!u)
        u = insert_user(a, name);
    user_rec_fini(&u->rec);
    u->rec = *rec;
    *rec = (struct user_rec){};
    sodium_memzero(a->setup, sizeof(a->setup));
    return 0;
}

/* Each is a record of its own; a kill between leaves a user with fewer keys. */
static int end_keys(struct access *a, const char *user, const char *except, bool tokens,
                    struct err *e)
{
    int r = 0;

    for (struct key *k = a->keys, *next; k && r >= 0; k = next) {
        next = k->next;
        if (strcmp(k->rec.user, user) == 0 && strcmp(k->id, except) != 0 &&
            (tokens || k->rec.kind == KEY_SESSION))
            r = access_key_delete(a, k->id, e);
    }
    return r;
}

int access_end_sessions(struct access *a, const char *user, const char *except, struct err *e)
{
    return end_keys(a, user, except, false, e);
}

int access_user_delete(struct access *a, const char *name, struct err *e)
{
    struct user **p = &a->users, *u;
    struct host_rider *rider;
    int r;

    while (*p && strcmp((*p)->name, name) != 0)
        p = &(*p)->next;
    u = *p;
    if (!u)
        return err_set(e, -ENOENT, "there is no user '%.63s'", name);
    rider = host_ride(NULL);
    r = end_keys(a, name, "", true, e);
    host_ride(rider);
    if (r >= 0)
        r = remove_record(a, "user", name, e);
    if (r < 0)
        return r;
    *p = u->next;
    a->n_users--;
    user_free(u);
    return 0;
}

/* ---- keys ---- */

bool access_key_expired(const struct access *a, const struct key *k)
{
    const u64 now = a->now();

    return now >= k->rec.expires ||
           (k->rec.kind == KEY_SESSION && now >= k->used + ACCESS_IDLE_SECONDS);
}

static void hash_secret(const char *secret, char ret[2 * HASH_BYTES + 1])
{
    u8 hash[HASH_BYTES];

    crypto_generichash(hash, sizeof(hash), (const u8 *)secret, strlen(secret), NULL, 0);
    sodium_bin2hex(ret, 2 * HASH_BYTES + 1, hash, sizeof(hash));
}

/* "socle_ID_SECRET" */
static void make_text(char ret[ACCESS_KEY_MAX], char ret_id[ACCESS_KEY_ID + 1])
{
    u8 id[ACCESS_KEY_ID / 2], secret[SECRET_BYTES];
    char text[sodium_base64_ENCODED_LEN(SECRET_BYTES, sodium_base64_VARIANT_URLSAFE_NO_PADDING)];

    randombytes_buf(id, sizeof(id));
    randombytes_buf(secret, sizeof(secret));
    sodium_bin2hex(ret_id, ACCESS_KEY_ID + 1, id, sizeof(id));
    sodium_bin2base64(text, sizeof(text), secret, sizeof(secret),
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    must(str_fmt(ret, ACCESS_KEY_MAX, "socle_%s_%s", ret_id, text));
    sodium_memzero(secret, sizeof(secret));
    sodium_memzero(text, sizeof(text));
}

/* Those that are of no use any more, and of the user's sessions the oldest, when they are too many. */
static int make_room(struct access *a, const struct key_rec *rec, struct err *e)
{
    const u32 most = rec->kind == KEY_TOKEN ? ACCESS_TOKENS_MAX : ACCESS_SESSIONS_MAX;
    struct key *oldest = NULL;
    u32 n = 0;
    int r = 0;

    for (struct key *k = a->keys, *next; k && r >= 0; k = next) {
        next = k->next;
        if (access_key_expired(a, k)) {
            r = access_key_delete(a, k->id, e);
        } else if (k->rec.kind == rec->kind && strcmp(k->rec.user, rec->user) == 0) {
            n++;
            oldest = !oldest || k->used < oldest->used ? k : oldest;
        }
    }
    if (r < 0 || n < most)
        return r;
    if (rec->kind == KEY_TOKEN)
        return err_set(e, -ENOSPC, "user '%s' has %u tokens; more are not allowed", rec->user, n);
    return access_key_delete(a, oldest->id, e);
}

int access_key_new(struct access *a, struct key_rec *rec, char ret_text[ACCESS_KEY_MAX],
                   const char **ret_id, struct err *e)
{
    struct key *k = xnew(struct key);
    char hash[2 * HASH_BYTES + 1];
    struct host_rider *rider = host_ride(NULL);
    int r = make_room(a, rec, e);

    host_ride(rider);
    if (r >= 0) {
        make_text(ret_text, k->id);
        hash_secret(ret_text + strlen("socle_") + ACCESS_KEY_ID + 1, hash);
        rec->hash = xdup(hash);
        rec->created = rec->used = k->used = a->now();
        r = put(a, "key", k->id, key_fields, rec, e);
    }
    if (r < 0) {
        free(k);
        return r;
    }
    k->rec = *rec;
    *rec = (struct key_rec){};
    insert_key(a, k);
    *ret_id = k->id;
    return 0;
}

int access_key_delete(struct access *a, const char *id, struct err *e)
{
    struct key *k = access_key(a, id);
    int r;

    if (!k)
        return err_set(e, -ENOENT, "there is no token '%.20s'", id);
    r = remove_record(a, "key", id, e);
    if (r < 0)
        return r;
    drop_key(a, k);
    return 0;
}

bool access_key_is(const struct key *k, const char *secret)
{
    char hash[2 * HASH_BYTES + 1];

    hash_secret(secret, hash);
    return strlen(k->rec.hash) == 2 * HASH_BYTES &&
           sodium_memcmp(hash, k->rec.hash, 2 * HASH_BYTES) == 0;
}

void access_key_touch(struct access *a, struct key *k)
{
    k->used = a->now();
    if (k->used < k->rec.used + ACCESS_USED_SECONDS)
        return;
    k->rec.used = k->used;
    (void)put(a, "key", k->id, key_fields, &k->rec,
              NULL); /* that it was used is not worth an error */
}
