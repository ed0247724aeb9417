/*
 * api/routes_catalogues.c: lists of images that somebody vouches for.
 */
#include "api/routes.h"
#include "host/catalogue.h"
#include "layer/url.h"

struct catalogue_body {
    char *name, *url, *key;
};
struct signed_body {
    char *key, *text, *signature;
};
struct catalogue_view {
    char *name, *url, *key, *why;
    u64 version, fetched;
    struct field_list images;
};

/* clang-format off */
static const struct field new_fields[] = {
    FIELD_STR(catalogue_body, name, "of the catalogue here", .required = true),
    FIELD_STR(catalogue_body, url, "where it is; with .sig its signature", .required = true, .ok = url_ok, .want = "https://HOST/… or http://HOST/…"),
    FIELD_STR(catalogue_body, key, "of its signatures: ed25519, base64", .required = true, .ok = catalogue_key_ok, .want = "base64 of 32 bytes"),
    {},
};
static const struct field signed_fields[] = {
    FIELD_STR(signed_body, key, "of its signatures, when it is new: ed25519, base64", .ok = catalogue_key_ok, .want = "base64 of 32 bytes"),
    FIELD_STR(signed_body, text, "the catalogue, as it was signed", .required = true),
    FIELD_STR(signed_body, signature, "of it, base64", .required = true),
    {},
};
static const struct field view_fields[] = {
    FIELD_STR(catalogue_view, name, "of the catalogue here"),
    FIELD_STR(catalogue_view, url, "where it is fetched from"),
    FIELD_STR(catalogue_view, key, "of its signatures"),
    FIELD_STR(catalogue_view, why, "why it has no images"),
    FIELD_INT(catalogue_view, version, "of the last that came"),
    FIELD_INT(catalogue_view, fetched, "when that was, in seconds since 1970"),
    FIELD_LIST(catalogue_view, images, catalogue_image_fields, catalogue_image, CATALOGUE_IMAGES_MAX, "what it offers"),
    {},
};
/* clang-format on */

static int list_catalogues(struct api_call *c, struct err *e)
{
    json_t *list = catalogue_list(c->host, e);

    if (!list)
        return e->code;
    api_answer_list(c, list, NULL);
    return 0;
}

static int add_catalogue(struct api_call *c, struct err *e)
{
    const u64 rev = api_revision_now(c->host);
    const struct catalogue_body *b = c->body;
    const struct catalogue_rec rec = { .url = b->url, .key = b->key };
    const struct host_who who = api_asker(c);
    u64 task;
    int r = catalogue_add(c->host, b->name, &rec, &who, &task, e);

    if (r >= 0)
        api_answer_task(c, task, rev);
    return r;
}

static int update_catalogue(struct api_call *c, struct err *e)
{
    const u64 rev = api_revision_now(c->host);
    const struct host_who who = api_asker(c);
    u64 task;
    int r = catalogue_update(c->host, c->name, &who, &task, e);

    if (r >= 0)
        api_answer_task(c, task, rev);
    return r;
}

static int put_catalogue(struct api_call *c, struct err *e)
{
    const struct signed_body *b = c->body;

    return catalogue_put(c->host, c->name, b->key, b->text, b->signature, e);
}

static int remove_catalogue(struct api_call *c, struct err *e)
{
    return catalogue_remove(c->host, c->name, e);
}

/* clang-format off */
static const struct api_schema schemas[] = {
    { "Catalogue",       view_fields },
    { "CatalogueNew",    new_fields,    .size = sizeof(struct catalogue_body) },
    { "CatalogueSigned", signed_fields, .size = sizeof(struct signed_body) },
    {},
};

static const struct api_route routes[] = {
    { "GET", "/1.0/catalogues", API_VIEW, 200, NULL, 0, NULL, "Catalogue", true, list_catalogues, "List catalogues and their images" },
    { "POST", "/1.0/catalogues", API_ADMIN, 202, NULL, 0, "CatalogueNew", "TaskStarted", false, add_catalogue, "Add a catalogue that is fetched" },
    { "PUT", "/1.0/catalogues/{name}", API_ADMIN, 204, NULL, 0, "CatalogueSigned", NULL, false, put_catalogue, "Add a catalogue that is sent, or a newer version of it" },
    { "POST", "/1.0/catalogues/{name}/update", API_ADMIN, 202, NULL, 0, NULL, "TaskStarted", false, update_catalogue, "Fetch a catalogue anew" },
    { "DELETE", "/1.0/catalogues/{name}", API_ADMIN, 204, NULL, 0, NULL, NULL, false, remove_catalogue, "Remove a catalogue" },
    {},
};
/* clang-format on */

const struct api_part api_part_catalogues = { "Catalogues", routes, schemas };
