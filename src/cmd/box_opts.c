/*
 * cmd/box_opts.c: commands and options of `socle-box`, named as engines call them.
 */
#include "cmd/box_opts.h"

static const char *const log_formats[] = { "text", "json", NULL };
static const char *const managers[] = { "cgroupfs", "systemd", "disabled", NULL };
static const char *const rootless_words[] = { "auto", "true", "false", NULL };
static const char *const isolations[] = { "none", "vm", NULL };
static const char *const formats[] = { "table", "json", NULL };

static const char *const cgroup_modes[] = { "ignore", "soft", "full", "strict", NULL };

static const struct field global_fields[] = {
    FIELD_STR(box_global, root, "where state is kept", .metavar = "DIR"),
    FIELD_STR(box_global, log, "write errors there, too", .metavar = "FILE"),
    FIELD_ENUM(box_global, log_format, log_formats, "form of the log"),
    FIELD_BOOL(box_global, debug, "say more"),
    FIELD_BOOL(box_global, systemd_cgroup,
               "systemd makes cgroups: cgroupsPath is SLICE:PREFIX:NAME"),
    FIELD_ENUM(box_global, cgroup_manager, managers, "who makes cgroups"),
    FIELD_ENUM(box_global, rootless, rootless_words, "for compatibility: what is allowed is seen"),
    FIELD_ENUM(box_global, isolate, isolations,
               "what keeps it apart, beside namespaces: a machine with a kernel of its own"),
    FIELD_STR(box_global, isolate_kernel, "of that machine", .metavar = "FILE"),
    FIELD_STR(box_global, isolate_initrd, "of that machine", .metavar = "FILE"),
    FIELD_BOOL(box_global, version, "show the version"),
    {},
};

static const struct field new_fields[] = {
    FIELD_STR(box_new, bundle, "folder of config.json (default: here)", .metavar = "DIR"),
    FIELD_STR(box_new, config, "another name for config.json", .metavar = "FILE"),
    FIELD_STR(box_new, pid_file, "write the process id there", .metavar = "FILE"),
    FIELD_STR(box_new, console_socket, "send the terminal's master to this socket",
              .metavar = "PATH"),
    FIELD_INT(box_new, preserve_fds, "descriptors after 2 that are passed on", .max = 1024),
    FIELD_BOOL(box_new, no_pivot, "for a root that is an initramfs"),
    FIELD_BOOL(box_new, no_new_keyring, "keep the session keyring"),
    FIELD_BOOL(box_new, no_subreaper, "for compatibility: we are none"),
    FIELD_BOOL(box_new, detach, "do not wait for its end"),
    FIELD_BOOL(box_new, keep, "do not delete it at its end"),
    {},
};

static const struct field exec_fields[] = {
    FIELD_STR(box_exec, process, "the process as JSON", .metavar = "FILE"),
    FIELD_STR(box_exec, cwd, "working directory", .metavar = "DIR"),
    FIELD_STR(box_exec, pid_file, "write the process id there", .metavar = "FILE"),
    FIELD_STR(box_exec, console_socket, "send the terminal's master to this socket",
              .metavar = "PATH"),
    FIELD_STR(box_exec, user, "who it is", .metavar = "UID[:GID]"),
    FIELD_STR(box_exec, apparmor, "AppArmor profile"),
    FIELD_STR(box_exec, process_label, "SELinux label"),
    FIELD_STR(box_exec, cgroup, "cgroup below the container's", .metavar = "PATH"),
    FIELD_STRS(box_exec, env, OCI_WORDS_MAX, "add NAME=VALUE to the environment"),
    FIELD_STRS(box_exec, cap, 64, "add a capability"),
    FIELD_STRS(box_exec, additional_gids, OCI_GIDS_MAX, "add a group"),
    FIELD_INT(box_exec, preserve_fds, "descriptors after 2 that are passed on", .max = 1024),
    FIELD_BOOL(box_exec, tty, "give it a terminal"),
    FIELD_BOOL(box_exec, detach, "do not wait for its end"),
    FIELD_BOOL(box_exec, no_new_privs, "an exec gives no privileges"),
    FIELD_BOOL(box_exec, ignore_paused, "also in a paused container"),
    FIELD_BOOL(box_exec, no_subreaper, "for compatibility: we are none"),
    {},
};

