/*
 * api/routes_networks.c: networks that machines' cards are on.
 */
#include "api/routes.h"

struct network_view {
    char *state, *why, *bridge;
    u64 revision;
};

/* clang-format off */
static const struct field network_view_fields[] = {
    FIELD_STR(network_view, state, "starting, up or failed"),
    FIELD_STR(network_view, why, "failed: why"),
    FIELD_STR(network_view, bridge, "of the host: its cards are ports of it"),
    FIELD_INT(network_view, revision, "of what is configured: its ETag"),
    {},
};
/* clang-format on */

static u32 count(const struct host *h)
{
    return h->nets.n;
}

static const char *name_of(const struct host *h, u32 at)
{
    return h->nets.list[at]->cfg.name;
}

static json_t *print(const struct api_call *c, u32 at)
{
    return network_print_locked(c->host->nets.list[at]);
}

static int list_networks(struct api_call *c, struct err *e [[maybe_unused]])
{
    static const struct api_pages pages = { count, network_after_locked, name_of, print };

    api_answer_page(c, &pages);
    return 0;
}

static int create_network(struct api_call *c, struct err *e)
{
    const u64 rev = api_revision_now(c->host);
    struct network_ask a = { .uid = c->rq->uid, .user = api_asker(c).user };
    struct network_cfg cfg = {};
    json_t *j;
    int r = conf_load(c->rq->body, c->rq->body_len, &j, e);

    if (r < 0)
        return r;
    r = network_parse(&cfg, j, e);
    json_decref(j);
    if (r >= 0)
        r = network_create(c->host, &cfg, &a, e);
    conf_fini(network_fields, &cfg);
    if (r >= 0)
        api_answer_task(c, a.task, rev);
    return r;
}

static int get_network(struct api_call *c, struct err *e)
{
    struct host *h = c->host;
    const struct network *n;
    json_t *j = NULL;

    host_lock(h);
    n = network_find_locked(h, c->name);
    if (n) {
        c->ret->etag = n->rev;
        j = network_print_locked(n);
    }
    host_unlock(h);
    if (!j)
        return err_set(e, -ENOENT, "there is no network '%.63s'", c->name);
    api_answer_json(c, j);
    return 0;
}

static int edit_network(struct api_call *c, struct err *e)
{
    const u64 now = api_revision_now(c->host);
    struct network_ask a = { .uid = c->rq->uid, .user = api_asker(c).user };
    json_t *j;
    int r = api_if_match(c, &a.rev, e);

    if (r >= 0)
        r = conf_load(c->rq->body, c->rq->body_len, &j, e);
    if (r < 0)
        return r;
    r = json_is_object(j) ? network_edit(c->host, c->name, j, &a, e)
                          : err_set(e, -EINVAL, "an object with what is to be changed is expected");
    json_decref(j);
    if (r >= 0)
        api_answer_task(c, a.task, now);
    return r;
}

static int delete_network(struct api_call *c, struct err *e)
{
    const u64 rev = api_revision_now(c->host);
    struct network_ask a = { .uid = c->rq->uid, .user = api_asker(c).user };
    int r = network_delete(c->host, c->name, &a, e);

    if (r >= 0)
        api_answer_task(c, a.task, rev);
    return r;
}

/* clang-format off */
static const struct api_schema schemas[] = {
    { "NetworkNew",   network_fields },
    { "NetworkEdit",  network_fields, .optional = true },
    { "Network",      network_fields, .status = "NetworkState" },
    { "NetworkState", network_view_fields },
    {},
};

static const struct api_route routes[] = {
    { "GET", "/1.0/networks", API_VIEW, 200, QUERY(page), NULL, "Network", true, list_networks, "List networks by name" },
    { "POST", "/1.0/networks", API_ADMIN, 202, NULL, 0, "NetworkNew", "TaskStarted", false, create_network, "Create a network" },
    { "GET", "/1.0/networks/{name}", API_VIEW, 200, NULL, 0, NULL, "Network", false, get_network, "Show a network" },
    { "PATCH", "/1.0/networks/{name}", API_ADMIN, 202, NULL, 0, "NetworkEdit", "TaskStarted", false, edit_network, "Change a network; with If-Match only when nobody else did" },
    { "DELETE", "/1.0/networks/{name}", API_ADMIN, 202, NULL, 0, NULL, "TaskStarted", false, delete_network, "Delete a network that no card is on" },
    {},
};
/* clang-format on */

const struct api_part api_part_networks = { "Networks", routes, schemas };
