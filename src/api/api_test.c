/*
 * api/api_test.c: requests and their answers; the document.  access_test.c has every route with every role.
 */
#include "api/api.h"

#include "testlib/test.h"

#include <stdlib.h>

struct rig {
    struct loop loop;
    struct host host;
    struct access access;
    struct api_answer got;
};

static void rig_open(struct rig *r, const char *name)
{
    AUTO(free) char *dir = str_new("%s/%s", test_dir(), name);
    struct err e = {};

    *r = (struct rig){};
    CHECK_EQ(loop_init(&r->loop, "test"), 0);
    CHECK_OK(host_open(&r->host, dir, &r->loop, &e), &e);
    CHECK_OK(access_open(&r->access, &r->host, &e), &e);
    CHECK_EQ(loop_start(&r->loop), 0);
}

static void rig_close(struct rig *r)
{
    strbuf_fini(&r->got.body);
    loop_join(&r->loop);
    access_close(&r->access);
    host_close(&r->host);
    loop_fini(&r->loop);
}

static int ask(struct rig *r, const char *method, const char *path, const char *body, u32 rights)
{
    char copy[API_PATH_MAX];
    char *query;
    struct api_request rq = {
        .method = method, .path = copy, .body = body, .rights = rights, .access = &r->access
    };

    str_copy(copy, sizeof(copy), path);
    query = strchr(copy, '?');
    if (query)
        *query++ = 0;
    rq.query = query;
    rq.body_len = strlen(body);
    strbuf_fini(&r->got.body);
    api_handle(&r->host, &rq, &r->got);
    return r->got.status;
}

/* Those that wait for the loop's first turn, too. */
static bool has_work(const struct host *h)
{
    const struct task *t = h->tasks;

    while (t && t->rec.state >= TASK_DONE)
        t = t->next;
    return t;
}

static void settle(struct rig *r)
{
    struct host *h = &r->host;

    host_lock(h);
    while (has_work(h))
        pthread_cond_wait(&h->changed, &h->lock);
    host_unlock(h);
}

TEST(api_rows_are_complete)
{
    struct err e = {};

    CHECK_OK(api_check(&e), &e);
}

/* Who has no right is not told either what there is. */
TEST(api_no_rights)
{
    struct rig r;

    rig_open(&r, "rights");
    CHECK_EQ(ask(&r, "GET", "/1.0", "", 0), 403);
    CHECK_EQ(ask(&r, "GET", "/nowhere", "", 0), 403);
    rig_close(&r);
}

