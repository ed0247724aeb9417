/*
 * os/bundle.h: the OCI specification of an instance's container.
 */
#pragma once

#include "os/ids.h"
#include "os/spec.h"

#include <jansson.h>

/* Chooses the command where there is none, and finds out what it is; the root is mounted. */
int os_command_settle(struct os_spec *s, struct err *e);
/* FOLDER/bundle/config.json for a root that is mounted (os/rootfs.h). */
int os_bundle_write(const struct os_spec *s, const struct os_ids *ids, bool view, struct err *e);

/* One more program in it, as a client asks for it. */
struct os_program {
    struct field_strs command, env;
    char *cwd, *user; /* NULL: as the first process */
    bool terminal;
    u32 rows, columns; /* of the terminal; 0: not known */
};
extern const struct field os_program_fields[];

/* "process" of the specification for it; a new reference, NULL with `e`. */
json_t *os_bundle_process(const struct os_spec *s, const struct os_program *p, struct err *e);
