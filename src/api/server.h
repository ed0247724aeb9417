/*
 * api/server.h: the API over HTTP/1.1, by libwebsockets on our loop: on a unix socket, and, if wished, over TLS.
 * Of the unix socket the peer's user decides what it may do: whose folder it is, and root, all; others nothing.  Over TLS users log in
 * (access.h).
 *   limits: SERVER_CLIENTS_MAX connections, of them SERVER_STREAMS_MAX event streams and consoles, SERVER_ADDRESS_MAX of one address;
 *   SERVER_SECONDS for a request to arrive; bodies as in api.h.  What is above is answered with an error, or dropped.
 */
#pragma once

#include "base/base.h"

struct host;
struct loop;
struct server;
struct web_file;

enum {
    SERVER_CLIENTS_MAX = 256,
    SERVER_STREAMS_MAX = 128,
    SERVER_LOCAL_MIN = 64,   /* of the connections are for the unix socket */
    SERVER_ADDRESS_MAX = 64, /* connections of one address; of an IPv6 network of 64 bits */
    SERVER_SECONDS = 20,
    SERVER_HASHES_MAX = 16, /* passwords that wait to be hashed */
    SERVER_PORT = 7443,     /* unless it is said otherwise */
};

/* A socket that listens at `path`, in place of one that is left over.  Owned fd; -EADDRINUSE: somebody listens there. */
int server_listen(const char *path, struct err *e);
/* `listener` is taken.  `tls`: "ADDRESS", "ADDRESS:PORT", "[ADDRESS]:PORT" or ":PORT"; NULL: the unix socket only.  Finish with
 * server_close, before the host is closed. */
int server_open(struct loop *l, struct host *h, int listener, const char *tls, struct server **ret,
                struct err *e);
/* From now on what is not the API's is looked for in `files` (web.h), which stay. */
void server_serve(struct server *s, const struct web_file *files);
/* Ends connections; what is being answered is cut off. */
void server_close(struct server *s);
