/*
 * box/process_fuzz.c: any bytes as the process of an exec (--process): what is accepted can be run as it says, and prints to JSON that is
 * accepted and prints the same.
 */
#include "box/caps.h"
#include "testlib/fuzz.h"

#include <stdlib.h>

/* What the process and the runtime rely on without looking again. */
static void check_usable(const struct oci_process *p)
{
    struct err e = {};
    struct caps caps;
    u32 first, last;

    must(p->args.n && p->args.items[0][0] && p->cwd[0] == '/');
    must(caps_parse(&p->capabilities, &caps, &e) == 0);
    for (u32 i = 0; i < p->env.n; i++)
        must(strchr(p->env.items[i], '=') > p->env.items[i]);
    for_each_of(const struct oci_rlimit, l, &p->rlimits)
        must(l->soft <= l->hard && oci_rlimit_words[l->type]);
    for (const char *at = p->execCPUAffinity.final; at && *at;)
        must(oci_range_next(&at, &first, &last) && first <= last && last < OCI_CPUS_MAX);
}

FUZZ(process)
{
    struct oci_process p = {}, again = {};
    struct err e = {};
    json_t *one, *two;
    char *text;
    int r;

    log_set_level(LOG_LEVEL_ERROR);
    r = oci_parse_part(oci_process_fields, "process", &p, (const char *)data, size, &e);
    must(r == 0 || (e.code < 0 && e.text[0] && !p.args.items));
    if (r < 0)
        return;
    if (oci_check_process(&p, &e) == 0) {
        check_usable(&p);
        one = conf_print(oci_process_fields, &p);
        text = json_dumps(one, JSON_COMPACT);
        must(text && conf_parse_text(oci_process_fields, &again, text, strlen(text), &e) == 0);
        must(oci_check_process(&again, &e) == 0);
        two = conf_print(oci_process_fields, &again);
        must(json_equal(one, two));
        free(text);
        json_decref(one);
        json_decref(two);
    } else {
        must(e.code < 0 && e.text[0]);
    }
    conf_fini(oci_process_fields, &p);
    conf_fini(oci_process_fields, &again);
}
