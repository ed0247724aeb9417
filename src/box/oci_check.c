/*
 * box/oci_check.c: what the tables of config.json cannot say: values that contradict each other, or the host.
 */
#include "box/caps.h"
#include "box/oci.h"

/* Digits, of which at least one; a number that is too large stays so. */
static bool read_number(const char **at, u32 *ret)
{
    const char *start = *at;

    for (*ret = 0; **at >= '0' && **at <= '9'; ++*at)
        *ret = min(*ret * 10 + (u32)(**at - '0'), (u32)OCI_CPUS_MAX);
    return *at > start && *ret < OCI_CPUS_MAX;
}

bool oci_range_next(const char **at, u32 *ret_first, u32 *ret_last)
{
    const char *next = *at;

    if (!read_number(&next, ret_first))
        return false;
    *ret_last = *ret_first;
    if (*next == '-' && (next++, !read_number(&next, ret_last)))
        return false;
    if (*ret_first > *ret_last || (*next && (*next != ',' || !next[1])))
        return false;
    *at = next + (*next == ',');
    return true;
}

static int check_list(const char *list, const char *what, u32 max, struct err *e)
{
    const char *at = list ? list : "";
    u32 first, last = 0;

    while (oci_range_next(&at, &first, &last) && last < max)
        ;
    return *at || last >= max
               ? err_set(e, -EINVAL, "%s: '%.60s' is no list of numbers below %u", what, list, max)
               : 0;
}

static int check_caps(const struct oci_caps *from, struct err *e)
{
    AUTO(strbuf) struct strbuf names = {};
    struct caps caps;
    int r = caps_parse(from, &caps, e);

    for (unsigned i = 0; r == 0 && caps_words[i]; i++)
        if (caps.left_out & 1ull << i)
            strbuf_add(&names, "%s%s", names.len ? ", " : "", caps_words[i]);
    /* Other runtimes' `spec --rootless` asks for such, so it is no reason to refuse. */
    if (names.len)
        log_warn("process.capabilities.ambient: left out is what is not inheritable and permitted, "
                 "too: %s",
                 names.text);
    return r;
}

/* What the kernel would take, and leave without effect. */
static int check_scheduler(const struct oci_process *p, struct err *e)
{
    const struct oci_scheduler *s = &p->scheduler;
    const bool fair = s->policy == OCI_SCHED_OTHER || s->policy == OCI_SCHED_BATCH;
    const bool times = s->runtime || s->deadline || s->period;

    if (s->policy == OCI_NO_SCHED && (s->nice || s->priority || s->flags.n || times))
        return err_set(e, -EINVAL, "process.scheduler needs a policy");
    if (s->nice && !fair)
        return err_set(e, -EINVAL,
                       "process.scheduler.nice %d is for SCHED_OTHER and SCHED_BATCH only",
                       s->nice);
    if (times && s->policy != OCI_SCHED_DEADLINE)
        return err_set(e, -EINVAL,
                       "process.scheduler: runtime, deadline and period are for SCHED_DEADLINE "
                       "only");
    if (p->ioPriority.priority && !p->ioPriority.class)
        return err_set(e, -EINVAL, "process.ioPriority needs a class");
    return 0;
}

int oci_check_process(const struct oci_process *p, struct err *e)
{
    int r =
        check_list(p->execCPUAffinity.initial, "process.execCPUAffinity.initial", OCI_CPUS_MAX, e);

    if (r == 0)
        r = check_scheduler(p, e);

    if (r == 0)
        r = check_list(p->execCPUAffinity.final, "process.execCPUAffinity.final", OCI_CPUS_MAX, e);
    if (r < 0)
        return r;

    if (!p->args.n || !p->args.items[0][0])
        return err_set(e, -EINVAL, "process.args must not be empty");
    for (u32 i = 0; i < p->env.n; i++)
        if (!strchr(p->env.items[i], '=') || p->env.items[i][0] == '=')
            return err_set(e, -EINVAL, "process.env: '%.60s' is not NAME=VALUE", p->env.items[i]);
    for_each_of(const struct oci_rlimit, l, &p->rlimits) if (l->soft > l->hard) return err_set(
        e, -EINVAL, "process.rlimits: soft %llu is above hard %llu", l->soft, l->hard);
    return check_caps(&p->capabilities, e);
}

