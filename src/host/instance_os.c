/*
 * host/instance_os.c: instances of kind os: their fields, and the container that they mean.
 */
#include "host/instance.h"

#include <stdlib.h>

static bool signal_ok(const char *s)
{
    return os_signal(s) > 0;
}

static bool setting_ok(const char *s)
{
    return *s && *s != '=' && strchr(s, '=');
}

/* clang-format off */
const struct field os_cfg_fields[] = {
    FIELD_STRS(os_cfg, command, OS_WORDS_MAX, "program and arguments that are run, in place of what the image says"),
    FIELD_STRS(os_cfg, env, OS_WORDS_MAX, "NAME=VALUE in addition to what the image says", .metavar = "NAME=VALUE"),
    FIELD_STR(os_cfg, cwd, "folder in which it begins", .metavar = "PATH"),
    FIELD_STR(os_cfg, user, "who it is: NAME or number, and a group after a colon", .metavar = "USER[:GROUP]"),
    FIELD_STR(os_cfg, stop_signal, "signal that asks it to end", .ok = signal_ok, .want = "a signal's name or number", .metavar = "SIGNAL"),
    FIELD_LIST(os_cfg, mounts, os_mount_fields, os_mount, OS_MOUNTS_MAX, "folder or file of the host that is seen in it", .metavar = "source=PATH,target=PATH[,readonly]"),
    FIELD_BOOL(os_cfg, nesting, "containers and machines may be made in it"),
    FIELD_BOOL(os_cfg, privileged, "its user 0 is the host's: no user namespace"),
    {},
};
/* clang-format on */

static int check_mounts(const struct os_cfg *c, struct err *e)
{
    const struct os_mount *m = c->mounts.items;
    int r = 0;

    for (u32 i = 0; i < c->mounts.n && r >= 0; i++) {
        r = instance_check_path("mounts: source", m[i].source, e);
        if (r >= 0)
            r = instance_check_path("mounts: target", m[i].target, e);
    }
    return r;
}

static int check_own(const struct os_cfg *c, struct err *e)
{
    int r = instance_check_path("cwd", c->cwd, e);

    for (u32 i = 0; i < c->env.n && r >= 0; i++)
        if (!setting_ok(c->env.items[i]))
            r = err_set(e, -EINVAL, "'env' is '%.40s'; NAME=VALUE is needed", c->env.items[i]);
    if (r >= 0)
        r = check_mounts(c, e);
    if (r < 0)
        err_field(e, "os");
    return r;
}

static int check_card(struct vm_net n, struct err *e)
{
    int r = spec_check_net(&n, e);

    if (r >= 0 && !n.network && n.kind == SPEC_NET_TAP)
        r = err_set(e, -EINVAL,
                    "a card of kind os is on a network (network=NAME) or a user network (user), or "
                    "there is none; 'tap' is of machines");
    return r;
}

static int check_cards(const struct vm_spec *s, struct err *e)
{
    int r = 0;

    for (u32 i = 0; i < s->nets.n && r >= 0; i++) {
        r = check_card(*spec_net(s, i), e);
        if (r < 0) {
            err_wrap(e, "net %u", i);
            err_field(e, "nets");
        }
    }
    return r;
}

int instance_check_os(const struct instance_cfg *c, struct err *e)
{
    const struct vm_spec *s = &c->spec;
    const struct {
        const char *name;
        bool given;
    } rows[] = {
        { "kernel", s->kernel },
        { "initrd", s->initrd },
        { "append", s->append },
        { "disks", s->disks.n },
        { "vsock", s->vsock.cid },
        { "hugepages", s->hugepages },
        { "shares", s->shares.n },
        { "prealloc", s->prealloc },
        { "template", c->template },
        { "iso", c->iso },
        { "cloud", cloud_is_used(&c->cloud) },
    };
    int r;

    if (!c->image) {
        err_set(e, -EINVAL, "'image' is missing: its root file system is the container's");
        return err_field(e, "image");
    }
    for_each_row(row, rows) {
        if (!row->given)
            continue;
        err_set(e, -EINVAL, "'%s' is of machines; an instance of kind os has none", row->name);
        return err_field(e, row->name);
    }
    r = check_cards(s, e);
    return r < 0 ? r : check_own(&c->os, e);
}

int instance_check_machine(const struct instance_cfg *c, struct err *e)
{
    if (!c->limits.processes)
        return 0;
    err_set(e, -EINVAL, "'processes' is %u; it is of kind os, a machine's are its guest's affair",
            c->limits.processes);
    return err_field(e, "limits");
}

/* ---- what is started ---- */

static const struct field *field_at(size_t at)
{
    return conf_field_at(os_fields, at);
}

static int add_all(size_t at, struct os_spec *s, const struct field_strs *from, struct err *e)
{
    const struct field *f = field_at(at);

    for (u32 i = 0; i < from->n; i++)
        if (!conf_strs_add(f, s, from->items[i]))
            return err_set(e, -E2BIG, "'%s' has more than %u elements", f->name, f->list_max);
    return 0;
}

/* What the instance says, else the image. */
static void set_text(char **to, const char *ours, const char *images)
{
    const char *text = ours ? ours : images;

    if (!text)
        return;
    free(*to);
    *to = xdup(text);
}

static int add_mounts(const struct os_cfg *c, struct os_spec *s, struct err *e)
{
    const struct field *f = field_at(offsetof(struct os_spec, mounts));
    const struct os_mount *m = c->mounts.items;

    for (u32 i = 0; i < c->mounts.n; i++) {
        struct os_mount *to = conf_list_add(f, s);

        if (!to)
            return err_set(e, -E2BIG, "'mounts' has more than %u elements", f->list_max);
        conf_copy(os_mount_fields, to, &m[i]);
    }
    return 0;
}

int instance_os_spec(const struct instance_cfg *c, const char *folder,
                     const struct image_cfg *image, struct os_spec *ret, struct err *e)
{
    const struct image_program *p = &image->program;
    int r;

    conf_defaults(os_fields, ret);
    ret->name = xdup(c->spec.name);
    ret->uuid = c->spec.uuid ? xdup(c->spec.uuid) : NULL;
    ret->folder = xdup(folder);
    ret->nesting = c->os.nesting;
    ret->memory = c->spec.memory;
    ret->cpus = c->spec.cpus;
    set_text(&ret->cwd, c->os.cwd, p->cwd);
    set_text(&ret->user, c->os.user, p->user);
    set_text(&ret->stop_signal, c->os.stop_signal, p->stop_signal);
    r = add_all(offsetof(struct os_spec, command), ret,
                c->os.command.n ? &c->os.command : &p->command, e);
    if (r >= 0)
        r = add_all(offsetof(struct os_spec, env), ret, &c->os.env, e); /* the first one counts */
    if (r >= 0)
        r = add_all(offsetof(struct os_spec, env), ret, &p->env, e);
    if (r >= 0)
        r = add_mounts(&c->os, ret, e);
    if (r < 0)
        os_spec_fini(ret);
    return r;
}
