/*
 * box/netdev.c: moves one network device.  A device that moves is taken down and loses its addresses; those that were set for good
 * are set again.  The messages are few and fixed, so they are written here, and a static program needs no library for them.
 */
#include "box/netdev.h"

#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ANSWER_SIZE = 64 * 1024, REQUEST_SIZE = 512, ADDRESSES_MAX = 1024 };

struct request {
    struct nlmsghdr head;
    char body[REQUEST_SIZE];
};

struct address {
    struct request add; /* RTM_NEWADDR; its index is set when it is known */
};

static void begin(struct request *r, u16 type, u16 flags, const void *body, size_t size)
{
    *r = (struct request){ .head = { .nlmsg_len = (u32)NLMSG_LENGTH(size),
                                     .nlmsg_type = type,
                                     .nlmsg_flags = (u16)(NLM_F_REQUEST | flags) } };
    memcpy(NLMSG_DATA(&r->head), body, size);
}

static bool add_attribute(struct request *r, u16 type, const void *value, size_t size)
{
    const size_t at = NLMSG_ALIGN(r->head.nlmsg_len);
    struct rtattr *a = (struct rtattr *)(void *)((char *)r + at);

    if (at + RTA_SPACE(size) > sizeof(*r))
        return false;
    a->rta_type = type;
    a->rta_len = (u16)RTA_LENGTH(size);
    memcpy(RTA_DATA(a), value, size);
    r->head.nlmsg_len = (u32)(at + RTA_LENGTH(size));
    return true;
}

