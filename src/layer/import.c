/*
 * layer/import.c: from an image's index to its layers.
 */
#include "layer/import.h"

#include <stdlib.h>

/* clang-format off */
static const struct field layer_fields[] = {
    FIELD_STR(import_layer, name, "its directory in the pool"),
    FIELD_INT(import_layer, entries, "files, directories and links in it"),
    FIELD_INT(import_layer, bytes, "of its files"),
    FIELD_INT(import_layer, left_out, "devices and sockets that it does not have"),
    FIELD_INT(import_layer, xattrs_left_out, "extended attributes that it does not have"),
    FIELD_BOOL(import_layer, reused, "the pool had it"),
    {},
};
const struct field import_image_fields[] = {
    FIELD_ENUM(import_image, kind, source_words, "what it came in"),
    FIELD_STR(import_image, tag, "its name where it came from"),
    FIELD_STR(import_image, digest, "of its manifest"),
    FIELD_STR(import_image, id, "digest of its configuration"),
    FIELD_STR(import_image, architecture, "kind of CPU"),
    FIELD_STR(import_image, os, "operating system"),
    FIELD_STR(import_image, created, "when it was made"),
    FIELD_OBJ(import_image, config, manifest_run_fields, "what a container of it shall be"),
    FIELD_LIST(import_image, layers, layer_fields, import_layer, MANIFEST_LAYERS_MAX, "bottom first"),
    FIELD_INT(import_image, bytes, "of the files of all layers"),
    FIELD_BOOL(import_image, single_id, "all files have one owner: there were no other ids"),
    FIELD_BOOL(import_image, user_xattr, "its layers want to be mounted with userxattr"),
    {},
};
/* clang-format on */

/* One image of a source: what leads from its manifest to its layers. */
struct import {
    const struct import_cfg *cfg;
    struct source *source;
    struct watch *watch;
    struct import_image *image;
    struct manifest_config config;
    struct import_want wants[MANIFEST_LAYERS_MAX];
    u32 n;
};

static void blob_name(const char *digest, char ret[128])
{
    str_fmt(ret, 128, "blobs/sha256/%s", digest_hex(digest));
}

static int read_config(struct import *im, const struct import_want *want, struct err *e)
{
    AUTO(strbuf) struct strbuf text = {};
    struct manifest_config *c = &im->config;
    int r = import_text(im->source, want, &text, e);

    if (r == 0)
        r = manifest_config_parse(text.text ? text.text : "", text.len, c, e);
    if (r < 0)
        return err_wrap(e, "the image's configuration");
    if (!c->architecture || !c->os || strcmp(c->architecture, "amd64") != 0 ||
        strcmp(c->os, "linux") != 0)
        return err_set(e, -ENOTSUP, "the image is for %.40s/%.40s, and this is linux/amd64",
                       c->os ? c->os : "?", c->architecture ? c->architecture : "?");
    if (c->rootfs.diff_ids.n != im->n || !im->n)
        return err_set(e, -EBADMSG, "the image has %u layers, and its configuration tells of %u",
                       im->n, c->rootfs.diff_ids.n);
    for (u32 i = 0; i < im->n; i++)
        im->wants[i].diff_id = c->rootfs.diff_ids.items[i];
    return 0;
}

/* Does the same layer stand further up, too? */
static bool stands_above(const struct import *im, u32 i)
{
    for (u32 k = i + 1; k < im->n; k++)
        if (strcmp(im->wants[i].diff_id, im->wants[k].diff_id) == 0)
            return true;
    return false;
}

static int add_layer(struct import *im, const struct import_want *want, struct err *e)
{
    const struct field *f =
        conf_field_at(import_image_fields, offsetof(struct import_image, layers));
    struct import_layer *l = conf_list_add(f, im->image);
    int r;

    must(l);
    r = import_layer(im->cfg, im->source, want, im->watch, l, e);
    im->image->bytes += l->bytes;
    return r;
}

