/*
 * os/copy_fuzz.c: any bytes as entries of a copy: what is taken from them is what adding them again makes, and a name that is let through
 * stays below its directory, as the kernel sees it.
 */
#include "layer/beneath.h"
#include "os/files.h"
#include "testlib/fuzz.h"

#include <stdlib.h>

/* What a client asks for is read, or refused, and printed as what is read again. */
static void ask(const u8 *text, size_t len)
{
    struct os_files_ask a = {}, b = {};
    AUTO(free) char *again = NULL;
    json_t *j;

    if (conf_parse_text(os_files_fields, &a, (const char *)text, len, NULL) >= 0) {
        j = conf_print(os_files_fields, &a);
        again = json_dumps(j, JSON_COMPACT);
        must(again && conf_parse_text(os_files_fields, &b, again, strlen(again), NULL) >= 0);
        must(a.paths.n == b.paths.n && a.uid == b.uid && a.mode == b.mode && a.push == b.push);
        must(a.mode >= -1 && a.mode <= 07777);
        json_decref(j);
        conf_fini(os_files_fields, &b);
    }
    conf_fini(os_files_fields, &a);
}

FUZZ(copy)
{
    AUTO(strbuf) struct strbuf again = {};
    struct copy_entry n;

    if (size && data[0] == '{')
        ask(data, size);
    if (copy_entry_parse(data, size, &n) < 0)
        return;
    copy_entry_add(&again, &n);
    must(again.len == size && memcmp(again.text, data, size) == 0);
    must(n.mode <= 07777 && n.name[0] != '/' && n.name[0]);
    for (const char *at = n.name; at; at = strchr(at, '/')) {
        at += *at == '/';
        must(strncmp(at, "../", 3) != 0 && strcmp(at, "..") != 0 && *at);
    }
}
