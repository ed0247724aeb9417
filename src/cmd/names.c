/*
 * cmd/names.c: `socle --names KIND`: what the shells' completion asks for.  It asks a socled that runs, and starts none: a key that was
 * pressed by chance must not.
 */
#include "cmd/names.h"

#include "cmd/verb.h"

#include <stdlib.h>

const struct names_kind names_kinds[] = {
    { "INSTANCES", "instances", "/1.0/instances" },
    { "IMAGES", "images", "/1.0/images" },
    { "CATALOGUES", "catalogues", "/1.0/catalogues" },
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

/* Whatever else a server says is left out: a shell takes it apart. */
static void add_all(struct verb *v, const char *path, struct strbuf *out)
{
    struct err e = {};
    json_t *list = verb_all(v, path, &e), *row;
    size_t i;

    json_array_foreach(list, i, row)
    {
        const char *name = json_string_value(json_object_get(row, "name"));

        if (name && spec_name_ok(name))
            strbuf_add(out, "%s\n", name);
    }
    json_decref(list);
}

bool names_add(const char *kind, struct strbuf *out)
{
    const char *host = getenv("SOCLE_HOST");
    struct verb v = {};
    struct err e = {};

    for (const struct names_kind *k = names_kinds; k->mark; k++) {
        if (strcmp(k->word, kind) != 0)
            continue;
        if (!host || !*host) { /* another machine is not asked at each key */
            if (rest_open_running(&v.rest, &e) >= 0)
                add_all(&v, k->path, out);
            rest_close(&v.rest);
        }
        return true;
    }
    return false;
}
