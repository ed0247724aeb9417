/*
 * box/criu.h: checkpoint and restore by CRIU, the program of another project, where it is installed.  It is asked by a program of our own,
 * socle-box-criu, which has the library of its protocol; nobody else pays for that (note 047).
 * Mounts of the host that are bound into the container have names in the images: their destination in config.json.  A checkpoint
 * says where each really is (links of the container's root are followed by then), a restore what is to be there.
 */
#pragma once

#include "box/box.h"

#include <sys/types.h>

#define CRIU_NET "extRootNetNS" /* names in the images, as runc has them */
#define CRIU_PID "extRootPidNS"
#define CRIU_STREAMS \
    "descriptors.json" /* in the images: what descriptors 0 to 2 were, as runc and crun have it */
#define CRIU_ROOT     "root"      /* in the container's state: where its root is for CRIU */
#define CRIU_NULL     "/dev/null" /* the name of what hides files */
#define CRIU_DUMPED   "dump.log"
#define CRIU_RESTORED "restore.log"

enum { CRIU_STREAMS_MAX = 3, CRIU_TEXT_MAX = 64 * 1024, CRIU_LOG_MAX = 16 * 1024 * 1024 };

/* "OPTION=VALUE" for socle-box-criu. */
struct criu_words {
    char **items; /* owned */
    u32 n, room;
};
void criu_words_fini(struct criu_words *w);

/* What a running container is, and descriptors of directories. */
struct criu_dump {
    pid_t pid;
    int images, work;
    u64 ns[NS_KINDS];    /* inodes of the namespaces that it joined */
    const char *freezer; /* its cgroup in the file system; NULL: none */
    char **mounts; /* where each mount of config.json is in it; NULL: it is none of the host's */
    char **masks;  /* where each masked file is; NULL: it is none */
    char **nodes;  /* device files that are the host's: where each is; ends with NULL */
    bool notify;   /* it has /run/notify */
};
struct criu_restore {
    int images, work;
    const int *ns;                   /* descriptors of those that are joined; -1: is not */
    const char *bundle;              /* of which sources are relative */
    const char *state;               /* the container's state */
    const char *cgroup;              /* as CRIU sees it; NULL: none */
    char *streams[CRIU_STREAMS_MAX]; /* what were pipes: "pipe:[12]", else NULL */
};

/* Pure: nothing is looked at but what is given. */
void criu_words_dump(struct criu_words *w, const struct oci *spec, const struct box_criu *o,
                     const struct criu_dump *d);
void criu_words_restore(struct criu_words *w, const struct oci *spec, const struct box_criu *o,
                        const struct criu_restore *r);
/* The file's text (CRIU_STREAMS); what is no pipe is left NULL.  It may be another's making. */
int criu_streams_parse(const char *text, size_t len, char *ret[CRIU_STREAMS_MAX], struct err *e);
/* What can be neither kept nor joined again, and options that are not there. */
int criu_check(const struct oci *spec, const struct box_criu *o, struct err *e);

struct criu_dirs {
    int images, work;
    const char *work_path; /* for messages; borrowed */
};
/* Opens, and makes, what --image-path and --work-path say. */
int criu_dirs_open(struct criu_dirs *d, const struct box_criu *o, bool make, struct err *e);
void criu_dirs_close(struct criu_dirs *d);

/* What is asked, by the words; `sync` hears (box/sync.h), `console` gets the terminal's master, -1: nobody does. */
struct criu_call {
    const char *verb;
    const struct criu_words *words;
    int sync, console;
    const int *fds; /* descriptors of directories and namespaces, -1: none */
    unsigned n_fds;
};
/* In a child: executes socle-box-criu; returns only when that fails. */
int criu_exec(const struct criu_call *c, struct err *e);
/* The first error in the text of CRIU's log, cut to fit; false: there is none. */
bool criu_log_error(const char *log, char *ret, size_t size);
/* What went wrong, with the log's name. */
int criu_failed(const struct criu_dirs *d, const char *log, struct err *e);
