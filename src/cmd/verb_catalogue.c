/*
 * cmd/verb_catalogue.c: `socle catalogue …`.
 */
#include "cmd/verb.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

enum { TEXT_MAX = 64 * 1024, SMALL_MAX = 4096 };

/* A small file as text; its last line feed is left out when `line`. */
static int read_text(const char *path, size_t max, bool line, char **ret, struct err *e)
{
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    AUTO(free) char *bytes = NULL;
    size_t len = 0;
    int r = fd < 0 ? -errno : fd_read_whole(fd, max, &bytes, &len);

    if (r == -EFBIG)
        return err_set(e, r, "'%s' must have 1 to %zu bytes", path, max);
    if (r < 0)
        return err_code(e, r, "read '%s'", path);
    *ret = str_new("%.*s", (int)len, bytes);
    if (line)
        (*ret)[strcspn(*ret, "\r\n")] = 0;
    return 0;
}

static bool is_url(const char *text)
{
    return str_starts(text, "https://") || str_starts(text, "http://");
}

/* --key itself, or what is in the file of that name; NULL: it is not given. */
static int take_key(const struct verb *v, char **ret, struct err *e)
{
    *ret = NULL;
    if (!v->key)
        return 0;
    if (access(v->key, R_OK) == 0)
        return read_text(v->key, SMALL_MAX, true, ret, e);
    *ret = xdup(v->key);
    return 0;
}

static int send_file(struct verb *v, const char *file, const char *key, struct err *e)
{
    AUTO(free) char *beside = str_new("%s.sig", file), *text = NULL, *signature = NULL;
    AUTO(free) char *path = verb_path("catalogues", v->args.arg[0], "", e);
    json_t *body, *j;
    int r = path ? read_text(file, TEXT_MAX, false, &text, e) : e->code;

    if (r >= 0)
        r = read_text(beside, SMALL_MAX, true, &signature, e);
    if (r < 0)
        return r;
    body = json_pack("{s:s, s:s, s:s*}", "text", text, "signature", signature, "key", key);
    if (!body)
        return err_set(e, -EINVAL, "'%s' is not UTF-8", file);
    j = verb_ask(v, "PUT", path, body, e);
    json_decref(body);
    json_decref(j);
    return j ? 0 : e->code;
}

int verb_catalogue_add(struct verb *v, struct err *e)
{
    AUTO(free) char *key = NULL;
    const char *where = v->args.arg[1];
    json_t *body;
    int r = take_key(v, &key, e);

    if (r >= 0 && !key)
        r = err_set(e, -EINVAL, "--key KEY is missing: whose signatures are believed");
    if (r < 0)
        return r;
    if (!is_url(where))
        return send_file(v, where, key, e);
    body = json_pack("{s:s, s:s, s:s}", "name", v->args.arg[0], "url", where, "key", key);
    if (!body)
        return err_set(e, -EINVAL, "what is given is not UTF-8");
    r = verb_task(v, "POST", "/1.0/catalogues", body, e);
    json_decref(body);
    return r;
}

int verb_catalogue_update(struct verb *v, struct err *e)
{
    AUTO(free) char *path = verb_path("catalogues", v->args.arg[0], "/update", e);

    if (v->args.n > 1)
        return send_file(v, v->args.arg[1], NULL, e);
    return path ? verb_task(v, "POST", path, NULL, e) : e->code;
}

/* A row for each image, and for a catalogue that has none. */
static json_t *rows_of(const json_t *catalogues)
{
    json_t *rows = json_array();
    const json_t *c;
    json_t *image;
    size_t i, k;

    json_array_foreach(catalogues, i, c)
    {
        const json_t *images = json_object_get(c, "images");

        json_array_foreach(images, k, image)
        {
            json_t *row = json_copy(image);

            json_object_set(row, "catalogue", json_object_get(c, "name"));
            json_array_append_new(rows, row);
        }
        if (!json_array_size(images))
            json_array_append_new(rows,
                                  json_pack("{s:O, s:O*}", "catalogue", json_object_get(c, "name"),
                                            "description", json_object_get(c, "why")));
    }
    return rows;
}

int verb_catalogues(struct verb *v, struct err *e)
{
    static const struct column columns[] = {
        { "CATALOGUE", "catalogue", NULL }, { "IMAGE", "name", NULL },
        { "VERSION", "version", NULL },     { "PART", "part", NULL },
        { "SIZE", "size", NULL },           { "DESCRIPTION", "description", NULL },
    };
    json_t *list = verb_all(v, "/1.0/catalogues", e), *rows;

    if (!list)
        return e->code;
    rows = v->output == VERB_TABLE ? rows_of(list) : json_incref(list);
    verb_print_rows(v, rows, columns, ARRAY_LEN(columns));
    json_decref(rows);
    json_decref(list);
    return 0;
}
