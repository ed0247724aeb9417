/*
 * os/spec.h: what one instance of kind os is: the text that socle-os is started with.  socled writes it (host/process_os.c); all
 * paths are from the root.
 */
#pragma once

#include "conf/conf.h"

enum {
    OS_LAYERS_MAX = 256, /* mount(2) takes a page of options; overlayfs has at most 500 */
    OS_WORDS_MAX = 4096, /* of the command, of the environment */
    OS_NETS_MAX = 8,
    OS_MOUNTS_MAX = 64,
    OS_FORWARDS_MAX = 64, /* of one net */
    OS_IDS = 65536,       /* user and group numbers of a container */
    OS_PROCESSES_DFLT = 8192,
    OS_PROCESSES_MAX = 4194304, /* Linux has no more on any host */
    OS_PROCESSES_BESIDE = 64, /* socle-os and what it starts, in the group above the container's */
};

/* One network card: one end of a pair whose other end is on a network of the host, or a user network (os/user_net.h). */
struct os_net {
    char
        *link; /* the host's name of the container's end, until it is moved; NULL: a user network */
    char *mac;
    struct field_strs forward; /* rules as of net/user.h, of a user network */
    char *address;             /* "10.88.0.5/24"; NULL: the container asks by itself */
    char *gateway;             /* NULL: none */
};

struct os_mount {
    char *source, *target;
    bool readonly;
};

struct os_spec {
    char *name;                /* of the instance, and the container's host name */
    char *uuid;                /* NULL: none */
    char *folder;              /* of the instance */
    struct field_strs layers;  /* directories, the lowest first */
    u32 uid_first;             /* of the host: the container's 0; 0: it shares our numbers */
    struct field_strs command; /* empty: an init or a shell, whichever it has */
    struct field_strs env;
    char *cwd, *user;         /* user: "NAME|UID[:GROUP|GID]"; NULL: 0 */
    char *cgroup;             /* of the container, below the root of cgroup v2; NULL: none */
    char *stop_signal;        /* NULL: what its first process is found to take */
    char *dns, *domain;       /* NULL: none */
    char *runtime;            /* socle-box */
    u64 memory;               /* bytes, as it was started; 0: it has no limit */
    u32 cpus;                 /* 0: all */
    bool nesting;             /* containers are made in it */
    struct field_list nets;   /* struct os_net */
    struct field_list mounts; /* struct os_mount */
    bool init;                /* no field: the command is an init, as os_command_settle found */
};

extern const struct field os_fields[], os_mount_fields[];

/* Finish with os_spec_fini, also after a failure. */
int os_spec_parse(struct os_spec *s, const char *text, size_t len, struct err *e);
void os_spec_fini(struct os_spec *s);

/* Number of "SIGTERM", "TERM", "15", "SIGRTMIN+3"; 0: there is no such. */
int os_signal(const char *name);

static inline struct os_net *os_net(const struct os_spec *s, u32 i)
{
    return (struct os_net *)s->nets.items + i;
}
static inline struct os_mount *os_mount(const struct os_spec *s, u32 i)
{
    return (struct os_mount *)s->mounts.items + i;
}
