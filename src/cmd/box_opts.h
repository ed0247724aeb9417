/*
 * cmd/box_opts.h: the command line of `socle-box`: the rows of its commands and options.
 */
#pragma once

#include "box/box.h"
#include "cmd/opt.h"

/* What the options of any command fill. */
struct box_args {
    struct box_global global;
    struct box_new make;
    struct box_exec exec;
    struct box_criu criu;
    struct box_list list;
    struct box_update update;
    struct {
        bool force, all, rootless, stats;
        char *bundle;
        int format;
        u32 interval;
    } more;
};

struct box_command {
    const char *name, *usage, *doc;
    const struct opt *opts;
    unsigned min_args, max_args;
    bool enters; /* comes near a container: runs from the sealed copy */
    int (*run)(struct box_args *a, int argc, char **argv, struct err *e);
};

extern const struct box_command box_commands[]; /* ends with a NULL name */
extern const struct opt box_global_opts[];

void box_args_init(struct box_args *a);
void box_args_fini(struct box_args *a);
/*
 * Reads the options before the first argument; `*ret_used` words.  1 when help is asked for.  As other OCI runtimes, so that what
 * follows is the program's own.
 */
int box_parse(const struct opt *opts, struct box_args *a, int argc, char **argv, int *ret_used,
              struct err *e);
