/*
 * vm/spec.c: the tables of what a virtual machine may be, and the checks that one row alone cannot make.
 */
#include "vm/spec.h"

#include "cpu/features.h"
#include "dev/virtio/fs.h"
#include "disk/disk.h"
#include "disk/limit.h"
#include "mem/mem.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <net/if.h>
#include <stdlib.h>

enum {
    NAME_MAX_LEN = 63,   /* as a host name's label */
    SERIAL_MAX_LEN = 20, /* virtio 1.2, 5.2.6.3: VIRTIO_BLK_ID_BYTES */
    UNIX_PATH_LEN = 107, /* sun_path without its NUL */
};

bool spec_name_ok(const char *s)
{
    size_t len = strlen(s);

    if (len == 0 || len > NAME_MAX_LEN || !isalnum((unsigned char)s[0]))
        return false;
    return strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") == len;
}

static bool uuid_ok(const char *s)
{
    static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

    for (size_t i = 0; i < sizeof(form); i++)
        if (form[i] == 'x' ? !isxdigit((unsigned char)s[i]) : s[i] != form[i])
            return false;
    return true;
}

static bool serial_ok(const char *s)
{
    for (const char *p = s; *p; p++)
        if (!isgraph((unsigned char)*p))
            return false;
    return *s && strlen(s) <= SERIAL_MAX_LEN;
}

static bool append_ok(const char *s)
{
    for (const char *p = s; *p; p++)
        if (iscntrl((unsigned char)*p))
            return false;
    return strlen(s) <= SPEC_APPEND_MAX;
}

static bool path_ok(const char *s)
{
    return *s;
}

static bool socket_ok(const char *s)
{
    return *s && strlen(s) <= UNIX_PATH_LEN;
}

/* Linux: an interface's name has at most IFNAMSIZ - 1 bytes, no '/' and no space. */
static bool tap_ok(const char *s)
{
    for (const char *p = s; *p; p++)
        if (!isgraph((unsigned char)*p) || *p == '/' || *p == ':' || *p == '%')
            return false;
    return *s && strlen(s) < IFNAMSIZ && strcmp(s, ".") != 0 && strcmp(s, "..") != 0;
}

int spec_mac(const char *text, u8 ret[6])
{
    u8 mac[6];

    for (unsigned i = 0; i < 6; i++) {
        char pair[5] = "0x";
        u64 v;

        if (!isxdigit((unsigned char)text[0]) || !isxdigit((unsigned char)text[1]) ||
            text[2] != (i < 5 ? ':' : 0))
            return -EINVAL;
        memcpy(pair + 2, text, 2);
        if (str_u64(pair, &v) < 0)
            return -EINVAL;
        mac[i] = (u8)v;
        text += i < 5 ? 3 : 2;
    }
    if (mac[0] & 1) /* a group address is nobody's own */
        return -EINVAL;
    memcpy(ret, mac, 6);
    return 0;
}

static bool mac_ok(const char *s)
{
    u8 mac[6];

    return spec_mac(s, mac) == 0;
}

/* The number between `s` and the next ':' or the end, 1..65535.  0 when it is none. */
static u16 port_of(const char *s)
{
    char digits[6] = {};
    size_t n = strcspn(s, ":");
    u64 v;

    if (n >= sizeof(digits) || !isdigit((unsigned char)*s))
        return 0;
    memcpy(digits, s, n);
    return str_u64(digits, &v) == 0 && v <= UINT16_MAX ? (u16)v : 0;
}

int spec_forward(const char *rule, struct spec_rule *ret)
{
    struct spec_rule r = { .address = "127.0.0.1" };
    struct in_addr ip;
    const char *first, *second, *third;

    r.udp = str_starts(rule, "udp:");
    if (!r.udp && !str_starts(rule, "tcp:"))
        return -EINVAL;
    first = rule + 4;
    second = strchr(first, ':');
    if (!second)
        return -EINVAL;
    third = strchr(second + 1, ':');
    if (third) {
        size_t n = (size_t)(second - first);

        if (n >= sizeof(r.address) || strchr(third + 1, ':'))
            return -EINVAL;
        memcpy(r.address, first, n);
        r.address[n] = 0;
        first = second + 1;
        second = third;
    }
    r.any = !third;
    r.host_port = port_of(first);
    r.guest_port = port_of(second + 1);
    if (!r.host_port || !r.guest_port || inet_pton(AF_INET, r.address, &ip) != 1)
        return -EINVAL;
    *ret = r;
    return 0;
}

static bool forward_ok(const char *s)
{
    struct spec_rule r;

    return spec_forward(s, &r) == 0;
}

