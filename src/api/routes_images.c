/*
 * api/routes_images.c: the image pool.
 */
#include "api/routes.h"

struct import_body {
    char *name;
    struct image_source source;
};
struct image_view {
    char *name, *append;
    bool initrd, disk;
    u64 created;
};

/* clang-format off */
static const struct field import_fields[] = {
    FIELD_STR(import_body, name, "of the new image", .required = true),
    FIELD_OBJ(import_body, source, image_source_fields, "files of the host that it is made of", .required = true),
    {},
};
static const struct field image_view_fields[] = {
    FIELD_STR(image_view, name, "its name"),
    FIELD_STR(image_view, append, "kernel command line of instances that have none"),
    FIELD_BOOL(image_view, initrd, "it has an initial RAM disk"),
    FIELD_BOOL(image_view, disk, "it has a disk"),
    FIELD_INT(image_view, created, "when it was made, in seconds since 1970"),
    {},
};
/* clang-format on */

static int list_images(struct api_call *c, struct err *e [[maybe_unused]])
{
    api_answer_list(c, images_list(c->host->images), NULL);
    return 0;
}

static int import_image(struct api_call *c, struct err *e)
{
    const u64 rev = api_revision_now(c->host);
    const struct import_body *b = c->body;
    const struct host_who who = { c->rq->uid };
    u64 task;
    int r = host_import(c->host, b->name, &b->source, &who, &task, e);

    if (r >= 0)
        api_answer_task(c, task, rev);
    return r;
}

static int delete_image(struct api_call *c, struct err *e)
{
    const struct host_who who = { c->rq->uid };

    return host_image_delete(c->host, c->name, &who, e);
}

/* clang-format off */
static const struct api_schema schemas[] = {
    { "Image",        image_view_fields },
    { "Import",       import_fields, .size = sizeof(struct import_body) },
    {},
};

static const struct api_route routes[] = {
    { "GET", "/1.0/images", API_VIEW, 200, NULL, 0, NULL, "Image", true, list_images, "List images by name" },
    { "POST", "/1.0/images", API_ADMIN, 202, NULL, 0, "Import", "TaskStarted", false, import_image, "Make an image of files of the host" },
    { "DELETE", "/1.0/images/{name}", API_ADMIN, 204, NULL, 0, NULL, NULL, false, delete_image, "Delete an image of which no instance was made" },
    {},
};
/* clang-format on */

const struct api_part api_part_images = { routes, schemas };