static const struct field criu_fields[] = {
    FIELD_STR(box_criu, image_path, "folder of the checkpoint (default: checkpoint)",
              .metavar = "DIR"),
    FIELD_STR(box_criu, work_path, "folder of CRIU's log (default: the checkpoint's)",
              .metavar = "DIR"),
    FIELD_STR(box_criu, parent_path, "an earlier --pre-dump, relative to this one's folder",
              .metavar = "DIR"),
    FIELD_STR(box_criu, lsm_profile, "another label of its processes, as TYPE:NAME"),
    FIELD_STR(box_criu, lsm_mount_context, "another SELinux context of its mounts"),
    FIELD_STR(box_criu, page_server, "not supported"),
    FIELD_STR(box_criu, status_fd, "not supported"),
    FIELD_STRS(box_criu, empty_ns, 8, "restore this namespace without what was in it: network"),
    FIELD_ENUM(box_criu, manage_cgroups_mode, cgroup_modes, "what CRIU does with cgroups"),
    FIELD_BOOL(box_criu, leave_running, "let it go on"),
    FIELD_BOOL(box_criu, tcp_established, "also with open TCP connections"),
    FIELD_BOOL(box_criu, tcp_skip_in_flight, "leave out TCP connections that are being made"),
    FIELD_BOOL(box_criu, tcp_close, "close open TCP connections"),
    FIELD_BOOL(box_criu, ext_unix_sk, "also with unix sockets to the host"),
    FIELD_BOOL(box_criu, shell_job, "also with a terminal of the host"),
    FIELD_BOOL(box_criu, file_locks, "also with locks of files"),
    FIELD_BOOL(box_criu, pre_dump, "its memory alone; it goes on"),
    FIELD_BOOL(box_criu, lazy_pages, "not supported"),
    FIELD_BOOL(box_criu, auto_dedup,
               "pages that a later checkpoint has are freed in an earlier one"),
    {},
};

static const struct field list_fields[] = {
    FIELD_ENUM(box_list, format, formats, "form"),
    FIELD_BOOL(box_list, quiet, "ids only"),
    {},
};

#define LIMIT(member, text) FIELD_SINT(box_update, member, text, .dflt = (u64)BOX_UNSET)
static const struct field update_fields[] = {
    FIELD_STR(box_update, resources, "linux.resources as JSON; -: standard input",
              .metavar = "FILE"),
    LIMIT(memory, "bytes"),
    LIMIT(memory_reservation, "bytes that are spared"),
    LIMIT(memory_swap, "bytes with swap"),
    LIMIT(cpu_share, "CPU share"),
    LIMIT(cpu_quota, "microseconds a period"),
    LIMIT(cpu_period, "microseconds"),
    LIMIT(cpu_idle, "SCHED_IDLE for all: 0 or 1"),
    LIMIT(pids_limit, "processes"),
    LIMIT(blkio_weight, "share of block devices"),
    FIELD_STR(box_update, cpuset_cpus, "which CPUs"),
    FIELD_STR(box_update, cpuset_mems, "which nodes of memory"),
    {},
};

#define MORE(member, k, text, ...)                                  \
    {                                                               \
        .name = #member, .doc = text, .kind = k,                    \
        .size = MEMBER_SIZE(struct box_args, more.member),          \
        .at = offsetof(struct box_args, more.member), ##__VA_ARGS__ \
    }
static const struct field more_fields[] = {
    MORE(force, FIELD_KIND_BOOL, "kill it first; no error when there is none"),
    MORE(all, FIELD_KIND_BOOL, "to all of its processes"),
    MORE(rootless, FIELD_KIND_BOOL, "for a user without privilege"),
    MORE(stats, FIELD_KIND_BOOL, "once"),
    MORE(bundle, FIELD_KIND_STR, "folder", .metavar = "DIR"),
    MORE(format, FIELD_KIND_ENUM, "form", .words = formats),
    MORE(interval, FIELD_KIND_INT, "seconds", .dflt = 5, .min = 1, .max = 86400),
    {},
};

#define IN(part) part##_fields, offsetof(struct box_args, part)
#define IN_NEW   new_fields, offsetof(struct box_args, make)
#define IN_MORE  more_fields, 0