static const struct {
    const char *why, *method, *path, *body;
    int status;
    const char *says;
} request_rows[] = {
    { "server", "GET", "/1.0", "", 200, "\"version\"" },
    { "no such path", "GET", "/1.0/x", "", 404, "not_found" },
    { "a slash more", "GET", "/1.0/instances/", "", 404, "not_found" },
    { "method", "PUT", "/1.0/instances", "", 405, "\"method\"" },
    { "create", "POST", "/1.0/instances", "{\"name\": \"a\", \"kernel\": \"/k\"}", 202,
      "\"task\"" },
    { "twice", "POST", "/1.0/instances", "{\"name\": \"a\", \"kernel\": \"/k\"}", 409, "exists" },
    { "no JSON", "POST", "/1.0/instances", "{", 400, "not JSON" },
    { "no body", "POST", "/1.0/instances", "", 400, "not JSON" },
    { "a list", "POST", "/1.0/instances", "[]", 400, "an object is expected" },
    { "twice the same member", "POST", "/1.0/instances", "{\"name\": \"b\", \"name\": \"c\"}", 400,
      "duplicate" },
    { "unknown member", "POST", "/1.0/instances",
      "{\"name\": \"b\", \"kernel\": \"/k\", \"evil\": 1}", 400, "\"field\":\"evil\"" },
    { "a path as name", "POST", "/1.0/instances", "{\"name\": \"../../etc\", \"kernel\": \"/k\"}",
      400, "\"field\":\"name\"" },
    { "show", "GET", "/1.0/instances/a", "", 200, "\"status\"" },
    { "show none", "GET", "/1.0/instances/b", "", 404, "there is no instance 'b'" },
    { "a path in the path", "GET", "/1.0/instances/../records.db", "", 404, "not_found" },
    { "list", "GET", "/1.0/instances?limit=1", "", 200, "\"name\":\"a\"" },
    { "list after", "GET", "/1.0/instances?after=a", "", 200, "{\"list\":[]}" },
    { "bad limit", "GET", "/1.0/instances?limit=0", "", 400, "\"field\":\"limit\"" },
    { "unknown parameter", "GET", "/1.0/instances?x=1", "", 400, "unknown parameter 'x'" },
    { "parameter of a route that has none", "GET", "/1.0?x=1", "", 400, "unknown parameter 'x'" },
    { "bad escape", "GET", "/1.0/instances?after=%zz", "", 400, "not well-formed" },
    { "zero byte", "GET", "/1.0/instances?after=%00", "", 400, "not well-formed" },
    { "escape", "GET", "/1.0/instances?a%66ter=%61", "", 200, "[]" },
    { "body where none is", "GET", "/1.0", "x", 400, "empty body" },
    { "edit", "PATCH", "/1.0/instances/a", "{\"cpus\": 2, \"tags\": [{\"tag\": \"web\"}]}", 200,
      "\"restart\":false" },
    { "edit to nonsense", "PATCH", "/1.0/instances/a", "{\"cpus\": 1000}", 400,
      "\"field\":\"cpus\"" },
    { "edit with a list", "PATCH", "/1.0/instances/a", "[]", 400, "an object" },
    { "stop what is off", "POST", "/1.0/instances/a/action", "{\"action\": \"stop\"}", 409,
      "busy" },
    { "no action", "POST", "/1.0/instances/a/action", "{\"action\": \"fly\"}", 400,
      "\"field\":\"action\"" },
    { "rename", "POST", "/1.0/instances/a/rename", "{\"name\": \"z\"}", 200, "revision" },
    { "rename to a path", "POST", "/1.0/instances/z/rename", "{\"name\": \"a/b\"}", 400,
      "letters" },
    { "log of one that never ran", "GET", "/1.0/instances/z/log?which=messages", "", 200, NULL },
    { "snapshots of one without disks", "GET", "/1.0/instances/z/snapshots", "", 200,
      "{\"list\":[]}" },
    { "snapshots of none", "GET", "/1.0/instances/y/snapshots", "", 404, "no instance" },
    { "a path as snapshot", "POST", "/1.0/instances/z/snapshots", "{\"name\": \"../s\"}", 400,
      "\"field\":\"name\"" },
    { "back to nothing", "POST", "/1.0/instances/z/restore", "{}", 400, "\"field\":\"snapshot\"" },
    { "delete a path", "DELETE", "/1.0/instances/z/snapshots/..", "", 400,
      "\"field\":\"snapshot\"" },
    { "a part more", "DELETE", "/1.0/instances/z/snapshots/a/b", "", 404, "not_found" },
    { "clone to itself", "POST", "/1.0/instances/z/clone", "{\"name\": \"z\"}", 409, "exists" },
    { "clone of no kind", "POST", "/1.0/instances/z/clone", "{\"name\": \"y\", \"mode\": \"half\"}",
      400, "\"field\":\"mode\"" },
    { "instant clone of what is off", "POST", "/1.0/instances/z/clone",
      "{\"name\": \"y\", \"mode\": \"instant\"}", 409, "of a machine that runs" },
    { "images", "GET", "/1.0/images", "", 200, "{\"list\":[]}" },
    { "import of a relative path", "POST", "/1.0/images",
      "{\"name\": \"i\", \"source\": {\"kernel\": \"k\"}}", 400, "path from the root" },
    { "delete no image", "DELETE", "/1.0/images/..", "", 404, "no image" },
    { "tasks", "GET", "/1.0/tasks", "", 200, "\"what\":\"create\"" },
    { "task", "GET", "/1.0/tasks/2", "", 200, "\"state\":\"done\"" },
    { "no task", "GET", "/1.0/tasks/x", "", 404, "no task" },
    { "cancel what is done", "DELETE", "/1.0/tasks/2", "", 409, "has ended" },
    { "events", "GET", "/1.0/events?since=1", "", 200, NULL },
    { "events of the future", "GET", "/1.0/events?since=1000000", "", 400, "the revision is" },
    { "backup over a file", "POST", "/1.0/backup", "{\"file\": \"/etc/passwd\"}", 409, "exists" },
    { "delete", "DELETE", "/1.0/instances/z", "", 202, "\"task\"" },
    { "gone", "GET", "/1.0/instances/z", "", 404, "no instance" },
};

TEST(api_requests)
{
    struct rig r;

    rig_open(&r, "requests");
    for_each_row(row, request_rows) {
        ROW(row);
        CHECK_EQ(ask(&r, row->method, row->path, row->body, API_ALL), row->status);
        if (row->says)
            CHECK_HAS(r.got.body.text, row->says);
        settle(&r);
    }
    CHECK_EQ(ask(&r, "GET", "/1.0/tasks", "", API_ALL), 200);
    CHECK(!strstr(r.got.body.text, "\"log\"")); /* of one alone, as below */
    CHECK_EQ(ask(&r, "GET", "/1.0/tasks/2", "", API_ALL), 200);
    CHECK_HAS(r.got.body.text, "\"log\":[{\"time\":");
    CHECK_HAS(r.got.body.text, "\"text\":\"done\"}]");
    rig_close(&r);
}

