/*
 * layer/work.c: what the program `socle-unpack` does.
 */
#include "layer/work.h"

#include "layer/confine.h"
#include "layer/ids.h"
#include "layer/pool.h"
#include "layer/registry.h"
#include "layer/url.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* clang-format off */
const struct field work_cfg_fields[] = {
    FIELD_STR(work_cfg, pool, "directory of layers, which is made where there is none", .metavar = "DIR"),
    FIELD_STR(work_cfg, source, "image to import: an OCI layout, an archive, a root file system, or HOST/NAME:TAG of a registry", .metavar = "PATH"),
    FIELD_STR(work_cfg, tag, "which image of several in the source", .metavar = "NAME"),
    FIELD_STR(work_cfg, remove, "layer to remove", .metavar = "LAYER"),
    FIELD_STR(work_cfg, credentials, "file with USER:PASSWORD for the registry", .metavar = "FILE"),
    FIELD_BOOL(work_cfg, insecure, "talk to the registry without TLS; one on this host is talked to so anyway"),
    FIELD_STR(work_cfg, fetch, "fetch this URL into the file `body` of the folder --into, in place of all else", .metavar = "URL"),
    FIELD_STR(work_cfg, into, "an existing folder, in which a fetch that was interrupted goes on", .metavar = "DIR"),
    FIELD_BYTES(work_cfg, most, "fetch at most so much", .dflt = URL_BYTES_MAX, .max = URL_BYTES_MAX, .metavar = "SIZE"),
    FIELD_BOOL(work_cfg, clean, "remove what imports left that were killed"),
    FIELD_BOOL(work_cfg, allow_devices, "make the device nodes that an image has (root only)"),
    FIELD_BOOL(work_cfg, force_user_xattr, "mark opaque directories for mounts with userxattr, also as root"),
    {},
};
/* clang-format on */

struct work {
    const struct work_cfg *cfg;
    struct watch *watch;
    int pool, source;       /* -1: none */
    struct pool_new layout; /* of what a registry had; fd -1: none */
    bool single_id, user_xattr;
};

static int check(const struct work_cfg *c, struct err *e)
{
    if (!c->pool)
        return err_set(e, -EINVAL, "--pool is missing");
    if (!!c->source + !!c->remove + c->clean != 1)
        return err_set(e, -EINVAL, "one of --source, --remove and --clean is needed");
    return 0;
}

/* "USER:PASSWORD" and perhaps a line feed. */
static int read_credentials(const char *path, char **ret, struct err *e)
{
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
    AUTO(strbuf) struct strbuf whole = {};
    AUTO(free) char *text = NULL;
    size_t len = 0;
    int r = fd < 0 ? -errno : fd_read_whole(fd, REGISTRY_CREDENTIALS_MAX, &text, &len);

    if (r == -EFBIG)
        return err_set(e, -EINVAL, "credentials '%.100s' must have 1 to %d bytes", path,
                       REGISTRY_CREDENTIALS_MAX);
    if (r < 0)
        return err_code(e, r, "read credentials '%.100s'", path);
    strbuf_add_mem(&whole, text, len);
    whole.text[strcspn(whole.text, "\r\n")] = 0;
    if (!strchr(whole.text, ':'))
        return err_set(e, -EINVAL, "credentials '%.100s': USER:PASSWORD is expected", path);
    *ret = TAKE(whole.text);
    return 0;
}

/* An image of a registry into a folder of the pool, which then is the source. */
static int fetch(struct work *k, struct err *e)
{
    AUTO(strbuf) struct strbuf have = {};
    AUTO(free) char *credentials = NULL;
    struct registry_ref ref;
    struct registry_cfg cfg = { .ref = &ref, .insecure = k->cfg->insecure };
    int r = registry_parse(k->cfg->source, &ref, e);

    if (r == 0 && k->cfg->tag)
        r = err_set(e, -EINVAL, "--tag: a registry's image has it in its name, NAME:TAG");
    if (r == 0 && k->cfg->credentials)
        r = read_credentials(k->cfg->credentials, &credentials, e);
    if (r == 0)
        r = pool_list(k->pool, &have, e);
    if (r == 0)
        r = pool_new(k->pool, &k->layout, e);
    if (r < 0)
        return r;
    cfg.credentials = credentials;
    cfg.have = have.text;
    cfg.dir = k->layout.fd;
    r = registry_fetch(&cfg, k->watch, e);
    if (r == 0 && (k->source = fcntl(k->layout.fd, F_DUPFD_CLOEXEC, 0)) < 0)
        r = err_errno(e, "keep what was fetched");
    if (credentials)
        explicit_bzero(credentials, strlen(credentials));
    return r;
}

