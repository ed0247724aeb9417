/*
 * cmd/verb_make.c: `socle create, launch, set, edit`: what describes an instance.
 */
#include "cmd/verb.h"
#include "layer/registry.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EDIT_MAX = 256 * 1024 };

/* socled has another working folder.  Paths of another machine are left as they are: it refuses what is not from the root. */
void verb_from_root(const struct verb *v, char **path)
{
    AUTO(free) char *here = NULL;
    char *whole;

    if (!*path || v->host || (*path)[0] == '/' || !(here = getcwd(NULL, 0)))
        return;
    whole = str_new("%s/%s", here, *path);
    free(*path);
    *path = whole;
}

static bool is_of_containers(const json_t *images, const char *name)
{
    const json_t *image;
    size_t i;

    json_array_foreach(images, i, image)
    {
        const char *is = json_string_value(json_object_get(image, "name"));

        if (is && strcmp(is, name) == 0)
            return json_array_size(json_object_get(image, "layers")) > 0;
    }
    return false;
}

/* ---- an image that only a catalogue has ---- */

/* That of the catalogues that has the image, and its row of it; -ENOENT: none has it. */
static int find_offer(const json_t *catalogues, const char *image, const char **ret_catalogue,
                      const json_t **ret_row, struct err *e)
{
    const json_t *c, *row;
    size_t i, k;

    *ret_catalogue = NULL;
    json_array_foreach(catalogues, i, c) json_array_foreach(json_object_get(c, "images"), k, row)
    {
        const char *name = json_string_value(json_object_get(row, "name")),
                   *of = json_string_value(json_object_get(c, "name"));

        if (!name || !of || strcmp(name, image) != 0)
            continue;
        if (*ret_catalogue)
            return err_set(e, -EINVAL,
                           "catalogues '%s' and '%s' have an image '%s': `socle pool import %s "
                           "--from %s:%s` has it of the one",
                           *ret_catalogue, of, image, image, *ret_catalogue, image);
        *ret_catalogue = of;
        *ret_row = row;
    }
    return *ret_catalogue ? 0 : -ENOENT;
}

/* Told before much is fetched for nothing. */
static int check_offer(const struct verb *v, const char *part, struct err *e)
{
    if (strcmp(part, "iso") == 0)
        return err_set(e, -EINVAL,
                       "'%s' is an ISO: `socle pool import`, then --iso, and --kernel to boot",
                       v->cfg.image);
    if (strcmp(part, "disk") == 0 && !v->cfg.spec.kernel)
        return err_set(e, -EINVAL, "'%s' is a disk, beside which a --kernel is needed",
                       v->cfg.image);
    return 0;
}

/* The pool has it then, under the same name.  0 also when no catalogue has it: socled says so. */
static int fetch_image(struct verb *v, struct err *e)
{
    json_t *j = verb_ask(v, "GET", "/1.0/catalogues", NULL, e), *body;
    const char *catalogue = NULL, *part;
    const json_t *row = NULL;
    int r = j ? find_offer(json_object_get(j, "list"), v->cfg.image, &catalogue, &row, e) : e->code;

    if (r >= 0) {
        part = json_string_value(json_object_get(row, "part"));
        r = check_offer(v, part ? part : "", e);
        if (part && strcmp(part, "rootfs") == 0)
            v->cfg.kind = INSTANCE_OS;
    }
    if (r >= 0) {
        AUTO(free) char *from = str_new("%s:%s", catalogue, v->cfg.image);

        if (isatty(STDERR_FILENO))
            fprintf(stderr, "image '%s' comes from catalogue '%s'\n", v->cfg.image, catalogue);
        body = json_pack("{s:s, s:{s:s}}", "name", v->cfg.image, "source", "from", from);
        r = body ? verb_task(v, "POST", "/1.0/images", body, e) : 0;
        json_decref(body);
    }
    json_decref(j);
    return r == -ENOENT && !row ? 0 : r;
}

static bool has_image(const json_t *images, const char *name)
{
    const json_t *image;
    size_t i;

    json_array_foreach(images, i, image)
    {
        const char *is = json_string_value(json_object_get(image, "name"));

        if (is && strcmp(is, name) == 0)
            return true;
    }
    return false;
}

