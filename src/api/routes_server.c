/*
 * api/routes_server.c: socled itself, its events and its records.
 */
#include "api/routes.h"

#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

struct since {
    u64 since;
};
struct backup_body {
    char *file;
};
struct server_view {
    char *version, *api, *dir, *network, *fingerprint, *listen, *setup;
    bool terminal;
    u64 revision, space, space_free;
    u32 instances, uid, pid;
};

static bool from_root(const char *s)
{
    return s[0] == '/';
}

/* clang-format off */
static const struct field since_fields[] = {
    FIELD_INT(since, since, "what was changed after this revision; 0: from now on", .max = INT64_MAX),
    {},
};
static const struct field backup_fields[] = {
    FIELD_STR(backup_body, file, "a new file of the host for a copy of the records", .required = true, .ok = from_root,
              .want = "a path from the root"),
    {},
};
static const struct field server_fields[] = {
    FIELD_STR(server_view, version, "of socled"),
    FIELD_STR(server_view, api, "version of the API"),
    FIELD_STR(server_view, dir, "its folder"),
    FIELD_INT(server_view, revision, "of the records"),
    FIELD_INT(server_view, instances, "how many there are"),
    FIELD_INT(server_view, space, "bytes of the file system on which its folder is"),
    FIELD_INT(server_view, space_free, "bytes that are free there"),
    FIELD_INT(server_view, uid, "the user that it runs as"),
    FIELD_INT(server_view, pid, "its process"),
    FIELD_STR(server_view, network, "where a card is whose user does not say: a network's name (it is made when it is missing), or user"),
    FIELD_BOOL(server_view, terminal, "who has the right to it may have a terminal of the host"),
    FIELD_STR(server_view, listen, "the address of HTTPS; it is missing when there is none"),
    FIELD_STR(server_view, fingerprint, "SHA-256 of the certificate of HTTPS"),
    FIELD_STR(server_view, setup, "the code by which a browser makes the first user; it is missing when there are users"),
    {},
};
/* clang-format on */

/* Room where its folder is. */
static void add_space(json_t *j, const char *dir)
{
    struct statvfs space = {};
    u64 all, left;

    if (statvfs(dir, &space) < 0)
        return;
    all = space.f_blocks * space.f_frsize;
    left = space.f_bavail * space.f_frsize;
    json_object_update_new(
        j, json_pack("{s:I, s:I}", "space", (json_int_t)all, "space_free", (json_int_t)left));
}

/* Who may see only some instances is not told about the host. */
static int get_server(struct api_call *c, struct err *e [[maybe_unused]])
{
    const struct access *a = c->rq->access;
    struct host *h = c->host;
    json_t *j;

    host_lock(h);
    j = json_pack("{s:s, s:s, s:I}", "version", SOCLE_VERSION, "api", "1.0", "revision",
                  (json_int_t)store_revision(h->store));
    if (c->rights & API_VIEW)
        json_object_update_new(j, json_pack("{s:s, s:i, s:i, s:i, s:s, s:b}", "dir", h->dir,
                                            "instances", (int)h->n, "uid", (int)h->uid, "pid",
                                            (int)getpid(), "network", network_default(h),
                                            "terminal", h->shells != NULL));
    host_unlock(h);
    if (c->rights & API_VIEW)
        add_space(j, h->dir);
    if (a && a->listen[0])
        json_object_update_new(
            j, json_pack("{s:s, s:s}", "listen", a->listen, "fingerprint", a->fingerprint));
    if (a && a->setup[0] && (c->rights & API_ADMIN))
        json_object_set_new(j, "setup", json_string(a->setup));
    api_answer_json(c, j);
    return 0;
}

static int get_openapi(struct api_call *c, struct err *e [[maybe_unused]])
{
    api_answer_json(c, api_openapi());
    return 0;
}

