/*
 * host/instance.c: the fields of an instance, and the machine that they mean.
 */
#include "host/instance.h"

#include <ctype.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>

const char *const clone_words[] = { "linked", "full", "instant", NULL };
static const char *const restarts[] = { "no", "on-failure", "always", NULL };
const char *const instance_kinds[] = { "full", "para", "os", NULL };
const char *const instance_kinds_wanted[] = { "any", "full", "para", "os", NULL };
const char *const instance_states_wanted[] = { "any",     "creating", "off",      "starting",
                                               "running", "paused",   "stopping", "suspended",
                                               "failed",  "deleting", NULL };

static bool tag_ok(const char *s)
{
    for (const char *p = s; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr(".-_:=", *p))
            return false;
    return *s && strlen(s) <= INSTANCE_TAG_MAX;
}

static bool notes_ok(const char *s)
{
    return strlen(s) <= INSTANCE_NOTES_MAX;
}

/* The number at *s, which is left behind it. */
static bool take_cpu(const char **s, u64 *ret)
{
    char digits[6] = "";
    const size_t n = strspn(*s, "0123456789");

    if (n == 0 || n >= sizeof(digits))
        return false;
    memcpy(digits, *s, n);
    *s += n;
    return str_u64(digits, ret) == 0 && *ret < INSTANCE_CPUS_MAX;
}

static bool cpu_set_ok(const char *s)
{
    u64 first, last;

    do {
        if (!take_cpu(&s, &first))
            return false;
        last = first;
        if (*s == '-' && (s++, !take_cpu(&s, &last)))
            return false;
    } while (last >= first && *s == ',' && *++s);
    return last >= first && !*s && s[-1] != ',';
}

/* clang-format off */
static const struct field tag_fields[] = {
    FIELD_STR(instance_tag, tag, "a word to find it by", .required = true, .first = true, .ok = tag_ok,
              .want = "1 to 63 letters, digits, '.', '-', '_', ':' or '='"),
    {},
};

static const struct field limit_fields[] = {
    FIELD_INT(instance_limits, cpu_weight, "share of the CPUs when they are short; any other has 100", .max = 10000, .metavar = "N"),
    FIELD_INT(instance_limits, cpu_max, "percent of one CPU at most, as 150; 0: no limit", .max = 100 * 4096, .metavar = "PERCENT"),
    FIELD_STR(instance_limits, cpu_set, "the host's CPUs that it may run on", .metavar = "0-3,6", .ok = cpu_set_ok,
              .want = "numbers and ranges of CPUs, as 0-3,6,"),
    FIELD_BYTES(instance_limits, memory, "its process may have so much beside the guest's RAM, or is ended by the host; 0: no limit",
                .max = 1ull << 42, .metavar = "SIZE"),
    FIELD_INT(instance_limits, io_weight, "share of the disks when they are short; any other has 100", .max = 10000, .metavar = "N"),
    FIELD_INT(instance_limits, processes, "of kind os: processes and threads in it at most; 0: 8192", .max = OS_PROCESSES_MAX, .metavar = "N"),
    {},
};

const struct field instance_own_fields[] = {
    FIELD_ENUM(instance_cfg, kind, instance_kinds, "para: a kernel that knows it is a guest is loaded directly; os: a container, on the host's kernel; full: any system",
               .dflt = INSTANCE_PARA),
    FIELD_STR(instance_cfg, image, "image of the pool: its kernel is started, and the first disk is a clone of its disk; or its root file system is the container's",
              .metavar = "IMAGE", .ok = spec_name_ok, .want = "1 to 63 letters, digits, '.', '-' or '_', a letter or digit first,"),
    FIELD_STR(instance_cfg, iso, "ISO of the pool: a read-only disk after the others", .metavar = "IMAGE", .ok = spec_name_ok,
              .want = "1 to 63 letters, digits, '.', '-' or '_', a letter or digit first,"),
    FIELD_STR(instance_cfg, notes, "what people should know", .ok = notes_ok, .want = "at most 16384 bytes"),
    FIELD_LIST(instance_cfg, tags, tag_fields, instance_tag, INSTANCE_TAGS_MAX, "words to find it by", .metavar = "TAG"),
    FIELD_BOOL(instance_cfg, autostart, "start it when the host has started"),
    FIELD_INT(instance_cfg, autostart_order, "those with less are started before, and shut down after, when the host is; 0: shut down first", .max = 10000),
    FIELD_INT(instance_cfg, autostart_delay, "seconds from its start until the next is started", .max = 3600),
    FIELD_ENUM(instance_cfg, restart, restarts,
               "start it again when it crashed (on-failure), or also when its guest turned it off (always)"),
    FIELD_INT(instance_cfg, restart_limit, "so often in a row, each time after twice as long; 0: without an end", .dflt = 10,
              .max = 1000000),
    FIELD_BOOL(instance_cfg, protected, "refuse to delete it"),
    FIELD_BOOL(instance_cfg, template, "it is not started; linked clones build on its disks as they are"),
    FIELD_OBJ(instance_cfg, cloud, cloud_fields, "what cloud-init in the guest is told, by a read-only disk after the others",
              .secret = true),
    FIELD_OBJ(instance_cfg, os, os_cfg_fields, "kind os: what runs in it, and what it sees of the host"),
    FIELD_OBJ(instance_cfg, limits, limit_fields, "what its process may take of the host", .metavar = "NAME=VALUE[,...]"),
    {},
};

