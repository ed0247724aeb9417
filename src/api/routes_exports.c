/*
 * api/routes_exports.c: disks of instances as files.
 */
#include "api/routes.h"

#include <sys/stat.h>

struct export_body {
    int format;
    bool compress;
    u32 disk;
    char *snapshot;
};
struct export_view {
    u64 number, size, created, expires;
    u32 disk;
    int format;
    bool compress;
    char *snapshot, *sha256;
};

/* clang-format off */
static const struct field new_fields[] = {
    FIELD_ENUM(export_body, format, export_words, "of the file"),
    FIELD_BOOL(export_body, compress, "qcow2: compressed clusters"),
    FIELD_INT(export_body, disk, "which of the disks that the machine writes to; 0: the first", .max = SPEC_DISKS_MAX - 1),
    FIELD_STR(export_body, snapshot, "what the disk was then; when it is missing, what it is now, as after a power cut if the machine runs"),
    {},
};
static const struct field view_fields[] = {
    FIELD_INT(export_view, number, "what it is called: that of the task which made it"),
    FIELD_ENUM(export_view, format, export_words, "of the file"),
    FIELD_BOOL(export_view, compress, "qcow2: compressed clusters"),
    FIELD_INT(export_view, disk, "which of the disks that the machine writes to; 0: the first"),
    FIELD_STR(export_view, snapshot, "what the disk was then; it is missing when it is what it was when it was asked"),
    FIELD_STR(export_view, sha256, "of the file, in hex"),
    FIELD_INT(export_view, size, "its bytes"),
    FIELD_INT(export_view, created, "when it was made, in seconds since 1970"),
    FIELD_INT(export_view, expires, "when it is removed if nobody asks for it"),
    {},
};
/* clang-format on */

static int list_exports(struct api_call *c, struct err *e)
{
    json_t *list;
    int r = export_list(c->host, c->name, &list, e);

    if (r >= 0)
        api_answer_list(c, list, NULL);
    return r;
}

static int new_export(struct api_call *c, struct err *e)
{
    const struct export_body *b = c->body;
    const struct host_action a = { .what = TASK_EXPORT,
                                   .snapshot = b->snapshot,
                                   .export = { b->format, b->compress, b->disk } };

    return api_act(c, &a, e);
}

static int get_content(struct api_call *c, struct err *e)
{
    struct export_rec rec = {};
    const int fd = export_read(c->host, c->name, c->sub, &rec, e);
    struct api_file *f;
    struct stat st;
    int r = fd < 0 ? fd : 0;

    if (r >= 0) {
        f = c->ret->gives = xnew(struct api_file);
        f->fd = fd;
        str_copy(f->etag, sizeof(f->etag), rec.sha256);
        str_fmt(f->name, sizeof(f->name), "%.63s.%s", c->name, export_words[rec.ask.format]);
        r = fstat(fd, &st) < 0 ? err_errno(e, "look at the export") : 0;
        f->size = f->end = r < 0 ? 0 : (u64)st.st_size;
    }
    conf_fini(export_fields, &rec);
    return r < 0 ? r : api_give(c, e);
}

static int delete_export(struct api_call *c, struct err *e)
{
    return export_delete(c->host, c->name, c->sub, e);
}

/* clang-format off */
static const struct api_schema schemas[] = {
    { "Export",    view_fields },
    { "ExportNew", new_fields, .size = sizeof(struct export_body) },
    {},
};

static const struct api_route routes[] = {
    { "GET", "/1.0/instances/{name}/exports", API_ADMIN, 200, NULL, 0, NULL, "Export", true, list_exports, "List its exports" },
    { "POST", "/1.0/instances/{name}/exports", API_ADMIN, 202, NULL, 0, "ExportNew", "TaskStarted", false, new_export, "Make a file of one of its disks; the task's number is what the export is called" },
    { "GET", "/1.0/instances/{name}/exports/{export}/content", API_ADMIN, 200, NULL, 0, NULL, NULL, false, get_content, "Have the file; with Range, and its SHA-256 as ETag", .bytes = true },
    { "DELETE", "/1.0/instances/{name}/exports/{export}", API_ADMIN, 204, NULL, 0, NULL, NULL, false, delete_export, "Remove an export before it expires" },
    {},
};
/* clang-format on */

const struct api_part api_part_exports = { "Exports", routes, schemas };
