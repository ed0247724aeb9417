/*
 * vm/gdb.h: the debugger's stub: gdb attaches to a socket of the machine and sees its vCPUs as threads.  See doc/debugging.md.
 * All calls are made on the control loop.
 */
#pragma once

#include "base/base.h"

struct gdb;
struct vm;

/* Listens at "unix:PATH" or "tcp:PORT" (of 127.0.0.1).  Before the jail.  Owned in *ret, also half-built. */
int gdb_open(struct vm *vm, const char *where, struct gdb **ret, struct err *e);
/* Tells the client how the machine ended. */
void gdb_close(struct gdb *g);
/* vCPUs of the mask `hits` came back with VCPU_DEBUG, and hold. */
void gdb_hit(struct gdb *g, u64 hits);
/* vCPU `cpu` had a triple fault, and holds.  True: the client looks at it first; the machine ends when it goes on. */
bool gdb_crash(struct gdb *g, u32 cpu);
/* Has the client points set?  While the guest runs they may be in its memory.  NULL: no. */
bool gdb_has_points(const struct gdb *g);
/* Serves a connected socket, which becomes the stub's; -EBUSY: there is a client already.  (For gdb_open's listener, and tests.) */
int gdb_attach(struct gdb *g, int fd);
