/*
 * box/info.c: what this program is and can: features, version, and a specification to begin with.
 */
#include "box/box.h"
#include "box/caps.h"
#include "box/mount.h"
#include "box/seccomp.h"
#include "box/unit.h"

#include <fcntl.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

static json_t *words(const char *const *list)
{
    json_t *out = json_array();

    for (; *list; list++)
        if (**list)
            json_array_append_new(out, json_string(*list));
    return out;
}

static json_t *mount_options(void)
{
    json_t *out = json_array();
    const char *name;

    for (unsigned i = 0; (name = mount_option_name(i)); i++)
        if (*name)
            json_array_append_new(out, json_string(name));
    return out;
}

/* Those that this kernel has, too. */
static json_t *capabilities(void)
{
    json_t *out = json_array();

    for (unsigned i = 0; caps_words[i]; i++)
        if (prctl(PR_CAPBSET_READ, i, 0, 0, 0) >= 0)
            json_array_append_new(out, json_string(caps_words[i]));
    return out;
}

static json_t *seccomp(void)
{
    static const char *const archs[] = { "SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32",
                                         NULL };
    json_t *known = json_array(), *supported = json_array();
    const char *flag;
    bool here;

    for (unsigned i = 0; (flag = box_filter_flag(i, &here)); i++) {
        json_array_append_new(known, json_string(flag));
        if (here)
            json_array_append_new(supported, json_string(flag));
    }
    return json_pack("{s:b, s:o, s:o, s:o, s:o, s:o}", "enabled", 1, "actions",
                     words(oci_seccomp_actions), "operators", words(oci_seccomp_ops), "archs",
                     words(archs), "knownFlags", known, "supportedFlags", supported);
}

static json_t *enabled(bool on)
{
    return json_pack("{s:b}", "enabled", on);
}

static json_t *memory_policy(void)
{
    return json_pack("{s:b, s:o, s:o}", "enabled", 1, "modes", words(oci_policy_words), "flags",
                     words(oci_policy_flags));
}

int box_features_print(struct err *e)
{
    const struct scmp_version *v = seccomp_version();
    AUTO(free) char *library = str_new("%u.%u.%u", v->major, v->minor, v->micro);
    AUTO(free) char *text = NULL;
    AUTO(free) char *line = NULL;
    json_t *os = json_pack(
        "{s:o, s:o, s:{s:b, s:b, s:b, s:b, s:b}, s:o, s:{s:b}, s:{s:b}, s:o, s:o, s:{s:o}, s:o}",
        "namespaces", words(oci_ns_words), "capabilities", capabilities(), "cgroup", "v1", 0, "v2",
        1, "systemd", 1, "systemdUser", 1, "rdma", 1, "seccomp", seccomp(), "apparmor", "enabled",
        1, "selinux", "enabled", 1, "intelRdt", enabled(false), "memoryPolicy", memory_policy(),
        "mountExtensions", "idmap", enabled(true), "netDevices", enabled(true));
    json_t *json =
        json_pack("{s:s, s:s, s:o, s:o, s:o, s:{s:s, s:s, s:s}, s:[s]}", "ociVersionMin", "1.0.0",
                  "ociVersionMax", BOX_OCI_VERSION, "hooks", words(oci_hook_words), "mountOptions",
                  mount_options(), "linux", os, "annotations", "org.socle.box.version",
                  SOCLE_VERSION, "io.github.seccomp.libseccomp.version", library,
                  "org.opencontainers.runc.checkpoint.enabled", "true",
                  "potentiallyUnsafeConfigAnnotations", UNIT_NOTES);
    int r;

    must(json);
    text = json_dumps(json, JSON_INDENT(2));
    json_decref(json);
    line = str_new("%s\n", text);
    r = fd_write_all(STDOUT_FILENO, line, strlen(line));
    return r < 0 ? err_code(e, r, "write to standard output") : 0;
}

int box_version_print(void)
{
    const struct scmp_version *v = seccomp_version();

    return printf("socle-box version %s\nspec: %s\nlibseccomp: %u.%u.%u\n", SOCLE_VERSION,
                  BOX_OCI_VERSION, v->major, v->minor, v->micro) < 0;
}

