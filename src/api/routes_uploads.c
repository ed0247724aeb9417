/*
 * api/routes_uploads.c: files that clients send in pieces, of which images are then made.
 */
#include "api/routes.h"
#include "host/upload.h"
#include "layer/digest.h"

#include <stdlib.h>
#include <unistd.h>

struct upload_body {
    char *name, *sha256;
    u64 size;
};
struct sum_body {
    char *sha256;
};
struct offset {
    u64 offset;
};
struct upload_view {
    char *id, *name, *sha256;
    u64 size, received, created, expires, uid;
};

/* clang-format off */
static const struct field new_fields[] = {
    FIELD_STR(upload_body, name, "of the file where it comes from: for people", .required = true, .ok = upload_name_ok,
              .want = "1 to 255 bytes without '/' and '\\', no '.' first"),
    FIELD_INT(upload_body, size, "its bytes", .required = true, .min = 1, .max = UPLOAD_SIZE_MAX),
    FIELD_STR(upload_body, sha256, "of all of it, in hex; it may be told later", .ok = digest_hex_ok, .want = "64 digits 0-9a-f"),
    {},
};
static const struct field sum_fields[] = {
    FIELD_STR(sum_body, sha256, "of all of it, in hex", .required = true, .ok = digest_hex_ok, .want = "64 digits 0-9a-f"),
    {},
};
static const struct field offset_fields[] = {
    FIELD_INT(offset, offset, "how much has come before: what is sent follows it", .max = UPLOAD_SIZE_MAX),
    {},
};
static const struct field upload_view_fields[] = {
    FIELD_STR(upload_view, id, "what it is called: `upload:ID` in place of a file of the host"),
    FIELD_STR(upload_view, name, "of the file where it comes from"),
    FIELD_INT(upload_view, size, "its bytes"),
    FIELD_INT(upload_view, received, "how many have come"),
    FIELD_STR(upload_view, sha256, "of all of it"),
    FIELD_INT(upload_view, created, "when it was begun, in seconds since 1970"),
    FIELD_INT(upload_view, expires, "when it is removed if no more comes"),
    FIELD_INT(upload_view, uid, "the user who began it"),
    {},
};
/* clang-format on */

static int new_upload(struct api_call *c, struct err *e)
{
    const struct upload_body *b = c->body;
    const struct upload_rec rec = { b->name, b->sha256, b->size, c->rq->uid, 0 };
    json_t *j;
    int r = upload_new(c->host, &rec, &j, e);

    if (r >= 0)
        api_answer_json(c, j);
    return r;
}

static int list_uploads(struct api_call *c, struct err *e [[maybe_unused]])
{
    json_t *list = json_array();

    host_lock(c->host);
    for (const struct upload *u = c->host->uploads; u; u = u->next)
        json_array_append_new(list, upload_print_locked(u));
    host_unlock(c->host);
    api_answer_list(c, list, NULL);
    return 0;
}

static json_t *shown(struct host *h, const char *id, struct err *e)
{
    const struct upload *u;
    json_t *j = NULL;

    host_lock(h);
    u = upload_find_locked(h, id, e);
    if (u)
        j = upload_print_locked(u);
    host_unlock(h);
    return j;
}

static int get_upload(struct api_call *c, struct err *e)
{
    json_t *j = shown(c->host, c->name, e);

    if (!j)
        return -ENOENT;
    api_answer_json(c, j);
    return 0;
}

static int edit_upload(struct api_call *c, struct err *e)
{
    const struct sum_body *b = c->body;

    return upload_set_sum(c->host, c->name, b->sha256, e);
}

static int delete_upload(struct api_call *c, struct err *e)
{
    return upload_delete(c->host, c->name, e);
}

/* ---- its bytes ---- */

static void on_wrote(struct host *h, const struct api_file *f, u64 at)
{
    upload_wrote(h, f->upload, at);
}

static void on_done(struct host *h, const struct api_file *f, int error, struct api_answer *ret)
{
    struct err e = {};
    json_t *j;
    char *text;

    upload_end(h, f->upload);
    if (!ret)
        return;
    j = error < 0 ? NULL : shown(h, f->upload, &e);
    if (error < 0)
        err_code(&e, error, "write the upload");
    if (!j) {
        api_error(ret, error == -ENOSPC ? 507 : 500, error == -ENOSPC ? "no_space" : "failed", &e);
        return;
    }
    text = json_dumps(j, JSON_COMPACT);
    json_decref(j);
    *ret = (struct api_answer){ .status = 200, .type = "application/json" };
    strbuf_add(&ret->body, "%s\n", text);
    free(text);
}

static int put_bytes(struct api_call *c, struct err *e)
{
    const struct offset *q = c->query;
    const int fd = upload_begin(c->host, c->name, q->offset, c->rq->bytes, e);
    struct api_file *f;

    if (fd < 0)
        return fd;
    f = c->ret->takes = xnew(struct api_file);
    *f = (struct api_file){ .fd = fd,
                            .at = q->offset,
                            .end = q->offset + c->rq->bytes,
                            .wrote = on_wrote,
                            .done = on_done };
    str_copy(f->upload, sizeof(f->upload), c->name);
    return 0;
}

/* clang-format off */
static const struct api_schema schemas[] = {
    { "Upload",       upload_view_fields },
    { "UploadNew",    new_fields, .size = sizeof(struct upload_body) },
    { "UploadSum",    sum_fields, .size = sizeof(struct sum_body) },
    {},
};

static const struct api_route routes[] = {
    { "GET", "/1.0/uploads", API_ADMIN, 200, NULL, 0, NULL, "Upload", true, list_uploads, "List uploads that no image was made of yet" },
    { "POST", "/1.0/uploads", API_ADMIN, 201, NULL, 0, "UploadNew", "Upload", false, new_upload, "Begin an upload: its room is taken" },
    { "GET", "/1.0/uploads/{id}", API_ADMIN, 200, NULL, 0, NULL, "Upload", false, get_upload, "Show an upload, and how much of it has come" },
    { "PATCH", "/1.0/uploads/{id}", API_ADMIN, 204, NULL, 0, "UploadSum", NULL, false, edit_upload, "Tell the SHA-256 that was not known when it was begun" },
    { "PUT", "/1.0/uploads/{id}", API_ADMIN, 200, QUERY(offset), NULL, "Upload", false, put_bytes, "Send the next bytes, any number of them", .bytes = true },
    { "DELETE", "/1.0/uploads/{id}", API_ADMIN, 204, NULL, 0, NULL, NULL, false, delete_upload, "Give an upload up" },
    {},
};
/* clang-format on */

const struct api_part api_part_uploads = { "Uploads", routes, schemas };
