/*
 * api/routes_metrics.c: what machines and the host use, for people who look (JSON) and for systems that collect (Prometheus' text format).
 */
#include "api/routes.h"
#include "host/guard.h"
#include "host/metrics.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

struct usage_view {
    char *name, *state;
    u32 cpus;
    u64 ram, at, value[METRICS];
};
struct host_view {
    u32 cpus;
    u64 ram, running, at, value[METRICS];
};
struct history_query {
    int span;
    u64 since, step;
    u32 limit;
};

static const char *const spans[] = { "seconds", "minutes", NULL };

/* clang-format off */
static const struct field usage_own_fields[] = {
    FIELD_STR(usage_view, name, "the instance's"),
    FIELD_STR(usage_view, state, "as of the instance"),
    FIELD_INT(usage_view, cpus, "virtual CPUs"),
    FIELD_INT(usage_view, ram, "bytes of guest RAM"),
    FIELD_INT(usage_view, at, "when it was measured, in seconds since 1970; it is missing, as all that follows, when it was not"),
};
static const struct field host_own_fields[] = {
    FIELD_INT(host_view, cpus, "of the host"),
    FIELD_INT(host_view, ram, "bytes of memory"),
    FIELD_INT(host_view, running, "machines that run"),
    FIELD_INT(host_view, at, "as of an instance"),
};
static const struct field history_fields[] = {
    FIELD_ENUM(history_query, span, spans, "of the last hour, as far as somebody looked; or of the last month"),
    FIELD_INT(history_query, since, "what was after this time, in seconds since 1970", .max = INT64_MAX),
    FIELD_INT(history_query, step, "averages of so many seconds each", .max = 30 * 86400),
    FIELD_INT(history_query, limit, "at most so many rows", .dflt = METRICS_ROWS_MAX, .min = 1, .max = METRICS_ROWS_MAX),
    {},
};
/* clang-format on */

static struct field usage_table[ARRAY_LEN(usage_own_fields) + METRICS + 1],
    host_table[ARRAY_LEN(host_own_fields) + METRICS + 1];

static u32 add_metrics(struct field *table, u32 n, size_t at, bool host)
{
    for (u32 k = 0; k < METRICS; k++)
        if (!host || !metric_rows[k].no_host)
            table[n++] = (struct field){ .name = metric_rows[k].name,
                                         .doc = metric_rows[k].doc,
                                         .kind = FIELD_KIND_INT,
                                         .at = (u32)(at + k * sizeof(u64)),
                                         .size = sizeof(u64) };
    return n;
}

static void make_tables(void)
{
    memcpy(usage_table, usage_own_fields, sizeof(usage_own_fields));
    memcpy(host_table, host_own_fields, sizeof(host_own_fields));
    add_metrics(usage_table, ARRAY_LEN(usage_own_fields), offsetof(struct usage_view, value),
                false);
    add_metrics(host_table, ARRAY_LEN(host_own_fields), offsetof(struct host_view, value), true);
}

static pthread_once_t made = PTHREAD_ONCE_INIT;

static const struct field *usage_fields(void)
{
    pthread_once(&made, make_tables);
    return usage_table;
}

static const struct field *host_fields(void)
{
    pthread_once(&made, make_tables);
    return host_table;
}

/* ---- now ---- */

static void add_now(json_t *j, const struct metric_now *now)
{
    if (now->at)
        json_object_set_new(j, "at", json_integer((json_int_t)now->at));
    for (u32 k = 0; k < METRICS && now->at; k++)
        if (!isnan(now->value[k]))
            json_object_set_new(j, metric_rows[k].name, metrics_number(now->value[k]));
}

static json_t *usage_locked(struct host *h, const struct instance *i)
{
    struct metric_now now = {};
    json_t *j = json_pack("{s:s, s:s, s:I, s:I}", "name", i->cfg.spec.name, "state",
                          host_state_words[i->run.state], "cpus", (json_int_t)i->cfg.spec.cpus,
                          "ram", (json_int_t)i->cfg.spec.memory);

    if (host_is_alive(i) && metrics_look(h, i->id, &now))
        add_now(j, &now);
    return j;
}

