/*
 * box/state.c: a container's directory, and what its files and its process say of its state.
 */
#include "box/state.h"

#include "box/ns.h"
#include "box/path.h"
#include "box/unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const box_status_words[] = { "creating", "created", "running", "paused", "stopped" };

const struct field box_state_fields[] = {
    FIELD_STR(box_state, id, "its name", .required = true),
    FIELD_STR(box_state, bundle, "the folder of its config.json", .required = true),
    FIELD_STR(box_state, cgroup, "below the mount of cgroup v2", .required = true),
    FIELD_STR(box_state, scope, "systemd's unit of that cgroup"),
    FIELD_STR(box_state, isolate, "vm: it is a machine"),
    FIELD_STR(box_state, created, "when", .required = true),
    FIELD_STR(box_state, owner, "user id", .required = true),
    FIELD_SINT(box_state, pid, "first process", .required = true, .min = 1, .max = INT32_MAX),
    FIELD_INT(box_state, pid_started, "when it began, in ticks since boot", .required = true),
    {},
};

void box_dir_init(struct box_dir *d)
{
    *d = (struct box_dir){ .root = -1, .fd = -1 };
}

void box_dir_fini(struct box_dir *d)
{
    fd_close(&d->fd);
    fd_close(&d->root);
}

char *box_default_root(void)
{
    const char *run = getenv("XDG_RUNTIME_DIR");
    /* Who is root in a user namespace alone, as rootless engines make one, is a user still. */
    const bool is_root = geteuid() == 0 && ns_is_initial_user();

    return is_root || !run || !*run ? xdup("/run/socle-box") : str_new("%s/socle-box", run);
}