/* clang-format off */
const struct opt box_global_opts[] = {
    { "root",           IN(global), "root", "DIR" },
    { "log",            IN(global), "log", "FILE" },
    { "log-format",     IN(global), "log_format" },
    { "debug",          IN(global), "debug" },
    { "systemd-cgroup", IN(global), "systemd_cgroup" },
    { "cgroup-manager", IN(global), "cgroup_manager" },
    { "rootless",       IN(global), "rootless" },
    { "isolate",        IN(global), "isolate" },
    { "isolate-kernel", IN(global), "isolate_kernel", "FILE" },
    { "isolate-initrd", IN(global), "isolate_initrd", "FILE" },
    { "version",        IN(global), "version", NULL, 'v' },
    {},
};

#define NEW_OPTS                                                  \
    { "bundle",         IN_NEW, "bundle", "DIR", 'b' },           \
    { "config",         IN_NEW, "config", "FILE", 'f' },          \
    { "console-socket", IN_NEW, "console_socket", "FILE" },       \
    { "pid-file",       IN_NEW, "pid_file", "FILE" },             \
    { "no-pivot",       IN_NEW, "no_pivot" },                     \
    { "no-new-keyring", IN_NEW, "no_new_keyring" },               \
    { "preserve-fds",   IN_NEW, "preserve_fds" }

static const struct opt create_opts[] = { NEW_OPTS, {} };
static const struct opt run_opts[] = {
    NEW_OPTS,
    { "detach",       IN_NEW, "detach", NULL, 'd' },
    { "keep",         IN_NEW, "keep" },
    { "no-subreaper", IN_NEW, "no_subreaper" },
    {},
};
static const struct opt exec_opts[] = {
    { "process",         IN(exec), "process", "FILE", 'p' },
    { "cwd",             IN(exec), "cwd", "DIR" },
    { "env",             IN(exec), "env", NULL, 'e' },
    { "tty",             IN(exec), "tty", NULL, 't' },
    { "user",            IN(exec), "user", NULL, 'u' },
    { "additional-gids", IN(exec), "additional_gids", NULL, 'g' },
    { "cap",             IN(exec), "cap", NULL, 'c' },
    { "detach",          IN(exec), "detach", NULL, 'd' },
    { "pid-file",        IN(exec), "pid_file", "FILE" },
    { "console-socket",  IN(exec), "console_socket", "FILE" },
    { "apparmor",        IN(exec), "apparmor" },
    { "process-label",   IN(exec), "process_label" },
    { "no-new-privs",    IN(exec), "no_new_privs" },
    { "preserve-fds",    IN(exec), "preserve_fds" },
    { "cgroup",          IN(exec), "cgroup" },
    { "ignore-paused",   IN(exec), "ignore_paused" },
    { "no-subreaper",    IN(exec), "no_subreaper" },
    {},
};
#define CRIU_OPTS                                                              \
    { "image-path",          IN(criu), "image_path", "DIR" },                 \
    { "work-path",           IN(criu), "work_path", "DIR" },                  \
    { "tcp-established",     IN(criu), "tcp_established" },                   \
    { "ext-unix-sk",         IN(criu), "ext_unix_sk" },                       \
    { "shell-job",           IN(criu), "shell_job" },                         \
    { "file-locks",          IN(criu), "file_locks" },                        \
    { "manage-cgroups-mode", IN(criu), "manage_cgroups_mode" },               \
    { "empty-ns",            IN(criu), "empty_ns" },                          \
    { "auto-dedup",          IN(criu), "auto_dedup" },                        \
    { "lazy-pages",          IN(criu), "lazy_pages" }

