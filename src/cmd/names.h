/*
 * cmd/names.h: names of what there is, for the shells' completion.
 */
#pragma once

#include "base/base.h"

/* A row's `complete` may be a mark: the argument is one of what the API lists at `path`. */
struct names_kind {
    const char *mark, *word, *path; /* "INSTANCES", "instances", "/1.0/instances" */
};
extern const struct names_kind names_kinds[]; /* ends with a NULL mark */

/* NULL: it is none, or NULL. */
const struct names_kind *names_kind_of(const char *mark);
/* Those that the user's running socled knows, a line each; none when none runs.  False: there is no such kind. */
bool names_add(const char *kind, struct strbuf *out);