/* Of vm/spec.c; what is not here is socled's business (console, control, name of the process) or only for debugging. */
static const char *const spec_rows[] = {
    "name", "uuid", "engine", "jit", "cpus", "cpu_model", "memory", "hugepages", "prealloc", "kernel", "initrd", "append", "irqchip", "disks",
    "nets", "shares", "vsock", "balloon", "rng", "hpet",
};
/* clang-format on */

enum { OWN = ARRAY_LEN(instance_own_fields) - 1, ROWS = ARRAY_LEN(spec_rows) + OWN };

static struct field table[ROWS + 2];

static const struct field *row_of(const struct field *fields, const char *name)
{
    while (fields->name && strcmp(fields->name, name) != 0)
        fields++;
    return fields->name ? fields : NULL;
}

/* The row of the console's device stands alone: where its bytes go is socled's business. */
static struct field console_row(void)
{
    const struct field *console = row_of(spec_fields, "console");
    const struct field *device = console ? row_of(console->sub, "device") : NULL;
    struct field f;

    must(device);
    f = *device;
    f.name = "console";
    f.at += offsetof(struct instance_cfg, spec) + offsetof(struct vm_spec, console);
    return f;
}

static void make_table(void)
{
    u32 n = 0;

    for_each_row(name, spec_rows) {
        const struct field *f = row_of(spec_fields, *name);

        must(f);
        table[n] = *f;
        table[n].at += offsetof(struct instance_cfg, spec);
        if (strcmp(*name, "name") == 0) {
            table[n].required = true;
            table[n].sdflt = NULL;
        }
        n++;
    }
    for (u32 i = 0; i < OWN; i++)
        table[n++] = instance_own_fields[i];
    table[n] = console_row();
}

const struct field *instance_fields(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, make_table);
    return table;
}

const struct field *instance_field(const char *name)
{
    return row_of(instance_fields(), name);
}

bool instance_field_is_live(const struct field *f)
{
    static const char *const live[] = { "name",      "notes",           "tags",
                                        "autostart", "autostart_order", "autostart_delay",
                                        "restart",   "restart_limit",   "protected",
                                        "template",  "limits" };

    for_each_row(l, live)
        if (strcmp(f->name, *l) == 0)
            return true;
    return false;
}

void instance_cfg_fini(struct instance_cfg *c)
{
    conf_fini(instance_fields(), c);
}

int instance_check_path(const char *what, const char *path, struct err *e)
{
    if (path && path[0] != '/')
        return err_set(e, -EINVAL, "'%s' is '%.80s'; a path from the root is needed", what, path);
    return 0;
}

/* The first disk of an instance with an image is the clone, called "disk" in its folder; all else has a path from the root. */
static int check_paths(const struct instance_cfg *c, struct err *e)
{
    const struct vm_spec *s = &c->spec;
    int r = instance_check_path("kernel", s->kernel, e);

    if (r >= 0)
        r = instance_check_path("initrd", s->initrd, e);
    if (r >= 0)
        r = instance_check_path("vsock path", s->vsock.path, e);
    for (u32 i = 0; i < s->disks.n && r >= 0; i++)
        r = instance_check_path("disks", spec_disk(s, i)->file, e);
    for (u32 i = 0; i < s->shares.n && r >= 0; i++)
        r = instance_check_path("shares", spec_share(s, i)->path, e);
    return r;
}

int instance_check_folders(const struct instance_cfg *c, struct err *e)
{
    struct stat st;

    for (u32 i = 0; i < c->spec.shares.n; i++) {
        const struct vm_share *s = spec_share(&c->spec, i);

        if (stat(s->path, &st) == 0 && S_ISDIR(st.st_mode))
            continue;
        err_set(e, -EINVAL, "share '%s': there is no folder '%.120s'", s->tag, s->path);
        return err_field(e, "shares");
    }
    return 0;
}

/* What socle-vm would refuse is refused here, when it is written: by the same check, on a machine that is complete. */
static int check_machine(const struct instance_cfg *c, struct err *e)
{
    const struct instance_paths nowhere = { "/", "/", "/" };
    const struct image_cfg any = { .disk = true };
    struct vm_spec s;
    int r;

    if (c->kind == INSTANCE_FULL)
        return err_set(
            e, -EINVAL,
            "'kind' is full; booting from a disk's own loader needs firmware, which this version "
            "does not have: para is allowed");
    if (c->kind == INSTANCE_OS && instance_check_os(c, e) < 0)
        return -EINVAL;
    if (!c->image && instance_check_machine(c, e) < 0)
        return -EINVAL;
    if (!c->image && !c->spec.kernel)
        return err_set(e, -EINVAL, "'image' or 'kernel' is missing: there is nothing to boot");
    r = instance_spec(c, &nowhere, c->image ? &any : NULL, &s, e);
    if (r >= 0)
        spec_fini(&s);
    return r;
}