static const struct opt checkpoint_opts[] = {
    CRIU_OPTS,
    { "parent-path",        IN(criu), "parent_path", "DIR" },
    { "leave-running",      IN(criu), "leave_running" },
    { "pre-dump",           IN(criu), "pre_dump" },
    { "tcp-skip-in-flight", IN(criu), "tcp_skip_in_flight" },
    { "page-server",        IN(criu), "page_server" },
    { "status-fd",          IN(criu), "status_fd" },
    {},
};
static const struct opt restore_opts[] = {
    CRIU_OPTS,
    { "bundle",            IN_NEW, "bundle", "DIR", 'b' },
    { "config",            IN_NEW, "config", "FILE", 'f' },
    { "console-socket",    IN_NEW, "console_socket", "FILE" },
    { "pid-file",          IN_NEW, "pid_file", "FILE" },
    { "detach",            IN_NEW, "detach", NULL, 'd' },
    { "keep",              IN_NEW, "keep" },
    { "no-pivot",          IN_NEW, "no_pivot" },
    { "no-new-keyring",    IN_NEW, "no_new_keyring" },
    { "no-subreaper",      IN_NEW, "no_subreaper" },
    { "tcp-close",         IN(criu), "tcp_close" },
    { "lsm-profile",       IN(criu), "lsm_profile" },
    { "lsm-mount-context", IN(criu), "lsm_mount_context" },
    {},
};
static const struct opt kill_opts[]   = { { "all", IN_MORE, "all", NULL, 'a' }, {} };
static const struct opt delete_opts[] = { { "force", IN_MORE, "force", NULL, 'f' }, {} };
static const struct opt ps_opts[]     = { { "format", IN_MORE, "format", NULL, 'f' }, {} };
static const struct opt list_opts[]   = { { "format", IN(list), "format", NULL, 'f' }, { "quiet", IN(list), "quiet", NULL, 'q' }, {} };
static const struct opt spec_opts[]   = { { "bundle", IN_MORE, "bundle", "DIR", 'b' }, { "rootless", IN_MORE, "rootless" }, {} };
static const struct opt events_opts[] = { { "stats", IN_MORE, "stats" }, { "interval", IN_MORE, "interval" }, {} };
static const struct opt update_opts[] = {
    { "resources",          IN(update), "resources", "FILE", 'r' },
    { "memory",             IN(update), "memory" },
    { "memory-reservation", IN(update), "memory_reservation" },
    { "memory-swap",        IN(update), "memory_swap" },
    { "cpu-share",          IN(update), "cpu_share" },
    { "cpu-quota",          IN(update), "cpu_quota" },
    { "cpu-period",         IN(update), "cpu_period" },
    { "cpu-idle",           IN(update), "cpu_idle" },
    { "cpuset-cpus",        IN(update), "cpuset_cpus" },
    { "cpuset-mems",        IN(update), "cpuset_mems" },
    { "pids-limit",         IN(update), "pids_limit" },
    { "blkio-weight",       IN(update), "blkio_weight" },
    {},
};
static const struct opt no_opts[] = { {} };
/* clang-format on */

static int run_create(struct box_args *a, int, char **argv, struct err *e)
{
    return box_create(&a->global, &a->make, argv[0], e);
}
static int run_run(struct box_args *a, int, char **argv, struct err *e)
{
    return box_run(&a->global, &a->make, argv[0], e);
}
static int run_start(struct box_args *a, int, char **argv, struct err *e)
{
    return box_start(&a->global, argv[0], e);
}
static int run_exec(struct box_args *a, int argc, char **argv, struct err *e)
{
    return box_exec(&a->global, &a->exec, argv[0], (unsigned)argc - 1, argv + 1, e);
}
static int run_kill(struct box_args *a, int argc, char **argv, struct err *e)
{
    return box_kill(&a->global, argv[0], argc > 1 ? argv[1] : NULL, a->more.all, e);
}
static int run_delete(struct box_args *a, int, char **argv, struct err *e)
{
    return box_delete(&a->global, argv[0], a->more.force, e);
}
static int run_state(struct box_args *a, int, char **argv, struct err *e)
{
    return box_state_print(&a->global, argv[0], e);
}
static int run_list(struct box_args *a, int, char **, struct err *e)
{
    return box_list_print(&a->global, &a->list, e);
}
static int run_ps(struct box_args *a, int, char **argv, struct err *e)
{
    return box_ps_print(&a->global, argv[0], a->more.format == 1, e);
}
static int run_pause(struct box_args *a, int, char **argv, struct err *e)
{
    return box_pause(&a->global, argv[0], true, e);
}
static int run_resume(struct box_args *a, int, char **argv, struct err *e)
{
    return box_pause(&a->global, argv[0], false, e);
}
static int run_checkpoint(struct box_args *a, int, char **argv, struct err *e)
{
    return box_checkpoint(&a->global, &a->criu, argv[0], e);
}
static int run_restore(struct box_args *a, int, char **argv, struct err *e)
{
    return box_restore(&a->global, &a->make, &a->criu, argv[0], e);
}
static int run_update(struct box_args *a, int, char **argv, struct err *e)
{
    return box_update(&a->global, &a->update, argv[0], e);
}
static int run_events(struct box_args *a, int, char **argv, struct err *e)
{
    return box_events_print(&a->global, argv[0], a->more.stats, a->more.interval, e);
}
static int run_spec(struct box_args *a, int, char **, struct err *e)
{
    return box_spec_write(a->more.bundle, a->more.rootless, e);
}
static int run_features(struct box_args *, int, char **, struct err *e)
{
    return box_features_print(e);
}
static int run_version(struct box_args *, int, char **, struct err *)
{
    return box_version_print();
}