static int add_layers(struct import *im, struct err *e)
{
    for (u32 i = 0; im->watch && i < im->n; i++)
        im->watch->total += im->wants[i].size == UINT64_MAX ? 0 : im->wants[i].size;
    for (u32 i = 0; i < im->n; i++) {
        const struct import_want *want = im->wants + i;

        if (stands_above(im, i)) {
            (void)watch_step(im->watch, want->size == UINT64_MAX ? 0 : want->size, e);
            continue;
        }
        if (add_layer(im, want, e) < 0)
            return err_wrap(e, "layer %u of %u, %.19s…", i + 1, im->n, want->diff_id);
    }
    return 0;
}

/* What is told of the image, out of its configuration, which loses it. */
static void tell_config(struct import *im)
{
    im->image->architecture = TAKE(im->config.architecture);
    im->image->os = TAKE(im->config.os);
    im->image->created = TAKE(im->config.created);
    conf_copy(manifest_run_fields, &im->image->config, &im->config.config);
}

static int layers_of(struct import *im, const struct manifest *m, struct err *e)
{
    const struct manifest_desc *d = m->layers.items;
    char names[MANIFEST_LAYERS_MAX][128], config[128];
    struct import_want want = { .file = config,
                                .digest = m->config.digest,
                                .size = m->config.size };
    int r;

    im->n = m->layers.n;
    for (u32 i = 0; i < im->n; i++) {
        blob_name(d[i].digest, names[i]);
        im->wants[i] = (struct import_want){ names[i], d[i].digest, NULL, d[i].size };
    }
    blob_name(m->config.digest, config);
    r = read_config(im, &want, e);
    if (r < 0)
        return r;
    im->image->id = xdup(m->config.digest);
    tell_config(im);
    return add_layers(im, e);
}

/* The text of a manifest or an index. */
static int read_desc(struct import *im, const struct manifest_desc *d, struct strbuf *ret,
                     struct err *e)
{
    char name[128];
    struct import_want want = { .file = name, .digest = d->digest, .size = d->size };

    blob_name(d->digest, name);
    ret->len = 0;
    return import_text(im->source, &want, ret, e);
}

/* From an index, through those that it has, to a manifest; `text` is the index's, then the manifest's. */
static int find_manifest(struct import *im, struct strbuf *text, struct err *e)
{
    const char *tag = im->cfg->tag;

    for (unsigned depth = 0; depth < MANIFEST_NESTING_MAX; depth++) {
        struct manifest_index index;
        const struct manifest_desc *d;
        int r = manifest_index_parse(text->text ? text->text : "", text->len, &index, e);

        if (r < 0)
            return err_wrap(e, "the image's index");
        r = manifest_pick(&index, tag, &d, e);
        if (r == 0) {
            const char *name = manifest_annotation(d, MANIFEST_REF_NAME);

            free(im->image->digest);
            im->image->digest = xdup(d->digest);
            if (!im->image->tag && (name || tag))
                im->image->tag = xdup(name ? name : tag);
            r = read_desc(im, d, text, e);
        }
        conf_fini(manifest_index_fields, &index);
        if (r < 0)
            return r;
        if (!manifest_is_index(text->text ? text->text : "", text->len))
            return 0;
        tag = NULL; /* the name is that of the outermost */
    }
    return err_set(e, -EBADMSG, "an index in an index: at most %d levels", MANIFEST_NESTING_MAX);
}

static int import_oci(struct import *im, struct err *e)
{
    AUTO(strbuf) struct strbuf text = {};
    const struct import_want want = { .file = "index.json", .size = UINT64_MAX };
    struct manifest m;
    int r = import_text(im->source, &want, &text, e);

    if (r == 0)
        r = find_manifest(im, &text, e);
    if (r < 0)
        return r;
    r = manifest_parse(text.text ? text.text : "", text.len, &m, e);
    if (r < 0)
        return err_wrap(e, "the image's manifest");
    r = layers_of(im, &m, e);
    conf_fini(manifest_fields, &m);
    return r;
}

static bool saved_has_tag(const struct manifest_saved *s, const char *tag)
{
    for (u32 i = 0; i < s->RepoTags.n; i++) {
        const char *name = s->RepoTags.items[i], *colon = strrchr(name, ':');

        if (strcmp(name, tag) == 0 || (colon && strcmp(colon + 1, tag) == 0))
            return true;
    }
    return false;
}

