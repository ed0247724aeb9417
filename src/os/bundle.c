/*
 * os/bundle.c: from an instance's description to config.json.
 * An init gets what systemd's "Container Interface" asks for: /sys and its control groups to write to, /run, a console; a program gets
 * what other engines give it, with /proc and /sys covered where they show or change the host.
 */
#include "os/bundle.h"

#include "box/path.h"
#include "os/names.h"
#include "os/user.h"
#include "os/view.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FOR_PROGRAM = 1, FOR_INIT = 2, FOR_ALL = FOR_PROGRAM | FOR_INIT };

/* clang-format off */
const struct field os_program_fields[] = {
    FIELD_STRS(os_program, command, OS_WORDS_MAX, "the program and its arguments"),
    FIELD_STRS(os_program, env, OS_WORDS_MAX, "NAME=VALUE in addition"),
    FIELD_STR(os_program, cwd, "where it begins"),
    FIELD_STR(os_program, user, "who it is: NAME|UID[:GROUP|GID]"),
    FIELD_BOOL(os_program, terminal, "it has a terminal"),
    FIELD_INT(os_program, rows, "of the terminal", .max = 10000),
    FIELD_INT(os_program, columns, "of the terminal", .max = 10000),
    {},
};

static const struct {
    u32 who;
    const char *target, *type, *options;
} mounts[] = {
    { FOR_ALL,     "/proc",          "proc",    "nosuid,noexec,nodev" },
    { FOR_ALL,     "/dev",           "tmpfs",   "nosuid,strictatime,mode=755,size=65536k" },
    { FOR_ALL,     "/dev/pts",       "devpts",  "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620" },
    { FOR_ALL,     "/dev/shm",       "tmpfs",   "nosuid,noexec,nodev,mode=1777" },
    { FOR_ALL,     "/dev/mqueue",    "mqueue",  "nosuid,noexec,nodev" },
    { FOR_PROGRAM, "/sys",           "sysfs",   "nosuid,noexec,nodev,ro" },
    { FOR_INIT,    "/sys",           "sysfs",   "nosuid,noexec,nodev" },
    { FOR_PROGRAM, "/sys/fs/cgroup", "cgroup2", "nosuid,noexec,nodev,ro" },
    { FOR_INIT,    "/sys/fs/cgroup", "cgroup2", "nosuid,noexec,nodev" },
    { FOR_INIT,    "/run",           "tmpfs",   "nosuid,nodev,mode=755" },
    { FOR_INIT,    "/tmp",           "tmpfs",   "nosuid,nodev,mode=1777" },
};

/* Who terminals belong to: Debian's number, and everybody's. */
enum { TTY_GROUP = 5 };
static const char tty_option[] = ",gid=5";

/* Files of the host that a container of its own users may have, where the host has them. */
static const char *const nesting_devices[] = { "/dev/fuse", "/dev/net/tun", "/dev/kvm" };

/* What a container's user 0 may do in its own namespaces.  Without a user namespace those of the second table are kept from it. */
static const char *const caps[] = {
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER",
    "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE",
    "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_SETFCAP",
};
static const char *const program_caps[] = {
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP",
    "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT", "CAP_AUDIT_WRITE", "CAP_MKNOD",
};

/* Calls that reach the whole host, whoever makes them. */
static const char *const forbidden[] = {
    "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "open_by_handle_at", "swapon", "swapoff",
    "settimeofday", "stime", "clock_settime", "clock_settime64", "adjtimex", "clock_adjtime", "clock_adjtime64", "acct", "quotactl",
    "ioperm", "iopl", "lookup_dcookie", "perf_event_open", "userfaultfd", "bpf",
};

