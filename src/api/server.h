/*
 * api/server.h: the API over HTTP/1.1 on a unix socket, by libwebsockets on our loop.
 * The peer's user decides what it may do: whose folder it is, and root, all; others nothing.
 *   limits: SERVER_CLIENTS_MAX connections, of them SERVER_STREAMS_MAX event streams; SERVER_SECONDS for a request to arrive;
 *   bodies as in api.h.  What is above is answered with an error, or dropped.
 */
#pragma once

#include "base/base.h"

struct host;
struct loop;
struct server;

enum { SERVER_CLIENTS_MAX = 256, SERVER_STREAMS_MAX = 128, SERVER_SECONDS = 20 };

/* A socket that listens at `path`, in place of one that is left over.  Owned fd; -EADDRINUSE: somebody listens there. */
int server_listen(const char *path, struct err *e);
/* `listener` is taken.  Finish with server_close, before the host is closed. */
int server_open(struct loop *l, struct host *h, int listener, struct server **ret, struct err *e);
/* Ends connections; what is being answered is cut off. */
void server_close(struct server *s);