static int open_source(struct work *k, struct err *e)
{
    const char *path = k->cfg->source;

    k->source = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (k->source >= 0)
        return 0;
    return registry_is_ref(path) ? fetch(k, e) : err_errno(e, "open it");
}

/* Everything that needs a path or a right of the host. */
static int prepare(struct work *k, struct err *e)
{
    struct confine_cfg confine = { .devices = k->cfg->allow_devices };
    struct ids ids;
    int r = 0;

    umask(0);
    k->pool = pool_open(k->cfg->pool, e);
    if (k->pool < 0)
        return k->pool;
    if (k->cfg->source)
        r = open_source(k, e);
    if (r == 0 && geteuid() != 0) {
        ids_find(&ids);
        r = ids_enter(&ids, &k->single_id, e);
    }
    if (r < 0)
        return r;
    k->user_xattr = k->cfg->force_user_xattr || !ids_is_initial();
    confine.pool = k->pool;
    confine.source = k->source;
    confine.layout = k->layout.fd;
    confine.trusted = !k->user_xattr;
    return confine_enter(&confine, e);
}

static int import(struct work *k, struct work_result *ret, struct err *e)
{
    const struct import_cfg cfg = {
        .pool = k->pool,
        .tag = k->cfg->tag,
        .devices = k->cfg->allow_devices,
        .user_xattr = k->user_xattr,
        .single_id = k->single_id,
    };
    const struct stream_limits limits = import_limits(&cfg);
    AUTO(source) struct source *s = NULL;
    int r = source_open(TAKE_FD(k->source), k->pool, &limits, k->watch, &s, e);

    if (r == 0) {
        r = import_run(&cfg, s, k->watch, &ret->image, e);
        ret->has_image = r == 0;
    }
    return r;
}

static int fetch_url(const struct work_cfg *c, struct watch *w, u64 *ret_bytes, struct err *e)
{
    AUTO(fd) int dir = -1;
    struct url_cfg url = { .url = c->fetch, .plain = c->insecure, .max = c->most };

    if (!c->into || c->pool || c->source || c->remove || c->clean)
        return err_set(e, -EINVAL,
                       "--fetch is with --into, and neither --pool nor what is done there");
    dir = open(c->into, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return err_errno(e, "folder '%.100s'", c->into);
    url.dir = dir;
    return url_fetch(&url, w, ret_bytes, e);
}

int work_run(const struct work_cfg *cfg, struct watch *w, struct work_result *ret, struct err *e)
{
    struct work k = { .cfg = cfg, .watch = w, .pool = -1, .source = -1, .layout.fd = -1 };
    int r;

    *ret = (struct work_result){};
    if (cfg->fetch)
        return fetch_url(cfg, w, &ret->fetched, e);
    r = check(cfg, e);
    if (r == 0)
        r = prepare(&k, e);
    if (r == 0 && cfg->source) {
        r = import(&k, ret, e);
    } else if (r == 0 && cfg->remove) {
        r = pool_remove(k.pool, cfg->remove, e);
        ret->removed = r == 0;
    } else if (r == 0) {
        r = pool_clean(k.pool, &ret->removed, e);
    }
    if (r < 0 && cfg->source)
        err_wrap(e, "image '%.60s'", cfg->source);
    pool_new_fini(&k.layout);
    fd_close(&k.source);
    fd_close(&k.pool);
    return r;
}

void work_result_fini(struct work_result *r)
{
    conf_fini(import_image_fields, &r->image);
}
