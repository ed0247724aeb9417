/*
 * host/record_fuzz.c: any text as a record that a socled of any version left: refused, or it means what it says when it is written again.
 * The first byte chooses the kind of record.
 */
#include "host/host.h"
#include "testlib/fuzz.h"

union record {
    struct instance_cfg instance;
    struct run_rec run;
    struct task_rec task;
    struct image_cfg image;
    struct base_rec base;
    struct told_rec told;
};

FUZZ(record)
{
    const struct field *const tables[] = { instance_fields(), run_fields,  task_fields,
                                           image_cfg_fields,  base_fields, told_fields };
    const struct field *fields;
    union record a = {}, b = {};
    struct err e = {};
    json_t *first, *second;

    if (size < 1)
        return;
    fields = tables[(u8)(data[0] - '0') % ARRAY_LEN(tables)];
    if (conf_parse_text(fields, &a, (const char *)data + 1, size - 1, &e) < 0) {
        must(e.text[0]);
        return;
    }
    first = conf_print(fields, &a);
    must(conf_parse(fields, &b, first, &e) == 0);
    second = conf_print(fields, &b);
    must(json_equal(first, second));
    json_decref(first);
    json_decref(second);
    conf_fini(fields, &a);
    conf_fini(fields, &b);
}