static u32 count(const struct host *h)
{
    return h->n;
}

static const char *name_of(const struct host *h, u32 at)
{
    return h->list[at]->cfg.spec.name;
}

static json_t *print(const struct api_call *c, u32 at)
{
    struct instance *i = c->host->list[at];

    return api_may_locked(c, API_VIEW, i) ? usage_locked(c->host, i) : NULL;
}

static int list_usage(struct api_call *c, struct err *e [[maybe_unused]])
{
    static const struct api_pages pages = { count, host_after_locked, name_of, print };

    api_answer_page(c, &pages);
    return 0;
}

static int get_usage(struct api_call *c, struct err *e)
{
    struct host *h = c->host;
    const struct instance *i;
    json_t *j = NULL;

    host_lock(h);
    i = host_find_locked(h, c->name);
    if (i)
        j = usage_locked(h, i);
    host_unlock(h);
    if (!j)
        return err_set(e, -ENOENT, "there is no instance '%.63s'", c->name);
    api_answer_json(c, j);
    return 0;
}

static u32 running_locked(const struct host *h)
{
    u32 n = 0;

    for (u32 i = 0; i < h->n; i++)
        n += host_is_alive(h->list[i]);
    return n;
}

static int get_host_usage(struct api_call *c, struct err *e)
{
    struct host *h = c->host;
    struct guard_host memory;
    struct metric_now now;
    json_t *j;
    int r = guard_read_host(&memory, e);

    if (r < 0)
        return r;
    host_lock(h);
    j = json_pack("{s:I, s:I, s:I}", "cpus", (json_int_t)sysconf(_SC_NPROCESSORS_ONLN), "ram",
                  (json_int_t)memory.total, "running", (json_int_t)running_locked(h));
    host_unlock(h);
    (void)metrics_look(h, NULL, &now);
    add_now(j, &now);
    api_answer_json(c, j);
    return 0;
}

/* ---- before ---- */

static json_t *columns(void)
{
    json_t *list = json_pack("[s]", "time");

    for_each_row(row, metric_rows)
        json_array_append_new(list, json_string(row->name));
    return list;
}

static void answer_history(struct api_call *c, const char *id)
{
    const struct history_query *q = c->query;
    const struct metrics_ask ask = {
        .minutes = q->span == 1, .since = q->since, .step = q->step, .limit = q->limit
    };

    api_answer_json(c, json_pack("{s:o, s:o}", "columns", columns(), "rows",
                                 metrics_history(c->host, id, &ask)));
}

static int get_history(struct api_call *c, struct err *e)
{
    const struct instance *i;
    char id[24] = "";

    host_lock(c->host);
    i = host_find_locked(c->host, c->name);
    if (i)
        str_copy(id, sizeof(id), i->id);
    host_unlock(c->host);
    if (!i)
        return err_set(e, -ENOENT, "there is no instance '%.63s'", c->name);
    answer_history(c, id);
    return 0;
}

static int get_host_history(struct api_call *c, struct err *e [[maybe_unused]])
{
    answer_history(c, NULL);
    return 0;
}

/* ---- collected: Prometheus' text format, version 0.0.4 ---- */

/* What one may see of a machine that runs. */
struct collected {
    char name[64];
    struct metric_now now;
};

static u32 collect(struct api_call *c, struct collected **ret)
{
    struct host *h = c->host;
    struct collected *list;
    u32 n = 0;

    host_lock(h);
    list = xnew_n(struct collected, running_locked(h) + 1);
    for (u32 i = 0; i < h->n; i++) {
        const struct instance *inst = h->list[i];

        if (!host_is_alive(inst) || !api_may_locked(c, API_VIEW, inst))
            continue;
        str_copy(list[n].name, sizeof(list[n].name), inst->cfg.spec.name);
        (void)metrics_collect(h, inst->id, &list[n++].now);
    }
    host_unlock(h);
    *ret = list;
    return n;
}

