/*
 * box/oci.h: an OCI runtime specification, config.json, as structs: members have the specification's names.
 * What is read is applied in full: oci_parse refuses what it cannot apply and names it; what the specification does not know
 * is named in a warning and left out, as it demands.
 */
#pragma once

#include "conf/conf.h"

#define BOX_OCI_VERSION "1.3.0"
#define BOX_UNSET       INT64_MIN /* a signed number that was not given */
#define BOX_NO_ID       UINT32_MAX

enum {
    OCI_TEXT_MAX = 4 * 1024 * 1024, /* bytes of config.json */
    OCI_WORDS_MAX = 16 * 1024,      /* of args, of env */
    OCI_MOUNTS_MAX = 1024,
    OCI_PATHS_MAX = 1024, /* masked, read-only */
    OCI_DEVICES_MAX = 512,
    OCI_HOOKS_MAX = 64,   /* of one kind */
    OCI_RULES_MAX = 1024, /* of seccomp, of devices */
    OCI_MAPS_MAX = 340,   /* ranges of a user namespace: the kernel's limit */
    OCI_NOTES_MAX = 1024, /* annotations, sysctl, unified */
    OCI_GIDS_MAX = 1024,
    OCI_CPUS_MAX = 8192, /* numbers in lists of CPUs; of nodes 1024 */
    OCI_NETDEVS_MAX = 64,
};

/* In the order of ns.c's table. */
enum oci_ns { NS_USER, NS_MOUNT, NS_PID, NS_NETWORK, NS_IPC, NS_UTS, NS_CGROUP, NS_TIME, NS_KINDS };

struct oci_root {
    char *path;
    bool readonly;
};

struct oci_map {
    u32 containerID, hostID, size;
};

struct oci_mount {
    char *destination, *type, *source;
    struct field_strs options;
    struct field_list uidMappings, gidMappings; /* struct oci_map */
};

struct oci_gid {
    u32 gid;
};

struct oci_user {
    u32 uid, gid, umask;
    struct field_list additionalGids; /* struct oci_gid */
};

struct oci_caps {
    struct field_strs bounding, effective, inheritable, permitted, ambient;
};

struct oci_rlimit {
    int type; /* RLIMIT_* */
    u64 soft, hard;
};

/* As policy: sched(7)'s numbers; the last one: none is given. */
enum { OCI_SCHED_OTHER = 0, OCI_SCHED_BATCH = 3, OCI_SCHED_DEADLINE = 6, OCI_NO_SCHED = 7 };

struct oci_scheduler {
    int policy;
    s32 nice, priority;
    struct field_strs flags;
    u64 runtime, deadline, period;
};

struct oci_affinity {
    char *initial, *final; /* lists of CPUs */
};

struct oci_process {
    bool terminal;
    struct {
        u32 height, width;
    } consoleSize;
    struct oci_user user;
    struct field_strs args, env;
    char *cwd;
    struct oci_caps capabilities;
    struct field_list rlimits; /* struct oci_rlimit */
    bool noNewPrivileges;
    char *apparmorProfile, *selinuxLabel;
    s64 oomScoreAdj;
    struct oci_scheduler scheduler;
    struct oci_affinity execCPUAffinity;
    struct {
        int class;
        u32 priority;
    } ioPriority;
};

struct oci_hook {
    char *path;
    struct field_strs args, env;
    u32 timeout; /* seconds; 0: none */
};

enum {
    HOOK_PRESTART,
    HOOK_CREATE_RUNTIME,
    HOOK_CREATE_CONTAINER,
    HOOK_START_CONTAINER,
    HOOK_POSTSTART,
    HOOK_POSTSTOP,
    HOOK_KINDS
};

struct oci_hooks {
    struct field_list kind[HOOK_KINDS]; /* struct oci_hook */
};

struct oci_namespace {
    int type; /* enum oci_ns */
    char *path;
};

struct oci_device {
    int type;
    char *path;
    u32 major, minor, fileMode, uid, gid;
};

struct oci_rule { /* of the device cgroup */
    bool allow;
    int type;
    s64 major, minor;
    char *access;
};

struct oci_throttle {
    u32 major, minor;
    u64 rate;
};
struct oci_weight {
    u32 major, minor;
    u32 weight;
};
struct oci_huge {
    char *pageSize;
    u64 limit;
};
struct oci_rdma {
    char *name;
    s64 hcaHandles, hcaObjects;
};

