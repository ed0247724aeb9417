/*
 * vm/spec_fuzz.c: any bytes as the text of a machine: what is accepted prints to a text that means the same machine.
 */
#include "vm/spec.h"

#include "testlib/fuzz.h"

#include <stdlib.h>

FUZZ(spec)
{
    struct vm_spec s, again;
    struct err e = {};
    json_t *first, *second;
    char *text;

    if (spec_parse(&s, (const char *)data, size, &e) < 0) {
        must(e.code < 0 && e.text[0] && !s.name && !s.disks.items);
        return;
    }
    must(s.kernel && s.cpus >= 1 && s.cpus <= SPEC_CPUS_MAX);
    for (u32 i = 0; i < s.nets.n; i++)
        must((spec_net(&s, i)->kind == SPEC_NET_TAP) == !!spec_net(&s, i)->tap);
    first = conf_print(spec_fields, &s);
    text = json_dumps(first, JSON_COMPACT);
    must(text && spec_parse(&again, text, strlen(text), &e) == 0);
    second = conf_print(spec_fields, &again);
    must(json_equal(first, second));
    free(text);
    json_decref(first);
    json_decref(second);
    spec_fini(&s);
    spec_fini(&again);
}
