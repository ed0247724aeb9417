/*
 * api/token_test.c: what a token may beside its role: a shell of the host; and whose a task is.
 */
#include "api/access_rig.h"
#include "testlib/test.h"

/* An admin's session has a shell of the host; a token has it when it was made for that, and no other role by any. */
TEST(access_shell_of_tokens)
{
    static const struct {
        const char *user;
        int role;
        const char *body;
        int status;
        bool shell;
    } rows[] = {
        { "admin", ACCESS_ADMIN, "{\"name\": \"t\"}", 200, false },
        { "admin", ACCESS_ADMIN, "{\"name\": \"t\", \"shell\": true}", 200, true },
        { "admin", ACCESS_ADMIN, "{\"name\": \"t\", \"shell\": true, \"role\": \"operator\"}", 400,
          false },
        { "operator", ACCESS_OPERATOR, "{\"name\": \"t\", \"shell\": true}", 200, false },
    };
    struct access_rig r;

    access_rig_open(&r, test_dir(), "shells");
    for_each_row(row, rows)
        if (!access_user(&r.access, row->user))
            CHECK_EQ(access_user_put(&r.access, row->user, &(struct user_rec){ .role = row->role },
                                     NULL),
                     0);
    for_each_row(row, rows) {
        struct access_claim claim = { .method = "GET" };
        AUTO(free) char *shown = NULL;
        struct access_who who;
        struct err e = {};
        u32 rights = 0;
        json_t *j;

        test_row(row->body);
        access_rig_as(&r, row->user, ACCESS_ADMIN);
        CHECK_EQ(access_rig_ask(&r, "POST", "/1.0/tokens", row->body), row->status);
        if (row->status != 200)
            continue;
        j = json_loads(r.got.body.text, 0, NULL);
        claim.authorization = shown =
            str_new("Bearer %s", json_string_value(json_object_get(j, "token")));
        json_decref(j);
        for (u32 n = 0; n < 2; n++) { /* the second time as the records say */
            CHECK_OK(access_identify(&r.access, &claim, &who, &rights, &e), &e);
            CHECK_EQ((rights & API_SHELL) != 0, row->shell);
            access_rig_restart(&r);
        }
    }
    access_rig_close(&r);
}

/* A task says who asked for it, and goes on saying so. */
TEST(access_owners)
{
    static const struct {
        const char *why, *method, *path, *body;
    } rows[] = {
        { "create", "POST", "/1.0/instances", "{\"name\": \"new\", \"kernel\": \"/k\"}" },
        { "action", "POST", "/1.0/instances/web/action", "{\"action\": \"start\"}" },
        { "clone", "POST", "/1.0/instances/web/clone", "{\"name\": \"two\"}" },
        { "snapshot", "POST", "/1.0/instances/web/snapshots", "{}" },
        { "import", "POST", "/1.0/images", "{\"name\": \"i\", \"source\": {\"kernel\": \"/k\"}}" },
        { "network", "POST", "/1.0/networks", "{\"name\": \"n\", \"kind\": \"user\"}" },
        { "network that goes", "DELETE", "/1.0/networks/n", "" },
        { "delete", "DELETE", "/1.0/instances/other", "" },
    };
    struct user_rec ann = { .role = ACCESS_ADMIN };
    struct access_rig r;

    access_rig_open(&r, test_dir(), "owners");
    CHECK_EQ(access_user_put(&r.access, "ann", &ann, NULL), 0);
    access_rig_as(&r, "ann", ACCESS_ADMIN);
    for_each_row(c, rows) {
        json_t *j;

        ROW(c);
        CHECK_EQ(access_rig_ask(&r, c->method, c->path, c->body), 202);
        host_lock(&r.host);
        while (r.host.tasks->rec.state <= TASK_RUNNING)
            pthread_cond_wait(&r.host.changed, &r.host.lock);
        j = task_print_locked(r.host.tasks);
        host_unlock(&r.host);
        CHECK_STR(json_string_value(json_object_get(j, "user")), "ann");
        json_decref(j);
    }
    access_rig_close(&r);
}
