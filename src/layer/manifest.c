/*
 * layer/manifest.c: the tables of an image's JSON, and which manifest of an index is meant.
 */
#include "layer/manifest.h"

#include "layer/digest.h"

#include <stdlib.h>

/* clang-format off */
static const struct field platform_fields[] = {
    FIELD_STR(manifest_platform, architecture, "kind of CPU"),
    FIELD_STR(manifest_platform, os, "operating system"),
    FIELD_STR(manifest_platform, variant, "kind of that CPU"),
    {},
};
static const struct field desc_fields[] = {
    FIELD_STR(manifest_desc, mediaType, "what it is"),
    FIELD_STR(manifest_desc, digest, "its SHA-256", .required = true, .ok = digest_ok, .want = "sha256: and 64 digits of 0-9a-f"),
    FIELD_INT(manifest_desc, size, "its bytes", .required = true, .max = INT64_MAX),
    FIELD_MAP(manifest_desc, annotations, MANIFEST_WORDS_MAX, "more about it"),
    FIELD_OBJ(manifest_desc, platform, platform_fields, "what it runs on"),
    {},
};
const struct field manifest_index_fields[] = {
    FIELD_LIST(manifest_index, manifests, desc_fields, manifest_desc, MANIFEST_INDEX_MAX, "its manifests", .required = true),
    {},
};
const struct field manifest_fields[] = {
    FIELD_STR(manifest, mediaType, "what it is"),
    FIELD_OBJ(manifest, config, desc_fields, "the image's configuration", .required = true),
    FIELD_LIST(manifest, layers, desc_fields, manifest_desc, MANIFEST_LAYERS_MAX, "its layers, bottom first", .required = true),
    {},
};
const struct field manifest_run_fields[] = {
    FIELD_STRS(manifest_run, Entrypoint, MANIFEST_WORDS_MAX, "the program and its first arguments"),
    FIELD_STRS(manifest_run, Cmd, MANIFEST_WORDS_MAX, "its other arguments, which may be replaced"),
    FIELD_STRS(manifest_run, Env, MANIFEST_WORDS_MAX, "its environment, as NAME=VALUE"),
    FIELD_STR(manifest_run, WorkingDir, "where it starts"),
    FIELD_STR(manifest_run, User, "as whom: USER, UID, USER:GROUP or UID:GID"),
    FIELD_STR(manifest_run, StopSignal, "what ends it"),
    FIELD_STRS(manifest_run, ExposedPorts, MANIFEST_WORDS_MAX, "ports that it serves, as 80/tcp"),
    FIELD_STRS(manifest_run, Volumes, MANIFEST_WORDS_MAX, "directories whose content is data"),
    FIELD_MAP(manifest_run, Labels, MANIFEST_WORDS_MAX, "more about it"),
    {},
};
static const struct field rootfs_fields[] = {
    FIELD_STRS(manifest_rootfs, diff_ids, MANIFEST_LAYERS_MAX, "SHA-256 of each layer's tar, bottom first", .required = true),
    {},
};
const struct field manifest_config_fields[] = {
    FIELD_STR(manifest_config, architecture, "kind of CPU"),
    FIELD_STR(manifest_config, os, "operating system"),
    FIELD_STR(manifest_config, created, "when it was made"),
    FIELD_OBJ(manifest_config, config, manifest_run_fields, "what a container of it shall be"),
    FIELD_OBJ(manifest_config, rootfs, rootfs_fields, "its layers", .required = true),
    {},
};
static const struct field saved_fields[] = {
    FIELD_STR(manifest_saved, Config, "file of the configuration", .required = true),
    FIELD_STRS(manifest_saved, RepoTags, MANIFEST_WORDS_MAX, "its names"),
    FIELD_STRS(manifest_saved, Layers, MANIFEST_LAYERS_MAX, "files of its layers, bottom first", .required = true),
    {},
};
const struct field manifest_saved_list_fields[] = {
    FIELD_LIST(manifest_saved_list, images, saved_fields, manifest_saved, MANIFEST_INDEX_MAX, "the images", .required = true),
    {},
};
/* clang-format on */

/* {"80/tcp": {}} is a list of names. */
static json_t *names_of(const json_t *map)
{
    json_t *list = json_array(), *j = (json_t *)(uintptr_t)map;

    for (void *it = json_object_iter(j); it; it = json_object_iter_next(j, it))
        json_array_append_new(list, json_string(json_object_iter_key(it)));
    return list;
}

static json_t *known_part(const struct field *fields, const json_t *json);

static json_t *known_value(const struct field *f, const json_t *value)
{
    json_t *list;

    if (f->kind == FIELD_KIND_OBJ)
        return known_part(f->sub, value);
    if (f->kind == FIELD_KIND_STRS && json_is_object(value))
        return names_of(value);
    if (f->kind != FIELD_KIND_LIST || !json_is_array(value))
        return json_incref((json_t *)(uintptr_t)value);
    list = json_array();
    for (size_t i = 0; i < json_array_size(value); i++)
        json_array_append_new(list, known_part(f->sub, json_array_get(value, i)));
    return list;
}

/* What has a row and is not null; a new reference.  Calls go down the tables, not the text. */
static json_t *known_part(const struct field *fields, const json_t *json)
{
    json_t *part;

    if (!json_is_object(json))
        return json_incref((json_t *)(uintptr_t)json); /* the table's parser says what is wrong */
    part = json_object();
    for (const struct field *f = fields; f->name; f++) {
        const json_t *value = json_object_get(json, f->name);

        if (value && !json_is_null(value))
            json_object_set_new(part, f->name, known_value(f, value));
    }
    return part;
}

