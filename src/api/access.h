/*
 * api/access.h: who may do what: users, and the keys that they show: sessions and tokens.
 *   (1) All of it belongs to the loop's thread; only the hashing of passwords runs on others, on its own copies (login.c).
 *   (2) A secret is told once, when it is made.  The records keep what it can be compared with: argon2id of a password, BLAKE2b of a
 *       key, which has 256 random bits.
 *   (3) A key never gives more than its user has at that instant, and its own role allows.
 *   (4) Grants are to view or to operate: who may change an instance chooses which files of the host it reads.
 */
#pragma once

#include "api/audit.h"
#include "api/once.h"
#include "host/host.h"

enum {
    ACCESS_NAME_MAX = 63,
    ACCESS_PASSWORD_MIN = 8,
    ACCESS_PASSWORD_MAX = 1024,
    ACCESS_USERS_MAX = 500,
    ACCESS_GRANTS_MAX = 64,   /* of a user */
    ACCESS_TOKENS_MAX = 64,   /* of a user */
    ACCESS_SESSIONS_MAX = 16, /* of a user; one more ends the oldest */
    ACCESS_IDLE_SECONDS = 2 * 3600,
    ACCESS_SESSION_SECONDS = 24 * 3600,
    ACCESS_USED_SECONDS = 300, /* how exactly the records know when a key was used last */
    ACCESS_KEY_ID = 16,        /* hex digits */
    ACCESS_KEY_SLOTS = 4096,   /* a power of two: of at most 40,000 keys */
    ACCESS_KEY_MAX = 80,       /* bytes of a key as text: "socle_ID_SECRET" */
    ACCESS_HEADER_MAX = 2048,  /* bytes of a header that is looked at */
    ACCESS_SETUP_TEXT = 19,    /* bytes of a setup code: 80 bits */
};

#define ACCESS_COOKIE "__Host-socle" /* of a session */

enum access_role { ACCESS_NONE, ACCESS_VIEWER, ACCESS_OPERATOR, ACCESS_ADMIN };
extern const char *const access_roles[];
/* enum api_right of a role. */
u32 access_role_rights(int role);

/* On one instance, or on all that have a tag. */
struct access_grant {
    char *instance; /* its ID; NULL: a tag's */
    char *tag;
    int role; /* ACCESS_VIEWER, ACCESS_OPERATOR */
};

/* Record user/NAME. */
struct user_rec {
    int role;        /* enum access_role, on everything */
    char *password;  /* argon2id; NULL: there is none, and no login */
    char *totp;      /* secret, base32; NULL: a password is enough */
    char *totp_next; /* one that was not shown to work yet */
    u64 totp_used;   /* the step of the last code: a code counts once */
    bool disabled;
    struct field_list grants; /* struct access_grant */
    u64 created;
};

struct user {
    char name[ACCESS_NAME_MAX + 1];
    struct user_rec rec;
    struct user *next; /* by name */
};

enum key_kind { KEY_SESSION, KEY_TOKEN };

/* Record key/ID: what a client shows. */
struct key_rec {
    int kind;
    char *user, *name;          /* name: what a token is for */
    char *from;                 /* a session: where the login came from */
    int role;                   /* at most this */
    bool shell;                 /* a token: of an admin's rights, a shell of the host, too */
    char *hash;                 /* hex */
    u64 created, expires, used; /* seconds since 1970 */
};

struct key {
    char id[ACCESS_KEY_ID + 1];
    struct key_rec rec;
    u64 used;                /* newer than that of the record */
    struct key *next, *same; /* same: of those whose IDs have the same place in `by_id` */
};

enum { TRIES_MAX = 4096 };
struct tries {
    struct
    try {
        char who[80]; /* "user NAME", "from ADDRESS"; "": free */
        u32 n;        /* failures, and what is under way */
        u64 until;    /* seconds: refused before */
        u64 last;
    }
    *slot; /* TRIES_MAX */
};

