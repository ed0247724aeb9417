/*
 * api/login.c: passwords, compared and hashed on another thread.
 * A user that does not exist costs what a wrong password costs, and is told the same.
 */
#include "api/login.h"

#include "api/totp.h"

#include <sodium.h>
#include <stdlib.h>

/* Of no password: what is compared with when there is no such user. */
static const char no_hash[] = "$argon2id$v=19$m=65536,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$"
                              "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

struct hash {
    struct api_later later;
    char user[ACCESS_NAME_MAX + 1], from[64], code[16], key[ACCESS_KEY_ID + 1];
    bool bearer;
    char *old;                         /* is compared with `is`; NULL: it need not */
    char *password;                    /* is hashed; NULL: none is */
    char is[crypto_pwhash_STRBYTES];   /* of the user, when it began */
    char hash[crypto_pwhash_STRBYTES]; /* of `password` */
    bool matches, failed;
    struct user_rec rec; /* of a user that is made */
};

static void wipe(char **text)
{
    if (*text)
        sodium_memzero(*text, strlen(*text));
    free(TAKE(*text));
}

static void work(struct api_later *l)
{
    struct hash *j = container_of(l, struct hash, later);

    j->matches = !j->old || crypto_pwhash_str_verify(j->is, j->old, strlen(j->old)) == 0;
    if (j->matches && j->password)
        j->failed = crypto_pwhash_str(j->hash, j->password, strlen(j->password),
                                      crypto_pwhash_OPSLIMIT_INTERACTIVE,
                                      crypto_pwhash_MEMLIMIT_INTERACTIVE) != 0;
    wipe(&j->old);
    wipe(&j->password);
}

static void hash_free(struct api_later *l)
{
    struct hash *j = container_of(l, struct hash, later);

    wipe(&j->old);
    wipe(&j->password);
    user_rec_fini(&j->rec);
    sodium_memzero(j, sizeof(*j));
    free(j);
}

static struct hash *hash_new(const struct user *u, const char *name, const char *from,
                             int (*finish)(struct api_later *, struct api_answer *, struct err *))
{
    struct hash *j = xnew(struct hash);

    j->later = (struct api_later){ .work = work, .finish = finish, .free = hash_free };
    str_copy(j->user, sizeof(j->user), name);
    str_copy(j->from, sizeof(j->from), from);
    str_copy(j->is, sizeof(j->is), u && u->rec.password ? u->rec.password : no_hash);
    return j;
}

static int check_password(const char *password, struct err *e)
{
    const size_t len = strlen(password);

    if (len >= ACCESS_PASSWORD_MIN && len <= ACCESS_PASSWORD_MAX)
        return 0;
    err_set(e, -EINVAL, "a password has %d to %d bytes", ACCESS_PASSWORD_MIN, ACCESS_PASSWORD_MAX);
    return err_field(e, "password");
}

/* ---- login ---- */

/* A code counts once: the step of the last one is recorded before the login is. */
static int check_code(struct access *a, struct user *u, const char *code, struct err *e)
{
    struct user_rec rec;
    u64 step;
    int r;

    if (!u->rec.totp)
        return 0;
    if (totp_check(u->rec.totp, code, a->now(), &step) < 0 || step <= u->rec.totp_used)
        return -EKEYREJECTED;
    rec = user_rec_copy(&u->rec);
    rec.totp_used = step;
    r = access_user_put(a, u->name, &rec, e);
    user_rec_fini(&rec);
    return r;
}

static int begin_session(struct hash *j, struct api_answer *ret, struct err *e)
{
    struct access *a = j->later.access;
    struct key_rec rec = { .kind = KEY_SESSION,
                           .role = ACCESS_ADMIN,
                           .user = xdup(j->user),
                           .from = xdup(j->from),
                           .expires = a->now() + ACCESS_SESSION_SECONDS };
    char text[ACCESS_KEY_MAX];
    const char *id;
    json_t *answer;
    char *dump;
    int r = access_key_new(a, &rec, text, &id, e);

    if (r < 0) {
        free(rec.user);
        free(rec.from);
        return r;
    }
    answer = json_pack("{s:s, s:I}", "user", j->user, "expires",
                       (json_int_t)access_key(a, id)->rec.expires);
    if (j->bearer)
        json_object_set_new(answer, "token", json_string(text));
    else
        str_fmt(ret->cookie, sizeof(ret->cookie),
                ACCESS_COOKIE "=%s; Path=/; Secure; HttpOnly; SameSite=Strict", text);
    sodium_memzero(text, sizeof(text));
    ret->secret = true;
    dump = json_dumps(answer, JSON_COMPACT);
    json_decref(answer);
    strbuf_add(&ret->body, "%s\n", dump);
    free(dump);
    return 0;
}

static int login_finish(struct api_later *l, struct api_answer *ret, struct err *e)
{
    struct hash *j = container_of(l, struct hash, later);
    struct access *a = l->access;
    struct user *u = access_user(a, j->user);
    bool good = j->matches && u && u->rec.password && !u->rec.disabled &&
                strcmp(u->rec.password, j->is) == 0; /* it was not changed meanwhile */
    int r = good ? check_code(a, u, j->code, e) : -EKEYREJECTED;

    str_copy(l->log.who, sizeof(l->log.who), j->user);
    if (r == -EKEYREJECTED) /* which of them is not told */
        return err_set(e, r, "the user's name, password or code is wrong");
    if (r < 0)
        return r;
    tries_forgive(a, j->user, j->from);
    return begin_session(j, ret, e);
}

