/*
 * cmd/socled_opts.h: what `socled` may be told when it is started.
 */
#pragma once

#include "cmd/opt.h"

struct socled {
    char *dir, *listen;
    bool verbose, version, hold, stop, no_terminal;
    u32 timeout;
};

extern const struct field socled_fields[]; /* of struct socled */
extern const struct opt socled_opts[];
