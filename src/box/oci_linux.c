/*
 * box/oci_linux.c: the tables of config.json's part for Linux.
 */
#include "box/oci.h"

const char *const oci_ns_words[] = { "user", "mount",  "pid",  "network", "ipc",
                                     "uts",  "cgroup", "time", NULL };
/* At the place of their meaning in seccomp.c's tables. */
const char *const oci_seccomp_actions[] = {
    "SCMP_ACT_KILL",         "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP",
    "SCMP_ACT_ERRNO",        "SCMP_ACT_TRACE",
    "SCMP_ACT_ALLOW",        "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",       NULL,
};
const char *const oci_seccomp_ops[] = { "SCMP_CMP_NE",        "SCMP_CMP_LT", "SCMP_CMP_LE",
                                        "SCMP_CMP_EQ",        "SCMP_CMP_GE", "SCMP_CMP_GT",
                                        "SCMP_CMP_MASKED_EQ", NULL };

static const struct field namespace_fields[] = {
    FIELD_ENUM(oci_namespace, type, oci_ns_words, "kind", .required = true),
    FIELD_STR(oci_namespace, path, "an existing one to join"),
    {},
};

const struct field oci_map_fields[] = {
    FIELD_INT(oci_map, containerID, "first id inside", .required = true),
    FIELD_INT(oci_map, hostID, "first id outside", .required = true),
    FIELD_INT(oci_map, size, "how many", .required = true, .min = 1),
    {},
};

static const char *const device_words[] = { "c", "b", "u", "p", NULL };
static const struct field device_fields[] = {
    FIELD_ENUM(oci_device, type, device_words, "kind", .required = true),
    FIELD_STR(oci_device, path, "path in the container", .required = true),
    FIELD_INT(oci_device, major, "major number", .max = 4095),
    FIELD_INT(oci_device, minor, "minor number", .max = 1048575),
    FIELD_INT(oci_device, fileMode, "mode", .dflt = 0666),
    FIELD_INT(oci_device, uid, "owner"),
    FIELD_INT(oci_device, gid, "group"),
    {},
};

static const char *const rule_words[] = { "a", "c", "b", "", NULL };
static bool access_ok(const char *s)
{
    return strspn(s, "rwm") == strlen(s);
}
static const struct field rule_fields[] = {
    FIELD_BOOL(oci_rule, allow, "may it be used", .required = true),
    FIELD_ENUM(oci_rule, type, rule_words, "kind"),
    FIELD_SINT(oci_rule, major, "major number; all of them where it is missing", .min = (u64)-1,
               .max = UINT32_MAX, .dflt = (u64)-1),
    FIELD_SINT(oci_rule, minor, "minor number", .min = (u64)-1, .max = UINT32_MAX, .dflt = (u64)-1),
    FIELD_STR(oci_rule, access, "read, write, mknod", .ok = access_ok, .want = "some of r, w, m"),
    {},
};

static const struct field throttle_fields[] = {
    FIELD_INT(oci_throttle, major, "major number", .required = true),
    FIELD_INT(oci_throttle, minor, "minor number", .required = true),
    FIELD_INT(oci_throttle, rate, "a second", .required = true),
    {},
};
static const struct field weight_fields[] = {
    FIELD_INT(oci_weight, major, "major number", .required = true),
    FIELD_INT(oci_weight, minor, "minor number", .required = true),
    FIELD_INT(oci_weight, weight, "share", .required = true, .min = 1, .max = 1000),
    {},
};
static const struct field huge_fields[] = {
    FIELD_STR(oci_huge, pageSize, "2MB, 1GB", .required = true),
    FIELD_INT(oci_huge, limit, "bytes", .required = true),
    {},
};
static const struct field rdma_fields[] = {
    FIELD_STR(oci_rdma, name, "device", .required = true),
    FIELD_SINT(oci_rdma, hcaHandles, "handles", .dflt = (u64)BOX_UNSET),
    FIELD_SINT(oci_rdma, hcaObjects, "objects", .dflt = (u64)BOX_UNSET),
    {},
};

/* Of the unnamed structs in struct oci_resources. */
#define IN(part, member)                                                                      \
    .at = offsetof(struct oci_resources, part.member) - offsetof(struct oci_resources, part), \
    .size = MEMBER_SIZE(struct oci_resources, part.member), .name = #member
#define NUMBER(part, member, text, ...)                                           \
    {                                                                             \
        IN(part, member), .doc = text, .kind = FIELD_KIND_INT, .is_signed = true, \
                          .dflt = (u64)BOX_UNSET, ##__VA_ARGS__                   \
    }
#define FLAG(part, member, text)                               \
    {                                                          \
        IN(part, member), .doc = text, .kind = FIELD_KIND_BOOL \
    }
#define TEXT(part, member, text)                              \
    {                                                         \
        IN(part, member), .doc = text, .kind = FIELD_KIND_STR \
    }