struct access {
    struct host *host;
    struct user *users;
    struct key *keys;                    /* all of them */
    struct key *by_id[ACCESS_KEY_SLOTS]; /* where each request looks for its own */
    u32 n_users;
    struct tries tries;
    struct audit audit;
    struct once_table once;
    u64 (*now)(void); /* seconds since 1970; a test has its own */
    /* Of the certificate that clients know us by, and where we listen; "": only on the unix socket. */
    char fingerprint[100], listen[64];
    /* Whoever shows it may make the first user (setup.c); "": nobody may, there are users. */
    char setup[ACCESS_SETUP_TEXT + 1];
};

/* Reads the records.  `dir`: of the audit log.  Finish with access_close, also after a failure. */
int access_open(struct access *a, struct host *h, struct err *e);
void access_close(struct access *a);

/* Who asks.  `user` NULL: a process at the unix socket.  Valid until the loop does something else. */
struct access_who {
    const struct user *user;
    char name[ACCESS_NAME_MAX + 1];
    u32 scope;                   /* rights that the key leaves */
    char key[ACCESS_KEY_ID + 1]; /* "": none */
    bool token;
};

/* What a request says about who it is from; "" or NULL: it does not say. */
struct access_claim {
    const char *method;
    const char *authorization, *cookie, *origin, *host;
    bool websocket;
    bool marked; /* it has the header that another site's page cannot send */
};
/* *ret_rights: on everything.  -EKEYREJECTED: nobody that is known, or no longer; -EPERM: a page of another site. */
int access_identify(struct access *a, const struct access_claim *claim, struct access_who *ret,
                    u32 *ret_rights, struct err *e);
/* The same person later: is the key still good?  Refreshes `who`. */
bool access_again(struct access *a, struct access_who *who, u32 *ret_rights);
/* Rights that grants give on an instance, or on any. */
u32 access_rights_on(const struct access_who *who, const struct instance *i);
u32 access_rights_any(const struct access_who *who);

/* ---- users and keys (access.c) ---- */

extern const struct field access_grant_fields[];
struct user *access_user(const struct access *a, const char *name);
/* Creates or replaces; `rec` is moved. */
int access_user_put(struct access *a, const char *name, struct user_rec *rec, struct err *e);
/* With all keys. */
int access_user_delete(struct access *a, const char *name, struct err *e);
void user_rec_fini(struct user_rec *r);
/* A copy of all that is owned. */
struct user_rec user_rec_copy(const struct user_rec *r);

struct key *access_key(struct access *a, const char *id);
/* `rec` is moved; its hash is made here.  `ret_text`: the key, shown once. */
int access_key_new(struct access *a, struct key_rec *rec, char ret_text[ACCESS_KEY_MAX],
                   const char **ret_id, struct err *e);
int access_key_delete(struct access *a, const char *id, struct err *e);
/* Ends the sessions of a user, but the one `except` (may be ""). */
int access_end_sessions(struct access *a, const char *user, const char *except, struct err *e);
bool access_key_expired(const struct access *a, const struct key *k);
/* Is the text after "socle_ID_" its secret?  In the same time whatever it is. */
bool access_key_is(const struct key *k, const char *secret);
/* It is used now. */
void access_key_touch(struct access *a, struct key *k);

/* ---- the first user (setup.c) ---- */

/* Makes a setup code if there are no users.  It is not kept over a restart, and forgotten when a user is made. */
void access_setup_begin(struct access *a);
/* In the same time whatever it is; case and dashes do not count. */
bool access_setup_is(const struct access *a, const char *code);

/* ---- tries (tries.c): logins that fail make the next ones wait ---- */

/* Counts an attempt as failed until tries_forgive.  -EDQUOT: too many; how long to wait is in `e`. */
int tries_begin(struct access *a, const char *user, const char *from, struct err *e);
void tries_forgive(struct access *a, const char *user, const char *from);
