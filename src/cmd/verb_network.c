/*
 * cmd/verb_network.c: `socle network …`.
 */
#include "cmd/verb.h"

#include <stdlib.h>

int verb_network_create(struct verb *v, struct err *e)
{
    json_t *body = conf_print(network_fields, &v->network);
    int r;

    json_object_set_new(body, "name", json_string(v->args.arg[0]));
    r = verb_task(v, "POST", "/1.0/networks", body, e);
    json_decref(body);
    return r;
}

int verb_network_set(struct verb *v, struct err *e)
{
    AUTO(free) char *path = verb_path("networks", v->args.arg[0], "", e);
    json_t *changes = json_object();
    int r = path ? 0 : e->code;

    for (u32 i = 1; i < v->args.n && r >= 0; i++)
        r = verb_add_change(network_fields, changes, v->args.arg[i], e);
    if (r >= 0)
        r = verb_task(v, "PATCH", path, changes, e);
    json_decref(changes);
    return r;
}

int verb_network_delete(struct verb *v, struct err *e)
{
    AUTO(free) char *path = verb_path("networks", v->args.arg[0], "", e);

    return path ? verb_task(v, "DELETE", path, NULL, e) : e->code;
}