static int choose_image(struct verb *v, struct err *e)
{
    json_t *j, *list;
    const char *name;
    int r = 0;

    if (v->cfg.spec.kernel && !v->cfg.image)
        return 0;
    j = verb_ask(v, "GET", "/1.0/images", NULL, e);
    list = json_object_get(j, "list");
    name = json_string_value(json_object_get(json_array_get(list, 0), "name"));
    if (!j)
        r = e->code;
    else if (v->cfg.image && !has_image(list, v->cfg.image))
        r = fetch_image(v, e);
    else if (v->cfg.image || (json_array_size(list) == 1 && name)) {
        if (!v->cfg.image)
            v->cfg.image = xdup(name);
        if (is_of_containers(list, v->cfg.image))
            v->cfg.kind = INSTANCE_OS;
    } else if (json_array_size(list) == 0)
        r = err_set(e, -EINVAL,
                    "the pool has no image: `socle pool import` makes one; or give --kernel FILE");
    else
        r = err_set(e, -EINVAL, "which image: --image NAME (`socle pool list`)");
    json_decref(j);
    return r;
}

/* Who says nothing of a network means the one that this socled gives. */
static int choose_network(struct verb *v, struct err *e)
{
    json_t *j = verb_ask(v, "GET", "/1.0", NULL, e);
    const char *name = json_string_value(json_object_get(j, "network"));
    AUTO(free) char *net = name && strcmp(name, "user") != 0 ? str_new("network=%s", name) : NULL;
    int r = j ? conf_set(instance_field("nets"), &v->cfg, net ? net : "user", e) : e->code;

    json_decref(j);
    return r;
}

/* A file of the user's as a field of the cloud-init part. */
static int take_text(const char *file, size_t at, struct cloud_cfg *c, struct err *e)
{
    AUTO(fd) int fd = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
    AUTO(free) char *text = NULL;
    size_t len = 0;
    int r;

    if (!file)
        return 0;
    if (fd < 0)
        return err_errno(e, "read '%s'", file);
    r = fd_read_whole(fd, CLOUD_TEXT_MAX, &text, &len);
    if (r == -EFBIG)
        return err_set(e, -EINVAL, "'%s' must have 1 to %d bytes", file, CLOUD_TEXT_MAX);
    if (r >= 0 && strlen(text) != len)
        return err_set(e, -EINVAL, "'%s' is no text", file);
    r = r < 0 ? err_code(e, r, "read '%s'", file)
              : conf_set(conf_field_at(cloud_fields, at), c, text, e);
    return r < 0 ? err_wrap(e, "'%s'", file) : 0;
}

/* Lines of a file, as ~/.ssh/id_ed25519.pub or authorized_keys. */
static int take_keys(const char *file, struct cloud_cfg *c, struct err *e)
{
    const struct field *keys = conf_field_at(cloud_fields, offsetof(struct cloud_cfg, keys));
    FILE *f = file ? fopen(file, "re") : NULL;
    char *line = NULL;
    size_t room = 0;
    int r = 0;

    if (!f)
        return file ? err_errno(e, "read '%s'", file) : 0;
    while (r >= 0 && getline(&line, &room, f) > 0) {
        struct cloud_key *k;

        line[strcspn(line, "\r\n")] = 0;
        if (!*line || *line == '#')
            continue;
        k = conf_list_add(keys, c);
        r = k ? conf_set(keys->sub, k, line, e)
              : err_set(e, -EINVAL, "more than %d keys", CLOUD_KEYS_MAX);
        if (r < 0)
            err_wrap(e, "'%s'", file);
    }
    free(line);
    fclose(f);
    return r;
}

static int take_cloud(struct verb *v, struct err *e)
{
    struct cloud_cfg *c = &v->cfg.cloud;
    int r = take_text(v->user_data, offsetof(struct cloud_cfg, user_data), c, e);

    if (r >= 0)
        r = take_text(v->network_config, offsetof(struct cloud_cfg, network), c, e);
    return r < 0 ? r : take_keys(v->ssh_key, c, e);
}