#define RATES(member, text)                                                                       \
    {                                                                                             \
        IN(blockIO, member), .doc = text, .kind = FIELD_KIND_LIST, .sub = throttle_fields,        \
                             .sub_size = sizeof(struct oci_throttle), .list_max = OCI_DEVICES_MAX \
    }

/* clang-format off */
static const struct field memory_fields[] = {
    NUMBER(memory, limit,            "bytes; -1: no limit", .min = (u64)-1),
    NUMBER(memory, reservation,      "bytes that are spared; -1: none", .min = (u64)-1),
    NUMBER(memory, swap,             "bytes with swap; -1: no limit", .min = (u64)-1),
    NUMBER(memory, kernel,           "cgroup v1 only"),
    NUMBER(memory, kernelTCP,        "cgroup v1 only"),
    NUMBER(memory, swappiness,       "cgroup v1 only"),
    FLAG(memory,   disableOOMKiller, "cgroup v1 only"),
    FLAG(memory,   useHierarchy,     "cgroup v2 has no other way"),
    FLAG(memory,   checkBeforeUpdate, "refuse a limit that is below the use"),
    {},
};
static const struct field cpu_fields[] = {
    NUMBER(cpu, shares,          "share", .min = 0, .max = 1ull << 32),
    NUMBER(cpu, quota,           "microseconds a period; -1: no limit", .min = (u64)-1),
    NUMBER(cpu, burst,           "microseconds more", .min = 0),
    NUMBER(cpu, period,          "microseconds", .min = 0),
    NUMBER(cpu, realtimeRuntime, "cgroup v1 only"),
    NUMBER(cpu, realtimePeriod,  "cgroup v1 only"),
    NUMBER(cpu, idle,            "SCHED_IDLE for all", .min = 0, .max = 1),
    TEXT(cpu,   cpus,            "which CPUs"),
    TEXT(cpu,   mems,            "which nodes of memory"),
    {},
};
static const struct field pids_fields[] = {
    NUMBER(pids, limit, "processes; -1: no limit", .min = (u64)-1),
    {},
};
static const struct field io_fields[] = {
    { IN(blockIO, weight),     .doc = "share", .kind = FIELD_KIND_INT, .max = 1000 },
    { IN(blockIO, leafWeight), .doc = "cgroup v1 only", .kind = FIELD_KIND_INT, .max = 1000 },
    { IN(blockIO, weightDevice), .doc = "shares of devices", .kind = FIELD_KIND_LIST, .sub = weight_fields,
      .sub_size = sizeof(struct oci_weight), .list_max = OCI_DEVICES_MAX },
    RATES(throttleReadBpsDevice,   "bytes read"),
    RATES(throttleWriteBpsDevice,  "bytes written"),
    RATES(throttleReadIOPSDevice,  "reads"),
    RATES(throttleWriteIOPSDevice, "writes"),
    {},
};
/* clang-format on */

const struct field oci_resources_fields[] = {
    FIELD_LIST(oci_resources, devices, rule_fields, oci_rule, OCI_RULES_MAX, "device rules"),
    FIELD_OBJ(oci_resources, memory, memory_fields, "memory"),
    FIELD_OBJ(oci_resources, cpu, cpu_fields, "CPU time"),
    FIELD_OBJ(oci_resources, pids, pids_fields, "processes"),
    FIELD_OBJ(oci_resources, blockIO, io_fields, "block devices"),
    FIELD_LIST(oci_resources, hugepageLimits, huge_fields, oci_huge, 16, "huge pages"),
    FIELD_LIST(oci_resources, rdma, rdma_fields, oci_rdma, 64, "RDMA devices"),
    FIELD_MAP(oci_resources, unified, OCI_NOTES_MAX, "files of the cgroup"),
    {},
};

static const struct field arg_fields[] = {
    FIELD_INT(oci_seccomp_arg, index, "which argument", .required = true, .max = 5),
    FIELD_INT(oci_seccomp_arg, value, "value", .required = true),
    FIELD_INT(oci_seccomp_arg, valueTwo, "value under the mask"),
    FIELD_ENUM(oci_seccomp_arg, op, oci_seccomp_ops, "comparison", .required = true),
    {},
};
static const struct field syscall_fields[] = {
    FIELD_STRS(oci_seccomp_rule, names, OCI_RULES_MAX, "system calls", .required = true),
    FIELD_ENUM(oci_seccomp_rule, action, oci_seccomp_actions, "what happens", .required = true),
    FIELD_SINT(oci_seccomp_rule, errnoRet, "error", .min = 0, .max = 65535, .dflt = (u64)BOX_UNSET),
    FIELD_LIST(oci_seccomp_rule, args, arg_fields, oci_seccomp_arg, 6, "only with these"),
    {},
};