int spec_console_fds(const char *backend, int *ret_in, int *ret_out)
{
    const char *in = backend + 3, *out;
    char number[16] = {};
    u64 a, b;

    if (!str_starts(backend, "fd:"))
        return -EINVAL;
    out = strchr(in, ':');
    if (!out || (size_t)(out - in) >= sizeof(number))
        return -EINVAL;
    memcpy(number, in, (size_t)(out - in));
    if (str_u64(number, &a) < 0 || str_u64(out + 1, &b) < 0 || a > 65535 || b > 65535)
        return -EINVAL;
    *ret_in = (int)a;
    *ret_out = (int)b;
    return 0;
}

static bool backend_ok(const char *s)
{
    static const char *const words[] = { "stdio", "pty", "none" };
    int in, out;

    for_each_row(w, words)
        if (strcmp(s, *w) == 0)
            return true;
    if (str_starts(s, "unix:"))
        return socket_ok(s + 5);
    if (str_starts(s, "file:"))
        return path_ok(s + 5);
    return spec_console_fds(s, &in, &out) == 0;
}

static bool agent_ok(const char *s)
{
    return strcmp(s, "none") == 0 || (str_starts(s, "unix:") && socket_ok(s + 5));
}

static bool gdb_ok(const char *s)
{
    return str_starts(s, "unix:") ? socket_ok(s + 5) : str_starts(s, "tcp:") && port_of(s + 4);
}

bool spec_has_param(const char *append, const char *name)
{
    for (const char *p = append; p && (p = strstr(p, name)); p++)
        if (p == append || p[-1] == ' ')
            return true;
    return false;
}

static bool address_ok(const char *s)
{
    struct in_addr a;

    return inet_pton(AF_INET, s, &a) == 1;
}

static const char *const engines[] = { "auto", "kvm", "soft", NULL };
static const char *const irqchips[] = { "kernel", "split", NULL };
static const char *const caches[] = { "writeback", "direct", "unsafe", NULL };
static const char *const net_kinds[] = { "user", "tap", "none", NULL };
static const char *const console_devices[] = { "serial", "virtio", NULL };

/* clang-format off */
static const struct field disk_fields[] = {
    FIELD_STR(vm_disk, file, "image or block device", .required = true, .first = true, .metavar = "FILE",
              .ok = path_ok, .want = "the name of a file"),
    FIELD_BOOL(vm_disk, readonly, "the guest may not write"),
    FIELD_INT(vm_disk, queues, "request queues; 0: one for each CPU, at most 8", .max = 64),
    FIELD_STR(vm_disk, serial, "serial number that the guest sees", .ok = serial_ok,
              .want = "1 to 20 printable ASCII characters"),
    FIELD_ENUM(vm_disk, cache, caches, "host cache: writeback, none of it, or ignoring even flushes"),
    FIELD_STR(vm_disk, format, "format of the image; auto: what it looks like", .metavar = "NAME",
              .ok = disk_format_known, .want = "auto, raw, qcow2, vmdk, vdi, vhd or vhdx"),
    FIELD_BYTES(vm_disk, bandwidth, "bytes a second that are read and written; 0: no limit", .metavar = "SIZE"),
    FIELD_INT(vm_disk, iops, "requests a second; 0: no limit"),
    FIELD_INT(vm_disk, burst, "what was not used of the limits in so many ms may be used at once", .dflt = DISK_BURST_MS_DEFAULT,
              .min = DISK_BURST_MS_MIN, .max = DISK_BURST_MS_MAX),
    {},
};

static const struct field forward_fields[] = {
    FIELD_STR(vm_forward, rule, "tcp|udp:[ADDRESS:]HOST_PORT:GUEST_PORT", .required = true, .first = true,
              .ok = forward_ok, .want = "tcp or udp:[IPv4 address:]host port:guest port"),
    {},
};