static bool id_ok(const char *id)
{
    static const char first[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    size_t len = strlen(id);

    return len > 0 && len <= BOX_ID_MAX && strchr(first, id[0]) &&
           strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.") == len;
}

static int open_root(struct box_dir *d, const char *root, const char *id, bool make, struct err *e)
{
    if (!id_ok(id))
        return err_set(e, -EINVAL,
                       "invalid container ID '%.60s': letters, digits, '_', '+', '-' and "
                       "'.' are allowed, not as the first '+', '-', '.'",
                       id);
    str_copy(d->id, sizeof(d->id), id);
    if (make && mkdir(root, 0700) < 0 && errno != EEXIST) {
        AUTO(free) char *parents = xdup(root);

        for (char *at = parents + 1; (at = strchr(at, '/')); *at++ = '/') {
            *at = 0;
            mkdir(parents, 0755); /* whether it worked, the last one tells */
        }
        if (mkdir(root, 0700) < 0 && errno != EEXIST)
            return err_errno(e, "make the state directory '%.100s'", root);
    }
    d->root = open(root, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    return d->root < 0 ? -errno : 0;
}

int box_dir_make(struct box_dir *d, const char *root, const char *id, struct err *e)
{
    int r = open_root(d, root, id, true, e);

    if (r < 0)
        return e->code ? r : err_code(e, r, "open the state directory '%.100s'", root);
    if (mkdirat(d->root, id, 0700) < 0)
        return errno == EEXIST
                   ? err_set(e, -EEXIST, "container with given ID already exists: '%s'", id)
                   : err_errno(e, "make the state of '%s'", id);
    d->fd = openat(d->root, id, O_DIRECTORY | O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (d->fd < 0 || flock(d->fd, LOCK_EX) < 0) {
        r = err_errno(e, "open the state of '%s'", d->id);
        unlinkat(d->root, id, AT_REMOVEDIR);
        return r;
    }
    return 0;
}

int box_dir_open(struct box_dir *d, const char *root, const char *id, bool lock, struct err *e)
{
    struct stat st;
    int r = open_root(d, root, id, false, e);

    if (r < 0 && r != -ENOENT)
        return e->code ? r : err_code(e, r, "open the state directory '%.100s'", root);
    if (r == 0) {
        d->fd = openat(d->root, id, O_DIRECTORY | O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (d->fd < 0 && errno != ENOENT)
            return err_errno(e, "open the state of '%s'", id);
    }
    if (d->fd >= 0 && lock && flock(d->fd, LOCK_EX) < 0)
        return err_errno(e, "lock the state of '%s'", id);
    /* Whoever had the lock may have deleted it. */
    if (d->fd < 0 || fstat(d->fd, &st) < 0 || st.st_nlink == 0)
        return err_set(e, -ENOENT, "container '%s' does not exist: container does not exist", id);
    return 0;
}

void box_dir_unlock(const struct box_dir *d)
{
    flock(d->fd, LOCK_UN);
}

void box_dir_remove(struct box_dir *d)
{
    static const char *const files[] = { "config.json", "state.json",         "start", "seccomp",
                                         "new",         "notify/notify.sock", "vm",    "vm.log",
                                         "console.log", "console.log.1" };

    if (d->fd < 0)
        return;
    for_each_row(name, files)
        unlinkat(d->fd, *name, 0);
    unlinkat(d->fd, "notify", AT_REMOVEDIR);
    unlinkat(d->fd, "root", AT_REMOVEDIR);
    unlinkat(d->root, d->id, AT_REMOVEDIR);
    fd_close(&d->fd);
}

int box_dir_read(const struct box_dir *d, const char *name, size_t max, char **ret, size_t *ret_len)
{
    AUTO(fd) int fd = openat(d->fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

    return fd < 0 ? -errno : fd_read_whole(fd, max, ret, ret_len);
}

int box_dir_write(const struct box_dir *d, const char *name, const char *text, size_t len)
{
    AUTO(fd)
    int fd = openat(d->fd, "new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int r = fd < 0 ? -errno : fd_write_all(fd, text, len);

    if (r == 0 && renameat(d->fd, "new", d->fd, name) < 0)
        r = -errno;
    return r;
}

int box_state_save(const struct box_dir *d, const struct box_state *s, struct err *e)
{
    json_t *json = conf_print(box_state_fields, s);
    char *text = json_dumps(json, JSON_COMPACT);
    int r = text ? box_dir_write(d, "state.json", text, strlen(text)) : -ENOMEM;

    free(text);
    json_decref(json);
    return r < 0 ? err_code(e, r, "write the state of '%s'", d->id) : 0;
}

/* Below the mount: a way up would lead to the cgroups of others, which `delete` kills. */
static bool cgroup_ok(const char *path)
{
    for (const char *at = path; *at; at += *at == '/') {
        const size_t len = strcspn(at, "/");

        if (len == 2 && at[0] == '.' && at[1] == '.')
            return false;
        at += len;
    }
    return strlen(path) < MEMBER_SIZE(struct cgroup, path);
}

int box_state_parse(struct box_state *ret, const char *text, size_t len, struct err *e)
{
    int r = conf_parse_text(box_state_fields, ret, text, len, e);

    if (r < 0)
        return r;
    if (!id_ok(ret->id))
        r = err_set(e, -EBADMSG, "invalid container ID '%.60s'", ret->id);
    else if (!cgroup_ok(ret->cgroup))
        r = err_set(e, -EBADMSG, "invalid cgroup '%.60s'", ret->cgroup);
    else if (ret->scope && !unit_name_ok(ret->scope))
        r = err_set(e, -EBADMSG, "invalid scope '%.60s'", ret->scope);
    if (r < 0)
        box_state_fini(ret);
    return r;
}

int box_state_load(const struct box_dir *d, struct box_state *ret, struct err *e)
{
    AUTO(free) char *text = NULL;
    size_t len;
    int r = box_dir_read(d, "state.json", STATE_TEXT_MAX, &text, &len);

    *ret = (struct box_state){};
    if (r < 0)
        return err_code(e, r, "read the state of '%s'", d->id);
    r = box_state_parse(ret, text, len, e);
    if (r == 0 && strcmp(ret->id, d->id) != 0) {
        r = err_set(e, -EBADMSG, "it is that of '%.60s'", ret->id);
        box_state_fini(ret);
    }
    if (r < 0)
        err_wrap(e, "state of '%.60s'", d->id);
    return r;
}

int box_open(struct box_dir *d, struct box_state *s, const char *root, const char *id, bool lock,
             struct err *e)
{
    int r;

    box_dir_init(d);
    *s = (struct box_state){};
    r = box_dir_open(d, root, id, lock, e);
    return r < 0 ? r : box_state_load(d, s, e);
}

int box_spec_load(const struct box_dir *d, struct oci *ret, struct err *e)
{
    AUTO(free) char *text = NULL;
    size_t len;
    int r = box_dir_read(d, "config.json", OCI_TEXT_MAX, &text, &len);

    *ret = (struct oci){};
    if (r < 0)
        return err_code(e, r, "read the specification of '%s'", d->id);
    return oci_parse(ret, text, len, e);
}

void box_state_fini(struct box_state *s)
{
    conf_fini(box_state_fields, s);
}

u64 box_stat_started(char *text)
{
    char *at = strrchr(text, ')'); /* a name may have one, too */
    u64 started = 0;

    if (!at || strlen(at) < 3 || strchr("ZX", at[2]))
        return 0;
    for (unsigned field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    if (!at)
        return 0;
    at[1 + strcspn(at + 1, " ")] = 0;
    return str_u64(at + 1, &started) == 0 ? started : 0;
}

u64 box_pid_started(pid_t pid)
{
    char path[64], text[1024];
    AUTO(fd) int fd = -1;
    ssize_t n;

    str_fmt(path, sizeof(path), "/proc/%d/stat", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
    if (n <= 0)
        return 0;
    text[n] = 0;
    return box_stat_started(text);
}

enum box_status box_status_of(const struct box_dir *d, const struct box_state *s)
{
    struct cgroup g;
    struct stat st;
    struct err e = {};
    bool frozen;

    if (box_pid_started(s->pid) != s->pid_started)
        return BOX_STOPPED;
    if (fstatat(d->fd, "start", &st, AT_SYMLINK_NOFOLLOW) == 0)
        return BOX_CREATED;
    cgroup_init(&g);
    frozen = cgroup_open(&g, s->cgroup, &e) == 0 && cgroup_is_frozen(&g) == 1;
    cgroup_fini(&g);
    return frozen ? BOX_PAUSED : BOX_RUNNING;
}

static json_t *state_json(const struct box_state *s, enum box_status status,
                          const struct field_strs *annotations)
{
    json_t *json =
        json_pack("{s:s, s:s, s:i, s:s, s:s, s:s, s:s}", "ociVersion", BOX_OCI_VERSION, "id", s->id,
                  "pid", status == BOX_STOPPED ? 0 : s->pid, "status", box_status_words[status],
                  "bundle", s->bundle, "created", s->created, "owner", s->owner);
    json_t *notes = json_object();

    for (u32 i = 0; i < annotations->n; i++)
        json_object_set_new(notes, annotations->items[2 * i],
                            json_string(annotations->items[2 * i + 1]));
    json_object_set_new(json, "annotations", notes);
    return json;
}

static char *take_text(json_t *json)
{
    char *text = json_dumps(json, JSON_INDENT(2));

    json_decref(json);
    must(text);
    return text;
}

char *box_state_text(const struct box_state *s, enum box_status status,
                     const struct field_strs *annotations)
{
    return take_text(state_json(s, status, annotations));
}

char *box_process_text(const struct box_state *s, enum box_status status,
                       const struct field_strs *annotations, pid_t pid, const char *metadata)
{
    return take_text(json_pack("{s:s, s:[s], s:i, s:s*, s:o}", "ociVersion", BOX_OCI_VERSION, "fds",
                               "seccompFd", "pid", pid, "metadata", metadata, "state",
                               state_json(s, status, annotations)));
}
