/*
 * share/link.h: between the machine, which has the guest, and the process that has the folder: messages over a SOCK_SEQPACKET pair.
 *   machine ──struct share_ask, request──> server         each is served before the next is looked at
 *   machine <──reply [and the file that it opened]── server   in the order of the requests; none for quiet ones
 * The first message of the server is one zero byte, or the text of why it cannot serve.
 */
#pragma once

#include "share/share.h"

struct share_ask {
    u32 room;  /* bytes that the guest has for the reply */
    u32 reset; /* not 0: the guest is gone; no request follows */
};

enum { SHARE_ASK_MAX = sizeof(struct share_ask) + SHARE_REQUEST_MAX };

/* What `socle-share` is started with. */
struct share_start {
    const char *dir;
    bool readonly;
    bool no_jail; /* for debugging only */
    u32 handles;  /* that the guest may have at most; the machine has each file open, too */
};

/*
 * Starts the server of one folder and waits until it serves.  Owned: our end of the link, non-blocking.  The process ends when that is
 * closed.
 */
int share_spawn(const struct share_start *how, struct err *e);

/* In the server: tells the machine that it serves, or why not. */
int share_tell(int link, const struct err *e);
/* Serves until the machine is gone: 0. */
int share_run(struct share *s, int link);

/* In the machine.  A whole reply in `buf`, and what file came with it, owned, or -1.  Its length; 0: the server is gone; -EAGAIN. */
ssize_t share_take(int link, void *buf, size_t size, int *ret_fd);