static const struct field net_fields[] = {
    FIELD_ENUM(vm_net, kind, net_kinds, "user: through our own stack, without privilege; tap: a host interface", .first = true),
    FIELD_STR(vm_net, tap, "host interface, which exists or may be made", .metavar = "NAME", .ok = tap_ok,
              .want = "an interface name of 1 to 15 characters"),
    FIELD_STR(vm_net, mac, "the guest's address", .metavar = "MAC", .ok = mac_ok,
              .want = "six pairs of hex digits of a unicast address, as 52:54:00:12:34:56,"),
    FIELD_INT(vm_net, queues, "queue pairs (tap, network)", .dflt = 1, .min = 1, .max = 32),
    FIELD_LIST(vm_net, forward, forward_fields, vm_forward, SPEC_FORWARDS_MAX,
               "tcp|udp:[ADDRESS:]HOST_PORT:GUEST_PORT: host port that leads to the guest (user, network)", .metavar = "RULE"),
    FIELD_STR(vm_net, network, "a network of socled, which gives it a tap; not for `socle run`", .metavar = "NAME", .ok = spec_name_ok,
              .want = "the name of a network"),
    FIELD_STR(vm_net, address, "the guest's IPv4 address (network); without, one of the network's is chosen", .metavar = "ADDRESS", .ok = address_ok,
              .want = "an IPv4 address"),
    FIELD_BYTES(vm_net, bandwidth_in, "bytes a second to the guest (network); 0: no limit", .max = SPEC_NET_RATE_MAX, .metavar = "SIZE"),
    FIELD_BYTES(vm_net, bandwidth_out, "bytes a second from the guest (network); 0: no limit", .max = SPEC_NET_RATE_MAX, .metavar = "SIZE"),
    FIELD_BOOL(vm_net, spoof, "the guest may send under addresses that are not its own (network)"),
    {},
};

static const struct field console_fields[] = {
    FIELD_STR(vm_console, backend, "stdio, pty, none, unix:PATH (listens), or file:PATH (appends)", .sdflt = "stdio", .first = true,
              .metavar = "WHERE", .ok = backend_ok, .want = "stdio, pty, none, unix:PATH or file:PATH"),
    FIELD_ENUM(vm_console, device, console_devices, "what the guest writes to: ttyS0 or hvc0"),
    FIELD_STR(vm_console, log, "what the guest writes is added to this file, too, of which the newest 512 KiB to 1 MiB are kept", .metavar = "FILE",
              .ok = path_ok, .want = "the name of a file"),
    {},
};

static const struct field vsock_fields[] = {
    FIELD_INT(vm_vsock, cid, "the guest's context id; 3 and more, 0: no vsock", .first = true, .max = UINT32_MAX - 1),
    FIELD_STR(vm_vsock, path, "unix sockets PATH_PORT are the host's side", .metavar = "PATH", .ok = socket_ok,
              .want = "a path of 1 to 107 bytes"),
    {},
};

const struct field spec_share_fields[] = {
    FIELD_STR(vm_share, tag, "what the guest mounts it by", .required = true, .first = true, .also = "path", .metavar = "TAG",
              .ok = fs_tag_ok, .want = "1 to 36 letters, digits, '.', '-' or '_'"),
    FIELD_STR(vm_share, path, "folder of the host", .required = true, .metavar = "DIR", .ok = path_ok, .want = "the name of a folder"),
    FIELD_BOOL(vm_share, readonly, "the guest may not change anything in it"),
    {},
};

static const struct field gdb_fields[] = {
    FIELD_STR(vm_gdb, listen, "unix:PATH, or tcp:PORT of 127.0.0.1, to which every user of the host may connect", .first = true,
              .metavar = "WHERE", .ok = gdb_ok, .want = "unix:PATH or tcp:PORT"),
    FIELD_BOOL(vm_gdb, wait, "the guest starts when the debugger says so"),
    {},
};

static const struct field restore_fields[] = {
    FIELD_STR(vm_restore, file, "what `ctl suspend` or `ctl snapshot` wrote", .first = true, .metavar = "FILE", .ok = path_ok,
              .want = "the name of a file"),
    FIELD_BOOL(vm_restore, clone, "one of several from this file: a name, UUID and card addresses of its own"),
    FIELD_BOOL(vm_restore, force, "also when a disk changed since: what the guest believes of its file systems is then wrong"),
    {},
};