static const char *const masked[] = {
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi",
    "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware", "/sys/fs/selinux",
};
static const char *const readonly[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger" };

static const struct {
    int major, minor; /* minor -1: any */
} devices[] = { { 1, 3 }, { 1, 5 }, { 1, 7 }, { 1, 8 }, { 1, 9 }, { 5, 0 }, { 5, 1 }, { 5, 2 }, { 136, -1 } };
static const struct {
    int major, minor;
} nesting_numbers[] = { { 10, 229 }, { 10, 200 }, { 10, 232 } };
/* clang-format on */

static json_t *words(const char *const *list, size_t n)
{
    json_t *j = json_array();

    for (size_t i = 0; i < n; i++)
        json_array_append_new(j, json_string(list[i]));
    return j;
}
#define WORDS(table) words(table, ARRAY_LEN(table))

static json_t *strs(const struct field_strs *s)
{
    json_t *j = json_array();

    for (u32 i = 0; i < s->n; i++)
        json_array_append_new(j, json_string(s->items[i]));
    return j;
}

/* ---- process ---- */

static bool has_name(const json_t *env, const char *setting)
{
    const size_t len = strcspn(setting, "=") + 1;
    json_t *one;
    size_t i;

    json_array_foreach(env, i,
                       one) if (strncmp(json_string_value(one), setting, len) == 0) return true;
    return false;
}

/* What comes first counts. */
static void add_env(json_t *env, const char *setting)
{
    if (!has_name(env, setting))
        json_array_append_new(env, json_string(setting));
}

static json_t *environment(const struct os_spec *s, const struct field_strs *more, bool terminal,
                           const char *home)
{
    AUTO(free) char *home_is = str_new("HOME=%s", home);
    AUTO(free) char *uuid = s->uuid ? str_new("container_uuid=%s", s->uuid) : NULL;
    json_t *env = json_array();

    for (u32 i = 0; more && i < more->n; i++)
        add_env(env, more->items[i]);
    for (u32 i = 0; i < s->env.n; i++)
        add_env(env, s->env.items[i]);
    add_env(env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    add_env(env, "container=socle");
    add_env(env, home_is);
    if (uuid)
        add_env(env, uuid);
    if (terminal)
        add_env(env, "TERM=xterm-256color");
    return env;
}

static json_t *capabilities(const struct os_spec *s, bool is_root)
{
    json_t *set = s->init || s->nesting ? WORDS(caps) : WORDS(program_caps), *j;

    /* A user other than 0 has what its programs bring. */
    j = json_pack("{s:O, s:o, s:o}", "bounding", set, "effective",
                  is_root ? json_incref(set) : json_array(), "permitted",
                  is_root ? json_incref(set) : json_array());
    json_decref(set);
    return j;
}

static json_t *user_json(const struct os_user *u)
{
    json_t *more = json_pack("[I]", (json_int_t)u->gid); /* as initgroups(3) does */

    for (u32 i = 0; i < u->n_groups; i++)
        json_array_append_new(more, json_integer(u->groups[i]));
    return json_pack("{s:I, s:I, s:o}", "uid", (json_int_t)u->uid, "gid", (json_int_t)u->gid,
                     "additionalGids", more);
}

static int open_root(const struct os_spec *s, struct err *e)
{
    AUTO(free) char *path = str_new("%s/root", s->folder);
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 ? err_errno(e, "open '%s'", path) : fd;
}

static int find_user(const struct os_spec *s, const char *who, struct os_user *ret, struct err *e)
{
    AUTO(fd) int root = open_root(s, e);

    return root < 0 ? root : os_user_find(root, who, ret, e);
}

json_t *os_bundle_process(const struct os_spec *s, const struct os_program *p, struct err *e)
{
    const char *cwd = p->cwd ? p->cwd : s->cwd, *who = p->user ? p->user : s->user;
    struct os_user user;
    json_t *j;

    if (p->command.n == 0) {
        err_set(e, -EINVAL, "'command' is empty: there is nothing to run");
        return NULL;
    }
    if (find_user(s, who, &user, e) < 0)
        return NULL;
    j = json_pack("{s:o, s:o, s:s, s:b, s:o, s:o}", "args", strs(&p->command), "env",
                  environment(s, &p->env, p->terminal, user.home), "cwd", cwd, "terminal",
                  p->terminal, "user", user_json(&user), "capabilities",
                  capabilities(s, user.uid == 0));
    if (!j) {
        err_set(e, -EINVAL, "the command or a path is not UTF-8");
        return NULL;
    }
    if (p->terminal && p->rows && p->columns)
        json_object_set_new(j, "consoleSize",
                            json_pack("{s:I, s:I}", "height", (json_int_t)p->rows, "width",
                                      (json_int_t)p->columns));
    if (!s->init && !s->nesting)
        json_object_set_new(j, "noNewPrivileges", json_true());
    return j;
}

/* ---- file systems ---- */

static json_t *options_json(char *text)
{
    json_t *j = json_array();
    char *word;

    while ((word = strsep(&text, ",")))
        json_array_append_new(j, json_string(word));
    return j;
}

static void add_mount(json_t *list, const char *target, const char *type, const char *source,
                      const char *options)
{
    AUTO(free) char *text = xdup(options);

    json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:o}", "destination", target, "type",
                                          type, "source", source, "options", options_json(text)));
}

