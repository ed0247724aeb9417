/*
 * api/access_rig.h: for tests: a host with the instances "web" (tag blue) and "other", users, and requests made as one of them.
 */
#pragma once

#include "api/api.h"

#include <stdlib.h>
#include <sys/stat.h>

static u64 access_rig_now;

struct access_rig {
    struct loop loop;
    struct host host;
    struct access access;
    struct api_answer got;
    char id_web[24], task_web[24], task_other[24];
    const char *once; /* the Idempotency-Key of requests; NULL: none */
    /* who asks */
    struct access_who who;
    struct err denied;
    u32 rights;
    bool known;
};

static u64 access_rig_clock(void)
{
    return access_rig_now;
}

static void access_rig_as(struct access_rig *r, const char *name, int scope)
{
    r->who = (struct access_who){};
    r->denied = (struct err){};
    r->known = name != NULL;
    r->rights = 0;
    if (!name) {
        err_set(&r->denied, -EKEYREJECTED, "log in first");
        return;
    }
    r->who.user = access_user(&r->access, name);
    r->who.scope = access_role_rights(scope);
    str_copy(r->who.name, sizeof(r->who.name), name);
    r->rights = access_role_rights(r->who.user->rec.role) & r->who.scope;
}

static int access_rig_ask(struct access_rig *r, const char *method, const char *path,
                          const char *body)
{
    char copy[API_PATH_MAX];
    char *query;
    struct api_request rq = { .method = method,
                              .path = copy,
                              .once = r->once,
                              .body = body,
                              .body_len = strlen(body),
                              .rights = r->rights,
                              .who = r->known ? &r->who : NULL,
                              .denied = r->known ? NULL : &r->denied,
                              .access = &r->access,
                              .from = "test" };

    str_copy(copy, sizeof(copy), path);
    query = strchr(copy, '?');
    if (query)
        *query++ = 0;
    rq.query = query;
    strbuf_fini(&r->got.body);
    api_handle(&r->host, &rq, &r->got);
    if (r->got.later) {
        struct api_later *l = r->got.later;

        l->work(l);
        api_finish(l, &r->got);
    }
    return r->got.status;
}

static inline int access_rig_cancel(struct access_rig *r, const char *task)
{
    AUTO(free) char *path = str_new("/1.0/tasks/%s", task);

    return access_rig_ask(r, "DELETE", path, "");
}

static void access_rig_make(struct access_rig *r, const char *body, char *ret_task)
{
    json_t *j;

    r->rights = API_ALL;
    r->known = false;
    must(access_rig_ask(r, "POST", "/1.0/instances", body) == 202);
    j = json_loads(r->got.body.text, 0, NULL);
    str_fmt(ret_task, 24, "%lld", (long long)json_integer_value(json_object_get(j, "task")));
    json_decref(j);
}

static inline void access_rig_restart(struct access_rig *r)
{
    struct err e = {};

    access_close(&r->access);
    must(access_open(&r->access, &r->host, &e) >= 0);
    r->access.now = access_rig_clock;
}

static void access_rig_open(struct access_rig *r, const char *folder, const char *name)
{
    AUTO(free) char *dir = str_new("%s/access-%s", folder, name);
    struct err e = {};

    *r = (struct access_rig){};
    access_rig_now = 1000000;
    must(loop_init(&r->loop, "test") == 0);
    must(host_open(&r->host, dir, &r->loop, &e) >= 0);
    must(access_open(&r->access, &r->host, &e) >= 0);
    r->access.now = access_rig_clock;
    must(loop_start(&r->loop) == 0);
    access_rig_make(r, "{\"name\": \"web\", \"kernel\": \"/k\", \"tags\": [{\"tag\": \"blue\"}]}",
                    r->task_web);
    access_rig_make(r, "{\"name\": \"other\", \"kernel\": \"/k\"}", r->task_other);
    host_lock(&r->host);
    while (host_find_locked(&r->host, "web")->task || host_find_locked(&r->host, "other")->task)
        pthread_cond_wait(&r->host.changed, &r->host.lock);
    str_copy(r->id_web, sizeof(r->id_web), host_find_locked(&r->host, "web")->id);
    host_unlock(&r->host);
}

static void access_rig_close(struct access_rig *r)
{
    strbuf_fini(&r->got.body);
    loop_join(&r->loop);
    access_close(&r->access);
    host_close(&r->host);
    loop_fini(&r->loop);
}

/* KEY in a text is a new session of "viewer", TOKEN a new token; owned. */
static inline char *access_rig_fill(struct access_rig *r, const char *text)
{
    const char *word = strstr(text, "KEY") ? "KEY" : "TOKEN", *at = strstr(text, word);
    struct key_rec rec = { .kind = strcmp(word, "KEY") == 0 ? KEY_SESSION : KEY_TOKEN,
                           .role = ACCESS_ADMIN,
                           .user = xdup("viewer"),
                           .expires = access_rig_now + ACCESS_SESSION_SECONDS };
    char key[ACCESS_KEY_MAX];
    const char *id;

    if (!at) {
        free(rec.user);
        return xdup(text);
    }
    must(access_key_new(&r->access, &rec, key, &id, NULL) == 0);
    return str_new("%.*s%s%s", (int)(at - text), text, key, at + strlen(word));
}
