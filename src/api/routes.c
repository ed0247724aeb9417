/*
 * api/routes.c: the parts of the API, and what their files share.
 */
#include "api/routes.h"

const struct api_part *const api_parts[] = {
    &api_part_server,
    &api_part_instances,
    &api_part_snapshots,
    &api_part_images,
    &api_part_networks,
    &api_part_tasks,
    &api_part_access,
    &api_part_metrics,
    &api_part_uploads,
    &api_part_support,
    &api_part_catalogues,
    &api_part_exports,
    NULL,
};

/* clang-format off */
const struct field page_fields[] = {
    FIELD_STR(page, after, "what comes after this name, or number", .sdflt = ""),
    FIELD_INT(page, limit, "at most so many", .dflt = API_PAGE, .min = 1, .max = API_PAGE_MAX),
    {},
};
/* clang-format on */

struct host_who api_asker(const struct api_call *c)
{
    return (struct host_who){ c->rq->uid, c->rq->who ? c->rq->who->name : NULL };
}

void api_answer_list(struct api_call *c, json_t *list, const char *next)
{
    json_t *j = json_pack("{s:o}", "list", list);

    if (next)
        json_object_set_new(j, "next", json_string(next));
    api_answer_json(c, j);
}

/* `next` is the last that was shown, so nobody learns the name of what is not. */
void api_answer_page(struct api_call *c, const struct api_pages *p)
{
    const struct page *q = c->query;
    struct host *h = c->host;
    json_t *list = json_array();
    AUTO(free) char *next = NULL;
    u32 at;

    host_lock(h);
    for (at = p->after(h, q->after); at < p->n(h) && json_array_size(list) < q->limit; at++) {
        json_t *j = p->print(c, at);

        if (j)
            json_array_append_new(list, j);
    }
    if (at < p->n(h))
        next = xdup(p->name(h, at - 1));
    host_unlock(h);
    api_answer_list(c, list, next);
}

/* The part that is asked for, when it is a part of what the client has. */
int api_give(struct api_call *c, struct err *e)
{
    struct api_file *f = c->ret->gives;
    char own[80];
    int r;

    str_fmt(own, sizeof(own), "\"%s\"", f->etag);
    if (c->rq->if_range && strcmp(c->rq->if_range, own) != 0)
        return 0;
    r = api_range(c->rq->range, f->size, &f->at, &f->end);
    if (r > 0)
        c->ret->status = 206;
    if (r < 0) {
        err_set(e, r, "it has %llu bytes", f->size);
        api_file_free(TAKE(c->ret->gives));
        api_error(c->ret, 416, "range", e);
    }
    return 0;
}

void api_answer_task(struct api_call *c, u64 task, u64 revision)
{
    api_answer_json(
        c, json_pack("{s:I, s:I}", "task", (json_int_t)task, "revision", (json_int_t)revision));
}

u64 api_revision_now(struct host *h)
{
    u64 rev;

    host_lock(h);
    rev = store_revision(h->store);
    host_unlock(h);
    return rev;
}