static void add_bind(json_t *list, const char *source, const char *target, bool writable)
{
    add_mount(list, target, "bind", source, writable ? "rbind,rw" : "rbind,ro");
}

/*
 * Files of /etc that say who the container is (os/names.h).  A link there leads to what a program keeps that may not run, as
 * systemd-resolved; with a file in its place that one reads it instead.
 */
static void add_names(const struct os_spec *s, json_t *list)
{
    for_each_row(name, os_name_files) {
        AUTO(free)
        char *target = str_new("/etc/%s", *name), *source = str_new("%s/%s", s->folder, *name);

        add_mount(list, target, "bind", source, "bind,ro,dest-nofollow");
    }
}

/* Its own numbers in place of the host's (os/view_fs.h). */
static void add_views(const struct os_spec *s, json_t *list)
{
    for_each_row(path, view_paths) {
        AUTO(free) char *source = str_new("%s/l/view/%s", s->folder, strrchr(*path, '/') + 1);

        add_mount(list, *path, "bind", source, "bind,ro");
    }
}

static void add_base_mount(json_t *list, u32 i, const struct os_ids *ids)
{
    const bool terminals = strcmp(mounts[i].type, "devpts") == 0;
    /* A namespace of one id only has no group of terminals, and the kernel refuses one that is not there. */
    const char *group = terminals && os_ids_has_group(ids, TTY_GROUP) ? tty_option : "";
    AUTO(free) char *options = str_new("%s%s", mounts[i].options, group);

    add_mount(list, mounts[i].target, mounts[i].type, mounts[i].type, options);
}

static json_t *mounts_json(const struct os_spec *s, const struct os_ids *ids, bool view)
{
    const u32 who = s->init ? FOR_INIT : FOR_PROGRAM;
    json_t *list = json_array();

    for (u32 i = 0; i < ARRAY_LEN(mounts); i++)
        if (mounts[i].who & who)
            add_base_mount(list, i, ids);
    for_each_row(path, nesting_devices) {
        if (s->nesting && access(*path, F_OK) == 0)
            add_bind(list, *path, *path, true);
    }
    if (view)
        add_views(s, list);
    add_names(s, list);
    for (u32 i = 0; i < s->mounts.n; i++)
        add_bind(list, os_mount(s, i)->source, os_mount(s, i)->target, !os_mount(s, i)->readonly);
    return list;
}

/* ---- the rest ---- */

static json_t *namespaces(const struct os_ids *ids)
{
    static const char *const made[] = { "pid", "mount", "ipc", "uts", "cgroup" };
    const struct {
        const char *type;
        int fd;
    } joined[] = { { "user", ids->user }, { "network", ids->net } };
    json_t *list = json_array();

    for_each_row(type, made)
        json_array_append_new(list, json_pack("{s:s}", "type", *type));
    for_each_row(j, joined) {
        AUTO(free) char *path = str_new("/proc/%d/fd/%d", (int)getpid(), j->fd);

        if (j->fd >= 0)
            json_array_append_new(list, json_pack("{s:s, s:s}", "type", j->type, "path", path));
    }
    return list;
}

