/*
 * host/cloud_fuzz.c: any text as what cloud-init shall be told: refused, or what it is told is JSON that says just that, the same each time.
 */
#include "host/cloud.h"

#include "testlib/fuzz.h"
#include "vm/spec.h"

static void check(const struct cloud_cfg *c, const struct cloud_texts *t)
{
    json_t *meta = json_loads(t->meta_data, 0, NULL), *keys = json_object_get(meta, "public-keys");
    const char *hostname = json_string_value(json_object_get(meta, "local-hostname"));

    must(json_object_size(meta) == 3 && hostname && !strpbrk(hostname, "\n_ "));
    must(json_array_size(keys) == c->keys.n);
    for (u32 i = 0; i < c->keys.n; i++)
        must(strcmp(json_string_value(json_array_get(keys, i)),
                    ((const struct cloud_key *)c->keys.items + i)->key) == 0);
    must(t->user_data[0] && strlen(t->user_data) <= CLOUD_TEXT_MAX);
    must(strlen(t->network) <= CLOUD_TEXT_MAX);
    json_decref(meta);
}

FUZZ(cloud)
{
    struct vm_net net = { .mac = (char[]){ "52:54:00:00:00:01" } };
    const struct field_list nets = { &net, 1 };
    const struct cloud_who who = { "a_b", "01234567-89ab-cdef-0123-456789abcdef", &nets };
    struct cloud_texts one, two;
    struct cloud_cfg c = {};
    struct err e = {};

    if (conf_parse_text(cloud_fields, &c, (const char *)data, size, &e) < 0) {
        must(e.text[0]);
        return;
    }
    cloud_texts(&c, &who, &one);
    cloud_texts(&c, &who, &two);
    must(one.sum == two.sum && strcmp(one.meta_data, two.meta_data) == 0);
    check(&c, &one);
    cloud_texts_fini(&one);
    cloud_texts_fini(&two);
    conf_fini(cloud_fields, &c);
}
