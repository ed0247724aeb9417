/*
 * box/unit.h: a container's cgroup as a scope unit of systemd: its name, and what systemd is asked of it.  Nothing here talks to systemd.
 * Properties are JSON, {"NAME": ["TYPE", VALUE], …}, where TYPE is D-Bus's: a letter, or "as" and "ay" for lists.
 */
#pragma once

#include "box/oci.h"

enum { UNIT_NAME_MAX = 255 };
#define UNIT_NOTES "org.systemd.property." /* what annotations begin with that set properties */

struct unit {
    char *name, *slice; /* "libpod-1.scope", "machine.slice" */
};

void unit_fini(struct unit *u);
/* From linux.cgroupsPath, "SLICE:PREFIX:NAME"; without one a name of ours.  `user`: of the user's systemd. */
int unit_parse(struct unit *ret, const char *cgroups_path, const char *id, bool user,
               struct err *e);
/* May this be the name of a scope?  It may come from a file that others wrote. */
bool unit_name_ok(const char *name);
/* Those of `r` that systemd knows; *ret is owned. */
int unit_limits(const struct oci_resources *r, json_t **ret, struct err *e);
/* Of a new scope with process `pid`: limits, and what annotations add. */
int unit_properties(const struct oci *spec, const struct unit *u, const char *id, pid_t pid,
                    json_t **ret, struct err *e);

/* In box/unit_note.c: an annotation org.systemd.property.NAME, as ["TYPE", VALUE] into `properties`. */
int unit_note(const char *name, const char *text, json_t *properties, struct err *e);