static void add_head(struct strbuf *out, const char *of, const struct metric_row *row)
{
    const bool time = row->collected_scale < 1;

    strbuf_add(out, "# HELP socle_%s_%s %s%s.\n# TYPE socle_%s_%s %s\n", of, row->collected,
               row->doc,
               row->is_gauge ? ""
               : time        ? "; here the sum in seconds"
                             : "; here the sum",
               of, row->collected, row->is_gauge ? "gauge" : "counter");
}

static void add_value(struct strbuf *out, const struct metric_row *row, u64 raw)
{
    if (row->collected_scale < 1)
        strbuf_add(out, " %.9f\n", (double)raw * row->collected_scale);
    else
        strbuf_add(out, " %llu\n", raw);
}

static void add_host(struct strbuf *out, struct host *h)
{
    struct metric_now now;

    (void)metrics_collect(h, NULL, &now);
    for (u32 k = 0; k < METRICS; k++) {
        if (!(now.last.have >> k & 1))
            continue;
        add_head(out, "host", &metric_rows[k]);
        strbuf_add(out, "socle_host_%s", metric_rows[k].collected);
        add_value(out, &metric_rows[k], now.last.raw[k]);
    }
}

static int get_metrics(struct api_call *c, struct err *e [[maybe_unused]])
{
    AUTO(free) struct collected *list = NULL;
    struct strbuf *out = &c->ret->body;
    const u32 n = collect(c, &list);

    c->ret->type = "text/plain; version=0.0.4; charset=utf-8";
    if (c->rq->rights & API_VIEW)
        add_host(out, c->host);
    for (u32 k = 0; k < METRICS; k++) {
        const struct metric_row *row = &metric_rows[k];

        add_head(out, "instance", row);
        for (u32 i = 0; i < n; i++) {
            if (!(list[i].now.last.have >> k & 1))
                continue;
            strbuf_add(out, "socle_instance_%s{name=\"%s\"}", row->collected, list[i].name);
            add_value(out, row, list[i].now.last.raw[k]);
        }
    }
    return 0;
}

/* clang-format off */
static const struct api_schema schemas[] = {
    { "Usage",     .fields_fn = usage_fields },
    { "HostUsage", .fields_fn = host_fields },
    {},
};

static const struct api_route routes[] = {
    { "GET", "/1.0/metrics", API_VIEW, 200, NULL, 0, NULL, NULL, false, get_metrics, "Collect what the host and machines that run used, in Prometheus' text format", .filters = true },
    { "GET", "/1.0/metrics/instances", API_VIEW, 200, QUERY(page), NULL, "Usage", true, list_usage, "Show what each instance uses now", .filters = true },
    { "GET", "/1.0/metrics/host", API_VIEW, 200, NULL, 0, NULL, "HostUsage", false, get_host_usage, "Show what the host uses now" },
    { "GET", "/1.0/metrics/host/history", API_VIEW, 200, history_fields, sizeof(struct history_query), NULL, NULL, false, get_host_history,
      "Show what the host used: {\"columns\": [\"time\", …], \"rows\": [[time, …], …]}, the oldest first; null is not known" },
    { "GET", "/1.0/instances/{name}/metrics", API_VIEW, 200, NULL, 0, NULL, "Usage", false, get_usage, "Show what an instance uses now" },
    { "GET", "/1.0/instances/{name}/metrics/history", API_VIEW, 200, history_fields, sizeof(struct history_query), NULL, NULL, false, get_history,
      "Show what an instance used, as of the host" },
    {},
};
/* clang-format on */

const struct api_part api_part_metrics = { "Metrics", routes, schemas };
