/*
 * api/api.h: the API as a function: what is asked (method, path, query, body, rights) → what is answered.  No sockets (server.h).
 * A route is a row: the same rows answer, check rights, and make the OpenAPI document, which is served, too.
 */
#pragma once

#include "api/access.h"
#include "conf/conf.h"
#include "host/host.h"

enum {
    API_BODY_MAX = 256 * 1024,
    API_PATH_MAX = 1024, /* and of the query */
    API_PAGE = 1000,     /* elements of a list, unless it is said otherwise */
    API_PAGE_MAX = 20000,
    API_LOG = 64 * 1024,
};

/* What a client may do; a route needs one of them. */
enum api_right {
    API_VIEW = 1,    /* see what there is */
    API_OPERATE = 2, /* start and stop */
    API_ADMIN = 4,   /* make, change, delete; files of the host are read and written by that */
    API_SHELL =
        32, /* a shell of the host: an admin's, but a token has it only when it was made for that */
    API_ALL = 7 | API_SHELL,
    API_SELF = 8,    /* whoever is known: what is one's own */
    API_PUBLIC = 16, /* anybody */
};

struct api_request {
    const char *method, *path, *query; /* query: after the "?", NULL: none */
    const char *if_match;              /* NULL: none */
    const char *once;                  /* its Idempotency-Key; NULL: none */
    const char *body;
    size_t body_len;
    u32 rights; /* enum api_right: on everything */
    uid_t uid;
    /* Who has them, and what grants give besides.  NULL: nobody known, `denied` says why; or one who has the rights and no name. */
    const struct access_who *who;
    const struct err *denied;
    const char *from; /* an address, "unix"; NULL: not known */
    bool websocket;
    u64 bytes;                    /* of a body that comes later: of a row with `bytes` */
    const char *range, *if_range; /* NULL: none */
    struct access *access;
};

struct api_answer;

/* Bytes that come as a body, or go as an answer, from or to a file (api/bulk.h). */
struct api_file {
    int fd;      /* owned */
    u64 at, end; /* which of its bytes: before `end` */
    /* of an answer */
    u64 size; /* of the whole */
    char etag[72], name[80];
    /* of a body: as they are written, and at their end, with what was wrong; ret NULL: the client went away */
    char upload[24];
    void (*wrote)(struct host *h, const struct api_file *f, u64 at);
    void (*done)(struct host *h, const struct api_file *f, int error, struct api_answer *ret);
};
/* Accepts NULL. */
void api_file_free(struct api_file *f);

/*
 * What an answer still needs that takes long: `work` is called on any thread, and touches only *l; then `finish` on the loop's
 * makes the answer as a route does.
 */
struct api_later {
    void (*work)(struct api_later *l);
    int (*finish)(struct api_later *l, struct api_answer *ret, struct err *e);
    void (*free)(struct api_later *l);
    /* the caller of the route fills in */
    struct access *access;
    struct audit_entry log;
    int status;
    struct once *once; /* owned; NULL: the request has no key */
};

struct api_answer {
    int status;
    const char *type; /* of the body */
    struct strbuf body;
    u64 etag; /* 0: none */
    /* An event stream follows in place of a body, with what was changed after this revision. */
    bool stream;
    u64 from;
    /* Bytes between the client's WebSocket and this unix socket follow; owned.  `subject`: ID of the instance. */
    char *relay, subject[24];
    bool relay_head;         /* a console's, which is to begin with its head: base/console_head.h */
    int relay_fd;            /* in place of the path: our end of one, connected, owned; 0: none */
    bool shell;              /* the same with a new shell of the host */
    bool secret;             /* it holds a key: it is wiped, and not kept */
    char cookie[160];        /* for Set-Cookie; "": none */
    struct api_later *later; /* there is no answer yet: api_finish makes it.  Owned */
    struct api_file *takes;  /* there is none until its bytes have come; owned */
    struct api_file *gives;  /* in place of a body; owned */
};

struct api_call {
    struct host *host;
    const struct api_request *rq;
    const char *name,
        *sub; /* what stands for {…} in the path, in their order; "" when there is none */
    char name_bufs[2][STORE_KEY_MAX + 1];
    u32 rights;         /* for this route: those of the request, and what grants give */
    char note[64];      /* for the audit log, beside method and path */
    void *query, *body; /* structs of the row's tables */
    struct api_answer *ret;
};

