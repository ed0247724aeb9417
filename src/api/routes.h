/*
 * api/routes.h: what the files of routes share.  Each has a part: its rows and their schemas.
 */
#pragma once

#include "api/api.h"

extern const struct api_part api_part_server, api_part_instances, api_part_snapshots,
    api_part_images, api_part_networks, api_part_tasks, api_part_access, api_part_metrics,
    api_part_uploads, api_part_catalogues, api_part_support, api_part_exports;

/* The query of a list that comes in pages. */
struct page {
    char *after;
    u32 limit;
};
extern const struct field page_fields[];

#define QUERY(of) of##_fields, sizeof(struct of)

/* {"list": […], "next": "what to give as `after` for more"}; `list` is consumed, `next` NULL: that is all. */
void api_answer_list(struct api_call *c, json_t *list, const char *next);
/* What is in the order of names, as a list that comes in pages (QUERY(page)). */
struct api_pages {
    u32 (*n)(const struct host *h);
    u32 (*after)(struct host *h, const char *name); /* the place of the first after it */
    const char *(*name)(const struct host *h, u32 at);
    json_t *(*print)(const struct api_call *c, u32 at); /* NULL: it is not the caller's to see */
};
void api_answer_page(struct api_call *c, const struct api_pages *p);
/* Who asks, for the record of a task; borrows of the request. */
struct host_who api_asker(const struct api_call *c);
/* Has the instance {name} do something; answers with the task. */
int api_act(struct api_call *c, const struct host_action *a, struct err *e);
/* c->ret->gives is all of a file: the part of it that the client asks for is given. */
int api_give(struct api_call *c, struct err *e);
/* {"task": …, "revision": …} */
void api_answer_task(struct api_call *c, u64 task, u64 revision);
/* The records' revision before what is asked, so that the events after it are all that a task makes. */
u64 api_revision_now(struct host *h);
