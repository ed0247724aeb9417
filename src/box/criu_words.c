/*
 * box/criu_words.c: what CRIU is told: a specification and options as words for socle-box-criu.  Names of options are those of CRIU's
 * protocol (cmd/criu.proto).
 */
#include "box/criu.h"
#include "box/mount.h"
#include "box/notify.h"
#include "box/ns.h"

#include <sched.h>
#include <stdlib.h>

enum { LOG_LEVEL = 4, NFTABLES = 2 /* criu_network_lock_method */ };

static void take(struct criu_words *w, char *text)
{
    if (w->n == w->room) {
        const u32 room = w->room ? 2 * w->room : 32;
        char **items = xnew_n(char *, room);

        if (w->n)
            memcpy(items, w->items, w->n * sizeof(*items));
        free(w->items);
        w->items = items;
        w->room = room;
    }
    w->items[w->n++] = text;
}

#define add(w, ...) take(w, str_new(__VA_ARGS__))

void criu_words_fini(struct criu_words *w)
{
    for (u32 i = 0; i < w->n; i++)
        free(w->items[i]);
    free(w->items);
    *w = (struct criu_words){};
}

static void add_text(struct criu_words *w, const char *name, const char *value)
{
    if (value && *value)
        add(w, "%s=%s", name, value);
}

/* A namespace of its own, that it shares with nobody. */
static bool has_own(const struct oci *spec, enum oci_ns type)
{
    const struct oci_namespace *n = oci_ns(spec, type);

    return n && !(n->path && *n->path);
}

/* What both have in common. */
static void add_common(struct criu_words *w, const struct oci *spec, const struct box_criu *o,
                       int images, int work)
{
    static const u32 modes[] = { 0, 3, 4, 5 }; /* of criu_cg_mode, in the order of our words */
    const struct {
        bool on;
        const char *name;
    } flags[] = {
        { o->tcp_established, "tcp_established" },
        { o->ext_unix_sk, "ext_unix_sk" },
        { o->shell_job, "shell_job" },
        { o->file_locks, "file_locks" },
        { o->auto_dedup, "auto_dedup" },
        { o->tcp_close, "tcp_close" },
    };

    add(w, "images_dir_fd=%d", images);
    add(w, "work_dir_fd=%d", work);
    add(w, "log_level=%d", LOG_LEVEL);
    add(w, "manage_cgroups=1");
    add(w, "manage_cgroups_mode=%u", modes[o->manage_cgroups_mode]);
    add(w, "orphan_pts_master=1");
    /* What is in a network of its own, hooks put there, and do so again; CRIU could not: the other half is the host's. */
    if (o->empty_ns.n || has_own(spec, NS_NETWORK))
        add(w, "empty_ns=%u", CLONE_NEWNET);
    for_each_row(f, flags)
        if (f->on)
            add(w, "%s=1", f->name);
}

static void add_external(struct criu_words *w, const char *at, const char *name)
{
    add(w, "external=mnt[%s]:%s", at, name);
}

void criu_words_dump(struct criu_words *w, const struct oci *spec, const struct box_criu *o,
                     const struct criu_dump *d)
{
    const struct oci_mount *mounts = spec->mounts.items;

    add_common(w, spec, o, d->images, d->work);
    add(w, "log_file=" CRIU_DUMPED);
    add(w, "pid=%d", d->pid);
    add(w, "network_lock=%d", NFTABLES);
    if (o->leave_running)
        add(w, "leave_running=1");
    if (o->tcp_skip_in_flight)
        add(w, "tcp_skip_in_flight=1");
    if (o->pre_dump || o->parent_path)
        add(w, "track_mem=1");
    add_text(w, "parent_img", o->parent_path);
    add_text(w, "freeze_cgroup", d->freezer);
    if (d->ns[NS_NETWORK])
        add(w, "external=net[%llu]:" CRIU_NET, d->ns[NS_NETWORK]);
    if (d->ns[NS_PID])
        add(w, "external=pid[%llu]:" CRIU_PID, d->ns[NS_PID]);
    for (u32 i = 0; i < spec->mounts.n; i++)
        if (d->mounts[i])
            add_external(w, d->mounts[i], mounts[i].destination);
    for (u32 i = 0; i < spec->os.maskedPaths.n; i++)
        if (d->masks[i])
            add_external(w, d->masks[i], CRIU_NULL);
    for (char **node = d->nodes; node && *node; node++)
        add_external(w, *node, *node);
    if (d->notify)
        add_external(w, NOTIFY_PLACE, NOTIFY_PLACE);
}