const struct field spec_fields[] = {
    FIELD_STR(vm_spec, name, "name of the machine", .sdflt = "vm", .ok = spec_name_ok,
              .want = "1 to 63 letters, digits, '.', '-' or '_', a letter or digit first,"),
    FIELD_STR(vm_spec, uuid, "identity that the guest sees", .metavar = "UUID", .ok = uuid_ok,
              .want = "a UUID as 01234567-89ab-cdef-0123-456789abcdef"),
    FIELD_ENUM(vm_spec, engine, engines, "what runs the CPUs; auto measures"),
    FIELD_BOOL(vm_spec, jit, "the software engine translates code that runs often into the host's",
               .dflt = 1),
    FIELD_BOOL(vm_spec, engine_check,
               "for debugging only: interpret what was translated, too, and stop where they differ"),
    FIELD_INT(vm_spec, cpus, "virtual CPUs", .dflt = 1, .min = 1, .max = SPEC_CPUS_MAX),
    FIELD_BYTES(vm_spec, memory, "guest RAM", .dflt = GiB, .min = MEM_SIZE_MIN, .max = MEM_SIZE_MAX),
    FIELD_BOOL(vm_spec, hugepages, "RAM from the host's reserved 2 MiB pages"),
    FIELD_BOOL(vm_spec, prealloc, "take all RAM from the host at start"),
    FIELD_STR(vm_spec, kernel, "bzImage, ELF vmlinux, PVH or Multiboot kernel", .metavar = "FILE", .ok = path_ok,
              .want = "the name of a file"),
    FIELD_STR(vm_spec, initrd, "initial RAM disk", .metavar = "FILE", .ok = path_ok, .want = "the name of a file"),
    FIELD_STR(vm_spec, append, "kernel command line", .ok = append_ok,
              .want = "at most 4095 bytes without control characters"),
    FIELD_ENUM(vm_spec, cpu_model, cpu_models, "what the CPUs can do: all that the engine can on this host, or what every host of that level of x86-64 can"),
    FIELD_ENUM(vm_spec, irqchip, irqchips, "interrupt controllers: all in the kernel, or only the local APICs"),
    FIELD_LIST(vm_spec, disks, disk_fields, vm_disk, SPEC_DISKS_MAX, "a disk", .metavar = "FILE[,...]"),
    FIELD_LIST(vm_spec, nets, net_fields, vm_net, SPEC_NETS_MAX, "a network card", .metavar = "KIND[,...]"),
    FIELD_LIST(vm_spec, shares, spec_share_fields, vm_share, SPEC_SHARES_MAX, "a folder of the host, mounted by `mount -t virtiofs TAG /mnt`",
               .metavar = "TAG=DIR[,readonly]"),
    FIELD_OBJ(vm_spec, console, console_fields, "the guest's console", .metavar = "WHERE[,...]"),
    FIELD_OBJ(vm_spec, vsock, vsock_fields, "sockets between host and guest", .metavar = "CID[,...]"),
    FIELD_STR(vm_spec, agent, "a port for qemu-guest-agent in the guest; unix:PATH is its socket on the host", .metavar = "WHERE", .ok = agent_ok,
              .want = "unix:PATH or none"),
    FIELD_BOOL(vm_spec, balloon, "memory balloon", .dflt = true),
    FIELD_BOOL(vm_spec, rng, "random numbers from the host", .dflt = true),
    FIELD_BOOL(vm_spec, hpet, "high precision event timer"),
    FIELD_BOOL(vm_spec, testdev, "devices for test payloads (pc-testdev, pci-testdev)"),
    FIELD_STR(vm_spec, control, "make a control socket here", .metavar = "SOCKET", .ok = socket_ok,
              .want = "a path of 1 to 107 bytes"),
    FIELD_INT(vm_spec, control_fd, "inherited control socket", .max = 65535),
    FIELD_OBJ(vm_spec, gdb, gdb_fields, "serve gdb", .metavar = "WHERE[,wait]"),
    FIELD_OBJ(vm_spec, restore, restore_fields, "go on from a saved state instead of booting", .metavar = "FILE[,...]"),
    FIELD_STR(vm_spec, cache_dir, "where unpacked kernels are kept, made when missing; the user's cache folder when not given", .metavar = "DIR", .ok = path_ok,
              .want = "the name of a folder"),
    FIELD_INT(vm_spec, uid, "user and group that a process of root becomes; 0: nobody", .max = INT32_MAX),
    FIELD_BOOL(vm_spec, no_jail, "for debugging only: the process keeps its rights"),
    FIELD_BOOL(vm_spec, verbose, "say more on standard error"),
    {},
};
/* clang-format on */

void spec_fini(struct vm_spec *s)
{
    conf_fini(spec_fields, s);
}

static const struct field *nets_field(void)
{
    const struct field *f = spec_fields;

    while (f->at != offsetof(struct vm_spec, nets))
        f++;
    return f;
}

/* "none" says that there is no card: it leaves the list. */
static void drop_no_nets(struct vm_spec *s)
{
    u32 kept = 0;

    for (u32 i = 0; i < s->nets.n; i++) {
        if (spec_net(s, i)->kind == SPEC_NET_NONE)
            conf_fini(nets_field()->sub, spec_net(s, i));
        else
            *spec_net(s, kept++) = *spec_net(s, i);
    }
    s->nets.n = kept;
}