/* One request, one answer: the kernel's error. */
static int ask(struct request *r)
{
    AUTO(fd) int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    struct {
        struct nlmsghdr head;
        struct nlmsgerr err;
        char more[1024];
    } answer;
    ssize_t n;

    r->head.nlmsg_flags |= NLM_F_ACK;
    if (fd < 0 || send(fd, r, r->head.nlmsg_len, 0) < 0)
        return -errno;
    do
        n = recv(fd, &answer, sizeof(answer), 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    if ((size_t)n < NLMSG_LENGTH(sizeof(answer.err)) || answer.head.nlmsg_type != NLMSG_ERROR)
        return -EPROTO;
    return answer.err.error;
}

/* The request that makes an address again, without the label, which is of the old name. */
static bool copy_address(struct nlmsghdr *m, struct request *ret)
{
    struct ifaddrmsg *body = NLMSG_DATA(m);
    int left = (int)IFA_PAYLOAD(m);
    bool fits = true;

    begin(ret, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, body, sizeof(*body));
    for (struct rtattr *a = IFA_RTA(body); RTA_OK(a, left); a = RTA_NEXT(a, left))
        if (a->rta_type != IFA_LABEL)
            fits &= add_attribute(ret, a->rta_type, RTA_DATA(a), RTA_PAYLOAD(a));
    return fits;
}

/* Takes those of device `index` from one answer; false at its end. */
static bool take_addresses(char *text, size_t len, int index, struct field_list *out)
{
    struct nlmsghdr *m = (struct nlmsghdr *)(void *)text;

    for (; NLMSG_OK(m, len); m = NLMSG_NEXT(m, len)) {
        const struct ifaddrmsg *body = NLMSG_DATA(m);
        struct address *all = out->items;

        if (m->nlmsg_type == NLMSG_DONE || m->nlmsg_type == NLMSG_ERROR)
            return false;
        if (m->nlmsg_type == RTM_NEWADDR && (int)body->ifa_index == index &&
            (body->ifa_flags & IFA_F_PERMANENT) && body->ifa_scope == RT_SCOPE_UNIVERSE &&
            out->n < ADDRESSES_MAX && copy_address(m, &all[out->n].add))
            out->n++;
    }
    return true;
}

static int read_addresses(int index, struct field_list *out)
{
    AUTO(fd) int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    AUTO(free) char *text = xnew_n(char, ANSWER_SIZE);
    const struct ifaddrmsg any = {};
    struct request r;
    ssize_t n;

    begin(&r, RTM_GETADDR, NLM_F_DUMP, &any, sizeof(any));
    if (fd < 0 || send(fd, &r, r.head.nlmsg_len, 0) < 0)
        return -errno;
    do {
        n = recv(fd, text, ANSWER_SIZE, 0);
        if (n < 0 && errno != EINTR)
            return -errno;
    } while (n < 0 || take_addresses(text, (size_t)n, index, out));
    return 0;
}

static bool has_index(const struct if_nameindex *list, unsigned index)
{
    for (; list && list->if_index; list++)
        if (list->if_index == index)
            return true;
    return false;
}

static int send_over(int index, int to, const char *name)
{
    const struct ifinfomsg body = { .ifi_index = index };
    struct request r;

    begin(&r, RTM_NEWLINK, 0, &body, sizeof(body));
    add_attribute(&r, IFLA_NET_NS_FD, &to, sizeof(to));
    add_attribute(&r, IFLA_IFNAME, name, strlen(name) + 1);
    return ask(&r);
}

static int bring_up(int index)
{
    const struct ifinfomsg body = { .ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
    struct request r;

    begin(&r, RTM_NEWLINK, 0, &body, sizeof(body));
    return ask(&r);
}

/* The one that was not there before: its number may be another now. */
static int find_new(const struct if_nameindex *before, char ret_name[IF_NAMESIZE])
{
    struct if_nameindex *now = if_nameindex();
    int index = -ENODEV;

    for (const struct if_nameindex *i = now; i && i->if_index && index < 0; i++) {
        if (has_index(before, i->if_index))
            continue;
        index = (int)i->if_index;
        str_copy(ret_name, IF_NAMESIZE, i->if_name);
    }
    if (now)
        if_freenameindex(now);
    return index;
}

static int set_up(const struct if_nameindex *before, const struct field_list *addresses,
                  char ret_name[IF_NAMESIZE])
{
    int index = find_new(before, ret_name), r = index;

    for_each_of(struct address, a, addresses)
    {
        struct ifaddrmsg *body = NLMSG_DATA(&a->add.head);

        body->ifa_index = (u32)index;
        if (r >= 0)
            r = ask(&a->add);
    }
    return r < 0 ? r : bring_up(index);
}

static int move(int index, int from, int to, const char *new_name, char ret_name[IF_NAMESIZE])
{
    AUTO(free) struct address *all = xnew_n(struct address, ADDRESSES_MAX);
    struct field_list addresses = { .items = all };
    struct if_nameindex *before = NULL;
    int sent = 1, r = read_addresses(index, &addresses);

    if (r == 0 && setns(to, CLONE_NEWNET) < 0)
        r = -errno;
    if (r < 0)
        return r;
    /* Renaming comes after moving for the kernel: a name that is taken is to be found before. */
    if (if_nametoindex(new_name))
        r = -EEXIST;
    before = if_nameindex();
    if (r == 0 && !before)
        r = -errno;
    if (setns(from, CLONE_NEWNET) < 0 && r == 0)
        r = -errno;
    if (r == 0)
        sent = r = send_over(index, to, new_name);
    if (sent <= 0 && setns(to, CLONE_NEWNET) == 0) {
        /* Its new name may have been refused when it was there already. */
        if (sent < 0)
            find_new(before, ret_name);
        else
            r = set_up(before, &addresses, ret_name);
        if (setns(from, CLONE_NEWNET) < 0 && r == 0)
            r = -errno;
    }
    if (before)
        if_freenameindex(before);
    return r;
}

/*
 * Device `name` from the network namespace `from` to `to`; `new_name` may be a template ("eth%d"), `ret_name` is how it is called then,
 * "" when it is not there.  We are in `from` before and after.
 */
static int move_one(const char *name, int from, int to, const char *new_name,
                    char ret_name[IF_NAMESIZE], struct err *e)
{
    const unsigned index = if_nametoindex(name);
    int r;

    ret_name[0] = 0;
    if (!index)
        return err_errno(e, "linux.netDevices: '%.40s'", name);
    r = move((int)index, from, to, new_name, ret_name);
    return r < 0 ? err_code(e, r, "linux.netDevices: move '%.20s' as '%.20s'", name, new_name) : 0;
}

int netdevs_move(struct netdevs *d, const struct oci *spec, pid_t pid, int join, struct err *e)
{
    AUTO(fd) int host = -1;
    char path[64];

    if (!spec->os.netDevices.n)
        return 0;
    str_fmt(path, sizeof(path), "/proc/%d/ns/net", pid);
    host = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    d->net = join >= 0 ? fcntl(join, F_DUPFD_CLOEXEC, 0) : open(path, O_RDONLY | O_CLOEXEC);
    if (host < 0 || d->net < 0)
        return err_errno(e, "linux.netDevices: open the network namespaces");
    d->names = alloc_x(spec->os.netDevices.n, sizeof(*d->names));
    for_each_of(const struct oci_netdev, device, &spec->os.netDevices)
    {
        const char *name = device->name && *device->name ? device->name : device->host;
        int r = move_one(device->host, host, d->net, name, d->names[d->n], e);

        d->n += d->names[d->n][0] != 0; /* also when it is there and not set up */
        if (r < 0)
            return r;
    }
    return 0;
}

void netdevs_return(struct netdevs *d, const struct oci *spec)
{
    const struct oci_netdev *devices = spec->os.netDevices.items;
    AUTO(fd) int host = d->n ? open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC) : -1;
    char name[IF_NAMESIZE];
    struct err e = {};

    if (host < 0 || setns(d->net, CLONE_NEWNET) < 0)
        return;
    while (d->n > 0) {
        d->n--;
        if (move_one(d->names[d->n], d->net, host, devices[d->n].host, name, &e) < 0)
            log_warn("%s", e.text);
    }
    if (setns(host, CLONE_NEWNET) < 0)
        log_warn("return to the host's network namespace: %s", strerror(errno));
}

void netdevs_fini(struct netdevs *d)
{
    fd_close(&d->net);
    free(d->names);
    d->names = NULL;
}
