/*
 * layer/registry_pull.c: from a reference to an image layout in a folder: manifest, configuration, and the layers that are not there yet.
 * Runs in the child of layer/registry.c.
 */
#include "layer/import.h"
#include "layer/pool.h"
#include "layer/registry_http.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ACCEPT                                                                              \
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, " \
    "application/vnd.docker.distribution.manifest.list.v2+json, "                           \
    "application/vnd.docker.distribution.manifest.v2+json"

struct pull {
    const struct registry_cfg *cfg;
    struct registry_http *http;
    struct fetcher_told *told;
    int tell_fd;
    u64 before; /* bytes of the layers that are complete */
};

static int tell(struct pull *p)
{
    return fd_write_all(p->tell_fd, p->told, sizeof(*p->told));
}

static int on_piece(void *opaque, u64 len)
{
    struct pull *p = opaque;

    p->told->done = p->before + len;
    return tell(p);
}

static int open_new(struct pull *p, const char *name, struct err *e)
{
    int fd = openat(p->cfg->dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);

    return fd < 0 ? err_errno(e, "make '%.90s'", name) : fd;
}

static int keep_text(struct pull *p, const char *name, const char *text, size_t len, struct err *e)
{
    AUTO(fd) int fd = open_new(p, name, e);
    int r = fd < 0 ? fd : fd_write_all(fd, text, len);

    return r < 0 && fd >= 0 ? err_code(e, r, "write '%.90s'", name) : r;
}

static int check_sum(struct registry_sink *to, const char *want, struct err *e)
{
    char found[DIGEST_TEXT];

    digest_end(&to->sum, found);
    if (strcmp(found, want) == 0)
        return 0;
    return err_set(e, -EBADMSG, "its SHA-256 is %s, and %s is told of it", found, want);
}

/* A text of the image; `want` NULL: its digest is whatever it is, and *ret_digest says it. */
static int get_text(struct pull *p, const char *path, const char *want, struct registry_sink *to,
                    char ret_digest[DIGEST_TEXT], struct err *e)
{
    char name[128];
    int r = registry_http_get(p->http, path, str_starts(path, "manifests/") ? ACCEPT : NULL, to, e);

    if (r == 0 && want)
        r = check_sum(to, want, e);
    if (r < 0)
        return r;
    if (want)
        str_copy(ret_digest, DIGEST_TEXT, want);
    else
        digest_end(&to->sum, ret_digest);
    str_fmt(name, sizeof(name), "blobs/sha256/%s", digest_hex(ret_digest));
    return keep_text(p, name, to->text.text ? to->text.text : "", to->len, e);
}

static void sink_fini(struct registry_sink *to)
{
    strbuf_fini(&to->text);
    digest_fini(&to->sum);
}

/* The manifest for this machine, in `to`; its digest. */
static int get_manifest(struct pull *p, struct registry_sink *to, char digest[DIGEST_TEXT],
                        struct err *e)
{
    const char *want = p->cfg->ref->want;
    AUTO(free) char *path = str_new("manifests/%s", want);
    int r = get_text(p, path, digest_ok(want) ? want : NULL, to, digest, e);

    for (unsigned depth = 1; r == 0 && manifest_is_index(to->text.text, to->text.len); depth++) {
        struct manifest_index index;
        const struct manifest_desc *d;

        if (depth == MANIFEST_NESTING_MAX)
            return err_set(e, -EBADMSG, "an index in an index: at most %d levels",
                           MANIFEST_NESTING_MAX);
        r = manifest_index_parse(to->text.text, to->text.len, &index, e);
        if (r < 0)
            return r;
        r = manifest_pick(&index, NULL, &d, e);
        if (r == 0) {
            AUTO(free) char *next = str_new("manifests/%s", d->digest);

            r = get_text(p, next, d->digest, to, digest, e);
        }
        conf_fini(manifest_index_fields, &index);
    }
    return r;
}

static bool has_layer(const struct pull *p, const char *diff_id)
{
    char name[POOL_NAME];

    pool_name(diff_id, name);
    return p->cfg->have && strstr(p->cfg->have, name);
}

/* What is to be fetched of the image's layers. */
static int measure(struct pull *p, const struct manifest *m, const struct manifest_config *c,
                   struct err *e)
{
    const struct manifest_desc *d = m->layers.items;

    if (m->layers.n != c->rootfs.diff_ids.n)
        return err_set(e, -EBADMSG, "the image has %u layers, and its configuration tells of %u",
                       m->layers.n, c->rootfs.diff_ids.n);
    for (u32 i = 0; i < m->layers.n; i++) {
        if (d[i].size > IMPORT_BYTES_MAX)
            return err_set(e, -EFBIG, "layer %u has %llu bytes: at most %llu", i + 1, d[i].size,
                           IMPORT_BYTES_MAX);
        p->told->more += d[i].size;
        if (!has_layer(p, c->rootfs.diff_ids.items[i]))
            p->told->total += d[i].size;
    }
    return 0;
}