struct oci_resources {
    struct field_list devices; /* struct oci_rule */
    struct {
        s64 limit, reservation, swap, kernel, kernelTCP, swappiness;
        bool disableOOMKiller, useHierarchy, checkBeforeUpdate;
    } memory;
    struct {
        s64 shares, quota, burst, period, realtimeRuntime, realtimePeriod, idle;
        char *cpus, *mems;
    } cpu;
    struct {
        s64 limit;
    } pids;
    struct {
        u32 weight, leafWeight;
        struct field_list weightDevice, throttleReadBpsDevice, throttleWriteBpsDevice,
            throttleReadIOPSDevice, throttleWriteIOPSDevice;
    } blockIO;
    struct field_list hugepageLimits, rdma;
    struct field_strs unified;
};

struct oci_seccomp_arg {
    u32 index;
    u64 value, valueTwo;
    int op;
};

struct oci_seccomp_rule {
    struct field_strs names;
    int action;
    s64 errnoRet;
    struct field_list args; /* struct oci_seccomp_arg */
};

enum {
    OCI_ACT_ERRNO = 4,
    OCI_ACT_TRACE = 5,
    OCI_ACT_NOTIFY = 8,
    OCI_NO_SECCOMP
}; /* the last action; as defaultAction: none is given */

struct oci_seccomp {
    int defaultAction;
    s64 defaultErrnoRet;
    struct field_strs architectures, flags;
    struct field_list syscalls; /* struct oci_seccomp_rule */
    char *listenerPath, *listenerMetadata;
};

struct oci_word {
    int word;
};

enum { OCI_NO_POLICY = 7 }; /* as mode: none is given */

struct oci_memory_policy {
    int mode; /* MPOL_* */
    char *nodes;
    struct field_list flags; /* struct oci_word */
};

struct oci_netdev {
    char *host, *name; /* there, and in the container */
};

struct oci_offset {
    s64 secs;
    u32 nanosecs;
};

struct oci_linux {
    struct field_list namespaces, uidMappings, gidMappings, devices;
    struct {
        struct oci_offset monotonic, boottime;
    } timeOffsets;
    char *cgroupsPath;
    struct oci_resources resources;
    char *rootfsPropagation;
    struct field_strs maskedPaths, readonlyPaths, sysctl;
    struct oci_seccomp seccomp;
    struct oci_memory_policy memoryPolicy;
    struct field_list netDevices; /* struct oci_netdev */
    char *mountLabel;
    struct {
        char *domain;
        struct field_strs flags;
    } personality;
};

struct oci {
    char *ociVersion;
    struct oci_root root;
    char *hostname, *domainname;
    struct field_list mounts; /* struct oci_mount */
    struct oci_process process;
    struct oci_hooks hooks;
    struct field_strs annotations;
    struct oci_linux os; /* "linux" */
};

extern const struct field oci_fields[], oci_process_fields[], oci_resources_fields[];
/* In box/oci_linux.c, for the tables of box/oci.c and for box_features. */
extern const struct field oci_linux_fields[], oci_map_fields[];
extern const char *const oci_ns_words[],
    *const oci_seccomp_actions[], *const oci_seccomp_ops[], *const oci_rlimit_words[],
                                                                *const oci_hook_words[],
                                                                    *const oci_policy_words[],
                                                                        *const oci_policy_flags[];

/* Each loops over the structs of a list. */
#define for_each_of(type, p, list) \
    for (type *p = (list)->items; p && p < (type *)(list)->items + (list)->n; p++)

/* Fills `spec` from text.  -EINVAL with `e` naming the field; finish with oci_fini. */
int oci_parse(struct oci *spec, const char *text, size_t len, struct err *e);
void oci_fini(struct oci *spec);
/* The same for a part of it: a process (exec), resources (update). */
int oci_parse_part(const struct field *fields, const char *where, void *ret, const char *text,
                   size_t len, struct err *e);
/* What tables cannot say: values that contradict each other. */
int oci_check(const struct oci *spec, struct err *e);
/* Of resources alone, for update. */
int oci_check_resources(const struct oci_resources *r, struct err *e);
/* Of a process alone, for exec. */
int oci_check_process(const struct oci_process *p, struct err *e);

/* The next range of a list of numbers ("0-3,7"), *at moves on; false at its end, or where it is wrong (*at is not at its end then). */
bool oci_range_next(const char **at, u32 *ret_first, u32 *ret_last);
/* Does `spec` follow version 1.`minor`, or a later one? */
bool oci_follows(const struct oci *spec, unsigned minor);
const struct oci_namespace *oci_ns(const struct oci *spec, enum oci_ns type);
