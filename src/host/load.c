/*
 * host/load.c: the records of a folder are read, and must fit together.
 */
#include "host/load.h"

#include <stdlib.h>

struct next_rec {
    u64 next;
};
struct name_rec {
    char *id;
};

/* clang-format off */
static const struct field next_fields[] = {
    FIELD_INT(next_rec, next, "the next number of an instance or a task", .dflt = 1),
    {},
};
static const struct field name_fields[] = {
    FIELD_STR(name_rec, id, "of the instance with this name", .required = true),
    {},
};
/* clang-format on */

typedef int each_fn(struct host *h, const char *id, const struct store_rec *r, struct err *e);

static int each(struct host *h, const char *prefix, each_fn *fn, struct err *e)
{
    AUTO(store_list) struct store_list l = {};
    int r = store_range(h->store, prefix, NULL, UINT32_MAX - 1, &l, e);

    for (u32 i = 0; i < l.n && r >= 0; i++) {
        r = fn(h, l.rec[i].key + strlen(prefix), &l.rec[i], e);
        if (r < 0)
            err_wrap(e, "record '%.60s'", l.rec[i].key);
    }
    return r;
}

static int load_instance(struct host *h, const char *id, const struct store_rec *rec, struct err *e)
{
    struct instance *i = xnew(struct instance);
    int r = conf_parse_text(instance_fields(), &i->cfg, rec->value, rec->len, e);

    if (r < 0 || !str_copy(i->id, sizeof(i->id), id)) {
        instance_cfg_fini(&i->cfg);
        free(i);
        return r < 0 ? r : err_set(e, -EBADMSG, "its id is too long");
    }
    i->host = h;
    i->rev = rec->rev;
    i->pidfd = -1;
    i->run.state = HOST_OFF;
    h->list[h->n++] = i;
    return 0;
}

/* While loading, the list is in the order of ids, as the records are. */
struct instance *load_by_id(struct host *h, const char *id)
{
    u32 low = 0, high = h->n;

    while (low < high) {
        const u32 mid = low + (high - low) / 2;
        const int cmp = strcmp(h->list[mid]->id, id);

        if (cmp == 0)
            return h->list[mid];
        if (cmp < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

static int load_run(struct host *h, const char *id, const struct store_rec *rec, struct err *e)
{
    struct instance *i = load_by_id(h, id);

    if (!i)
        return err_set(e, -EBADMSG, "it has no instance");
    return conf_parse_text(run_fields, &i->run, rec->value, rec->len, e);
}

static int load_task(struct host *h, const char *id, const struct store_rec *rec, struct err *e)
{
    u64 number;

    if (str_u64(id, &number) < 0)
        return err_set(e, -EBADMSG, "its number is none");
    return task_load_locked(h, number, rec->value, rec->len, e);
}

static int load_next(struct host *h, const char *id [[maybe_unused]], const struct store_rec *rec,
                     struct err *e)
{
    struct next_rec n;
    int r = conf_parse_text(next_fields, &n, rec->value, rec->len, e);

    h->next = n.next;
    h->next_rev = rec->rev;
    return r;
}

static int load_network(struct host *h, const char *id, const struct store_rec *rec, struct err *e)
{
    return network_load_locked(h, id, rec->value, rec->len, rec->rev, e);
}

/* Each name is one instance's, and the other way round. */
static int check_name(struct host *h, const char *id, const struct store_rec *rec, struct err *e)
{
    const struct instance *i;
    struct name_rec n;
    int r = conf_parse_text(name_fields, &n, rec->value, rec->len, e);

    if (r < 0)
        return r;
    i = load_by_id(h, n.id);
    if (!i || strcmp(i->cfg.spec.name, id) != 0)
        r = err_set(e, -EBADMSG, "no instance '%.20s' has this name", n.id);
    conf_fini(name_fields, &n);
    return r;
}

static int load_base(struct host *h, const char *id, const struct store_rec *rec, struct err *e)
{
    struct instance *i = load_by_id(h, id);
    int r = i ? conf_parse_text(base_fields, &i->base, rec->value, rec->len, e)
              : err_set(e, -EBADMSG, "it has no instance");

    if (r >= 0 && (!i->base.id || !load_by_id(h, i->base.id)))
        r = err_set(e, -EBADMSG, "what it builds on is missing");
    return r;
}

static int load_told(struct host *h, const char *id, const struct store_rec *rec, struct err *e)
{
    struct instance *i = load_by_id(h, id);

    return i ? conf_parse_text(told_fields, &i->told, rec->value, rec->len, e)
             : err_set(e, -EBADMSG, "it has no instance");
}

int load_all(struct host *h, struct err *e)
{
    int r = each(h, "next", load_next, e);

    h->list = xnew_n(struct instance *, HOST_INSTANCES_MAX);
    if (r >= 0)
        r = each(h, "instance/", load_instance, e);
    if (r >= 0)
        r = each(h, "run/", load_run, e);
    if (r >= 0)
        r = each(h, "name/", check_name, e);
    if (r >= 0)
        r = each(h, "base/", load_base, e);
    if (r >= 0)
        r = each(h, "addresses/", load_told, e);
    if (r >= 0)
        r = each(h, "network/", load_network, e);
    return r < 0 ? r : each(h, "task/", load_task, e);
}