/* Two clients edit one instance: one wins, the other is told. */
TEST(api_etag)
{
    struct api_request rq = { .method = "PATCH",
                              .path = "/1.0/instances/a",
                              .body = "{\"cpus\": 2}",
                              .body_len = 11,
                              .rights = API_ALL };
    char etag[32];
    struct rig r;

    rig_open(&r, "etag");
    CHECK_EQ(ask(&r, "POST", "/1.0/instances", "{\"name\": \"a\", \"kernel\": \"/k\"}", API_ALL),
             202);
    settle(&r);
    CHECK_EQ(ask(&r, "GET", "/1.0/instances/a", "", API_ALL), 200);
    str_fmt(etag, sizeof(etag), "\"%llu\"", r.got.etag);
    rq.if_match = etag;
    strbuf_fini(&r.got.body);
    api_handle(&r.host, &rq, &r.got);
    CHECK_EQ(r.got.status, 200);
    strbuf_fini(&r.got.body);
    api_handle(&r.host, &rq, &r.got);
    CHECK_EQ(r.got.status, 412);
    CHECK_HAS(r.got.body.text, "was changed meanwhile");
    rq.if_match = "W/\"1\"";
    strbuf_fini(&r.got.body);
    api_handle(&r.host, &rq, &r.got);
    CHECK_EQ(r.got.status, 400);
    rig_close(&r);
}

/* Pages have each instance once. */
TEST(api_pages)
{
    char after[64] = "";
    u32 seen = 0;
    struct rig r;

    rig_open(&r, "pages");
    for (u32 i = 0; i < 7; i++) {
        AUTO(free) char *body = str_new("{\"name\": \"n%u\", \"kernel\": \"/k\"}", i);

        CHECK_EQ(ask(&r, "POST", "/1.0/instances", body, API_ALL), 202);
    }
    settle(&r);
    for (u32 pages = 0; pages < 4; pages++) {
        AUTO(free) char *path = str_new("/1.0/instances?limit=3&after=%s", after);
        const char *next;
        json_t *j;

        CHECK_EQ(ask(&r, "GET", path, "", API_VIEW), 200);
        j = json_loads(r.got.body.text, 0, NULL);
        seen += (u32)json_array_size(json_object_get(j, "list"));
        next = json_string_value(json_object_get(j, "next"));
        CHECK_EQ(next != NULL, pages < 2);
        str_copy(after, sizeof(after), next ? next : "~");
        json_decref(j);
    }
    CHECK_EQ(seen, 7);
    rig_close(&r);
}

/* Lists of what is wanted, which pages are of, too. */
TEST(api_filters)
{
    static const struct {
        const char *why, *path, *names;
    } rows[] = {
        { "all", "/1.0/instances", "n0 n1 n2 n3 n4 n5 n6" },
        { "any is all", "/1.0/instances?state=any&kind=any", "n0 n1 n2 n3 n4 n5 n6" },
        { "a tag", "/1.0/instances?tag=odd", "n1 n3 n5" },
        { "a page of them", "/1.0/instances?tag=odd&limit=2&after=n1", "n3 n5" },
        { "no part of a tag", "/1.0/instances?tag=od", "" },
        { "a tag with signs", "/1.0/instances?tag=a%3Ab", "n0 n1 n2 n3 n4 n5 n6" },
        { "a state", "/1.0/instances?state=off", "n0 n1 n2 n3 n4 n5 n6" },
        { "another", "/1.0/instances?state=running", "n6" },
        { "a kind", "/1.0/instances?kind=os", "" },
        { "a part of the name", "/1.0/instances?name=4", "n4" },
        { "both", "/1.0/instances?name=3&tag=odd", "n3" },
        { "tasks of one", "/1.0/tasks?name=n2", "n2" },
        { "those that are done", "/1.0/tasks?state=done&name=n2", "n2" },
        { "none failed", "/1.0/tasks?state=failed", "" },
    };
    struct rig r;

    rig_open(&r, "filters");
    for (u32 i = 0; i < 7; i++) {
        AUTO(free)
        char *body =
            str_new("{\"name\": \"n%u\", \"kernel\": \"/k\", \"tags\": [{\"tag\": \"%s\"}, "
                    "{\"tag\": \"a:b\"}]}",
                    i, i % 2 ? "odd" : "even");

        CHECK_EQ(ask(&r, "POST", "/1.0/instances", body, API_ALL), 202);
    }
    settle(&r);
    for_each_row(c, rows) {
        AUTO(strbuf) struct strbuf got = {};
        json_t *j, *one;
        size_t i;

        ROW(c);
        host_lock(&r.host);
        host_find_locked(&r.host, "n6")->run.state =
            strcmp(c->why, "another") ? HOST_OFF : HOST_RUNNING;
        host_unlock(&r.host);
        CHECK_EQ(ask(&r, "GET", c->path, "", API_VIEW), 200);
        j = json_loads(r.got.body.text, 0, NULL);
        strbuf_add(&got, "%s", "");
        json_array_foreach(json_object_get(j, "list"), i, one)
            strbuf_add(&got, "%s%s", i ? " " : "", json_string_value(json_object_get(one, "name")));
        CHECK_STR(got.text, c->names);
        json_decref(j);
    }
    CHECK_EQ(ask(&r, "GET", "/1.0/instances?state=asleep", "", API_VIEW), 400);
    CHECK_HAS(r.got.body.text, "\"field\":\"state\"");
    rig_close(&r);
}

