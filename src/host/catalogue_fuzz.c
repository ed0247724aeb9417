/*
 * host/catalogue_fuzz.c: hostile catalogues.  One that is accepted holds only what may be asked of a server and kept, and reads the same
 * when it was written again.
 */
#include "host/catalogue.h"

#include "layer/url.h"
#include "testlib/fuzz.h"
#include "vm/spec.h"

#include <stdlib.h>

static void check_image(const struct catalogue_image *i)
{
    must(spec_name_ok(i->name) && url_ok(i->url) && i->part);
    must(strlen(i->sha256) == IMAGE_SUM && strspn(i->sha256, "0123456789abcdef") == IMAGE_SUM);
    must(i->size <= URL_BYTES_MAX);
    must(!i->description || !strpbrk(i->description, "\n\r\t\033"));
}

FUZZ(catalogue)
{
    struct catalogue c = {}, again = {};
    struct err e = {};
    char *text;
    json_t *j;

    if (catalogue_parse((const char *)data, size, &c, &e) >= 0) {
        must(c.version >= 1 && c.images.n <= CATALOGUE_IMAGES_MAX);
        for (u32 i = 0; i < c.images.n; i++)
            check_image((struct catalogue_image *)c.images.items + i);
        j = conf_print(catalogue_fields, &c);
        text = json_dumps(j, JSON_COMPACT);
        must(text && catalogue_parse(text, strlen(text), &again, &e) >= 0);
        must(again.version == c.version && again.images.n == c.images.n);
        free(text);
        json_decref(j);
    } else {
        must(e.text[0]);
    }
    conf_fini(catalogue_fields, &c);
    conf_fini(catalogue_fields, &again);
}