static void add_device(json_t *rules, int major, int minor)
{
    json_t *j =
        json_pack("{s:b, s:s, s:i, s:s}", "allow", 1, "type", "c", "major", major, "access", "rwm");

    if (minor >= 0)
        json_object_set_new(j, "minor", json_integer(minor));
    json_array_append_new(rules, j);
}

static json_t *device_rules(const struct os_spec *s)
{
    json_t *rules = json_array();

    json_array_append_new(rules, json_pack("{s:b, s:s}", "allow", 0, "access", "rwm"));
    for_each_row(d, devices)
        add_device(rules, d->major, d->minor);
    for_each_row(d, nesting_numbers) {
        if (s->nesting)
            add_device(rules, d->major, d->minor);
    }
    return rules;
}

static json_t *seccomp(void)
{
    static const char *const architectures[] = { "SCMP_ARCH_X86_64", "SCMP_ARCH_X86" };
    json_t *rule = json_pack("{s:o, s:s}", "names", WORDS(forbidden), "action", "SCMP_ACT_ERRNO");

    return json_pack("{s:s, s:o, s:[o]}", "defaultAction", "SCMP_ACT_ALLOW", "architectures",
                     WORDS(architectures), "syscalls", rule);
}

static json_t *linux_json(const struct os_spec *s, const struct os_ids *ids)
{
    json_t *j = json_pack("{s:o, s:o, s:{s:o}}", "namespaces", namespaces(ids), "seccomp",
                          seccomp(), "resources", "devices", device_rules(s));

    if (s->cgroup)
        json_object_set_new(j, "cgroupsPath", json_string(s->cgroup));
    if (!s->init && !s->nesting) {
        json_object_set_new(j, "maskedPaths", WORDS(masked));
        json_object_set_new(j, "readonlyPaths", WORDS(readonly));
    }
    return j;
}

static int write_json(const char *path, json_t *j, struct err *e)
{
    AUTO(free) char *text = json_dumps(j, JSON_INDENT(2));
    AUTO(fd) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    int r;

    if (!text)
        return err_set(e, -EINVAL, "'%s': a text of the instance is not UTF-8", path);
    r = fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
    return r < 0 ? err_code(e, r, "write '%s'", path) : 0;
}

static bool is_init(const char *program)
{
    const char *slash = strrchr(program, '/'), *name = slash ? slash + 1 : program;

    return strcmp(name, "init") == 0 || strcmp(name, "systemd") == 0;
}

int os_command_settle(struct os_spec *s, struct err *e)
{
    static const char *const choices[] = { "/sbin/init", "/bin/sh" };
    const struct field *f = conf_field_at(os_fields, offsetof(struct os_spec, command));
    AUTO(fd) int root = open_root(s, e);

    if (root < 0)
        return root;
    for_each_row(program, choices) {
        AUTO(fd) int fd = s->command.n ? -1 : path_open(root, *program, O_PATH);

        if (fd >= 0)
            (void)conf_strs_add(f, s, *program);
    }
    if (s->command.n == 0)
        return err_set(e, -ENOENT,
                       "the image names no command, and has neither an init nor a shell");
    s->init = s->command.n == 1 && is_init(s->command.items[0]);
    return 0;
}

int os_bundle_write(const struct os_spec *s, const struct os_ids *ids, bool view, struct err *e)
{
    const struct os_program first = { .command = s->command, .terminal = true };
    AUTO(free) char *folder = str_new("%s/bundle", s->folder);
    AUTO(free)
    char *path = str_new("%s/config.json", folder), *root = str_new("%s/root", s->folder);
    json_t *process = os_bundle_process(s, &first, e), *all;
    int r;

    if (!process)
        return e->code;
    if (mkdir(folder, 0700) < 0 && errno != EEXIST) {
        json_decref(process);
        return err_errno(e, "make folder '%s'", folder);
    }
    all = json_pack("{s:s, s:{s:s}, s:s, s:o, s:o, s:o}", "ociVersion", "1.0.2", "root", "path",
                    root, "hostname", s->name, "process", process, "mounts",
                    mounts_json(s, ids, view), "linux", linux_json(s, ids));
    r = write_json(path, all, e);
    json_decref(all);
    return r;
}
