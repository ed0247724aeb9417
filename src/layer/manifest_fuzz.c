/*
 * layer/manifest_fuzz.c: any bytes as an image's JSON: what is taken prints to JSON that is taken and prints the same, and what is
 * picked of an index is in it.
 */
#include "layer/manifest.h"

#include "layer/digest.h"
#include "testlib/fuzz.h"

#include <stdlib.h>

/* Printed, and read again by the table alone. */
static void check_again(const struct field *fields, size_t size, const void *obj)
{
    AUTO(free) void *again = xnew_n(u8, size);
    json_t *first = conf_print(fields, obj), *second;
    struct err e;

    must(conf_parse(fields, again, first, &e) == 0);
    second = conf_print(fields, again);
    must(json_equal(first, second));
    json_decref(first);
    json_decref(second);
    conf_fini(fields, again);
}

static void check_pick(const struct manifest_index *index)
{
    static const char *const tags[] = { NULL, "latest", "" };
    const struct manifest_desc *d = NULL;
    struct err e = {};

    for_each_row(tag, tags) {
        if (manifest_pick(index, *tag, &d, &e) < 0) {
            must(e.text[0]);
            continue;
        }
        must(d >= (const struct manifest_desc *)index->manifests.items &&
             d < (const struct manifest_desc *)index->manifests.items + index->manifests.n);
        must(digest_ok(d->digest));
    }
}

FUZZ(manifest)
{
    const char *text = (const char *)data;
    struct manifest_saved_list saved;
    struct manifest_config config;
    struct manifest_index index;
    struct manifest m;
    struct err e = {};

    if (manifest_index_parse(text, size, &index, &e) == 0) {
        check_again(manifest_index_fields, sizeof(index), &index);
        check_pick(&index);
        conf_fini(manifest_index_fields, &index);
    }
    if (manifest_parse(text, size, &m, &e) == 0) {
        must(m.layers.n > 0 && m.layers.n <= MANIFEST_LAYERS_MAX && digest_ok(m.config.digest));
        check_again(manifest_fields, sizeof(m), &m);
        conf_fini(manifest_fields, &m);
    }
    if (manifest_config_parse(text, size, &config, &e) == 0) {
        for (u32 i = 0; i < config.rootfs.diff_ids.n; i++)
            must(digest_ok(config.rootfs.diff_ids.items[i]));
        check_again(manifest_config_fields, sizeof(config), &config);
        conf_fini(manifest_config_fields, &config);
    }
    if (manifest_saved_parse(text, size, &saved, &e) == 0) {
        check_again(manifest_saved_list_fields, sizeof(saved), &saved);
        conf_fini(manifest_saved_list_fields, &saved);
    }
    (void)manifest_is_index(text, size);
}
