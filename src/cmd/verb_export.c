/*
 * cmd/verb_export.c: in `socle-more`: `socle export`: a disk of an instance as a file here; `socle pool export`: a file of an image.
 */
#include "cmd/more.h"
#include "host/export.h"

#include <stdlib.h>
#include <string.h>

static const char *text_of(const json_t *j, const char *name)
{
    const char *s = json_string_value(json_object_get(j, name));

    return s ? s : "";
}

static u64 number_of(const json_t *j, const char *name)
{
    return (u64)json_integer_value(json_object_get(j, name));
}

/* What is told of a file there. */
static void take_marks(struct transfer_get *get, const json_t *j)
{
    str_copy(get->sum, sizeof(get->sum), text_of(j, "sha256"));
    get->size = number_of(j, "size");
}

/* ---- of an instance ---- */

static bool ends_with(const char *s, const char *end)
{
    const size_t n = strlen(s), m = strlen(end);

    return n > m && strcmp(s + n - m, end) == 0;
}

static enum export_format format_of(const struct verb *v)
{
    static const struct {
        const char *end;
        enum export_format format;
    } rows[] = { { ".raw", EXPORT_RAW }, { ".img", EXPORT_RAW }, { ".vmdk", EXPORT_VMDK } };

    if (v->format != VERB_FORMAT_AUTO)
        return (enum export_format)(v->format - 1);
    for_each_row(row, rows)
        if (v->args.n > 1 && ends_with(v->args.arg[1], row->end))
            return row->format;
    return EXPORT_QCOW2;
}

static char *path_of(const struct verb *v, u64 number, const char *more, struct err *e)
{
    AUTO(free) char *rest = str_new("/exports/%llu%s", number, more);

    return verb_path("instances", v->args.arg[0], rest, e);
}

/* The export of this number; 0: one of which a part is here already.  *ret_number: 0: there is none. */
static int look_up(struct verb *v, u64 number, struct transfer_get *get, u64 *ret_number,
                   struct err *e)
{
    AUTO(free) char *path = verb_path("instances", v->args.arg[0], "/exports", e);
    json_t *all = path ? verb_ask(v, "GET", path, NULL, e) : NULL, *x;
    size_t i;

    *ret_number = 0;
    json_array_foreach(json_object_get(all, "list"), i, x)
    {
        take_marks(get, x);
        if (number ? number_of(x, "number") == number : transfer_is_begun(get)) {
            *ret_number = number_of(x, "number");
            break;
        }
    }
    json_decref(all);
    return all ? 0 : e->code;
}

static int begin(struct verb *v, enum export_format format, u64 *ret_number, struct err *e)
{
    AUTO(free) char *path = verb_path("instances", v->args.arg[0], "/exports", e);
    json_t *body = json_pack("{s:s, s:b, s:i}", "format", export_words[format], "compress",
                             v->compress, "disk", (int)v->disk),
           *started = NULL;
    int r;

    if (v->snapshot)
        json_object_set_new(body, "snapshot", json_string(v->snapshot));
    started = path ? verb_ask(v, "POST", path, body, e) : NULL;
    *ret_number = number_of(started, "task");
    r = started ? rest_wait(&v->rest, started, e) : e->code;
    json_decref(body);
    json_decref(started);
    return r;
}

/* What was had is of no more use there. */
static int remove_there(struct verb *v, u64 number, struct err *e)
{
    AUTO(free) char *path = path_of(v, number, "", e);
    json_t *j = path ? verb_ask(v, "DELETE", path, NULL, e) : NULL;

    json_decref(j);
    return j ? 0 : e->code;
}

static int have(struct verb *v, struct transfer_get *get, enum export_format format, struct err *e)
{
    u64 number, made;
    int r = look_up(v, 0, get, &number, e);

    if (r >= 0 && !number) {
        r = begin(v, format, &made, e);
        if (r >= 0)
            r = look_up(v, made, get, &number, e);
        if (r >= 0 && !number)
            r = err_set(e, -ENOENT, "export %llu was removed meanwhile", made);
    }
    if (r < 0)
        return r;
    get->path = path_of(v, number, "/content", e);
    r = get->path ? transfer_download(&v->rest, get, e) : e->code;
    return r < 0 ? r : remove_there(v, number, e);
}

int verb_export(struct verb *v, struct err *e)
{
    const enum export_format format = format_of(v);
    AUTO(free) char *name = str_new("%s.%s", v->args.arg[0], export_words[format]);
    struct transfer_get get = { .file = v->args.n > 1 ? v->args.arg[1] : name, .force = v->force };
    int r = transfer_check(&get, e);

    str_fmt(get.what, sizeof(get.what), "the export of '%.60s'", v->args.arg[0]);
    if (r >= 0)
        r = have(v, &get, format, e);
    free(get.path);
    return r;
}

/* ---- of an image ---- */

/* Which file it is, and what its sum is to be. */
static int look_up_image(struct verb *v, struct transfer_get *get, struct err *e)
{
    json_t *all = verb_ask(v, "GET", "/1.0/images", NULL, e), *image, *file;
    const char *name = v->args.arg[0], *part = v->part;
    bool known = false;
    size_t i, k;

    json_array_foreach(json_object_get(all, "list"), i, image)
    {
        if (strcmp(text_of(image, "name"), name) != 0)
            continue;
        known = true;
        if (!part)
            part = strcmp(text_of(image, "kind"), "iso") == 0 ? "iso" : "disk";
        get->path = str_new("/1.0/images/%s/content?file=%s", name, part);
        json_array_foreach(json_object_get(image, "files"), k, file)
        {
            if (strcmp(text_of(file, "name"), part) == 0)
                take_marks(get, file);
        }
    }
    json_decref(all);
    if (!all)
        return e->code;
    return known ? 0 : err_set(e, -ENOENT, "there is no image '%.63s'", name);
}

int verb_pool_export(struct verb *v, struct err *e)
{
    struct transfer_get get = { .file = v->args.arg[1], .force = v->force };
    int r = transfer_check(&get, e);

    str_fmt(get.what, sizeof(get.what), "image '%.63s'", v->args.arg[0]);
    if (r >= 0)
        r = look_up_image(v, &get, e);
    if (r >= 0)
        r = transfer_download(&v->rest, &get, e);
    free(get.path);
    return r;
}