static void add_source(struct criu_words *w, const struct oci_mount *m, const char *bundle)
{
    struct mount_plan p;
    struct err ignored = {};

    if (mount_plan_make(&p, m, &ignored) < 0)
        return; /* its making would have failed */
    if (p.bind && m->source)
        add(w, "external=mnt[%s]:%s%s%s", m->destination, *m->source == '/' ? "" : bundle,
            *m->source == '/' ? "" : "/", m->source);
    mount_plan_fini(&p);
}

void criu_words_restore(struct criu_words *w, const struct oci *spec, const struct box_criu *o,
                        const struct criu_restore *r)
{
    static const char *const nodes[] = { "/dev/zero",    "/dev/full", "/dev/random",
                                         "/dev/urandom", "/dev/tty",  CRIU_NULL };

    add_common(w, spec, o, r->images, r->work);
    add(w, "log_file=" CRIU_RESTORED);
    add(w, "root=%s/" CRIU_ROOT, r->state);
    add(w, "rst_sibling=1");
    add(w, "notify_scripts=1");
    add(w, "evasive_devices=1");
    add_text(w, "lsm_profile", o->lsm_profile);
    add_text(w, "lsm_mount_context", o->lsm_mount_context);
    if (o->manage_cgroups_mode)
        add_text(w, "cg_root", r->cgroup);
    if (r->ns[NS_NETWORK] >= 0)
        add(w, "inherit_fd=%d:" CRIU_NET, r->ns[NS_NETWORK]);
    if (r->ns[NS_PID] >= 0)
        add(w, "inherit_fd=%d:" CRIU_PID, r->ns[NS_PID]);
    for (int i = 0; i < CRIU_STREAMS_MAX; i++)
        if (r->streams[i])
            add(w, "inherit_fd=%d:%s", i, r->streams[i]);
    for_each_of(const struct oci_mount, m, &spec->mounts)
    {
        add_source(w, m, r->bundle);
    }
    for_each_row(node, nodes)
        add_external(w, *node, *node);
    for_each_of(const struct oci_device, d, &spec->os.devices)
    {
        add_external(w, d->path, d->path);
    }
    add(w, "external=mnt[" NOTIFY_PLACE "]:%s/notify", r->state);
}

/* "pipe:[12]" */
static bool is_pipe(const char *text)
{
    static const char start[] = "pipe:[";
    const size_t digits = str_starts(text, start) ? strspn(text + strlen(start), "0123456789") : 0;

    return digits && digits < 20 && strcmp(text + strlen(start) + digits, "]") == 0;
}

int criu_streams_parse(const char *text, size_t len, char *ret[CRIU_STREAMS_MAX], struct err *e)
{
    json_t *json;
    int r = conf_load(text, len, &json, e);

    if (r < 0)
        return err_wrap(e, CRIU_STREAMS);
    for (unsigned i = 0; i < CRIU_STREAMS_MAX; i++) {
        const char *word = json_string_value(json_array_get(json, i));

        ret[i] = word && is_pipe(word) ? xdup(word) : NULL;
    }
    json_decref(json);
    return 0;
}

static int check_options(const struct box_criu *o, struct err *e)
{
    const struct {
        const char *value, *name;
    } refused[] = { { o->lazy_pages ? "" : NULL, "--lazy-pages" },
                    { o->page_server, "--page-server" },
                    { o->status_fd, "--status-fd" } };

    for_each_row(row, refused)
        if (row->value)
            return err_set(e, -ENOTSUP,
                           "%s: pages cannot be sent later or elsewhere: not supported", row->name);
    for (u32 i = 0; i < o->empty_ns.n; i++)
        if (strcmp(o->empty_ns.items[i], "network") != 0)
            return err_set(e, -EINVAL, "--empty-ns: '%.40s' is not network", o->empty_ns.items[i]);
    return 0;
}

int criu_check(const struct oci *spec, const struct box_criu *o, struct err *e)
{
    for_each_of(const struct oci_namespace, n, &spec->os.namespaces)
    {
        if (n->path && *n->path && n->type != NS_NETWORK && n->type != NS_PID)
            return err_set(e, -ENOTSUP,
                           "linux.namespaces: joined are network and pid, or there can be no "
                           "checkpoint; '%.80s' is a joined %s namespace",
                           n->path, oci_ns_words[n->type]);
    }
    return check_options(o, e);
}