static int check_namespaces(const struct oci *spec, struct err *e)
{
    const struct oci_namespace *mount = oci_ns(spec, NS_MOUNT), *user = oci_ns(spec, NS_USER);
    const struct oci_linux *l = &spec->os;
    u32 seen = 0;

    for_each_of(const struct oci_namespace, n, &l->namespaces)
    {
        if (seen & 1u << n->type)
            return err_set(e, -EINVAL, "linux.namespaces: '%s' is given twice",
                           oci_ns_words[n->type]);
        seen |= 1u << n->type;
    }
    if (!mount || (mount->path && *mount->path))
        return err_set(e, -EINVAL, "linux.namespaces: a new 'mount' namespace is needed");
    if ((l->uidMappings.n || l->gidMappings.n) && (!user || (user->path && *user->path)))
        return err_set(e, -EINVAL, "linux.uidMappings need a new 'user' namespace");
    if (user && !(user->path && *user->path) && (!l->uidMappings.n || !l->gidMappings.n))
        return err_set(e, -EINVAL, "a new 'user' namespace needs uidMappings and gidMappings");
    if ((l->timeOffsets.monotonic.secs || l->timeOffsets.monotonic.nanosecs ||
         l->timeOffsets.boottime.secs || l->timeOffsets.boottime.nanosecs) &&
        !oci_ns(spec, NS_TIME))
        return err_set(e, -EINVAL, "linux.timeOffsets need a 'time' namespace");
    if (spec->hostname && *spec->hostname && !oci_ns(spec, NS_UTS))
        return err_set(e, -EINVAL, "hostname: unable to set it without a private 'uts' namespace");
    if (spec->domainname && *spec->domainname && !oci_ns(spec, NS_UTS))
        return err_set(e, -EINVAL,
                       "domainname: unable to set it without a private 'uts' namespace");
    return 0;
}

/* Which namespace a setting belongs to; what belongs to none would change the host. */
static const struct {
    const char *prefix;
    enum oci_ns ns;
} sysctls[] = {
    { "net.", NS_NETWORK },          { "fs.mqueue.", NS_IPC },
    { "kernel.msgmax", NS_IPC },     { "kernel.msgmnb", NS_IPC },
    { "kernel.msgmni", NS_IPC },     { "kernel.sem", NS_IPC },
    { "kernel.shmall", NS_IPC },     { "kernel.shmmax", NS_IPC },
    { "kernel.shmmni", NS_IPC },     { "kernel.shm_rmid_forced", NS_IPC },
    { "kernel.domainname", NS_UTS }, { "user.", NS_USER },
};

static int check_sysctl(const struct oci *spec, const char *key, struct err *e)
{
    if (strstr(key, "..") || strchr(key, '/'))
        return err_set(e, -EINVAL, "linux.sysctl: '%.60s' is not a name", key);
    for_each_row(s, sysctls) {
        size_t len = strlen(s->prefix);

        if (strncmp(key, s->prefix, len) != 0 || (s->prefix[len - 1] != '.' && key[len]))
            continue;
        if (oci_ns(spec, s->ns))
            return 0;
        return err_set(e, -EINVAL, "linux.sysctl: '%.60s' needs a '%s' namespace of its own", key,
                       oci_ns_words[s->ns]);
    }
    return err_set(e, -EINVAL, "linux.sysctl: '%.60s' is not separate for a container", key);
}

static int check_lists(const struct oci *spec, struct err *e)
{
    const struct oci_linux *l = &spec->os;
    int r;

    for (u32 i = 0; i < l->sysctl.n; i++) {
        r = check_sysctl(spec, l->sysctl.items[2 * i], e);
        if (r < 0)
            return r;
    }
    for (u32 i = 0; i < l->maskedPaths.n; i++)
        if (l->maskedPaths.items[i][0] != '/')
            return err_set(e, -EINVAL, "linux.maskedPaths: '%.80s' is not absolute",
                           l->maskedPaths.items[i]);
    for (u32 i = 0; i < l->readonlyPaths.n; i++)
        if (l->readonlyPaths.items[i][0] != '/')
            return err_set(e, -EINVAL, "linux.readonlyPaths: '%.80s' is not absolute",
                           l->readonlyPaths.items[i]);
    for_each_of(
        const struct oci_device, d,
        &l->devices) if (d->path[0] != '/' ||
                         !strcmp(d->path,
                                 "/")) return err_set(e, -EINVAL,
                                                      "linux.devices: '%.80s' is no absolute path",
                                                      d->path);
    for_each_of(const struct oci_mount, m, &spec->mounts) if (!*m->destination) return err_set(
        e, -EINVAL, "mounts: an empty destination");
    return 0;
}

/* What only cgroup v1 could do is refused unless it asks for what v2 does anyway. */
int oci_check_resources(const struct oci_resources *r, struct err *e)
{
    const struct {
        bool bad;
        const char *name;
    } rows[] = {
        { r->memory.kernel > 0, "memory.kernel" },
        { r->memory.kernelTCP > 0, "memory.kernelTCP" },
        { r->memory.swappiness >= 0, "memory.swappiness" },
        { r->memory.disableOOMKiller, "memory.disableOOMKiller" },
        { r->cpu.realtimeRuntime > 0, "cpu.realtimeRuntime" },
        { r->cpu.realtimePeriod > 0, "cpu.realtimePeriod" },
        { r->blockIO.leafWeight > 0, "blockIO.leafWeight" },
    };

    for_each_row(row, rows)
        if (row->bad)
            return err_set(e, -ENOTSUP, "linux.resources.%s cannot be applied: cgroup v2 has none",
                           row->name);
    for (u32 i = 0; i < r->unified.n; i++) {
        const char *file = r->unified.items[2 * i];

        if (strchr(file, '/') || !strchr(file, '.') || file[0] == '.' ||
            str_starts(file, "cgroup."))
            return err_set(e, -EINVAL, "linux.resources.unified: '%.60s' is no controller's file",
                           file);
    }
    if (r->memory.swap > 0 && r->memory.limit > 0 && r->memory.swap < r->memory.limit)
        return err_set(e, -EINVAL, "linux.resources.memory: swap %lld is below limit %lld",
                       r->memory.swap, r->memory.limit);
    return 0;
}

