/*
 * cmd/relay.h: between the user's terminal (or pipes) and a running socle-vm, until it ends.
 */
#pragma once

#include "base/base.h"

#include <jansson.h>

struct spawn;

/*
 * Relays stdin to the guest's console and the console to stdout, all of it; reads the escape keys of a terminal; turns SIGINT,
 * SIGTERM and SIGHUP into a clean shutdown; ends the machine after `timeout_s` seconds (0: never).  Restores the terminal.
 * The exit status of `socle run`.  EXIT_STATUS_RESTORE: *ret_restore, owned, says {"file", "disk", "snapshot"}: from which state the
 * machine is to go on, and, unless they are missing, to which snapshot its disks are brought before.  Else it is mostly NULL.
 */
int relay_run(struct spawn *vm, u32 timeout_s, json_t **ret_restore);
/* Before the fork: blocks the signals that relay_run takes from a descriptor, so that none is lost between. */
void relay_block_signals(void);

/* The escape keys, a line each, for --help and the manual. */
void relay_help(const char *indent, struct strbuf *out);
