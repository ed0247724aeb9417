/*
 * cmd/restore.h: the machine that `socle run --restore FILE` means: what the file says it is, with what the host provides changed by options.
 */
#pragma once

#include "cmd/opt.h"
#include "cmd/run.h"

/* `run` is what the command line says; its spec becomes the machine's.  -EINVAL with `e`: an option that contradicts the state. */
int restore_complete(struct run *run, const struct opt_args *args, struct err *e);
/* A machine that ran goes on from another state: as the file says it, with the host's part as it was. */
int restore_again(struct run *run, const char *file, struct err *e);
/* Adds " --a, --b": what may be given. */
void restore_options(struct strbuf *out);