/* The one more than there are is "no filter": the part was not given. */
static const struct field seccomp_fields[] = {
    FIELD_ENUM(oci_seccomp, defaultAction, oci_seccomp_actions, "for all others",
               .dflt = OCI_NO_SECCOMP),
    FIELD_SINT(oci_seccomp, defaultErrnoRet, "error", .min = 0, .max = 65535,
               .dflt = (u64)BOX_UNSET),
    FIELD_STRS(oci_seccomp, architectures, 32, "of which programs"),
    FIELD_STRS(oci_seccomp, flags, 8, "SECCOMP_FILTER_FLAG_*"),
    FIELD_LIST(oci_seccomp, syscalls, syscall_fields, oci_seccomp_rule, OCI_RULES_MAX, "rules"),
    FIELD_STR(oci_seccomp, listenerPath, "socket of an agent that is asked"),
    FIELD_STR(oci_seccomp, listenerMetadata, "for the agent"),
    {},
};

static const struct field offset_fields[] = {
    FIELD_SINT(oci_offset, secs, "seconds"),
    FIELD_INT(oci_offset, nanosecs, "and nanoseconds", .max = 999999999),
    {},
};
#define OS(part, member)                                                              \
    .at = offsetof(struct oci_linux, part.member) - offsetof(struct oci_linux, part), \
    .size = MEMBER_SIZE(struct oci_linux, part.member), .name = #member
static const struct field offsets_fields[] = {
    { OS(timeOffsets, monotonic), .doc = "clock", .kind = FIELD_KIND_OBJ, .sub = offset_fields },
    { OS(timeOffsets, boottime), .doc = "clock", .kind = FIELD_KIND_OBJ, .sub = offset_fields },
    {},
};

static const struct field personality_fields[] = {
    { OS(personality, domain), .doc = "LINUX or LINUX32", .kind = FIELD_KIND_STR },
    { OS(personality, flags), .doc = "none are defined", .kind = FIELD_KIND_STRS, .list_max = 1 },
    {},
};

/* At the place of their number (set_mempolicy(2)); "" is what was not given. */
const char *const oci_policy_words[] = {
    "MPOL_DEFAULT",
    "MPOL_PREFERRED",
    "MPOL_BIND",
    "MPOL_INTERLEAVE",
    "MPOL_LOCAL",
    "MPOL_PREFERRED_MANY",
    "MPOL_WEIGHTED_INTERLEAVE",
    "",
    NULL,
};
/* As numa.c has them. */
const char *const oci_policy_flags[] = { "MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES",
                                         "MPOL_F_STATIC_NODES", NULL };
static const struct field word_fields[] = {
    FIELD_ENUM(oci_word, word, oci_policy_flags, "flag", .first = true),
    {},
};
static const struct field policy_fields[] = {
    FIELD_ENUM(oci_memory_policy, mode, oci_policy_words, "policy", .dflt = OCI_NO_POLICY),
    FIELD_STR(oci_memory_policy, nodes, "list of nodes"),
    FIELD_LIST(oci_memory_policy, flags, word_fields, oci_word, 8, "flags"),
    {},
};

static const struct field netdev_fields[] = {
    FIELD_STR(oci_netdev, host, "its name on the host", .required = true),
    FIELD_STR(oci_netdev, name, "its name in the container"),
    {},
};

const struct field oci_linux_fields[] = {
    FIELD_LIST(oci_linux, namespaces, namespace_fields, oci_namespace, NS_KINDS, "namespaces"),
    FIELD_LIST(oci_linux, uidMappings, oci_map_fields, oci_map, OCI_MAPS_MAX, "users"),
    FIELD_LIST(oci_linux, gidMappings, oci_map_fields, oci_map, OCI_MAPS_MAX, "groups"),
    FIELD_LIST(oci_linux, devices, device_fields, oci_device, OCI_DEVICES_MAX, "device files"),
    FIELD_OBJ(oci_linux, timeOffsets, offsets_fields, "clocks"),
    FIELD_STR(oci_linux, cgroupsPath, "cgroup"),
    FIELD_OBJ(oci_linux, resources, oci_resources_fields, "limits"),
    FIELD_STR(oci_linux, rootfsPropagation, "propagation of mounts"),
    FIELD_STRS(oci_linux, maskedPaths, OCI_PATHS_MAX, "what is hidden"),
    FIELD_STRS(oci_linux, readonlyPaths, OCI_PATHS_MAX, "what cannot be written"),
    FIELD_MAP(oci_linux, sysctl, OCI_NOTES_MAX, "kernel settings"),
    FIELD_OBJ(oci_linux, seccomp, seccomp_fields, "system calls"),
    FIELD_OBJ(oci_linux, personality, personality_fields, "execution domain"),
    FIELD_OBJ(oci_linux, memoryPolicy, policy_fields, "nodes of memory"),
    FIELD_LIST(oci_linux, netDevices, netdev_fields, oci_netdev, OCI_NETDEVS_MAX,
               "network devices"),
    FIELD_STR(oci_linux, mountLabel, "SELinux context of mounts"),
    {},
};