/* "[IMAGE] NAME … -- COMMAND…" */
static int take_arguments(struct verb *v, struct err *e)
{
    const struct field *command = conf_field_at(os_cfg_fields, offsetof(struct os_cfg, command));

    if (v->args.n == 2 && v->cfg.image)
        return err_set(e, -EINVAL, "the image is given twice");
    if (v->args.n == 2)
        v->cfg.image = xdup(v->args.arg[0]);
    for (u32 i = 0; i < v->args.n_rest; i++)
        if (!conf_strs_add(command, &v->cfg.os, v->args.rest[i]))
            return err_set(e, -EINVAL, "the command has more than %u words", command->list_max);
    return 0;
}

static const char *name_of(const struct verb *v)
{
    return v->args.arg[v->args.n - 1];
}

static int complete(struct verb *v, struct err *e)
{
    struct vm_spec *s = &v->cfg.spec;
    int r = take_arguments(v, e);

    if (r >= 0)
        r = choose_image(v, e);

    if (r >= 0)
        r = take_cloud(v, e);
    if (r < 0)
        return r;
    free(s->name);
    s->name = xdup(name_of(v));
    verb_from_root(v, &s->kernel);
    verb_from_root(v, &s->initrd);
    verb_from_root(v, &s->vsock.path);
    for (u32 i = 0; i < s->disks.n; i++)
        verb_from_root(v, &spec_disk(s, i)->file);
    for (u32 i = 0; i < s->shares.n; i++)
        verb_from_root(v, &spec_share(s, i)->path);
    return s->nets.n == 0 ? choose_network(v, e) : 0;
}

int verb_create(struct verb *v, struct err *e)
{
    int r = complete(v, e);
    json_t *body;

    if (r < 0)
        return r;
    body = conf_print(instance_fields(), &v->cfg);
    r = verb_task(v, "POST", "/1.0/instances", body, e);
    json_decref(body);
    return r;
}

int verb_launch(struct verb *v, struct err *e)
{
    int r = verb_create(v, e);

    if (r >= 0)
        r = verb_action(v, name_of(v), "start", e);
    if (r >= 0 && isatty(STDERR_FILENO))
        fprintf(stderr, "'%s' is running: `socle %s %s`\n", name_of(v),
                v->cfg.kind == INSTANCE_OS ? "exec" : "console", name_of(v));
    return r;
}

/* "memory=2G": the value as the field's own text; lists and objects as JSON; nothing: the default. */
static json_t *value_of(const struct field *fields, const struct field *f, const char *text,
                        struct err *e)
{
    union {
        struct instance_cfg instance;
        struct network_cfg network;
    } c = {};
    json_t *all, *value = NULL;

    if (!*text)
        return json_null();
    if (f->kind == FIELD_KIND_LIST && (value = json_loads(text, 0, NULL)))
        return value;
    conf_defaults(fields, &c);
    if (conf_set(f, &c, text, e) >= 0) {
        all = conf_print(fields, &c);
        value = json_incref(json_object_get(all, f->name));
        json_decref(all);
    }
    conf_fini(fields, &c);
    return value;
}

int verb_add_change(const struct field *fields, json_t *changes, const char *arg, struct err *e)
{
    const char *eq = strchr(arg, '=');
    AUTO(free) char *name = str_new("%.*s", (int)strcspn(arg, "="), arg);
    const struct field *f = fields;
    json_t *value;

    while (f->name && strcmp(f->name, name) != 0)
        f++;
    if (!eq)
        return err_set(e, -EINVAL, "'%.60s': FIELD=VALUE is expected", arg);
    if (!f->name)
        return err_set(e, -EINVAL, "there is no field '%.60s'", name);
    value = value_of(fields, f, eq + 1, e);
    if (!value)
        return e->code;
    json_object_set_new(changes, name, value);
    return 0;
}

/* `etag` 0: whoever changed it meanwhile. */
static int patch(struct verb *v, const char *name, const json_t *changes, u64 etag, struct err *e)
{
    AUTO(free) char *path = verb_path("instances", name, "", e);
    const struct rest_request rq = { "PATCH", path, changes, etag };
    json_t *j = path ? rest_ask(&v->rest, &rq, NULL, e) : NULL;

    if (!j)
        return e->code;
    if (json_is_true(json_object_get(j, "restart")))
        fprintf(stderr, "'%s' runs as it was until its next start\n", name);
    json_decref(j);
    return 0;
}

