/*
 * box/vm_guest.c: the guest's process 1, from a kernel that has just begun to a port where the host's questions are answered; a child
 * answers each (box/vm_run.c).
 */
#include "box/vm_guest.h"

#include "box/vm_link.h"
#include "box/vm_run.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <net/if.h>
#include <net/route.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* clang-format off */
/* In this order.  `late`: in the container's root, where a mount point that is missing is made. */
static const struct {
    bool late;
    const char *source, *target, *type, *options;
    unsigned long flags;
} mounts[] = {
    { false, "proc",     "/proc",                   "proc",     NULL, MS_NOSUID | MS_NOEXEC | MS_NODEV },
    { false, "devtmpfs", "/dev",                    "devtmpfs", "mode=0755", MS_NOSUID },
    { true,  "sysfs",    VM_ROOT "/sys",            "sysfs",    NULL, MS_NOSUID | MS_NOEXEC | MS_NODEV },
    { true,  "cgroup2",  VM_ROOT "/sys/fs/cgroup",  "cgroup2",  NULL, MS_NOSUID | MS_NOEXEC | MS_NODEV },
    { true,  "dev",      VM_ROOT "/dev",            "tmpfs",    "mode=0755,size=64k", MS_NOSUID },
    { true,  "devpts",   VM_ROOT "/dev/pts",        "devpts",   "newinstance,ptmxmode=0666,mode=0620,gid=5", MS_NOSUID | MS_NOEXEC },
    { true,  "shm",      VM_ROOT "/dev/shm",        "tmpfs",    "mode=1777", MS_NOSUID | MS_NOEXEC | MS_NODEV },
    { true,  "mqueue",   VM_ROOT "/dev/mqueue",     "mqueue",   NULL, MS_NOSUID | MS_NOEXEC | MS_NODEV },
};
static const struct { const char *name, *to; } links[] = {
    { "fd", "/proc/self/fd" }, { "stdin", "/proc/self/fd/0" }, { "stdout", "/proc/self/fd/1" }, { "stderr", "/proc/self/fd/2" },
    { "core", "/proc/kcore" }, { "ptmx", "pts/ptmx" },
};
/* Those that the specification promises; the guest's kernel has more, which are none of a container's. */
static const struct { const char *name; u32 major, minor; } nodes[] = {
    { "null", 1, 3 }, { "zero", 1, 5 }, { "full", 1, 7 }, { "random", 1, 8 }, { "urandom", 1, 9 }, { "tty", 5, 0 },
};
/* clang-format on */

static int mount_all(bool late, struct err *e)
{
    for_each_row(m, mounts) {
        if (m->late != late)
            continue;
        (void)mkdir(m->target, 0755); /* what it is of no use for, mount says */
        if (mount(m->source, m->target, m->type, m->flags, m->options) < 0)
            return err_errno(e, "mount '%s'", m->target);
    }
    return 0;
}

static int load_module(const char *name, struct err *e)
{
    AUTO(free) char *path = str_new(VM_MODULES "/%s", name);
    AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) < 0 && errno != EEXIST))
        return err_errno(e, "load '%s'", name);
    return 0;
}

/* By their names, which begin with numbers, so that each finds what it needs. */
static int load_modules(struct err *e)
{
    struct dirent **list;
    int n = scandir(VM_MODULES, &list, NULL, alphasort), r = 0;

    for (int i = 0; i < n; i++) {
        if (list[i]->d_name[0] != '.' && r == 0)
            r = load_module(list[i]->d_name, e);
        free(list[i]);
    }
    if (n >= 0)
        free(list);
    return r;
}

static struct sockaddr address(const char *text)
{
    struct sockaddr_in in = { .sin_family = AF_INET };
    struct sockaddr any;

    inet_pton(AF_INET, text, &in.sin_addr);
    memcpy(&any, &in, sizeof(any));
    return any;
}

/* The user network's, whose numbers are fixed (doc/networks.md).  A guest without a card goes without. */
static void set_network(void)
{
    AUTO(fd) int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
    struct ifreq eth = { .ifr_name = "eth0", .ifr_addr = address("10.0.2.15") };
    struct rtentry way = { .rt_dst = address("0.0.0.0"),
                           .rt_genmask = address("0.0.0.0"),
                           .rt_gateway = address("10.0.2.2"),
                           .rt_flags = RTF_UP | RTF_GATEWAY };

    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo) < 0 || ioctl(fd, SIOCSIFADDR, &eth) < 0)
        return;
    eth.ifr_netmask = address("255.255.255.0");
    if (ioctl(fd, SIOCSIFNETMASK, &eth) < 0)
        return;
    eth.ifr_flags = IFF_UP;
    if (ioctl(fd, SIOCSIFFLAGS, &eth) == 0)
        (void)ioctl(fd, SIOCADDRT, &way);
}

static int fill_dev(struct err *e)
{
    for_each_row(n, nodes) {
        AUTO(free) char *path = str_new(VM_ROOT "/dev/%s", n->name);

        if (mknod(path, S_IFCHR | 0666, makedev(n->major, n->minor)) < 0)
            return err_errno(e, "make '%s'", path);
    }
    for_each_row(l, links) {
        AUTO(free) char *path = str_new(VM_ROOT "/dev/%s", l->name);

        if (symlink(l->to, path) < 0)
            return err_errno(e, "make '%s'", path);
    }
    return 0;
}

static int set_up(struct err *e)
{
    int r = mount_all(false, e);

    if (r == 0)
        r = load_modules(e);
    (void)mkdir(VM_ROOT, 0755);
    if (r == 0 && mount("root", VM_ROOT, "virtiofs", 0, NULL) < 0)
        r = err_errno(e, "mount the container's root");
    if (r == 0)
        r = mount_all(true, e);
    if (r < 0)
        return r;
    set_network();
    return fill_dev(e);
}

static int listen_here(struct err *e)
{
    AUTO(fd) int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr_vm at = { .svm_family = AF_VSOCK,
                                    .svm_cid = VMADDR_CID_ANY,
                                    .svm_port = VM_PORT };

    if (fd < 0 || bind(fd, (const struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 64) < 0)
        return err_errno(e, "listen for the host");
    return TAKE_FD(fd);
}

/* The container's root gets no way to ask what the host asks: only the host's own id is heard. */
static bool is_host(const struct sockaddr_vm *from)
{
    return from->svm_cid == VMADDR_CID_HOST;
}

static void answer(int listener, struct vm_shared *shared)
{
    struct sockaddr_vm from = {};
    socklen_t len = sizeof(from);
    AUTO(fd)
    int fd = accept4(listener, (struct sockaddr *)&from, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0 || !is_host(&from) || fork() != 0)
        return;
    sigaction(SIGCHLD, &(struct sigaction){ .sa_handler = SIG_DFL }, NULL);
    close(listener);
    vm_run(fd, shared);
    _exit(0);
}

int vm_guest_run(struct err *e)
{
    struct vm_shared *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int r = set_up(e), listener;

    if (shared == MAP_FAILED)
        return err_errno(e, "share memory");
    if (r < 0)
        return r;
    listener = listen_here(e);
    if (listener < 0)
        return listener;
    sigaction(SIGCHLD, &(struct sigaction){ .sa_handler = SIG_IGN },
              NULL); /* nobody waits for children */
    for (;;)
        answer(listener, shared);
}
