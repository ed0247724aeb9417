/*
 * host/tree_fuzz.c: any text as a catalogue of snapshots: what is taken is a tree, whose files are beside its disks, and is printed and read again.
 */
#include "host/tree.h"

#include "testlib/fuzz.h"

#include <stdlib.h>

static bool take(struct tree *t, const char *text, size_t len)
{
    struct err e = {};
    int r = conf_parse_text(tree_fields, t, text, len, &e);

    if (r == 0)
        r = tree_check(t, &e);
    must(r == 0 || (r < 0 && e.text[0]));
    return r == 0;
}

FUZZ(tree)
{
    struct tree t = {}, again = {};

    if (take(&t, (const char *)data, size)) {
        json_t *j = conf_print(tree_fields, &t);
        AUTO(free) char *text = json_dumps(j, 0);

        json_decref(j);
        must(text && take(&again, text, strlen(text)));
        must(again.nodes.n == t.nodes.n && again.current == t.current);
        for (u32 i = 0; i < t.nodes.n; i++) {
            const struct tree_node *n = tree_node(&t, i);

            must(n->images.n == t.disks.n && n->parent < n->id);
            for (u32 k = 0; k < n->images.n; k++)
                must(!strchr(tree_image(n, k)->file, '/'));
        }
    }
    conf_fini(tree_fields, &t);
    conf_fini(tree_fields, &again);
}