int verb_set(struct verb *v, struct err *e)
{
    json_t *changes = json_object();
    int r = 0;

    for (u32 i = 1; i < v->args.n && r >= 0; i++)
        r = verb_add_change(instance_fields(), changes, v->args.arg[i], e);
    if (r >= 0)
        r = patch(v, v->args.arg[0], changes, 0, e);
    json_decref(changes);
    return r;
}

/* ---- edit ---- */

extern char **environ;

static int run_editor(const char *file, struct err *e)
{
    const char *visual = getenv("VISUAL"), *editor = getenv("EDITOR");
    const char *program = visual && *visual ? visual : editor && *editor ? editor : "vi";
    AUTO(free) char *line = str_new("%s \"$1\"", program); /* it may have options */
    char *const argv[] = { (char[]){ "sh" }, (char[]){ "-c" }, line,
                           (char[]){ "sh" }, xdup(file),       NULL };
    int status = 0, r;
    pid_t pid;

    r = posix_spawnp(&pid, "sh", NULL, NULL, argv, environ);
    if (r == 0 && waitpid(pid, &status, 0) < 0)
        r = errno;
    free(argv[4]);
    if (r)
        return err_code(e, -r, "start '%s'", program);
    return status ? err_set(e, -ECANCELED, "'%s' failed; nothing is changed", program) : 0;
}

static int write_text(int fd, const char *text, struct err *e)
{
    int r = fd_pwrite_all(fd, text, strlen(text), 0);

    return r < 0 ? err_code(e, r, "write a temporary file") : 0;
}

/* The editor may have put another file in its place. */
static int read_text(const char *file, json_t **ret, struct err *e)
{
    AUTO(fd) int fd = open(file, O_RDONLY | O_CLOEXEC);
    AUTO(free) char *text = NULL;
    size_t len = 0;
    int r;

    if (fd < 0)
        return err_errno(e, "read '%s'", file);
    r = fd_read_whole(fd, EDIT_MAX, &text, &len);
    if (r == -EFBIG)
        return err_set(e, -ECANCELED, "nothing is left of it, or too much; nothing is changed");
    return r < 0 ? err_code(e, r, "read '%s'", file) : conf_load(text, len, ret, e);
}

/* What differs; what is missing now is its default again. */
static json_t *difference(json_t *was, json_t *now)
{
    json_t *changes = json_object(), *value;
    const char *name;

    json_object_foreach(now, name, value) if (!json_object_get(was, name) ||
                                              !json_equal(value, json_object_get(was, name)))
        json_object_set(changes, name, value);
    json_object_foreach(was, name, value) if (!json_object_get(now, name))
        json_object_set_new(changes, name, json_null());
    return changes;
}

/* The user's words are kept when they are refused. */
static int edit(struct verb *v, json_t *was, u64 etag, const char *file, struct err *e)
{
    json_t *now = NULL, *changes;
    int r = run_editor(file, e);

    if (r >= 0)
        r = read_text(file, &now, e);
    if (r < 0)
        return r;
    changes = difference(was, now);
    if (json_object_size(changes))
        r = patch(v, v->args.arg[0], changes, etag, e);
    json_decref(changes);
    json_decref(now);
    return r;
}

int verb_edit(struct verb *v, struct err *e)
{
    AUTO(free) char *path = verb_path("instances", v->args.arg[0], "", e), *text = NULL;
    const struct rest_request rq = { .method = "GET", .path = path };
    char file[] = "/tmp/socle-edit-XXXXXX";
    AUTO(fd) int fd = -1;
    u64 etag = 0;
    json_t *was = path ? rest_ask(&v->rest, &rq, &etag, e) : NULL;
    int r;

    if (!was)
        return e->code;
    json_object_del(was, "status");
    text = json_dumps(was, JSON_INDENT(4));
    fd = mkostemp(file, O_CLOEXEC);
    r = fd < 0 ? err_errno(e, "make a temporary file") : write_text(fd, text, e);
    if (r >= 0)
        r = edit(v, was, etag, file, e);
    if (r < 0 && fd >= 0)
        fprintf(stderr, "what you wrote is in %s\n", file);
    else if (fd >= 0)
        unlink(file);
    json_decref(was);
    return r;
}
