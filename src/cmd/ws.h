/*
 * cmd/ws.h: the client's side of a WebSocket (RFC 6455), as much as a console needs.
 */
#pragma once

#include "cmd/rest.h"

enum { WS_DATA_MAX = 1 << 20 };

struct ws_frame {
    u8 opcode;
    const u8 *data; /* within what was parsed */
    size_t len;
};
/* The frame at the begin of `p`: its bytes in all; 0: it is not complete; -EBADMSG: a server sends no such. */
ssize_t ws_parse(const u8 *p, size_t len, struct ws_frame *ret);

/* fn with a socket whose bytes are the messages of a WebSocket that rest_upgrade made; fn takes the socket.  What it returns. */
int ws_run(struct rest *r, int (*fn)(int fd, void *arg, struct err *e), void *arg, struct err *e);
