/*
 * disk/vmdk_text.c: the descriptor of a vmdk: lines of NAME=VALUE, and a line an extent:
 *     ACCESS SECTORS TYPE ["FILE" [SECTOR]]
 * Only what decides which bytes the disk has is looked at.
 */
#include "disk/vmdk.h"

#include <ctype.h>
#include <stdlib.h>

/* The next line, its end cut off; NULL: no more. */
static char *next_line(char **text, char *end)
{
    char *line = *text, *p = line;

    if (line >= end || *line == 0)
        return NULL;
    while (p < end && *p && *p != '\n' && *p != '\r')
        p++;
    *text = p < end ? p + 1 : end;
    *p = 0; /* at `end` there is room for it */
    return line;
}

static char *skip_blanks(char *p)
{
    while (*p == ' ' || *p == '\t')
        p++;
    return p;
}

/* The next word, or what stands between quotes; NULL: no more. */
static char *next_word(char **line)
{
    char *p = skip_blanks(*line), *word = p;
    bool quoted = *p == '"';

    if (*p == 0)
        return NULL;
    if (quoted)
        word = ++p;
    while (*p && (quoted ? *p != '"' : *p != ' ' && *p != '\t'))
        p++;
    *line = *p ? p + 1 : p;
    *p = 0;
    return word;
}

static bool sectors(const char *word, u64 *ret)
{
    return word && str_u64(word, ret) == 0 && *ret <= INT64_MAX / 512;
}

/* Extents are looked for beside the descriptor only: an image may not choose files elsewhere on its reader's host. */
static int take_name(struct vmdk_extent *x, const char *name, struct err *e)
{
    if (!name || !*name)
        return err_set(e, -EBADMSG, "an extent without a file");
    if (strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return err_set(e, -ENOTSUP,
                       "extent '%.60s' is a path; extents are looked for beside the descriptor",
                       name);
    if (!str_copy(x->name, sizeof(x->name), name))
        return err_set(e, -EBADMSG, "an extent's name of more than %d bytes", VMDK_NAME_MAX);
    return 0;
}

/* Room for one more; NULL: there are too many. */
static struct vmdk_extent *new_extent(struct vmdk_text *t)
{
    struct vmdk_extent *more;

    if (t->n == VMDK_EXTENTS_MAX)
        return NULL;
    if (t->n == t->room) {
        t->room = t->room ? 2 * t->room : 8;
        more = xnew_n(struct vmdk_extent, t->room);
        if (t->n)
            memcpy(more, t->extents, t->n * sizeof(*more));
        free(t->extents);
        t->extents = more;
    }
    return &t->extents[t->n];
}

static int take_extent(struct vmdk_text *t, const char *access, char *line, struct err *e)
{
    static const struct {
        const char *word;
        enum vmdk_extent_kind kind;
    } types[] = { { "FLAT", VMDK_FLAT },
                  { "VMFS", VMDK_FLAT },
                  { "SPARSE", VMDK_SPARSE },
                  { "ZERO", VMDK_ZERO } };
    struct vmdk_extent *x = new_extent(t);
    const char *len = next_word(&line), *type = next_word(&line), *name = next_word(&line);
    const char *at = next_word(&line);
    bool known = false;
    int r = 0;

    if (!x)
        return err_set(e, -EFBIG, "more than %d extents", VMDK_EXTENTS_MAX);
    if (strcmp(access, "NOACCESS") == 0)
        return err_set(e, -ENOTSUP, "extent %u may not be read, its descriptor says", t->n);
    if (!sectors(len, &x->len) || x->len == 0 || !type)
        return err_set(e, -EBADMSG,
                       "extent %u is '%s %.40s'; a number of sectors and a type are "
                       "expected",
                       t->n, access, len ? len : "");
    x->len *= 512;
    for_each_row(k, types) {
        if (strcmp(k->word, type) != 0)
            continue;
        x->kind = k->kind;
        known = true;
    }
    if (!known)
        return err_set(e, -ENOTSUP,
                       "extent %u is of type '%.20s'; FLAT, VMFS, SPARSE and ZERO are "
                       "known",
                       t->n, type);
    if (x->kind != VMDK_ZERO)
        r = take_name(x, name, e);
    if (r == 0 && x->kind == VMDK_FLAT && at) {
        if (!sectors(at, &x->at))
            return err_set(e, -EBADMSG, "extent %u begins at '%.40s'", t->n, at);
        x->at *= 512;
    }
    t->n++;
    return r;
}

static int take_value(struct vmdk_text *t, char *line, struct err *e)
{
    char *eq = strchr(line, '='), *value, *name;

    if (!eq)
        return 0;
    *eq++ = 0;
    name = next_word(&line);
    value = next_word(&eq);
    if (!name || !value)
        return 0;
    if (strcasecmp(name, "createType") == 0 && !str_copy(t->type, sizeof(t->type), value))
        return err_set(e, -ENOTSUP, "createType '%.60s' is not known", value);
    if (strcasecmp(name, "parentCID") == 0 && strcasecmp(value, "ffffffff") != 0)
        return err_set(e, -ENOTSUP,
                       "it holds only what was changed since a snapshot (parentCID is %.8s): "
                       "consolidate it first",
                       value);
    return 0;
}

int vmdk_text_parse(char *text, size_t len, struct vmdk_text *ret, struct err *e)
{
    static const char *const access[] = { "RW", "RDONLY", "NOACCESS" };
    char *end = text + len - 1, *line;
    int r = 0;

    must(len > 0);
    *ret = (struct vmdk_text){};
    *end = 0;
    while (r == 0 && (line = next_line(&text, end))) {
        char *rest = skip_blanks(line), *word;
        bool extent = false;

        if (*rest == '#' || *rest == 0)
            continue;
        for_each_row(a, access)
            if (str_starts(rest, *a) && isblank((unsigned char)rest[strlen(*a)]))
                extent = true;
        if (!extent) {
            r = take_value(ret, rest, e);
            continue;
        }
        word = next_word(&rest);
        r = take_extent(ret, word, rest, e);
    }
    return r;
}

void vmdk_text_fini(struct vmdk_text *t)
{
    free(t->extents);
    *t = (struct vmdk_text){};
}
