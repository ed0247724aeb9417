/*
 * host/instance.h: what an instance is, as its user describes it: the fields of the API's bodies, of the records and of the CLI's options.
 */
#pragma once

#include "host/cloud.h"
#include "host/images.h"
#include "os/spec.h"
#include "vm/spec.h"

enum {
    INSTANCE_TAGS_MAX = 32,
    INSTANCE_TAG_MAX = 63,
    INSTANCE_NOTES_MAX = 16 * 1024,
    INSTANCE_CPUS_MAX = 8192, /* of a host: Linux has no more */
};

enum instance_restart { RESTART_NO, RESTART_ON_FAILURE, RESTART_ALWAYS };
enum instance_kind { INSTANCE_FULL, INSTANCE_PARA, INSTANCE_OS };

enum clone_mode { CLONE_LINKED, CLONE_FULL, CLONE_INSTANT };
extern const char *const clone_words[], *const instance_kinds[];
/* For who wants some of them: "any", then the words of states (enum host_state) and kinds. */
extern const char *const instance_states_wanted[], *const instance_kinds_wanted[];

struct instance_tag {
    char *tag;
};

/* What its process may take of the host (host/cgroup.h); 0: as any. */
struct instance_limits {
    u32 cpu_weight; /* 1 to 10,000; any has 100 */
    u32 cpu_max;    /* in hundredths of a CPU */
    char *cpu_set;  /* "0-3,6"; NULL: all */
    u64 memory;     /* bytes beside the guest's RAM */
    u32 io_weight;  /* 1 to 10,000; any has 100 */
    u32 processes;  /* of kind os, threads too; 0: OS_PROCESSES_DFLT */
};

/* Of kind os: what runs in the container, and what it sees of the host; what is not said, its image says. */
struct os_cfg {
    struct field_strs command, env;
    char *cwd, *user, *stop_signal; /* NULL: the image's */
    struct field_list mounts;       /* struct os_mount */
    bool nesting, privileged;
};

struct instance_cfg {
    int kind; /* enum instance_kind */
    char *
        image; /* in the pool: its kernel is used, and the first disk is a clone of its disk; NULL: none */
    char *iso;              /* in the pool: a read-only disk; NULL: none */
    char *notes;            /* NULL: none */
    struct field_list tags; /* struct instance_tag */
    bool autostart, protected, template;
    u32 autostart_order, autostart_delay; /* delay: seconds */
    int restart;                          /* enum instance_restart */
    u32 restart_limit;                    /* in a row; 0: none */
    struct cloud_cfg cloud;
    struct instance_limits limits;
    struct os_cfg os;
    struct vm_spec spec; /* the rows that a user may set; the name, too */
};

/* Of kind os: processes that it may have. */
static inline u32 os_processes(const struct instance_cfg *c)
{
    return c->limits.processes ? c->limits.processes : OS_PROCESSES_DFLT;
}

/* Of struct instance_cfg.  Most rows are those of vm/spec.c, so what a machine can be is said once. */
const struct field *instance_fields(void);
extern const struct field instance_own_fields[],
    os_cfg_fields[]; /* those that are not of vm/spec.c */
/* The row with that name; NULL: there is none. */
const struct field *instance_field(const char *name);
/* May it be changed while the machine runs, with effect at once?  Else it counts from the next start. */
bool instance_field_is_live(const struct field *f);

/* Defaults, then what the JSON object says, then what one row cannot check.  Finish with instance_cfg_fini. */
int instance_parse(struct instance_cfg *c, const json_t *json, struct err *e);
/* -EINVAL: it is not from the root, as a socled elsewhere would not find it.  NULL: there is none, which is well. */
int instance_check_path(const char *what, const char *path, struct err *e);
/* Are its shared folders there?  Looked at when they are named, not each time that it is read. */
int instance_check_folders(const struct instance_cfg *c, struct err *e);
void instance_cfg_fini(struct instance_cfg *c);
/* What makes it one of a kind and was not given: its UUID, which a new name does not change. */
void instance_identify(struct instance_cfg *c);

/* Where the parts of a machine are, from the root. */
struct instance_paths {
    const char *folder; /* of the instance */
    const char *images; /* of the pool */
    const char *cache;  /* of unpacked kernels */
};
/* Does its image make it a container?  Then it is one from now on; -EINVAL: it says otherwise. */
int instance_settle_kind(struct instance_cfg *c, const struct image_cfg *image, struct err *e);
/* Is there such an ISO in the pool? */
int instance_check_iso(const struct instance_cfg *c, const char *images, struct err *e);
/* host/instance_os.c: what kind os cannot have; and what only that can. */
int instance_check_os(const struct instance_cfg *c, struct err *e);
int instance_check_machine(const struct instance_cfg *c, struct err *e);
/* What socle-os is started with, but for its layers, cards, users and groups.  `id`: of the instance.  Finish with os_spec_fini. */
int instance_os_spec(const struct instance_cfg *c, const char *folder,
                     const struct image_cfg *image, struct os_spec *ret, struct err *e);
/* What socle-vm is started with.  `image`: NULL when c->image is.  Finish with spec_fini. */
int instance_spec(const struct instance_cfg *c, const struct instance_paths *p,
                  const struct image_cfg *image, struct vm_spec *ret, struct err *e);
