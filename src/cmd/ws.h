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

/* The terminal on a WebSocket that rest_upgrade made, as attach_run. */
int ws_attach(struct rest *r, struct err *e);