static bool device_name_ok(const char *name)
{
    const size_t len = strlen(name);

    return len > 0 && len < 16 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
           strcspn(name, "/: \t\n\r\v\f") == len;
}

static int check_new(const struct oci *spec, struct err *e)
{
    const struct oci_memory_policy *p = &spec->os.memoryPolicy;

    if (p->mode == OCI_NO_POLICY && ((p->nodes && *p->nodes) || p->flags.n))
        return err_set(e, -EINVAL, "linux.memoryPolicy needs a mode");
    if (spec->os.netDevices.n && !oci_ns(spec, NS_NETWORK))
        return err_set(e, -EINVAL, "linux.netDevices need a 'network' namespace");
    for_each_of(const struct oci_netdev, d, &spec->os.netDevices)
    {
        if (!device_name_ok(d->host) || strchr(d->host, '%'))
            return err_set(e, -EINVAL, "linux.netDevices: '%.40s' is no name of a device", d->host);
        if (d->name && *d->name && !device_name_ok(d->name))
            return err_set(e, -EINVAL, "linux.netDevices: '%.40s' is no name of a device", d->name);
    }
    return check_list(p->nodes, "linux.memoryPolicy.nodes", 1024, e);
}

/* The specification wants it refused where there is no error to return. */
static int check_errno(int action, s64 code, const char *what, struct err *e)
{
    return code == BOX_UNSET || action == OCI_ACT_ERRNO || action == OCI_ACT_TRACE
               ? 0
               : err_set(e, -EINVAL,
                         "linux.seccomp: %s %lld is for SCMP_ACT_ERRNO and SCMP_ACT_TRACE only",
                         what, code);
}

static int check_seccomp(const struct oci_seccomp *s, struct err *e)
{
    const bool path = s->listenerPath && *s->listenerPath;

    if (s->defaultAction == OCI_NO_SECCOMP && (s->syscalls.n || s->architectures.n || s->flags.n ||
                                               path || s->defaultErrnoRet != BOX_UNSET))
        return err_set(e, -EINVAL, "linux.seccomp needs a defaultAction");
    if (s->defaultAction == OCI_ACT_NOTIFY)
        return err_set(e, -EINVAL,
                       "linux.seccomp.defaultAction: 'SCMP_ACT_NOTIFY' cannot be for all calls, as "
                       "no agent has the descriptor yet when the first is made");
    if (!path && s->listenerMetadata && *s->listenerMetadata)
        return err_set(e, -EINVAL, "linux.seccomp.listenerMetadata needs a listenerPath");
    for_each_of(const struct oci_seccomp_rule, rule, &s->syscalls)
    {
        if (rule->action == OCI_ACT_NOTIFY && !path)
            return err_set(e, -EINVAL, "linux.seccomp: 'SCMP_ACT_NOTIFY' needs a listenerPath");
        if (check_errno(rule->action, rule->errnoRet, "errnoRet", e) < 0)
            return e->code;
    }
    return check_errno(s->defaultAction, s->defaultErrnoRet, "defaultErrnoRet", e);
}

static int check_rest(const struct oci *spec, struct err *e)
{
    static const char *const propagations[] = { "private",    "rprivate",    "slave",
                                                "rslave",     "shared",      "rshared",
                                                "unbindable", "runbindable", "" };
    const char *p = spec->os.rootfsPropagation, *domain = spec->os.personality.domain;
    bool known = !p;

    for_each_row(word, propagations)
        known |= p && strcmp(*word, p) == 0;
    if (!known)
        return err_set(e, -EINVAL, "linux.rootfsPropagation: '%.40s' is unknown", p);
    if (domain && strcmp(domain, "LINUX") != 0 && strcmp(domain, "LINUX32") != 0)
        return err_set(e, -EINVAL, "linux.personality.domain: '%.40s' is not LINUX or LINUX32",
                       domain);
    if (spec->os.personality.flags.n)
        return err_set(e, -ENOTSUP, "linux.personality.flags cannot be applied: none are defined");
    if (strlen(spec->root.path) >= 4096)
        return err_set(e, -EINVAL, "root.path is too long");
    return 0;
}

int oci_check(const struct oci *spec, struct err *e)
{
    int r = oci_check_process(&spec->process, e);

    if (r == 0)
        r = check_namespaces(spec, e);
    if (r == 0)
        r = check_lists(spec, e);
    if (r == 0)
        r = oci_check_resources(&spec->os.resources, e);
    if (r == 0)
        r = check_seccomp(&spec->os.seccomp, e);
    if (r == 0)
        r = check_new(spec, e);
    return r < 0 ? r : check_rest(spec, e);
}
