/*
 * os/spec.c: the fields of an instance of kind os.
 */
#include "os/spec.h"

#include <signal.h>

/* clang-format off */
static const struct field net_fields[] = {
    FIELD_STR(os_net, link, "the host's name of its end, until it is moved; without: a user network"),
    FIELD_STR(os_net, mac, "its hardware address", .required = true),
    FIELD_STR(os_net, address, "IPv4 address and bits of its network"),
    FIELD_STR(os_net, gateway, "the way to all others"),
    FIELD_STRS(os_net, forward, OS_FORWARDS_MAX, "ports of the host that lead to it (user network)"),
    {},
};
const struct field os_mount_fields[] = {
    FIELD_STR(os_mount, source, "directory or file of the host", .required = true, .metavar = "PATH"),
    FIELD_STR(os_mount, target, "where it is in the container", .required = true, .metavar = "PATH"),
    FIELD_BOOL(os_mount, readonly, "refuse writes"),
    {},
};
const struct field os_fields[] = {
    FIELD_STR(os_spec, name, "of the instance, and the host name", .required = true),
    FIELD_STR(os_spec, uuid, "of the instance"),
    FIELD_STR(os_spec, folder, "of the instance", .required = true),
    FIELD_STRS(os_spec, layers, OS_LAYERS_MAX, "directories of which the root is made, the lowest first"),
    FIELD_INT(os_spec, uid_first, "the host's number of the container's user 0; 0: the same numbers"),
    FIELD_STRS(os_spec, command, OS_WORDS_MAX, "its first process"),
    FIELD_STRS(os_spec, env, OS_WORDS_MAX, "NAME=VALUE of that"),
    FIELD_STR(os_spec, cwd, "where that begins", .sdflt = "/"),
    FIELD_STR(os_spec, user, "who that is"),
    FIELD_STR(os_spec, cgroup, "control group of the container"),
    FIELD_STR(os_spec, stop_signal, "signal that asks it to end"),
    FIELD_STR(os_spec, dns, "address of the name server"),
    FIELD_STR(os_spec, domain, "in which names are looked up"),
    FIELD_STR(os_spec, runtime, "socle-box", .required = true),
    FIELD_INT(os_spec, memory, "bytes that it is shown as its own, unless its control group says what they are; 0: the host's"),
    FIELD_INT(os_spec, cpus, "the same of CPUs"),
    FIELD_BOOL(os_spec, nesting, "containers are made in it"),
    FIELD_LIST(os_spec, nets, net_fields, os_net, OS_NETS_MAX, "network cards"),
    FIELD_LIST(os_spec, mounts, os_mount_fields, os_mount, OS_MOUNTS_MAX, "of the host, seen in it"),
    {},
};

static const struct {
    const char *name;
    int number;
} signals[] = {
    { "HUP", SIGHUP },   { "INT", SIGINT },   { "QUIT", SIGQUIT }, { "KILL", SIGKILL },   { "USR1", SIGUSR1 },
    { "USR2", SIGUSR2 }, { "TERM", SIGTERM }, { "PWR", SIGPWR },   { "WINCH", SIGWINCH }, { "CONT", SIGCONT },
};
/* clang-format on */

/* "RTMIN+3", as the kernel counts, which is what an init does. */
static int real_time(const char *name)
{
    enum { KERNEL_RTMIN = 34, KERNEL_RTMAX = 64 }; /* glibc keeps the first two for itself */
    u64 n;

    if (!str_starts(name, "RTMIN+") || str_u64(name + strlen("RTMIN+"), &n) < 0)
        return 0;
    return n <= KERNEL_RTMAX - KERNEL_RTMIN ? KERNEL_RTMIN + (int)n : 0;
}

int os_signal(const char *name)
{
    u64 n;

    if (str_u64(name, &n) == 0)
        return n > 0 && n <= 64 ? (int)n : 0;
    if (str_starts(name, "SIG"))
        name += strlen("SIG");
    for_each_row(row, signals)
        if (strcmp(row->name, name) == 0)
            return row->number;
    return real_time(name);
}

static int check(const struct os_spec *s, struct err *e)
{
    if (s->layers.n == 0)
        return err_set(e, -EINVAL, "'layers' is empty: there is no root file system");
    if (s->folder[0] != '/')
        return err_set(e, -EINVAL, "'folder' is '%.80s'; a path from the root is needed",
                       s->folder);
    if (s->stop_signal && !os_signal(s->stop_signal))
        return err_set(e, -EINVAL, "'stop_signal' is '%.40s'; a signal's name or number is needed",
                       s->stop_signal);
    return 0;
}

int os_spec_parse(struct os_spec *s, const char *text, size_t len, struct err *e)
{
    int r = conf_parse_text(os_fields, s, text, len, e);

    s->init = false;
    return r < 0 ? r : check(s, e);
}

void os_spec_fini(struct os_spec *s)
{
    conf_fini(os_fields, s);
}