/* Each reference leads somewhere, each operation has a right and an answer. */
static void check_node(const json_t *doc, json_t *node)
{
    const char *name;
    json_t *value;
    size_t i;

    json_array_foreach(node, i, value) check_node(doc, value);
    json_object_foreach(node, name, value)
    {
        if (strcmp(name, "$ref") == 0) {
            const char *to = json_string_value(value);

            CHECK(str_starts(to, "#/components/schemas/"));
            CHECK(json_object_get(json_object_get(json_object_get(doc, "components"), "schemas"),
                                  to + strlen("#/components/schemas/")));
        }
        check_node(doc, value);
    }
}

TEST(api_document)
{
    json_t *doc = api_openapi(), *op;
    u32 operations = 0;

    check_node(doc, doc);
    for_each_api_route(row) {
        AUTO(free) char *method = xdup(row->method);

        for (char *p = method; *p; p++)
            *p = (char)(*p | 0x20);
        op = json_object_get(json_object_get(json_object_get(doc, "paths"), row->path), method);
        CHECK_STR(json_string_value(json_object_get(op, "summary")), row->doc);
        CHECK(json_string_value(json_object_get(op, "x-right")));
        CHECK(json_string_value(json_object_get(op, "operationId")));
        CHECK_EQ(json_object_get(op, "security") != NULL, row->right == API_PUBLIC);
        CHECK(json_object_size(json_object_get(op, "responses")) == 3);
        operations++;
    }
    CHECK(operations >= 18);
    json_decref(doc);
}

TEST(api_ranges)
{
    static const struct {
        const char *why, *range;
        u64 size;
        int r;
        u64 at, end;
    } rows[] = {
        { "the first", "bytes=0-99", 1000, 1, 0, 100 },
        { "the rest", "bytes=100-", 1000, 1, 100, 1000 },
        { "more than there is", "bytes=900-5000", 1000, 1, 900, 1000 },
        { "the last ones", "bytes=-100", 1000, 1, 900, 1000 },
        { "the last ones are all", "bytes=-5000", 1000, 1, 0, 1000 },
        { "one byte", "bytes=5-5", 1000, 1, 5, 6 },
        { "nothing is left", "bytes=1000-", 1000, -ERANGE, 0, 0 },
        { "none of the last", "bytes=-0", 1000, -ERANGE, 0, 0 },
        { "of nothing", "bytes=0-", 0, -ERANGE, 0, 0 },
        { "several: all of it", "bytes=0-1,5-6", 1000, 0, 0, 0 },
        { "backwards", "bytes=9-5", 1000, 0, 0, 0 },
        { "another unit", "lines=0-5", 1000, 0, 0, 0 },
        { "no number", "bytes=a-5", 1000, 0, 0, 0 },
        { "nothing", "bytes=-", 1000, 0, 0, 0 },
        { "too large for a number", "bytes=99999999999999999999-", 1000, 0, 0, 0 },
        { "no header", NULL, 1000, 0, 0, 0 },
        { "an empty one", "", 1000, 0, 0, 0 },
    };

    for_each_row(row, rows) {
        u64 at = 0, end = 0;

        ROW(row);
        CHECK_EQ(api_range(row->range, row->size, &at, &end), row->r);
        CHECK_EQ(at, row->at);
        CHECK_EQ(end, row->end);
    }
}
