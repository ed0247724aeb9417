/*
 * box/oci.c: the tables of config.json for every system: root, mounts, process, hooks.
 */
#include "box/oci.h"

static bool path_is_absolute(const char *s)
{
    return s[0] == '/';
}

static const struct field root_fields[] = {
    FIELD_STR(oci_root, path, "directory of the root file system", .required = true),
    FIELD_BOOL(oci_root, readonly, "refuse writes to it"),
    {},
};

static const struct field mount_fields[] = {
    FIELD_STR(oci_mount, destination, "path in the container", .required = true),
    FIELD_STR(oci_mount, type, "file system"),
    FIELD_STR(oci_mount, source, "what is mounted"),
    FIELD_STRS(oci_mount, options, 256, "options of mount(8)"),
    FIELD_LIST(oci_mount, uidMappings, oci_map_fields, oci_map, OCI_MAPS_MAX, "owners are shifted"),
    FIELD_LIST(oci_mount, gidMappings, oci_map_fields, oci_map, OCI_MAPS_MAX, "groups are shifted"),
    {},
};

static const struct field gid_fields[] = {
    FIELD_INT(oci_gid, gid, "group", .first = true),
    {},
};

static const struct field user_fields[] = {
    FIELD_INT(oci_user, uid, "user"),
    FIELD_INT(oci_user, gid, "group"),
    FIELD_INT(oci_user, umask, "file mode creation mask", .dflt = BOX_NO_ID),
    FIELD_LIST(oci_user, additionalGids, gid_fields, oci_gid, OCI_GIDS_MAX, "more groups"),
    {},
};

static const struct field caps_fields[] = {
    FIELD_STRS(oci_caps, bounding, 64, "capabilities"),
    FIELD_STRS(oci_caps, effective, 64, "capabilities"),
    FIELD_STRS(oci_caps, inheritable, 64, "capabilities"),
    FIELD_STRS(oci_caps, permitted, 64, "capabilities"),
    FIELD_STRS(oci_caps, ambient, 64, "capabilities"),
    {},
};

/* At the place of its number (getrlimit(2)). */
const char *const oci_rlimit_words[] = {
    "RLIMIT_CPU",
    "RLIMIT_FSIZE",
    "RLIMIT_DATA",
    "RLIMIT_STACK",
    "RLIMIT_CORE",
    "RLIMIT_RSS",
    "RLIMIT_NPROC",
    "RLIMIT_NOFILE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_AS",
    "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
    NULL,
};

static const struct field rlimit_fields[] = {
    FIELD_ENUM(oci_rlimit, type, oci_rlimit_words, "what is limited", .required = true),
    FIELD_INT(oci_rlimit, soft, "value"),
    FIELD_INT(oci_rlimit, hard, "ceiling"),
    {},
};

static const struct field console_fields[] = {
    { .name = "height", .doc = "rows", .kind = FIELD_KIND_INT, .at = 0, .size = 4, .max = 65535 },
    { .name = "width", .doc = "columns", .kind = FIELD_KIND_INT, .at = 4, .size = 4, .max = 65535 },
    {},
};

/* At the place of its number (sched(7)); "" is what was not given. */
static const char *const policy_words[] = { "SCHED_OTHER",    "SCHED_FIFO", "SCHED_RR",
                                            "SCHED_BATCH",    "SCHED_ISO",  "SCHED_IDLE",
                                            "SCHED_DEADLINE", "",           NULL };

static const struct field scheduler_fields[] = {
    FIELD_ENUM(oci_scheduler, policy, policy_words, "policy", .dflt = OCI_NO_SCHED),
    FIELD_SINT(oci_scheduler, nice, "nice value", .min = (u64)-20, .max = 19),
    FIELD_SINT(oci_scheduler, priority, "static priority", .min = (u64)-99, .max = 99),
    FIELD_STRS(oci_scheduler, flags, 8, "SCHED_FLAG_*"),
    FIELD_INT(oci_scheduler, runtime, "nanoseconds"),
    FIELD_INT(oci_scheduler, deadline, "nanoseconds"),
    FIELD_INT(oci_scheduler, period, "nanoseconds"),
    {},
};

/* At the place of its number (ioprio_set(2)). */
static const char *const io_words[] = { "", "IOPRIO_CLASS_RT", "IOPRIO_CLASS_BE",
                                        "IOPRIO_CLASS_IDLE", NULL };

static const struct field io_fields[] = {
    { .name = "class",
      .doc = "class",
      .kind = FIELD_KIND_ENUM,
      .at = 0,
      .size = 4,
      .words = io_words },
    { .name = "priority", .doc = "level", .kind = FIELD_KIND_INT, .at = 4, .size = 4, .max = 7 },
    {},
};

