/*
 * box/systemd.h: the cgroup driver of --systemd-cgroup: systemd makes the cgroup, as a transient scope unit.  It is asked by a program of its
 * own, socle-box-systemd, which has the D-Bus library; nobody else pays for that (note 037).
 */
#pragma once

#include "box/cgroup.h"
#include "box/unit.h"

/* Are we to ask the user's systemd, as the host's would not let us? */
bool systemd_is_users(void);
/* Could systemd_start ask for that?  Before there is a process. */
int systemd_check(const struct oci *spec, const char *id, struct err *e);
/* Makes the scope, with the waiting process `pid` in it, and opens its cgroup.  *ret_scope: its name, owned; it is set, also after a
 * failure, where there is something for systemd_stop. */
int systemd_start(const struct oci *spec, const char *id, pid_t pid, struct cgroup *g,
                  char **ret_scope, struct err *e);
/* Changes limits of a scope. */
int systemd_set(const char *scope, const struct oci_resources *r, struct err *e);
/* Ends what is in it, and waits until systemd has forgotten it; none is fine. */
int systemd_stop(const char *scope, struct err *e);
