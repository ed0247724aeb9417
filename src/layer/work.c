/*
 * layer/work.c: what the program `socle-unpack` does.
 */
#include "layer/work.h"

#include "layer/confine.h"
#include "layer/ids.h"
#include "layer/pool.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* clang-format off */
const struct field work_cfg_fields[] = {
    FIELD_STR(work_cfg, pool, "directory of layers, which is made where there is none", .required = true, .metavar = "DIR"),
    FIELD_STR(work_cfg, source, "image to import: an OCI layout, an archive, a root file system", .metavar = "PATH"),
    FIELD_STR(work_cfg, tag, "which image of several in the source", .metavar = "NAME"),
    FIELD_STR(work_cfg, remove, "layer to remove", .metavar = "LAYER"),
    FIELD_BOOL(work_cfg, clean, "remove what imports left that were killed"),
    FIELD_BOOL(work_cfg, allow_devices, "make the device nodes that an image has (root only)"),
    FIELD_BOOL(work_cfg, force_user_xattr, "mark opaque directories for mounts with userxattr, also as root"),
    {},
};
/* clang-format on */

struct work {
    const struct work_cfg *cfg;
    struct watch *watch;
    int pool, source; /* -1: none */
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

static int open_source(struct work *k, struct err *e)
{
    const char *path = k->cfg->source;

    k->source = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    return k->source < 0 ? err_errno(e, "open '%.150s'", path) : 0;
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

int work_run(const struct work_cfg *cfg, struct watch *w, struct work_result *ret, struct err *e)
{
    struct work k = { .cfg = cfg, .watch = w, .pool = -1, .source = -1 };
    int r = check(cfg, e);

    *ret = (struct work_result){};
    if (r == 0)
        r = prepare(&k, e);
    if (r == 0 && cfg->source) {
        r = import(&k, ret, e);
        if (r < 0)
            err_wrap(e, "image '%.60s'", cfg->source);
    } else if (r == 0 && cfg->remove) {
        r = pool_remove(k.pool, cfg->remove, e);
        ret->removed = r == 0;
    } else if (r == 0) {
        r = pool_clean(k.pool, &ret->removed, e);
    }
    fd_close(&k.source);
    fd_close(&k.pool);
    return r;
}

void work_result_fini(struct work_result *r)
{
    conf_fini(import_image_fields, &r->image);
}
