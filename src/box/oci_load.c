/*
 * box/oci_load.c: from the text of config.json to structs: what JSON allows and the tables do not is settled here.
 *   (1) A member of the specification that is not applied is refused by name, unless it is empty.
 *   (2) A member that the specification does not know is named in a warning and left out ("Extensibility" there).
 *   (3) null is as good as absent.
 */
#include "box/oci.h"

#include <stdlib.h>

/* What the specification has, and this program not. */
static const struct {
    const char *where, *why;
} refused[] = {
    { "process.user.username", "it is for Windows" },
    { "process.commandLine", "it is for Windows" },
    { "linux.intelRdt", "resctrl is not supported" },
    { "linux.resources.network", "it is for cgroup v1" },
    { "linux.resources.blockIO.weightDevice.leafWeight", "it is for cgroup v1" },
    { "solaris", "this is Linux" },
    { "windows", "this is Linux" },
    { "freebsd", "this is Linux" },
    { "vm", "it is for virtual machines" },
    { "zos", "this is Linux" },
};

static bool is_empty(const json_t *j)
{
    return (json_is_string(j) && !json_string_length(j)) ||
           (json_is_array(j) && !json_array_size(j)) || (json_is_object(j) && !json_object_size(j));
}

static const struct field *field_named(const struct field *fields, const char *name)
{
    for (const struct field *f = fields; f->name; f++)
        if (strcmp(f->name, name) == 0)
            return f;
    return NULL;
}

/* An unknown member: may it be left out?  An empty linux.intelRdt asks for a class of its own already. */
static int unknown(const char *where, const json_t *value, struct err *e)
{
    for_each_row(r, refused) {
        if (strcmp(r->where, where) != 0 ||
            (is_empty(value) && strcmp(where, "linux.intelRdt") != 0))
            continue;
        err_set(e, -ENOTSUP, "field '%s' cannot be applied: %s", where, r->why);
        return -ENOTSUP;
    }
    if (!is_empty(value))
        log_warn("'%.100s' is ignored: the specification has no such field", where);
    return 0;
}

/* Objects of objects, whose names are data: {"mlx5_1": {…}} becomes [{"name": "mlx5_1", …}]. */
static const struct {
    const char *field, *member;
} named[] = { { "rdma", "name" }, { "netDevices", "host" } };

static json_t *named_list(json_t *map, const char *member)
{
    json_t *list = json_array(), *value;
    const char *name;

    json_object_foreach(map, name, value)
    {
        json_t *item = json_is_object(value) ? json_copy(value) : json_object();

        json_object_set_new(item, member, json_string(name));
        json_array_append_new(list, item);
    }
    return list;
}

/* Lists of numbers or of words; a table's list holds objects. */
static const struct {
    const char *field, *member;
} plain[] = { { "additionalGids", "gid" }, { "linux.memoryPolicy.flags", "word" } };

static json_t *object_list(const json_t *values, const char *member)
{
    json_t *list = json_array();

    for (size_t i = 0; i < json_array_size(values); i++)
        json_array_append_new(list, json_pack("{s:O}", member, json_array_get(values, i)));
    return list;
}

static int clean(const struct field *fields, json_t *json, const char *where, struct err *e);

/* Of one member that has a row.  Calls go down the tables, as conf.c's do. */
static int clean_member(const struct field *f, json_t *parent, const char *where, struct err *e)
{
    json_t *value = json_object_get(parent, f->name);
    int r = 0;

    for_each_row(n, named) {
        if (strcmp(f->name, n->field) != 0 || !json_is_object(value))
            continue;
        json_object_set_new(parent, f->name, named_list(value, n->member));
        value = json_object_get(parent, f->name);
    }
    for_each_row(p, plain) {
        if ((strcmp(f->name, p->field) != 0 && strcmp(where, p->field) != 0) ||
            !json_is_array(value))
            continue;
        json_object_set_new(parent, f->name, object_list(value, p->member));
        return 0;
    }
    if (f->kind == FIELD_KIND_OBJ)
        return clean(f->sub, value, where, e);
    for (size_t i = 0; f->kind == FIELD_KIND_LIST && i < json_array_size(value) && r == 0; i++)
        r = clean(f->sub, json_array_get(value, i), where, e);
    return r;
}

