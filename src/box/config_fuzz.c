/*
 * box/config_fuzz.c: any bytes as config.json: what is accepted prints to JSON that is accepted and prints the same.
 */
#include "box/oci.h"
#include "testlib/fuzz.h"

#include <stdlib.h>

/* One spelling of each path: what looks at "/proc" sees all that means it. */
static void check_destination(const char *path)
{
    const size_t len = strlen(path);

    must(path[0] == '/' && (len == 1 || path[len - 1] != '/'));
    must(!strstr(path, "//") && !strstr(path, "/./") && !strstr(path, "/../"));
    must(strcmp(strrchr(path, '/'), "/.") != 0 && strcmp(strrchr(path, '/'), "/..") != 0);
}

FUZZ(config)
{
    struct oci spec, again;
    struct err e = {};
    json_t *first, *second;
    char *text;

    log_set_level(LOG_LEVEL_ERROR);
    if (oci_parse(&spec, (const char *)data, size, &e) < 0) {
        must(e.code < 0 && e.text[0]);
        must(!spec.root.path && !spec.mounts.items && !spec.process.args.items);
        return;
    }
    for_each_of(const struct oci_mount, m, &spec.mounts) check_destination(m->destination);
    first = conf_print(oci_fields, &spec);
    text = json_dumps(first, JSON_COMPACT);
    must(text);
    /* Printed lists of groups and of RDMA devices are the tables', not the specification's. */
    must(conf_parse_text(oci_fields, &again, text, strlen(text), &e) == 0);
    must(oci_check(&again, &e) == 0);
    second = conf_print(oci_fields, &again);
    must(json_equal(first, second));
    free(text);
    json_decref(first);
    json_decref(second);
    oci_fini(&spec);
    oci_fini(&again);
}
