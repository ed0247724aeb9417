/*
 * vm/spec.h: what one virtual machine is, as the user says it: the field tables behind `socle run`, the text that socle-vm is
 * started with, and their documentation.  Holds no host resource; vm/build.c turns it into devices.
 */
#pragma once

#include "conf/conf.h"

enum {
    SPEC_DISKS_MAX = 24, /* PCI functions that are left on bus 0 */
    SPEC_NETS_MAX = 8,
    SPEC_DEVICES_MAX = 31, /* of PCI, beside the bridge */
    SPEC_SHARES_MAX = 8,
    SPEC_FORWARDS_MAX = 64, /* of one net */
    SPEC_CPUS_MAX = 64,
    SPEC_NET_RATE_MAX = 1 << 30, /* bytes a second; the kernel's buckets count in 32 bits */
    SPEC_APPEND_MAX = 4095, /* bytes; the kernel may take less and is asked when it is loaded */
};

enum spec_engine { SPEC_ENGINE_AUTO, SPEC_ENGINE_KVM, SPEC_ENGINE_SOFT };
enum spec_irqchip { SPEC_IRQCHIP_KERNEL, SPEC_IRQCHIP_SPLIT };
enum spec_cache { SPEC_CACHE_WRITEBACK, SPEC_CACHE_DIRECT, SPEC_CACHE_UNSAFE };
enum spec_net { SPEC_NET_USER, SPEC_NET_TAP, SPEC_NET_NONE };
enum spec_console { SPEC_CONSOLE_SERIAL, SPEC_CONSOLE_VIRTIO };

struct vm_disk {
    char *file;
    bool readonly;
    u16 queues;   /* 0: one for each CPU, at most 8 */
    char *serial; /* NULL: none */
    int cache;    /* enum spec_cache */
    char *format; /* NULL: what the file looks like */
    /* as in struct disk_limit */
    u64 bandwidth, iops;
    u32 burst; /* ms */
};

struct vm_forward {
    char *rule; /* "tcp:[ADDRESS:]HOST_PORT:GUEST_PORT", checked; spec_forward takes it apart */
};

struct vm_net {
    int kind;                  /* enum spec_net; after spec_check never SPEC_NET_NONE */
    char *tap;                 /* host interface; not NULL exactly when kind is SPEC_NET_TAP */
    char *mac;                 /* NULL: derived from the machine's name and the place in the list */
    u16 queues;                /* pairs */
    struct field_list forward; /* struct vm_forward; empty unless kind is SPEC_NET_USER */
    /* Of an instance's card, which host/nic.c makes a tap or a user network of before socle-vm sees it. */
    char *network;                   /* NULL: none */
    char *address;                   /* IPv4; NULL: chosen, or not known */
    u64 bandwidth_in, bandwidth_out; /* bytes a second; 0: no limit */
    bool spoof;
};

/* `backend`: "stdio", "pty", "none", "unix:PATH", "file:PATH", or "fd:IN:OUT", which spec_console_fds takes apart. */
struct vm_console {
    char *backend;
    int device; /* enum spec_console */
    char *log;  /* NULL: none */
};

struct vm_vsock {
    u32 cid;    /* 0: no vsock device */
    char *path; /* the host's unix sockets are PATH_<port>; NULL: the guest reaches nobody */
};

/* A folder of the host in the guest. */
struct vm_share {
    char *tag;  /* what the guest mounts it by */
    char *path; /* of the folder */
    bool readonly;
};

struct vm_gdb {
    char *listen; /* "unix:PATH" or "tcp:PORT"; NULL: no debugger */
    bool wait;    /* before the first instruction */
};

/* A machine that goes on from a state file (doc/state-file.md). */
struct vm_restore {
    char *file; /* NULL: it boots */
    bool clone; /* one of several that go on from there: it gets an identity of its own */
    bool force; /* also when a disk changed since */
};

struct vm_spec {
    char *name;             /* of the machine: in messages, as its process's name */
    char *uuid;             /* NULL: made from the name */
    int engine;             /* enum spec_engine */
    bool jit, engine_check; /* of the software engine */
    u32 cpus;
    u64 memory; /* bytes */
    bool hugepages, prealloc;
    char *kernel, *initrd, *append; /* NULL when not given */
    int irqchip;                    /* enum spec_irqchip */
    int cpu_model;                  /* enum cpu_model */
    struct field_list disks;        /* struct vm_disk */
    struct field_list nets;         /* struct vm_net */
    struct field_list shares;       /* struct vm_share */
    struct vm_console console;
    struct vm_vsock vsock;
    char *agent; /* the guest agent's port: "unix:PATH", "none"; NULL: there is no port */
    bool balloon, rng, hpet, testdev;
    char *control;  /* path of the control socket that is made; NULL: none */
    u32 control_fd; /* an inherited, connected control socket; 0: none */
    struct vm_gdb gdb;
    struct vm_restore restore;
    char *cache_dir;
    u32 uid; /* whom a root process becomes; 0: nobody */
    bool no_jail, verbose;
};

extern const struct field spec_fields[]; /* of struct vm_spec */

/* Defaults, then what the JSON text says, then spec_check.  Finish with spec_fini. */
int spec_parse(struct vm_spec *s, const char *text, size_t len, struct err *e);
/* What a single row cannot say: sizes that fit together, options that exclude each other; drops nets of kind none, and makes a
 * net with a tap one of kind tap.  -EINVAL with `e`. */
int spec_check(struct vm_spec *s, struct err *e);
void spec_fini(struct vm_spec *s);
/* No two shares have the same tag. */
int spec_check_shares(const struct field_list *shares, struct err *e);
extern const struct field spec_share_fields[]; /* of struct vm_share */
/* The part of it that is about one net. */
int spec_check_net(struct vm_net *n, struct err *e);

static inline struct vm_disk *spec_disk(const struct vm_spec *s, u32 i)
{
    return (struct vm_disk *)s->disks.items + i;
}

static inline struct vm_net *spec_net(const struct vm_spec *s, u32 i)
{
    return (struct vm_net *)s->nets.items + i;
}

static inline struct vm_share *spec_share(const struct vm_spec *s, u32 i)
{
    return (struct vm_share *)s->shares.items + i;
}

/* A forward rule in parts. */
struct spec_rule {
    bool udp;
    char address[48]; /* of the host, IPv4; "127.0.0.1" when the rule has none */
    u16 host_port, guest_port;
    bool any; /* it has no address */
};
/* 0, or -EINVAL. */
int spec_forward(const char *rule, struct spec_rule *ret);

/* The six bytes of "52:54:00:12:34:56".  0, or -EINVAL: no unicast address. */
int spec_mac(const char *text, u8 ret[6]);

/* The descriptors of "fd:IN:OUT".  0, or -EINVAL. */
int spec_console_fds(const char *backend, int *ret_in, int *ret_out);

/* Adds to `append` what the user did not say to the kernel but means: its console, and the first disk as its root. */
int spec_complete_append(struct vm_spec *s, bool root, struct err *e);
/* What a machine may be called. */
bool spec_name_ok(const char *s);

/* Has a kernel command line the parameter `name` ("root="), as a word of its own? */
bool spec_has_param(const char *append, const char *name);