int login_begin(struct api_call *c, const struct login_wish *wish, struct err *e)
{
    struct access *a = c->rq->access;
    struct hash *j;
    int r;

    if (strlen(wish->user) > ACCESS_NAME_MAX || strlen(wish->password) > ACCESS_PASSWORD_MAX)
        return err_set(e, -EKEYREJECTED, "the user's name, password or code is wrong");
    r = tries_begin(a, wish->user, wish->from, e);
    if (r < 0)
        return r;
    j = hash_new(access_user(a, wish->user), wish->user, wish->from, login_finish);
    j->old = xdup(wish->password);
    j->bearer = wish->bearer;
    str_copy(j->code, sizeof(j->code), wish->code ? wish->code : "");
    c->ret->later = &j->later;
    return 0;
}

/* ---- a new password ---- */

static int set_finish(struct api_later *l, struct api_answer *ret [[maybe_unused]], struct err *e)
{
    struct hash *j = container_of(l, struct hash, later);
    struct access *a = l->access;
    struct user *u = access_user(a, j->user);
    struct user_rec rec;
    int r;

    if (!u)
        return err_set(e, -ENOENT, "there is no user '%s' any more", j->user);
    if (!j->matches)
        return err_set(e, -EPERM, "the old password is wrong");
    if (j->failed)
        return err_set(e, -ENOMEM, "there is no memory to hash the password; it is as it was");
    tries_forgive(a, j->user, j->from);
    rec = user_rec_copy(&u->rec);
    free(rec.password);
    rec.password = xdup(j->hash);
    r = access_user_put(a, j->user, &rec, e);
    user_rec_fini(&rec);
    return r < 0 ? r : access_end_sessions(a, j->user, j->key, e);
}

static int make_finish(struct api_later *l, struct api_answer *ret [[maybe_unused]], struct err *e)
{
    struct hash *j = container_of(l, struct hash, later);

    if (access_user(l->access, j->user))
        return err_set(e, -EEXIST, "there is a user '%s'", j->user);
    if (j->failed)
        return err_set(e, -ENOMEM, "there is no memory to hash the password; nothing was made");
    j->rec.password = xdup(j->hash);
    return access_user_put(l->access, j->user, &j->rec, e);
}

int login_make_user(struct api_call *c, const char *user, struct user_rec *rec,
                    const char *password, struct err *e)
{
    struct hash *j;
    int r = check_password(password, e);

    if (r < 0)
        return r;
    j = hash_new(NULL, user, c->rq->from ? c->rq->from : "", make_finish);
    j->password = xdup(password);
    j->rec = *rec;
    *rec = (struct user_rec){};
    c->ret->later = &j->later;
    return 0;
}

int login_set_password(struct api_call *c, const char *user, const char *old, const char *password,
                       struct err *e)
{
    struct access *a = c->rq->access;
    const char *from = c->rq->from ? c->rq->from : "";
    struct hash *j;
    int r = check_password(password, e);

    if (r >= 0 && old)
        r = tries_begin(a, user, from, e); /* a stolen session is no way to guess it */
    if (r < 0)
        return r;
    j = hash_new(access_user(a, user), user, from, set_finish);
    j->old = old ? xdup(old) : NULL;
    j->password = xdup(password);
    if (c->rq->who)
        str_copy(j->key, sizeof(j->key), c->rq->who->key);
    c->ret->later = &j->later;
    return 0;
}

/* ---- the first user ---- */

/* Guesses are counted together, whatever name they bring: no user is called so. */
static const char setup_tries[] = "setup code";

static int setup_finish(struct api_later *l, struct api_answer *ret, struct err *e)
{
    struct hash *j = container_of(l, struct hash, later);
    struct access *a = l->access;
    struct user_rec rec = { .role = ACCESS_ADMIN, .created = a->now() };
    int r;

    if (a->users)
        return err_set(e, -EEXIST, "there are users already; log in");
    if (j->failed)
        return err_set(e, -ENOMEM, "there is no memory to hash the password");
    str_copy(l->log.who, sizeof(l->log.who), j->user);
    tries_forgive(a, setup_tries, j->from);
    rec.password = xdup(j->hash);
    r = access_user_put(a, j->user, &rec, e);
    user_rec_fini(&rec);
    return r < 0 ? r : begin_session(j, ret, e);
}

int login_setup(struct api_call *c, const char *code, const char *user, const char *password,
                struct err *e)
{
    struct access *a = c->rq->access;
    const char *from = c->rq->from ? c->rq->from : "";
    struct hash *j;
    int r;

    if (!a->setup[0])
        return err_set(e, -EEXIST, "there are users already; log in");
    r = check_password(password, e);
    if (r >= 0)
        r = tries_begin(a, setup_tries, from, e);
    if (r >= 0 && !access_setup_is(a, code)) {
        err_set(e, -EKEYREJECTED, "this is not the setup code; `socle info` on the host shows it");
        r = err_field(e, "code");
    }
    if (r < 0)
        return r;
    j = hash_new(NULL, user, from, setup_finish);
    j->password = xdup(password);
    c->ret->later = &j->later;
    return 0;
}
