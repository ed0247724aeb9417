/*
 * box/caps.c: capability names and the system calls that set them.
 * Not by libcap-ng, which reads /proc: when they are set, /proc is the container's.
 */
#include "box/caps.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

const char *const caps_words[] = {
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
    NULL,
};
static_assert(ARRAY_LEN(caps_words) == CAP_LAST_CAP + 2, "a word a capability");

static int parse_set(const struct field_strs *names, u64 *ret, struct err *e)
{
    *ret = 0;
    for (u32 n = 0; n < names->n; n++) {
        unsigned i = 0;

        while (caps_words[i] && strcmp(caps_words[i], names->items[n]) != 0)
            i++;
        if (!caps_words[i])
            return err_set(e, -EINVAL, "process.capabilities: '%.40s' is unknown", names->items[n]);
        *ret |= 1ull << i;
    }
    return 0;
}

int caps_parse(const struct oci_caps *from, struct caps *ret, struct err *e)
{
    const struct {
        const struct field_strs *names;
        u64 *set;
    } rows[] = {
        { &from->bounding, &ret->bounding },       { &from->effective, &ret->effective },
        { &from->inheritable, &ret->inheritable }, { &from->permitted, &ret->permitted },
        { &from->ambient, &ret->ambient },
    };

    *ret = (struct caps){};
    for_each_row(row, rows) {
        int r = parse_set(row->names, row->set, e);

        if (r < 0)
            return r;
    }
    ret->left_out = ret->ambient & ~(ret->inheritable & ret->permitted);
    ret->ambient &= ~ret->left_out;
    return 0;
}

int caps_bound(const struct caps *caps)
{
    /* Up to the last that this kernel knows, which may be more than we have names for. */
    for (unsigned i = 0; i < 64; i++) {
        if ((caps->bounding & 1ull << i) || prctl(PR_CAPBSET_DROP, i, 0, 0, 0) == 0)
            continue;
        if (errno != EINVAL)
            return -errno;
        break;
    }
    return prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0 ? -errno : 0;
}

int caps_set(const struct caps *caps)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct data[2];

    for (unsigned i = 0; i < 2; i++)
        data[i] = (struct __user_cap_data_struct){
            .effective = (u32)(caps->effective >> 32 * i),
            .permitted = (u32)(caps->permitted >> 32 * i),
            .inheritable = (u32)(caps->inheritable >> 32 * i),
        };
    if (syscall(SYS_capset, &head, data) < 0)
        return -errno;
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
        return -errno;
    for (unsigned i = 0; i < 64; i++) {
        if ((caps->ambient & 1ull << i) && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0) < 0)
            return -errno;
    }
    return prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0 ? -errno : 0;
}
