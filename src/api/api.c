/*
 * api/api.c: from a request to its row and back: path, rights, query and body are checked here, errors become answers here.
 */
#include "api/api.h"

#include "api/once.h"

#include <ctype.h>
#include <stdlib.h>

/* clang-format off */
const struct api_code api_codes[] = {
    { -EINVAL,       400, "invalid",     "something in it is not as it must be; the sentence says what is allowed" },
    { -EBADMSG,      400, "invalid",     NULL },
    { -EOPNOTSUPP,   400, "unsupported", "what it is asked of cannot do that" },
    { -EKEYREJECTED, 401, "login",       "nobody is logged in, or what was shown is wrong or has expired" },
    { -EACCES,       403, "forbidden",   "who asks has not the right" },
    { -EPERM,        403, "refused",     "it is protected, or the host does not allow it" },
    { -ENOENT,       404, "not_found",   "there is none, or it is not the caller's to see" },
    { 0,             405, "method",      "the path has other methods" },
    { -EEXIST,       409, "exists",      "there is one of this name already" },
    { -EBUSY,        409, "busy",        "it is used, or something else is being done with it" },
    { -EALREADY,     409, "done",        "it was done before, and its answer was not kept" },
    { -EOVERFLOW,    410, "gone",        "events that long ago are no longer known" },
    { -ESTALE,       412, "changed",     "somebody else changed it meanwhile" },
    { -E2BIG,        413, "too_large",   "it is larger, or there are more of it, than is allowed" },
    { 0,             416, "range",       "the file has no such bytes" },
    { -ENOTUNIQ,     422, "key_reused",  "the idempotency key was another request's" },
    { -EDQUOT,       429, "too_many",    "too many logins failed, or there are as many of it as may be" },
    { 0,             500, "failed",      "the host could not do it; the sentence says why" },
    { -EAGAIN,       503, "try_later",   "too much is being done at the moment" },
    { -ENOSPC,       507, "no_space",    "the host's disk has no room for it" },
    { -ENOMEM,       507, "no_memory",   "the host's memory does not suffice for it" },
    {},
};
/* clang-format on */

void api_error(struct api_answer *ret, int status, const char *code, const struct err *e)
{
    json_t *inner = json_pack("{s:s, s:s}", "code", code, "sentence", e->text), *j;
    char *text;

    if (!inner) /* what a client sent and is quoted is no UTF-8 */
        inner = json_pack("{s:s, s:s}", "code", code, "sentence", "what was sent is not UTF-8");
    if (e->field[0])
        json_object_set_new(inner, "field", json_string(e->field));
    j = json_pack("{s:o}", "error", inner);
    text = json_dumps(j, JSON_COMPACT);
    json_decref(j);
    strbuf_fini(&ret->body);
    *ret = (struct api_answer){ .status = status, .type = "application/json" };
    strbuf_add(&ret->body, "%s\n", text);
    free(text);
}

static void answer_error(struct api_answer *ret, const struct err *e)
{
    for (const struct api_code *c = api_codes; c->name; c++)
        if (c->code && c->code == e->code) {
            api_error(ret, c->status, c->name, e);
            return;
        }
    api_error(ret, 500, "failed", e);
}

void api_answer_json(struct api_call *c, json_t *j)
{
    char *text = json_dumps(j, JSON_COMPACT);

    must(text);
    strbuf_add(&c->ret->body, "%s\n", text);
    free(text);
    json_decref(j);
}

/* Does the path fit the row's?  What stands for "{…}" is one part, not empty. */
static bool fits(const char *path, const char *pattern, struct api_call *c)
{
    u32 n = 0;

    c->name = c->sub = "";
    while (*pattern) {
        size_t len;
        char *to;

        if (*pattern != '{') {
            if (*path++ != *pattern++)
                return false;
            continue;
        }
        len = strcspn(path, "/");
        if (len == 0 || len >= sizeof(c->name_bufs[0]) || n == ARRAY_LEN(c->name_bufs))
            return false;
        to = c->name_bufs[n];
        memcpy(to, path, len);
        to[len] = 0;
        *(n++ ? &c->sub : &c->name) = to;
        path += len;
        pattern += strcspn(pattern, "}") + 1;
    }
    return !*path;
}