int instance_parse(struct instance_cfg *c, const json_t *json, struct err *e)
{
    int r = conf_parse(instance_fields(), c, json, e);

    if (r < 0)
        return r;
    r = check_paths(c, e);
    if (r >= 0)
        r = check_machine(c, e);
    if (r < 0)
        instance_cfg_fini(c);
    return r;
}

static void set_text(char **to, char *text)
{
    free(*to);
    *to = text;
}

void instance_identify(struct instance_cfg *c)
{
    u8 r[16];

    if (c->spec.uuid)
        return;
    must(getrandom(r, sizeof(r), 0) == sizeof(r)); /* RFC 9562: version 4, variant 10 */
    c->spec.uuid = str_new("%02x%02x%02x%02x-%02x%02x-4%01x%02x-a%01x%02x-%02x%02x%02x%02x%02x%02x",
                           r[0], r[1], r[2], r[3], r[4], r[5], r[6] & 15, r[7], r[8] & 15, r[9],
                           r[10], r[11], r[12], r[13], r[14], r[15]);
}

/* A copy of the rows that a user may set; the rest has its defaults. */
static int copy_spec(const struct instance_cfg *c, struct vm_spec *ret, struct err *e)
{
    json_t *j = conf_print(instance_fields(), c), *console;
    int r;

    console = json_pack("{s:O}", "device", json_object_get(j, "console"));
    json_object_set_new(j, "console", console);
    for (u32 i = 0; i < OWN; i++)
        json_object_del(j, instance_own_fields[i].name);
    r = conf_parse(spec_fields, ret, j, e);
    json_decref(j);
    return r;
}

/* The clone becomes the first disk. */
static void add_clone(struct vm_spec *s, const char *folder)
{
    const struct field *f = conf_field_at(spec_fields, offsetof(struct vm_spec, disks));
    struct vm_disk *added = conf_list_add(f, s), clone;

    must(added);
    added->file = str_new("%s/disk", folder);
    clone = *added;
    memmove(spec_disk(s, 1), spec_disk(s, 0), (s->disks.n - 1) * sizeof(clone));
    *spec_disk(s, 0) = clone;
}

static void take_image(const struct instance_cfg *c, const struct instance_paths *p,
                       const struct image_cfg *image, struct vm_spec *s)
{
    if (!s->kernel) {
        set_text(&s->kernel, str_new("%s/%s/kernel", p->images, c->image));
        if (!s->initrd && image->initrd)
            set_text(&s->initrd, str_new("%s/%s/initrd", p->images, c->image));
    }
    if (!s->append && image->append)
        set_text(&s->append, xdup(image->append));
    if (image->disk)
        add_clone(s, p->folder);
}

/* Behind those that may be written to: what is booted, and how they are called in the guest, stays the same with and without it. */
static void add_iso(struct vm_spec *s, const struct instance_paths *p, const char *iso)
{
    struct vm_disk *d =
        conf_list_add(conf_field_at(spec_fields, offsetof(struct vm_spec, disks)), s);

    must(d);
    d->file = str_new("%s/%s/iso", p->images, iso);
    d->format = xdup("raw");
    d->readonly = true;
}

/* A machine that has all the devices that there is room for goes without the guest agent's port.  `later`: disks that are still to come. */
static void add_agent(struct vm_spec *s, const struct instance_paths *p, u32 later)
{
    const u32 devices = s->disks.n + later + s->nets.n + s->shares.n + s->rng + s->balloon +
                        (s->vsock.cid != 0) + (s->console.device == SPEC_CONSOLE_VIRTIO);

    if (devices < SPEC_DEVICES_MAX)
        set_text(&s->agent, str_new("unix:%s/agent", p->folder));
}

int instance_spec(const struct instance_cfg *c, const struct instance_paths *p,
                  const struct image_cfg *image, struct vm_spec *ret, struct err *e)
{
    const u32 more = (image && image->disk) + cloud_is_used(&c->cloud) + (c->iso != NULL);
    struct vm_spec s;
    int r = copy_spec(c, &s, e);

    if (r < 0)
        return r;
    if (s.disks.n + more > SPEC_DISKS_MAX)
        r = err_set(e, -EINVAL,
                    "'disks' has %u elements; beside the image's, the ISO and cloud-init's, %u are "
                    "allowed",
                    s.disks.n, SPEC_DISKS_MAX - more);
    set_text(&s.console.backend, str_new("unix:%s/console", p->folder));
    set_text(&s.console.log, str_new("%s/console.log", p->folder));
    set_text(&s.control, str_new("%s/control", p->folder));
    set_text(&s.cache_dir, xdup(p->cache));
    if (image && r >= 0)
        take_image(c, p, image, &s);
    if (c->iso && r >= 0)
        add_iso(&s, p, c->iso);
    add_agent(&s, p, cloud_is_used(&c->cloud));
    if (r >= 0)
        r = spec_complete_append(&s, image && image->disk, e);
    if (r >= 0)
        r = spec_check(&s, e);
    if (r < 0) {
        spec_fini(&s);
        return r;
    }
    *ret = s;
    return 0;
}