static int get_layer(struct pull *p, const struct manifest_desc *d, struct err *e)
{
    AUTO(free) char *path = str_new("blobs/%s", d->digest);
    AUTO(free) char *name = str_new("blobs/sha256/%s", digest_hex(d->digest));
    struct registry_sink to = { .max = d->size, .told = on_piece, .opaque = p };
    int r = to.fd = open_new(p, name, e);

    if (r == -EEXIST)
        return 0; /* it stands twice in the image */
    if (r >= 0)
        r = registry_http_get(p->http, path, NULL, &to, e);
    if (r == 0 && to.len != d->size)
        r = err_set(e, -EBADMSG, "it has %llu bytes, and %llu are told of it", to.len, d->size);
    if (r == 0)
        r = check_sum(&to, d->digest, e);
    p->before += to.len;
    fd_close(&to.fd);
    sink_fini(&to);
    return r;
}

static int get_layers(struct pull *p, const struct manifest *m, const struct manifest_config *c,
                      struct err *e)
{
    const struct manifest_desc *d = m->layers.items;
    int r = measure(p, m, c, e);

    for (u32 i = 0; r == 0 && i < m->layers.n; i++) {
        if (has_layer(p, c->rootfs.diff_ids.items[i]))
            continue;
        r = get_layer(p, d + i, e);
        if (r < 0)
            err_wrap(e, "layer %u of %u", i + 1, m->layers.n);
    }
    return r;
}

/* The folder's own files, which say which manifest is meant. */
static int write_layout(struct pull *p, const char *digest, size_t size, struct err *e)
{
    const char *want = p->cfg->ref->want;
    json_t *desc =
        json_pack("{s:s, s:s, s:I}", "mediaType", "application/vnd.oci.image.manifest.v1+json",
                  "digest", digest, "size", (json_int_t)size);
    json_t *index;
    char *text;
    int r;

    if (!digest_ok(want))
        json_object_set_new(desc, "annotations", json_pack("{s:s}", MANIFEST_REF_NAME, want));
    index = json_pack("{s:i, s:[o]}", "schemaVersion", 2, "manifests", desc);
    text = json_dumps(index, JSON_COMPACT);
    must(text);
    json_decref(index);
    r = keep_text(p, "index.json", text, strlen(text), e);
    free(text);
    return r < 0 ? r : keep_text(p, "oci-layout", "{\"imageLayoutVersion\":\"1.0.0\"}", 30, e);
}

static int get_config(struct pull *p, const struct manifest *m, struct manifest_config *ret,
                      struct err *e)
{
    AUTO(free) char *path = str_new("blobs/%s", m->config.digest);
    struct registry_sink to = { .fd = -1, .max = MANIFEST_JSON_MAX };
    char digest[DIGEST_TEXT];
    int r = get_text(p, path, m->config.digest, &to, digest, e);

    if (r == 0)
        r = manifest_config_parse(to.text.text ? to.text.text : "", to.text.len, ret, e);
    sink_fini(&to);
    if (r < 0)
        err_wrap(e, "the image's configuration");
    return r;
}

static int pull_image(struct pull *p, struct err *e)
{
    struct registry_sink to = { .fd = -1, .max = MANIFEST_JSON_MAX };
    char digest[DIGEST_TEXT];
    struct manifest_config c = {};
    struct manifest m = {};
    int r = get_manifest(p, &to, digest, e);

    if (r == 0)
        r = manifest_parse(to.text.text ? to.text.text : "", to.text.len, &m, e);
    if (r == 0)
        r = get_config(p, &m, &c, e);
    if (r == 0)
        r = get_layers(p, &m, &c, e);
    if (r == 0)
        r = write_layout(p, digest, to.len, e);
    conf_fini(manifest_fields, &m);
    conf_fini(manifest_config_fields, &c);
    sink_fini(&to);
    return r;
}

int registry_pull(const struct registry_cfg *cfg, int tell_fd, struct fetcher_told *told,
                  struct err *e)
{
    AUTO(registry_http) struct registry_http *h = registry_http_new(cfg);
    struct pull p = { .cfg = cfg, .http = h, .told = told, .tell_fd = tell_fd };

    if (mkdirat(cfg->dir, "blobs", 0755) < 0 || mkdirat(cfg->dir, "blobs/sha256", 0755) < 0)
        return err_errno(e, "make an image layout");
    return pull_image(&p, e);
}