static const struct field affinity_fields[] = {
    FIELD_STR(oci_affinity, initial, "CPUs before it is in the cgroup"),
    FIELD_STR(oci_affinity, final, "CPUs"),
    {},
};

const struct field oci_process_fields[] = {
    FIELD_BOOL(oci_process, terminal, "give it a terminal"),
    FIELD_OBJ(oci_process, consoleSize, console_fields, "size of the terminal"),
    FIELD_OBJ(oci_process, user, user_fields, "who it is"),
    FIELD_STRS(oci_process, args, OCI_WORDS_MAX, "program and its arguments"),
    FIELD_STRS(oci_process, env, OCI_WORDS_MAX, "environment"),
    FIELD_STR(oci_process, cwd, "working directory", .required = true, .ok = path_is_absolute,
              .want = "an absolute path"),
    FIELD_OBJ(oci_process, capabilities, caps_fields, "capabilities"),
    FIELD_LIST(oci_process, rlimits, rlimit_fields, oci_rlimit, 16, "resource limits"),
    FIELD_BOOL(oci_process, noNewPrivileges, "an exec gives no privileges"),
    FIELD_STR(oci_process, apparmorProfile, "AppArmor profile"),
    FIELD_STR(oci_process, selinuxLabel, "SELinux label"),
    FIELD_SINT(oci_process, oomScoreAdj, "OOM score", .min = (u64)-1000, .max = 1000,
               .dflt = (u64)BOX_UNSET),
    FIELD_OBJ(oci_process, scheduler, scheduler_fields, "how it is scheduled"),
    FIELD_OBJ(oci_process, ioPriority, io_fields, "I/O priority"),
    FIELD_OBJ(oci_process, execCPUAffinity, affinity_fields, "CPUs of an exec"),
    {},
};

static bool path_is_plain(const char *s)
{
    return s[0] == '/' && s[1];
}

static const struct field hook_fields[] = {
    FIELD_STR(oci_hook, path, "program", .required = true, .ok = path_is_plain,
              .want = "an absolute path"),
    FIELD_STRS(oci_hook, args, 1024, "its name and arguments"),
    FIELD_STRS(oci_hook, env, 1024, "environment"),
    FIELD_INT(oci_hook, timeout, "seconds", .min = 1, .max = 86400),
    {},
};

const char *const oci_hook_words[] = {
    "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop", NULL
};

/* clang-format off */
static const struct field hooks_fields[] = {
    FIELD_LIST(oci_hooks, kind[HOOK_PRESTART],         hook_fields, oci_hook, OCI_HOOKS_MAX, "in the runtime's namespaces", .name = "prestart"),
    FIELD_LIST(oci_hooks, kind[HOOK_CREATE_RUNTIME],   hook_fields, oci_hook, OCI_HOOKS_MAX, "in the runtime's namespaces", .name = "createRuntime"),
    FIELD_LIST(oci_hooks, kind[HOOK_CREATE_CONTAINER], hook_fields, oci_hook, OCI_HOOKS_MAX, "in the container's, before its root", .name = "createContainer"),
    FIELD_LIST(oci_hooks, kind[HOOK_START_CONTAINER],  hook_fields, oci_hook, OCI_HOOKS_MAX, "in the container", .name = "startContainer"),
    FIELD_LIST(oci_hooks, kind[HOOK_POSTSTART],        hook_fields, oci_hook, OCI_HOOKS_MAX, "when the process runs", .name = "poststart"),
    FIELD_LIST(oci_hooks, kind[HOOK_POSTSTOP],         hook_fields, oci_hook, OCI_HOOKS_MAX, "when it is deleted", .name = "poststop"),
    {},
};
/* clang-format on */

static bool version_ok(const char *s)
{
    return str_starts(s, "1.") && s[2] >= '0' && s[2] <= '9';
}

const struct field oci_fields[] = {
    FIELD_STR(oci, ociVersion, "version of the specification", .required = true, .ok = version_ok,
              .want = "1.x"),
    FIELD_OBJ(oci, root, root_fields, "root file system", .required = true),
    FIELD_STR(oci, hostname, "name of the host"),
    FIELD_STR(oci, domainname, "name of its domain"),
    FIELD_LIST(oci, mounts, mount_fields, oci_mount, OCI_MOUNTS_MAX, "what is mounted"),
    FIELD_OBJ(oci, process, oci_process_fields, "what runs", .required = true),
    FIELD_OBJ(oci, hooks, hooks_fields, "programs at points of its life"),
    FIELD_MAP(oci, annotations, OCI_NOTES_MAX, "notes of others"),
    FIELD_OBJ(oci, os, oci_linux_fields, "Linux", .name = "linux"),
    {},
};