struct api_schema; /* of a body, in openapi.c */

struct api_route {
    const char *method, *path; /* "/1.0/instances/{name}" */
    u32 right;
    int status; /* of success */
    const struct field *query;
    u32 query_size;
    const char *body;   /* name of its schema; NULL: none */
    const char *answer; /* name of its schema; NULL: any object */
    bool list;          /* the answer is {"list": [answer], "next": …} */
    int (*fn)(struct api_call *c, struct err *e);
    const char *doc;
    /* It shows, or changes, only what api_sees_locked allows, so who has nothing but grants may use it. */
    bool filters;
    bool bytes; /* the body, or (of a GET) the answer, is bytes of a file */
};

/* A named JSON object that is documented. */
struct api_schema {
    const char *name;
    const struct field *fields;
    const struct field *(*fields_fn)(void); /* in place of `fields` */
    const struct field *also;               /* further members, without those that are secret */
    const char *status;                     /* name of the schema of a further member `status` */
    bool optional;                          /* nothing is required, null is the default */
    u32 size;    /* of the struct that a body is parsed into; 0: the route does it */
    bool secret; /* its texts are wiped */
};

/* What goes wrong, as clients are told. */
struct api_code {
    int code; /* of struct err; 0: of none, a place in the program says it */
    int status;
    const char *name, *doc; /* doc NULL: as the row before */
};
extern const struct api_code api_codes[]; /* by status; ends with a NULL name */

/* What one file brings. */
struct api_part {
    const char *title;                /* of its section in the manual */
    const struct api_route *routes;   /* ends with a NULL method */
    const struct api_schema *schemas; /* ends with a NULL name */
};
extern const struct api_part *const api_parts[]; /* ends with NULL */

/* Two loops: no `break` in their bodies. */
#define for_each_api_part(p) for (const struct api_part *const *p = api_parts; *p; p++)
#define for_each_api_route(r) \
    for_each_api_part(p_)     \
        for (const struct api_route *r = (*p_)->routes; r->method; r++)
#define for_each_api_schema(s) \
    for_each_api_part(p_)      \
        for (const struct api_schema *s = (*p_)->schemas; s->name; s++)

const struct api_schema *api_schema_find(const char *name);
const struct field *api_schema_fields(const struct api_schema *s);
/* "view": one of enum api_right. */
const char *api_right_name(u32 right);

/* Must be true before the first request: each row has a right, a document and schemas that exist.  -EINVAL with `e`. */
int api_check(struct err *e);
/* Finish with strbuf_fini(&ret->body). */
void api_handle(struct host *h, const struct api_request *rq, struct api_answer *ret);
/* Wipes and frees what a table's texts hold. */
void api_wipe(const struct field *fields, void *obj);
/* After its `work`; frees `l`. */
void api_finish(struct api_later *l, struct api_answer *ret);
/* Has the caller one of these rights on the instance? */
bool api_may_locked(const struct api_call *c, u32 rights, const struct instance *i);
/* Is the body of such a request for a file? */
bool api_takes_bytes(const char *method, const char *path);
/* Which bytes a Range asks for.  1: these; 0: it is nothing that is understood, so all; -ERANGE: there are none of them. */
int api_range(const char *range, u64 size, u64 *ret_at, u64 *ret_end);
/* Does it look at an Idempotency-Key?  What only reads needs none, and who logs in again has another session. */
bool api_takes_key(const struct api_route *row);
/* The answer for an error that has no route, as one of the transport. */
void api_error(struct api_answer *ret, int status, const char *code, const struct err *e);
/* "If-Match: "5"" or "*"; 0: any. */
int api_if_match(const struct api_call *c, u64 *ret_rev, struct err *e);
void api_answer_json(struct api_call *c, json_t *j);

/* The OpenAPI 3.1 document; a new reference. */
json_t *api_openapi(void);

/* A change of the store as an event, a new reference; NULL: it is none. */
json_t *api_event(const struct store_rec *r);