/* NULL: *ret_path says whether there is such a path, with other methods. */
static const struct api_route *find_route(struct api_call *c, bool *ret_path)
{
    *ret_path = false;
    for_each_api_route(r) {
        if (!fits(c->rq->path, r->path, c))
            continue;
        *ret_path = true;
        if (strcmp(r->method, c->rq->method) == 0)
            return r;
    }
    return NULL;
}

static int hex(char c)
{
    if (isdigit((unsigned char)c))
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* "%41" → "A", in place.  False: it is not well-formed, or holds a zero byte. */
static bool decode(char *s)
{
    char *to = s;

    for (; *s; s++) {
        int high, low;

        if (*s != '%') {
            *to++ = *s == '+' ? ' ' : *s;
            continue;
        }
        high = hex(s[1]);
        low = high < 0 ? -1 : hex(s[2]);
        if (low < 0 || high + low == 0)
            return false;
        *to++ = (char)(high << 4 | low);
        s += 2;
    }
    *to = 0;
    return true;
}

static int parse_pair(const struct field *fields, void *into, char *pair, struct err *e)
{
    char *value = strchr(pair, '=');
    int r;

    if (value)
        *value++ = 0;
    if (!decode(pair) || (value && !decode(value)))
        return err_set(e, -EINVAL, "the query is not well-formed");
    for (const struct field *f = fields; f && f->name; f++) {
        if (strcmp(f->name, pair) != 0)
            continue;
        r = conf_set(f, into, value ? value : "on", e);
        return r < 0 ? err_field(e, f->name) : r;
    }
    return err_set(e, -EINVAL, "unknown parameter '%.60s'", pair);
}

static int parse_query(const struct api_route *row, const char *query, void *into, struct err *e)
{
    AUTO(free) char *copy = xdup(query ? query : "");
    char *rest = copy, *pair;
    int r = 0;

    if (row->query)
        conf_defaults(row->query, into);
    while (r >= 0 && (pair = strsep(&rest, "&")))
        if (*pair)
            r = parse_pair(row->query, into, pair, e);
    return r;
}

void api_wipe(const struct field *fields, void *obj)
{
    for (const struct field *f = fields; f->name; f++) {
        char *text = f->kind == FIELD_KIND_STR ? *(char **)((u8 *)obj + f->at) : NULL;

        if (text)
            explicit_bzero(text, strlen(text));
    }
    conf_fini(fields, obj);
}

static int run(const struct api_route *row, struct api_call *c, struct err *e)
{
    const struct api_schema *s = row->body ? api_schema_find(row->body) : NULL;
    int r = parse_query(row, c->rq->query, c->query, e);

    if (r >= 0 && !row->body && c->rq->body_len)
        r = err_set(e, -EINVAL, "nothing but an empty body is expected");
    if (r >= 0 && s && s->size)
        r = conf_parse_text(api_schema_fields(s), c->body, c->rq->body, c->rq->body_len, e);
    if (r >= 0)
        r = row->fn(c, e);
    if (s && s->size && s->secret)
        api_wipe(api_schema_fields(s), c->body);
    else if (s && s->size)
        conf_fini(api_schema_fields(s), c->body);
    if (row->query)
        conf_fini(row->query, c->query);
    return r;
}

/* ---- requests with a key ---- */

bool api_takes_key(const struct api_route *row)
{
    return row->right != API_PUBLIC && strcmp(row->method, "GET") != 0 && !row->bytes;
}

static int run_once(const struct api_route *row, struct api_call *c, struct err *e)
{
    struct once_table *all = &c->rq->access->once;
    struct once *o = once_new(c->rq, row->status, c->rq->access->now());
    int r = once_find(all, o, c->ret, e);

    if (r == 0) {
        host_ride(&o->rider);
        r = run(row, c, e);
        host_ride(NULL);
        if (r >= 0 && c->ret->later) {
            c->ret->later->once = o;
            return r;
        }
        once_keep(all, o, r, c->ret);
    } else if (r > 0) {
        str_copy(c->note, sizeof(c->note), "sent again");
    }
    once_free(o);
    return r;
}

/* The same request may have come once more, and been done, while this one's password was hashed. */
static int finish_once(struct api_later *l, struct api_answer *ret, struct err *e)
{
    struct once_table *all = &l->access->once;
    int r = once_find(all, l->once, ret, e);

    if (r)
        return r;
    host_ride(&l->once->rider);
    r = l->finish(l, ret, e);
    host_ride(NULL);
    once_keep(all, l->once, r, ret);
    return r;
}

/* ---- bytes of files ---- */

void api_file_free(struct api_file *f)
{
    if (!f)
        return;
    fd_close(&f->fd);
    free(f);
}

bool api_takes_bytes(const char *method, const char *path)
{
    const struct api_request rq = { .method = method, .path = path };
    struct api_call c = { .rq = &rq };
    const struct api_route *row;
    bool any;

    row = find_route(&c, &any);
    return row && row->bytes && strcmp(method, "GET") != 0;
}

/* Digits at *s; false: there are none, or too many. */
static bool take_number(const char **s, u64 *ret)
{
    char digits[20] = "";
    const size_t n = strspn(*s, "0123456789");

    if (n == 0 || n >= sizeof(digits))
        return false;
    memcpy(digits, *s, n);
    *s += n;
    return str_u64(digits, ret) == 0;
}

/* RFC 9110, 14.1.2.  Of several ranges the whole is an answer, too. */
int api_range(const char *range, u64 size, u64 *ret_at, u64 *ret_end)
{
    const char *s = range && str_starts(range, "bytes=") ? range + strlen("bytes=") : "";
    u64 first = 0, last = 0;
    const bool has_first = take_number(&s, &first);
    bool has_last;

    if (*s++ != '-')
        return 0;
    has_last = take_number(&s, &last);
    if (*s || (!has_first && !has_last) || (has_first && has_last && last < first))
        return 0;
    if (!has_first) { /* so many of its end */
        first = size - min(last, size);
        has_last = false;
    }
    if (first >= size)
        return -ERANGE;
    *ret_at = first;
    *ret_end = has_last ? min(last, size - 1) + 1 : size;
    return 1;
}

/* ---- rights ---- */

static const struct instance *subject_locked(const struct api_call *c, const struct api_route *row)
{
    return str_starts(row->path, "/1.0/instances/{name}") ? host_find_locked(c->host, c->name)
                                                          : NULL;
}

/* Of the caller, for this route: what is below an instance's path is of that instance. */
static u32 rights_for(const struct api_call *c, const struct api_route *row)
{
    const struct access_who *who = c->rq->who;
    const struct instance *i;
    u32 rights = c->rq->rights | API_PUBLIC;

    if (c->rq->rights || who)
        rights |= API_SELF;
    if (!who)
        return rights;
    if (row->filters)
        return rights | access_rights_any(who);
    host_lock(c->host);
    i = subject_locked(c, row);
    rights |= i ? access_rights_on(who, i) : 0;
    host_unlock(c->host);
    return rights;
}

bool api_may_locked(const struct api_call *c, u32 rights, const struct instance *i)
{
    return (c->rq->rights & rights) ||
           (i && c->rq->who && (access_rights_on(c->rq->who, i) & rights));
}

static int check_right(struct api_call *c, const struct api_route *row, struct err *e)
{
    c->rights = rights_for(c, row);
    if (c->rights & row->right)
        return 0;
    /* who may not see an instance is not told whether there is one */
    if (!(c->rights & API_VIEW) && str_starts(row->path, "/1.0/instances/{name}"))
        return err_set(e, -ENOENT, "there is no instance '%.63s'", c->name);
    return err_set(e, -EACCES, "this needs a right that you do not have");
}

static int dispatch(struct api_call *c, struct err *e)
{
    AUTO(free) void *query = NULL, *body = NULL;
    const struct api_schema *s;
    const struct api_route *row;
    bool path;
    int r;

    row = find_route(c, &path);
    if (!(row && row->right == API_PUBLIC) && !c->rq->rights && !c->rq->who) {
        if (!c->rq->denied)
            return err_set(e, -EACCES, "user %u has no rights here", c->rq->uid);
        *e = *c->rq->denied;
        return e->code;
    }
    if (!row && path) {
        err_set(e, -EINVAL, "'%.20s' is nothing that '%.100s' takes", c->rq->method, c->rq->path);
        api_error(c->ret, 405, "method", e);
        return 0;
    }
    if (!row)
        return err_set(e, -ENOENT, "there is nothing at '%.100s'", c->rq->path);
    r = check_right(c, row, e);
    if (r < 0)
        return r;
    s = row->body ? api_schema_find(row->body) : NULL;
    query = row->query ? alloc_x(1, row->query_size) : NULL;
    body = s && s->size ? alloc_x(1, s->size) : NULL;
    c->query = query;
    c->body = body;
    c->ret->status = row->status;
    return c->rq->once && c->rq->access && api_takes_key(row) ? run_once(row, c, e)
                                                              : run(row, c, e);
}

/* ---- from a request to its answer ---- */

/* What changes something is noted, and what was refused to somebody known; strangers cannot fill the log. */
static bool is_noted(const struct api_request *rq, int status)
{
    return (rq->rights || rq->who) && (status == 403 || strcmp(rq->method, "GET") != 0);
}

static void note(struct api_call *c, struct audit_entry *entry)
{
    const struct api_request *rq = c->rq;

    if (rq->who)
        str_copy(entry->who, sizeof(entry->who), rq->who->name);
    str_copy(entry->from, sizeof(entry->from), rq->from ? rq->from : "");
    str_fmt(entry->what, sizeof(entry->what), "%s", rq->method);
    str_fmt(entry->path, sizeof(entry->path), "%s", rq->path);
    str_copy(entry->note, sizeof(entry->note), c->note);
    entry->status = c->ret->status;
}

void api_handle(struct host *h, const struct api_request *rq, struct api_answer *ret)
{
    struct api_call c = { .host = h, .rq = rq, .ret = ret };
    struct audit_entry entry = {};
    struct err e = {};

    *ret = (struct api_answer){ .type = "application/json" };
    if (dispatch(&c, &e) < 0) {
        api_file_free(TAKE(ret->gives));
        answer_error(ret, &e);
    }
    note(&c, &entry);
    if (ret->later) {
        ret->later->access = rq->access;
        ret->later->log = entry;
        ret->later->status = ret->status;
    } else if (rq->access && !ret->takes && is_noted(rq, ret->status)) {
        audit_add(&rq->access->audit, &entry, rq->access->now());
    }
}

void api_finish(struct api_later *l, struct api_answer *ret)
{
    struct err e = {};

    *ret = (struct api_answer){ .type = "application/json", .status = l->status };
    if ((l->once ? finish_once(l, ret, &e) : l->finish(l, ret, &e)) < 0)
        answer_error(ret, &e);
    once_free(l->once);
    l->log.status = ret->status;
    audit_add(&l->access->audit, &l->log, l->access->now());
    l->free(l);
}

int api_if_match(const struct api_call *c, u64 *ret_rev, struct err *e)
{
    const char *s = c->rq->if_match;
    char digits[24];
    size_t len = s ? strlen(s) : 0;

    *ret_rev = 0;
    if (!s || strcmp(s, "*") == 0)
        return 0;
    if (len < 3 || s[0] != '"' || s[len - 1] != '"' ||
        !str_fmt(digits, sizeof(digits), "%.*s", (int)(len - 2), s + 1) ||
        str_u64(digits, ret_rev) < 0 || *ret_rev == 0)
        return err_set(e, -EINVAL, "If-Match: an ETag of ours, as \"12\", is expected");
    return 0;
}

const struct api_schema *api_schema_find(const char *name)
{
    for_each_api_schema(s)
        if (strcmp(s->name, name) == 0)
            return s;
    return NULL;
}

const struct field *api_schema_fields(const struct api_schema *s)
{
    return s->fields_fn ? s->fields_fn() : s->fields;
}

int api_check(struct err *e)
{
    for_each_api_schema(s)
        if (s->status && !api_schema_find(s->status))
            return err_set(e, -EINVAL, "schema %s: there is no schema %s", s->name, s->status);
    for_each_api_route(r) {
        const bool one_right = is_pow2(r->right) && r->right <= API_SHELL;

        if (!one_right || !r->doc || !r->fn || (r->query && !r->query_size) ||
            (r->body && !api_schema_find(r->body)) || (r->answer && !api_schema_find(r->answer)))
            return err_set(e, -EINVAL, "route %s %s: its row is not complete", r->method, r->path);
    }
    return 0;
}
