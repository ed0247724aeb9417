/*
 * host/cgroup.h: a control group (cgroups(7), version 2) of its own for each machine: shares, limits, pinning, and what it used.
 *   (1) Ours are below one folder, where the host lets us make them: at the top where no systemd is, else below the group of the unit beside
 *       ours that is there for them, else below our own, when that was delegated to us.  Elsewhere there are none, which is said once, and
 *       machines run without.
 *   (2) A container is in a group of its own, "box", below the instance's, which has the limits; socle-os is in "monitor" beside it.
 *   (3) A machine's process is in its group from before its execve on, so nothing that it does is somebody else's.
 */
#pragma once

#include "base/base.h"

struct host;
struct instance;
struct instance_limits;

#define CGROUP_UNIT "socle-machines.service"

struct cgroup_usage {
    u64 cpu_us; /* CPU time since the machine's start */
    u64 memory; /* bytes, what the host caches for it included; 0: not counted */
};

/* Where version 2 is mounted, alone or beside the first; NULL: nowhere. */
const char *cgroup_top(void);
/* The names of what a group's children can be limited in, with spaces between; "" when it cannot be read. */
void cgroup_controllers(const char *folder, char *ret, size_t size);
/* The folder for ours below the mounted `top`; owned.  NULL, with `e`: there is none. */
char *cgroup_base(const char *top, const char *own, bool systemd, struct err *e);
/* The same, below the group of unit CGROUP_UNIT beside `own`. */
char *cgroup_beside(const char *top, const char *own, struct err *e);
/* Makes this process that of CGROUP_UNIT, whose group is the one that machines' groups are below. */
int cgroup_hold(struct err *e);
/* At the end of a socled; machines' groups stay. */
void cgroup_close(struct host *h);
/* Makes the machine's group, with its limits; a file to which its process writes 0 to be in it.  -1: there are no groups here. */
int cgroup_enter_locked(const struct instance *i, u64 ram);
/* Of an instance of kind os: the group that its container is to be in, below the root of version 2; owned, NULL: there are none here. */
char *cgroup_box_locked(const struct instance *i);
/* The limits as they are configured now, of a process whose guest has so much RAM: what it was started with, whatever was edited since. */
void cgroup_apply_locked(const struct instance *i, u64 ram);
/* After its end.  Harmless when there is none. */
void cgroup_leave_locked(const struct instance *i);
/* False: nobody knows. */
bool cgroup_read_locked(const struct instance *i, struct cgroup_usage *ret);

/* Limits into the files of one group, of a machine with so much RAM; -EOPNOTSUPP: one is asked for that this host does not have. */
int cgroup_write(const char *folder, const struct instance_limits *l, u64 ram, struct err *e);
int cgroup_usage(const char *folder, struct cgroup_usage *ret);