/* What `spec` writes; a user without privilege gets a user namespace and what is allowed in it. */
static const char head[] =
    "{\"ociVersion\":\"" BOX_OCI_VERSION
    "\",\"process\":{\"terminal\":true,\"user\":{\"uid\":0,\"gid\":0},"
    "\"args\":[\"sh\"],\"env\":[\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/"
    "bin\","
    "\"TERM=xterm\"],\"cwd\":\"/"
    "\",\"capabilities\":{\"bounding\":[%s],\"effective\":[%s],\"permitted\":"
    "[%s]},\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"hard\":1024,\"soft\":1024}],"
    "\"noNewPrivileges\":true},"
    "\"root\":{\"path\":\"rootfs\",\"readonly\":true},\"hostname\":\"socle\",\"mounts\":["
    "{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},"
    "{\"destination\":\"/"
    "dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"nosuid\",\"strictatime\","
    "\"mode=755\",\"size=65536k\"]},"
    "{\"destination\":\"/dev/"
    "pts\",\"type\":\"devpts\",\"source\":\"devpts\",\"options\":[\"nosuid\",\"noexec\","
    "\"newinstance\",\"ptmxmode=0666\",\"mode=0620\"%s]},"
    "{\"destination\":\"/dev/"
    "shm\",\"type\":\"tmpfs\",\"source\":\"shm\",\"options\":[\"nosuid\",\"noexec\","
    "\"nodev\",\"mode=1777\",\"size=65536k\"]},"
    "{\"destination\":\"/dev/"
    "mqueue\",\"type\":\"mqueue\",\"source\":\"mqueue\",\"options\":[\"nosuid\","
    "\"noexec\",\"nodev\"]},"
    "{\"destination\":\"/"
    "sys\",\"type\":\"sysfs\",\"source\":\"sysfs\",\"options\":[\"nosuid\",\"noexec\","
    "\"nodev\",\"ro\"]}%s],"
    "\"linux\":{%s\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"network\"},{\"type\":\"ipc\"},{"
    "\"type\":\"uts\"},"
    "{\"type\":\"mount\"},{\"type\":\"cgroup\"}%s],\"maskedPaths\":[\"/proc/acpi\",\"/proc/"
    "asound\",\"/proc/kcore\","
    "\"/proc/keys\",\"/proc/latency_stats\",\"/proc/timer_list\",\"/proc/timer_stats\",\"/proc/"
    "sched_debug\","
    "\"/proc/scsi\",\"/proc/interrupts\",\"/sys/firmware\",\"/sys/devices/virtual/"
    "powercap\"],\"readonlyPaths\":[\"/proc/bus\",\"/proc/fs\",\"/proc/irq\","
    "\"/proc/sys\",\"/proc/sysrq-trigger\"]}}";

int box_spec_write(const char *bundle, bool rootless, struct err *e)
{
    static const char caps[] = "\"CAP_AUDIT_WRITE\",\"CAP_KILL\",\"CAP_NET_BIND_SERVICE\"";
    static const char cgroup[] =
        ",{\"destination\":\"/sys/fs/cgroup\",\"type\":\"cgroup\",\"source\":\"cgroup\","
        "\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"relatime\",\"ro\"]}";
    AUTO(free)
    char *maps = rootless
                     ? str_new("\"uidMappings\":[{\"containerID\":0,\"hostID\":%u,\"size\":1}],"
                               "\"gidMappings\":[{\"containerID\":0,\"hostID\":%u,\"size\":1}],",
                               geteuid(), getegid())
                     : xdup("\"resources\":{\"devices\":[{\"allow\":false,\"access\":\"rwm\"}]},");
    AUTO(free)
    char *text = str_new(head, caps, caps, caps, rootless ? "" : ",\"gid=5\"",
                         rootless ? "" : cgroup, maps, rootless ? ",{\"type\":\"user\"}" : "");
    AUTO(free) char *path = str_new("%s/config.json", bundle ? bundle : ".");
    AUTO(free) char *pretty = NULL;
    AUTO(fd) int fd = -1;
    json_t *json;
    int r = conf_load(text, strlen(text), &json, e);

    must(r == 0);
    pretty = json_dumps(json, JSON_INDENT(4));
    json_decref(json);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    r = fd < 0 ? -errno : fd_write_all(fd, pretty, strlen(pretty));
    if (r == -EEXIST)
        return err_set(e, r, "file '%.120s' exists; remove it first", path);
    return r < 0 ? err_code(e, r, "write '%.120s'", path) : 0;
}
