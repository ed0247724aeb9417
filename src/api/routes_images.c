/*
 * api/routes_images.c: the image pool.
 */
#include "api/routes.h"

#include <fcntl.h>
#include <sys/stat.h>

struct import_body {
    char *name;
    struct image_source source;
};
struct image_view {
    char *name, *append, *origin;
    int kind;
    bool initrd, disk;
    u64 created, size;
};
struct content {
    char *file;
};

/* clang-format off */
static const struct field import_fields[] = {
    FIELD_STR(import_body, name, "of the new image", .required = true),
    FIELD_OBJ(import_body, source, image_source_fields, "files of the host, or uploads (`upload:ID`), that it is made of", .required = true),
    {},
};
static const struct field content_fields[] = {
    FIELD_STR(content, file, "which of its files: disk, iso, kernel, initrd; nothing: the disk or the ISO", .sdflt = ""),
    {},
};
static const struct field image_view_fields[] = {
    FIELD_STR(image_view, name, "its name"),
    FIELD_ENUM(image_view, kind, image_kinds, "what it is"),
    FIELD_STR(image_view, append, "kernel command line of instances that have none"),
    FIELD_BOOL(image_view, initrd, "it has an initial RAM disk"),
    FIELD_BOOL(image_view, disk, "it has a disk"),
    FIELD_INT(image_view, size, "bytes of its files, or of its root file system; 0: an older version made it, and did not note it"),
    FIELD_INT(image_view, created, "when it was made, in seconds since 1970"),
    FIELD_STR(image_view, origin, "where it came from: a catalogue's image, an address without its query, a file of the host; it is missing when an older version made it"),
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
    const struct host_who who = api_asker(c);
    u64 task;
    int r = host_import(c->host, b->name, &b->source, &who, &task, e);

    if (r >= 0)
        api_answer_task(c, task, rev);
    return r;
}

static int delete_image(struct api_call *c, struct err *e)
{
    const struct host_who who = api_asker(c);

    return host_image_delete(c->host, c->name, &who, e);
}

/* ---- its files ---- */

static int no_file(const struct api_call *c, const char *file, struct err *e)
{
    err_set(e, -ENOENT,
            *file ? "image '%.63s' has no file '%.20s'"
                  : "image '%.63s' has no disk and is no ISO: file=%.20s says which",
            c->name, *file ? file : "kernel");
    return err_field(e, "file");
}

/* What is not known of an image that an older version made, its file's own marks stand for. */
static int open_file(const struct api_call *c, const struct image_cfg *image, const char *name,
                     struct api_file *f, struct err *e)
{
    AUTO(free) char *path = str_new("%s/%s/%s", c->host->images, c->name, name);
    const struct image_file *known = image_file(image, name);
    struct stat st;

    f->fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (f->fd < 0 || fstat(f->fd, &st) < 0)
        return errno == ENOENT ? no_file(c, name, e) : err_errno(e, "open '%s'", path);
    f->size = f->end = (u64)st.st_size;
    if (known)
        str_copy(f->etag, sizeof(f->etag), known->sha256);
    else
        str_fmt(f->etag, sizeof(f->etag), "%llx-%llx", f->size, (u64)st.st_mtime);
    str_fmt(f->name, sizeof(f->name), "%s%s%s", c->name, strcmp(name, "disk") == 0 ? "" : ".",
            strcmp(name, "disk") == 0 ? ".qcow2" : name);
    return 0;
}

static int get_content(struct api_call *c, struct err *e)
{
    static const char *const names[] = { "disk", "iso", "kernel", "initrd" };
    const struct content *q = c->query;
    const char *name = NULL;
    struct image_cfg image = {};
    int r = images_get(c->host->images, c->name, &image, e);

    if (r < 0)
        return r;
    for_each_row(n, names)
        if (strcmp(q->file, *n) == 0)
            name = *n;
    if (!*q->file)
        name = image.disk ? "disk" : image.kind == IMAGE_ISO ? "iso" : NULL;
    if (name) {
        c->ret->gives = xnew(struct api_file);
        r = open_file(c, &image, name, c->ret->gives, e);
    } else {
        r = no_file(c, q->file, e);
    }
    conf_fini(image_cfg_fields, &image);
    return r < 0 ? r : api_give(c, e);
}

/* clang-format off */
static const struct api_schema schemas[] = {
    { "Image",        image_view_fields },
    { "Import",       import_fields, .size = sizeof(struct import_body) },
    {},
};

static const struct api_route routes[] = {
    { "GET", "/1.0/images", API_VIEW, 200, NULL, 0, NULL, "Image", true, list_images, "List images by name" },
    { "POST", "/1.0/images", API_ADMIN, 202, NULL, 0, "Import", "TaskStarted", false, import_image, "Make an image of files of the host, or of uploads" },
    { "GET", "/1.0/images/{name}/content", API_OPERATE, 200, QUERY(content), NULL, NULL, false, get_content, "Have a file of an image as it is; with Range, and its SHA-256 as ETag", .bytes = true },
    { "DELETE", "/1.0/images/{name}", API_ADMIN, 204, NULL, 0, NULL, NULL, false, delete_image, "Delete an image of which no instance was made" },
    {},
};
/* clang-format on */

const struct api_part api_part_images = { "Images", routes, schemas };
