/*
 * os/frame_fuzz.c: any bytes as frames of a conversation: what is taken from them is what adding them again makes, and never more than there is.
 */
#include "os/bundle.h"
#include "os/exec.h"
#include "testlib/fuzz.h"

#include <stdlib.h>

/* What a client asks for is read, or refused, and printed as what is read again. */
static void program(const u8 *text, size_t len)
{
    struct os_program a = {}, b = {};
    AUTO(free) char *again = NULL;
    json_t *j;

    if (conf_parse_text(os_program_fields, &a, (const char *)text, len, NULL) < 0)
        return;
    j = conf_print(os_program_fields, &a);
    again = json_dumps(j, JSON_COMPACT);
    must(again && conf_parse_text(os_program_fields, &b, again, strlen(again), NULL) >= 0);
    must(a.command.n == b.command.n && a.env.n == b.env.n && a.terminal == b.terminal);
    json_decref(j);
    conf_fini(os_program_fields, &a);
    conf_fini(os_program_fields, &b);
}

FUZZ(frame)
{
    size_t at = 0, part;
    const u8 *bytes;
    ssize_t n = 0;
    u8 kind;

    while (at < size && (n = os_frame_parse(data + at, size - at, &kind, &bytes, &part)) > 0) {
        AUTO(strbuf) struct strbuf again = {};

        must((size_t)n <= size - at && bytes >= data + at && bytes + part <= data + size);
        os_frame_add(&again, kind, bytes, part);
        must(again.len == (size_t)n && memcmp(again.text, data + at, again.len) == 0);
        if (kind == OS_FRAME_RUN)
            program(bytes, part);
        at += (size_t)n;
    }
    must(n <= 0 || at == size);
}
