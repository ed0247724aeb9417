/*
 * vm/control_fuzz.c: any bytes from a client of the control socket: every whole line is answered by one line of JSON that says
 * whether it was ok.  The machine has ended, so that no request may touch the guest that the rig does not have.
 */
#include "testlib/fuzz.h"
#include "vm/control_rig.h"

#include <stdlib.h>

/* Lines of `answers` that are an answer; aborts at one that is not. */
static u32 count_answers(const struct strbuf *answers)
{
    const char *p = answers->text;
    u32 n = 0;

    for (const char *end; p && (end = strchr(p, '\n')); p = end + 1, n++) {
        json_t *a = json_loadb(p, (size_t)(end - p), JSON_ALLOW_NUL, NULL);

        must(json_is_object(a) && json_is_boolean(json_object_get(a, "ok")));
        json_decref(a);
    }
    return n;
}

FUZZ(control)
{
    struct rig *r = rig_new();
    AUTO(strbuf) struct strbuf answers = {};
    u32 lines = 0;

    r->vm.state = RUN_ENDED;
    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\n';
    if (size < 16384 && lines < 200) { /* fits the socket's buffer */
        rig_send(r, data, size);
        for (u32 i = 0; i <= lines; i++)
            rig_turn(r, &answers);
        must(count_answers(&answers) == lines);
    }
    rig_free(r);
}
