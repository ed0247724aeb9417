/*
 * disk/req_list.h: requests that wait in the order in which they came.  Private to disk/; a request is in one list at most.
 */
#pragma once

#include "disk/disk.h"

/* First in, first out.  Zeroed is empty. */
struct req_list {
    struct disk_req *first, *last;
};

static inline void req_list_add(struct req_list *l, struct disk_req *r)
{
    r->next = NULL;
    if (l->last)
        l->last->next = r;
    else
        l->first = r;
    l->last = r;
}

/* NULL when empty. */
static inline struct disk_req *req_list_take(struct req_list *l)
{
    struct disk_req *r = l->first;

    if (!r)
        return NULL;
    l->first = r->next;
    if (!l->first)
        l->last = NULL;
    return r;
}
