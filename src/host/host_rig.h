/*
 * host/host_rig.h: for tests: a folder with a host whose loop runs on a thread, as socled's does.
 */
#pragma once

#include "host/host.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

struct rig {
    char *dir;
    struct loop loop;
    struct host host;
};

static inline void rig_open(struct rig *r, const char *folder, const char *name)
{
    struct err e = {};

    *r = (struct rig){ .dir = str_new("%s/%s", folder, name) };
    must(loop_init(&r->loop, "test") == 0);
    must(host_open(&r->host, r->dir, &r->loop, &e) >= 0);
    must(loop_start(&r->loop) == 0);
}

static inline void rig_close(struct rig *r)
{
    loop_join(&r->loop);
    host_close(&r->host);
    loop_fini(&r->loop);
    free(r->dir);
}

/* Until a task is done; its state. */
static inline int rig_wait(struct rig *r, u64 number)
{
    struct host *h = &r->host;
    const struct task *t;
    int state;

    host_lock(h);
    while ((t = task_find_locked(h, number)) && t->rec.state <= TASK_RUNNING)
        pthread_cond_wait(&h->changed, &h->lock);
    state = t ? t->rec.state : -1;
    if (state == TASK_FAILED)
        log_notice("task %llu: %s", number, t->rec.error);
    host_unlock(h);
    return state;
}

static inline int rig_create(struct rig *r, const char *text, u64 *ret_task, struct err *e)
{
    const struct host_who who = { 0 };
    json_t *j = json_loads(text, 0, NULL);
    struct instance_cfg cfg = {};
    int code;

    must(j);
    code = instance_parse(&cfg, j, e);
    json_decref(j);
    if (code >= 0)
        code = host_create(&r->host, &cfg, &who, ret_task, e);
    instance_cfg_fini(&cfg);
    return code;
}

static inline void rig_make(struct rig *r, const char *name)
{
    AUTO(free) char *text = str_new("{\"name\": \"%s\", \"kernel\": \"/k\"}", name);
    struct err e = {};
    u64 task;

    must(rig_create(r, text, &task, &e) >= 0);
    must(rig_wait(r, task) == TASK_DONE);
}

static inline int rig_act(struct rig *r, const char *name, int what, u64 *ret_task, struct err *e)
{
    const struct host_action a = { .what = what };
    const struct host_who who = { 0 };

    return host_act(&r->host, name, &a, &who, ret_task, e);
}

static inline u64 rig_rev(struct rig *r, const char *name)
{
    const struct instance *i;
    u64 rev;

    host_lock(&r->host);
    i = host_find_locked(&r->host, name);
    rev = i ? i->rev : 0;
    host_unlock(&r->host);
    return rev;
}

static inline int rig_edit(struct rig *r, const char *name, const char *changes, u64 rev,
                           struct err *e)
{
    json_t *j = json_loads(changes, 0, NULL);
    bool restart;
    int code = host_edit(&r->host, name, j, rev, &restart, e);

    json_decref(j);
    return code;
}

static inline bool rig_exists(const char *dir, const char *name)
{
    AUTO(free) char *path = str_new("%s/%s", dir, name);

    return access(path, F_OK) == 0;
}

static inline void rig_write(const char *dir, const char *name, const char *text)
{
    AUTO(free) char *path = str_new("%s/%s", dir, name);
    AUTO(fd) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    must(fd_write_all(fd, text, strlen(text)) == 0);
}

/* Puts a record as a socled that was killed could have left it. */
static inline void rig_put(const char *dir, const char *key, const char *value)
{
    AUTO(free) char *path = str_new("%s/records.db", dir);
    struct store_txn t = {};
    struct store *s;
    struct err e = {};

    must(store_open(path, &s, &e) >= 0);
    store_txn_put(&t, key, value);
    must(store_txn(s, &t, NULL, &e) >= 0);
    store_close(s);
}