static int get_events(struct api_call *c, struct err *e)
{
    const struct since *q = c->query;
    struct host *h = c->host;
    AUTO(store_list) struct store_list l = {};
    int r = 0;

    host_lock(h);
    c->ret->from = q->since ? q->since : store_revision(h->store);
    r = store_changes(h->store, c->ret->from, 1, &l, e);
    if (c->ret->from > store_revision(h->store))
        r = err_set(e, -EINVAL, "'since' is %llu; the revision is %llu", q->since,
                    store_revision(h->store));
    host_unlock(h);
    if (r == -ESTALE) /* ask for the lists, then for the events after their revision */
        return err_set(e, -EOVERFLOW, "events after revision %llu are not kept any more", q->since);
    c->ret->stream = r >= 0;
    return r;
}

/* A WebSocket with a shell of the host. */
static int get_terminal(struct api_call *c, struct err *e)
{
    if (!c->rq->websocket)
        return err_set(e, -EINVAL, "this is a WebSocket");
    if (!c->host->shells)
        return err_set(e, -EOPNOTSUPP,
                       "the terminal of the host is switched off (socled --no-host-terminal)");
    c->ret->shell = true;
    return 0;
}

static int backup(struct api_call *c, struct err *e)
{
    const struct backup_body *b = c->body;
    int r;

    host_lock(c->host);
    r = store_backup(c->host->store, b->file, e);
    host_unlock(c->host);
    return r;
}

/* clang-format off */
static const struct api_schema schemas[] = {
    { "Server",       server_fields },
    { "Backup",       backup_fields, .size = sizeof(struct backup_body) },
    {},
};

static const struct api_route routes[] = {
    { "GET", "/1.0", API_SELF, 200, NULL, 0, NULL, "Server", false, get_server, "Show what this socled is" },
    { "GET", "/1.0/openapi.json", API_SELF, 200, NULL, 0, NULL, NULL, false, get_openapi, "Show all of this as an OpenAPI 3.1 document" },
    { "GET", "/1.0/events", API_VIEW, 200, QUERY(since), NULL, NULL, false, get_events, "Follow what changes, as server-sent events whose ids are revisions, or a WebSocket whose messages are lists of events",
      .filters = true },
    { "GET", "/1.0/host/terminal", API_SHELL, 101, NULL, 0, NULL, NULL, false, get_terminal, "Have a login shell on the host: a WebSocket whose messages are the frames of doc/os.md, the first with the terminal's rows and columns" },
    { "POST", "/1.0/backup", API_ADMIN, 204, NULL, 0, "Backup", NULL, false, backup, "Copy the records into a new file" },
    {},
};
/* clang-format on */

const struct api_part api_part_server = { "The server, its events and records", routes, schemas };

/* ---- events ---- */

static void copy_members(json_t *to, const json_t *from, const char *const *names)
{
    for (; *names; names++)
        if (json_object_get(from, *names))
            json_object_set(to, *names, json_object_get(from, *names));
}

json_t *api_event(const struct store_rec *r)
{
    static const char *const none[] = { NULL };
    static const char *const instance[] = { "name", NULL }, *const told[] = { "addresses", NULL };
    static const char *const state[] = { "state",    "why",      "pid", "since",
                                         "start_at", "restarts", NULL };
    static const char *const task[] = { "what",  "state",   "name",  "id",
                                        "error", "created", "ended", NULL };
    static const struct {
        const char *prefix, *type, *key;
        const char *const *members;
    } rows[] = {
        { "instance/", "instance", "id", instance }, { "run/", "state", "id", state },
        { "network/", "network", "name", none },     { "catalogue/", "catalogue", "name", none },
        { "task/", "task", "number", task },         { "addresses/", "addresses", "id", told },
    };

    for_each_row(row, rows) {
        const char *id = r->key + strlen(row->prefix);
        json_t *value, *j;
        u64 number;

        if (!str_starts(r->key, row->prefix))
            continue;
        j = json_pack("{s:s, s:I}", "type", row->type, "revision", (json_int_t)r->rev);
        value = r->value ? json_loadb(r->value, r->len, 0, NULL) : NULL;
        copy_members(j, value, row->members);
        json_decref(value);
        if (str_u64(id, &number) == 0)
            json_object_set_new(j, row->key, json_integer((json_int_t)number));
        else
            json_object_set_new(j, row->key, json_string(id));
        if (!r->value)
            json_object_set_new(j, "deleted", json_true());
        return j;
    }
    return NULL;
}