static int load(const char *text, size_t len, json_t **ret, struct err *e)
{
    if (len > MANIFEST_JSON_MAX)
        return err_set(e, -EFBIG, "it has %zu bytes: at most %d", len, MANIFEST_JSON_MAX);
    return conf_load(text, len, ret, e);
}

static int parse(const struct field *fields, void *ret, const char *text, size_t len, struct err *e)
{
    json_t *json, *known;
    int r;

    conf_defaults(fields, ret);
    conf_fini(fields, ret);
    r = load(text, len, &json, e);
    if (r < 0)
        return r;
    known = known_part(fields, json);
    r = conf_parse(fields, ret, known, e);
    json_decref(known);
    json_decref(json);
    return r;
}

int manifest_index_parse(const char *text, size_t len, struct manifest_index *ret, struct err *e)
{
    return parse(manifest_index_fields, ret, text, len, e);
}

int manifest_parse(const char *text, size_t len, struct manifest *ret, struct err *e)
{
    int r = parse(manifest_fields, ret, text, len, e);

    if (r == 0 && ret->layers.n == 0)
        r = err_set(e, -EINVAL, "it has no layers");
    if (r < 0)
        conf_fini(manifest_fields, ret);
    return r;
}

int manifest_config_parse(const char *text, size_t len, struct manifest_config *ret, struct err *e)
{
    int r = parse(manifest_config_fields, ret, text, len, e);

    for (u32 i = 0; r == 0 && i < ret->rootfs.diff_ids.n; i++)
        if (!digest_ok(ret->rootfs.diff_ids.items[i]))
            r = err_set(e, -EINVAL, "diff_id '%.80s': sha256: and 64 digits are expected",
                        ret->rootfs.diff_ids.items[i]);
    if (r < 0)
        conf_fini(manifest_config_fields, ret);
    return r;
}

int manifest_saved_parse(const char *text, size_t len, struct manifest_saved_list *ret,
                         struct err *e)
{
    json_t *list, *json, *known;
    int r;

    *ret = (struct manifest_saved_list){};
    r = load(text, len, &list, e);
    if (r < 0)
        return r;
    json = json_pack("{s:o}", "images", list);
    known = known_part(manifest_saved_list_fields, json);
    r = conf_parse(manifest_saved_list_fields, ret, known, e);
    json_decref(known);
    json_decref(json);
    return r;
}

bool manifest_is_index(const char *text, size_t len)
{
    json_t *json;
    bool is;

    if (load(text, len, &json, NULL) < 0)
        return false;
    is = json_is_array(json_object_get(json, "manifests"));
    json_decref(json);
    return is;
}

const char *manifest_annotation(const struct manifest_desc *d, const char *name)
{
    for (u32 i = 0; i < d->annotations.n; i++)
        if (strcmp(d->annotations.items[2 * i], name) == 0)
            return d->annotations.items[2 * i + 1];
    return NULL;
}

/* Says nothing of its platform, or that it is ours. */
static bool platform_ok(const struct manifest_platform *p)
{
    return (!p->architecture || strcmp(p->architecture, "amd64") == 0) &&
           (!p->os || strcmp(p->os, "linux") == 0);
}

/* "tag" names "tag", "…:tag" and itself. */
static bool has_tag(const struct manifest_desc *d, const char *tag)
{
    const char *name = manifest_annotation(d, MANIFEST_REF_NAME), *colon;

    if (!name)
        return false;
    colon = strrchr(name, ':');
    return strcmp(name, tag) == 0 || (colon && strcmp(colon + 1, tag) == 0);
}

/* One name, of which none is listed twice in a row: an index may have one for each kind of CPU. */
static void list_names(const struct manifest_index *index, struct strbuf *out)
{
    const struct manifest_desc *d = index->manifests.items;

    for (u32 i = 0; i < index->manifests.n && out->len < 120; i++) {
        const char *name = manifest_annotation(d + i, MANIFEST_REF_NAME);

        strbuf_add(out, "%s'%.60s'", out->len ? ", " : "", name ? name : d[i].digest);
    }
}

int manifest_pick(const struct manifest_index *index, const char *tag,
                  const struct manifest_desc **ret, struct err *e)
{
    const struct manifest_desc *d = index->manifests.items, *found = NULL;
    AUTO(strbuf) struct strbuf names = {};
    const char *was = NULL;

    for (u32 i = 0; i < index->manifests.n; i++) {
        const char *name = manifest_annotation(d + i, MANIFEST_REF_NAME);

        if (!platform_ok(&d[i].platform) || (tag && !has_tag(d + i, tag)))
            continue;
        if (found && !tag && name && (!was || strcmp(was, name) != 0)) {
            list_names(index, &names);
            return err_set(e, -EINVAL, "it has several images, one must be chosen by --tag: %s",
                           names.text);
        }
        if (!found)
            was = name;
        found = found ? found : d + i;
    }
    list_names(index, &names);
    if (!found)
        return err_set(e, -ENOENT, "it has no image %s%.60s%sfor linux/amd64; it has: %s",
                       tag ? "'" : "", tag ? tag : "", tag ? "' " : "",
                       names.len ? names.text : "none");
    *ret = found;
    return 0;
}
