/*
 * host/shell.h: shells of the host, for who may have one (API_SHELL): the login shell of the user as whom we run, on a terminal of its own.
 * A client talks with it in the frames of os/run.h; the first says how large its terminal is: {"rows": 24, "columns": 80}, or {"terminal": false}.
 *   (1) All of it is on the loop's thread.
 *   (2) A shell has nothing of ours: no descriptor, no environment, no signal that we ignore.
 *   (3) When its client goes, all of its session is told SIGHUP, and SIGKILL SHELL_KILL_MS later; its number stays taken until then.  What
 *       made a session of its own (setsid) lives on, as after any login.
 */
#pragma once

#include "base/base.h"

enum { SHELLS_MAX = 8, SHELL_KILL_MS = 2000 };

struct loop;
struct shells;

struct shells *shells_new(struct loop *l);
/* Ends them all.  Accepts NULL. */
void shells_free(struct shells *all);
/* One more: where its client talks with it, the caller's, not blocking.  -EAGAIN: there are SHELLS_MAX. */
int shells_open(struct shells *all, struct err *e);