static int clean(const struct field *fields, json_t *json, const char *where, struct err *e)
{
    json_t *value;
    const char *name;
    void *next;
    int r = 0;

    if (!json_is_object(json))
        return 0; /* the table's parser says so */
    json_object_foreach_safe(json, next, name, value)
    {
        const struct field *f = field_named(fields, name);
        char path[160];

        if (json_is_null(value)) {
            json_object_del(json, name);
            continue;
        }
        str_fmt(path, sizeof(path), "%s%s%s", where, *where ? "." : "", name);
        r = f ? clean_member(f, json, path, e) : unknown(path, value, e);
        if (r < 0)
            return r;
        if (!f)
            json_object_del(json, name);
    }
    return 0;
}

/*
 * JSON numbers of ours end at 2^63, and a limit of a process may be 2^64 - 1: such a number becomes text, which the tables
 * take for 64-bit numbers.
 */
static void quote_large(const char *text, size_t len, struct strbuf *out)
{
    bool in_string = false;

    for (size_t i = 0, n; i < len; i += n) {
        n = 1;
        if (in_string && text[i] == '\\' && i + 1 < len) {
            n = 2;
        } else if (text[i] == '"') {
            in_string = !in_string;
        } else if (!in_string && text[i] >= '1' && text[i] <= '9' &&
                   (i == 0 || !strchr("0123456789.-+eE", text[i - 1]))) {
            while (i + n < len && text[i + n] >= '0' && text[i + n] <= '9')
                n++;
            if (n >= 19 && (i + n == len || !strchr(".eE", text[i + n]))) {
                strbuf_add(out, "\"%.*s\"", (int)min(n, (size_t)64), text + i);
                continue;
            }
        }
        strbuf_add_mem(out, text + i, n);
    }
}

int oci_parse_part(const struct field *fields, const char *where, void *ret, const char *text,
                   size_t len, struct err *e)
{
    AUTO(strbuf) struct strbuf quoted = {};
    json_t *json = NULL;
    int r;

    conf_defaults(fields, ret);
    conf_fini(fields, ret);
    if (len > OCI_TEXT_MAX)
        return err_set(e, -EINVAL, "%zu bytes of JSON; at most %d are allowed", len, OCI_TEXT_MAX);
    quote_large(text, len, &quoted);
    r = conf_load(quoted.len ? quoted.text : "", quoted.len, &json, e);
    if (r == 0)
        r = clean(fields, json, where, e);
    if (r == 0)
        r = conf_parse(fields, ret, json, e);
    json_decref(json);
    return r;
}

void oci_fini(struct oci *spec)
{
    conf_fini(oci_fields, spec);
}

bool oci_follows(const struct oci *spec, unsigned minor)
{
    const char *s = spec->ociVersion + strlen("1.");
    char digits[8] = "";
    u64 have = 0;

    str_fmt(digits, sizeof(digits), "%.*s", (int)min(strspn(s, "0123456789"), (size_t)7), s);
    return str_u64(digits, &have) == 0 && have >= minor;
}

/*
 * A destination is below "/" whether it says so or not, and "/proc" in any spelling: what looks at names later knows one.  ".." is
 * resolved by the names, as others do.
 */
static void clean_path(char **path)
{
    AUTO(free) char *old = *path;
    char *rest = old, *word, *to;

    if (!*old)
        (void)TAKE(old);
    if (!old)
        return;
    *path = to = xnew_n(char, strlen(old) + 2);
    while ((word = strsep(&rest, "/"))) {
        if (!*word || strcmp(word, ".") == 0)
            continue;
        if (strcmp(word, "..") == 0) {
            while (to > *path && *--to != '/')
                ;
            *to = 0;
            continue;
        }
        *to++ = '/';
        memcpy(to, word, strlen(word));
        to += strlen(word);
        *to = 0;
    }
    if (to == *path)
        str_copy(*path, 2, "/");
}

int oci_parse(struct oci *spec, const char *text, size_t len, struct err *e)
{
    int r = oci_parse_part(oci_fields, "", spec, text, len, e);

    if (r == 0) {
        for_each_of(struct oci_mount, m, &spec->mounts) clean_path(&m->destination);
        if (!oci_follows(spec, 3) && spec->os.resources.pids.limit == 0)
            spec->os.resources.pids.limit = BOX_UNSET;
        r = oci_check(spec, e);
    }
    if (r < 0)
        oci_fini(spec);
    return r;
}

const struct oci_namespace *oci_ns(const struct oci *spec, enum oci_ns type)
{
    for_each_of(const struct oci_namespace, n,
                &spec->os.namespaces) if (n->type == (int)type) return n;
    return NULL;
}
