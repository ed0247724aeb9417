/*
 * api/api_fuzz.c: any request is answered, by a status of ours and JSON (or a log's text); what refuses changes nothing.
 * Input: a line "METHOD PATH?QUERY", then the body.  Requests that start processes or write outside the folder are left out.
 */
#include "api/api.h"

#include "testlib/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct loop loop;
static struct host host;
static struct access users;

static char dir[] = "/tmp/socle-fuzz-XXXXXX";

static void remove_folder(void)
{
    static const char *const folders[] = { "/instances", "/images", "/cache", "" };

    for_each_row(f, folders) {
        AUTO(free) char *path = str_new("%s%s", dir, *f);

        (void)folder_remove(path, NULL);
    }
}

static void open_host(void)
{
    struct err e = {};

    must(mkdtemp(dir) && loop_init(&loop, "fuzz") == 0 && host_open(&host, dir, &loop, &e) == 0 &&
         access_open(&users, &host, &e) == 0);
    atexit(remove_folder);
    /* the loop never runs, so tasks never begin, and cancelled ones end at once */
}

/* Nothing piles up over a million runs. */
static void cancel_all(void)
{
    for (struct task *t = host.tasks; t; t = t->next)
        if (t->rec.state == TASK_WAITING)
            (void)task_cancel(&host, t->number, NULL);
}

FUZZ(api)
{
    char line[API_PATH_MAX] = "";
    const u8 *eol = memchr(data, '\n', size);
    size_t len = eol ? (size_t)(eol - data) : size;
    struct api_request rq = { .rights = API_ALL, .access = &users, .from = "fuzz" };
    struct api_answer got;
    char *path, *query;
    u64 before;

    if (!host.dir)
        open_host();
    if (len >= sizeof(line))
        return;
    memcpy(line, data, len);
    path = strchr(line, ' ');
    if (!path)
        return;
    *path++ = 0;
    query = strchr(path, '?');
    if (query)
        *query++ = 0;
    if (strcmp(path, "/1.0/backup") == 0 ||
        (str_starts(path, "/1.0/networks") && strcmp(line, "GET") != 0))
        return;
    rq.method = line;
    rq.path = path;
    rq.query = query;
    rq.body = eol ? (const char *)eol + 1 : "";
    rq.body_len = eol ? size - len - 1 : 0;
    before = store_revision(host.store);
    api_handle(&host, &rq, &got);
    must(got.status >= 200 && got.status < 600 && got.status != 500);
    must(got.status < 400 || store_revision(host.store) == before);
    if (got.body.len && strcmp(got.type, "application/json") == 0) {
        json_t *j = json_loadb(got.body.text, got.body.len, 0, NULL);

        must(j && (got.status < 400 || json_object_get(j, "error")));
        json_decref(j);
    }
    if (got.later)
        got.later->free(got.later); /* hashing takes too long here; access_test.c does it */
    free(got.relay);
    must(!got.relay_fd); /* nothing runs */
    strbuf_fini(&got.body);
    cancel_all();
}