/* clang-format off */
const struct box_command box_commands[] = {
    { "create",   "[OPTION]… ID", "Make a container; its program waits for start", create_opts, 1, 1, true, run_create },
    { "start",    "ID", "Let the program of a created container begin", no_opts, 1, 1, false, run_start },
    { "run",      "[OPTION]… ID", "Create, start, wait for the end, delete", run_opts, 1, 1, true, run_run },
    { "exec",     "[OPTION]… ID [PROGRAM [ARGUMENT]…]", "Run one more program in it", exec_opts, 1, 1u << 30, true, run_exec },
    { "kill",     "[OPTION]… ID [SIGNAL]", "Send a signal to its first process (SIGTERM)", kill_opts, 1, 2, false, run_kill },
    { "delete",   "[OPTION]… ID", "Remove what is left of a stopped one", delete_opts, 1, 1, false, run_delete },
    { "state",    "ID", "Show its state, as JSON", no_opts, 1, 1, false, run_state },
    { "list",     "[OPTION]…", "List all", list_opts, 0, 0, false, run_list },
    { "ps",       "[OPTION]… ID", "List its processes", ps_opts, 1, 1u << 30, false, run_ps },
    { "pause",    "ID", "Freeze all its processes", no_opts, 1, 1, false, run_pause },
    { "resume",   "ID", "Let them go on", no_opts, 1, 1, false, run_resume },
    { "checkpoint", "[OPTION]… ID", "Write what it is and does to files, by CRIU, and stop it", checkpoint_opts, 1, 1, false, run_checkpoint },
    { "restore",  "[OPTION]… ID", "Make a container of such files, which goes on", restore_opts, 1, 1, false, run_restore },
    { "update",   "[OPTION]… ID", "Change its limits", update_opts, 1, 1, false, run_update },
    { "events",   "[OPTION]… ID", "Show its counters, as JSON", events_opts, 1, 1, false, run_events },
    { "spec",     "[OPTION]…", "Write a config.json to begin with", spec_opts, 0, 0, false, run_spec },
    { "features", "", "Show what this program supports, as JSON", no_opts, 0, 0, false, run_features },
    { "version",  "", "Show the version", no_opts, 0, 0, false, run_version },
    {},
};

static const struct { const struct field *fields; size_t at; } tables[] = {
    { IN(global) }, { IN_NEW }, { IN(exec) }, { IN(criu) }, { IN(list) }, { IN(update) }, { IN_MORE },
};
/* clang-format on */

void box_args_init(struct box_args *a)
{
    *a = (struct box_args){};
    for_each_row(t, tables)
        conf_defaults(t->fields, (u8 *)a + t->at);
}

void box_args_fini(struct box_args *a)
{
    for_each_row(t, tables)
        conf_fini(t->fields, (u8 *)a + t->at);
}

/* Does the word take the next one as its value? */
static bool takes_next(const struct opt *opts, const char *word)
{
    const bool is_long = word[1] == '-';
    const char *name = word + 1 + is_long;

    for (const struct opt *o = opts; o->name; o++)
        if (is_long ? strcmp(o->name, name) == 0 : o->letter == name[0] && !name[1])
            return !opt_is_flag(o);
    return false;
}

int box_parse(const struct opt *opts, struct box_args *a, int argc, char **argv, int *ret_used,
              struct err *e)
{
    struct opt_args none = {};
    int n = 0, r;

    while (n < argc && argv[n][0] == '-' && argv[n][1]) {
        const bool end = strcmp(argv[n], "--") == 0;

        n += !end && takes_next(opts, argv[n]) ? 2 : 1;
        if (end)
            break;
    }
    n = min(n, argc);
    r = opt_parse(opts, a, n, argv, &none, e);
    *ret_used = n;
    return r;
}