int spec_check_net(struct vm_net *n, struct err *e)
{
    if (n->tap && n->kind == SPEC_NET_USER)
        n->kind = SPEC_NET_TAP; /* "tap=NAME" alone says both */
    if (n->kind == SPEC_NET_TAP && !n->tap)
        return err_set(e, -EINVAL, "'tap' is missing: which host interface (tap=NAME)");
    if (n->kind != SPEC_NET_USER && n->forward.n)
        return err_set(e, -EINVAL, "'forward' is for user networks only");
    if (n->network && n->kind != SPEC_NET_USER)
        return err_set(e, -EINVAL, "'network' alone says what the card is on");
    if (!n->network && (n->address || n->bandwidth_in || n->bandwidth_out || n->spoof))
        return err_set(
            e, -EINVAL,
            "'address', 'bandwidth_in', 'bandwidth_out' and 'spoof' are for cards on a network");
    if (n->kind != SPEC_NET_TAP && !n->network && n->queues > 1)
        return err_set(e, -EINVAL, "'queues' is %u; only tap networks have more than 1", n->queues);
    if (n->kind == SPEC_NET_NONE && (n->tap || n->mac))
        return err_set(e, -EINVAL, "none has no other options");
    return 0;
}

static int check_memory(const struct vm_spec *s, struct err *e)
{
    u64 unit = s->hugepages ? 2 * MiB : MEM_PAGE;

    if (!is_aligned(s->memory, unit))
        return err_set(e, -EINVAL, "'memory' is %llu; a multiple of %s is needed%s", s->memory,
                       s->hugepages ? "2M" : "4K", s->hugepages ? " with hugepages" : "");
    return 0;
}

int spec_check_shares(const struct field_list *shares, struct err *e)
{
    const struct vm_share *list = shares->items;

    for (u32 i = 0; i < shares->n; i++)
        for (u32 k = 0; k < i; k++)
            if (strcmp(list[i].tag, list[k].tag) == 0)
                return err_set(e, -EINVAL, "share '%s' is given twice", list[i].tag);
    return 0;
}

int spec_check(struct vm_spec *s, struct err *e)
{
    int r = check_memory(s, e);

    for (u32 i = 0; r >= 0 && i < s->nets.n; i++) {
        r = spec_check_net(spec_net(s, i), e);
        if (r < 0)
            err_wrap(e, "net %u", i);
    }
    if (r >= 0)
        r = spec_check_shares(&s->shares, e);
    if (r < 0)
        return r;
    drop_no_nets(s);
    if (!s->kernel)
        return err_set(e, -EINVAL,
                       "nothing to boot: 'kernel' is missing (a disk's own loader needs firmware, "
                       "which this version does not have)");
    if (s->vsock.cid == 1 || s->vsock.cid == 2)
        return err_set(e, -EINVAL, "'cid' is %u; 3 to 4294967294 are guests", s->vsock.cid);
    if (s->gdb.wait && !s->gdb.listen)
        return err_set(e, -EINVAL, "gdb: 'listen' is missing: nobody could end the 'wait'");
    if ((s->restore.clone || s->restore.force) && !s->restore.file)
        return err_set(e, -EINVAL, "restore: 'file' is missing");
    if (s->vsock.path && !s->vsock.cid)
        return err_set(e, -EINVAL, "vsock: 'cid' is missing (3 and more)");
    return 0;
}

int spec_complete_append(struct vm_spec *s, bool root, struct err *e)
{
    static const char *const words[] = {
        [SPEC_CONSOLE_SERIAL] = "console=ttyS0",
        [SPEC_CONSOLE_VIRTIO] = "console=hvc0",
    };
    const bool console =
        strcmp(s->console.backend, "none") != 0 && !spec_has_param(s->append, "console=");
    const char *given = s->append ? s->append : "";
    AUTO(strbuf) struct strbuf all = {};
    int r;

    if (console)
        strbuf_add(&all, "%s", words[s->console.device]);
    if (*given)
        strbuf_add(&all, "%s%s", all.len ? " " : "", given);
    if (root && !spec_has_param(s->append, "root="))
        strbuf_add(&all, "%sroot=/dev/vda", all.len ? " " : "");
    if (!all.len)
        return 0;
    r = conf_set(conf_field_at(spec_fields, offsetof(struct vm_spec, append)), s, all.text, e);
    return r < 0 ? err_wrap(e, "--append") : r;
}

int spec_parse(struct vm_spec *s, const char *text, size_t len, struct err *e)
{
    int r = conf_parse_text(spec_fields, s, text, len, e);

    if (r < 0)
        return r;
    r = spec_check(s, e);
    if (r < 0)
        spec_fini(s);
    return r;
}