static int pick_saved(const struct manifest_saved_list *list, const char *tag,
                      const struct manifest_saved **ret, struct err *e)
{
    const struct manifest_saved *s = list->images.items;

    if (!tag && list->images.n > 1)
        return err_set(e, -EINVAL, "it has %u images, one must be chosen by --tag: '%.80s' …",
                       list->images.n, s->RepoTags.n ? s->RepoTags.items[0] : s->Config);
    for (u32 i = 0; i < list->images.n; i++) {
        if (tag && !saved_has_tag(s + i, tag))
            continue;
        *ret = s + i;
        return 0;
    }
    return err_set(e, -ENOENT, "it has no image '%.80s'", tag ? tag : "");
}

/* "HEX.json" and "blobs/sha256/HEX" name the digest of what they have. */
static bool digest_in_name(const char *file, char ret[DIGEST_TEXT])
{
    const char *slash = strrchr(file, '/'), *name = slash ? slash + 1 : file;

    str_fmt(ret, DIGEST_TEXT, "sha256:%.64s", name);
    return digest_ok(ret) && (!name[DIGEST_HEX] || strcmp(name + DIGEST_HEX, ".json") == 0);
}

static int layers_of_saved(struct import *im, const struct manifest_saved *s, struct err *e)
{
    struct import_want want = { .file = s->Config, .size = UINT64_MAX };
    char digest[DIGEST_TEXT];
    int r;

    im->n = s->Layers.n;
    for (u32 i = 0; i < im->n; i++)
        im->wants[i] = (struct import_want){ .file = s->Layers.items[i], .size = UINT64_MAX };
    if (digest_in_name(s->Config, digest))
        want.digest = digest;
    r = read_config(im, &want, e);
    if (r < 0)
        return r;
    im->image->id = want.digest ? xdup(digest) : NULL;
    im->image->tag =
        s->RepoTags.n ? xdup(im->cfg->tag ? im->cfg->tag : s->RepoTags.items[0]) : NULL;
    if (im->watch)
        im->watch->total = im->source->size;
    tell_config(im);
    return add_layers(im, e);
}

static int import_docker(struct import *im, struct err *e)
{
    AUTO(strbuf) struct strbuf text = {};
    const struct import_want want = { .file = "manifest.json", .size = UINT64_MAX };
    const struct manifest_saved *s = NULL;
    struct manifest_saved_list list;
    int r = import_text(im->source, &want, &text, e);

    if (r == 0)
        r = manifest_saved_parse(text.text ? text.text : "", text.len, &list, e);
    if (r < 0)
        return err_wrap(e, "manifest.json");
    r = pick_saved(&list, im->cfg->tag, &s, e);
    if (r == 0 && s)
        r = layers_of_saved(im, s, e);
    conf_fini(manifest_saved_list_fields, &list);
    return r;
}

/* A root file system, which says nothing of itself. */
static int import_plain(struct import *im, struct err *e)
{
    const struct import_want want = { .size = UINT64_MAX };

    if (im->cfg->tag)
        return err_set(e, -EINVAL,
                       "a root file system has no images, of which '%.60s' could be one",
                       im->cfg->tag);
    if (im->watch)
        im->watch->total = im->source->size;
    im->image->architecture = xdup("amd64");
    im->image->os = xdup("linux");
    return add_layer(im, &want, e);
}

int import_run(const struct import_cfg *cfg, struct source *s, struct watch *w,
               struct import_image *ret, struct err *e)
{
    static int (*const kinds[])(struct import *, struct err *) = {
        [SOURCE_OCI] = import_oci,
        [SOURCE_DOCKER] = import_docker,
        [SOURCE_TAR] = import_plain,
        [SOURCE_DIR] = import_plain,
    };
    struct import *im = xnew(struct import);
    int r;

    conf_defaults(import_image_fields, ret);
    im->cfg = cfg;
    im->source = s;
    im->watch = w;
    im->image = ret;
    ret->kind = (int)s->kind;
    ret->single_id = cfg->single_id;
    ret->user_xattr = cfg->user_xattr;
    r = kinds[s->kind](im, e);
    conf_fini(manifest_config_fields, &im->config);
    free(im);
    return r;
}
