/*
 * cmd/names.c: `socle --names KIND`: what the shells' completion asks for.  It asks a socled that runs, and starts none: a key that was
 * pressed by chance must not.
 */
#include "cmd/names.h"

#include "cmd/rest.h"

#include <stdlib.h>

const struct names_kind names_kinds[] = {
    { "INSTANCES", "instances", "/1.0/instances" },
    { "IMAGES", "images", "/1.0/images" },
    { "NETWORKS", "networks", "/1.0/networks" },
    {},
};

const struct names_kind *names_kind_of(const char *mark)
{
    for (const struct names_kind *k = names_kinds; k->mark; k++)
        if (mark && strcmp(k->mark, mark) == 0)
            return k;
    return NULL;
}

/* Names are letters, digits, dots, dashes and underscores (spec_name_ok); whatever else a server says is left out. */
static void add_name(const char *name, struct strbuf *out)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

    if (name && *name && !name[strspn(name, allowed)])
        strbuf_add(out, "%s\n", name);
}

static void add_all(struct rest *r, const char *path, struct strbuf *out)
{
    AUTO(free) char *next = xdup(path);

    while (next) {
        const struct rest_request rq = { .method = "GET", .path = next };
        struct err e = {};
        json_t *j = rest_ask(r, &rq, NULL, &e), *list = json_object_get(j, "list"), *row;
        const char *after = json_string_value(json_object_get(j, "next"));
        size_t i;

        json_array_foreach(list, i, row)
            add_name(json_string_value(json_object_get(row, "name")), out);
        free(next);
        next = after ? str_new("%s?after=%s", path, after) : NULL;
        json_decref(j);
    }
}

bool names_add(const char *kind, struct strbuf *out)
{
    const char *host = getenv("SOCLE_HOST");
    struct rest r;
    struct err e = {};

    for (const struct names_kind *k = names_kinds; k->mark; k++) {
        if (strcmp(k->word, kind) != 0)
            continue;
        if (!host || !*host) { /* another machine is not asked at each key */
            if (rest_open_running(&r, &e) >= 0)
                add_all(&r, k->path, out);
            rest_close(&r);
        }
        return true;
    }
    return false;
}
